"""Streams documents of raw text from plain text, wikiextractor's output, JSON lines and the Korean SpanBERT's
kowiki.csv, each also as `.gz`.

    corpus = open_corpus([Path("wiki"), Path("news.jsonl.gz")], text_field="body")
    print(corpus.describe())                    # 41 files: 40 of wikiextractor, 1 of JSON lines
    for part in corpus.parts(Counter()): ...    # documents; a very long one in several parts
    for line in corpus.lines(): ...             # cleaned, for training a vocabulary

Memory does not grow with a file, a document or, in plain text, a line: long documents and lines come in several parts.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import itertools
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from processors.pretraining.corpus_files import (
    COLUMN_SEPARATOR,
    HELD_WHOLE,
    JSON_LINE_BYTES,
    DocumentRule,
    Form,
    MalformedLines,
    files_below,
    form_of,
    numbered_lines,
    sha256_of,
    state_of,
)
from processors.task import SHOWN_ROWS, DataError

PART_CHARACTERS = 1_000_000  # held at a time of a document
HASHED_CHARACTERS = 1_000  # hashed at the beginning of a document, so that its copies and drafts have the same hash

IN_WORDS: dict[Form, str] = {
    "blank_lines": "of plain text with blank lines between documents",
    "lines": "of plain text with a document on each line",
    "wikiextractor": "of wikiextractor",
    "json_lines": "of JSON lines",
    "kowiki_csv": "of columns that U+241D separates",
}


class Part(NamedTuple):
    """A document, or a part of one that is too long to be held in memory.

    text: its lines, not cleaned. document: `hash_of_document`, the same in all parts of a document. is_first: whether
    the document starts with this part.
    """

    text: str
    document: int
    is_first: bool


@dataclass(frozen=True)
class Corpus:
    """Files of raw text, and how they are read. `open_corpus` makes one.

    forms: the form of each file. states: size and modification time of each, by which changes during reading are
    noticed. text_field: the field or the column that holds the text, where there are several. skip_bad_rows: malformed
    lines are left out and counted. lower_case: cleaning also lower-cases the text; not needed for a tokenizer that does
    so itself.
    """

    files: tuple[Path, ...]
    forms: tuple[Form, ...]
    states: tuple[tuple[int, int], ...]
    text_field: str = "text"
    encoding: str = "utf-8"
    skip_bad_rows: bool = False
    lower_case: bool = False

    @functools.cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each file, by its path; computed once. Raises DataError where one cannot be read."""
        return {str(path): sha256_of(path) for path in self.files}

    def describe(self) -> str:
        """`7 files: 6 of plain text with a document on each line, 1 of wikiextractor`."""
        kinds = ", ".join(f"{count} {IN_WORDS[form]}" for form, count in Counter(self.forms).items())
        return f"{len(self.files)} file{'s' * (len(self.files) > 1)}: {kinds}"

    def parts(self, counts: Counter[str]) -> Iterator[Part]:
        """The documents in the order of the files. Documents without text are included, with an empty `text`.

        counts: what is left out is added here, described in words. Raises DataError, naming file and line, where
        something is malformed or cannot be read.
        """
        for path, form in zip(self.files, self.forms, strict=True):
            malformed = MalformedLines(path, self.skip_bad_rows, counts)
            lines = numbered_lines(path, self.encoding, malformed, in_pieces=form not in HELD_WHOLE)
            match form:
                case "blank_lines":
                    marked = (line if line.strip() else None for _, line in lines)
                case "lines":
                    marked = _each_line(lines)
                case "wikiextractor":
                    marked = _wikiextractor(lines, malformed)
                case "json_lines":
                    marked = _json_lines(lines, self.text_field, malformed)
                case "kowiki_csv":
                    marked = _kowiki_csv(lines, self.text_field, malformed)
            yield from _gathered(marked)
            malformed.finish()

    @property
    def names(self) -> str:
        """The names of the first files, for messages."""
        return ", ".join(map(str, self.files[:SHOWN_ROWS])) + (", ..." if len(self.files) > SHOWN_ROWS else "")

    def lines(self) -> Iterator[str]:
        """All lines with text, cleaned; a line longer than PART_CHARACTERS comes in pieces. Raises as `parts` does."""
        for part in self.parts(Counter()):
            yield from clean(part.text, self.lower_case)

    def checked(self) -> tuple[int, Counter[str]]:
        """Reads everything once, and returns the number of characters before cleaning and the counts of `parts`.

        Raises DataError as `parts` does, and where there is no text at all.
        """
        counts: Counter[str] = Counter()
        characters, has_text = 0, False
        for part in self.parts(counts):
            characters += len(part.text)
            has_text = has_text or bool(clean(part.text))
        if not has_text:
            left_out = "".join(f"; {what}" for what in counts)
            raise DataError(f"there is no text in the corpus ({self.names}){left_out}")
        return characters, counts


