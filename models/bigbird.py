"""BigBird's attention: block-sparse for long batches, full for short ones, under transformers' models.

"Big Bird: Transformers for Longer Sequences" (Zaheer et al., 2020). Tokens are taken in blocks of 64. The first and the
last block attend to everything and everything attends to them; every other block sees itself, its two neighbours and
`num_random_blocks` others, drawn once for each layer, head and length. These are the blocks that transformers draws in
training; it takes block 0 for all of them in evaluation, where a key then counts several times. Here training and
evaluation see the same blocks, as in the paper.

Weights are transformers' own, under the same names. Nothing of size `[L, L]` is made.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad
from transformers import AttentionMaskInterface, PreTrainedModel

from models import Attention
from models.attention import again_on_the_way_back, attend, needs_weights
from models.unpadding import mask_as_it_is

ATTENTION_NAME = "bigbird"
# Lengths for which BigBird was pretrained with blocks drawn for 4,096 tokens, of the first 1,024 only.
LENGTHS_OF_PRETRAINING = (1024, 3072, 4096)
RANDOM_WITHIN = 1024
HEADS_AT_ONCE = 2
QUERIES_AT_ONCE = 512  # where attention weights have to be made: those of so many tokens, made again going backward


def longest_full(config) -> int:
    """Batches of up to so many tokens get full attention: there, the blocks to be seen are nearly all there are."""
    return (5 + 2 * config.num_random_blocks) * config.block_size


def put_attention(model: PreTrainedModel, attention: Attention) -> PreTrainedModel:
    """Puts this file's attention under a BigBird model of transformers, in place; its weights stay where they are.

    attention: "sparse" as above, or "full" for batches of any length.
    """
    encoder = model.base_model
    encoder.set_attention_type("original_full")  # for good: the path that makes no masks of its own
    for config in (model.config, encoder.config):  # two, under a head of ours
        config._attn_implementation = ATTENTION_NAME
        config.attention_type = "block_sparse" if attention == "sparse" else "original_full"  # for who loads it later
    for number, layer in enumerate(encoder.encoder.layer):
        layer.attention.self = BlockSparseAttention(layer.attention.self, model.config, number, attention)
    return model


class BlockSparseAttention(nn.Module):
    """Attention of one layer, with the projections of the module that it takes the place of.

    layer: its number, which the random blocks depend on.
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

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> tuple[torch.Tensor, None]:
        """hidden_states: `[B, L, H]`; attention_mask: `[B, L]`, 0 at padding, or None. Returns `[B, L, H]`."""
        rows, length, _ = hidden_states.shape
        query, key, value = (
            project(hidden_states).view(rows, length, self.heads, -1).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        mask = None if attention_mask is None else attention_mask.bool()
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
        blocks = query.shape[2] // self.block_size
        shape = (self.layer, self.heads, blocks, self.random_blocks, self.block_size, self.blocks_of_pretraining)
        return _seen_blocks_on(query.device, *shape)


def full_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, dropout: float = 0.0
) -> torch.Tensor:
    """Attention to all keys. query, key, value: `[B, heads, L, D]`; mask: bool `[B, L]`, False at keys not seen."""
    visible = None if mask is None else mask[:, None, None]
    if not needs_weights(query, dropout) or query.shape[2] <= QUERIES_AT_ONCE:
        return attend(query, key, value, visible, dropout)
    parts = [
        again_on_the_way_back(attend, part, key, value, visible, dropout)
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
    """Attention of each block to the blocks that it sees.

    query, key, value: `[B, heads, L, D]`, L in whole blocks. mask: bool `[B, L]`, False at keys that are not seen.
    seen: `[heads, L / block_size - 2, slots]`, see `seen_blocks`. Returns `[B, heads, L, D]`.
    """
    first_and_last = torch.cat([query[:, :, :block_size], query[:, :, -block_size:]], dim=2)
    whole = full_attention(first_and_last, key, value, mask, dropout)
    # A few heads at a time, and again going backward: the keys that blocks see are eight times as many as there are.
    # On a CPU that takes no longer than fetching so much memory anew does.
    parts = [
        again_on_the_way_back(
            _middle_blocks,
            *(part[:, heads] for part in (query, key, value)),
            mask,
            seen[heads],
            block_size,
            dropout,
        )
        for heads in (slice(at, at + HEADS_AT_ONCE) for at in range(0, query.shape[1], HEADS_AT_ONCE))
    ]
    return torch.cat([whole[:, :, :block_size], torch.cat(parts, dim=1), whole[:, :, block_size:]], dim=2)


def _middle_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    seen: torch.Tensor,
    block_size: int,
    dropout: float,
) -> torch.Tensor:
    """What `block_sparse_attention` gives for all blocks but the first and the last."""
    rows, heads, length, size = query.shape
    blocks = length // block_size
    middle, slots = blocks - 2, seen.shape[-1]
    # One row of keys for every block of queries: `[B, heads * middle, slots * block_size, D]`
    is_used, seen = seen >= 0, seen.clamp(min=0)
    of_head = (torch.arange(heads, device=seen.device)[:, None, None] * blocks + seen).flatten()
    key, value = (
        part.reshape(rows, heads * blocks, block_size * size)
        .index_select(1, of_head)
        .view(rows, heads * middle, slots * block_size, size)
        for part in (key, value)
    )
    visible = is_used[None, ..., None].expand(rows, heads, middle, slots, block_size)
    if mask is not None:
        visible = visible & mask.view(rows, blocks, block_size)[:, seen]
    visible = visible.reshape(rows, heads * middle, 1, slots * block_size)
    query = query[:, :, block_size:-block_size].reshape(rows, heads * middle, block_size, size)
    return attend(query, key, value, visible, dropout).view(rows, heads, -1, size)


