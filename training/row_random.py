"""Random numbers that belong to rows.

What is drawn for a row of a batch must be the same whatever stands beside it: then a run is the same run however its
steps are cut into micro-batches, and over however many processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
SPLIT_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
NUMBERS_OF_A_KIND = 40  # bits: so many different numbers before those of the next kind begin


class RowDraws:
    """Numbers for the rows of a batch, each row from a stream of its own.

    A number is a hash of the row, of what it is for and of a counter, by SplitMix64 (Steele, Lea and Flood 2014, "Fast
    splittable pseudorandom number generators"), so that any of them can be had without those before it.
    """

    def __init__(self, seeds: Sequence[int], rows: np.ndarray):
        """The streams of `rows`, `[B]`, which are any whole numbers; other seeds, other streams."""
        base = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
        self._streams = _hash(base + rows.astype(np.uint64) * GOLDEN)

    def uniform(self, kind: int, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """fp64 in [0, 1), independent of one another, in the shape that `rows` and `numbers` have together.

        kind: what they are for; each kind has numbers of its own. rows: which of the batch, from 0. numbers: int64 from
        0, which of the row's.
        """
        counters = numbers.astype(np.uint64)
        counters += np.uint64(kind << NUMBERS_OF_A_KIND)
        counters *= GOLDEN
        values = _hash(self._streams[rows] + counters)
        values >>= np.uint64(11)
        return values * 2.0**-53


def _hash(values: np.ndarray) -> np.ndarray:
    """SplitMix64's output function on uint64, in place; numbers that differ in one bit become unlike."""
    for shift, factor in SPLIT_MIX:
        values ^= values >> shift
        values *= factor
    values ^= values >> np.uint64(31)
    return values
