"""Runs a BERT-family encoder without its padding.

A batch `[B, L]` is padded to its longest row, because the embeddings and heads of transformers need it. Nearly all of
the work is in the stack of layers between them, and there the padding is dropped:

1. a pre-hook on the stack gathers the real tokens, `[B, L, H] -> [1, T, H]`, T being the number of real tokens;
2. a registered attention function re-forms the rows, for attention only;
3. a hook on the way out puts the tokens back, `[1, T, H] -> [B, L, H]`, with zeros where padding was.

Which tokens are real is computed once for each batch on the CPU (`Packing.of_mask`, in the collator) and travels to the
encoder as the keyword argument `packing`: a `nonzero` inside the hook would make a GPU wait in every forward.

The idea comes from effective transformers (https://github.com/bytedance/effective_transformer) and ModernBERT
(arXiv:2412.13663, section 2.1.3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from models.attention import attend, kernel_for, variable_length_attention
from models.encoders import ARCHITECTURES, architecture_of

ATTENTION_NAME = "unpadded"
# On a CPU one attention call serves all rows up to this many times the shortest of them. Measured with ELECTRA-small's
# shape on NSMC lengths: 1.0 (no padding at all, 25 calls a layer) 85 rows/s, 1.3 103, 1.6 105, 2.5 105, one call 87.
LONGEST_TO_SHORTEST_IN_GROUP = 1.6


@dataclass(frozen=True)
class RowGroup:
    """Neighbouring packed rows of similar length: one `[rows, length]` block for one call of attention on a CPU.

    start, end: which packed tokens they are.
    rows, length: their number and the length of the longest.
    gather: `[rows * length]` positions of the block's tokens counted from `start`; None where all rows have one length,
        when the block is a view.
    scatter: `[end - start]` positions of the real tokens in the flattened block; None where gather is.
    mask: bool `[1, rows, 1, length]`, true at real tokens; None where gather is.
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
        """The group of the rows with these ascending lengths, `[rows]`, whose first packed token is `start`."""
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
    longest: an upper bound for the length of a packed row.
    groups: the rows in blocks, for attention on a CPU; empty on other devices, where attention uses the tensors alone.

    Where T is rounded up (`of_mask`), a dummy row at the end holds the additional tokens. Their index is B * L, one
    past the batch: they are copies of the batch's last token, see only one another, and are dropped on the way out, so
    that they change neither outputs nor gradients.
    """

    indices: Tensor
    row_starts: Tensor
    longest: int
    groups: tuple[RowGroup, ...] = ()

    @classmethod
    def of_mask(cls, attention_mask: np.ndarray, multiple: int | None = None) -> Packing:
        """The packing of a `[B, L]` mask of 0 and 1. Holes in a row are allowed (Splinter masks tokens inside rows).

        multiple: T is rounded up to a multiple of it (1: not rounded), so that batches of one shape differ only in the
        content of their tensors. None: T is not rounded, and the rows are grouped, for a CPU.
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
        """The same packing on `device`, without the groups, which only attention on a CPU uses."""
        if device.type == "cpu":
            return self
        indices, row_starts = (part.to(device, non_blocking=non_blocking) for part in (self.indices, self.row_starts))
        return Packing(indices, row_starts, self.longest)

    def pin_memory(self) -> Packing:
        """The same packing in page-locked memory; called by `DataLoader(pin_memory=True)`."""
        return replace(self, indices=self.indices.pin_memory(), row_starts=self.row_starts.pin_memory())

    def gather(self, tokens: Tensor) -> Tensor:
        """Packs the tokens of a flattened batch: `[B * L, ...]` to `[T, ...]`."""
        return tokens.index_select(0, self.indices.clamp(max=len(tokens) - 1))

    def scatter(self, packed: Tensor, places: int) -> Tensor:
        """Undoes `gather`: `[T, ...]` to `[places, ...]`, with zeros where padding was. places: B * L."""
        # One place more, for the tokens of the dummy row.
        return packed.new_zeros(places + 1, *packed.shape[1:]).index_copy(0, self.indices, packed)[:places]


