"""For the page of `scripts/report.py`: questions that a model answered wrongly, with both answers in their context."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processors.klue_scores import normalize_klue
from processors.qa.answer_scores import exact_match, f1, normalize, normalize_korquad_2, score_korquad_2
from processors.qa.klue_mrc import score_klue_mrc
from processors.qa.questions import UNANSWERABLE, Questions
from reporting.markup import Html, element, join, korean_text, paragraph, table
from reporting.mistakes_in_texts import how_many
from reporting.reported_runs import NotThere, ReportedRun, predictions_object, rows_scored_on, task_of

FILE, NBEST_FILE = "predictions.json", "nbest_predictions.json"
WHOLE = 700  # characters of a context that is shown whole; of longer ones, what stands around the answers
AROUND = 160  # characters before and behind an answer, and of both ends of an answer that is long itself
LONGEST_ANSWER = 300  # characters of an answer that is shown whole
NO_ANSWER = "(no answer)"
Span = tuple[int, int]
NORMALIZERS = {score_korquad_2: normalize_korquad_2, score_klue_mrc: normalize_klue}  # others: KorQuAD 1.0's


@dataclass(frozen=True)
class Answered:
    """A question with its right answers and the predicted one; "" and no right answers stand for "no answer".

    sureness: the probability of the prediction among the n best; None where it is not known. span: of the first right
    answer in the context; UNANSWERABLE where there is none.
    """

    question: str
    context: str
    golds: Sequence[str]
    predicted: str
    f1: float
    is_exact: bool
    sureness: float | None
    span: Span


def answers_of_run(run: ReportedRun, most: int, data_dir: Path | None) -> Html:
    """The part of the page about a run's questions. most: how many wrong ones are shown. Raises NotThere."""
    predictions = predictions_object(run, FILE)
    questions = rows_scored_on(run, data_dir)
    sure = surenesses(run)
    answered = answered_questions(run, questions, predictions, sure)
    if not answered:
        raise NotThere(f"{run.folder / FILE} has no question of the file that the run was scored on.")
    missing = len(questions) - len(answered)
    wrong = [one for one in answered if not one.is_exact]
    wrong.sort(key=lambda one: (one.f1, -(one.sureness or 0)))
    said = (
        f"{len(wrong):,} of {len(answered):,} answers are no exact match of a right one. Those that share nothing with "
    )
    said += "a right answer come first, and of these the ones that the model was most sure of. "
    said += how_many(min(most, len(wrong)), len(wrong), "first of them")
    said += f" {missing:,} questions have no prediction." if missing else ""
    said += "" if sure else f" How sure the model was is not known: there is no {NBEST_FILE}."
    marks = join([
        " In the context: the ", element("mark", "right answer", cls="right"), ", the ",
        element("mark", "predicted one", cls="wrong"), ", and ",
        element("mark", "what both share", cls="both"), ".",
    ])  # fmt: skip
    rows = [row_of(one) for one in wrong[:most]]
    header = ["question", "right answer", "predicted", "sure", "F1", "context"]
    listed = table(header, rows, numbers=[3, 4], searchable="search the wrong answers", layout="stacks")
    return join([
        element("h4", "Wrong answers"),
        paragraph(said, marks, cls="faint"),
        listed if rows else Html(""),
    ])  # fmt: skip


def answered_questions(
    run: ReportedRun, questions: Questions, predictions: dict[str, Any], sure: dict[str, float]
) -> list[Answered]:
    """The questions that have a prediction, compared as their task compares answers."""
    comparable = NORMALIZERS.get(task_of(run).score, normalize)
    places = zip(questions.ids, questions.texts, questions.context_of, questions.answers, questions.spans, strict=True)
    answered = []
    for id, text, context, golds, span in places:
        if not isinstance(predicted := predictions.get(id), str):
            continue
        share = max((f1(predicted, gold, comparable) for gold in golds), default=float(not predicted))
        is_exact = any(exact_match(predicted, gold, comparable) for gold in golds) if golds else not predicted
        answered.append(
            Answered(text, questions.contexts[context], golds, predicted, share, is_exact, sure.get(id), span)
        )
    return answered


def surenesses(run: ReportedRun) -> dict[str, float]:
    """Question id -> the probability of the best answer; empty where the run left no n best ones."""
    try:
        content = predictions_object(run, NBEST_FILE)
    except NotThere:
        return {}
    found = {}
    for id, answers in content.items():
        best = answers[0] if isinstance(answers, list) and answers else None
        if isinstance(best, dict) and isinstance(best.get("probability"), int | float):
            found[id] = float(best["probability"])
    return found


def row_of(one: Answered) -> list[str]:
    """The cells of a question's row."""
    golds = list(dict.fromkeys(one.golds)) or [NO_ANSWER]
    sureness = "–" if one.sureness is None else f"{one.sureness:.2f}"
    texts = [[one.question], [shortened(gold) for gold in golds[:3]], [shortened(one.predicted or NO_ANSWER)]]
    cells = [join(korean_text(text, is_short=True) for text in its) for its in texts]
    return [*cells, sureness, f"{one.f1:.2f}", korean_text(in_context(one))]


def in_context(one: Answered) -> Html:
    """The context, or what of it stands around the answers, with both marked."""
    context = one.context
    gold = None if one.span == UNANSWERABLE else one.span
    at = nearest(context, one.predicted, gold[0] if gold else 0) if one.predicted else -1
    predicted = (at, at + len(one.predicted)) if at >= 0 else None
    spans = [span for span in (gold, predicted) if span]
    parts: list[str] = []
    end_before = 0
    for start, end in visible(len(context), spans):
        parts.append(("… " if not parts else " … ") if start > end_before else "")
        parts.append(pieces(context, start, end, gold, predicted))
        end_before = end
    return join([*parts, " …" if end_before < len(context) else ""])


def nearest(context: str, answer: str, start: int) -> int:
    """Where an answer stands in its context, nearest to `start`; -1 if nowhere. Predictions name no place."""
    before, behind = context.rfind(answer, 0, start + len(answer)), context.find(answer, start)
    return min((at for at in (before, behind) if at >= 0), key=lambda at: abs(at - start), default=-1)


def visible(length: int, spans: Sequence[Span]) -> list[Span]:
    """The parts of a context that are shown: all of a short one, else what stands around the spans."""
    if length <= WHOLE:
        return [(0, length)]
    if not spans:
        return [(0, WHOLE // 2)]
    around = []
    for start, end in spans:
        ends = [(start, end)] if end - start <= LONGEST_ANSWER else [(start, start), (end, end)]
        around += [(max(0, first - AROUND), min(length, last + AROUND)) for first, last in ends]
    merged: list[Span] = []
    for start, end in sorted(around):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def pieces(context: str, start: int, end: int, gold: Span | None, predicted: Span | None) -> Html:
    """context[start:end] with marks where the answers are."""
    edges = {start, end, *(edge for span in (gold, predicted) if span for edge in span)}
    cuts = sorted(edge for edge in edges if start <= edge <= end)
    parts: list[str] = []
    for first, last in itertools.pairwise(cuts):
        in_gold, in_predicted = (bool(s) and s[0] <= first and last <= s[1] for s in (gold, predicted))
        cls = {(True, True): "both", (True, False): "right", (False, True): "wrong"}.get((in_gold, in_predicted))
        parts.append(element("mark", context[first:last], cls=cls) if cls else context[first:last])
    return join(parts)


def shortened(text: str) -> str:
    """An answer that is a whole table, say, cut in its middle."""
    return text if len(text) <= LONGEST_ANSWER else f"{text[:AROUND]} … {text[-AROUND:]}"
