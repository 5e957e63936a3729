"""What the scripts that measure models on real data share: checks before the first run, rates, and runs' results."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.encoders import weight_files
from processors.splits import read_splits
from processors.task import DataError, Task
from reporting import held_back
from reporting.measured import as_typed
from reporting.results_reading import read_object, stop, write_or_stop
from training.results import CHECKPOINT_PREFIX, RESULTS_FILE, sha256_of

# What the measurements take from the results of a run.
NEEDED = tuple(
    "seed main_metric metrics at_chance rows training config hardware versions data git_commit pretraining".split()
)


def add_rates(parser: argparse.ArgumentParser, rates: Sequence[float]) -> None:
    """Adds --rates. rates: where it is not given."""
    parser.add_argument("--rates", nargs="+", type=learning_rate, default=rates, metavar="RATE",
                        help=f"the grid of learning rates; default: {' '.join(map(as_typed, rates))}")  # fmt: skip


def rates_in_words(rates: Sequence[float], default: Sequence[float]) -> list[str]:
    """The words of --rates in a command; none where they are the default."""
    return [] if tuple(rates) == tuple(default) else ["--rates", *map(as_typed, rates)]


def learning_rate(word: str) -> float:
    """A learning rate as the runs get it, with the digits that `as_typed` has. Raises ValueError where it is none."""
    return float(as_typed(float(word)))


def refuse_wrong_rates(parser: argparse.ArgumentParser, rates: Sequence[float]) -> None:
    """Ends the program where a rate is there twice, or is none."""
    if len(set(rates)) < len(rates):
        parser.error("--rates must be different from each other")
    if not all(0 < rate < math.inf for rate in rates):
        parser.error("--rates must be numbers above 0, and finite")


def shape_of(model: Path) -> dict[str, int]:
    """The number of layers and their size. Ends the program where the model's configuration does not say it."""
    path = model / "config.json"
    if not path.is_file():
        stop(f"there is no model in {model} (no config.json)")
    try:
        config = read_object(path)
    except ValueError as error:
        stop(f"{path}: {error}")
    shape = {
        "num_hidden_layers": config.get("num_hidden_layers", config.get("n_layers")),  # DistilBERT has its own names
        "hidden_size": config.get("hidden_size", config.get("dim")),
    }
    if missing := [key for key, value in shape.items() if value is None]:
        stop(f"{path} has no {' and no '.join(missing)}")
    return shape


def refuse_unwritable(folder: Path) -> None:
    """Makes a folder; ends the program where that fails, or where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(f"the folder {folder} cannot be made: {error.strerror}")
    if not os.access(folder, os.W_OK):
        stop(f"the folder {folder} cannot be written to")


def refuse_unusable_files(task: Task, train: Path, test: Path) -> dict[str, Any]:
    """The rows of both splits. Ends the program where a file is missing or broken: the test file would otherwise be
    read hours later.
    """
    try:
        return read_splits(task, ("train", "test"), {"train": [train], "test": [test]})
    except DataError as error:
        stop(str(error))


def weights_of(model: Path) -> str:
    """What tells the model's weights from others. Ends the program where there are none."""
    files = weight_files(model)
    if not files:
        stop(f"there are no weights in {model} (no *.safetensors, no pytorch_model*.bin)")
    return " ".join(map(sha256_of, files))


def short_name(model: Path) -> str:
    """The model's folder as it was typed, where it is below the working directory; else without the folders above it:
    `spanbert-half`, or `splinter/checkpoint-700` for a checkpoint.
    """
    if not model.is_absolute() and ".." not in model.parts:
        return str(model)
    parts = model.resolve().parts
    return "/".join(parts[-2 if parts[-1].startswith(CHECKPOINT_PREFIX) else -1 :])


def digests_of(train: Path, test: Path) -> dict[str, str]:
    """What a study must not be continued without: the hashes of both files, by what a message calls them."""
    return {"the training file": sha256_of(train), "the test file": sha256_of(test)}


def divide(task: Task, train: Path, work: Path) -> tuple[Path, Path]:
    """The training file without what is held back, and what is held back: both are written to `work` now.

    The paths are absolute, as the runs look for others in the folder of the task.
    """
    try:
        contents = held_back.divided(task, train)
    except DataError as error:
        stop(str(error))
    work = work.resolve()
    paths = work / f"rest-{train.name}", work / f"held-back-{train.name}"
    for path, content in zip(paths, contents, strict=True):
        write_or_stop(path, content)
    return paths


def results_in(folder: Path) -> dict[str, Any]:
    """The results of a finished run. Ends the program where they cannot be read, or lack something."""
    path = folder / RESULTS_FILE
    try:
        results = read_object(path)
        if missing := [key for key in NEEDED if key not in results]:
            raise ValueError(f"has no {missing[0]!r}")
    except ValueError as error:
        stop(f"{path}: {error}; delete {folder} to run it again")
    return results


def main_score(results: Mapping[str, Any]) -> float:
    """A run's score by the main metric of its task, as a fraction."""
    return results["metrics"][results["main_metric"]]


def summary(results: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a run: its seed, its scores, its steps of so many rows, its time, and the code that made it."""
    training = results["training"]
    kept = {key: training[key] for key in ("steps", "epochs", "seconds", "tokens_per_second")}
    rows = results["config"]["train_batch_size"]
    scores = {key: results[key] for key in ("seed", "metrics", "at_chance")}
    return {**scores, "rows_per_step": rows, **kept, "git_commit": results["git_commit"]}


def other_hardware(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The machines of the runs beside the first run's, where an interrupted study went on elsewhere."""
    hardware = [run["hardware"] for run in runs]
    return [one for at, one in enumerate(hardware) if one not in hardware[:at]][1:]
