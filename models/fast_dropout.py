"""Faster modules for CPUs that compute the same as torch's and transformers'.

On a CPU torch draws one Bernoulli number after another, which takes a tenth of a training step of BERT's shape, and
several more passes over memory. Here each 64 random bits, from NumPy's fastest generator, give four draws.
transformers' `gelu_new` makes eight passes over the model's largest tensors and keeps them for the backward pass.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as torch_dropout
from transformers.activations import NewGELUActivation


def dropout_mask(like: Tensor, dropout: float) -> Tensor:
    """0 with probability `dropout` (to the nearest 1/65,536), else 1; shape and dtype are those of `like`, on a CPU.

    The seed comes from torch's global generator: restoring that (resuming, gradient checkpointing) repeats the draws.
    """
    seed = int(torch.empty((), dtype=torch.int64).random_())
    generator = np.random.Generator(np.random.SFC64(seed))
    draws = generator.integers(-(2**63), 2**63 - 1, -(-like.numel() // 4), dtype=np.int64, endpoint=True)
    sixteen_bits = torch.from_numpy(draws).view(torch.int16)[: like.numel()].view(like.shape)
    # Compared in place: making and converting a bool tensor takes seven times as long.
    return sixteen_bits.ge_(round(dropout * 2**16) - 2**15).to(like.dtype)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, with `dropout_mask` on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Of the shape of `input`; in training some numbers are zero and the others are scaled up."""
        is_quick = input.device.type == "cpu" and not torch.compiler.is_compiling()  # compiled code draws fast
        if not self.training or not 0 < self.p < 1 or not is_quick or not input.numel():
            return torch_dropout(input, self.p, self.training)
        return input * dropout_mask(input, self.p).mul_(1 / (1 - self.p))


def quicken(model: nn.Module) -> nn.Module:
    """Replaces the slow modules inside `model`, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))
            elif isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))
    return model
