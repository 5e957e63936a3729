"""Question answering: the SQuAD format, with and without unanswerable questions, and KorQuAD 1.0."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from processors.qa.answer_scores import normalize
from processors.qa.nearly_right import (
    SQUAD,
    about_answers,
    about_content,
    about_entry,
    about_start,
    about_text,
    other_name,
    parse_questions,
)
from processors.task import (
    SHOWN_ROWS,
    BadRows,
    DataError,
    HubData,
    Malformed,
    Task,
    place_of,
    read_text,
    without_lone_surrogates,
)

UNANSWERABLE = (-1, -1)
UNREAD = "questions left out with a malformed context"


@dataclass
class Questions:
    """The questions of one or more files.

    contexts: each once, however many questions are about it. ids, texts: the questions' ids and texts. context_of: the
    number of each question's context. answers: its gold answers; none where the question is unanswerable or has no
    labels. spans: where the first answer stands in the context, as characters [start, end); UNANSWERABLE where there is
    none. is_labelled: whether it is known which questions have which answers. counts: things the reader noticed,
    described in words, and how often each occurred.
    """

    contexts: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    context_of: list[int] = field(default_factory=list)
    answers: list[tuple[str, ...]] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    is_labelled: bool = True
    counts: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.ids)

    def __add__(self, other: Questions) -> Questions:
        """The questions of both. Raises DataError where an id is in both."""
        if twice := set(self.ids) & set(other.ids):
            raise DataError(f"two files have a question with the id {min(twice)!r}, {len(twice)} ids in all")
        moved = [index + len(self.contexts) for index in other.context_of]
        return Questions(
            self.contexts + other.contexts,
            self.ids + other.ids,
            self.texts + other.texts,
            self.context_of + moved,
            self.answers + other.answers,
            self.spans + other.spans,
            self.is_labelled,
            self.counts + other.counts,
        )

    def add(self, id: str, text: str, context: int, answers: tuple[str, ...], span: tuple[int, int]) -> None:
        """Adds a question about the context with the number `context`."""
        self.ids.append(id)
        self.texts.append(text)
        self.context_of.append(context)
        self.answers.append(answers)
        self.spans.append(span)

    @property
    def has_unanswerable(self) -> bool:
        """Whether any question has no answer."""
        return self.is_labelled and not all(self.answers)

    def where(self, keep: np.ndarray) -> Questions:
        """The questions for which `keep`, bool `[N]`, is true. All contexts stay."""

        def pick(values: list) -> list:
            return [value for value, kept in zip(values, keep, strict=True) if kept]

        return Questions(
            self.contexts, pick(self.ids), pick(self.texts), pick(self.context_of), pick(self.answers),
            pick(self.spans), self.is_labelled, Counter(self.counts),
        )  # fmt: skip


def read_squad(
    task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False, skip_flag: str = "--skip_bad_rows"
) -> Questions:
    """The questions of a file in the format of SQuAD 1.1 or 2.0, with their answers.

    Where an answer does not stand at its `answer_start`, it is looked for in the words there, as KoELECTRA did. If they
    do not contain it, the question is not used in training. Both are counted, with the first ids. skip_flag: the
    script's flag for `skip_bad_rows`, for error messages.
    Raises DataError naming file and question where the format is not kept.
    """
    return _read(path, encoding, BadRows(path, skip_bad_rows, skip_flag), is_labelled=True)


def read_unanswered(task: Task, path: Path | None, encoding: str = "utf-8") -> Questions:
    """Questions without labels, in the same format. Answers are ignored if the file has them.

    path: the file, or None for standard input. Raises DataError as `read_squad` does.
    """
    return _read(path, encoding, BadRows(Path(place_of(path)), skip=False, flag=""), is_labelled=False)


def _read(path: Path | None, encoding: str, bad: BadRows, is_labelled: bool) -> Questions:
    place = place_of(path)
    content = parse_questions(read_text(path, encoding), place, SQUAD)
    articles = content.get("data") if isinstance(content, dict) else None
    if not isinstance(articles, list):
        about = about_content(content, SQUAD)
        raise DataError(f'{place}: not in the SQuAD format: an object with a list "data" is expected{about}')
    questions = QuestionTable(is_labelled)
    for a, article in enumerate(articles):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            bad.add_at(f"data[{a}]", f'no list "paragraphs"{about_entry(article)}')
            continue
        for p, paragraph in enumerate(paragraphs):
            where = f"data[{a}].paragraphs[{p}]"
            try:
                context, qas = _paragraph(paragraph, questions.rows.counts)
            except Malformed as error:
                bad.add_at(where, str(error))
                questions.unread += questions_in(paragraph)
                continue
            for q, qa in enumerate(qas):
                try:
                    questions.add(qa, context)
                except Malformed as error:
                    bad.add_at(name_of(qa, f"{where}.qas[{q}]"), str(error))
    return questions.finished(place, bad)


class QuestionTable:
    """The questions while they are read, each with its context, which is kept once.

    rows: the good ones so far. unread: how many were lost with a malformed context.
    """

    def __init__(self, is_labelled: bool):
        self.rows, self.unread = Questions(is_labelled=is_labelled), 0
        self._offsets = OffsetReport()
        self._seen: set[str] = set()
        self._contexts: dict[str, int] = {}

    def add(self, qa: Any, context: str) -> None:
        """Adds a question in SQuAD's format. Raises Malformed, and adds nothing, where it cannot be used."""
        id = question_id(qa, self._seen)
        text = text_of(qa, "question", self.rows.counts)
        answers, span = (), UNANSWERABLE
        if self.rows.is_labelled:
            answers, span = _answers(qa, id, context, self._offsets, self.rows.counts)
        self._seen.add(id)
        number = self._contexts.setdefault(context, len(self._contexts))
        if number == len(self.rows.contexts):
            self.rows.contexts.append(context)
        self.rows.add(id, text, number, answers, span)

    def finished(self, place: str, bad: BadRows) -> Questions:
        """The questions. Raises DataError where there are none, or malformed ones that must not be skipped."""
        bad.finish(self.rows.counts)
        if self.unread:
            self.rows.counts[UNREAD] += self.unread
        check_any_left(self.rows, place)
        self._offsets.finish(place, self.rows.counts)
        return self.rows


