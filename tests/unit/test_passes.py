"""python3 -m pytest tests/unit/test_passes.py"""

from __future__ import annotations

import numpy as np

from training.passes import Passes
from training.row_random import RowDraws


def test_weights_of_corpora():
    passes = Passes([4, 10], [2.0, 0.5])
    assert len(passes) == 13
    rows = np.arange(13)
    taken = [passes.blocks(rows, RowDraws([step], rows)) for step in range(200)]
    for blocks in taken:
        assert sorted(blocks[:8].tolist()) == sorted([0, 1, 2, 3] * 2)
        assert len(blocks) == 13 and (blocks[8:] >= 4).all() and (blocks[8:] < 14).all()
    assert set(np.concatenate(taken)[...].tolist()) == set(range(14))
    whole = Passes([3, 2], [1.0, 1.0])
    assert whole.blocks(np.array([4, 0, 3, 1]), RowDraws([0], rows[:4])).tolist() == [4, 0, 3, 1]
