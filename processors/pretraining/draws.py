"""What span objectives draw from."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Draws(Protocol):
    """Random numbers that are the same for a row whatever stands beside it in a batch (`training/row_random.py`)."""

    def uniform(self, kind: int, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """fp64 in [0, 1): of each row of the batch, the numbers that are asked for, `numbers` from 0."""
