"""Targets of a batch filled up to one of a few numbers, where each new shape of a batch costs a graph."""

from __future__ import annotations

import math

import numpy as np

from processors.features import NO_LABEL


def fill_masked_tokens(spans: dict[str, np.ndarray], multiple: int) -> dict[str, np.ndarray]:
    """The `[M]` arrays of `MaskedSpans`, filled up so that M is a multiple of `multiple`; the fill has no label."""
    masked = len(spans["labels"])
    missing = max(1, math.ceil(masked / multiple)) * multiple - masked
    fill = {"labels": NO_LABEL, "positions": 1}
    return {name: np.pad(array, (0, missing), constant_values=fill.get(name, 0)) for name, array in spans.items()}


def fill_questions(asked: dict[str, np.ndarray], size: int, most: int) -> dict[str, np.ndarray]:
    """The `[Q]` arrays of `SelectedSpans` as `[size * most]`: `most` questions in each of `size` rows.

    Questions beyond those that a row has carry no label.
    """
    counts = np.bincount(asked["rows"], minlength=size)
    number = np.arange(len(asked["rows"])) - np.repeat(np.cumsum(counts) - counts, counts)  # of a question in its row
    filled = {"rows": np.repeat(np.arange(size), most)}
    for name, fill in (("columns", 0), ("starts", NO_LABEL), ("ends", NO_LABEL)):
        filled[name] = np.full(size * most, fill)
        filled[name][asked["rows"] * most + number] = asked[name]
    return filled
