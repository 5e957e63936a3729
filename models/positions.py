"""Initializes position embeddings with sinusoids."""

from __future__ import annotations

import math

import torch
from torch import nn


@torch.no_grad()
def begin_as_sines(embeddings: nn.Embedding, standard_deviation: float) -> None:
    """Initializes `[positions, H]`, in place, with the sines and cosines of Vaswani et al. 2017 (arXiv:1706.03762,
    section 3.5), scaled down to the standard deviation of fresh weights. They are trained from there on.

    With sinusoids, an offset is the same linear map at every position. Otherwise that map has to be learned for
    each position, which takes a small model most of its first thousands of steps.
    """
    positions, width = embeddings.weight.shape
    frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    angles = torch.arange(positions)[:, None] * frequencies
    embeddings.weight[:, 0::2] = angles.sin()
    embeddings.weight[:, 1::2] = angles.cos()[:, : width // 2]
    embeddings.weight.mul_(math.sqrt(2) * standard_deviation)
