"""Scores of the run's checkpoints: which checkpoint is reported, and what `results.json` says about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processors.task import Task
from training.config import LoopConfig, RuntimeConfig, UsageError
from training.processes import show
from training.results import (
    CHECKPOINT_PREFIX,
    CONFIG_FILE,
    PRETRAINING,
    RESULTS_FILE,
    TRAINING_FILE,
    MetricsLog,
    changed_settings,
    git_commit,
    read_json_object,
    selected_step,
    sha256_of,
    versions,
    write_json,
    write_whole,
    written_by_runs,
)
from workflows.settings import DataConfig, EvaluationConfig, FineTuningConfig

if TYPE_CHECKING:
    from training.runtime import Runtime


@dataclass(frozen=True)
class Scored:
    """How one model does on one split.

    outputs: what the predictions are written from. at_chance: whether it is no better than knowing nothing of the text.
    details: what `results.json` says besides the metrics. report: lines for the screen.
    """

    metrics: dict[str, float]
    outputs: Any
    at_chance: bool
    details: Mapping[str, Any] = field(default_factory=dict)
    report: str = ""


@dataclass(frozen=True)
class SelectedCheckpoint:
    """The checkpoint that is reported, its scores on the test split, and all evaluations of the run."""

    folder: Path
    scored: Scored
    evaluations: list[dict[str, Any]]


def check_checkpoints(config: FineTuningConfig, task: Task) -> None:
    """Checks, without loading anything, that the checkpoints in this folder can be scored or used with these settings.

    Raises UsageError where there is no checkpoint or a damaged file, where a setting that scores or labels
    depend on was different in training, and where test rows are drawn from a training file that has changed: rows
    that the model has learned from could then be scored.
    """
    if not any(path.name.startswith(CHECKPOINT_PREFIX) for path in written_by_runs(config.run_dir)):
        raise UsageError(f"{config.run_dir} holds no checkpoint: train first, or name another folder with --output_dir")
    read_json_object(config.run_dir / RESULTS_FILE)
    keys = ["task", "model_type", *sorted(config.of_training())]
    if task.held_out_share:
        keys += ["seed", "train_file", "test_file", "encoding", "skip_bad_rows"]
    if were := changed_settings(config.run_dir, config, keys):
        raise UsageError(f"the checkpoints in {config.run_dir} were trained with {were}: give the same settings")
    files = config.files(task.folder)
    data = read_json_object(config.run_dir / TRAINING_FILE).get("data", {})
    hashes = {Path(name).name: sha for name, sha in data.items()}
    for file in files["train"] if config.do_eval and not files["test"] else []:
        if hashes.get(file.name) != sha256_of(file):
            raise UsageError(
                f"{file} is not the file that the checkpoints in {config.run_dir} were trained on: rows that are now "
                "drawn for the test may have been among those of the training"
            )


def as_trained(config: FineTuningConfig) -> FineTuningConfig:
    """The settings, in which those of the training are the ones that the checkpoints were trained with.

    A later `--do_eval` may name no learning rate or a different one; the results should name the one of the training.
    """
    trained = read_json_object(config.run_dir / CONFIG_FILE)
    of_today = {*DataConfig.model_fields, *EvaluationConfig.model_fields, *RuntimeConfig.model_fields}
    of_today |= {"no_unpad", "hanbert_library", "do_train", "seeds", "ckpt_dir", "output_dir", "resume"}
    of_today |= {"overwrite_output_dir"} | config.OF_EVALUATION | ({"attention"} if config.attention else set())
    keys = set(type(config).model_fields) - of_today | {"train_file", "dev_file"}
    return config.model_copy(update={key: trained[key] for key in keys if key in trained})


def score_checkpoints(
    config: FineTuningConfig, runtime: Runtime, task: Task, score: Callable[[Path], Scored]
) -> SelectedCheckpoint:
    """Scores the run's checkpoints on the test split, all of them or the selected one, and selects one.

    Test scores from the log are used where this very command has trained; otherwise the data may have changed
    since then. Raises UsageError where there is no checkpoint that can be selected.
    """
    from training.checkpoint import CheckpointFolder, step_of

    log = MetricsLog(config.run_dir)
    checkpoints = {step_of(path): path for path in CheckpointFolder(config.run_dir).all()}
    evaluations = [e for e in log.evaluations() if e["split"] != "test" or config.do_train]
    scored: dict[int, Scored] = {}

    def score_step(step: int) -> None:
        scored[step] = score(checkpoints[step])
        evaluations.append({"step": step, "split": "test", "metrics": scored[step].metrics})

    if config.eval_all_checkpoints or config.selection == "test":
        known = {e["step"] for e in evaluations if e["split"] == "test"}
        for step in sorted(set(checkpoints) - known):
            score_step(step)
            runtime.say(f"{checkpoints[step].name}  test  {in_words(scored[step].metrics)}")
    best = selected_step(evaluations, checkpoints, config.selection, task.main_metric, task.greater_is_better)
    if best not in scored:
        evaluations = [e for e in evaluations if (e["step"], e["split"]) != (best, "test")]
        score_step(best)
    evaluations.sort(key=lambda e: (e["step"], e["split"]))
    return SelectedCheckpoint(checkpoints[best], scored[best], evaluations)


def in_words(metrics: Mapping[str, float]) -> str:
    """`accuracy 0.9021  macro_f1 0.8977`."""
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def selected_checkpoint(config: FineTuningConfig, task: Task) -> Path:
    """The checkpoint that the results name, else the one that the logged evaluations select.

    Raises UsageError where there is none.
    """
    from training.checkpoint import CheckpointFolder, step_of

    folder = CheckpointFolder(config.run_dir)
    checkpoints = {step_of(path): path for path in folder.all()}
    results = read_json_object(config.run_dir / RESULTS_FILE)
    if results.get("step") in checkpoints and results.get("selection") == config.selection:
        return checkpoints[results["step"]]
    evaluations = MetricsLog(config.run_dir).evaluations()
    step = selected_step(evaluations, checkpoints, config.selection, task.main_metric, task.greater_is_better)
    return checkpoints[step]


def circumstances(config: LoopConfig, runtime: Runtime, data: Mapping[str, str]) -> dict[str, Any]:
    """The facts in `results.json` that are needed to repeat a run. data: file -> sha256."""
    return {
        "hardware": runtime.hardware(),
        "versions": versions(),
        "data": data,
        "git_commit": git_commit(Path(__file__).resolve().parent),
        "config": config.model_dump(),
    }


def write_results(
    config: FineTuningConfig,
    runtime: Runtime,
    task: Task,
    selected: SelectedCheckpoint,
    test_rows: int,
    prediction_files: Mapping[str, str],
) -> dict[str, Any]:
    """Writes `results.json` and the selected checkpoint's predictions; prints what the results are.

    Facts about the training come from the files that the training left in the folder, today or on an earlier day.
    prediction_files: name -> text. Returns the results.
    """
    from training.checkpoint import step_of

    for name, text in prediction_files.items():
        write_whole(config.run_dir / name, text)
    checkpoint, scored = selected.folder, selected.scored
    files = config.files(task.folder)
    test_files = files["test"] or files["train"]
    path = config.run_dir / RESULTS_FILE
    training = read_json_object(config.run_dir / TRAINING_FILE)
    config = as_trained(config)
    results = {
        "task": config.task,
        "model": config.model_name,
        "model_name_or_path": config.model_name_or_path,
        "pretraining": read_json_object(checkpoint / "config.json").get(PRETRAINING),
        "seed": config.seed,
        "split": "test",
        "main_metric": task.main_metric,
        "metrics": scored.metrics,
        "rows": training.get("rows", {}) | {"test": test_rows},
        **scored.details,
        "selection": config.selection,
        "checkpoint": checkpoint.name,
        "step": step_of(checkpoint),
        "at_chance": scored.at_chance,
        "evaluations": selected.evaluations,
        "training": {"precision": training.get("precision"), **(training.get("figures") or {})},
        **circumstances(
            config, runtime, training.get("data", {}) | {str(file): sha256_of(file) for file in test_files}
        ),
    }
    write_json(path, results)
    how = {"dev": "best on dev", "test": "best on test", "last": "the last one"}[config.selection]
    show(f"{config.task}  {config.model_name}  seed {config.seed}  test  {in_words(scored.metrics)}")
    if scored.report:
        show(scored.report)
    show(f"  {checkpoint.name}, {how}; written to {path}")
    if scored.at_chance:
        runtime.say(
            f"warning: after {step_of(checkpoint)} steps these scores are no better than chance. Where that is not "
            "for want of rows or steps, another seed, a smaller learning_rate or a warm-up (warmup_proportion 0.1) "
            "usually helps"
        )
    runtime.wait()  # until they are written, because predictions use the checkpoint that they name
    return results
