"""Few-shot samples of questions: drawn with a seed, nested, and saved as a file of ids that can be used again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from processors.task import DataError


def draw_sample(ids: Sequence[str], size: int, seed: int) -> list[str]:
    """Draws `size` of the ids. With the same seed, a smaller sample is the beginning of a larger one.

    The order of `ids` does not matter. Raises DataError where there are fewer than `size`.
    """
    if size > len(ids):
        raise DataError(f"few_shot {size}: there are only {len(ids)} questions to draw from")
    ordered = sorted(ids)
    return [ordered[at] for at in np.random.default_rng(seed).permutation(len(ordered))[:size]]


def read_sample(path: Path, ids: Sequence[str], size: int) -> list[str]:
    """Reads the `size` ids of a sample from a file with one id on each line.

    ids: all questions that a sample may contain. Raises DataError naming file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise DataError(f"{path}: the sample cannot be read ({why})") from None
    known: set[str] = set(ids)
    seen: dict[str, int] = {}
    for number, id in enumerate(lines, start=1):
        if not id:
            continue
        if id not in known:
            raise DataError(f"{path}:{number}: {id!r} is not the id of a question that can be trained on")
        if id in seen:
            raise DataError(f"{path}:{number}: {id!r} is listed twice")
        seen[id] = number
    if len(seen) != size:
        raise DataError(f"{path}: {len(seen)} ids are listed, but the sample needs {size}")
    return list(seen)
