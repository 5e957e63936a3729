"""Reads the files of a task into training, development and test rows."""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import processors.qa.source_rows  # noqa: F401  (it adds to ROW_READERS)
from processors.data_sources import SourceSplit
from processors.source_rows import ROW_READERS
from processors.task import DataError, Rows, Task, no_such_file
from storage.activity import doing

SAMPLE_DATA = "sample_data"  # the folder that scripts/make_sample_data.py writes, unless it is told otherwise


def read_splits(
    task: Task,
    names: Iterable[str],
    files: Mapping[str, Sequence[Path | SourceSplit]],
    encoding: str = "utf-8",
    skip_bad_rows: bool = False,
    seed: int = 42,
    test_file_key: str = "test_file",
) -> dict[str, Any]:
    """The rows of the splits `names` (train, dev, test).

    files: the files of each split, or the splits of a data set; several are joined. Where none is given for the test
    and the task has a `held_out_share`, train and test are two stratified parts of the training rows. Raises DataError
    where a split has no file.
    """

    def read(split: str) -> Any:
        if not files.get(split):
            key = test_file_key if split == "test" else f"{split}_file"
            raise DataError(f"{task.name}: no file is given for the {split} split: set {key}")
        parts = []
        for part in files[split]:
            with doing(f"read {part}"):
                parts.append(_read_part(task, part, encoding, skip_bad_rows))
        return functools.reduce(operator.add, parts)

    if files.get("test") or not task.held_out_share:
        return {name: read(name) for name in dict.fromkeys(names)}
    parts = dict(zip(("train", "test"), stratified_split(task, read("train"), seed), strict=True))
    return {name: parts[name] if name in parts else read(name) for name in names}


def _read_part(task: Task, part: Path | SourceSplit, encoding: str, skip_bad_rows: bool) -> Any:
    """The rows of a file, or of a split of a data set."""
    if isinstance(part, SourceSplit):
        return read_source_split(task, part, skip_bad_rows)
    _refuse_folder_of_task(task, part)
    _refuse_missing(task, part)
    return task.read(task, part, encoding, skip_bad_rows)


def read_source_split(task: Task, split: SourceSplit, skip_bad_rows: bool) -> Any:
    """The rows of a split of a data set, as the task's reader would read them from a file. Raises DataError."""
    reader = ROW_READERS.get(getattr(task.read, "func", task.read))
    if reader is None:
        raise DataError(
            f"{task.name}: data_source needs to know how a row of a data set becomes one of {task.read.__name__}: "
            "ROW_READERS in processors/source_rows.py says it"
        )
    return reader(task, split.table(), skip_bad_rows)


def _refuse_folder_of_task(task: Task, path: Path) -> None:
    """Raises DataError where the folder that is looked in for the task's is the task's own, as KoBigBird's data_dir."""
    folder = path.parent
    if folder.name == task.folder and not folder.exists() and (folder.parent / path.name).exists():
        raise DataError(
            f"{path}: no such file; {folder.parent} holds one, but data_dir is the folder above the task's own, which "
            f"is called {task.folder}"
        )


def _refuse_missing(task: Task, path: Path) -> None:
    """Raises DataError where an official file of the task is not there; the message says how to get it."""
    own = Path(task.folder) / path.name
    is_official = (
        path.name in (task.train_file, task.dev_file, task.test_file) and path.parts[-len(own.parts) :] == own.parts
    )
    if is_official and not path.exists() and (how := how_to_get(task, path.parents[len(own.parts) - 1])):
        raise DataError(f"{no_such_file(path)}; {how}")


def how_to_get(task: Task, data_dir: Path) -> str:
    """How to get the official files of a task into `data_dir`: a command, or the page that has them; "": not known."""
    if data_dir.name == SAMPLE_DATA:
        return "make it with: python3 scripts/make_sample_data.py"
    if task.fetch:
        return f"fetch it with: {task.fetch}" + ("" if data_dir == Path("data") else f" --data_dir {data_dir}")
    return f"get it from {task.source} (licence: {task.licence})" if task.source.startswith("http") else ""


def stratified_split(task: Task, rows: Any, seed: int) -> tuple[Any, Any]:
    """Splits rows at random into training and test rows, with each class in the same proportion in both.

    Those of a regression and sentences of words are split without regard to their labels.
    `task.held_out_share` is the share of test rows. Raises DataError where a class has too few rows for both sides.
    """
    from sklearn.model_selection import train_test_split

    classes = None if task.is_regression or not isinstance(rows, Rows) else rows.labels
    if alone := [task.labels[id] for id, count in Counter(classes or ()).items() if count == 1]:
        raise DataError(
            f"{task.name}: the rows cannot be split into training and test rows: only one row has the label "
            f"{' or '.join(sorted(alone))}, and both parts need one"
        )
    try:
        train, test = train_test_split(
            range(len(rows)), test_size=task.held_out_share, stratify=classes, random_state=seed
        )
    except ValueError as error:
        raise DataError(f"{task.name}: the rows cannot be split into training and test rows: {error}") from None
    return rows.take(train), rows.take(test)
