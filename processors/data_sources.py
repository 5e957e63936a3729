"""`--data_source`: a task's rows from the `datasets` library instead of the official files.

A source is a data set on the hub or a local folder that `datasets.load_dataset` reads (Parquet, Arrow, JSON lines,
CSV). What is read arrives as if from the official file: `processors/source_rows.py` and `processors/qa/source_rows.py`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from processors.hub_data import from_hub, in_words, quiet_datasets, reason
from processors.task import DataError, HubData, Task, names_in
from storage.names import on_disk

OFFICIAL, HUB = "official", "hub"
ROWS_IN_BATCH = 1000
DATA_FILES = (".parquet", ".arrow", ".jsonl", ".json", ".csv")
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# What the splits are called where neither the user nor the task says so.
USUAL_SPLITS = {"train": ("train",), "dev": ("validation", "dev", "valid", "val"), "test": ("test",)}


@dataclass(frozen=True)
class DataSource:
    """A data set on the hub, or a local folder.

    name: the folder, or the hub id. configuration, revision: "" for the only one and the newest. entry: what the task
    says about the hub's data set; it also helps with copies of it.
    """

    name: str
    configuration: str
    revision: str
    is_folder: bool
    entry: HubData

    @classmethod
    def of(cls, text: str, task: Task) -> DataSource:
        """From what `--data_source` says: `hub`, `folder[:configuration]` or `owner/name[:configuration][@revision]`.

        Raises DataError where the task has no data set on the hub, and where there is no such folder.
        """
        entry = task.hub or HubData("")
        if text == HUB:
            if not entry.id:
                raise DataError(
                    f"{task.name}: no data set on the hub is known to have its rows: data_source takes the id of one "
                    "(owner/name) or a local folder"
                )
            return cls(entry.id, entry.configuration, entry.revision, False, entry)
        if text and _folder(text).is_dir():
            return cls(text, "", "", True, entry)
        name, _, revision = text.partition("@")
        name, _, configuration = name.partition(":")
        if name and _folder(name).is_dir():
            if revision:
                raise DataError(f"data_source {text}: only a data set on the hub has revisions, and {name} is a folder")
            return cls(name, configuration, "", True, entry)
        is_id = name.count("/") == 1 and all(name.split("/")) and not name.startswith((".", "~"))
        if not is_id or _folder(name).exists():
            what = "is a file" if name and _folder(name).exists() else "no such folder"
            raise DataError(
                f"data_source {text or repr(text)}: {what}: a folder is expected, or a hub id such as owner/name"
            )
        if name == entry.id:
            configuration = configuration or entry.configuration
        return cls(name, configuration, revision, False, entry)

    def __str__(self) -> str:
        return in_words(self.name, self.configuration)

    def revision_used(self, configuration: str) -> str:
        """The commit of the hub's data set, or a hash of the folder's files: `sha256:...`. Raises DataError."""
        return _digest_of(self.name) if self.is_folder else self._opened(configuration)[1]

    def splits(self, configuration: str) -> Mapping[str, Any]:
        """The splits of a configuration, as the library has them. Raises DataError."""
        return self._opened(configuration)[0]

    def _opened(self, configuration: str) -> tuple[Mapping[str, Any], str]:
        if self.is_folder:
            return _from_folder(self.name, configuration), ""
        return from_hub(self.name, configuration, self.revision)


@dataclass(frozen=True)
class SourceSplit:
    """One split of a data source.

    role: train, dev or test. asked: the split's name where the user gives one, else "". may_be_dev: whether the
    development split serves where there is no test split, as for tasks without a development file.
    """

    source: DataSource
    role: str
    asked: str = ""
    may_be_dev: bool = False

    def __str__(self) -> str:
        return f"{self.source}[{self.asked or self.role}]"

    @property
    def revision(self) -> str:
        """As `DataSource.revision_used`."""
        return self.source.revision_used(self._found[0])

    def table(self) -> SourceTable:
        """The rows. Raises DataError where there is no such split."""
        configuration, name = self._found
        place = f"{in_words(self.source.name, configuration)}, split {name}"
        return SourceTable(place, self.source.splits(configuration)[name], self.source.entry)

    @functools.cached_property
    def _found(self) -> tuple[str, str]:
        """The split's configuration and name."""
        source, entry = self.source, self.source.entry
        # A copy of the hub's data set need not have its configurations, and the user may have named another one.
        is_entry = (source.name, source.configuration) == (entry.id, entry.configuration)
        for name in [self.asked] if self.asked else [entry.splits.get(self.role, ""), *self._usual()]:
            configuration, _, split = name.rpartition(":")
            if not configuration or not (self.asked or is_entry):
                configuration = source.configuration
            if split and split in source.splits(configuration):
                return configuration, split
        there = ", ".join(source.splits(source.configuration))
        wanted = self.asked or self.role
        key = "test_file (predict_file for questions)" if self.role == "test" else f"{self.role}_file"
        hint = ', or says "" for none' if self.role == "dev" else ""
        raise DataError(f"{source}: there is no split {wanted}: it has {there}; {key} names one of them{hint}")

    def _usual(self) -> tuple[str, ...]:
        return USUAL_SPLITS[self.role] + (USUAL_SPLITS["dev"] if self.may_be_dev else ())


