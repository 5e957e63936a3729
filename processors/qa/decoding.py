"""Question answering: from start and end logits to the n best answers of each question.

The score of an answer is the sum of its start logit and its end logit. Candidates are all spans of at most
`max_answer_length` tokens that lie in one window's part of the context and start at a token which that window owns
(`QuestionFeatures.owned`). The n best are exact; among equal scores the earlier start comes first, then the earlier
end. (BERT's run_squad.py only looks at pairs of the n best starts and the n best ends.)

Logits are added batch by batch, in any order, and reduced to n spans for each question, so memory does not grow with
the number of windows.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d

from processors.qa.windows import QuestionFeatures


@dataclass(frozen=True)
class Answer:
    """One of the n best answers.

    text: "" for "no answer". score: the sum of start_logit and end_logit. probability: softmax over the n best scores.
    """

    text: str
    score: float
    start_logit: float
    end_logit: float
    probability: float


@dataclass(frozen=True)
class Decoded:
    """The decoded answers of one question.

    texts: different answers, the best first; "" is among them where questions may be unanswerable. figures: the score
    and the start logit of each. null_odds: the score of "no answer" minus that of the best answer; None where every
    question has an answer.
    """

    texts: list[str]
    figures: list[tuple[float, float]]
    null_odds: float | None

    @property
    def best(self) -> list[Answer]:
        """The n best answers."""
        weights = [math.exp(score - self.figures[0][0]) for score, _ in self.figures]
        total = sum(weights)
        return [
            Answer(text, score, start_logit, score - start_logit, weight / total)
            for text, (score, start_logit), weight in zip(self.texts, self.figures, weights, strict=True)
        ]

    @property
    def answer_if_any(self) -> str:
        """The best answer other than "no answer"."""
        return next((text for text in self.texts if text), "")

    def answer(self, threshold: float) -> str:
        """The answer: "" where `null_odds` are above the threshold, else the best one."""
        if self.null_odds is not None and self.null_odds > threshold:
            return ""
        return self.answer_if_any


@dataclass(frozen=True)
class Predictions:
    """The answers of all questions. threshold: see `Decoded.answer`."""

    ids: list[str]
    decoded: list[Decoded]
    threshold: float

    @property
    def answers(self) -> dict[str, str]:
        """Question id -> answer, "" for "no answer"."""
        return {id: one.answer(self.threshold) for id, one in zip(self.ids, self.decoded, strict=True)}

    @property
    def answers_if_any(self) -> dict[str, str]:
        """Question id -> the best answer other than "no answer"."""
        return {id: one.answer_if_any for id, one in zip(self.ids, self.decoded, strict=True)}

    @property
    def texts(self) -> dict[str, list[str]]:
        """Question id -> its n best answers, the best first."""
        return {id: one.texts for id, one in zip(self.ids, self.decoded, strict=True)}

    @property
    def null_odds(self) -> dict[str, float]:
        """Question id -> `Decoded.null_odds`; empty where every question has an answer."""
        odds = zip(self.ids, self.decoded, strict=True)
        return {id: one.null_odds for id, one in odds if one.null_odds is not None}

    def files(self) -> dict[str, str]:
        """File name -> content: `predictions.json` (the official scripts' format), `nbest_predictions.json` and, where
        questions may be unanswerable, `null_odds.json`.
        """
        best = {
            id: [dataclasses.asdict(answer) for answer in one.best]
            for id, one in zip(self.ids, self.decoded, strict=True)
        }
        content = {"predictions.json": self.answers, "nbest_predictions.json": best, "null_odds.json": self.null_odds}
        return {
            name: json.dumps(values, ensure_ascii=False, indent=2) + "\n" for name, values in content.items() if values
        }


class Decoder:
    """Collects the logits of windows, and decodes the answers of their questions.

    max_answer_length: in tokens. n_best: spans kept for each question. with_null: whether questions may be
    unanswerable. The score of "no answer" is the sum of the two logits at the first token, [CLS], in the window where
    this sum is lowest.
    """

    def __init__(self, features: QuestionFeatures, max_answer_length: int, n_best: int, with_null: bool):
        self.features, self.n_best, self.with_null = features, n_best, with_null
        self.max_answer_length = max_answer_length
        shape = (len(features.questions), n_best)
        self.best = _Spans(
            scores=np.full(shape, -np.inf),
            starts=np.zeros(shape, np.int64),
            ends=np.zeros(shape, np.int64),
            start_logits=np.zeros(shape, np.float32),
        )
        self.null = np.full((len(features.questions), 2), np.inf, np.float32)  # start and end logit

    def add(self, windows: np.ndarray, logits: np.ndarray) -> None:
        """Adds the logits of some windows. windows: `[B]`. logits: fp32 `[B, 2, L]`, for start and end."""
        questions = self.features.question[windows]
        if self.with_null:
            self._lower_null(questions, logits[:, :, 0])
        spans = self._best_of_windows(windows, logits)
        alone = np.flatnonzero(self.features.windows_of_question[questions] == 1)
        self.best.put(questions[alone], spans.take(alone))
        waiting = np.flatnonzero(self.features.windows_of_question[questions] > 1)
        while len(waiting):  # each pass merges one window of every waiting question
            _, first = np.unique(questions[waiting], return_index=True)
            now = waiting[first]
            self.best.put(questions[now], self.best.take(questions[now]).merged(spans.take(now)))
            waiting = np.delete(waiting, first)

    def _lower_null(self, questions: np.ndarray, logits: np.ndarray) -> None:
        """Keeps the "no answer" logits `[B, 2]` with the lowest sum; among equal sums, those with the lowest start."""
        asked = np.unique(questions)
        logits, questions = np.concatenate([self.null[asked], logits]), np.concatenate([asked, questions])
        order = np.lexsort((logits[:, 0], logits.astype(np.float64).sum(axis=1), questions))
        lowest = order[np.diff(questions[order], prepend=-1) != 0]
        self.null[asked] = logits[lowest]

    def _best_of_windows(self, windows: np.ndarray, logits: np.ndarray) -> _Spans:
        """The n best spans of each window; windows: `[B]`, logits: `[B, 2, L]`."""
        features = self.features
        length = features.length[windows]
        longest = max(1, int(length.max()))  # a context may have no tokens at all
        columns = np.arange(longest)
        at = np.minimum(features.context_positions(windows)[:, None] + columns, logits.shape[2] - 1)
        start_logits, end_logits = (np.take_along_axis(logits[:, i], at, axis=1).astype(np.float64) for i in (0, 1))
        first, end = features.owned(windows)
        start_logits[(columns < first[:, None]) | (columns >= end[:, None])] = -np.inf
        end_logits[columns >= length[:, None]] = -np.inf

        # The n best spans start at the n starts with the best spans; among equal ones the earlier starts are kept.
        span = min(self.max_answer_length, longest)
        best_end = maximum_filter1d(end_logits, span, axis=1, mode="constant", cval=-np.inf, origin=-(span // 2))
        starts = np.sort(_largest(start_logits + best_end, self.n_best), axis=1)
        ends = starts[:, :, None] + np.arange(span)
        scores = np.where(
            ends < longest,
            np.take_along_axis(start_logits, starts, axis=1)[:, :, None]
            + np.take_along_axis(end_logits, np.minimum(ends, longest - 1).reshape(len(windows), -1), axis=1).reshape(
                ends.shape
            ),
            -np.inf,
        ).reshape(len(windows), -1)
        chosen = _largest(scores, self.n_best)
        starts = np.take_along_axis(starts, chosen // span, axis=1)
        spans = _Spans(
            scores=np.take_along_axis(scores, chosen, axis=1),
            starts=starts + features.start[windows][:, None],
            ends=starts + chosen % span + features.start[windows][:, None],
            start_logits=np.take_along_axis(start_logits, starts, axis=1).astype(np.float32),
        )
        return spans.widened(self.n_best)

    def answers(self) -> Iterator[Decoded]:
        """The decoded answers of each question, in the order of the questions."""
        for question in range(len(self.features.questions)):
            yield self._answers_of(question)

    def _answers_of(self, question: int) -> Decoded:
        features, best = self.features, self.best
        context = int(features.context_of[question])
        text = features.questions.contexts[context]
        n = int((best.scores[question] > -np.inf).sum())
        spans = zip(
            features.contexts.row("starts", context)[best.starts[question, :n]].tolist(),
            features.contexts.row("ends", context)[best.ends[question, :n]].tolist(),
            best.scores[question, :n].tolist(),
            best.start_logits[question, :n].tolist(),
            strict=True,
        )
        found: dict[str, tuple[float, float]] = {}  # text -> score, start logit
        for start, end, score, start_logit in spans:
            found.setdefault(text[start:end].strip(), (score, start_logit))
        found.pop("", None)  # from tokens that stand for no characters
        if not self.with_null:
            return Decoded(list(found), list(found.values()), None)
        start_logit, end_logit = map(float, self.null[question])
        null = start_logit + end_logit
        # For a context without tokens the odds are infinite, which JSON cannot express.
        odds = min(null - max((score for score, _ in found.values()), default=-math.inf), sys.float_info.max)
        found[""] = null, start_logit
        ranked = sorted(found.items(), key=lambda item: -item[1][0])  # stable: among equals "" comes last
        return Decoded([text for text, _ in ranked], [figures for _, figures in ranked], odds)


@dataclass
class _Spans:
    """Spans of context tokens, `[rows, n]`, each row sorted by score (best first), start, end. Score -inf: no span."""

    scores: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    start_logits: np.ndarray

    def take(self, rows: np.ndarray) -> _Spans:
        return _Spans(*(array[rows] for array in vars(self).values()))

    def put(self, rows: np.ndarray, spans: _Spans) -> None:
        for mine, array in zip(vars(self).values(), vars(spans).values(), strict=True):
            mine[rows] = array

    def merged(self, other: _Spans) -> _Spans:
        """The n best spans of both, in each row."""
        n = self.scores.shape[1]
        both = [np.concatenate(pair, axis=1) for pair in zip(vars(self).values(), vars(other).values(), strict=True)]
        scores, starts, ends, _ = both
        order = np.lexsort((ends, starts, -scores), axis=1)[:, :n]
        return _Spans(*(np.take_along_axis(array, order, axis=1) for array in both))

    def widened(self, n: int) -> _Spans:
        """The same spans in `n` columns, filled up with no spans, as short contexts have fewer."""
        missing = n - self.scores.shape[1]
        fill = (-np.inf, 0, 0, 0)
        return _Spans(*(
            np.pad(array, ((0, 0), (0, missing)), constant_values=value)
            for array, value in zip(vars(self).values(), fill, strict=True)
        ))  # fmt: skip


def _largest(values: np.ndarray, n: int) -> np.ndarray:
    """`[rows, n]`: indices of the n largest values of each row, largest first; among equal values the earlier first."""
    if values.shape[1] > n:
        # Sorting all of them would take several times as long as finding the n-th.
        threshold = np.partition(values, -n, axis=1)[:, -n, None]
        larger, equal = values > threshold, values == threshold
        missing = n - larger.sum(axis=1, keepdims=True)
        chosen = larger | (equal & (equal.cumsum(axis=1) <= missing))
        columns = np.nonzero(chosen)[1].reshape(len(values), n)
    else:
        columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    order = np.argsort(-np.take_along_axis(values, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