def open_corpus(
    paths: Iterable[Path],
    text_field: str = "text",
    documents: DocumentRule = "auto",
    encoding: str = "utf-8",
    skip_bad_rows: bool = False,
    lower_case: bool = False,
) -> Corpus:
    """Finds the files, and recognises the form of each by its first bytes and its name (`.jsonl`, `.json`).

    paths: files and folders. Of a folder, all files are taken, subfolders included, sorted by name, without those whose
    name begins with a dot. A file that is given twice is taken once.

    documents: where a document ends in plain text. blank_lines: at a blank line and at the end of the file. lines: at
    each line end. auto: lines, if the whole file has no blank line between two lines of text, as in a file of unrelated
    reviews or chat lines; else blank_lines.

    Raises DataError where a file is missing, binary, UTF-16 or a MediaWiki dump, and where a folder holds no file.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        for file in files_below(path):
            files.setdefault(file.resolve(), file)
    if not files:
        raise DataError("no file is given for the corpus")
    states = tuple(map(state_of, files.values()))
    forms = tuple(form_of(file, documents) for file in files.values())
    return Corpus(tuple(files.values()), forms, states, text_field, encoding, skip_bad_rows, lower_case)


@functools.cache
def _control_characters() -> re.Pattern[str]:
    """Control and format characters (zero-width spaces, soft hyphens, byte order marks), halves of surrogate pairs."""
    numbers = (n for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) in ("Cc", "Cf", "Cs"))
    return re.compile("[" + "".join(f"\\U{number:08x}" for number in numbers) + "]")


def clean(text: str, lower_case: bool = False) -> list[str]:
    """The non-empty lines of a text, in Unicode's NFC, without control characters, with single spaces."""
    if lower_case:
        text = text.lower()
    lines = []
    for line in unicodedata.normalize("NFC", text).split("\n"):
        line = " ".join(line.split())
        if not line.isprintable():  # the search below is slow, and few lines need it
            line = unicodedata.normalize("NFC", " ".join(_control_characters().sub("", line).split()))
        if line:
            lines.append(line)
    return lines


def cut_at_spaces(text: str, most: int) -> Iterator[str]:
    """Cuts a text after spaces into pieces of at most `most` characters; longer words are cut too.

    Joined, the pieces are the text.
    """
    at = 0
    while len(text) - at > most:
        end = text.rfind(" ", at, at + most) + 1 or at + most
        yield text[at:end]
        at = end
    yield text[at:]


# --------------------------------------------------------------------------------------------------------------------
# From lines to documents: each reader yields lines, and None where a document ends
# --------------------------------------------------------------------------------------------------------------------

MarkedLines = Iterator[str | None]


def _each_line(lines: Iterator[tuple[int, str]]) -> MarkedLines:
    last = 0
    for number, line in lines:
        if not line.strip():
            continue
        if number != last:  # else it is a further piece of the same line
            yield None
        last = number
        yield line


