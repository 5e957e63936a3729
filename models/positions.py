"""Which position each token has where some tokens are hidden, and how position embeddings begin as sinusoids."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn


def positions_among_visible(attention_mask: np.ndarray) -> np.ndarray:
    """Position ids, int64 `[B, L]`, for a mask `[B, L]` of 0 and 1: the number of visible tokens before each token.

    A hidden token takes no position; it bears the one of the next visible token, which nothing reads.
    """
    return np.cumsum(attention_mask, axis=1, dtype=np.int64) - attention_mask


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
