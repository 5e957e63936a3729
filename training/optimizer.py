"""The optimizer: which parameters are decayed, and the schedule of the learning rate."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from training.config import LoopConfig
from training.runtime import Runtime

# Adam divides its moments by 1 - beta ** steps. From this number of steps on, both divisors are exactly 1 in fp32 and
# in fp64, as 0.999 ** 100_000 is below 1e-43. Up to 2 ** 24 steps, fp32 counts on from here one by one.
STEPS_WITHOUT_CORRECTION = 100_000


def build_optimizer(model: nn.Module, config: LoopConfig, runtime: Runtime) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101) over the model's trainable parameters."""
    if runtime.captures:
        # torch warns in every step that is taken without capturing.
        warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
    groups = parameter_groups(model, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, eps=config.adam_epsilon, **runtime.adamw)
    if not config.adam_bias_correction:
        leave_out_bias_correction(optimizer)
    return optimizer


def leave_out_bias_correction(optimizer: torch.optim.AdamW) -> None:
    """Has a new optimizer update by `m / (sqrt(v) + epsilon)`, as in BERT's code, in place.

    torch has no switch for that in any of its kernels (fused, captured, one by one). So the count of steps, which
    nothing but the bias correction uses, begins where the correction is over; checkpoints save it with the moments.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            on_device = group["fused"] or group["capturable"]  # where torch's own count of steps is
            device = parameter.device if on_device else None
            optimizer.state[parameter] = {
                "step": torch.tensor(float(STEPS_WITHOUT_CORRECTION), dtype=torch.float32, device=device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def keep_rates_on_device(optimizer: torch.optim.Optimizer, runtime: Runtime) -> None:
    """For captured steps: the learning rate is in a tensor, which the graph reads and the schedule fills."""
    if runtime.captures:
        for group in optimizer.param_groups:
            group["lr"] = torch.full((), float(group["lr"]), device=runtime.device)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and LayerNorm weights are not decayed, as in the originals."""
    norms = {id(p) for module in model.modules() if isinstance(module, nn.LayerNorm) for p in module.parameters()}
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (plain if name.endswith("bias") or id(parameter) in norms else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def learning_rate_schedule(optimizer: torch.optim.Optimizer, config: LoopConfig, steps: int):
    """Warm-up over `warmup_proportion` of the steps, then linearly to zero, or constant.

    "auto" asks for the proportion, as KoBigBird does, and not for the steps: a warm-up of less than one step counts.
    """
    from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

    warmup = int(steps * config.warmup_proportion)
    is_constant = config.lr_scheduler == "auto" and config.warmup_proportion == 0
    if is_constant or config.lr_scheduler == "constant":
        return get_constant_schedule_with_warmup(optimizer, warmup)
    return get_linear_schedule_with_warmup(optimizer, warmup, steps)
