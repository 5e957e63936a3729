"""Files whose lines have columns: separators, headers, comment lines, and which column holds what."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from processors.task import DataError, Task, read_text, shorten

COMMENTS = "comment lines left out"
SEPARATOR_IN_WORDS = {"\t": "tab-separated", ",": "comma-separated", " ": "separated by spaces"}


@dataclass(frozen=True)
class Record:
    """One record of a delimited file, with the line it starts on (from 1), which error messages need."""

    line: int
    values: list[str]


@dataclass(frozen=True)
class Table:
    """The records of a file, and where in each of them the texts and the label are.

    texts: places of the text columns, from 0. label: that of the label; None where the file has none. names: what the
    columns are called; empty if nobody says. width: how many columns each record has.
    """

    records: Iterator[Record]
    texts: list[int]
    label: int | None
    names: tuple[str, ...]
    width: int


def split_columns(line: str, separator: str) -> list[str]:
    """The fields of one line without its end. separator: " " stands for any number of spaces and tabs."""
    return re.split(r"[ \t]+", line.strip(" \t")) if separator == " " else line.split(separator)


def line_records(text: str, separator: str, comments: tuple[str, ...], counts: Counter[str]) -> Iterator[Record]:
    r"""Records whose fields are split by `separator` and lines by `\n`; quotes are plain text.

    CSV readers will not do: they drop blank lines (and so lose line numbers), remove quotes, or read `null` as missing.
    """
    lines = text.split("\n")
    while not lines[-1].strip("\r"):
        lines.pop()
    for number, line in enumerate(lines, 1):
        if comments and line.startswith(comments):
            counts[COMMENTS] += 1
        else:
            yield Record(number, split_columns(line.rstrip("\r"), separator))


def quoted_records(
    text: str, place: str, separator: str, comments: tuple[str, ...], counts: Counter[str]
) -> Iterator[Record]:
    """Records of a CSV file (RFC 4180: quoted fields may hold separators and line ends).

    A blank line is a record with one empty field; blank lines at the end of the file are ignored. Raises DataError.
    """
    text = text.rstrip("\r\n")
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # process-wide, so it is only ever raised
    start: int | None = None  # where the record begins that is being read

    def lines() -> Iterator[str]:
        nonlocal start
        for number, line in enumerate(io.StringIO(text, newline=""), 1):
            # Before quotes are looked at: they mean nothing in a comment, and a quoted field is none.
            if start is None and comments and line.startswith(comments):
                counts[COMMENTS] += 1
                continue
            start = start or number
            yield line

    try:
        for values in csv.reader(lines(), strict=True, delimiter=separator):
            yield Record(start, values or [""])
            start = None
    except csv.Error as error:
        raise DataError(f"{place}:{start}: the row that starts here is not valid CSV: {error}") from None


def tab_separated(
    path: Path, columns: tuple[str, ...], encoding: str, header_is_optional: bool = False
) -> Iterator[Record]:
    """Records of a tab-separated file, its header checked; see `line_records`.

    header_is_optional: a first line that names none of the columns is a record.
    """
    records = line_records(read_text(path, encoding), "\t", (), Counter())
    first = next(records)
    if header_is_optional and set(first.values).isdisjoint(columns):
        return itertools.chain([first], records)
    check_header(str(path), first, columns, "\t")
    return records


def comma_separated(path: Path, encoding: str) -> tuple[list[str], Iterator[Record]]:
    """Header and records of a CSV file; see `quoted_records`."""
    records = quoted_records(read_text(path, encoding), str(path), ",", (), Counter())
    return next(records).values, records


def check_header(place: str, header: Record, expected: tuple[str, ...], separator: str) -> None:
    """Raises DataError where the header is not exactly as expected."""
    found, where = header.values, f"{place}:{header.line}"
    if tuple(found) == expected:
        return
    wanted = f"expected {' '.join(expected)} ({in_words(separator)})"
    if sorted(found) == sorted(expected):
        raise DataError(f"{where}: the columns are in a different order: {' '.join(found)}; {wanted}")
    if not set(found) & set(expected):
        raise DataError(f"{where}: the header line is missing: {wanted}, found {shorten(' '.join(found))}")
    raise DataError(f"{where}: the header is {shorten(' '.join(found))}; {wanted}")


def in_words(separator: str) -> str:
    """`tab-separated`."""
    return SEPARATOR_IN_WORDS.get(separator, f"separated by {separator!r}")


def records_of(task: Task, text: str, place: str, quoted: bool, counts: Counter[str]) -> Iterator[Record]:
    """All records of a file as the task says how it is written, its header among them. quoted: it is CSV."""
    if quoted:
        return quoted_records(text, place, task.separator or ",", task.comments or (), counts)
    return line_records(text, task.separator or "\t", task.comments or (), counts)


def read_table(task: Task, text: str, place: str, quoted: bool, counts: Counter[str]) -> Table:
    """A labelled file. Raises DataError where its first line does not fit the task's columns."""
    records = records_of(task, text, place, quoted, counts)
    first = next(records, None)
    if first is None:
        raise DataError(f"{place}: there is nothing in it but comments")
    if task.header is False:
        names, width = task.columns, len(task.columns) or len(first.values)
        records = itertools.chain([first], records)
    else:
        names, width = tuple(first.values), len(first.values)
        if task.columns:
            check_header(place, first, task.columns, task.separator or ("," if quoted else "\t"))
    *texts, label = [
        column_at(f"{place}:{first.line}", column, names, width) for column in (*task.text_columns, task.label_column)
    ]
    return Table(records, texts, label, names, width)


