"""From arrays of token ids to what a model is called with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from models import ModelError, longest_input, takes_token_types
from models.unpadding import Packing, supports_unpadding, unpad_encoder


class Collator:
    """Makes the batches of one model.

    model: with its encoder unpadded where that is wanted and possible (`unpads`).
    Raises ModelError where rows of `length` tokens, which the setting `key` asks for, are more than it has positions.
    """

    def __init__(self, model, no_unpad: bool, length: int, key: str = "max_seq_len"):
        limit = longest_input(model.config)
        if limit is not None and length > limit:
            raise ModelError(f"{key} {length} is more than the model's {limit} positions")
        self.unpads = not no_unpad and supports_unpadding(model)
        self.model = unpad_encoder(model) if self.unpads else model
        self.takes_token_types = takes_token_types(model.config)

    def batch(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """A batch for `training/loop.py` from `input_ids`, `attention_mask` and `token_type_ids`, each `[B, L]`."""
        mask = arrays["attention_mask"]
        names = [name for name in arrays if self.takes_token_types or name != "token_type_ids"]
        inputs: dict[str, Any] = {name: torch.from_numpy(arrays[name]) for name in names}
        if self.unpads:
            inputs["packing"] = Packing.of_mask(mask)
        return {"inputs": inputs, "rows": len(mask), "real_tokens": int(mask.sum()), "padded_tokens": mask.size}
