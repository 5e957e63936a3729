"""Rows of data sets (`processors/data_sources.py`) as questions of the official files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from processors.data_sources import SourceTable
from processors.qa.korquad_2 import read_korquad_2, read_named_documents
from processors.qa.questions import Questions, QuestionTable, check_any_left, read_squad, text_of
from processors.qa.tydiqa import add_sample, read_tydiqa
from processors.source_rows import ROW_READERS
from processors.task import BadRows, Malformed, Task

PLAUSIBLE = "plausible answers to unanswerable questions, left out"


def squad_rows(task: Task, table: SourceTable, skip_bad_rows: bool = False) -> Questions:
    """A question a row, with its context: `id` (or `guid`), `context`, `question` and `answers`.

    `answers` is `{"text": [...], "answer_start": [...]}` or a list of answers as in the official file. Where
    `is_impossible` is true, answers are only plausible ones, as in KLUE-MRC. Raises DataError naming malformed rows.
    """
    bad = BadRows(table.place, skip_bad_rows)
    questions = QuestionTable(is_labelled=True)
    id_column = table.first_of(("id", "guid"))
    for name, row in table.records((id_column, "context", "question", "answers"), optional=("is_impossible",)):
        row = {**row, "answers": answers_in_list(row["answers"])}
        if row.get("is_impossible") is None:  # nobody says so
            row.pop("is_impossible", None)
        elif row["is_impossible"] is True and row["answers"]:
            questions.rows.counts[PLAUSIBLE] += len(row["answers"])
            row["answers"] = []
        try:
            questions.add(row, text_of(row, "context", questions.rows.counts))
        except Malformed as error:
            bad.add_at(name, str(error))
    return questions.finished(table.place, bad)


def answers_in_list(answers: Any) -> Any:
    """`{"text": [a, b], "answer_start": [1, 2]}` as a list of answers; anything else as it is."""
    if not isinstance(answers, dict) or not all(isinstance(values, list) for values in answers.values()):
        return answers
    lengths = {len(values) for values in answers.values()}
    if len(lengths) != 1:
        return answers  # which then is refused as no list
    return [dict(zip(answers, values, strict=True)) for values in zip(*answers.values(), strict=True)]


def tydiqa_rows(task: Task, table: SourceTable, skip_bad_rows: bool = False) -> Questions:
    """Rows of TyDi QA's primary task, as in the official file or as on the hub, where questions have no ids.

    A question without an id gets the number of its row. Raises DataError naming malformed rows.
    """
    bad = BadRows(table.place, skip_bad_rows)
    questions = Questions()
    contexts: dict[str, int] = {}
    place_of_id: dict[str, str] = {}
    columns = ("language", "question_text", "document_plaintext", "annotations")
    for number, (name, row) in enumerate(table.records(columns, optional=("example_id",))):
        row = {"example_id": number, **row, "annotations": _annotations(row["annotations"])}
        try:
            add_sample(questions, row, contexts, place_of_id, name)
        except Malformed as error:
            bad.add_at(name, str(error))
    bad.finish(questions.counts)
    check_any_left(questions, table.place)
    return questions


def _annotations(annotations: Any) -> Any:
    """The hub's lists of annotations' parts as a list of annotations in the official form."""
    parts = annotations if isinstance(annotations, list) else answers_in_list(annotations)
    if not isinstance(parts, list):
        return parts
    keys = ("minimal_answers_start_byte", "minimal_answers_end_byte")
    return [
        {
            "yes_no_answer": part.get("yes_no_answer"),
            "minimal_answer": {"plaintext_start_byte": part[keys[0]], "plaintext_end_byte": part[keys[1]]},
        }
        if isinstance(part, dict) and all(key in part for key in keys)
        else part
        for part in parts
    ]


def korquad_2_rows(task: Task, table: SourceTable, skip_bad_rows: bool = False) -> Questions:
    """A question a row, with its page: `id`, `context`, `question` and `answer`, whose keys are the official ones.

    Raises DataError naming malformed rows.
    """
    bad = BadRows(table.place, skip_bad_rows)
    return read_named_documents(table.place, _documents(table), bad)


def _documents(table: SourceTable) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each page in messages, and the page with all questions about it, in the official form."""
    pages: dict[Any, tuple[str, dict[str, Any]]] = {}
    for name, row in table.records(("id", "context", "question", "answer"), optional=("title",)):
        context = row["context"]
        key = context if isinstance(context, str) else (name,)  # which is no page, as is said where it is read
        page = pages.setdefault(key, (name, {"context": context, "qas": []}))[1]
        page["title"] = row.get("title")
        page["qas"].append({key: row[key] for key in ("id", "question", "answer")})
    for name, page in pages.values():
        yield f"{table.place}: {name}", page


ROW_READERS |= {read_squad: squad_rows, read_tydiqa: tydiqa_rows, read_korquad_2: korquad_2_rows}
