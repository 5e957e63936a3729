"""The texts of `input_file` and where their labels go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processors.task import Task
from storage.names import on_disk
from storage.streams import to_standard_output
from training.config import UsageError
from training.processes import process_count
from training.results import write_whole
from workflows.named_model import take_output_folder
from workflows.settings import FineTuningConfig

if TYPE_CHECKING:
    from training.runtime import Runtime


def read_inputs(config: FineTuningConfig, task: Task, read: Callable[[Task, Path | None, str], Any]) -> Any:
    """The rows that `do_predict` is to label; None where it is not set.

    read: task, file (None: standard input), encoding -> rows. Raises UsageError where the
    predictions could not be written.
    """
    if not config.do_predict:
        return None
    source = None if config.input_file == "-" else on_disk(Path(config.input_file))
    if source is None and process_count() > 1:
        raise UsageError("input_file - is read by one process: start the script without torchrun, or name a file")
    if not writes_to_standard_output(config):
        target = prediction_path(config, "predictions")
        if config.output_file and not target.parent.is_dir():
            raise UsageError(f"output_file {target}: there is no folder {target.parent}")
        if source is not None and target.resolve() == source.resolve():
            raise UsageError(f"output_file {target} is the input_file: its texts would be lost")
    return read(task, source, config.encoding)


def writes_to_standard_output(config: FineTuningConfig) -> bool:
    """Whether predictions go to standard output, where numbers are short: `--output_file -`, or `--input_file -`."""
    return config.output_file == "-" or (config.input_file == "-" and not config.output_file)


def prediction_path(config: FineTuningConfig, name: str) -> Path:
    """Where predictions on an input file go: `predictions.tsv` to `predictions-<name of the input file>.tsv`."""
    if config.output_file:
        return Path(config.output_file)
    name = Path(name)
    return config.run_dir / f"{name.stem}-{Path(config.input_file).stem}{name.suffix}"


def write_predictions(
    config: FineTuningConfig, runtime: Runtime, checkpoint: Path, rows: int, files: Mapping[str, str]
) -> None:
    """Writes the predictions on an input file. files: by name; the first is the one for `output_file` or the screen."""
    if not runtime.is_main:
        return
    if writes_to_standard_output(config):
        if failure := to_standard_output(next(iter(files.values()))):
            raise UsageError(f"standard output could not be written: {failure.strerror}") from failure
        return
    names = list(files)[:1] if config.output_file else list(files)
    targets = {prediction_path(config, name): files[name] for name in names}
    if not config.output_file:
        take_output_folder(config)
    for target, text in targets.items():
        write_whole(target, text)
    of = config.model_name if config.uses_named_model else checkpoint.name
    runtime.say(f"{rows} predictions of {of} written to {', '.join(map(str, targets))}")
