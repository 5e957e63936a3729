"""Makes batches: from arrays of token ids to the arguments of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from models.attention import kernel_for
from models.compiling import compile_layers
from models.encoders import architecture_of, longest_input, takes_token_types
from models.errors import ModelError
from models.unpadding import Packing, supports_unpadding, unpad_encoder, why_padded

# exact: batches are as wide as their longest row, and the encoder runs over the real tokens only.
# rounded: width, number of tokens and number of targets are rounded up: for captured steps, which need a graph a shape.
# fixed: rows are padded to few lengths and every batch has as many rows: for XLA, which compiles for each shape.
Shapes = Literal["exact", "rounded", "fixed"]
CPU = torch.device("cpu")
NO_LABEL = torch.nn.CrossEntropyLoss().ignore_index  # label of the rows that fill a batch up
# With rounded shapes, the width is a quarter of the longest row or a multiple of that (a sixteenth where rows stay
# padded, because padding costs more there), and the number of tokens takes one of 64 values.
WIDTHS, WIDTHS_OF_PADDED_ROWS, NUMBERS_OF_TOKENS = 4, 16, 64


class Collator:
    """Makes the batches for one model.

    model: the model, whose encoder runs without padding where that is wanted and possible (`unpads`).
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
        """length: the most tokens that a row can have; `key` is the setting that says so. lengths: the widths that
        batches are padded to, ascending; if empty, each batch is padded to its longest row, or as `shapes` says.
        device: where the model will run.

        Raises ModelError where `length` exceeds the model's positions, or one of `lengths` exceeds `length`.
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
        self.passes_has_padding = architecture_of(model.config).sparse_attention and shapes != "fixed"

    @classmethod
    def of(cls, model, config, runtime, key: str) -> Collator:
        """The collator for a script's settings and its device. key: the setting with the length of the longest row.

        Prints the reason where the encoder runs on padded rows although the settings do not ask for that.
        """
        length = getattr(config, key)
        collator = cls(model, config.no_unpad, length, key, config.row_lengths(length), runtime.shapes, runtime.device)
        has_sparse_attention = architecture_of(model.config).sparse_attention  # models/bigbird.py skips padding itself
        if not (collator.unpads or config.no_unpad or runtime.shapes == "fixed" or has_sparse_attention):
            runtime.say_once(why_padded(model))
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
        """The width, in tokens, of a batch of rows with these lengths, `[B]`."""
        longest = int(lengths.max())
        return int(self.lengths[np.searchsorted(self.lengths, longest)]) if len(self.lengths) else longest

    def tokens(self, mask: np.ndarray, size: int | None = None) -> int:
        """How many tokens the encoder processes for a `[B, L]` mask of 0 and 1, filled up to `size` rows."""
        if not self.unpads:
            return (size or len(mask)) * mask.shape[1]
        multiple = self._multiple_of_tokens(len(mask)) or 1
        return math.ceil(int(mask.sum()) / multiple) * multiple

    def _multiple_of_tokens(self, rows: int) -> int | None:
        """The multiple that `Packing.of_mask` rounds up to in a batch with this many rows."""
        if self.shapes == "rounded":
            return math.ceil(rows * self.length / NUMBERS_OF_TOKENS)
        return None if self.device.type == "cpu" else 1

    def batch(
        self, arrays: dict[str, np.ndarray], size: int | None = None, terms: int | None = None, **labels: np.ndarray
    ) -> dict[str, Any]:
        """A batch for `training/plan.py` from `input_ids`, `attention_mask` and `token_type_ids`, each `[B, L]`, and
        any other argument of the model, `[B, ...]`. labels: `[B, ...]`; they stand beside the inputs in the batch.

        size: number of rows to fill the batch up to, for fixed shapes; the additional rows repeat the first row,
        without labels. terms: number of terms in the sum of the batch's losses; by default one for each row.
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
    """`[B, ...]` to `[B + missing, ...]`, filled up with copies of `row`, `[1, ...]`."""
    return torch.from_numpy(np.concatenate([array, *[row] * missing]) if missing else array)


def without_looking_at_masks(model):
    """Chooses attention that makes no decision by a mask's values, in place: XLA would have to stop and read them."""
    if supports_unpadding(model):
        return unpad_encoder(model)  # its attention function takes padded rows too
    if not architecture_of(model.config).sparse_attention:  # models/bigbird.py has replaced that one already
        model.set_attn_implementation("eager")
    return model
