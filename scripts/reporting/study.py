"""What the studies share: commands of this repository one after another, into a folder from which they can go on."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reporting.results_reading import stop
from storage.whole import write_whole

REPOSITORY = Path(__file__).resolve().parents[2]
FINISHED = ("results.json", "seeds.json")  # a run has one of them when it is done
ARGUMENTS_FILE = "study.json"


def add_common_arguments(parser: Any) -> None:
    """What every command of a study is given."""
    parser.add_argument("--ckpt_dir", default="ckpt", help="folder that holds the study's (default: ckpt)")
    parser.add_argument("--cache_dir", help="folder for tokenized data")
    parser.add_argument("--precision", help="auto, fp32, bf16 or fp16")
    parser.add_argument("--no_cuda", action="store_true", help="use the CPU even where there is a GPU")


def flags(arguments: argparse.Namespace, *names: str) -> list[str]:
    """`--name value` of those that were given, for another command."""
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


def run(script: str, *words: str | Path) -> None:
    """A command of this repository, shown before it runs; ends the study with its exit code where it fails."""
    print(f"\n$ python3 {shlex.join([script, *map(str, words)])}", flush=True)
    try:
        code = subprocess.run([sys.executable, REPOSITORY / script, *map(str, words)], check=False).returncode
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on with the study", file=sys.stderr)
        raise SystemExit(130) from None
    if code:
        raise SystemExit(code)


def is_finished(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FINISHED)


def run_unless_finished(folder: Path, script: str, *words: str | Path) -> None:
    """The command whose results lie in `folder`, or in a folder for each seed."""
    if is_finished(folder):
        print(f"{folder} is finished; delete it to run it again", flush=True)
    else:
        resume = ["--resume"] if folder.is_dir() else []
        run(script, *words, "--ckpt_dir", folder.parent, "--output_dir", folder.name, *resume)


def refuse_missing_data(config: Path, data_dir: str | None, name: str) -> None:
    """Ends a study without a folder `name` to fine-tune on: after days of pretraining that would come too late.

    config: the JSON file that says where data are, unless `data_dir` does.
    """
    folder = Path(data_dir or json.loads(config.read_text(encoding="utf-8")).get("data_dir", "data")) / name
    if not folder.is_dir():
        stop(f"there is no {folder} to fine-tune on: bash scripts/download_data.sh {name}, or --data_dir")


def refuse_another_study(folder: Path, arguments: argparse.Namespace, same: Sequence[str]) -> None:
    """Keeps the arguments of a study; ends one that would go on with others, and call finished what they never ran.

    same: the arguments that it must be given again.
    """
    path, asked = folder / ARGUMENTS_FILE, {name: getattr(arguments, name) for name in same}
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asked, ensure_ascii=False, indent=1) + "\n")
    begun = json.loads(path.read_text(encoding="utf-8"))
    if others := [name for name in same if begun.get(name) != asked[name]]:
        told = ", ".join(f"--{name} {in_words(begun.get(name))}, not {in_words(asked[name])}" for name in others)
        stop(f"{folder} was begun with {told}: delete it, or take another --ckpt_dir")


def in_words(value: Any) -> str:
    return "(none)" if value is None else str(value)


def refuse_older_fine_tunings(folder: Path, pattern: str) -> None:
    """Ends a study that would pretrain a second time, and call finished what began with the first."""
    stale = [str(path.relative_to(folder)) for path in sorted(folder.glob(pattern)) if is_finished(path)]
    if stale and not is_finished(folder / "pretraining"):
        stop(f"{folder} holds fine-tunings of an earlier pretraining ({', '.join(stale)}): delete them too")


def print_table(path: Path) -> None:
    """What was written there, at the end of a study."""
    print(path.read_text(encoding="utf-8"), end="")
