"""Readers of labelled texts, for tasks of one's own too, and of texts that are to be labelled."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from processors.delimited import Table, read_table, unlabelled_table
from processors.task import (
    BadRows,
    DataError,
    Rows,
    Task,
    number_of,
    parse_json,
    place_of,
    read_text,
    without_lone_surrogates,
)


class RowCollector:
    """The rows of one file while it is read: the good ones, the malformed ones, and what was noticed."""

    def __init__(self, task: Task, path: Path, skip_bad_rows: bool):
        self.task, self.path = task, path
        self.counts: Counter[str] = Counter()
        self.bad = BadRows(path, skip_bad_rows)
        self.texts: list[list[str]] = []
        self.labels: list[int] | list[float] = []

    def add(self, texts: list[str], label: str, line: int | None = None, place: str = "") -> None:
        """Adds a row, unless its label is none or its text is empty and the task drops those.

        texts: of each text column. label: as it is written. line, or place: where it is in the file, for a message.
        """
        value = parse_label(self.task, label)
        if isinstance(value, str):
            self.bad.messages.append(f"{self.path}:{line}: {value}" if line else f"{self.path}: {place}: {value}")
            return
        sides = sides_of(self.task, texts)
        if not all(side.strip() for side in sides):
            if self.task.drop_empty:
                self.counts["rows with an empty text dropped"] += 1
                return
            self.counts["rows with an empty text kept"] += 1
        self.texts.append(sides)
        self.labels.append(value)

    def rows(self) -> Rows:
        """All rows. Raises DataError where there are none, or malformed ones that must not be skipped."""
        self.bad.finish(self.counts)
        if not self.texts:
            why = "; ".join(f"{what}: {count}" for what, count in self.counts.items())
            raise DataError(f"{self.path}: no rows are left ({why})" if why else f"{self.path}: no rows, only a header")
        second = [sides[1] for sides in self.texts] if self.task.is_pair else None
        return Rows([sides[0] for sides in self.texts], second, self.labels, self.counts)


def sides_of(task: Task, texts: list[str]) -> list[str]:
    """The two sentences of a pair, or one text, for which several columns are joined by spaces."""
    return texts if task.is_pair or len(texts) == 1 else [" ".join(texts)]


def read_tsv(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Rows:
    """Rows of a file whose columns are separated by tabs, or by `task.separator`. Quotes are plain text.

    Raises DataError naming file and line of malformed rows.
    """
    return _read_columns(task, path, encoding, skip_bad_rows, quoted=False)


def read_csv(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Rows:
    """Rows of a CSV file: fields in quotes may hold separators (commas, or `task.separator`) and line ends.

    Raises DataError naming file and line of malformed rows.
    """
    return _read_columns(task, path, encoding, skip_bad_rows, quoted=True)


def _read_columns(task: Task, path: Path, encoding: str, skip_bad_rows: bool, quoted: bool) -> Rows:
    found = RowCollector(task, path, skip_bad_rows)
    table = read_table(task, read_text(path, encoding), str(path), quoted, found.counts)
    for record in table.records:
        if len(record.values) != table.width:
            found.bad.add(record.line, wrong_number_of_columns(record.values, table.width, table.names))
        else:
            found.add([record.values[at] for at in table.texts], record.values[table.label], record.line)
    return found.rows()


def wrong_number_of_columns(values: list[str], width: int, names: tuple[str, ...]) -> str:
    """What is wrong with a record that does not have `width` columns."""
    hint = ""
    if len(values) > width and any(value.startswith('"') for value in values):
        hint = "; a quoted text may hold no separator here: quotes are part of the text"
    if values == [""]:
        hint = "; the line is blank"
    which = f" ({', '.join(names)})" if names else ", which the first line has"
    return f"{number_of(len(values), 'column')} instead of {width}{which}{hint}"


def read_json_lines(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Rows:
    """Rows of a file with a JSON object on each line; the task's columns are keys. Blank lines are left out.

    A label may be a text, a number, true or false. Raises DataError naming file and line of malformed rows.
    """
    found = RowCollector(task, path, skip_bad_rows)
    keys = [*task.text_columns, task.label_column]
    for line, row in json_objects(read_text(path, encoding), str(path), keys, found.bad):
        texts = _texts_of_object(task, row, line, found.bad, found.counts)
        label = row[task.label_column]
        if texts is not None:
            found.add(texts, label if isinstance(label, str) else json.dumps(label), line)
    return found.rows()


def json_objects(text: str, place: str, keys: list[str], bad: BadRows) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON lines that have the `keys`, with their lines; others are noted in `bad`.

    Raises DataError where the whole file is one list.
    """
    if text.lstrip().startswith("["):
        raise DataError(f"{place}: is one JSON list; JSON lines have an object on each line")
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            row = parse_json(content, place, line)
        except DataError as error:
            bad.messages.append(str(error))
            continue
        missing = [key for key in keys if not isinstance(row, dict) or key not in row]
        if not isinstance(row, dict):
            bad.add(line, "is no JSON object")
        elif missing:
            bad.add(line, f"no key {', '.join(map(repr, missing))}: it has {', '.join(row)}"[:200])
        else:
            yield line, row