def group_rows(lengths: np.ndarray) -> tuple[RowGroup, ...]:
    """Cuts ascending row lengths `[B]` into groups of similar length; rows of length 0 are left out."""
    groups, start = [], 0
    first = int(np.searchsorted(lengths, 1))
    while first < len(lengths):
        last = int(np.searchsorted(lengths, lengths[first] * LONGEST_TO_SHORTEST_IN_GROUP, side="right"))
        groups.append(RowGroup.of_lengths(start, lengths[first:last]))
        start, first = groups[-1].end, last
    return tuple(groups)


def why_padded(model: PreTrainedModel) -> str | None:
    """Why the encoder of `model` has to run on padded rows, in words; None where it can run without padding."""
    kind = model.config.model_type
    if positions_enter_in_layers(model):
        return (
            f"{kind} runs on padded rows: its positions enter inside the layers (rotary embeddings), and a token's "
            "place among the packed tokens is not its position in its row"
        )
    if architecture_of(model.config).layers is None:
        known = [name for name, architecture in ARCHITECTURES.items() if architecture.layers]
        return f"{kind} runs on padded rows: unpadding is written for {', '.join(known)}"
    return None


def supports_unpadding(model: PreTrainedModel) -> bool:
    """Whether the encoder of `model` can run without padding (`why_padded`)."""
    return why_padded(model) is None


def positions_enter_in_layers(model: PreTrainedModel) -> bool:
    """Whether the layers rotate queries and keys by their positions (RoFormer, Su et al., arXiv:2104.09864), as
    ModernBERT, NomicBERT and EuroBERT do too: such layers count positions from the start of what they are given.

    It shows in the settings of the configuration, or in a module for it. The rule holds before the table of
    architectures, so that a line added there cannot make such a model compute something wrong.
    """
    settings = (name for name, value in model.config.to_dict().items() if value is not None)
    if any(name.startswith(("rope", "rotary")) for name in settings):
        return True
    return any("rotary" in type(module).__name__.lower() for module in model.modules())


def unpad_encoder(model: PreTrainedModel) -> PreTrainedModel:
    """Adds the hooks and the attention function to `model`, in place. Its weights and outputs stay as they were.

    From then on, a forward with `packing=Packing` runs the encoder unpadded, and a forward without it runs as before.
    Recorded hidden states (`output_hidden_states=True`) are packed.

    Raises ValueError, with the reason, for a model whose encoder cannot run without padding.
    """
    if reason := why_padded(model):
        raise ValueError(reason)
    stack = getattr(model.base_model, architecture_of(model.config).layers)
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
    """Self-attention within each row; the signature is that of transformers' `AttentionInterface`.

    query, key, value: `[1, heads, T, D]` packed rows, or `[B, heads, L, D]` without packing. padded_shape: shape of the
    batch before it was packed, `[B, L, H]`.
    Returns `[1, T, heads, D]` or `[B, L, heads, D]`, and None in place of attention weights.
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
    """`[heads, T, D]` to `[T, heads, D]`, with one call of attention for each group of rows."""
    heads, _, width = query.shape
    sizes = [group.end - group.start for group in packing.groups]
    # Split once: each slice would have a gradient of its own, as large as all tokens.
    parts = zip(*(tokens.split(sizes, dim=1) for tokens in (query, key, value)), strict=True)
    outputs = []
    for group, of_group in zip(packing.groups, parts, strict=True):

        def block(tokens: Tensor, group: RowGroup = group) -> Tensor:
            if group.gather is not None:
                tokens = tokens.index_select(1, group.gather)
            return tokens.reshape(heads, group.rows, group.length, width)

        output = attend(*map(block, of_group), group.mask, dropout, scaling)
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
    """`[heads, T, D]` to `[T, heads, D]`. Pads the rows again, for attention only, on devices without variable-length
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
    """The mask `[B, L]`, not expanded: packed rows need no mask, and transformers' expansion would make a GPU wait."""
    return attention_mask


AttentionInterface.register(ATTENTION_NAME, unpadded_attention)
AttentionMaskInterface.register(ATTENTION_NAME, mask_as_it_is)
