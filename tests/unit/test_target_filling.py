"""python3 -m pytest tests/unit/test_target_filling.py

Targets that fill a batch up have no label, and the others stay as they are.
"""

from __future__ import annotations

import numpy as np

from processors.features import NO_LABEL
from processors.pretraining.target_filling import fill_masked_tokens, fill_questions


def test_masked_tokens_come_in_multiples():
    spans = {name: np.array([7, 8, 9]) for name in ("rows", "columns", "labels", "positions")}
    filled = fill_masked_tokens(spans, 2)
    assert {name: array.tolist() for name, array in filled.items()} == {
        "rows": [7, 8, 9, 0],
        "columns": [7, 8, 9, 0],
        "labels": [7, 8, 9, NO_LABEL],
        "positions": [7, 8, 9, 1],
    }
    assert [len(fill_masked_tokens(spans, multiple)["labels"]) for multiple in (1, 3, 5)] == [3, 3, 5]
    none = {name: array[:0] for name, array in spans.items()}
    assert fill_masked_tokens(none, 2)["labels"].tolist() == [NO_LABEL, NO_LABEL]


def test_each_row_has_as_many_questions():
    """Three rows of two questions each: the first row has one, the second none, the third two."""
    asked = {
        "rows": np.array([0, 2, 2]),
        "columns": np.array([5, 3, 9]),
        "starts": np.array([1, 2, 6]),
        "ends": np.array([2, 2, 7]),
    }
    filled = fill_questions(asked, 3, 2)
    assert {name: array.tolist() for name, array in filled.items()} == {
        "rows": [0, 0, 1, 1, 2, 2],
        "columns": [5, 0, 0, 0, 3, 9],
        "starts": [1, NO_LABEL, NO_LABEL, NO_LABEL, 2, 6],
        "ends": [2, NO_LABEL, NO_LABEL, NO_LABEL, 2, 7],
    }
