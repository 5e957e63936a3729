"""Files of questions that are nearly in the right form: what they are, and what would be right.

The ends of error messages; each is "" where nothing is recognised.
"""

from __future__ import annotations

import json
import re
from typing import Any

from processors.task import DataError, parse_json

SQUAD = (
    '{"data": [{"paragraphs": [{"context": "...", "qas": [{"id": "...", "question": "...", '
    '"answers": [{"text": "...", "answer_start": 0}]}]}]}]}'
)
KORQUAD_2 = (
    '{"data": [{"title": "...", "context": "<html>...", "qas": [{"id": "...", "question": "...", '
    '"answer": {"text": "...", "answer_start": 0}}]}]}'
)
ANSWERS = '[{"text": "...", "answer_start": 0}]'
IS_MRQA = "this is the form of MRQA, which is not read: convert it to SQuAD's"
# How a JSON document begins that stands on many lines, or holds a list "data".
ONE_DOCUMENT = re.compile(rb'\s*(\[|\{\s*$|\{\s*"(version|data)")')
# What other data sets call these keys.
OTHER_NAMES = {
    "id": ("question_id", "qid", "guid", "example_id", "_id", "qas_id"),
    "question": ("query", "question_text", "q"),
    "context": ("passage", "paragraph", "text", "document", "document_plaintext", "content", "paragraph_text"),
    "qas": ("questions", "qa", "queries"),
    "answers": ("answer", "labels"),
    "text": ("answer", "answer_text", "value"),
    "answer_start": ("start", "start_index", "answer_begin"),
    "paragraphs": ("passages", "contexts"),
    "example_id": ("id", "question_id", "qid"),
    "document_plaintext": ("context", "passage", "text"),
    "question_text": ("question", "query"),
}


def other_name(part: Any, key: str) -> str:
    """Where an object lacks `key`, but has it under the name of another data set: which is to be renamed."""
    for name in OTHER_NAMES.get(key, ()) if isinstance(part, dict) else ():
        if name in part:
            return f'; it has "{name}", which is called "{key}" here'
    return ""


def about_answers(answers: Any) -> str:
    """What is wrong with "answers", or with one of them, that are written in another way."""
    if isinstance(answers, dict) and isinstance(answers.get("text"), list):
        return f"; they are an object of lists, as the library datasets writes them; right is {ANSWERS}"
    if isinstance(answers, dict) and "text" in answers:
        return f"; it is one answer, and belongs into a list: {ANSWERS}"
    if isinstance(answers, str):
        return f"; it is a text, and where it stands in the context is needed, too: {ANSWERS}"
    if isinstance(answers, list) and answers and all(isinstance(answer, str) for answer in answers):
        return f"; they are texts, and where each stands in the context is needed, too: {ANSWERS}"
    return ""


def about_text(answer: Any) -> str:
    """What is wrong with one of the "answers" that has no text under "text"."""
    if not isinstance(answer, dict):
        return f"; right is {ANSWERS}"
    if isinstance(answer.get("text"), list):
        return "; it is a list: one text is expected for each answer"
    return other_name(answer, "text")


def about_start(start: Any) -> str:
    """What is wrong with an "answer_start" that is no whole number."""
    if isinstance(start, str) and start.strip().lstrip("-").isdigit():
        return f'; it is the text "{start.strip()}": write it without quotes'
    if isinstance(start, list):
        return "; it is a list: one number is expected for each answer"
    if isinstance(start, float) and start.is_integer():
        return f"; it is {start}: write it without a decimal point"
    return ""


def about_content(content: Any, right: str) -> str:
    """What a JSON file holds that is not an object with a list "data". right: the form that is expected."""
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict):
        return f"; right is {right}"
    if belongs := _task_of(first):
        return f"; {belongs}"
    if isinstance(content, list) and ("paragraphs" in first or "qas" in first):
        return f'; this is the list alone: put it into {{"data": ...}}; right is {right}'
    return f"{about_entry(first)}; right is {right}"


def about_entry(entry: Any) -> str:
    """What an entry of the list "data" is that has no list "paragraphs"."""
    if not isinstance(entry, dict):
        return ""
    if belongs := _task_of(entry):
        return f"; {belongs}"
    if "context" in entry and "question" in entry:
        return "; it is one question, as the library datasets writes them"
    return other_name(entry, "paragraphs")


def _task_of(entry: dict[str, Any]) -> str:
    """Whose form an object has, if it is that of a different task."""
    if "document_plaintext" in entry:
        return "this is the form of TyDi QA: run_long_qa.py --task tydiqa reads it"
    if "context" in entry and isinstance(entry.get("qas"), list):
        qas = entry["qas"]
        if any(isinstance(qa, dict) and "detected_answers" in qa for qa in qas):
            return IS_MRQA
        if any(isinstance(qa, dict) and "answer" in qa for qa in qas) or "raw_html" in entry:
            return "this is the form of KorQuAD 2: run_long_qa.py --task korquad-2 reads it"
    return ""


def parse_questions(text: str, place: str, right: str) -> Any:
    """Parses a JSON file of questions. Raises DataError as `parse_json` does, and says so where each line is JSON."""
    try:
        return parse_json(text, place)
    except DataError:
        lines = [line for line in text.split("\n") if line.strip()][:2]
        if len(lines) < 2 or not all(map(_is_object, lines)):
            raise
        first = json.loads(lines[0])
        about = f"; {IS_MRQA}" if "header" in first else about_content(first, right)
        whole = "each line is JSON by itself, and the whole file must be one object"
        raise DataError(f"{place}: {whole}{about}") from None


def about_first_line(start: bytes) -> str:
    """What a file is that should have a question of TyDi QA on each line. start: of the first one, in any encoding."""
    if ONE_DOCUMENT.match(start):
        return "; this is one JSON document, as SQuAD and KorQuAD have it: run_squad.py reads these"
    return ""


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
