"""BigBird's attention: block-sparse for long batches, full for short ones, under transformers' models.

"Big Bird: Transformers for Longer Sequences" (Zaheer et al., 2020). Tokens form blocks of 64. The first and the last
block attend to everything and everything attends to them; every other block sees itself, its two neighbours and
`num_random_blocks` others, drawn once for each layer, head and length. These are the blocks that transformers draws in
training; in evaluation it takes block 0 for all of them, so that a key counts several times. Here training and
evaluation see the same blocks, as in the paper.

Weights are transformers' own, under the same names. No tensor has the size `[L, L]`.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad
from transformers import AttentionMaskInterface, PreTrainedModel

from models.attention import attend, kernel_for, needs_weights, recompute_in_backward, variable_length_attention
from models.heads import Attention
from models.unpadding import mask_as_it_is

ATTENTION_NAME = "bigbird"
# At these lengths BigBird was pretrained with blocks drawn for 4,096 tokens, out of the first 1,024 tokens only.
LENGTHS_OF_PRETRAINING = (1024, 3072, 4096)
RANDOM_WITHIN = 1024
# On a CPU, so that what the backward pass recomputes fits its caches. A GPU takes all heads at once and keeps it.
HEADS_AT_ONCE = 2
MOST_ROWS_OF_KERNEL = 65_535  # CUDA's limit for each dimension but the first of a kernel's launch grid
QUERIES_AT_ONCE = 512  # at most, where attention weights have to be computed, and again in the backward pass


def longest_full(config) -> int:
    """The longest batch, in tokens, that gets full attention: up to there, a block would see nearly all others."""
    return (5 + 2 * config.num_random_blocks) * config.block_size


def put_attention(model: PreTrainedModel, attention: Attention) -> PreTrainedModel:
    """Replaces the attention in transformers' BigBird by this file's, in place; the weights stay the same tensors.

    attention: "sparse" as above, or "full" for batches of any length.
    """
    encoder = model.base_model
    encoder.set_attention_type("original_full")  # for good: this path makes no masks of its own
    for config in (model.config, encoder.config):  # two objects, under one of our heads
        config._attn_implementation = ATTENTION_NAME
        # For whoever loads the saved model
        config.attention_type = "block_sparse" if attention == "sparse" else "original_full"
    for number, layer in enumerate(encoder.encoder.layer):
        layer.attention.self = BlockSparseAttention(layer.attention.self, model.config, number, attention)
    return model


class BlockSparseAttention(nn.Module):
    """One layer's attention, with the projections of the module that it replaces.

    layer: the layer's number, on which the random blocks depend.
    """

    def __init__(self, replaced: nn.Module, config, layer: int, attention: Attention):
        super().__init__()
        self.query, self.key, self.value = replaced.query, replaced.key, replaced.value
        self.heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.block_size, self.random_blocks = config.block_size, config.num_random_blocks
        self.blocks_of_pretraining = config.max_position_embeddings // config.block_size
        self.layer = layer
        self.longest_full = longest_full(config) if attention == "sparse" else None
        # Never dropped: the graphs of captured steps read these tensors at their addresses.
        self._seen: dict[tuple[torch.device, int], torch.Tensor] = {}

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        has_padding: bool = True,
        **kwargs,
    ) -> tuple[torch.Tensor, None]:
        """hidden_states: `[B, L, H]`; attention_mask: `[B, L]`, 0 at padding, or None. Returns `[B, L, H]`.

        has_padding: whether the mask has a 0; True where the caller does not know without reading it from the device.
        """
        rows, length, _ = hidden_states.shape
        query, key, value = (
            project(hidden_states).view(rows, length, self.heads, -1).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        mask = attention_mask.bool() if has_padding and attention_mask is not None else None
        dropout = self.dropout if self.training else 0.0
        if self.longest_full is None or length <= self.longest_full:
            mixed = full_attention(query, key, value, mask, dropout)
        else:
            missing = -length % self.block_size
            if missing:
                query, key, value = (pad(part, (0, 0, 0, missing)) for part in (query, key, value))
                mask = hidden_states.new_ones((rows, length), dtype=torch.bool) if mask is None else mask
                mask = pad(mask, (0, missing))
            mixed = block_sparse_attention(query, key, value, mask, self.seen(query), self.block_size, dropout)
            mixed = mixed[:, :, :length]
        return mixed.transpose(1, 2).reshape(rows, length, -1), None

    def seen(self, query: torch.Tensor) -> torch.Tensor:
        """`seen_blocks` for the queries' number of blocks, on their device."""
        blocks = query.shape[2] // self.block_size
        if (query.device, blocks) not in self._seen:
            shape = (self.layer, self.heads, blocks, self.random_blocks, self.block_size, self.blocks_of_pretraining)
            self._seen[query.device, blocks] = torch.from_numpy(seen_blocks(*shape)).to(query.device)
        return self._seen[query.device, blocks]


