"""What the flags, tasks and files of the four original projects are called here: the table `original_flags.json`.

    answer_to_flag("n_seq", "pretrain_spanbert.py", names)   # the Korean SpanBERT's --n_seq is --max_seq_length here

Error messages are made from the table, and so are the tables of docs/migrating.md (`scripts/migrating_page.py`).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class OriginalFlag:
    """A flag, or the key of a JSON file, of an original project.

    theirs: the project's scripts or files that have it. scripts: those that do their work here. here: what to type
    instead, such as `--head qass`; "" if nothing. en, ko: what else there is to know, in English and in Korean.
    is_file: whether it is a key that only a JSON file has.
    """

    project: str
    theirs: str
    scripts: tuple[str, ...]
    flag: str
    here: str
    en: str
    ko: str
    is_file: bool = False

    @property
    def flags_here(self) -> list[str]:
        """The names of the flags in `here`, without dashes."""
        return re.findall(r"--(\w+)", self.here)


@dataclass(frozen=True)
class OriginalScript:
    """A script or a file of an original project: `same` are its flags that mean the same here, `rows` the others."""

    project: str
    theirs: str
    scripts: tuple[str, ...]
    same: tuple[str, ...]
    rows: tuple[OriginalFlag, ...]


@functools.cache
def _table() -> dict[str, Any]:
    return json.loads(TABLE.read_text(encoding="utf-8"))


@functools.cache
def original_scripts() -> tuple[OriginalScript, ...]:
    """The scripts and files of the original projects, with all of their flags."""
    found = []
    for part in _table()["flags"]:
        project, theirs, here = part["project"], part["theirs"], tuple(part["here"])
        rows = tuple(
            OriginalFlag(
                project,
                theirs,
                tuple(row.get("scripts", here)),
                *(row[key] for key in ("flag", "here", "en", "ko")),
                is_file=part.get("is_file", False),
            )
            for row in part["rows"]
        )
        found.append(OriginalScript(project, theirs, here, tuple(part["same"].split()), rows))
    return tuple(found)


def answer_to_flag(name: str, script: str, known: Collection[str], dashes: str = "--") -> tuple[str, bool]:
    """What to say about a flag that is no setting of a script, and whether the answer is one for this very script.

    name: the flag without its dashes. script: name of the running script. known: the names of its settings. dashes: ""
    for the key of a JSON file. The answer is like `KoBigBird's --dataset is --task here; ...`; "" if no original has
    the flag.
    """
    rows, fitting = _rows_of(name, script, known)
    if not rows:
        return "", False
    row = (fitting or rows)[0]
    where = "here" if fitting else f"in {' and '.join(row.scripts)}"
    what = f"is {row.here.replace('--', dashes)} {where}" if row.here else "has no counterpart here"
    return f"{row.project}'s {dashes}{name} {what}; {row.en}", bool(fitting)


def flags_meant(name: str, script: str, known: Collection[str]) -> list[str]:
    """The flags of a script, without dashes, that do what an original's flag did; arguments as in `answer_to_flag`."""
    _, fitting = _rows_of(name, script, known)
    return fitting[0].flags_here if fitting else []


def _rows_of(name: str, script: str, known: Collection[str]) -> tuple[list[OriginalFlag], list[OriginalFlag]]:
    """The rows about a flag, and those of them that answer for this script, the best first."""
    rows = [row for part in original_scripts() for row in part.rows if row.flag == name]
    fitting = [row for row in rows if script in row.scripts]
    return rows, fitting + [row for row in rows if row.here and set(row.flags_here) <= set(known)]


def answer_to_task(name: str, known: Collection[str], script_of_task: Mapping[str, str]) -> str:
    """What to say about an unknown task: `KoBigBird's korquad_1 is korquad here`; "" if no original has it either.

    known: the tasks of the running script. script_of_task: those of all scripts.
    """
    for row in _table()["tasks"]:
        if row["name"] == name:
            here, note = row["here"], f"; {row['en']}" if row["en"] else ""
            where = "here" if here in known else f"in {script_of_task.get(here, 'another script')}"
            what = f"is {here} {where}" if here else "has no counterpart here"
            return f"{row['project']}'s {name} {what}{note}"
    return ""


def answer_to_config_file(name: str, task: str | None) -> str:
    """What to say about a missing configuration file: `the Korean SpanBERT's config_half.json is half.json here`.

    "" if no original has such a file for the task.
    """
    for row in _table()["config_files"]:
        if row["name"] == Path(name).name and task in row["here"]:
            return f"{row['project']}'s {row['name']} is {row['here'][task]} here"
    return ""
