"""Attention with dropout, by the fastest way that the device has."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from models.fast_dropout import dropout_mask


def needs_weights(query: Tensor, dropout: float) -> bool:
    """True where torch has no fused kernel: with dropout, only CUDA has one."""
    return dropout > 0 and query.device.type != "cuda"


def recompute_in_backward(function: Callable[..., Tensor], *inputs: Any, **settings: Any) -> Tensor:
    """`function(*inputs)`, recomputed in the backward pass to save memory (`torch.utils.checkpoint`).

    On XLA it is not recomputed: the compiler would merge both computations, and the dropout masks would differ.
    """
    if any(isinstance(part, Tensor) and part.device.type == "xla" for part in inputs):
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, **settings)


def attend(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None, dropout: float, scale: float | None = None
) -> Tensor:
    """`[B, heads, Q, D]`. key, value: `[B, heads, K, D]`; visible: bool, broadcastable to
    `[B, heads, Q, K]`. scale: factor for the products of queries and keys; by default 1 / sqrt(D).
    """
    if dropout == 0 or query.device.type != "cpu":
        return scaled_dot_product_attention(query, key, value, visible, dropout, scale=scale)
    # torch's own implementation copies the keys twice and the weights three times. The inputs are in the right dtype
    # already; autocast would make the weights fp32.
    with torch.autocast("cpu", enabled=False):
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        scores = (query * scale) @ key.transpose(-1, -2)
        if visible is not None:
            # Added, as masked_fill takes three times as long. Half of the dtype's minimum: sums cannot overflow.
            unseen = torch.finfo(scores.dtype).min / 2
            scores += torch.zeros(visible.shape, dtype=scores.dtype).masked_fill_(~visible, unseen)
        weights = scores.softmax(dim=-1)
        # The scaling by 1 / (1 - dropout) is applied to the values, the smallest of the tensors.
        return (weights * dropout_mask(weights, dropout)) @ (value / (1 - dropout))


# --------------------------------------------------------------------------------------------------------------------
# Rows of unequal length, one after another: CUDA's variable-length kernels
# --------------------------------------------------------------------------------------------------------------------

Kernel = Literal["flash", "efficient"]


def variable_length_attention(
    kernel: Kernel,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_starts: Tensor,
    key_starts: Tensor,
    longest: tuple[int, int],
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Attention within rows of unequal length: `[T, heads, D]`.

    query: `[T, heads, D]`; key, value: `[K, heads, D]`; rows lie one after another. query_starts, key_starts: int32
    `[rows + 1]`, the start of each row, and the end of the last. longest: upper bounds for a row's queries and keys.
    Warning: no query sees keys after the last end, and the gradients of those keys are uninitialised memory.

    torch's public function for this (`torch.nn.attention.varlen`) has no dropout. These two operators are private;
    torch 2.11 and 2.13 accept these arguments, with a backward pass (`kernel_for` tries them before use).
    """
    if kernel == "flash":
        return torch.ops.aten._flash_attention_forward(
            query, key, value, query_starts, key_starts, *longest, dropout, False, False, scale=scale
        )[0]
    batch = (part.unsqueeze(0) for part in (query, key, value))
    no_bias, no_causal_mask, for_backward = None, 0, True
    output = torch.ops.aten._efficient_attention_forward(
        *batch, no_bias, query_starts, key_starts, *longest, dropout, no_causal_mask, for_backward, scale=scale
    )[0]
    return output.squeeze(0)


@functools.cache
def kernel_for(device: torch.device, dtype: torch.dtype, size: int) -> Kernel | None:
    """The fastest variable-length kernel that works on a device for heads of `size` numbers, or None.

    FlashAttention (Dao, 2023, arXiv:2307.08691) takes bf16 and fp16, on Ampere and newer; the memory-efficient kernel
    takes fp32 too, and older cards. Each is tried on two rows, forward and backward.
    """
    if device.type != "cuda":
        return None
    kernels: tuple[Kernel, ...] = ("efficient",) if dtype == torch.float32 else ("flash", "efficient")
    for kernel in kernels:
        try:
            starts = torch.tensor([0, 1, 3], dtype=torch.int32, device=device)
            query = torch.ones(3, 1, size, dtype=dtype, device=device, requires_grad=True)
            with torch.enable_grad(), torch.random.fork_rng([device]):  # the trial leaves the run's dropout alone
                variable_length_attention(kernel, query, query, query, starts, starts, (2, 2), 0.1).sum().backward()
            torch.cuda.synchronize(device)
        except (RuntimeError, AttributeError, TypeError):  # not built in, not for this card, other arguments
            continue
        return kernel
    return None
