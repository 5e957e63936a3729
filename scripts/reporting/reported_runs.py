"""What `scripts/report.py` finds below the folders: runs that were scored, pretrained, or are still going on."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processors import TASKS
from processors.data_sources import OFFICIAL
from processors.splits import read_splits
from processors.task import DataError, Task
from reporting.results_reading import Run, read_object, read_run
from reporting.study import REPOSITORY
from training.results import CONFIG_FILE, METRICS_FILE, RESULTS_FILE, sha256_of
from workflows.data_parts import splits_of_source
from workflows.settings import as_stored

LOOKED_FOR = (CONFIG_FILE, METRICS_FILE, RESULTS_FILE)  # in the order in which a run writes them


class NotThere(Exception):
    """Something that a part of the page is made from is missing. The message is a sentence for the page."""


@dataclass(frozen=True)
class ReportedRun:
    """One run. Files that it has not written yet are empty here.

    given: the folder of the command line in which it was found. results: its results.json. settings: those of its
    training. scored: the scores for tables; None for pretraining and for a run that was not scored.
    """

    folder: Path
    given: Path
    results: dict[str, Any]
    settings: dict[str, Any]
    scored: Run | None

    @property
    def task(self) -> str:
        """The name of the task, or of the objective of a pretraining."""
        return str(self.results.get("task") or self.settings.get("task") or "unknown task")

    @property
    def is_pretraining(self) -> bool:
        """Whether it has a loss and no score."""
        return self.results.get("main_metric") == "loss"

    @property
    def title(self) -> str:
        """`nsmc · koelectra-base · seed 42`."""
        seed = self.results.get("seed")
        parts = [self.task, str(self.results.get("model") or self.folder.name)]
        return " · ".join(parts + ([f"seed {seed}"] if seed is not None else []))


def find_reported(folders: Sequence[Path], needed: dict[str, tuple[str, ...]]) -> tuple[list[ReportedRun], list[str]]:
    """All runs below the folders, each once, in the order of their paths; and notes about results that are left out.

    needed: as `read_run` of `results_reading.py` takes it.
    """
    found: dict[Path, ReportedRun] = {}
    notes = []
    for given in folders:
        inside = {path.parent for name in LOOKED_FOR for path in given.rglob(name)}
        inside |= {given.parent} if given.name == RESULTS_FILE and given.is_file() else set()
        for folder in sorted(inside, key=lambda path: [_in_order(part) for part in path.parts]):
            if folder.resolve() in found:
                continue
            try:
                found[folder.resolve()] = _read(folder, given, needed)
            except ValueError as error:
                notes.append(f"{folder / RESULTS_FILE}: {error}; left out")
    return list(found.values()), notes


def _in_order(part: str) -> tuple[str, int, str]:
    """Sorts seed-9 before seed-10, and a study's 32 questions before 128."""
    digits = part[len(part.rstrip("0123456789")) :]
    return part.removesuffix(digits), int(digits or 0), part


def _read(folder: Path, given: Path, needed: dict[str, tuple[str, ...]]) -> ReportedRun:
    """Raises ValueError where results.json is none."""
    path, settings = folder / RESULTS_FILE, {}
    try:
        settings = read_object(folder / CONFIG_FILE)
    except ValueError:  # a page can do without
        pass
    if not path.is_file():
        return ReportedRun(folder, given, {}, settings, None)
    return ReportedRun(folder, given, read_object(path), settings, read_run(path, needed))


# --------------------------------------------------------------------------------------------------------------------
# The rows that a run was scored on
# --------------------------------------------------------------------------------------------------------------------


def task_of(run: ReportedRun) -> Task:
    """The task of a run. Raises NotThere where this suite has none of that name."""
    if run.task not in TASKS:
        raise NotThere(f"This suite has no task {run.task!r}, so it is not known how its files are read.")
    return TASKS[run.task]


