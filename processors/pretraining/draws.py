"""The random numbers that span objectives need, as an interface."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Draws(Protocol):
    """Random numbers for each row that do not depend on the other rows of a batch (`training/row_random.py`)."""

    def uniform(self, kind: int, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """fp64 in [0, 1): for each of `rows`, numbers of the batch's rows, its random number with the index `numbers`.

        kind: separates the sequences of random numbers. rows, numbers: int64, broadcast against each other.
        """