def full_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, dropout: float = 0.0
) -> torch.Tensor:
    """Attention to all keys. query, key, value: `[B, heads, L, D]`; mask: bool `[B, L]`, False at hidden keys."""
    visible = None if mask is None else mask[:, None, None]
    if mask is not None and kernel_for(query.device, query.dtype, query.shape[-1]) == "flash":
        return _full_attention_to_real_keys(query, key, value, mask, dropout)
    if not needs_weights(query, dropout) or query.shape[2] <= QUERIES_AT_ONCE:
        return attend(query, key, value, visible, dropout)
    parts = [
        recompute_in_backward(attend, part, key, value, visible, dropout)
        for part in query.split(QUERIES_AT_ONCE, dim=2)
    ]
    return torch.cat(parts, dim=2)


def block_sparse_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    seen: torch.Tensor,
    block_size: int,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Block-sparse attention: each block attends to the blocks that it sees.

    query, key, value: `[B, heads, L, D]`, L a multiple of block_size. mask: bool `[B, L]`, False at hidden keys.
    seen: `[heads, L / block_size - 2, slots]`, see `seen_blocks`. Returns `[B, heads, L, D]`.
    """
    first_and_last = torch.cat([query[:, :, :block_size], query[:, :, -block_size:]], dim=2)
    whole = full_attention(first_and_last, key, value, mask, dropout)
    if kernel_for(query.device, query.dtype, query.shape[-1]) == "flash":
        at_once = max(1, MOST_ROWS_OF_KERNEL // (seen.shape[0] * seen.shape[1]))
        masks = [None] * len(query) if mask is None else mask.split(at_once)
        parts = zip(query.split(at_once), key.split(at_once), value.split(at_once), masks, strict=False)
        middle = torch.cat([_middle_blocks_by_rows(*part, seen, block_size, dropout) for part in parts])
    elif query.device.type == "cuda":
        middle = _middle_blocks(query, key, value, mask, seen, block_size, dropout)
    else:
        # A few heads at a time, recomputed in the backward pass: the blocks together see each key about eight times. On
        # a CPU recomputing takes no longer than reading that much memory again.
        parts = [
            recompute_in_backward(
                _middle_blocks,
                *(part[:, heads] for part in (query, key, value)),
                mask,
                seen[heads],
                block_size,
                dropout,
            )
            for heads in (slice(at, at + HEADS_AT_ONCE) for at in range(0, query.shape[1], HEADS_AT_ONCE))
        ]
        middle = torch.cat(parts, dim=1)
    return torch.cat([whole[:, :, :block_size], middle, whole[:, :, block_size:]], dim=2)


def _middle_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    seen: torch.Tensor,
    block_size: int,
    dropout: float,
) -> torch.Tensor:
    """`block_sparse_attention` for all blocks but the first and the last: `[B, heads, L - 2 * block_size, D]`."""
    rows, heads, length, size = query.shape
    blocks = length // block_size
    middle, slots = blocks - 2, seen.shape[-1]
    # One row of keys for every block of queries: `[B, heads * middle, slots * block_size, D]`
    of_head = (torch.arange(heads, device=seen.device)[:, None, None] * blocks + seen.clamp(min=0)).flatten()
    key, value = (
        part.reshape(rows, heads * blocks, block_size * size)
        .index_select(1, of_head)
        .view(rows, heads * middle, slots * block_size, size)
        for part in (key, value)
    )
    visible = _visible_keys(rows, seen, mask, block_size)
    visible = visible.reshape(rows, heads * middle, 1, slots * block_size)
    query = query[:, :, block_size:-block_size].reshape(rows, heads * middle, block_size, size)
    return attend(query, key, value, visible, dropout).reshape(rows, heads, -1, size)


def _visible_keys(rows: int, seen: torch.Tensor, mask: torch.Tensor | None, block_size: int) -> torch.Tensor:
    """bool `[B, heads, middle blocks, slots, block_size]`: which keys of its slots each block of queries sees.

    seen: `[heads, middle blocks, slots]`, see `seen_blocks`. mask: `[B, L]`, False at hidden keys.
    """
    visible = (seen >= 0)[None, ..., None].expand(rows, *seen.shape, block_size)
    if mask is None:
        return visible
    return visible & mask.view(rows, -1, block_size)[:, seen.clamp(min=0)]


# --------------------------------------------------------------------------------------------------------------------
# On GPUs with FlashAttention: hidden keys are left out instead of masked
# --------------------------------------------------------------------------------------------------------------------


def _middle_blocks_by_rows(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    seen: torch.Tensor,
    block_size: int,
    dropout: float,
) -> torch.Tensor:
    """As `_middle_blocks`, with the kernel: one of its rows is one head's block of queries, with the keys it sees."""
    rows, heads, length, size = query.shape
    middle = seen.shape[1]
    visible = _visible_keys(rows, seen, mask, block_size)
    of_block = torch.arange(block_size, device=seen.device)
    of_head = torch.arange(rows * heads, device=seen.device).view(rows, heads, 1, 1, 1) * length
    keys = of_head + seen.clamp(min=0)[None, ..., None] * block_size + of_block  # [B, heads, middle, slots, block_size]
    queries = query[:, :, block_size:-block_size].reshape(-1, 1, size)
    output = _attention_of_rows(
        queries, key, value, visible.flatten(3).flatten(0, 2), keys.flatten(3).flatten(0, 2), block_size, dropout
    )
    return output.view(rows, heads, middle * block_size, size)


