"""Files of raw text before they are documents: which files there are, what form each has, and its numbered lines.

    for file in files_below(Path("wiki")): ...
    form = form_of(file, "auto")                    # "wikiextractor"
    for number, line in numbered_lines(file, "utf-8", MalformedLines(file, skip=False, counts=Counter())): ...

Memory does not grow with a file or, in plain text, with a line: a long line comes in several pieces.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import gzip
import hashlib
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from processors.task import (
    BROKEN_ARCHIVE,
    GZIP,
    SHOWN_ROWS,
    DataError,
    broken_archive,
    check_is_file,
    hint_of_encoding,
    refuse_utf_16,
)

LINE_BYTES = 1 << 20  # held at a time of a line of plain text
JSON_LINE_BYTES = 1 << 28  # a line of JSON has to be held whole
SNIFFED_BYTES = 1 << 13  # read from the start of a file to see whether it is text
BUFFER_BYTES = 1 << 18

Form = Literal["blank_lines", "lines", "wikiextractor", "json_lines", "kowiki_csv"]
HELD_WHOLE: tuple[Form, ...] = ("json_lines", "kowiki_csv")  # forms whose lines cannot be read in pieces
DocumentRule = Literal["auto", "blank_lines", "lines"]
JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
COLUMN_SEPARATOR = "\u241d"  # between the columns of the Korean SpanBERT's kowiki.csv
# How kowiki.json, ratings_train.json and kowiki_span.json begin, which the Korean SpanBERT's scripts make of texts.
THEIR_TOKENS = re.compile(rb'\{("id": \d+, )?"doc": \[\[?"\\u2581|\{"tokens": \["\[CLS\]"')


def files_below(path: Path) -> list[Path]:
    """The file itself, or all files in a folder and its subfolders, sorted by name, without hidden ones.

    Raises DataError where there is none.
    """
    if not path.is_dir():
        return [check_is_file(path)]
    below = sorted(path.rglob("*"))
    files = [f for f in below if f.is_file() and not any(part.startswith(".") for part in f.relative_to(path).parts)]
    if not files:
        raise DataError(f"{path}: there is no file in the folder")
    return files


def state_of(path: Path) -> tuple[int, int]:
    """Size in bytes, and time of modification in nanoseconds. Raises DataError where the file cannot be accessed."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    return status.st_size, status.st_mtime_ns


