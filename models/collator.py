"""From arrays of token ids to what a model is called with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from models import ModelError, longest_input, takes_token_types
from models.attention import kernel_for
from models.compiling import compile_layers
from models.unpadding import Packing, supports_unpadding, unpad_encoder

# exact: batches are as wide as their longest row, and the encoder runs over as many tokens as there are.
# rounded: both, and the number of targets, are rounded up: for captured steps, where each shape costs a graph.
# fixed: rows stay padded, to few lengths, and every batch has as many: for XLA, where a shape costs a compilation.
Shapes = Literal["exact", "rounded", "fixed"]
CPU = torch.device("cpu")
NO_LABEL = torch.nn.CrossEntropyLoss().ignore_index  # of rows that fill a batch up
# Rounded, the width is 1/4, 2/4, 3/4 or 4/4 of the longest row (in sixteenths where rows stay padded, as padding costs
# more there), and the number of tokens is one of 64.
WIDTHS, WIDTHS_OF_PADDED_ROWS, NUMBERS_OF_TOKENS = 4, 16, 64


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
        shapes: Shapes = "exact",
        device: torch.device = CPU,
    ):
        """length: of the longest row there can be, which the setting `key` says. lengths: those that batches are padded
        to, ascending; none: each batch to its longest row, or as `shapes` says. device: where the model will run.

        Raises ModelError where `length` is more than the model has positions, or less than one of `lengths`.
        """
        limit = longest_input(model.config)
        if limit is not None and length > limit:
            raise ModelError(f"{key} {length} is more than the model's {limit} positions")
        if lengths and lengths[-1] > length:
            raise ModelError(f"length_buckets {lengths[-1]} is more than {key} {length}, which no row exceeds")
        self.length, self.shapes, self.device = length, shapes, device
        self.unpads = supports_unpadding(model) and not (no_unpad or shapes == "fixed")
        if shapes == "rounded" and not lengths:
            parts = WIDTHS if self.unpads else WIDTHS_OF_PADDED_ROWS
            lengths = sorted({math.ceil(length * part / parts) for part in range(1, parts + 1)})
        self.lengths = np.array(lengths, dtype=np.int64)
        self.model = unpad_encoder(model) if self.unpads else model
        if shapes != "exact" and not self.unpads:
            self.model = without_looking_at_masks(model)
        self.takes_token_types = takes_token_types(model.config)
        self.passes_has_padding = model.config.model_type == "big_bird" and shapes != "fixed"

    @classmethod
    def of(cls, model, config, runtime, key: str) -> Collator:
        """As the settings of a script and its machine say; `key` is the one for the longest row."""
        length = getattr(config, key)
        collator = cls(model, config.no_unpad, length, key, config.row_lengths(length), runtime.shapes, runtime.device)
        if collator.unpads and runtime.device.type == "cuda":
            size = model.config.hidden_size // model.config.num_attention_heads
            if kernel_for(runtime.device, runtime.dtype, size) is None:
                runtime.say_once(
                    f"attention pads its rows: {runtime.hardware()['name']} has no variable-length kernel for heads of "
                    f"{size} numbers in {runtime.precision}, or torch {torch.__version__} has none"
                )
        if config.compile and not config.use_tpu:
            collator.model = compile_layers(collator.model)
        return collator

    def width(self, lengths: np.ndarray) -> int:
        """How many tokens wide a batch is that holds rows of these lengths, `[B]`."""
        longest = int(lengths.max())
        return int(self.lengths[np.searchsorted(self.lengths, longest)]) if len(self.lengths) else longest

    def tokens(self, mask: np.ndarray, size: int | None = None) -> int:
        """How many tokens of a `[B, L]` mask of 0 and 1 the encoder runs over, of the rows that fill it up too."""
        if not self.unpads:
            return (size or len(mask)) * mask.shape[1]
        multiple = self._multiple_of_tokens(len(mask)) or 1
        return math.ceil(int(mask.sum()) / multiple) * multiple

    def _multiple_of_tokens(self, rows: int) -> int | None:
        """What `Packing.of_mask` is to round up to, in a batch of so many rows."""
        if self.shapes == "rounded":
            return math.ceil(rows * self.length / NUMBERS_OF_TOKENS)
        return None if self.device.type == "cpu" else 1

    def batch(
        self, arrays: dict[str, np.ndarray], size: int | None = None, terms: int | None = None, **labels: np.ndarray
    ) -> dict[str, Any]:
        """A batch for `training/plan.py` from `input_ids`, `attention_mask` and `token_type_ids`, each `[B, L]`, and
        whatever else the model is called with, `[B, ...]`. labels: `[B, ...]`; they are put beside the inputs.

        size: rows that it is to have, where shapes are fixed. Those beyond B are the first row again, without labels.
        terms: how many the sum of its losses has; by default one a row.
        """
        mask = arrays["attention_mask"]
        rows = len(mask)
        missing = (size or rows) - rows
        names = [name for name in arrays if self.takes_token_types or name != "token_type_ids"]
        inputs: dict[str, Any] = {name: _tensor(arrays[name], arrays[name][:1], missing) for name in names}
        if self.unpads:
            inputs["packing"] = Packing.of_mask(mask, self._multiple_of_tokens(rows))
        if self.passes_has_padding:
            inputs["has_padding"] = not bool(mask.all())
        targets = {name: _tensor(array, np.full_like(array[:1], NO_LABEL), missing) for name, array in labels.items()}
        terms = rows if terms is None else terms
        counts = {"real_tokens": int(mask.sum()), "padded_tokens": mask.size + missing * mask.shape[1]}
        return {"inputs": inputs, **targets, "rows": rows, "terms": terms, **counts}


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
