"""python3 -m pytest tests/unit/test_row_random.py

Random numbers that belong to rows: uniform, unlike one another, and the same whatever stands beside a row.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from training.row_random import RowDraws

ROWS, NUMBERS = np.arange(400)[:, None], np.arange(500)


def drawn(seed: int = 0, kind: int = 0) -> np.ndarray:
    return RowDraws([seed], ROWS[:, 0]).uniform(kind, ROWS, NUMBERS)


def test_the_numbers_of_splitmix64():
    """Those that the reference implementation gives for the seed 1234567, by which every port is checked."""
    draws = RowDraws([0], np.array([0]))
    draws._streams = np.array([1234567], dtype=np.uint64)
    numbers = draws.uniform(0, np.zeros(5, dtype=int), np.arange(1, 6))
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert (numbers * 2**53).astype(np.uint64).tolist() == [number >> 11 for number in expected]


def test_they_are_uniform_and_independent():
    numbers = drawn()
    assert numbers.shape == (400, 500) and numbers.min() >= 0 and numbers.max() < 1
    assert stats.kstest(numbers.reshape(-1), "uniform").pvalue > 1e-3
    for ranks in (numbers.mean(axis=0), numbers.mean(axis=1)):  # no row and no number lies higher than the others
        assert stats.kstest((ranks - 0.5) * np.sqrt(12 * numbers.size / len(ranks)), "norm").pvalue > 1e-3
    for one, other in (
        (numbers[:, :-1], numbers[:, 1:]),
        (numbers[:-1], numbers[1:]),
        (numbers, drawn(kind=1)),
        (numbers, drawn(seed=1)),
    ):
        assert abs(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1]) < 4 / np.sqrt(one.size)


def test_they_belong_to_the_row_and_not_to_its_batch():
    rows = np.array([7, 3, 2**40])
    together = RowDraws([1, 2], rows).uniform(5, np.array([0, 1, 2, 2]), np.array([0, 9, 4, 0]))
    for at, (row, number) in enumerate([(7, 0), (3, 9), (2**40, 4), (2**40, 0)]):
        assert RowDraws([1, 2], np.array([row])).uniform(5, np.array([0]), np.array([number])) == together[at]
