"""Which parameters are decayed, and how the learning rate goes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from training.config import LoopConfig


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and LayerNorm weights are not decayed, as in the originals."""
    norms = {id(p) for module in model.modules() if isinstance(module, nn.LayerNorm) for p in module.parameters()}
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (plain if name.endswith("bias") or id(parameter) in norms else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def learning_rate_schedule(optimizer: torch.optim.Optimizer, config: LoopConfig, steps: int):
    """Warm-up over `warmup_proportion` of the steps, then linearly to zero, or constant."""
    from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

    warmup = int(steps * config.warmup_proportion)
    if config.lr_scheduler == "constant":
        return get_constant_schedule_with_warmup(optimizer, warmup)
    return get_linear_schedule_with_warmup(optimizer, warmup, steps)
