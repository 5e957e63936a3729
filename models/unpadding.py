"""Runs a BERT-family encoder without its padding.

A batch `[B, L]` is padded to its longest row, because every head and embedding of transformers wants it so. Between the
embeddings and the head lies the encoder stack, nearly all of the work, and there the padding is dropped:

1. a pre-hook on the stack gathers the real tokens, `[B, L, H] -> [1, T, H]`, T being the number of real tokens;
2. a registered attention function re-forms the rows, for attention only;
3. a hook on the way out puts the tokens back, `[1, T, H] -> [B, L, H]`, with zeros where padding was.

Which tokens are real is computed once a batch on the CPU (`Packing.of_mask`, in the collator) and travels to the
encoder as the keyword argument `packing`: a `nonzero` inside the hook would make a GPU wait in every forward.

The idea is that of effective transformers (https://github.com/bytedance/effective_transformer) and of ModernBERT
(arXiv:2412.13663, section 2.1.3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from models.attention import attend, kernel_for, variable_length_attention

ATTENTION_NAME = "unpadded"
# Where each architecture keeps its stack of layers, by transformers' `config.model_type`.
ENCODER_STACKS = {
    "bert": "encoder",
    "electra": "encoder",
    "roberta": "encoder",
    "xlm-roberta": "encoder",
    "distilbert": "transformer",
}
# On a CPU one attention call serves all rows up to this many times the shortest of them. Measured with ELECTRA-small's
# shape on NSMC lengths: 1.0 (no padding at all, 25 calls a layer) 85 rows/s, 1.3 103, 1.6 105, 2.5 105, one call 87.
LONGEST_TO_SHORTEST_IN_GROUP = 1.6


@dataclass(frozen=True)
class RowGroup:
    """Neighbouring packed rows of like length, which one attention call on the CPU takes as a `[rows, length]` block.

    start, end: which packed tokens they are.
    rows, length: their number and the length of the longest.
    gather: `[rows * length]` positions of the block's tokens counted from `start`; None where all rows have one length,
        when the block is a view.
    scatter: `[end - start]` positions of the real tokens in the flattened block; None likewise.
    mask: bool `[1, rows, 1, length]`, true at real tokens; None likewise.
    """

    start: int
    end: int
    rows: int
    length: int
    gather: Tensor | None = None
    scatter: Tensor | None = None
    mask: Tensor | None = None

    @classmethod
    def of_lengths(cls, start: int, lengths: np.ndarray) -> RowGroup:
        rows, length, end = len(lengths), int(lengths[-1]), start + int(lengths.sum())
        if lengths[0] == length:
            return cls(start, end, rows, length)
        columns = np.arange(length)
        mask = columns < lengths[:, None]
        row_starts = np.cumsum(lengths) - lengths
        gather = np.where(mask, row_starts[:, None] + columns, 0).reshape(-1)
        scatter = np.flatnonzero(mask)
        return cls(start, end, rows, length, *map(torch.from_numpy, (gather, scatter, mask[None, :, None, :])))


@dataclass(frozen=True)
class Packing:
    """Where the real tokens of one padded batch `[B, L]` lie. Rows are packed one after another, shortest row first.

    indices: `[T]`, the position of each packed token in the flattened `[B * L]` batch.
    row_starts: int32 `[rows + 1]`, where each packed row starts; its last element is T.
    longest: no packed row is longer.
    groups: the rows in blocks, for attention on a CPU; empty where attention goes by the tensors alone.

    With T rounded up (`of_mask`), the missing tokens make up a dummy row at the end. They stand for the position B * L,
    just behind the batch: they are copies of the batch's last token, see only one another, and are dropped on the way
    out, so that they change neither outputs nor gradients.
    """

    indices: Tensor
    row_starts: Tensor
    longest: int
    groups: tuple[RowGroup, ...] = ()

    @classmethod
    def of_mask(cls, attention_mask: np.ndarray, multiple: int | None = None) -> Packing:
        """The packing of a `[B, L]` mask of 0 and 1. Holes in a row are allowed (Splinter masks tokens inside rows).

        multiple: T is rounded up to a multiple of it (1: T as it is), so that batches of one shape differ in nothing
        but what is in their tensors. None: T as it is, with groups, for a CPU.
        """
        real = np.asarray(attention_mask, dtype=bool)
        lengths = real.sum(axis=1)
        order = np.argsort(lengths, kind="stable")
        positions = np.arange(real.size).reshape(real.shape)
        indices = positions[order][real[order]]
        lengths = lengths[order]
        groups = group_rows(lengths) if multiple is None else ()
        if multiple is not None:
            missing = -len(indices) % multiple
            lengths = np.append(lengths, missing)
            indices = np.append(indices, np.full(missing, real.size))
        longest = max(real.shape[1], multiple or 0)
        row_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return cls(torch.from_numpy(indices), torch.from_numpy(row_starts), longest, groups)

    def to(self, device: torch.device, non_blocking: bool = False) -> Packing:
        """The same packing on `device`. The groups serve attention on a CPU alone and stay behind."""
        if device.type == "cpu":
            return self
        indices, row_starts = (part.to(device, non_blocking=non_blocking) for part in (self.indices, self.row_starts))
        return Packing(indices, row_starts, self.longest)

    def pin_memory(self) -> Packing:
        """The same packing in page-locked memory; called by `DataLoader(pin_memory=True)`."""
        return replace(self, indices=self.indices.pin_memory(), row_starts=self.row_starts.pin_memory())

    def gather(self, tokens: Tensor) -> Tensor:
        """`[T, ...]` packed tokens of a flattened batch, `[B * L, ...]`."""
        return tokens.index_select(0, self.indices.clamp(max=len(tokens) - 1))

    def scatter(self, packed: Tensor, places: int) -> Tensor:
        """`[places, ...]`, the flattened batch of B * L places again, with zeros where padding was."""
        # One place more, for the tokens of the dummy row.
        return packed.new_zeros(places + 1, *packed.shape[1:]).index_copy(0, self.indices, packed)[:places]


def group_rows(lengths: np.ndarray) -> tuple[RowGroup, ...]:
    """Cuts ascending row lengths `[B]` into groups of like length; rows of length 0 are left out."""
    groups, start = [], 0
    first = int(np.searchsorted(lengths, 1))
    while first < len(lengths):
        last = int(np.searchsorted(lengths, lengths[first] * LONGEST_TO_SHORTEST_IN_GROUP, side="right"))
        groups.append(RowGroup.of_lengths(start, lengths[first:last]))
        start, first = groups[-1].end, last
    return tuple(groups)


def supports_unpadding(model: PreTrainedModel) -> bool:
    """Whether `unpad_encoder` knows where this architecture keeps its stack of layers."""
    return model.config.model_type in ENCODER_STACKS


def unpad_encoder(model: PreTrainedModel) -> PreTrainedModel:
    """Puts the hooks and the attention function under `model`, in place; its weights and outputs stay what they were.

    From then on a forward that is given `packing=Packing` runs its encoder unpadded, and one without runs as before.
    Recorded hidden states (`output_hidden_states=True`) are in packed form.

    Raises ValueError for an architecture that is not in `ENCODER_STACKS`.
    """
    if not supports_unpadding(model):
        raise ValueError(f"unpadding is written for {', '.join(ENCODER_STACKS)}, not for {model.config.model_type}")
    stack = getattr(model.base_model, ENCODER_STACKS[model.config.model_type])
    stack.register_forward_pre_hook(_pack_hidden_states, with_kwargs=True)
    stack.register_forward_hook(_restore_hidden_states, with_kwargs=True)
    model.set_attn_implementation(ATTENTION_NAME)
    return model


def _pack_hidden_states(stack: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    packing: Packing | None = kwargs.get("packing")
    if packing is None:
        return None
    hidden_states = args[0] if args else kwargs.pop("hidden_states")  # [B, L, H]
    packed = packing.gather(hidden_states.flatten(0, 1)).unsqueeze(0)
    return (packed, *args[1:]), {**kwargs, "padded_shape": hidden_states.shape}


def _restore_hidden_states(stack: nn.Module, args: tuple, kwargs: dict, output):
    packing: Packing | None = kwargs.get("packing")
    if packing is None:
        return None
    batch, length, width = kwargs["padded_shape"]
    padded = packing.scatter(output.last_hidden_state[0], batch * length)
    output.last_hidden_state = padded.view(batch, length, width)
    return output


def unpadded_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    packing: Packing | None = None,
    padded_shape: torch.Size | None = None,
    **kwargs,
) -> tuple[Tensor, None]:
    """Attention of each row with itself; signature of transformers' `AttentionInterface`.

    query, key, value: `[1, heads, T, D]` packed rows, or `[B, heads, L, D]` where there is no packing. padded_shape: of
    the batch that they were packed from, `[B, L, H]`.
    Returns `[1, T, heads, D]` or `[B, L, heads, D]`, and no weights.
    """
    if packing is None:
        mask = None if attention_mask is None else attention_mask[:, None, None, :].bool()
        return attend(query, key, value, mask, dropout, scaling).transpose(1, 2), None
    packed = (query[0], key[0], value[0])  # [heads, T, D] each
    if packing.groups:
        output = _attention_by_groups(*packed, packing, scaling, dropout)
    elif kernel := kernel_for(query.device, query.dtype, query.shape[-1]):
        starts, longest = packing.row_starts, packing.longest
        packed = (part.transpose(0, 1) for part in packed)
        output = variable_length_attention(kernel, *packed, starts, starts, (longest, longest), dropout, scaling)
    else:
        output = _attention_of_padded_rows(*packed, packing, padded_shape[:2], scaling, dropout)
    return output.unsqueeze(0), None


def _attention_by_groups(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, scaling: float | None, dropout: float
) -> Tensor:
    """`[heads, T, D]` to `[T, heads, D]`, one call for each group of rows."""
    heads, _, width = query.shape
    outputs = []
    for group in packing.groups:

        def block(tokens: Tensor, group: RowGroup = group) -> Tensor:
            tokens = tokens[:, group.start : group.end]
            if group.gather is not None:
                tokens = tokens.index_select(1, group.gather)
            return tokens.reshape(heads, group.rows, group.length, width)

        output = attend(block(query), block(key), block(value), group.mask, dropout, scaling)
        output = output.reshape(heads, group.rows * group.length, width)
        outputs.append(output if group.scatter is None else output.index_select(1, group.scatter))
    return torch.cat(outputs, dim=1).transpose(0, 1)


def _attention_of_padded_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    shape: tuple[int, int],
    scaling: float | None,
    dropout: float,
) -> Tensor:
    """`[heads, T, D]` to `[T, heads, D]`; pads the rows again, for attention only: for devices without variable-length
    kernels.

    shape: B and L of the batch.
    """
    rows, length = shape
    heads, tokens, width = query.shape

    def padded(part: Tensor) -> Tensor:
        places = packing.scatter(part.transpose(0, 1), rows * length)
        return places.view(rows, length, heads, width).transpose(1, 2)

    real = packing.scatter(query.new_ones(tokens), rows * length).view(rows, 1, 1, length).bool()
    output = attend(padded(query), padded(key), padded(value), real, dropout, scaling)
    return packing.gather(output.transpose(1, 2).flatten(0, 1))


def mask_as_it_is(*args, attention_mask: Tensor | None = None, **kwargs) -> Tensor | None:
    """The 2-D mask, not expanded: packed rows need none, and transformers' own expansion would make a GPU wait."""
    return attention_mask


AttentionInterface.register(ATTENTION_NAME, unpadded_attention)
AttentionMaskInterface.register(ATTENTION_NAME, mask_as_it_is)
