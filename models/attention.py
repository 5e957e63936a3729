"""Attention of some queries to some keys, as fast as the device has it with dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from models.quick_modules import kept


def needs_weights(query: Tensor, dropout: float) -> bool:
    """Whether torch has no kernel for this that goes without the attention weights: with dropout only GPUs have."""
    return dropout > 0 and query.device.type != "cuda"


def again_on_the_way_back(function: Callable[..., Tensor], *inputs: Any, **settings: Any) -> Tensor:
    """`function(*inputs)`, computed anew going backward instead of keeping what it needs (`torch.utils.checkpoint`).

    Not on XLA, whose compiler would find that both are the same, and dropout would not be.
    """
    if any(isinstance(part, Tensor) and part.device.type == "xla" for part in inputs):
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, **settings)


def attend(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None, dropout: float, scale: float | None = None
) -> Tensor:
    """`[B, heads, Q, D]`. key, value: `[B, heads, K, D]`; visible: bool, as broadcast to `[B, heads, Q, K]`.

    scale: of the products of queries and keys; by default D to the power of -1/2.
    """
    if dropout == 0 or query.device.type != "cpu":
        return scaled_dot_product_attention(query, key, value, visible, dropout, scale=scale)
    # torch's own way for this copies the keys twice and the weights three times. The products are in the inputs' dtype
    # already, and autocast would make the weights fp32.
    with torch.autocast("cpu", enabled=False):
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        scores = (query * scale) @ key.transpose(-1, -2)
        if visible is not None:
            # Added, not filled in, which takes three times as long. Half of what there is, that no sum overflows.
            unseen = torch.finfo(scores.dtype).min / 2
            scores += torch.zeros(visible.shape, dtype=scores.dtype).masked_fill_(~visible, unseen)
        weights = scores.softmax(dim=-1)
        # What is kept is scaled where it is smallest: in the values.
        return (weights * kept(weights, dropout)) @ (value / (1 - dropout))
