"""Functions shared by the studies, which run commands of this repository and continue where they were interrupted."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from reporting.results_reading import print_out, stop
from storage.streams import to_standard_output
from storage.whole import remove_abandoned, write_whole

REPOSITORY = Path(__file__).resolve().parents[2]
FINISHED = ("results.json", "seeds.json")  # a finished run has one of these files
ARGUMENTS_FILE = "study.json"


def add_common_arguments(parser: Any) -> None:
    """Adds the arguments that a study passes on to all of its commands."""
    parser.add_argument("--ckpt_dir", default="ckpt", help="folder for the study's own folder (default: ckpt)")
    parser.add_argument("--cache_dir", help="folder for tokenized data")
    parser.add_argument("--precision", help="auto, fp32, bf16 or fp16")
    parser.add_argument("--no_cuda", action="store_true", help="use the CPU even where there is a GPU")


def flags(arguments: argparse.Namespace, *names: str) -> list[str]:
    """The words `--name value` of all `names` that were given, to pass them to a different command."""
    words: list[str] = []
    for name in names:
        value = getattr(arguments, name)
        if value is True:
            words += [f"--{name}"]
        elif isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    return words


def refuse_wrong_seeds(parser: argparse.ArgumentParser, seeds: Sequence[int]) -> None:
    """Ends the program where a study's seeds are none that a run takes, or one of them is there twice."""
    from training.config import LARGEST_SEED  # takes a quarter of a second, which --help need not

    if len(set(seeds)) < len(seeds) or not all(0 <= seed <= LARGEST_SEED for seed in seeds):
        parser.error(f"--seeds must be whole numbers from 0 to {LARGEST_SEED}, each of them once")


def flag_names(words: Sequence[str]) -> list[str]:
    """The flags among a command's words, without `--` and without what follows a `=`."""
    return [word.removeprefix("--").split("=")[0] for word in words if word.startswith("--")]


def settings_as_flags(config_file: Path) -> list[str]:
    """The settings of a configuration as flags, without its model_type: for a different model with these settings."""
    settings = json.loads(config_file.read_text(encoding="utf-8"))
    settings.pop("model_type", None)
    texts = {key: value if isinstance(value, list) else [value] for key, value in settings.items()}
    return [word for key, values in texts.items() for word in (f"--{key}", *map(_as_word, values))]


def _as_word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def say(text: str) -> None:
    """Prints a line. A full disk behind standard output, or a reader that goes away, ends no study of days."""
    to_standard_output(f"{text}\n")


def execute(command: Sequence[str | Path]) -> int:
    """Runs a command to its end; returns its exit code."""
    with started(command) as process:
        return process.wait()


@contextlib.contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen]:
    """A command that runs during the block. options: of Popen.

    Ctrl-C reaches it by itself, SIGTERM is passed on. It is waited for then, as it saves a checkpoint before it ends,
    and KeyboardInterrupt is raised.
    """

    def pass_on(number: int, frame: Any) -> NoReturn:
        process.terminate()
        raise KeyboardInterrupt

    process = subprocess.Popen([str(word) for word in command], **options)
    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield process
    except KeyboardInterrupt:
        if process.stdout is not None:
            for line in process.stdout:  # nothing may fill the pipe that nobody reads any more
                say(line.rstrip("\n"))
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def run(script: str, *words: str | Path, by: Callable[[Sequence[str | Path]], int] | None = None) -> None:
    """Prints and runs a command of this repository; if it fails, the study ends with its exit code.

    by: runs the command and returns its exit code; default: `execute`.
    """
    say(f"\n$ python3 {shlex.join([script, *map(str, words)])}")
    try:
        code = (by or execute)([sys.executable, REPOSITORY / script, *map(str, words)])
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on with the study", file=sys.stderr)
        raise SystemExit(130) from None
    if code:
        raise SystemExit(code)


def is_finished(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FINISHED)


def run_unless_finished(
    folder: Path, script: str, *words: str | Path, by: Callable[[Sequence[str | Path]], int] | None = None
) -> None:
    """Runs the command that writes its results to `folder`, or resumes it, unless it is finished. by: as for `run`."""
    if is_finished(folder):
        say(f"{folder} is finished; delete it to run it again")
    else:
        resume = ["--resume"] if folder.is_dir() else []
        run(script, *words, "--ckpt_dir", folder.parent, "--output_dir", folder.name, *resume, by=by)


def refuse_missing_data(config: Path, data_dir: str | None, name: str) -> None:
    """Ends the study if there is no folder `name` to fine-tune on; after days of pretraining it would be too late.

    config: the JSON file with the folder of the data, used where `data_dir` is None.
    """
    from processors import TASKS  # takes a second, and libraries that --help need not have
    from processors.splits import how_to_get

    root = Path(data_dir or json.loads(config.read_text(encoding="utf-8")).get("data_dir", "data"))
    if not (root / name).is_dir():
        stop(f"there is no {root / name} to fine-tune on; {how_to_get(TASKS[name], root)}, or name it with --data_dir")


def refuse_another_study(folder: Path, asked: Mapping[str, Any]) -> None:
    """Saves what makes a new study; ends a continued one for which something else is asked than was saved.

    Otherwise runs that were made with the old arguments would count as finished. A study none of whose runs has written
    anything counts as new. What a killed study left half-written is removed. asked: arguments that must not change, by
    their names; a name with spaces is no flag's, but a description.
    """
    path, begun = folder / ARGUMENTS_FILE, None
    try:
        remove_abandoned(folder)
        if not path.is_file() or [file for file in folder.rglob("*") if file.is_file()] == [path]:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(asked, ensure_ascii=False, indent=1) + "\n")
        begun = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        stop(f"cannot write {folder}: {error.strerror}")
    except ValueError:  # damaged
        pass
    if not isinstance(begun, dict):
        stop(f"{path} does not tell what the study was begun with: delete {folder}, or take another --ckpt_dir")
    if others := [name for name in asked if in_order(begun.get(name)) != in_order(asked[name])]:
        labels = {name: name if " " in name else f"--{name}" for name in others}
        told = ", ".join(f"{labels[name]} {in_words(begun.get(name))}, not {in_words(asked[name])}" for name in others)
        stop(f"{folder} was begun with {told}: delete it, or take another --ckpt_dir")


def in_order(value: Any) -> Any:
    """A list of flags in an order of its own, each with its values, as the order of flags means nothing."""
    if not (isinstance(value, list) and value and str(value[0]).startswith("--")):
        return value
    groups: list[list[str]] = []
    for word in value:
        if word.startswith("--"):
            groups.append([])
        groups[-1].append(word)
    return sorted(groups)


def in_words(value: Any) -> str:
    """As it is typed; a list is words with spaces between them."""
    if isinstance(value, list):
        return shlex.join(map(str, value))
    return "(none)" if value is None else _as_word(value)


def refuse_older_fine_tunings(folder: Path, starts: Mapping[str, str]) -> None:
    """Ends a study that would pretrain again while fine-tunings of its earlier pretraining would count as finished.

    starts: pattern of the fine-tunings' folders -> folder of the pretraining that they start from.
    """
    unfinished = {pattern: name for pattern, name in starts.items() if not is_finished(folder / name)}
    stale = [path for pattern in unfinished for path in folder.glob(pattern) if is_finished(path)]
    if stale:
        told = ", ".join(sorted(str(path.relative_to(folder)) for path in stale))
        stop(f"{folder} holds fine-tunings of an earlier pretraining ({told}): delete them too")


def print_table(path: Path) -> None:
    """Prints the file with the study's table."""
    print_out(path.read_text(encoding="utf-8"))
