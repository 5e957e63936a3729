"""A fine-tuning run from files to results and predictions: the same for every script, which hands in a `Recipe`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from training.config import UsageError
from training.processes import process_count
from workflows.script import (
    Scored,
    check_checkpoints,
    run_script,
    score_checkpoints,
    selected_checkpoint,
    write_results,
    write_to_standard_output,
)
from workflows.settings import FineTuningConfig

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.


@dataclass(frozen=True)
class Split:
    """The rows of one split, tokenized.

    rows: as they were read. features: what batches are made from; its length is the number of rows a model sees.
    collate: row ids `[B]`, and how many rows there are to be, to a batch (`training/plan.py`). content: stands for
    texts, labels and tokens.
    """

    rows: Any
    features: Any
    collate: Callable[[np.ndarray, int | None], dict[str, Any]]
    content: str


class Learner(Protocol):
    """A model with its tokenizer: what turns rows into batches, batches into losses, and outputs into scores.

    model: on its device. unpads: whether its encoder runs without padding.
    """

    model: Any
    tokenizer: Any
    unpads: bool

    def prepare(self, name: str, rows: Any) -> Split:
        """Tokenizes the rows of a split, and says, once, what there is to know about them."""

    def loss_of(self, model: Any, batch: dict[str, Any]) -> Any:
        """Sum of the losses, of `batch["terms"]` terms."""

    def outputs(self, split: Split) -> Any:
        """What the model makes of all rows."""

    def score(self, split: Split) -> Scored:
        """The task's metrics on a split with labels."""


@dataclass(frozen=True)
class Recipe:
    """What a script brings.

    tasks: those that it runs, by name (`processors.task.Task`).
    script_of_task: the script of every task there is, for who asks the wrong one.
    config_class: its settings.
    errors: what the person at the keyboard can mend.
    find_model: model_type and model_name_or_path -> the folder of a model.
    learner: settings, runtime, folder of a model, whether it is a trained checkpoint -> Learner.
    read_splits: as `processors.splits.read_splits`. read_inputs: task, file (None: standard input), encoding -> rows to
    be labelled.
    prediction_files: task, rows, outputs, whether with all digits -> file name -> text; the first is what goes to
    standard output. They bear these names for the test split, and `<stem>-<name of the input file>` for others.
    published_batch: what there is to say of it beside the rows of a step.
    """

    tasks: Mapping[str, Any]
    script_of_task: Mapping[str, str]
    config_class: type[FineTuningConfig]
    errors: tuple[type[Exception], ...]
    find_model: Callable[[str | None, str | None], Path]
    learner: Callable[[Any, Any, Path, bool], Learner]
    read_splits: Callable[..., dict[str, Any]]
    read_inputs: Callable[[Any, Path | None, str], Any]
    prediction_files: Callable[[Any, Any, Any, bool], dict[str, str]]
    test_file_key: str = "test_file"
    published_batch: str = ""


def run_recipe(
    script: str,
    about: str,
    argv: list[str],
    recipe: Recipe,
    run: Callable[[Any, bool], dict[str, Any] | None] | None = None,
) -> int:
    """Runs the command `script argv`; returns the exit code.

    about: head of `--help`. run: what is made of the settings, if that is not one run of `fine_tune`.
    """
    settings = {name: task.settings(recipe.test_file_key) for name, task in recipe.tasks.items()}
    run = run or functools.partial(fine_tune, recipe)
    return run_script(script, about, argv, recipe.config_class, settings, recipe.errors, run, recipe.script_of_task)


def fine_tune(recipe: Recipe, config: FineTuningConfig, overwrite: bool) -> dict[str, Any] | None:
    """Trains, evaluates and predicts as the settings say; returns the results of the evaluation."""
    task = recipe.tasks[config.task]
    # All files are read first: what is wrong with the last of them should not come to light after hours of training.
    rows = read(recipe, config)
    inputs = read_inputs(recipe, config) if config.do_predict else None
    if not config.do_train:
        check_checkpoints(config, settings_that_checkpoints_share(config, task), held_out_from(config, task))
    folder = recipe.find_model(config.model_type, config.model_name_or_path) if config.do_train else None

    from training.runtime import open_runtime, quiet_libraries

    runtime = open_runtime(config)
    quiet_libraries()
    results = None
    if config.do_train:
        train(recipe, config, runtime, folder, rows, overwrite)
    if config.dry_run:
        return None
    if config.do_eval:
        results = score(recipe, config, runtime, rows["test"])
    if config.do_predict:
        predict(recipe, config, runtime, inputs)
    return results


