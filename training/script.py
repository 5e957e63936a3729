"""What every fine-tuning script does around its own part: settings, seeds, the selected checkpoint, results."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from training.command_line import Config, resolve
from training.config import FineTuningConfig, UsageError, is_typed

# torch takes seconds to import: only what needs it does, so that --help and mistyped flags answer at once.


def run_script(
    script: str,
    about: str,
    argv: list[str],
    config_class: type[Config],
    tasks: Mapping[str, Mapping[str, Any]],
    errors: tuple[type[Exception], ...],
    run: Callable[[Config, bool], dict[str, Any] | None],
) -> int:
    """Resolves the settings and runs them; returns the exit code.

    script: path of the script; its folder holds `config/`. errors: what the person at the keyboard can mend: printed
    without a traceback, exit code 2. run: takes the settings and whether to overwrite, and returns the results.
    After Ctrl-C the command that goes on is printed, and the exit code is 130.
    """
    name = Path(script).name
    try:
        config, given = resolve(config_class, argv, tasks, Path(script).resolve().parent / "config", about)
        overwrite = config.overwrite_output_dir and is_typed("overwrite_output_dir", given)
        if config.seeds is None:
            run(config, overwrite)
        else:
            run_all_seeds(config, lambda one: run(one, overwrite))
    except (UsageError, *errors) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        command = [word for word in argv if word not in ("--resume", "--overwrite_output_dir")]
        print(f"\n{name}: {interruption if interruption.args else 'interrupted'}; to go on:", file=sys.stderr)
        print(f"  python3 {script} {shlex.join([*command, '--resume'])}", file=sys.stderr)
        return 130
    return 0


def run_all_seeds(config: Config, run: Callable[[Config], dict[str, Any] | None]) -> None:
    """Runs each seed into its own folder, `<output folder>/seed-<seed>`, and reports mean and standard deviation."""
    from training.results import SEEDS_FILE, summary_of_seeds, write_json

    folder = config.run_dir.relative_to(config.ckpt_dir)
    results = {}
    for seed in config.seeds:
        one = {"seed": seed, "seeds": None, "output_dir": f"{folder}/seed-{seed}"}
        results[seed] = run(config.model_copy(update=one))
    if not config.do_eval:
        return
    summary = summary_of_seeds(results)
    write_json(config.run_dir / SEEDS_FILE, summary)
    print(f"\n{summary['model']} on {summary['task']}, {len(results)} seeds: {', '.join(map(str, results))}")
    for name, values in summary["metrics"].items():
        spread = "" if values["std"] is None else f" ± {values['std']:.4f}"
        print(f"  {name:22}{values['mean']:.4f}{spread}")


def score_checkpoints(
    config: FineTuningConfig,
    score: Callable[[Path], tuple[dict[str, float], Any]],
    main_metric: str,
    greater_is_better: bool,
    just_trained: bool,
) -> tuple[Path, dict[str, float], Any, list[dict[str, Any]]]:
    """Scores the run's checkpoints on the test split: all of them, or the selected one.

    score: metrics and outputs of one checkpoint. just_trained: test scores that this very run has logged are taken
    over; otherwise the data may have changed since.
    Returns the selected checkpoint, its metrics and outputs, and all evaluations of the run.
    Raises UsageError where there is no checkpoint, or none that can be selected.
    """
    from training.checkpoint import CheckpointFolder, step_of
    from training.results import MetricsLog, selected_step

    log = MetricsLog(config.run_dir)
    checkpoints = {step_of(path): path for path in CheckpointFolder(config.run_dir).all()}
    if not checkpoints:
        raise UsageError(f"{config.run_dir} holds no checkpoint to evaluate: train first")
    evaluations = [e for e in log.evaluations() if e["split"] != "test" or just_trained]
    scored: dict[int, tuple[dict[str, float], Any]] = {}

    def score_step(step: int) -> None:
        scored[step] = score(checkpoints[step])
        evaluations.append({"step": step, "split": "test", "metrics": scored[step][0]})

    if config.eval_all_checkpoints or config.selection == "test":
        known = {e["step"] for e in evaluations if e["split"] == "test"}
        for step in sorted(set(checkpoints) - known):
            score_step(step)
    best = selected_step(evaluations, checkpoints, config.selection, main_metric, greater_is_better)
    if best not in scored:
        evaluations = [e for e in evaluations if (e["step"], e["split"]) != (best, "test")]
        score_step(best)
    return checkpoints[best], *scored[best], sorted(evaluations, key=lambda e: (e["step"], e["split"]))


def in_words(metrics: Mapping[str, float]) -> str:
    """`accuracy 0.9021  macro_f1 0.8977`."""
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def selected_checkpoint(config: FineTuningConfig, main_metric: str, greater_is_better: bool) -> Path:
    """The checkpoint that the results name, else the one that the logged evaluations select.

    Raises UsageError where there is none.
    """
    import json

    from training.checkpoint import CheckpointFolder, step_of
    from training.results import RESULTS_FILE, MetricsLog, selected_step

    folder = CheckpointFolder(config.run_dir)
    checkpoints = {step_of(path): path for path in folder.all()}
    if not checkpoints:
        raise UsageError(f"{config.run_dir} holds no checkpoint: train first, or name another folder with --output_dir")
    results = config.run_dir / RESULTS_FILE
    if results.is_file():
        step = json.loads(results.read_text(encoding="utf-8"))["step"]
        if step in checkpoints:
            return checkpoints[step]
    evaluations = MetricsLog(config.run_dir).evaluations()
    return checkpoints[selected_step(evaluations, checkpoints, config.selection, main_metric, greater_is_better)]


def write_results(
    config: FineTuningConfig,
    runtime,
    checkpoint: Path,
    metrics: dict[str, float],
    evaluations: list[dict[str, Any]],
    main_metric: str,
    at_chance: bool,
    data_files: list[Path],
    training: dict[str, Any] | None,
) -> dict[str, Any]:
    """Writes `results.json` and says on standard output what is in it; returns it.

    training: figures of the training, None where this run trained nothing; those of an earlier run are then kept.
    """
    import json

    from training.checkpoint import step_of
    from training.results import RESULTS_FILE, git_commit, sha256_of, versions, write_json

    path = config.run_dir / RESULTS_FILE
    if training is None and path.is_file():
        training = json.loads(path.read_text(encoding="utf-8")).get("training")
    results = {
        "task": config.task,
        "model": config.model_name,
        "model_name_or_path": config.model_name_or_path,
        "seed": config.seed,
        "split": "test",
        "main_metric": main_metric,
        "metrics": metrics,
        "selection": config.selection,
        "checkpoint": checkpoint.name,
        "step": step_of(checkpoint),
        "at_chance": at_chance,
        "evaluations": evaluations,
        "training": training,
        "hardware": runtime.hardware(),
        "versions": versions(),
        "data": {str(file): sha256_of(file) for file in data_files},
        "git_commit": git_commit(Path(__file__).resolve().parent),
        "config": config.model_dump(),
    }
    write_json(path, results)
    how = {"dev": "best on dev", "test": "best on test", "last": "the last one"}[config.selection]
    print(f"{config.task}  {config.model_name}  seed {config.seed}  test  {in_words(metrics)}")
    print(f"  {checkpoint.name}, {how}; written to {path}", flush=True)
    if at_chance:
        runtime.say(
            "warning: these scores are at chance; the run has learned nothing. Another seed, a smaller learning_rate "
            "or a warm-up (warmup_proportion 0.1) usually helps"
        )
    return results
