"""Divides a training file: most of it is trained on, and a part is held back to choose between settings.

What is held back shares no text with the rest. The rows of KorNLI, for example, are three hypotheses for each premise,
one of every label: whoever has seen two of them knows the label of the third.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processors.delimited import read_table
from processors.task import DataError, Task, read_json, read_text

# One in ten groups is held back; of long files fewer, so that about this many rows are.
ONE_IN, MOST = 10, 2000


@dataclass(frozen=True)
class TrainingFile:
    """A training file in the parts that may be held back: its lines, or the articles of a SQuAD file.

    header: the line above the rows, "" where there is none; None: the file is JSON in the SQuAD format.
    parts: as they are in the file. texts: those of each part; parts that share one stay together.
    """

    header: str | None
    parts: Sequence[str] | Sequence[dict]
    texts: Sequence[Sequence[str]]

    def written(self, numbers: Sequence[int]) -> str:
        """The content of a file with only these parts."""
        parts = [self.parts[number] for number in numbers]
        if self.header is None:
            return json.dumps({"version": "1.0", "data": parts}, ensure_ascii=False)
        return self.header + "".join(parts)


def read_parts(task: Task, path: Path) -> TrainingFile:
    """Reads a training file that the task's own reader has found nothing wrong with."""
    if path.suffix == ".json":
        articles = read_json(path)["data"]
        return TrainingFile(None, articles, [[part["context"] for part in one["paragraphs"]] for one in articles])
    text = read_text(path)
    # At \n alone, as the readers do: str.splitlines would also cut at other characters, which texts hold.
    lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")]
    if task.columns:
        table = read_table(task, text, str(path), False, Counter())
        records = list(table.records)
        parts = [lines[record.line - 1] for record in records]
        return TrainingFile(lines[0], parts, [[record.values[at] for at in table.texts] for record in records])
    parts = [line for line in lines if line.strip()]
    if path.suffix == ".jsonl":
        return TrainingFile("", parts, [[json.loads(part)["document_plaintext"]] for part in parts])
    return TrainingFile("", parts, [[part.split("\t")[0]] for part in parts])


def divided(task: Task, path: Path) -> tuple[str, str]:
    """What stands in the two files that a training file is divided into: the rest, and what is held back.

    Groups are taken at equal distances, because some files are sorted. Raises DataError where there are too few.
    """
    file = read_parts(task, path)
    groups = groups_of(file.texts)
    count = max(groups) + 1
    every = max(ONE_IN, math.ceil(len(groups) / MOST))
    if count < every:
        raise DataError(
            f"{path}: one part in {every} is held back to choose the learning rate, and there are only "
            f"{count} that share no text (rows, or articles of a SQuAD file)"
        )
    is_held_back = [group % every == every - 1 for group in groups]
    rest, held_back = ([i for i, held in enumerate(is_held_back) if held == side] for side in (False, True))
    return file.written(rest), file.written(held_back)


def groups_of(texts: Sequence[Sequence[str]]) -> list[int]:
    """The number of each part's group, counted from 0 in the order of the file.

    Parts are in one group if they share a text, or if each shares one with a part of the group. White space is no text.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    number_of: dict[str, int] = {}  # of each text; the parts have the numbers before
    pairs = [
        (part, number_of.setdefault(text, len(texts) + len(number_of)))
        for part, its_texts in enumerate(texts)
        for text in its_texts
        if text.strip()
    ]
    size = len(texts) + len(number_of)
    shared = coo_array((np.ones(len(pairs)), np.array(pairs, dtype=int).reshape(-1, 2).T), (size, size))
    _, component = connected_components(shared, directed=False)
    order: dict[int, int] = {}
    return [order.setdefault(found, len(order)) for found in component[: len(texts)].tolist()]
