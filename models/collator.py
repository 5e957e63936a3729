"""From arrays of token ids to what a model is called with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from models import ModelError, longest_input, takes_token_types
from models.compiling import compile_layers
from models.unpadding import Packing, supports_unpadding, unpad_encoder
from processors.features import NO_LABEL


class Collator:
    """Makes the batches of one model.

    model: with its encoder unpadded where that is wanted and possible (`unpads`).
    """

    def __init__(
        self,
        model,
        no_unpad: bool,
        length: int,
        key: str = "max_seq_len",
        lengths: Sequence[int] = (),
        fixed_shapes: bool = False,
    ):
        """length: of the longest row there can be, which the setting `key` says. lengths: those that batches are padded
        to, ascending; none: each batch to its longest row. fixed_shapes: all tensors of a batch are of few shapes, as
        XLA wants them, so that rows stay padded.

        Raises ModelError where `length` is more than the model has positions, or less than one of `lengths`.
        """
        limit = longest_input(model.config)
        if limit is not None and length > limit:
            raise ModelError(f"{key} {length} is more than the model's {limit} positions")
        if lengths and lengths[-1] > length:
            raise ModelError(f"length_buckets {lengths[-1]} is more than {key} {length}, which no row exceeds")
        self.lengths = np.array(lengths, dtype=np.int64)
        self.unpads = supports_unpadding(model) and not (no_unpad or fixed_shapes)
        self.model = unpad_encoder(model) if self.unpads else model
        if fixed_shapes:
            self.model = without_looking_at_masks(model)
        self.takes_token_types = takes_token_types(model.config)

    @classmethod
    def of(cls, model, config, key: str) -> Collator:
        """As the settings of a script say; `key` is the one for the longest row."""
        length = getattr(config, key)
        collator = cls(model, config.no_unpad, length, key, config.row_lengths(length), config.use_tpu)
        if config.compile and not config.use_tpu:
            collator.model = compile_layers(collator.model)
        return collator

    def width(self, lengths: np.ndarray) -> int:
        """How many tokens wide a batch is that holds rows of these lengths, `[B]`."""
        longest = int(lengths.max())
        return int(self.lengths[np.searchsorted(self.lengths, longest)]) if len(self.lengths) else longest

    def batch(self, arrays: dict[str, np.ndarray], size: int | None = None, **labels: np.ndarray) -> dict[str, Any]:
        """A batch for `training/plan.py` from `input_ids`, `attention_mask` and `token_type_ids`, each `[B, L]`, and
        whatever else the model is called with, `[B, ...]`. labels: `[B, ...]`; they are put beside the inputs.

        size: rows that it is to have, where shapes are fixed. Those beyond B are the first row again, without labels.
        """
        mask = arrays["attention_mask"]
        rows = len(mask)
        missing = (size or rows) - rows
        names = [name for name in arrays if self.takes_token_types or name != "token_type_ids"]
        inputs: dict[str, Any] = {name: _tensor(arrays[name], arrays[name][:1], missing) for name in names}
        if self.unpads:
            inputs["packing"] = Packing.of_mask(mask)
        targets = {name: _tensor(array, np.full_like(array[:1], NO_LABEL), missing) for name, array in labels.items()}
        sizes = {"rows": rows, "real_tokens": int(mask.sum()), "padded_tokens": mask.size + missing * mask.shape[1]}
        return {"inputs": inputs, **targets, **sizes}


def _tensor(array: np.ndarray, row: np.ndarray, missing: int) -> torch.Tensor:
    """`[B + missing, ...]` of `[B, ...]`, filled up with `row`, `[1, ...]`."""
    return torch.from_numpy(np.concatenate([array, *[row] * missing]) if missing else array)


def without_looking_at_masks(model):
    """transformers' own masks look at their values, for which XLA would have to stop; changes the model in place."""
    if supports_unpadding(model):
        return unpad_encoder(model)  # whose attention function takes padded rows as well
    if model.config.model_type != "big_bird":  # which has attention of its own by now
        model.set_attn_implementation("eager")
    return model
