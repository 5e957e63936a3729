"""TyDi QA v1.0, Korean: reads its JSON lines, in which the offsets of answers count the document's bytes.

Each line is a question about a document, answered by one annotator (training) or three (development):
https://github.com/google-research-datasets/tydiqa
"""

from __future__ import annotations

import gzip
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from processors.qa.nearly_right import about_first_line, other_name
from processors.qa.questions import UNANSWERABLE, Questions, check_any_left, question_id, shown, text_of
from processors.task import (
    BROKEN_ARCHIVE,
    GZIP,
    BadRows,
    DataError,
    Malformed,
    Task,
    broken_archive,
    check_is_file,
    hint_of_encoding,
    parse_json,
    place_of,
    refuse_utf_16,
)

# Quotation marks inside a JSON string are escaped, so this can only be a key, or a string that is just this word.
LANGUAGE_KEY = b'"language"'
LANGUAGE = re.compile(LANGUAGE_KEY + rb'\s*:\s*"([^"\\]*)"')

OTHER_LANGUAGE = "questions in other languages, left out"
YES_NO = "questions that somebody answered with yes or no, left out"
BLANK = "blank lines"
BROKEN_OFF = "files that break off: all from that line on is lost, and how many questions that is cannot be known"


def read_tydiqa(
    task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False, skip_flag: str = "--skip_bad_rows"
) -> Questions:
    """The Korean questions of a file of TyDi QA v1.0 (JSON lines, also in gzip), read line by line.

    A question that any annotator answered with yes or no is left out and counted. The gold answers are the different
    answers of all annotators, in their order; the span is the first one's. A question is unanswerable only if no
    annotator found an answer. Questions about the same document share one context.
    skip_flag: the script's flag for `skip_bad_rows`, for error messages.
    Raises DataError naming file, line and question where the format is not kept.
    """
    return _read(path, encoding, BadRows(path, skip_bad_rows, skip_flag), is_labelled=True)


def read_unanswered_tydiqa(task: Task, path: Path | None, encoding: str = "utf-8") -> Questions:
    """Korean questions without labels, in the same format. Annotations are ignored if the file has them.

    path: the file, or None for standard input. Raises DataError as `read_tydiqa` does.
    """
    return _read(path, encoding, BadRows(Path(place_of(path)), skip=False, flag=""), is_labelled=False)


def _read(path: Path | None, encoding: str, bad: BadRows, is_labelled: bool) -> Questions:
    place = place_of(path)
    questions = Questions(is_labelled=is_labelled)
    contexts: dict[str, int] = {}
    place_of_id: dict[str, str] = {}
    line, first = 0, b""
    try:
        for line, data in enumerate(_lines(path), 1):
            if not data.strip():
                questions.counts[BLANK] += 1
                continue
            first = first or data[:100]
            if _is_in_another_language(data):
                questions.counts[OTHER_LANGUAGE] += 1
                continue
            try:
                text = data.rstrip().decode(encoding)  # an error at the end is on this line, not on the next
                add_sample(questions, parse_json(text, place, line), contexts, place_of_id, f"line {line}")
            except UnicodeDecodeError as error:
                hint = hint_of_encoding(data, encoding, "the line")
                what = f"not {encoding.upper()} at byte {error.start} of the line{hint}"
                if hint and not questions.ids and not bad.skip:  # or the same message would follow for every line
                    raise DataError(f"{place}:{line}: {what}") from None
                bad.add(line, what)
            except Malformed as error:
                bad.add(line, str(error))
            except DataError as error:  # it names file and line
                bad.messages.append(str(error))
    except BROKEN_ARCHIVE as error:
        bad.lost.append(f"{place}:{line + 1}: {broken_archive(error)}")
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror}") from None
    if line == 0 and not bad.lost:
        raise DataError(f"{place}: there is nothing in it")
    if bad.messages and not (bad.skip or bad.lost or questions.ids or questions.counts):
        keys = '"example_id", "language", "question_text" and "document_plaintext"'
        why = about_first_line(first) or f"\n{bad.messages[0]}"
        raise DataError(f"{place}: no line is a question of TyDi QA v1.0, an object with {keys}{why}")
    bad.finish(questions.counts, BROKEN_OFF)
    check_any_left(questions, place)
    return questions


def character_offsets(text: str, byte_offsets: Sequence[int]) -> np.ndarray:
    """Converts offsets in the UTF-8 bytes of `text`, up to its end, to offsets in characters: int `[N]`.

    Raises ValueError, naming the offset, where no character begins there.
    """
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    if outside := [at for at in byte_offsets if not 0 <= at <= len(data)]:
        raise ValueError(f"{outside[0]} is outside the text of {len(data)} bytes")
    # All bytes of a character but its first are 0b10xxxxxx. The text's end is appended, as an answer may end there.
    leads = np.append((data & 0xC0) != 0x80, True)
    characters = np.cumsum(leads, dtype=np.int32) - 1
    if inside := [at for at in byte_offsets if not leads[at]]:
        character = int(characters[inside[0]])
        start = int(characters.searchsorted(character))
        end = start + len(text[character].encode())
        raise ValueError(f"{inside[0]} is inside the character {text[character]!r}, which is bytes {start} to {end}")
    return characters[np.asarray(byte_offsets, dtype=np.int64)]