def _full_attention_to_real_keys(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, dropout: float
) -> torch.Tensor:
    """As `full_attention`, with the kernel: one of its rows is one head of one row of the batch."""
    rows, heads, queries, size = query.shape
    length = key.shape[2]
    visible = mask[:, None].expand(rows, heads, length).flatten(0, 1)
    keys = torch.arange(rows * heads * length, device=key.device).view(rows * heads, length)
    output = _attention_of_rows(query.reshape(-1, 1, size), key, value, visible, keys, queries, dropout)
    return output.view(rows, heads, queries, size)


def _attention_of_rows(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    visible: torch.Tensor,
    keys: torch.Tensor,
    queries: int,
    dropout: float,
) -> torch.Tensor:
    """`[N * queries, 1, D]`: N independent attentions, each of `queries` queries to its own keys.

    query: `[N * queries, 1, D]`; key, value: `[..., D]`. keys: `[N, K]`, indices of the flattened keys that each
    could see; visible: bool `[N, K]`, which of these it does see.
    """
    index, key_starts = _gathered(visible, keys, dummy=key[..., 0].numel())
    starts = torch.arange(0, len(query) + 1, queries, dtype=torch.int32, device=query.device)
    # A dummy key at the end takes the place of hidden keys, whose gradients the kernel leaves uninitialised.
    key, value = (
        pad(part.reshape(-1, 1, part.shape[-1]), (0, 0, 0, 0, 0, 1)).index_select(0, index) for part in (key, value)
    )
    return variable_length_attention(
        "flash", query, key, value, starts, key_starts, (queries, visible.shape[1]), dropout
    )