def _wikiextractor(lines: Iterator[tuple[int, str]], malformed: MalformedLines) -> MarkedLines:
    """`<doc id="5" url="..." title="지미 카터">`, the title, paragraphs, `</doc>`, each on lines of their own."""
    opened = 0  # the line of the <doc> that is not closed yet
    for number, line in lines:
        if line.startswith("<doc "):
            if opened:
                malformed.add(number, f"<doc> opens here before that of line {opened} is closed")
                yield None
            opened = number
            yield ""  # so that a document without text is counted too
        elif line.strip() == "</doc>":
            if opened:
                yield None
            else:
                malformed.add(number, "</doc> closes nothing")
            opened = 0
        elif opened:
            # wikiextractor escapes these three (html.escape with quote=False).
            yield line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") if "&" in line else line
        elif line.strip():
            malformed.add(number, "text outside of <doc ...> and </doc>")
    if opened:
        malformed.add(opened, "<doc> is not closed to the end of the file, which may have been cut off")


def _json_lines(lines: Iterator[tuple[int, str]], text_field: str, malformed: MalformedLines) -> MarkedLines:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            malformed.add(number, f"not a JSON object on one line: {error.msg} (column {error.colno})")
            continue
        except (ValueError, RecursionError):  # Python's own limits
            malformed.add(number, "a number has thousands of digits, or brackets are nested too deep")
            continue
        if not isinstance(row, dict):
            malformed.add(number, f"a JSON object is expected, not a {type(row).__name__}")
        elif text_field not in row:
            fields = ", ".join(itertools.islice(row, 8)) or "none"
            malformed.add(number, f"no field {text_field!r}; there are: {fields} (--text_field names the one)")
        elif not isinstance(row[text_field], str):
            malformed.add(number, f"the field {text_field!r} is of type {type(row[text_field]).__name__}, not a text")
        else:
            yield from _whole_document(row[text_field])


def _kowiki_csv(lines: Iterator[tuple[int, str]], text_field: str, malformed: MalformedLines) -> MarkedLines:
    """A line with the names of the columns, then a document in each record, as pandas writes them: `id␝url␝title␝text`.

    A column in quotes may hold line ends. Raises DataError where no column is called `text_field`.
    """
    csv.field_size_limit(max(csv.field_size_limit(), JSON_LINE_BYTES))  # process-wide, so it is only ever raised
    at = 0

    def with_line_ends() -> Iterator[str]:
        nonlocal at
        for number, line in lines:
            at = number
            yield f"{line}\n"

    records = csv.reader(with_line_ends(), delimiter=COLUMN_SEPARATOR, strict=True)
    columns: list[str] | None = None
    while True:
        start = at + 1
        try:
            record = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            malformed.add(start, f"the record that starts here is not valid CSV: {error}")
            continue
        if columns is None:
            columns = record
            if text_field not in columns:
                raise DataError(
                    f"{malformed.path}:{start}: no column {text_field!r}; there are: {', '.join(columns)} "
                    "(--text_field names the one)"
                )
        elif record and len(record) != len(columns):
            malformed.add(start, f"{len(record)} columns; the first line names {len(columns)}: {', '.join(columns)}")
        elif record:
            yield from _whole_document(record[columns.index(text_field)])


def _whole_document(text: str) -> MarkedLines:
    """The lines of a document that is held whole, and the mark of its end."""
    for line in text.split("\n"):
        yield from cut_at_spaces(line, PART_CHARACTERS)
    yield None


def _gathered(marked: MarkedLines) -> Iterator[Part]:
    """Joins lines to documents, in parts of about PART_CHARACTERS; at most twice as many, as no line is longer."""
    held: list[str] = []
    size, document, is_first = 0, 0, True
    for line in itertools.chain(marked, [None]):
        if line is not None:
            held.append(line)
            size += len(line)
            if size < PART_CHARACTERS:
                continue
        if held:
            text = "\n".join(held)
            document = hash_of_document(text) if is_first else document
            yield Part(text, document, is_first)
            held, size = [], 0
            is_first = False
        is_first = is_first or line is None


def hash_of_document(text: str) -> int:
    """A hash of a document's beginning without white space: 0 to 2**31 - 1, uniform, the same on every machine."""
    beginning = "".join(text[:HASHED_CHARACTERS].split())
    digest = hashlib.blake2b(beginning.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1
