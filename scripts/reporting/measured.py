"""What the pages say about a file of figures: the machine, the date, the versions and the command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from reporting.results_reading import read_object, stop
from reporting.study import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results"
# The arms of scripts/measure_tasks.py, by their names in its files.
PRETRAINED, SCRATCH = "pretrained", "from scratch"
# Those of scripts/measure_few_shot.py.
FEW_SHOT_ARMS = ("Splinter", "linear head")
LAST_COMMAND = {"en": "last written by", "ko": "마지막으로 기록한 명령은"}

Content = TypeVar("Content")


def read_measured(path: Path, checked: Callable[[dict[str, Any]], Content], command: str) -> Content:
    """What a script has measured. Ends the program where the file is not one that the script has written.

    checked: returns the content as the caller wants it; raises ValueError where it is something else. command: the
    script, and the words with which it writes this file.
    """
    try:
        return checked(read_object(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        stop(f"{path}: not a file of {command.split()[0]}: {where}{': ' * bool(where)}{first['msg']}")
    except ValueError as error:
        stop(f"{path}: {error}: measure it again with {command}")


def as_typed(rate: float) -> str:
    """A learning rate as it stands in commands, in names of folders, in results and on the pages."""
    return f"{rate:g}"


def machine(name: str, threads: int | None) -> str:
    """`AMD EPYC (1 thread)`; without the threads where they are not known."""
    return name + (f" ({counted_threads(threads)})" if threads else "")


def counted_threads(threads: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{threads} thread{'' if threads == 1 else 's'}"


def measured_line(name: str, found: Mapping[str, Any], language: str) -> str:
    """File, date, machine, torch and, on a line of its own, the command that measured the figures.

    name: the file's, without `.json`. found: its content, as `benchmarks.measure.origin` has it. language: en or ko.
    """
    where = f"`benchmarks/results/{name}.json`, {found['date']}, {machine(found['device'], found.get('threads'))}"
    return f"{where}, torch {found['versions']['torch']}, {LAST_COMMAND[language]}\n`{found['command']}`"