def column_at(where: str, column: str | int, names: tuple[str, ...], width: int) -> int:
    """The place of a column that is given by its name or its number. Raises DataError where there is none, or two."""
    if isinstance(column, int):
        if column >= width:
            raise DataError(f"{where}: there is no column {column}: this line has {width}, counted from 0")
        return column
    if names.count(column) != 1:
        what = "has no column" if column not in names else "names twice the column"
        raise DataError(f"{where}: the header {what} {column}: it is {shorten(' '.join(names))}")
    return names.index(column)


def unlabelled_table(task: Task, text: str, place: str, quoted: bool, counts: Counter[str]) -> Table | None:
    """A file in the task's own form, with labels or without them; None where it is in a different form.

    A header is recognised by the names of the text columns, or by being the task's. A file without a header is
    recognised by its number of columns, of which the label's may be missing. If no tab separates them, all lines must
    have it, since texts hold other separators too.
    """
    records = records_of(task, text, place, quoted, counts)
    try:
        first = next(records, None)
    except DataError:  # a text in which a quotation mark is never closed, for example
        return None
    if first is None:
        return None
    found, width = first.values, len(first.values)
    texts = texts_at(task, found) if task.header is not False else None
    if texts is not None:
        return Table(records, texts, None, tuple(found), width)
    if task.header is not False and not (not task.columns and all(isinstance(c, int) for c in task.text_columns)):
        return None
    texts = numbered_texts(task, width)
    if texts is None:
        return None
    try:
        rows = list(records)
    except DataError:
        return None
    if (task.separator or ("," if quoted else "\t")) != "\t" and any(len(row.values) != width for row in rows):
        return None  # texts with commas in them, for example; a tab is no part of a text
    if task.header is False:
        rows.insert(0, first)
    return Table(iter(rows), texts, None, (), width)


def texts_at(task: Task, header: list[str]) -> list[int] | None:
    """Where the texts are below a header; None where it is no header of this task."""
    if tuple(header) == task.columns:
        return [column if isinstance(column, int) else header.index(column) for column in task.text_columns]
    if all(header.count(column) == 1 for column in task.text_columns):
        return [header.index(column) for column in task.text_columns]
    return None


def numbered_texts(task: Task, width: int) -> list[int] | None:
    """Where the texts are in lines of `width` columns, if these are the task's, perhaps without the label's.

    None where the lines have no more columns than there are texts, as they then are plain texts.
    """
    texts = [number_of_column(task, column) for column in task.text_columns]
    label = number_of_column(task, task.label_column)
    full = len(task.columns) or max(*texts, label) + 1
    if width <= len(texts) or width < full - 1 or (task.columns and width > full):
        return None
    return [at - (label < at) for at in texts] if width == full - 1 else texts


def number_of_column(task: Task, column: str | int) -> int:
    """The place of a column in the task's own list of columns."""
    return column if isinstance(column, int) else task.columns.index(column)
