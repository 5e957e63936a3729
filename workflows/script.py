"""What every script does around its `main`: settings, seeds, exit codes, Ctrl-C."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from models import ModelError
from models.errors import one_line
from processors import SCRIPT_OF_TASK, problems_of_all_tasks
from processors.task import DataError, Task
from processors.task_checks import problems_of_defaults
from storage.whole import remove_abandoned
from training.command_line import Config, resolve
from training.config import LoopConfig, RuntimeConfig, UsageError, is_typed
from training.memory import is_about_memory
from training.processes import end_with_launcher, is_main_process, leave, process_count, show
from training.pulse import pulse
from training.results import (
    CONFIG_FILE,
    SEEDS_FILE,
    locked,
    mean_and_std,
    prepare_output_dir,
    read_json_object,
    summary_of_seeds,
    write_json,
)
from workflows.settings import FineTuningConfig

if TYPE_CHECKING:  # torch takes seconds to import, and --help and mistyped flags should answer at once
    from training.runtime import Runtime

FineTuning = TypeVar("FineTuning", bound=FineTuningConfig)
SECONDS_FOR_THE_FIRST = 2.0  # which is many times what torchrun takes to end the others


def run_script(
    script: str,
    about: str,
    argv: list[str],
    config_class: type[FineTuning],
    tasks: Sequence[Task],
    main: Callable[[FineTuning, bool], dict[str, Any] | None],
) -> int:
    """Runs the command `script argv` of a fine-tuning script; returns the exit code. See `run_command`.

    tasks: those that the script runs. main: settings, and whether to overwrite an earlier run -> results. With several
    seeds it is called for each.
    """
    if wrong := problems_of_all_tasks() + problems_of_defaults(tasks, config_class.model_fields):
        return refuse(script, "\n".join(wrong)) if is_main_process() else leave(2)
    settings = {task.name: task.settings(config_class.TEST_FILE_KEY) for task in tasks}

    def run(config: FineTuning, overwrite: bool) -> None:
        runs = [with_model_of_run(one) for one in one_for_each_seed(config)]
        if trains(config):
            for one in runs:  # now, so that the last folder is not refused after hours of training
                prepare_output_dir(one.run_dir, config.resume or overwrite)
        results = []
        with kept_for(config):
            for one in runs:
                with kept_for(one):
                    results.append(main(one, overwrite))
            if config.seeds is not None and config.do_eval:
                report_seeds(config, results)

    return run_command(script, about, argv, config_class, settings, run, SCRIPT_OF_TASK)


def run_command(
    script: str,
    about: str,
    argv: list[str],
    config_class: type[Config],
    tasks: Mapping[str, Mapping[str, Any]],
    run: Callable[[Config, bool], None],
    script_of_task: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Resolves the settings of the command `script argv`, and calls `run` with them; returns the exit code.

    The exit code is 2 after an error that the user can mend, printed in a line, and 130 after Ctrl-C, when the command
    that goes on is printed. script: path of the script; its folder holds `config/`. about: head of `--help`.
    tasks, script_of_task: as `resolve` takes them. run: settings, and whether to overwrite an earlier run.
    """
    config: Config | None = None
    was_interrupted = False

    def interrupt(number: int, frame: Any) -> NoReturn:
        nonlocal was_interrupted
        was_interrupted = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with first_process_speaks_first():
            config_root = Path(script).resolve().parent / "config"
            end_with_launcher()
            config, given = resolve(config_class, argv, tasks, config_root, about, script_of_task, Path(script).name)
            clear_away(config)
            with pulse(Path(script).name):
                run(config, config.overwrite_output_dir and is_typed("overwrite_output_dir", given))
    except (Exception, KeyboardInterrupt) as error:
        # A library that is interrupted may say so in other words, such as that it cannot be imported.
        if was_interrupted or isinstance(error, KeyboardInterrupt):
            was_interrupted = True
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C changes nothing now
            say_how_to_go_on(script, argv, config, error)
            return leave(130)
        message = message_about(error)
        if message is None:
            raise
        return refuse(script, message)
    finally:
        if not was_interrupted:
            signal.signal(signal.SIGINT, before)
    return leave(0)


