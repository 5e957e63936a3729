"""A task as data (`Task`, `Rows`), and how text and JSON files are read."""

from __future__ import annotations

import gzip
import json
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GZIP = b"\x1f\x8b"  # the first bytes of a gzip file, whatever its name
BROKEN_ARCHIVE = (EOFError, zlib.error, gzip.BadGzipFile)
# How many malformed rows an error names one by one.
SHOWN_ROWS = 5


class DataError(Exception):
    """Data that cannot be used. The message names the file and the line, and says what would be right."""


class Malformed(Exception):
    """A part of a file that cannot be used; the message says why, and the reader adds where it is."""


@dataclass(frozen=True)
class HubData:
    """The data set on the Hugging Face hub that has a task's rows, for `--data_source hub`.

    id: `owner/name`. configuration: one of those that the data set has; "" where it has only one.
    revision: a branch, tag or commit; "" for the newest.
    splits: what is called train, dev and test there. `configuration:split` names a split of another configuration.
    columns: what is called otherwise there, column of the task -> column there.
    labels: likewise, label there -> label of the task.
    """

    id: str
    configuration: str = ""
    revision: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """The facts of one task. `processors/task_checks.py` says what is wrong with them when a script starts.

    name: as in `--task`.
    folder: its folder in `data_dir`; the originals' names.
    train_file, dev_file, test_file: official file names; None where the task has no such file.
    read: reads one file: (task, path, encoding, skip_bad_rows) -> rows, which can be joined with `+`.
    main_metric: the score that is reported and that selects checkpoints. greater_is_better: whether more of it is
        better.
    source, licence: where the data come from, and on which terms their source lets others use them.
    fetch: the command that fetches the official files; "": they are to be had by hand from `source`.
    defaults: settings for all models on this task (`training/config.py` has the keys).
    hub: where the hub has the same rows; None where no such data set is known.
    held_out_share: where there is no test file, the share of the training file that becomes the test set, stratified by
        label.

    Classification and NER:

    columns: the header line, exactly, or what the columns of a file without one are called. Empty: whatever columns the
        file has.
    text_columns: the columns that hold the text, by name or by number, counted from 0. is_pair: they are two sentences,
        not one text in several columns. NER: the column of the word.
    label_column: the column that holds the label or the score, by name or by number.
    separator: what stands between two columns; " " is any number of spaces and tabs. "": what is usual in the format, a
        tab, or a comma in CSV.
    header: whether the first line names the columns. None: as is usual in the format.
    comments: the beginnings of lines that are left out; in CoNLL's format only before a sentence's first word. None: as
        is usual in the format.
    labels: the labels as they are written in the file, in the order of their ids; empty for a regression.
    label_map: for entities whose labels are not BIO, what each label means: "PER_B" -> "PER-B", "-" -> "O". Labels that
        are not among its keys mean themselves. Only the scores use it.
    score_range: for a regression, the lowest and the highest score that a file may hold.
    drop_empty: drop rows with an empty text; otherwise they are kept. Both are counted.
    markers: tokens that the texts hold and that are added to the vocabulary (`processors/entity_markers.py`).
    metrics: names in `processors/metrics.py`.

    Question answering:

    score: (predictions, gold answers, null odds, answers if there is one) -> metrics, each argument by question id. The
        last two are None where every question has an answer. None: the scores of KorQuAD 1.0, or those of SQuAD 2.0 for
        unanswerable questions (`qa/answer_scores.py`).
    read_unanswered: reads questions without answers: (task, path or None for standard input, encoding). None: the file
        is in the SQuAD format.
    """

    name: str
    folder: str
    train_file: str
    dev_file: str | None
    test_file: str | None
    read: Callable[..., Any]
    main_metric: str
    source: str
    licence: str
    fetch: str = ""
    columns: tuple[str, ...] = ()
    text_columns: tuple[str | int, ...] = ()
    label_column: str | int = ""
    separator: str = ""
    header: bool | None = None
    comments: tuple[str, ...] | None = None
    labels: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    score_range: tuple[float, float] = (0, 5)
    metrics: tuple[str, ...] = ()
    is_pair: bool = False
    drop_empty: bool = False
    markers: tuple[str, ...] = ()
    hub: HubData | None = None
    held_out_share: float | None = None
    greater_is_better: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)
    score: Callable[..., dict[str, float]] | None = None
    read_unanswered: Callable[..., Any] | None = None

    @property
    def is_regression(self) -> bool:
        """Whether the task predicts a score, not a label."""
        return not self.labels

    def settings(self, test_file_key: str = "test_file") -> dict[str, Any]:
        """The task's own settings by their configuration key. test_file_key: the script's key for the test file."""
        files = {"train_file": self.train_file, "dev_file": self.dev_file, test_file_key: self.test_file}
        return {key: file or "" for key, file in files.items()} | dict(self.defaults)


