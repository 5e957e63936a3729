"""Random numbers that belong to rows.

The numbers that are drawn for a row do not depend on the other rows of its batch. So a run stays the same however its
steps are cut into micro-batches, and on however many processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
SPLIT_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
NUMBERS_OF_A_KIND = 40  # bits: each kind has 2 ** this many numbers of its own


class RowDraws:
    """Numbers for the rows of a batch, each row from a stream of its own.

    A number is a hash of the row, its purpose and a counter, by SplitMix64 (Steele, Lea and Flood 2014, "Fast
    splittable pseudorandom number generators"), so that any number can be computed without the ones before it.
    """

    def __init__(self, seeds: Sequence[int], rows: np.ndarray):
        """The streams of `rows`, `[B]`, which are any whole numbers; other seeds, other streams."""
        base = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
        self._streams = _hash(base + rows.astype(np.uint64) * GOLDEN)

    def uniform(self, kind: int, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """fp64 in [0, 1), independent of one another, in the shape that `rows` and `numbers` have together.

        kind: the purpose; each kind has numbers of its own. rows: positions in the batch, from 0. numbers: int64
        positions in the row's stream, from 0.
        """
        counters = numbers.astype(np.uint64)
        counters += np.uint64(kind << NUMBERS_OF_A_KIND)
        counters *= GOLDEN
        values = _hash(self._streams[rows] + counters)
        values >>= np.uint64(11)
        return values * 2.0**-53


def _hash(values: np.ndarray) -> np.ndarray:
    """SplitMix64's output function on uint64, in place; numbers that differ in one bit get unrelated hashes."""
    for shift, factor in SPLIT_MIX:
        values ^= values >> shift
        values *= factor
    values ^= values >> np.uint64(31)
    return values