@dataclass(frozen=True)
class SourceTable:
    """The rows of one split.

    place: what messages call it. rows: as the library has them. entry: what the task says about the hub's data set.
    """

    place: str
    rows: Any
    entry: HubData

    @functools.cached_property
    def features(self) -> Mapping[str, Any]:
        """The types of the columns, by their names. Raises DataError where the data cannot be read."""
        with self._reading("its columns"):
            # JSON lines and CSV do not say them beforehand, and have no labels that are numbers with names.
            features = self.rows.features or dict.fromkeys(next(self.rows.iter(1), {}))
        if not features:
            raise DataError(f"{self.place}: there are no rows in it")
        return features

    def records(self, wanted: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each row's name in messages, `row 7 (from 0)`, and its values by the task's names of the columns.

        wanted, optional: the columns that must be there, and that may be. A label that is a number with a name is given
        as its name. Raises DataError where a column is missing, or the data cannot be read.
        """
        names = self._names_of(wanted)
        names |= {column: there for column in optional if (there := self.name_of(column))}
        plain = {column: _plain_values(self.features[there]) for column, there in names.items()}
        batches = self.rows.select_columns(list(dict.fromkeys(names.values()))).iter(ROWS_IN_BATCH)
        number = 0
        while True:
            with self._reading(f"row {number} (from 0) or one soon after it"):
                batch = next(batches, None)
            if batch is None:
                return
            columns = [map(plain[column], batch[there]) for column, there in names.items()]
            for values in zip(*columns, strict=True):
                yield f"row {number} (from 0)", dict(zip(names, values, strict=True))
                number += 1

    def name_of(self, column: str) -> str | None:
        """What the data set calls a column of the task; None where it has no such column."""
        return next((name for name in (column, self._on_hub(column)) if name in self.features), None)

    def first_of(self, columns: Sequence[str]) -> str:
        """The first of these columns that the data set has; where it has none, the first of all."""
        return next((column for column in columns if self.name_of(column)), columns[0])

    def _on_hub(self, column: str) -> str:
        return self.entry.columns.get(column, column)

    def _names_of(self, wanted: Sequence[str]) -> dict[str, str]:
        """Column of the task -> column there: all as the task calls them, or all as the hub's data set does."""
        own = {column: column for column in wanted}
        on_hub = {column: self._on_hub(column) for column in wanted}
        for names in (own, on_hub):
            if set(names.values()) <= set(self.features):
                return names
        missing = ", ".join(column for column in wanted if not self.name_of(column)) or ", ".join(wanted)
        also = f", or as on the hub {', '.join(on_hub.values())}" if on_hub != own else ""
        raise DataError(
            f"{self.place}: there is no column {missing}: it has {', '.join(self.features)}; "
            f"{', '.join(wanted)} are expected{also}"
        )

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Raises DataError for whatever the library raises, which has many errors and no base class for them."""
        try:
            yield
        except DataError:
            raise
        except Exception as error:
            why = reason(error)
            if isinstance(error, UnicodeDecodeError):
                why += "; its files must be UTF-8"
            if hasattr(error, "table_column_names"):  # the library's CastError
                new = [name for name in error.table_column_names if name not in error.requested_column_names]
                why = f"column {', '.join(new)} is not in an earlier file, perhaps of another split: all need the same"
            raise DataError(f"{self.place}: {what} cannot be read: {why}") from None


def _plain_values(feature: Any) -> Callable[[Any], Any]:
    """A function from a value of this type to what the official file has: labels by name, numbers in few digits."""
    from datasets import ClassLabel, LargeList, List, Value

    if isinstance(feature, ClassLabel):
        return lambda value: feature.names[value] if isinstance(value, int) and value >= 0 else None
    if isinstance(feature, Value) and feature.dtype in ("float16", "float32"):
        # 3.6, and not the 3.5999999 that it is in more digits than there are.
        return lambda value: None if value is None else float(str(getattr(np, feature.dtype)(value)))
    if isinstance(feature, List | LargeList):
        inner = _plain_values(feature.feature)
        return lambda values: None if values is None else [inner(value) for value in values]
    if isinstance(feature, dict):
        parts = {key: _plain_values(part) for key, part in feature.items()}
        return lambda value: None if value is None else {key: part(value[key]) for key, part in parts.items()}
    return lambda value: value


def _folder(name: str) -> Path:
    return on_disk(Path(name).expanduser())


@functools.cache
def _from_folder(folder: str, configuration: str) -> Mapping[str, Any]:
    """The splits of a local folder, read each time from its files: the library's cache would go by their dates."""
    datasets = quiet_datasets()
    path = _folder(folder)
    for file in _data_files(path):
        refuse_pointer(file)
        if file.suffix == ".parquet":
            refuse_broken_parquet(file)
    try:
        return datasets.load_dataset(str(path), configuration or None, streaming=True)
    except Exception as error:
        if "save_to_disk" in str(error):
            why = "it holds a single split, written by save_to_disk: write it with to_parquet, or save a DatasetDict"
        elif "config" in str(error).lower():
            why = reason(error)
        elif empty := [str(file.relative_to(path)) for file in _data_files(path) if not file.stat().st_size]:
            why = f"nothing is in {', '.join(empty)}"
        else:
            why = f"it holds {names_in(path)} ({reason(error)}); Parquet, Arrow, JSON lines or CSV files are expected"
        raise DataError(f"{folder} is no data set that can be read: {why}") from None


def _data_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix in DATA_FILES and file.is_file())


def refuse_pointer(path: Path) -> None:
    """Raises DataError where a clone has what Git LFS keeps in place of a file that was not fetched."""
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise DataError(f"{path} is only a Git LFS pointer: `git lfs pull` in its folder fetches the file itself")


def refuse_broken_parquet(path: Path) -> None:
    """Raises DataError where the end of a Parquet file, which says what is in it, is missing or damaged."""
    import pyarrow.parquet

    try:
        pyarrow.parquet.read_metadata(path)
    except Exception as error:
        raise DataError(f"{path}: the Parquet file is broken or was not copied whole ({reason(error)})") from None


@functools.cache
def _digest_of(folder: str) -> str:
    """`sha256:` and a hash of the names and contents of all files in the folder but hidden ones."""
    root = _folder(folder)
    digest = hashlib.sha256()
    try:
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root)
            if path.is_file() and not any(part.startswith(".") for part in name.parts):
                with path.open("rb") as file:
                    digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    return f"sha256:{digest.hexdigest()}"
