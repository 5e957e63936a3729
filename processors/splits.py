"""From files to the rows of training, development and test."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from processors.task import DataError, Rows, Task


def read_splits(
    task: Task,
    names: Iterable[str],
    files: Mapping[str, Sequence[Path]],
    encoding: str = "utf-8",
    skip_bad_rows: bool = False,
    seed: int = 42,
    test_file_key: str = "test_file",
) -> dict[str, Any]:
    """The rows of the splits `names` (train, dev, test). files: the files of each split; a split of several is joined.

    Where the task has no test file and none is given, train and test are the stratified parts of the training file.
    Raises DataError where a split has no file.
    """

    def read(split: str) -> Any:
        if not files.get(split):
            key = test_file_key if split == "test" else f"{split}_file"
            raise DataError(f"{task.name}: no file is given for the {split} split: set {key}")
        parts = [task.read(task, path, encoding, skip_bad_rows) for path in files[split]]
        return functools.reduce(operator.add, parts)

    if files.get("test") or not task.held_out_share:
        return {name: read(name) for name in dict.fromkeys(names)}
    parts = dict(zip(("train", "test"), stratified_split(task, read("train"), seed), strict=True))
    return {name: parts[name] if name in parts else read(name) for name in names}


def stratified_split(task: Task, rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Training and test rows by `task.held_out_share`, each class in the same proportion, drawn by `seed`.

    Raises DataError where a class has too few rows to be on both sides.
    """
    from sklearn.model_selection import train_test_split

    try:
        train, test = train_test_split(
            range(len(rows)), test_size=task.held_out_share, stratify=rows.labels, random_state=seed
        )
    except ValueError as error:
        raise DataError(f"{task.name}: the rows cannot be split in training and test rows: {error}") from None
    return rows.take(train), rows.take(test)