def _texts_of_object(
    task: Task, row: dict[str, Any], line: int, bad: BadRows, counts: Counter[str]
) -> list[str] | None:
    texts = [row[key] for key in task.text_columns]
    for key, value in zip(task.text_columns, texts, strict=True):
        if not isinstance(value, str):
            bad.add(line, f"{key} is no text: {json.dumps(value, ensure_ascii=False)[:40]}")
            return None
    return [without_lone_surrogates(value, counts) for value in texts]


def parse_label(task: Task, text: str) -> int | float | str:
    """The id of a label as it is written in the file, or a regression's score; a text says why it is neither."""
    text = text.strip()
    if not task.is_regression:
        if text in task.labels:
            return task.labels.index(text)
        return f"unknown label {text[:40]!r}: known are {', '.join(task.labels)}"
    try:
        score = float(text)
    except ValueError:
        return f"the score {text[:40]!r} is not a number"
    low, high = task.score_range
    is_right = math.isfinite(score) and low <= score <= high
    return score if is_right else f"the score {text} is not between {low:g} and {high:g}"


# --------------------------------------------------------------------------------------------------------------------
# Texts to be labelled
# --------------------------------------------------------------------------------------------------------------------


def read_unlabelled(task: Task, path: Path | None, encoding: str = "utf-8") -> Rows:
    """Texts that are to be labelled, in the task's own form, with labels or without, or one on each line.

    A file in the task's own form is recognised (`UNLABELLED`); labels in it are not looked at.
    path: the file, or None for standard input. Raises DataError naming malformed lines.
    """
    place, text = place_of(path), read_text(path, encoding)
    own_form = UNLABELLED.get(task.read)
    rows = own_form(task, text, place) if own_form else None
    return unlabelled_lines(task, place, text) if rows is None else rows


def unlabelled_lines(task: Task, place: str, text: str) -> Rows:
    """Texts without labels, one on each line, for pair tasks with a tab between the two sentences.

    Every line is kept, so that line n of the predictions belongs to line n of the file.
    Raises DataError naming a line with too many or too few tabs.
    """
    sides = [line.rstrip("\r").split("\t") for line in text.removesuffix("\n").split("\n")]
    wanted = 2 if task.is_pair else 1
    for number, values in enumerate(sides, 1):
        if len(values) != wanted:
            form = "two sentences with a tab between them" if task.is_pair else "one text without tabs"
            raise DataError(
                f"{place}:{number}: {task.name} expects {form} on each line; this line has {len(values) - 1} tabs"
            )
    return unlabelled_rows(task, sides, Counter())


def unlabelled_rows(task: Task, sides: list[list[str]], counts: Counter[str]) -> Rows:
    """Rows of the texts, one or two of each row, with the empty ones counted and kept."""
    if empty := sum(not all(side.strip() for side in values) for values in sides):
        counts["empty texts, labelled like the others"] += empty
    return Rows([v[0] for v in sides], [v[1] for v in sides] if task.is_pair else None, None, counts)


def _unlabelled_columns(task: Task, text: str, place: str, quoted: bool) -> Rows | None:
    counts: Counter[str] = Counter()
    table: Table | None = unlabelled_table(task, text, place, quoted, counts)
    if table is None:
        return None
    bad, sides = BadRows(Path(place), skip=False, flag=""), []
    for record in table.records:
        if len(record.values) != table.width:
            bad.add(record.line, wrong_number_of_columns(record.values, table.width, table.names))
        else:
            sides.append(sides_of(task, [record.values[at] for at in table.texts]))
    bad.finish(counts)
    return rows_in_own_form(task, place, sides, counts)


def _unlabelled_json_lines(task: Task, text: str, place: str) -> Rows | None:
    if not text.lstrip().startswith("{"):
        return None
    counts: Counter[str] = Counter()
    bad, sides = BadRows(Path(place), skip=False, flag=""), []
    for line, row in json_objects(text, place, list(task.text_columns), bad):
        texts = _texts_of_object(task, row, line, bad, counts)
        if texts is not None:
            sides.append(sides_of(task, texts))
    bad.finish(counts)
    return rows_in_own_form(task, place, sides, counts)


def rows_in_own_form(task: Task, place: str, sides: list[list[str]], counts: Counter[str]) -> Rows:
    """The rows of a file in the task's own form. Raises DataError where it has none."""
    if not sides:
        raise DataError(f"{place}: no rows, only a header")
    rows = unlabelled_rows(task, sides, counts)
    rows.counts[f"read in the form of {task.name}'s files, their labels left out"] = len(rows)
    return rows


# For each reader, what reads its form without labels: (task, text, place) -> rows, or None for a different form.
UNLABELLED: dict[Callable[..., Rows], Callable[[Task, str, str], Rows | None]] = {
    read_tsv: functools.partial(_unlabelled_columns, quoted=False),
    read_csv: functools.partial(_unlabelled_columns, quoted=True),
    read_json_lines: _unlabelled_json_lines,
}