def train(
    recipe: Recipe, config: FineTuningConfig, runtime, folder: Path, rows: dict[str, Any], overwrite: bool
) -> None:
    """Fine-tunes the model in `folder`."""
    import torch

    from training.checkpoint import CheckpointFolder
    from training.dry_run import dry_run
    from training.loop import Job, State, fit
    from training.plan import Plan
    from training.results import MetricsLog, delete_earlier_run, sha256_of

    task = recipe.tasks[config.task]
    torch.manual_seed(config.seed)
    learner = recipe.learner(config, runtime, folder, False)
    with runtime.first_alone():
        splits = {name: learner.prepare(name, rows[name]) for name in rows}
    evaluation_split = splits[config.training_split] if config.evaluates_every != 0 else None
    plan = Plan.of(config, len(splits["train"].features), runtime)

    def evaluate_now() -> tuple[str, dict[str, float]]:
        return config.training_split, learner.score(evaluation_split).metrics

    def write_model(target: Path, state: State) -> None:
        runtime.save_model(learner.model, target)
        learner.tokenizer.save_pretrained(target)

    published = f" ({recipe.published_batch})" if recipe.published_batch else ""
    runtime.say(
        f"{task.name}, {config.model_name}: {plan.steps} steps of {plan.step_rows} rows"
        f"{published}, {runtime.describe()}{', unpadded' if learner.unpads else ''}"
    )
    if overwrite and runtime.is_main:
        delete_earlier_run(config.run_dir)
    job = Job(
        model=learner.model,
        plan=plan,
        collate=lambda row_ids, draws, size: splits["train"].collate(row_ids, size),
        loss_of=learner.loss_of,
        config=config,
        runtime=runtime,
        checkpoints=CheckpointFolder(config.run_dir, config.save_total_limit, config.save_optimizer),
        log=MetricsLog(config.run_dir),
        write_model=write_model,
        identity=config.identity(runtime.precision)
        | {"training rows": splits["train"].content}
        | ({f"{config.training_split} rows": evaluation_split.content} if evaluation_split else {}),
        data={str(path): sha256_of(path) for name in rows for path in config.files(task.folder)[name]},
        evaluate=evaluate_now if evaluation_split else None,
        main_metric=task.main_metric,
        greater_is_better=task.greater_is_better,
        rows={name: len(split.rows) for name, split in splits.items()},
    )
    if config.dry_run:
        dry_run(job, splits["train"].features.lengths)
    else:
        fit(job)


def score(recipe: Recipe, config: FineTuningConfig, runtime, rows: Any) -> dict[str, Any]:
    """Scores the run's checkpoints on the test split; writes results and the selected checkpoint's predictions."""
    from training.results import write_whole

    task = recipe.tasks[config.task]

    def score_checkpoint(checkpoint: Path) -> Scored:
        learner = recipe.learner(config, runtime, checkpoint, True)
        with runtime.first_alone():
            split = learner.prepare("test", rows)
        return learner.score(split)

    checkpoint, scored, evaluations = score_checkpoints(
        config, runtime, score_checkpoint, task.main_metric, task.greater_is_better, config.do_train
    )
    for name, text in recipe.prediction_files(task, rows, scored.outputs, True).items():
        write_whole(config.run_dir / name, text)
    files = config.files(task.folder)
    results = write_results(
        config, runtime, checkpoint, scored, evaluations, task.main_metric, files["test"] or files["train"], len(rows)
    )
    runtime.wait()  # until they are written: predictions are made by the checkpoint that they name
    return results


def predict(recipe: Recipe, config: FineTuningConfig, runtime, rows: Any) -> None:
    """Labels the texts of `input_file` with the selected checkpoint."""
    from training.results import write_whole

    task = recipe.tasks[config.task]
    checkpoint = selected_checkpoint(config, task.main_metric, task.greater_is_better)
    learner = recipe.learner(config, runtime, checkpoint, True)
    with runtime.first_alone():
        split = learner.prepare("predict", rows)
    outputs = learner.outputs(split)
    if not runtime.is_main:
        return
    if writes_to_standard_output(config):
        write_to_standard_output(next(iter(recipe.prediction_files(task, rows, outputs, False).values())))
        return
    files = recipe.prediction_files(task, rows, outputs, True)
    if config.output_file:  # one name: one file
        files = dict([next(iter(files.items()))])
    targets = {prediction_path(config, name): text for name, text in files.items()}
    for target, text in targets.items():
        write_whole(target, text)
    runtime.say(f"{len(rows)} predictions of {checkpoint.name} written to {', '.join(map(str, targets))}")


def read(recipe: Recipe, config: FineTuningConfig) -> dict[str, Any]:
    """The rows of the splits that the run needs."""
    names = ["train"] if config.do_train else []
    if config.do_train and config.evaluates_every != 0:
        names.append(config.training_split)
    if config.do_eval:
        names.append("test")
    if not names:
        return {}
    task = recipe.tasks[config.task]
    files = config.files(task.folder)
    return recipe.read_splits(
        task, names, files, config.encoding, config.skip_bad_rows, config.seed, recipe.test_file_key
    )


def read_inputs(recipe: Recipe, config: FineTuningConfig) -> Any:
    """What is to be labelled. Raises UsageError where it is known now that the labels could not be written."""
    source = None if config.input_file == "-" else Path(config.input_file)
    if source is None and process_count() > 1:
        raise UsageError("input_file - is read by one process: start the script without torchrun, or name a file")
    if not writes_to_standard_output(config):
        target = prediction_path(config, "predictions")
        if config.output_file and not target.parent.is_dir():
            raise UsageError(f"output_file {target}: there is no folder {target.parent}")
        if source is not None and target.resolve() == source.resolve():
            raise UsageError(f"output_file {target} is the input_file: its texts would be lost")
    return recipe.read_inputs(recipe.tasks[config.task], source, config.encoding)


def writes_to_standard_output(config: FineTuningConfig) -> bool:
    return config.input_file == "-" and not config.output_file


def prediction_path(config: FineTuningConfig, name: str) -> Path:
    """Where predictions on an input file go: `predictions.tsv` to `predictions-<name of the input file>.tsv`."""
    if config.output_file:
        return Path(config.output_file)
    name = Path(name)
    return config.run_dir / f"{name.stem}-{Path(config.input_file).stem}{name.suffix}"


def settings_that_checkpoints_share(config: FineTuningConfig, task: Any) -> list[str]:
    """What must be as it was in training: where test rows may be drawn from the training file, also what says which."""
    keys = ["task", "model_type", *sorted(config.of_training())]
    drawn = ["seed", "train_file", "test_file", "encoding", "skip_bad_rows"]
    return [*keys, *drawn] if task.held_out_share else keys


def held_out_from(config: FineTuningConfig, task: Any) -> list[Path]:
    """The files that both training and test rows are drawn from; none where the test rows have files of their own."""
    files = config.files(task.folder)
    return files["train"] if config.do_eval and not files["test"] else []