@dataclass
class Rows:
    """The rows of one or more files of a classification task.

    first: the texts. second: the second sentences, or None. labels: label ids, or scores for a regression; None for
    texts without labels. counts: things the reader noticed, described in words, and how often each occurred.
    """

    first: list[str]
    second: list[str] | None
    labels: list[int] | list[float] | None
    counts: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.first)

    def __add__(self, other: Rows) -> Rows:
        second = None if self.second is None else self.second + other.second
        return Rows(self.first + other.first, second, self.labels + other.labels, self.counts + other.counts)

    def take(self, indices: Iterable[int]) -> Rows:
        """The rows at `indices`, in that order."""
        indices = list(indices)

        def pick(values: list | None) -> list | None:
            return None if values is None else [values[i] for i in indices]

        return Rows(pick(self.first), pick(self.second), pick(self.labels), Counter(self.counts))


def read_text(path: Path | None, encoding: str = "utf-8") -> str:
    """A whole file, or standard input (None), as text without a byte order mark; gzip is decompressed.

    Raises DataError where the file is missing, empty, a broken archive, or in a different encoding.
    """
    place = place_of(path)
    try:
        data = sys.stdin.buffer.read() if path is None else check_is_file(path).read_bytes()
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror}") from None
    if data.startswith(GZIP):
        try:
            data = gzip.decompress(data)
        except BROKEN_ARCHIVE as error:
            raise DataError(f"{place}: {broken_archive(error)}") from None
    return decode(data, place, encoding)


def place_of(path: Path | None) -> str:
    """The name of a file, or of standard input (None), in messages."""
    return "standard input" if path is None else str(path)


def check_is_file(path: Path) -> Path:
    """Returns the path. Raises DataError where it is a folder, or does not exist; then the message lists the folder."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder, a file is expected")
    if not path.exists():
        raise DataError(no_such_file(path))
    return path


def no_such_file(path: Path) -> str:
    """The message for a file that does not exist, with what its folder holds."""
    folder = path.parent
    beside = "there is no such folder" if not folder.is_dir() else f"the folder holds {names_in(folder)}"
    return f"{path}: no such file; {beside}"


def broken_archive(error: Exception) -> str:
    """The message for a gzip file that cannot be read to its end."""
    return f"the gzip archive is broken or was not downloaded whole ({error}): download it again"


def decode(data: bytes, place: str, encoding: str) -> str:
    """Bytes to text. Raises DataError where they are empty or in a different encoding, which is named if recognised."""
    refuse_utf_16(data, place)
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        hint = hint_of_encoding(data, encoding)
        raise DataError(f"{place}:{line}: not {encoding.upper()} at byte {error.start}{hint}") from None
    if not text.strip():
        raise DataError(f"{place}: there is nothing in it")
    return text


def refuse_utf_16(start: bytes, place: str) -> None:
    """Raises DataError where a file that begins with these bytes is UTF-16."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{place}: is UTF-16; save it as UTF-8")


