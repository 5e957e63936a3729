"""Scores of the run's checkpoints: which checkpoint is reported, and what `results.json` says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processors.task import Task
from storage.activity import doing
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
    versions,
    write_json,
    write_whole,
    written_by_runs,
)
from workflows.data_parts import described, hash_of_part, hashes_of, parts_of
from workflows.named_model import refuse_folder_of_others, run_that_left, take_output_folder, writes_into_folder
from workflows.settings import DataConfig, EvaluationConfig, FineTuningConfig

if TYPE_CHECKING:
    from training.runtime import Runtime
    from workflows.fine_tuning import ReadyModel, Split


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
    """The checkpoint that is reported, its scores on the test split, and all evaluations of the run.

    step: of its training; None for a named model that does not tell.
    """

    folder: Path
    step: int | None
    scored: Scored
    evaluations: list[dict[str, Any]]


def check_checkpoints(config: FineTuningConfig, task: Task) -> None:
    """Checks, without loading anything, that the checkpoints in this folder can be scored or used with these settings.

    Raises UsageError where there is no checkpoint or a damaged file, and as `refuse_other_training`.
    """
    if not any(path.name.startswith(CHECKPOINT_PREFIX) for path in written_by_runs(config.run_dir)):
        raise UsageError(
            f"{config.run_dir} holds no checkpoint: train first, name another folder with --output_dir, or a "
            "fine-tuned model with --model_name_or_path"
        )
    read_json_object(config.run_dir / RESULTS_FILE)
    refuse_other_training(config, task, config.run_dir, ["task", "model_type"])


def check_named_model(config: FineTuningConfig, task: Task, folder: Path) -> None:
    """Checks that a named model, in `folder`, can be scored or used, as far as what lies beside it tells.

    Raises UsageError where the output folder holds something else, and, for a run's checkpoint, as
    `refuse_other_training`. Warns where nobody knows which rows were held out of the training.
    """
    if writes_into_folder(config):
        refuse_folder_of_others(config, folder)
    run = run_that_left(folder)
    if run is not None:
        refuse_other_training(config, task, run)
    elif config.do_eval and task.held_out_share and not config.test_file:
        show(
            f"warning: the test rows are drawn from the training file by seed {config.seed}; what {folder} was trained "
            "on is not known, so it may have learned from them"
        )


def refuse_other_training(config: FineTuningConfig, task: Task, run: Path, keys: Iterable[str] = ()) -> None:
    """Raises UsageError where the checkpoints in the folder `run` were trained in another way than is asked for now.

    That is so where a setting that scores or labels depend on was different (keys: further settings), and where test
    rows are drawn from a training file that has changed: rows that the model has learned from could then be scored.
    """
    is_same_task = read_json_object(run / CONFIG_FILE).get("task") == config.task
    idle = config.OF_TRAINING_ALONE if config.uses_named_model else set()
    keys = [*keys, *sorted(config.of_training() - idle)]
    if task.held_out_share and is_same_task:
        keys += ["seed", "data_source", "train_file", "test_file", "encoding", "skip_bad_rows"]
    if were := changed_settings(run, config, keys):
        raise UsageError(f"the checkpoints in {run} were trained with {were}: give the same settings")
    parts = parts_of(config, task)
    data = read_json_object(run / TRAINING_FILE).get("data", {})
    hashes = {Path(name).name: sha for name, sha in data.items()}
    for part in parts["train"] if is_same_task and config.do_eval and not parts["test"] else []:
        if hashes.get(Path(str(part)).name) != hash_of_part(part):
            raise UsageError(
                f"{part} is not what the checkpoints in {run} were trained on: rows that are now "
                "drawn for the test may have been among those of the training"
            )


def run_of(config: FineTuningConfig, checkpoint: Path) -> Path | None:
    """The folder of the run that trained a checkpoint; None for a named model beside which no run's settings lie."""
    return run_that_left(checkpoint) if config.uses_named_model else config.run_dir


def settings_of_training(config: FineTuningConfig) -> set[str]:
    """The settings that only a training reads, or of which only the training's value tells anything."""
    of_today = {*DataConfig.model_fields, *EvaluationConfig.model_fields, *RuntimeConfig.model_fields}
    of_today |= {"no_unpad", "hanbert_library", "do_train", "seeds", "ckpt_dir", "output_dir", "resume"}
    of_today |= {"overwrite_output_dir"} | config.OF_EVALUATION | ({"attention"} if config.attention else set())
    of_today |= {"model_type", "model_name_or_path"} if config.uses_named_model else set()
    return set(type(config).model_fields) - of_today | {"train_file", "dev_file"}


def as_trained(config: FineTuningConfig, run: Path) -> FineTuningConfig:
    """The settings, in which those of the training are the ones that the checkpoints of `run` were trained with.

    A later `--do_eval` may name no learning rate or a different one; the results should name the one of the training.
    """
    trained = read_json_object(run / CONFIG_FILE)
    keys = settings_of_training(config)
    return config.model_copy(update={key: trained[key] for key in keys if key in trained})


def unknown_settings(config: FineTuningConfig) -> dict[str, None]:
    """The settings of a training of which nothing is known, without those that scores depend on, too."""
    of_today = config.of_training() - config.OF_TRAINING_ALONE | {"attention"}
    of_today |= set() if config.test_file else {"seed", "train_file"}  # the test rows are drawn with these
    return dict.fromkeys(settings_of_training(config) - of_today)