def check_any_left(questions: Questions, place: str) -> None:
    """Raises DataError where there are no questions, saying why."""
    if not questions.ids:
        why = "; ".join(f"{what}: {count}" for what, count in questions.counts.items())
        raise DataError(f"{place}: no questions are left ({why})" if why else f"{place}: there are no questions in it")


def questions_in(paragraph: Any) -> int:
    """How many questions are lost with a context that cannot be used."""
    qas = paragraph.get("qas") if isinstance(paragraph, dict) else None
    return len(qas) if isinstance(qas, list) else 0


def _paragraph(paragraph: Any, counts: Counter[str]) -> tuple[str, list]:
    context = text_of(paragraph, "context", counts)
    qas = paragraph.get("qas")
    if not isinstance(qas, list):
        raise Malformed(f'no list "qas"{other_name(paragraph, "qas")}')
    return context, qas


def name_of(qa: Any, place: str) -> str:
    """The name of a question in an error message: its id, or its place where it has none."""
    id = qa.get("id") if isinstance(qa, dict) else None
    return f"question {id!r}" if isinstance(id, str) and id else place


def question_id(qa: Any, seen: Container[str]) -> str:
    """The id of a question, as a text. Raises Malformed where it is missing, or already in `seen`."""
    if not isinstance(qa, dict):
        raise Malformed("is no object")
    id = qa.get("id", qa.get("guid"))  # KLUE-MRC says guid
    if not isinstance(id, (str, int)) or isinstance(id, bool) or id == "":
        raise Malformed(f'no "id"{other_name(qa, "id") if id is None else ""}')
    if without_lone_surrogates(str(id), Counter()) != str(id):
        raise Malformed("its id contains half a surrogate pair, which no file of predictions can hold")
    if str(id) in seen:
        raise Malformed("another question has the same id")
    return str(id)


def text_of(part: Any, key: str, counts: Counter[str]) -> str:
    """The text under `key`. Raises Malformed where it is missing or only white space."""
    text = part.get(key) if isinstance(part, dict) else None
    if not isinstance(text, str):
        raise Malformed(f'no text "{key}"{other_name(part, key)}')
    if not text.strip():
        raise Malformed(f"the {key} is empty")
    return without_lone_surrogates(text, counts)


