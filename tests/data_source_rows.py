"""Rows of local folders by `--data_source`, and what is said where they cannot be had; rows of NSMC if nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from dataset_copies import write_parquet
from processors import TASKS
from processors.data_sources import DataSource, SourceSplit
from processors.splits import read_splits
from processors.task import DataError

NSMC = TASKS["nsmc"]


def split_of(folder: Path | str, task=NSMC, role: str = "train", asked: str = "", may_be_dev: bool = False):
    return SourceSplit(DataSource.of(str(folder), task), role, asked, may_be_dev)


def read(folder: Path | str, task=NSMC, role: str = "train", skip: bool = False) -> Any:
    return read_splits(task, [role], {role: [split_of(folder, task, role)]}, skip_bad_rows=skip)[role]


def refused(folder: Path | str, task=NSMC, role: str = "train") -> str:
    with pytest.raises(DataError) as error:
        read(folder, task, role)
    return str(error.value)


def table(folder: Path, rows: list[dict]) -> Path:
    """A folder with a training split."""
    return write_parquet(folder, {"train": Dataset.from_list(rows)})