def sha256_of(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal. Raises DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def form_of(path: Path, documents: DocumentRule) -> Form:
    """Recognises a file's form by its first bytes and its name. Raises DataError where it is in none of them."""
    with _opened(path) as stream:
        start = stream.peek(SNIFFED_BYTES)[:SNIFFED_BYTES]
        refuse_utf_16(start, str(path))
        if b"\0" in start:
            raise DataError(f"{path}: is a binary file; plain text, wikiextractor's output or JSON lines are expected")
        beginning = start.removeprefix(codecs.BOM_UTF8).lstrip()
        if beginning.startswith(b"<mediawiki"):
            raise DataError(f"{path}: is a MediaWiki dump; turn it into text with wikiextractor first")
        if beginning.startswith(b"<doc "):
            return "wikiextractor"
        if COLUMN_SEPARATOR.encode() in beginning.partition(b"\n")[0]:
            return "kowiki_csv"
        if THEIR_TOKENS.match(beginning):
            raise DataError(
                f"{path}: holds tokens that the Korean SpanBERT's scripts made (kowiki.json and the like), not texts; "
                "give the kowiki.csv or kowiki.txt that they were made of"
            )
        if Path(path.name.removesuffix(".gz")).suffix.lower() in JSON_ENDINGS or re.match(rb'\{\s*"', beginning):
            return "json_lines"
        if documents == "auto":
            return "blank_lines" if _has_blank_lines(stream) else "lines"
        return documents


def _has_blank_lines(stream: BinaryIO) -> bool:
    """Whether there is a blank line between two lines of text."""
    has_text = was_blank = False
    for line in _read_lines(stream, LINE_BYTES):
        is_blank = line.isspace()
        if was_blank and not is_blank:
            return True
        has_text = has_text or not is_blank
        was_blank = is_blank and has_text
    return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """Opens a file for reading bytes; gzip is decompressed, whatever its name. Raises DataError if it is unreadable."""
    try:
        with path.open("rb", BUFFER_BYTES) as file:
            if file.peek(2)[:2] != GZIP:
                yield file
                return
            with gzip.GzipFile(fileobj=file) as archive, io.BufferedReader(archive, BUFFER_BYTES) as stream:
                yield stream
    except BROKEN_ARCHIVE as error:
        raise DataError(f"{path}: {broken_archive(error)}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _read_lines(stream: BinaryIO, most: int) -> Iterator[bytes]:
    """The lines, each with its line end; one longer than `most` bytes in pieces."""
    return iter(functools.partial(stream.readline, most), b"")


class MalformedLines:
    """Collects what is wrong with the lines of a file, to count it if they may be skipped, else to raise DataError."""

    def __init__(self, path: Path, skip: bool, counts: Counter[str]):
        self.path, self.skip, self.counts = path, skip, counts
        self.messages: list[str] = []
        self.lines = 0

    def add(self, line: int, what: str) -> None:
        """Notes a malformed line. Raises DataError once there are too many to show, unless they may be skipped."""
        self.lines += 1
        if self.lines <= SHOWN_ROWS:
            self.messages.append(f"{self.path}:{line}: {what}")
        elif not self.skip:
            self.finish()  # raises now, as one wrong setting can make every line of 40 GB malformed

    def finish(self) -> None:
        """Counts the lines if they may be skipped; else raises DataError where there are any."""
        if self.messages and not self.skip:
            more = ["... and there are more"] if self.lines > SHOWN_ROWS else []
            raise DataError("\n".join([*self.messages, *more]) + "\n(--skip_bad_rows leaves such lines out)")
        if self.messages:
            self.counts[f"malformed lines left out of {self.path} (first {self.messages[0]})"] += self.lines


def numbered_lines(
    path: Path, encoding: str, malformed: MalformedLines, in_pieces: bool = True
) -> Iterator[tuple[int, str]]:
    """The lines of a file without their line ends, numbered from 1. What cannot be decoded goes to `malformed`.

    in_pieces: a line of more than LINE_BYTES comes in pieces that end after a space, each with the line's number. Else
    every line is held whole, and one of more than JSON_LINE_BYTES is malformed. Raises DataError where the file cannot
    be read.
    """
    most = LINE_BYTES if in_pieces else JSON_LINE_BYTES
    with _opened(path) as stream:
        for number in itertools.count(1):
            data = stream.readline(most)
            if not data:
                return
            is_whole = len(data) < most or data.endswith(b"\n")
            try:
                if is_whole:
                    line = data.decode(encoding).rstrip("\r\n")
                    yield number, line.removeprefix("\ufeff") if number == 1 else line
                elif in_pieces:
                    for piece in _pieces_of_line(data, stream, encoding, most):
                        yield number, piece.rstrip("\r\n")
                else:
                    malformed.add(number, f"a line of more than {most >> 20} MiB, and such lines are held whole")
                    _finish_line(stream, most)
            except UnicodeDecodeError as error:
                hint = hint_of_encoding(data, encoding, "the line") if is_whole else ""
                malformed.add(number, f"not {encoding.upper()} at byte {error.start}{hint}")
                if not is_whole:
                    _finish_line(stream, most)


def _pieces_of_line(data: bytes, stream: BinaryIO, encoding: str, most: int) -> Iterator[str]:
    """The pieces of a line whose first bytes are `data` and whose rest is read from the stream."""
    decoder = codecs.getincrementaldecoder(encoding)()
    rest = ""
    while True:
        is_last = not data or data.endswith(b"\n")
        text = rest + decoder.decode(data, final=is_last)
        if is_last:
            yield text
            return
        end = text.rfind(" ") + 1 or len(text)
        yield text[:end]
        rest = text[end:]
        data = stream.readline(most)


def _finish_line(stream: BinaryIO, most: int) -> None:
    for data in _read_lines(stream, most):
        if data.endswith(b"\n"):
            return