def _gathered(visible: torch.Tensor, keys: torch.Tensor, dummy: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`[N * K]`, the visible `keys` row after row, then `dummy` for each hidden one; and int32 `[N + 1]`, the start of
    each row. Works without asking the device how many are visible.
    """
    seen = visible.flatten()
    starts = pad(visible.sum(dim=1).cumsum(0), (1, 0)).int()
    # All hidden ones go to one additional place, which is cut off.
    places = torch.where(seen, seen.cumsum(0) - 1, len(seen))
    index = keys.new_full((len(seen) + 1,), dummy).scatter_(0, places, keys.flatten())
    return index[:-1], starts


@functools.lru_cache(maxsize=256)
def seen_blocks(
    layer: int, heads: int, blocks: int, random_blocks: int, block_size: int, blocks_of_pretraining: int
) -> np.ndarray:
    """`[heads, blocks - 2, 5 + random_blocks]`: the blocks that each block sees, without the first and the last block.

    In this order: first block, previous, itself, next, last block, random ones; -1 marks duplicates.
    """
    rows = np.arange(1, blocks - 1)
    near = np.stack([np.zeros_like(rows), rows - 1, rows, rows + 1, np.full_like(rows, blocks - 1)], axis=1)
    near[0, 1] = near[-1, 3] = -1  # the first and the last block are in the list already
    drawn = _random_blocks(layer, heads, blocks, random_blocks, block_size, blocks_of_pretraining)
    return np.concatenate([np.broadcast_to(near, (heads, *near.shape)), drawn], axis=2)


def _random_blocks(
    layer: int, heads: int, blocks: int, count: int, block_size: int, blocks_of_pretraining: int
) -> np.ndarray:
    """`[heads, blocks - 2, count]`: transformers' draws in training mode, from a separate generator.

    At the lengths of pretraining they may include the last block, which is then seen twice, as it was when the
    published weights were trained.
    """
    draws = np.random.RandomState(layer)  # this legacy generator draws the same numbers as np.random after seed(layer)
    if blocks * block_size in LENGTHS_OF_PRETRAINING:
        # The draws are made for the longest input, head after head, and the first rows are kept.
        rows = range(1, blocks_of_pretraining - 1)
        drawn = [[_of_pretraining(draws, row, len(rows), block_size)[:count] for row in rows] for _ in range(heads)]
        return np.array(drawn)[:, : blocks - 2]
    limit = 2 * count + 5  # only this many first blocks can be drawn
    drawn = np.zeros((blocks, heads, count), dtype=np.int64)
    for row in range(1, blocks):  # the last block draws too, though it sees everything
        for head in range(heads):
            drawn[row, head] = _of_the_first(draws, row, limit)[:count]
    return drawn[1:-1].transpose(1, 0, 2)


def _of_pretraining(draws: np.random.RandomState, row: int, rows: int, block_size: int) -> np.ndarray:
    """All blocks that a row (1 to `rows`) may draw, shuffled."""
    middle = np.arange(1, rows + 1)
    last = RANDOM_WITHIN // block_size - 1 if RANDOM_WITHIN > 2 * block_size else rows + 1
    if row <= 2:
        allowed = middle[row + 1 : last]
    elif row >= rows - 1:
        allowed = middle[:last]
    else:
        allowed = np.concatenate([middle[: min(row - 2, last)], middle[row + 1 : last]])
    return draws.permutation(allowed)


def _of_the_first(draws: np.random.RandomState, row: int, limit: int) -> np.ndarray:
    """The blocks among the first `limit` that a row may draw, shuffled."""
    shuffled = draws.permutation(np.arange(limit))
    refused = {0, limit - 1, row - 1, row, row + 1}
    if row == 1:
        refused.add(limit - 2)
    if row == limit - 2:
        refused.add(1)
    return np.array([block for block in shuffled if block not in refused])


AttentionMaskInterface.register(ATTENTION_NAME, mask_as_it_is)
