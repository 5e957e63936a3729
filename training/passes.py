"""How often an epoch goes through each of several corpora."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.row_random import RowDraws

BLOCKS = 2**16  # the kind of draws that chooses a block for a row; the kinds that masking draws begin at 0


class Passes:
    """Which block each row of an epoch is, when an epoch goes through some corpora more often than through others.

    sizes: number of blocks in each corpus; the blocks of all corpora are numbered one after another.
    weights: passes over each corpus in an epoch. The fraction beyond whole passes is drawn anew in every epoch.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float]):
        self._sizes = np.array(sizes)
        self._rows = np.maximum(1, np.rint(self._sizes * np.array(weights))).astype(np.int64)
        self._in_whole_passes = self._rows // self._sizes * self._sizes

    def __len__(self) -> int:
        """Number of rows in an epoch."""
        return int(self._rows.sum())

    def blocks(self, row_ids: np.ndarray, draws: RowDraws) -> np.ndarray:
        """Block numbers `[B]` for the rows `[B]` of an epoch."""
        ends = np.cumsum(self._rows)
        corpus = np.searchsorted(ends, row_ids, side="right")
        row = row_ids - (ends - self._rows)[corpus]
        size = self._sizes[corpus]
        uniform = draws.uniform(BLOCKS, np.arange(len(row_ids)), np.zeros(len(row_ids), dtype=np.int64))
        in_corpus = np.where(row < self._in_whole_passes[corpus], row % size, (uniform * size).astype(np.int64))
        return (np.cumsum(self._sizes) - self._sizes)[corpus] + in_corpus