def number_of(count: int, noun: str) -> str:
    """`1 word`, `2 words`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def hint_of_encoding(data: bytes, encoding: str, what: str = "the whole file") -> str:
    """The end of a message about bytes (`what`) that are not in `encoding`: names the right one, if it is known."""
    other = "cp949" if encoding == "utf-8" else "utf-8"
    try:
        data.decode(other)
    except UnicodeDecodeError:
        return ""
    return f"; {what} reads as {other.upper()}: --encoding {other}, or convert it with iconv"


def read_json(path: Path | None, encoding: str = "utf-8") -> Any:
    """A JSON file, or standard input (None). Raises DataError with the line of a syntax error."""
    return parse_json(read_text(path, encoding), place_of(path))


def parse_json(text: str, place: str, first_line: int | None = None) -> Any:
    """Parses JSON that stands in `place`, from line `first_line` on. Raises DataError with the line of an error."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = (first_line or 1) + error.lineno - 1
        raise DataError(f"{place}:{line}: not valid JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError):  # Python's own limits
        where = f"{place}:{first_line}" if first_line else place
        raise DataError(f"{where}: a number has thousands of digits, or brackets are nested too deep") from None


def without_lone_surrogates(text: str, counts: Counter[str]) -> str:
    r"""The text with U+FFFD for each half of a surrogate pair (`"\ud83d"`), which JSON allows and encodings do not."""
    try:
        text.encode()  # far faster than looking at each character, and documents are long
        return text
    except UnicodeEncodeError:
        pass
    counts["texts with a lone surrogate, replaced by U+FFFD"] += 1
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class BadRows:
    """Collects malformed rows, so that all of them are reported and not only the first.

    path: the file, or what else the rows are from. skip: whether malformed rows are left out instead of raising an
    error. flag: the script's flag for that, named in the message; "" where it has none.
    lost: messages about files that cannot be read to their end, so that their number of rows is unknown.
    """

    def __init__(self, path: Path | str, skip: bool, flag: str = "--skip_bad_rows"):
        self.path, self.skip, self.flag = path, skip, flag
        self.messages: list[str] = []
        self.lost: list[str] = []

    def add(self, line: int, what: str) -> None:
        """Notes a malformed row. what: what is wrong with it."""
        self.messages.append(f"{self.path}:{line}: {what}")

    def add_at(self, place: str, what: str) -> None:
        """Notes a malformed row that has no line but a `place`, such as `row 7`."""
        self.messages.append(f"{self.path}: {place}: {what}")

    def finish(self, counts: Counter[str], lost: str = "") -> None:
        """Counts the malformed rows, or raises DataError unless they may be skipped. lost: what counts call files."""
        messages = self.lost + self.messages  # a broken file may be the reason for the malformed rows
        if not messages:
            return
        if self.skip:
            if self.lost:
                counts[f"{lost} (first {self.lost[0]})"] += len(self.lost)
            if self.messages:
                counts[f"malformed rows left out (first {self.messages[0]})"] += len(self.messages)
            return
        more = len(messages) - SHOWN_ROWS
        hint = f" ({self.flag} leaves them out)" if self.flag else ""
        rest = [f"... and {more} more malformed rows in {self.path}{hint}"] if more > 0 else []
        raise DataError("\n".join(messages[:SHOWN_ROWS] + rest))


def names_in(folder: Path, most: int = 6) -> str:
    """The first names in a folder, for an error message."""
    names = sorted(path.name for path in folder.iterdir())
    return (", ".join(names[:most]) + (", ..." if len(names) > most else "")) or "nothing"


def message_of_unknown_label(task: Task, label: str) -> str:
    """What is wrong with a label that is none of the task's."""
    is_decomposed = unicodedata.normalize("NFC", label) in task.labels
    hint = "; this one looks the same, but its syllables are written in parts: convert the file to NFC"
    return f"unknown label {label[:40]!r}: known are {', '.join(task.labels)}{hint if is_decomposed else ''}"


def shorten(text: str, most: int = 80) -> str:
    """The text in quotes, cut where it is long."""
    return repr(text if len(text) <= most else text[:most] + "...")