def predictions_text(run: ReportedRun, name: str) -> str:
    """The text of a file of predictions. Raises NotThere where it is missing or cannot be read."""
    path = run.folder / name
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotThere(f"{path} is missing: --do_eval writes it anew.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise NotThere(f"{path} cannot be read ({error}): --do_eval writes it anew.") from None


def predictions_object(run: ReportedRun, name: str) -> dict[str, Any]:
    """The JSON object in a file of predictions. Raises NotThere as `predictions_text` does."""
    try:
        content = json.loads(predictions_text(run, name))
    except json.JSONDecodeError as error:
        raise NotThere(f"{run.folder / name}:{error.lineno} is not valid JSON: --do_eval writes it anew.") from None
    if not isinstance(content, dict):
        raise NotThere(f"{run.folder / name} is not what a run writes there: --do_eval writes it anew.")
    return content


def rows_scored_on(run: ReportedRun, data_dir: Path | None) -> Any:
    """The rows of the test split that a run was scored on.

    data_dir: where the official files lie now; None: where the run found them. A run with `--data_source` has them read
    from there. Raises NotThere where they are not there, or have changed since.
    """
    task, config = task_of(run), run.results.get("config") or {}
    key = "predict_file" if "predict_file" in config else "test_file"
    training = config.get("train_file") or task.train_file
    parts = {"train": tuple(training if isinstance(training, list) else [training]), "test": (config.get(key) or "",)}
    hashes, data_source = run.results.get("data") or {}, config.get("data_source") or OFFICIAL
    if data_source == OFFICIAL:
        folder = (data_dir or _data_dir(config)) / task.folder
        parts = {split: tuple(as_stored(folder / name) for name in names if name) for split, names in parts.items()}
        _refuse_changed_files(parts["test"] or parts["train"], hashes)
    else:
        _refuse_changed_source(data_source, task, parts, hashes)
    # The seed chooses the held-out rows of a task without a test file; else all seeds were scored on the same rows.
    seed = 0 if any(parts["test"]) else int(config.get("seed") or 0)
    how = str(config.get("encoding") or "utf-8"), bool(config.get("skip_bad_rows")), seed, key
    return _read_rows(run.task, data_source, parts["train"], parts["test"], *how)


def _data_dir(config: dict[str, Any]) -> Path:
    """The folder of the data as the run named it, from here or, if it is not there, from the folder of this suite."""
    named = Path(str(config.get("data_dir") or "data"))
    return named if named.exists() else REPOSITORY / named


@functools.cache
def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise NotThere(f"{path}, which has the right answers, cannot be read: {error.strerror}.") from None


def _refuse_changed_files(paths: Sequence[Path], hashes: Mapping[str, str]) -> None:
    """hashes: those of the run's data. Raises NotThere as `rows_scored_on` does."""
    known = {Path(name).name: digest for name, digest in hashes.items()}
    for path in paths:
        if not path.exists():
            raise NotThere(
                f"{path}, which has the right answers, is not there: --data_dir says where the data are now."
            )
        if known.get(path.name) not in (None, _hash(path)):
            raise NotThere(f"{path} has changed since the run was scored on it, so its rows are not shown.")


def _refuse_changed_source(
    data_source: str, task: Task, names: Mapping[str, Sequence[str]], hashes: Mapping[str, str]
) -> None:
    """As `_refuse_changed_files`, for the splits of a `--data_source`."""
    try:
        splits = splits_of_source(data_source, task, names)
        for split in splits["test"] or splits["train"]:
            if hashes.get(str(split)) not in (None, split.revision):
                raise NotThere(f"{split} has changed since the run was scored on it, so its rows are not shown.")
    except DataError as error:
        raise _cannot_be_read(error) from None


@functools.lru_cache(maxsize=4)  # seeds and models share them; large files are not all kept
def _read_rows(
    task: str,
    data_source: str,
    train: tuple[Path | str, ...],
    test: tuple[Path | str, ...],
    encoding: str,
    skip: bool,
    seed: int,
    key: str,
) -> Any:
    """train, test: official files, or what the settings name the splits of another `data_source`."""
    parts: Mapping[str, Sequence[Any]] = {"train": train, "test": test}
    try:
        if data_source != OFFICIAL:
            parts = splits_of_source(data_source, TASKS[task], parts)
        return read_splits(TASKS[task], ["test"], parts, encoding, skip, seed, key)["test"]
    except DataError as error:
        raise _cannot_be_read(error) from None


def _cannot_be_read(error: DataError) -> NotThere:
    return NotThere(f"The rows that the run was scored on cannot be read: {error}.")