def _lines(path: Path | None) -> Iterator[bytes]:
    """The lines without a byte order mark. Raises one of BROKEN_ARCHIVE where a gzip file is incomplete or damaged."""
    with check_is_file(path).open("rb") if path else io.BufferedReader(sys.stdin.buffer) as file:
        lines = gzip.GzipFile(fileobj=file) if file.peek(2).startswith(GZIP) else file
        for number, line in enumerate(lines):
            if number == 0:
                refuse_utf_16(line, place_of(path))
                line = line.removeprefix(b"\xef\xbb\xbf")
            yield line


def _is_in_another_language(line: bytes) -> bool:
    """Whether the line is certainly not Korean, judged without parsing it, which would take ten times as long.

    15 of 16 lines are in other languages. A line with the key twice is not skipped: two lines may have been joined.
    """
    at = line.find(LANGUAGE_KEY)
    if line.find(LANGUAGE_KEY, at + 1) >= 0:
        return False
    found = LANGUAGE.match(line, at) if at >= 0 and line.startswith(b"{") and line.rstrip().endswith(b"}") else None
    return found is not None and found[1].lower().strip() != b"korean"


def add_sample(
    questions: Questions, sample: Any, contexts: dict[str, int], place_of_id: dict[str, str], place: str
) -> None:
    """Adds one question of TyDi QA. Raises Malformed, and adds nothing, where it cannot be used.

    contexts: the number of each document so far. place_of_id: where each id so far was. place: `line 3`.
    """
    if not isinstance(sample, dict):
        raise Malformed("is no object: a line of TyDi QA v1.0 is expected")
    if not isinstance(language := sample.get("language"), str):
        raise Malformed(f'{_name(sample)}: no text "language"')
    if language.lower().strip() != "korean":
        questions.counts[OTHER_LANGUAGE] += 1
        return
    if "example_id" not in sample:
        raise Malformed(f'no "example_id"{other_name(sample, "example_id")}')
    counts: Counter[str] = Counter()
    try:
        if not isinstance(sample["example_id"], str | int):
            raise Malformed('"example_id" must be a text or a whole number')
        id = question_id({"id": sample["example_id"]}, ())
        if id in place_of_id:
            raise Malformed(f"{place_of_id[id]} has the same example_id: each must be there once")
        question = text_of(sample, "question_text", counts)
        text = text_of(sample, "document_plaintext", counts)
        places = _minimal_answers(sample.get("annotations")) if questions.is_labelled else []
        spans = [] if places is None else _spans(text, places)
    except Malformed as error:
        raise Malformed(f"{_name(sample)}: {error}") from None
    place_of_id[id] = place
    questions.counts.update(counts)
    if places is None:
        questions.counts[YES_NO] += 1
        return
    if text not in contexts:
        contexts[text] = len(questions.contexts)
        questions.contexts.append(text)
    answers = tuple(dict.fromkeys(text[start:end] for start, end in spans))
    questions.add(id, question, contexts[text], answers, spans[0] if spans else UNANSWERABLE)


def _name(sample: dict) -> str:
    if "example_id" not in sample:
        return f'a question without "example_id"{other_name(sample, "example_id")}'
    return f"question {str(sample['example_id'])!r}"


def _minimal_answers(annotations: Any) -> list[tuple[int, int]] | None:
    """The answer's bytes [start, end) from each annotation that has one; None where any annotation says yes or no."""
    if not isinstance(annotations, list):
        raise Malformed('no list "annotations"')
    if not annotations:
        raise Malformed("there is no annotation: whether the question has an answer is not known")
    found = []
    is_yes_no = False
    for number, annotation in enumerate(annotations):
        where = f"annotations[{number}]"
        if not isinstance(annotation, dict):
            raise Malformed(f"{where} is no object")
        if (yes_no := annotation.get("yes_no_answer")) not in ("YES", "NO", "NONE"):
            raise Malformed(f'{where}: "yes_no_answer" must be "YES", "NO" or "NONE", not {shown(str(yes_no))}')
        minimal = annotation.get("minimal_answer")
        keys = ("plaintext_start_byte", "plaintext_end_byte")
        start, end = (minimal.get(key) if isinstance(minimal, dict) else None for key in keys)
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in (start, end)):
            raise Malformed(f'{where}: no "minimal_answer" with whole numbers {" and ".join(keys)}')
        is_yes_no |= yes_no != "NONE"
        if (start, end) != (-1, -1):
            found.append((start, end))
    return None if is_yes_no else found


def _spans(text: str, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The characters [start, end) of answers that are given in bytes, without white space around them."""
    if not places:
        return []
    for start, end in places:
        if not 0 <= start < end:
            raise Malformed(f"minimal_answer from byte {start} to {end}: -1 to -1 for none, or 0 <= start < end")
    try:
        offsets = character_offsets(text, [at for place in places for at in place]).tolist()
    except ValueError as error:
        raise Malformed(f"minimal_answer: byte {error} of document_plaintext") from None
    spans = []
    for start, end in zip(offsets[::2], offsets[1::2], strict=True):
        answer = text[start:end]
        if not answer.strip():
            raise Malformed(f"minimal_answer: there is only white space at characters {start} to {end}")
        spans.append((end - len(answer.lstrip()), start + len(answer.rstrip())))
    return spans