def score_checkpoints(
    config: FineTuningConfig,
    runtime: Runtime,
    task: Task,
    folder: Path | None,
    load: Callable[[Path], tuple[ReadyModel, Split]],
    score: Callable[[ReadyModel, Split], Scored],
) -> SelectedCheckpoint:
    """Scores the run's checkpoints on the test split, all of them or the selected one, and selects one.

    folder: of a named model, which is scored in their place. load: the model in a folder, and the test split for it.
    Test scores from the log are used where this very command has trained; otherwise the data may have changed
    since then. Raises UsageError where there is no checkpoint that can be selected.
    """
    from training.checkpoint import CheckpointFolder, step_of

    if config.uses_named_model:
        with doing(f"score {folder}"):
            scored = score(*load(folder))
        step = step_of(folder.resolve()) if run_that_left(folder) else None
        return SelectedCheckpoint(folder, step, scored, [{"step": step, "split": "test", "metrics": scored.metrics}])
    log = MetricsLog(config.run_dir)
    checkpoints = {step_of(path): path for path in CheckpointFolder(config.run_dir).all()}
    evaluations = [e for e in log.evaluations() if e["split"] != "test" or config.do_train]
    scored: dict[int, Scored] = {}
    ready: tuple[ReadyModel, Split] | None = None

    def score_step(step: int) -> None:
        nonlocal ready
        with doing(f"score {checkpoints[step].name}"):
            if ready is None or not config.do_train:
                ready = None  # frees its memory first
                ready = load(checkpoints[step])
            else:  # of this very run: only the weights differ, and a model that is loaded keeps its CUDA graphs
                CheckpointFolder(config.run_dir).load_weights(ready[0].network, checkpoints[step])
            scored[step] = score(*ready)
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
    return SelectedCheckpoint(checkpoints[best], best, scored[best], evaluations)


def in_words(metrics: Mapping[str, float]) -> str:
    """`accuracy 0.9021  macro_f1 0.8977`."""
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def selected_checkpoint(config: FineTuningConfig, task: Task, folder: Path | None) -> Path:
    """The checkpoint that the results name, else the one that the logged evaluations select.

    folder: of a named model, which is used in their place. Raises UsageError where there is none.
    """
    from training.checkpoint import CheckpointFolder, step_of

    if config.uses_named_model:
        return folder
    checkpoints = {step_of(path): path for path in CheckpointFolder(config.run_dir).all()}
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
    take_output_folder(config)
    for name, text in prediction_files.items():
        write_whole(config.run_dir / name, text)
    checkpoint, scored = selected.folder, selected.scored
    parts = parts_of(config, task)
    test_parts = parts["test"] or parts["train"]
    source = described(config, test_parts)
    path = config.run_dir / RESULTS_FILE
    run = run_of(config, checkpoint)
    training = read_json_object(run / TRAINING_FILE) if run else {}
    if run:
        config = as_trained(config, run)
    data = training.get("data", {}) | hashes_of(test_parts)
    results = {
        "task": config.task,
        "model": config.model_name,
        "model_name_or_path": config.model_name_or_path,
        "pretraining": read_json_object(checkpoint / "config.json").get(PRETRAINING),
        "seed": config.seed if run else None,
        "split": "test",
        "main_metric": task.main_metric,
        "metrics": scored.metrics,
        "rows": training.get("rows", {} if run else {"train": None}) | {"test": test_rows},
        **scored.details,
        "selection": None if config.uses_named_model else config.selection,
        "checkpoint": checkpoint.name,
        "step": selected.step,
        "at_chance": scored.at_chance,
        "evaluations": selected.evaluations,
        "training": training_facts(config, run, training),
        **circumstances(config, runtime, data),
        "data_source": source,
        "config": config.model_dump() | ({} if run else unknown_settings(config)),
    }
    write_json(path, results)
    show(as_lines(config, results, scored, path))
    if scored.at_chance:
        runtime.say(f"warning: {at_chance_in_words(config, selected)}")
    runtime.wait()  # until they are written, because predictions use the checkpoint that they name
    return results


def training_facts(config: FineTuningConfig, run: Path | None, training: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `results.json` says about a training. run: its folder; None: nothing is known. training: what it left."""
    if run is None:
        return None
    facts = {"precision": training.get("precision"), **(training.get("figures") or {})}
    if config.uses_named_model:  # elsewhere the results themselves name the model that the training began with
        began_with = read_json_object(run / CONFIG_FILE)
        facts |= {key: began_with.get(key) for key in ("model_type", "model_name_or_path")}
    return facts


def as_lines(config: FineTuningConfig, results: Mapping[str, Any], scored: Scored, path: Path) -> str:
    """The results for the screen: the scores, the script's own report, and which checkpoint they are of."""
    seed = "" if results["seed"] is None else f"seed {results['seed']}  "
    head = f"{config.task}  {config.model_name}  {seed}test  {in_words(scored.metrics)}"
    if config.uses_named_model:
        of = f"{config.model_name_or_path}, as it is"
    else:
        how = {"dev": "best on dev", "test": "best on test", "last": "the last one"}[config.selection]
        of = f"{results['checkpoint']}, {how}"
    return "\n".join([head, *([scored.report] if scored.report else []), f"  {of}; written to {path}"])


def at_chance_in_words(config: FineTuningConfig, selected: SelectedCheckpoint) -> str:
    """What to tell a user whose scores are those of a model that knows nothing of the texts."""
    if config.uses_named_model:
        return "these scores are no better than chance: is the model one for this task, and are the labels the same?"
    return (
        f"after {selected.step} steps these scores are no better than chance. Where that is not for want of rows or "
        "steps, another seed, a smaller learning_rate or a warm-up (warmup_proportion 0.1) usually helps"
    )