def refuse(script: str, message: str) -> int:
    """Prints why the script cannot do what it was asked for; returns the exit code."""
    print(f"{Path(script).name}: {message}", file=sys.stderr)
    return leave(2)


def say_how_to_go_on(script: str, argv: list[str], config: LoopConfig | None, error: BaseException) -> None:
    """Says that the command was interrupted, and which command goes on. config: None if it was not known yet."""
    if is_main_process():
        why = error if isinstance(error, KeyboardInterrupt) and error.args else "interrupted"
        python = f"torchrun ... --nproc_per_node {process_count()}" if process_count() > 1 else "python3"
        words = resuming(argv) if config is not None and trains(config) else argv
        print(f"\n{Path(script).name}: {why}; to go on:", file=sys.stderr)
        print(f"  {python} {shlex.join([script, *words])}", file=sys.stderr)


def message_about(error: Exception) -> str | None:
    """What to tell the person at the keyboard about an error; None where it is a defect of this program."""
    if isinstance(error, UsageError | DataError | ModelError):
        return str(error)
    if is_about_memory(error):
        return (
            f"memory has run out ({one_line(error)}): end other programs, or lower train_batch_size, eval_batch_size, "
            "threads or processes, whichever the step that was running has"
        )
    if isinstance(error, OSError) and error.errno is not None:  # full disks, too many open files, lost networks
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return None


def open_device(config: RuntimeConfig) -> Runtime:
    """The device that the settings ask for. Raises UsageError where the machine has none."""
    from training.runtime import open_runtime, quiet_libraries

    runtime = open_runtime(config)
    quiet_libraries()
    return runtime


@contextlib.contextmanager
def first_process_speaks_first() -> Iterator[None]:
    """Lets the first process report an error that all processes run into; `torchrun` ends the others before they can.

    An error in one other process alone is reported by that process, a little later.
    """
    try:
        yield
    except Exception:
        if not is_main_process():
            time.sleep(SECONDS_FOR_THE_FIRST)
        raise


def kept_for(config: LoopConfig) -> AbstractContextManager[None]:
    """Keeps other runs out of the output folder during the block, where the run trains."""
    return locked(config.run_dir) if trains(config) else contextlib.nullcontext()


def clear_away(config: LoopConfig) -> None:
    """Deletes what killed runs left half-written in the folders that this run writes to."""
    folders = [config.run_dir, Path(config.cache_dir)]
    if output_file := getattr(config, "output_file", None):
        folders.append(Path(output_file).parent)
    if is_main_process():
        for folder in folders:
            remove_abandoned(folder)


def trains(config: LoopConfig) -> bool:
    """Whether the run trains and leaves checkpoints, from which it can go on. Pretraining always trains."""
    return not config.dry_run and getattr(config, "do_train", True)


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


def one_for_each_seed(config: FineTuning) -> list[FineTuning]:
    """The settings of each run. With several seeds, each run has its own folder, `<output folder>/seed-<seed>`."""
    if config.seeds is None:
        return [config]
    folder = config.output_dir or config.run_dir.name
    settings = ({"seed": seed, "seeds": None, "output_dir": f"{folder}/seed-{seed}"} for seed in config.seeds)
    return [config.model_copy(update=one) for one in settings]


def with_model_of_run(config: FineTuning) -> FineTuning:
    """The settings; where no model is given, that of the run whose checkpoints are scored or used."""
    if config.model_type or config.model_name_or_path:
        return config
    before = read_json_object(config.run_dir / CONFIG_FILE)
    return config.model_copy(update={key: before.get(key) for key in ("model_type", "model_name_or_path")})


def report_seeds(config: FineTuningConfig, results: list[dict[str, Any]]) -> None:
    """Writes mean and standard deviation over the seeds, and prints them."""
    summary = summary_of_seeds(dict(zip(config.seeds, results, strict=True)))
    write_json(config.run_dir / SEEDS_FILE, summary)
    show(f"\n{summary['model']} on {summary['task']}, {len(results)} seeds: {', '.join(map(str, config.seeds))}")
    for name, values in summary["metrics"].items():
        show(f"  {name:22}{mean_and_std(values)}")
