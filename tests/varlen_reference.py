"""Variable-length attention row by row, for tests where no GPU has the kernel."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def attention_row_by_row(
    kernel: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_starts: Tensor,
    key_starts: Tensor,
    longest: tuple[int, int],
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """As `models.attention.variable_length_attention`. Gradients of keys that no row sees are NaN, like memory that
    nobody wrote to.
    """
    assert query_starts.dtype == key_starts.dtype == torch.int32 and len(query_starts) == len(key_starts)
    assert query_starts[0] == key_starts[0] == 0 and query_starts[-1] == len(query) and key_starts[-1] <= len(key)
    key, value = (_Unwritten.apply(part, int(key_starts[-1])) for part in (key, value))
    outputs = []
    bounds = (itertools.pairwise(starts.tolist()) for starts in (query_starts, key_starts))
    for (q, q_end), (k, k_end) in zip(*bounds, strict=True):
        assert q_end - q <= longest[0] and k_end - k <= longest[1]
        row = (part.transpose(0, 1) for part in (query[q:q_end], key[k:k_end], value[k:k_end]))
        outputs.append(scaled_dot_product_attention(*row, dropout_p=dropout, scale=scale).transpose(0, 1))
    return torch.cat(outputs)


class _Unwritten(torch.autograd.Function):
    """The same tensor; going backward, what lies behind `end` is NaN."""

    @staticmethod
    def forward(ctx, tensor: Tensor, end: int) -> Tensor:
        ctx.end = end
        return tensor.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.clone()
        gradient[ctx.end :] = float("nan")
        return gradient, None
