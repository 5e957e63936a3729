"""What every fine-tuning script does around its own part: settings, seeds, the selected checkpoint, results."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.command_line import Config, resolve
from training.config import LoopConfig, RuntimeConfig, UsageError, is_typed
from training.processes import is_main_process, leave, process_count, show
from training.results import (
    CHECKPOINT_PREFIX,
    CONFIG_FILE,
    PRETRAINING,
    RESULTS_FILE,
    SEEDS_FILE,
    TRAINING_FILE,
    MetricsLog,
    changed_settings,
    git_commit,
    mean_and_std,
    prepare_output_dir,
    read_json_object,
    selected_step,
    sha256_of,
    summary_of_seeds,
    versions,
    write_json,
    written_by_runs,
)
from workflows.settings import DataConfig, EvaluationConfig, FineTuningConfig

# torch takes seconds to import: only what needs it does, so that --help and mistyped flags answer at once.

SECONDS_FOR_THE_FIRST = 2.0  # which is many times what torchrun takes to end the others


def run_script(
    script: str,
    about: str,
    argv: list[str],
    config_class: type[Config],
    tasks: Mapping[str, Mapping[str, Any]],
    errors: tuple[type[Exception], ...],
    run: Callable[[Config, bool], dict[str, Any] | None],
    script_of_task: Mapping[str, str],
) -> int:
    """Resolves the settings and runs them; returns the exit code.

    script: path of the script; its folder holds `config/`. errors: what the person at the keyboard can mend: printed
    without a traceback, exit code 2. run: takes the settings and whether to overwrite, and returns the results.
    script_of_task: of every task there is.
    After Ctrl-C the command that goes on is printed, and the exit code is 130.
    """
    config: Config | None = None

    def work() -> None:
        nonlocal config
        config, given = resolve(
            config_class, argv, tasks, Path(script).resolve().parent / "config", about, script_of_task
        )
        overwrite = config.overwrite_output_dir and is_typed("overwrite_output_dir", given)
        runs = one_for_each_seed(config)
        if config.do_train and not config.dry_run:
            for one in runs:  # the last seed's folder should not be refused after hours of the others
                prepare_output_dir(one.run_dir, config.resume or overwrite)
        results = [run(one, overwrite) for one in runs]
        if config.seeds is not None and config.do_eval:
            report_seeds(config, results)

    return exit_code(script, errors, work, lambda: resuming(argv) if trains(config) else argv)


def exit_code(
    script: str, errors: tuple[type[Exception], ...], work: Callable[[], None], going_on: Callable[[], list[str]]
) -> int:
    """Does the work of a script: 0, or 2 after what the person can mend, said without a traceback, or 130 after Ctrl-C.

    going_on: the flags of the command that goes on after Ctrl-C.
    """
    name = Path(script).name
    try:
        with first_process_speaks_first():
            work()
    except (UsageError, *errors) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return leave(2)
    except KeyboardInterrupt as interruption:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once more changes nothing now
        if is_main_process():
            python = f"torchrun ... --nproc_per_node {process_count()}" if process_count() > 1 else "python3"
            print(f"\n{name}: {interruption if interruption.args else 'interrupted'}; to go on:", file=sys.stderr)
            print(f"  {python} {shlex.join([script, *going_on()])}", file=sys.stderr)
        return leave(130)
    return leave(0)


@contextlib.contextmanager
def first_process_speaks_first() -> Iterator[None]:
    """What goes wrong in all processes alike, the first of them says, and `torchrun` ends the others before they can.

    What goes wrong in another one alone is said by that one, a little later.
    """
    try:
        yield
    except Exception:
        if not is_main_process():
            time.sleep(SECONDS_FOR_THE_FIRST)
        raise


def trains(config: LoopConfig | None) -> bool:
    """Whether there may be something to go on with."""
    return config is not None and not config.dry_run and getattr(config, "do_train", True)


def resuming(argv: list[str]) -> list[str]:
    """The flags that go on with the run that `argv` started."""
    words: list[str] = []
    dropping = False
    for word in argv:
        if word.partition("=")[0] in ("--resume", "--overwrite_output_dir"):
            dropping = True
        elif not (dropping and word.lower() in ("true", "false")):
            words.append(word)
            dropping = False
    return [*words, "--resume"]


def one_for_each_seed(config: Config) -> list[Config]:
    """The settings of each run: of one seed into its own folder, `<output folder>/seed-<seed>`, or as they are."""
    if config.seeds is None:
        return [config]
    folder = config.output_dir or config.run_dir.name
    settings = ({"seed": seed, "seeds": None, "output_dir": f"{folder}/seed-{seed}"} for seed in config.seeds)
    return [config.model_copy(update=one) for one in settings]


def report_seeds(config: FineTuningConfig, results: list[dict[str, Any]]) -> None:
    """Writes mean and standard deviation over the seeds, and says them on standard output."""
    summary = summary_of_seeds(dict(zip(config.seeds, results, strict=True)))
    write_json(config.run_dir / SEEDS_FILE, summary)
    show(f"\n{summary['model']} on {summary['task']}, {len(results)} seeds: {', '.join(map(str, config.seeds))}")
    for name, values in summary["metrics"].items():
        show(f"  {name:22}{mean_and_std(values)}")


def check_checkpoints(config: FineTuningConfig, keys: Iterable[str], files: Iterable[Path]) -> None:
    """What can be known of the run in this folder before it is scored or used, without loading anything.

    keys: settings without which a score or a label would be another one, and nothing would tell. files: those that test
    rows are drawn from beside the training rows: with another content, rows of the training could be scored.
    Raises UsageError where there is no checkpoint, a damaged file, or a key or file that was another in training.
    """
    if not any(path.name.startswith(CHECKPOINT_PREFIX) for path in written_by_runs(config.run_dir)):
        raise UsageError(f"{config.run_dir} holds no checkpoint: train first, or name another folder with --output_dir")
    read_json_object(config.run_dir / RESULTS_FILE)
    if were := changed_settings(config.run_dir, config, keys):
        raise UsageError(f"the checkpoints in {config.run_dir} were trained with {were}: give the same settings")
    data = read_json_object(config.run_dir / TRAINING_FILE).get("data", {})
    hashes = {Path(name).name: sha for name, sha in data.items()}
    for file in files:
        if hashes.get(file.name) != sha256_of(file):
            raise UsageError(
                f"{file} is not the file that the checkpoints in {config.run_dir} were trained on: rows that are now "
                "drawn for the test may have been among those of the training"
            )


def as_trained(config: Config) -> Config:
    """The settings with those that made the checkpoints replaced by the ones that they were trained with.

    `--do_eval` is given no learning rate, or another: the results should name the one that made the checkpoint.
    """
    trained = read_json_object(config.run_dir / CONFIG_FILE)
    of_today = {*DataConfig.model_fields, *EvaluationConfig.model_fields, *RuntimeConfig.model_fields}
    of_today |= {"no_unpad", "do_train", "seeds", "ckpt_dir", "output_dir", "resume", "overwrite_output_dir"}
    of_today |= config.OF_EVALUATION | ({"attention"} if config.attention else set())
    keys = set(type(config).model_fields) - of_today | {"train_file", "dev_file"}
    return config.model_copy(update={key: trained[key] for key in keys if key in trained})


@dataclass(frozen=True)
class Scored:
    """What one model makes of one split.

    outputs: what the predictions are written from. at_chance: whether it is no better than knowing nothing of the text.
    details: what `results.json` says beside the metrics. report: lines for the screen.
    """

    metrics: dict[str, float]
    outputs: Any
    at_chance: bool
    details: Mapping[str, Any] = field(default_factory=dict)
    report: str = ""


def score_checkpoints(
    config: FineTuningConfig,
    runtime,
    score: Callable[[Path], Scored],
    main_metric: str,
    greater_is_better: bool,
    just_trained: bool,
) -> tuple[Path, Scored, list[dict[str, Any]]]:
    """Scores the run's checkpoints on the test split: all of them, or the selected one.

    just_trained: test scores that this very run has logged are taken over; otherwise the data may have changed since.
    Returns the selected checkpoint, its scores, and all evaluations of the run.
    Raises UsageError where there is no checkpoint that can be selected.
    """
    from training.checkpoint import CheckpointFolder, step_of

    log = MetricsLog(config.run_dir)
    checkpoints = {step_of(path): path for path in CheckpointFolder(config.run_dir).all()}
    evaluations = [e for e in log.evaluations() if e["split"] != "test" or just_trained]
    scored: dict[int, Scored] = {}

    def score_step(step: int) -> None:
        scored[step] = score(checkpoints[step])
        evaluations.append({"step": step, "split": "test", "metrics": scored[step].metrics})

    if config.eval_all_checkpoints or config.selection == "test":
        known = {e["step"] for e in evaluations if e["split"] == "test"}
        for step in sorted(set(checkpoints) - known):
            score_step(step)
            runtime.say(f"{checkpoints[step].name}  test  {in_words(scored[step].metrics)}")
    best = selected_step(evaluations, checkpoints, config.selection, main_metric, greater_is_better)
    if best not in scored:
        evaluations = [e for e in evaluations if (e["step"], e["split"]) != (best, "test")]
        score_step(best)
    return checkpoints[best], scored[best], sorted(evaluations, key=lambda e: (e["step"], e["split"]))


def in_words(metrics: Mapping[str, float]) -> str:
    """`accuracy 0.9021  macro_f1 0.8977`."""
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def selected_checkpoint(config: FineTuningConfig, main_metric: str, greater_is_better: bool) -> Path:
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
    return checkpoints[selected_step(evaluations, checkpoints, config.selection, main_metric, greater_is_better)]


def write_to_standard_output(text: str) -> None:
    """As UTF-8, like every file, whatever the terminal's locale. Raises UsageError where it is not taken."""
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    except BrokenPipeError:  # `... | head`: the reader has enough; Python would try once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(f"standard output could not be written: {error.strerror}") from error


def circumstances(config: LoopConfig, runtime, data: Mapping[str, str]) -> dict[str, Any]:
    """What `results.json` says of a run so that it can be repeated. data: file -> sha256."""
    return {
        "hardware": runtime.hardware(),
        "versions": versions(),
        "data": data,
        "git_commit": git_commit(Path(__file__).resolve().parent),
        "config": config.model_dump(),
    }


def write_results(
    config: FineTuningConfig,
    runtime,
    checkpoint: Path,
    scored: Scored,
    evaluations: list[dict[str, Any]],
    main_metric: str,
    test_files: list[Path],
    test_rows: int,
) -> dict[str, Any]:
    """Writes `results.json` and says on standard output what is in it; returns it.

    What it says of the training is what the training left in the folder, today or on another day.
    """
    from training.checkpoint import step_of

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
        "main_metric": main_metric,
        "metrics": scored.metrics,
        "rows": training.get("rows", {}) | {"test": test_rows},
        **scored.details,
        "selection": config.selection,
        "checkpoint": checkpoint.name,
        "step": step_of(checkpoint),
        "at_chance": scored.at_chance,
        "evaluations": evaluations,
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
    return results