@functools.lru_cache(maxsize=256)
def _seen_blocks_on(device: torch.device, *shape: int) -> torch.Tensor:
    return torch.from_numpy(seen_blocks(*shape)).to(device)


def seen_blocks(
    layer: int, heads: int, blocks: int, random_blocks: int, block_size: int, blocks_of_pretraining: int
) -> np.ndarray:
    """`[heads, blocks - 2, 5 + random_blocks]`: what each block but the first and the last sees.

    First block, the one before, itself, the one after, last block, random ones; -1 for what would come twice so.
    """
    rows = np.arange(1, blocks - 1)
    near = np.stack([np.zeros_like(rows), rows - 1, rows, rows + 1, np.full_like(rows, blocks - 1)], axis=1)
    near[0, 1] = near[-1, 3] = -1  # the first and the last block are there already
    drawn = _random_blocks(layer, heads, blocks, random_blocks, block_size, blocks_of_pretraining)
    return np.concatenate([np.broadcast_to(near, (heads, *near.shape)), drawn], axis=2)


def _random_blocks(
    layer: int, heads: int, blocks: int, count: int, block_size: int, blocks_of_pretraining: int
) -> np.ndarray:
    """`[heads, blocks - 2, count]`: the draws of transformers' training mode, from a generator of their own.

    For the lengths of pretraining they may hold the last block, which is then seen twice: the published weights were
    made so.
    """
    draws = np.random.RandomState(layer)  # the old generator: the same numbers as after np.random.seed(layer)
    if blocks * block_size in LENGTHS_OF_PRETRAINING:
        # All rows of the longest input are drawn, head after head, and those that there are are kept.
        rows = range(1, blocks_of_pretraining - 1)
        drawn = [[_of_pretraining(draws, row, len(rows), block_size)[:count] for row in rows] for _ in range(heads)]
        return np.array(drawn)[:, : blocks - 2]
    limit = 2 * count + 5  # only the first blocks are drawn from, so many
    drawn = np.zeros((blocks, heads, count), dtype=np.int64)
    for row in range(1, blocks):  # the last one's are drawn, though it sees everything
        for head in range(heads):
            drawn[row, head] = _of_the_first(draws, row, limit)[:count]
    return drawn[1:-1].transpose(1, 0, 2)


def _of_pretraining(draws: np.random.RandomState, row: int, rows: int, block_size: int) -> np.ndarray:
    """All blocks that a row, of 1 to `rows`, may draw, shuffled."""
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
