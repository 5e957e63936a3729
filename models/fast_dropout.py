"""Modules that do what torch's and transformers' do, in less of a CPU's time.

torch draws one Bernoulli number after another on a CPU: in a training step of BERT's shape that is a tenth of the time,
and several passes over memory more. Here four draws come out of each 64 random bits, from NumPy's fastest generator.
transformers' `gelu_new` is eight passes over the largest tensors there are, which are kept for going backward.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as torch_dropout
from transformers.activations import NewGELUActivation


def dropout_mask(like: Tensor, dropout: float) -> Tensor:
    """0 with probability `dropout`, to 1 in 65,536, else 1: of the shape and dtype of `like`, which is on the CPU.

    torch's global generator gives the seed, so that what restores it (a checkpoint, gradient checkpointing) gets the
    same draws again.
    """
    seed = int(torch.empty((), dtype=torch.int64).random_())
    generator = np.random.Generator(np.random.SFC64(seed))
    draws = generator.integers(-(2**63), 2**63 - 1, -(-like.numel() // 4), dtype=np.int64, endpoint=True)
    sixteen_bits = torch.from_numpy(draws).view(torch.int16)[: like.numel()].view(like.shape)
    # Compared in place: a tensor of bool takes seven times as long to make and to convert.
    return sixteen_bits.ge_(round(dropout * 2**16) - 2**15).to(like.dtype)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, with `dropout_mask` on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        is_quick = input.device.type == "cpu" and not torch.compiler.is_compiling()  # which has quick draws of its own
        if not self.training or not 0 < self.p < 1 or not is_quick or not input.numel():
            return torch_dropout(input, self.p, self.training)
        return input * dropout_mask(input, self.p).mul_(1 / (1 - self.p))


def quicken(model: nn.Module) -> nn.Module:
    """Exchanges the slow modules inside `model`, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))
            elif isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))
    return model
