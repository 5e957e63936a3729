"""A fine-tuned model that the command line names: it is scored and used as it is, whoever trained it.

Its results go into an output folder of its own, which holds nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path

from training.config import UsageError
from training.results import (
    CHECKPOINT_PREFIX,
    CONFIG_FILE,
    prepare_output_dir,
    read_json_object,
    write_json,
    written_by_runs,
)
from workflows.settings import FineTuningConfig


def run_that_left(model: Path) -> Path | None:
    """The folder of the run that left this checkpoint, if the run's settings still lie there."""
    model = model.resolve()
    is_checkpoint = re.fullmatch(rf"{CHECKPOINT_PREFIX}\d+", model.name)
    return model.parent if is_checkpoint and (model.parent / CONFIG_FILE).is_file() else None


def writes_into_folder(config: FineTuningConfig) -> bool:
    """Whether the output folder is needed: predictions may go to standard output, or into a file of the user's."""
    return config.do_eval or not (config.output_file or config.input_file == "-")


def refuse_folder_of_others(config: FineTuningConfig, model: Path) -> None:
    """Raises UsageError where the output folder holds what training or another model left, or is the model's own."""
    another = "--output_dir NAME takes another folder"
    if config.run_dir.resolve() == model.resolve():
        raise UsageError(f"{config.run_dir} is the folder of the model, where results would mix with it: {another}")
    if not written_by_runs(config.run_dir):
        return
    before = read_json_object(config.run_dir / CONFIG_FILE)
    if before.get("do_train") is not False:
        raise UsageError(
            f"{config.run_dir} holds a run that was trained: without --model_name_or_path its checkpoints are scored "
            f"and used; for {config.model_name_or_path}, {another}"
        )
    name, task = before.get("model_name_or_path"), before.get("task")
    is_same = isinstance(name, str) and Path(name).resolve() == Path(config.model_name_or_path).resolve()
    if not is_same or task != config.task:
        raise UsageError(f"{config.run_dir} holds what {name} did on {task}: {another}")


def take_output_folder(config: FineTuningConfig) -> None:
    """Makes the output folder of a named model and writes down whose it is. Raises UsageError where it cannot."""
    if config.uses_named_model:
        prepare_output_dir(config.run_dir, may_hold_a_run=True)
        write_json(config.run_dir / CONFIG_FILE, config.model_dump())
