"""What the splits of a run are read from: the official files, or the splits of a data set (`--data_source`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from processors.data_sources import OFFICIAL, DataSource, SourceSplit
from processors.task import Task
from training.results import sha256_of
from workflows.settings import FineTuningConfig

DataPart = Path | SourceSplit


def parts_of(config: FineTuningConfig, task: Task) -> dict[str, list[DataPart]]:
    """What train, dev and test are read from. Raises DataError where the data source cannot be one."""
    if config.data_source == OFFICIAL:
        return config.files(task.folder)
    training = config.train_file if isinstance(config.train_file, list) else [config.train_file]
    asked = {"train": training, "dev": [config.dev_file], "test": [config.test_file]}
    return dict(splits_of_source(config.data_source, task, asked))


def splits_of_source(data_source: str, task: Task, asked: Mapping[str, Sequence[str]]) -> dict[str, list[SourceSplit]]:
    """The splits that a data source has for each role. Raises DataError where it cannot be one.

    asked: role (train, dev or test) -> what the settings name its files. These are names of splits; where they are the
    names of the task's own files, as in the original projects' JSON files, the splits are looked for by their usual
    names.
    """
    source = DataSource.of(data_source, task)
    own = {"train": task.train_file, "dev": task.dev_file, "test": task.test_file}
    stands_in = {"test"} if not task.dev_file else set()  # the roles for which a development split may stand in
    return {
        role: [
            SourceSplit(source, role, "" if name == own[role] else name, role in stands_in) for name in names if name
        ]
        for role, names in asked.items()
    }


def hash_of_part(part: DataPart) -> str:
    """What tells the content: the sha256 of a file, the commit of a data set on the hub, the hash of a local one."""
    return part.revision if isinstance(part, SourceSplit) else sha256_of(part)


def hashes_of(parts: Iterable[DataPart]) -> dict[str, str]:
    """The hash of each part, by what results call it."""
    return {str(part): hash_of_part(part) for part in parts}


def described(config: FineTuningConfig, parts: Iterable[DataPart]) -> dict[str, Any] | None:
    """The data source for `results.json`: what was asked for, and the revision that was read; None for files."""
    splits = [part for part in parts if isinstance(part, SourceSplit)]
    if not splits:
        return None
    return {"asked": config.data_source, "name": str(splits[0].source), "revision": splits[0].revision}