def _answers(
    qa: dict, id: str, context: str, offsets: OffsetReport, counts: Counter[str]
) -> tuple[tuple[str, ...], tuple[int, int]]:
    """The gold answers, and the span of the first one in the context."""
    answers = qa.get("answers", [])
    if not isinstance(answers, list):
        raise Malformed(f'"answers" is no list{about_answers(answers)}')
    is_impossible = qa.get("is_impossible", not answers)
    if not isinstance(is_impossible, bool):
        raise Malformed(f'"is_impossible" is {is_impossible!r}, not true or false')
    if not is_impossible and not answers:
        raise Malformed("is_impossible is false, but there are no answers")
    if is_impossible:
        if answers and any(isinstance(answer, dict) and answer.get("text") for answer in answers):
            raise Malformed("is_impossible is true, but there are answers")
        if "is_impossible" not in qa and "answers" not in qa:
            raise Malformed(f'no list "answers"{other_name(qa, "answers")}')
        return (), UNANSWERABLE
    texts = []
    for answer in answers:
        text = answer.get("text") if isinstance(answer, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise Malformed(f'an answer without "text"{about_answers(answers) or about_text(answer)}')
        answer_start(answer, context)
        texts.append(without_lone_surrogates(text, counts))
    return tuple(texts), offsets.locate(id, context, texts[0], answers[0]["answer_start"])


def answer_start(answer: dict, context: str) -> int:
    """An answer's `answer_start`. Raises Malformed where it is missing or outside the context."""
    start = answer.get("answer_start")
    if not isinstance(start, int) or isinstance(start, bool):
        what = about_start(start) or other_name(answer, "answer_start")
        raise Malformed(f'an answer without "answer_start", a whole number{what}')
    if not 0 <= start < len(context):
        raise Malformed(f"answer_start {start} is outside the context of {len(context)} characters")
    return start


class OffsetReport:
    """Finds answers in their contexts, and records those that are not at their `answer_start`.

    moved: messages about answers found near it. lost: messages about answers that were not found near it.
    """

    def __init__(self):
        self.moved: list[str] = []
        self.lost: list[str] = []

    def locate(self, id: str, context: str, answer: str, start: int) -> tuple[int, int]:
        """The span of the answer without white space around it: at `start`, or else within the words there.

        UNANSWERABLE where it is in neither place.
        """
        end = min(start + len(answer), len(context))
        there = context[start:end]
        if there == answer or normalize(there) == normalize(answer) != "":
            return end - len(there.lstrip()), start + len(there.rstrip())
        answer = answer.strip()
        found = _nearest(context, answer, start, *words_at(context, start, end))
        said = f"{id!r} says {start}, where {shown(there)} stands"
        if found >= 0:
            self.moved.append(f"{said}; {shown(answer)} is at {found}")
            return found, found + len(answer)
        elsewhere = _nearest(context, answer, start, 0, len(context))
        where = f"is at {elsewhere}" if elsewhere >= 0 else "is not in the context"
        self.lost.append(f"{said}; {shown(answer)} {where}")
        return UNANSWERABLE

    def finish(self, place: str, counts: Counter[str]) -> None:
        """Adds what was moved or lost to `counts`, with the first of each. place: the file."""
        for messages, what in (
            (self.moved, "answers found beside their answer_start and moved"),
            (self.lost, "answers not at their answer_start, of no use in training"),
        ):
            count_shown(counts, what, place, messages)


def count_shown(counts: Counter[str], what: str, place: str, messages: Sequence[str]) -> None:
    """Counts the messages about `what`, under a key that quotes the first of them. Does nothing without messages."""
    if messages:
        more = ", ..." if len(messages) > SHOWN_ROWS else ""
        counts[f"{what} ({place}: {'; '.join(messages[:SHOWN_ROWS])}{more})"] += len(messages)


WHITE_SPACE = " \t\r\n\u202f"  # the characters that the original treats as white space


def words_at(text: str, start: int, end: int) -> tuple[int, int]:
    """The span of all words that share characters with [start, end). White space belongs to the word before it."""
    while start > 0 and text[start] in WHITE_SPACE:
        start -= 1
    while start > 0 and text[start - 1] not in WHITE_SPACE:
        start -= 1
    while end > start and text[end - 1] in WHITE_SPACE:
        end -= 1
    while end < len(text) and text[end] not in WHITE_SPACE:
        end += 1
    return start, end


def _nearest(text: str, part: str, at: int, start: int, end: int) -> int:
    """The start of the `part` in text[start:end] that is nearest to `at`, the earlier of two; -1 if there is none."""
    before = text.rfind(part, start, min(end, at + len(part)))
    after = text.find(part, at, end)
    return min((place for place in (before, after) if place >= 0), key=lambda place: abs(place - at), default=-1)


def shown(text: str, most: int = 30) -> str:
    """The text in quotes, shortened if it is long."""
    return repr(text if len(text) <= most else text[:most] + "...")


QA_TASKS = (
    Task(
        name="korquad",
        folder="korquad",
        train_file="KorQuAD_v1.0_train.json",
        dev_file=None,
        test_file="KorQuAD_v1.0_dev.json",
        read=read_squad,
        metrics=("em", "f1"),
        main_metric="f1",
        source="https://korquad.github.io/KorQuad%201.0/",
        licence="CC BY-ND 2.0 KR",
        fetch="bash scripts/download_data.sh korquad",
        hub=HubData("KorQuAD/squad_kor_v1", splits={"train": "train", "test": "validation"}),
        defaults={"num_train_epochs": 7, "logging_steps": 1000, "save_steps": 1000},
    ),
)
# Splinter's protocol: ten epochs and at least 200 steps on samples of a few questions; the last checkpoint is scored.
FEW_SHOT_TASKS = (
    dataclasses.replace(
        QA_TASKS[0],
        name="korquad-few-shot",
        defaults={
            "num_train_epochs": 10,
            "min_steps": 200,
            "learning_rate": 3e-5,
            "warmup_proportion": 0.1,
            "train_batch_size": 12,
            "max_seq_length": 384,
            "max_answer_length": 10,
            "eval_steps": 0,
            "eval_all_checkpoints": False,
            "save_steps": 1000,
            "save_total_limit": 1,
            "select_by": "last",
        },
    ),
)
