"""Questions and their windows from lengths alone, without a tokenizer; and which tokens a window owns, as in BERT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from processors.features import SpecialTokens
from processors.qa.questions import UNANSWERABLE, Questions
from processors.qa.windows import Lengths, QuestionFeatures

BERT = SpecialTokens([2], [3], [3], (0, 0, 0, 1, 1))
WIDE = Lengths(64, 16, 24)


def asked(contexts: Sequence[str], *rows: tuple) -> Questions:
    """Questions `(number of the context, question, where the answer starts, answer)`, the last two for an answer."""
    questions = Questions(contexts=list(contexts))
    for number, (context, text, *found) in enumerate(rows):
        questions.ids.append(f"q{number}")
        questions.texts.append(text)
        questions.context_of.append(context)
        questions.answers.append((found[1],) if found else ())
        questions.spans.append((found[0], found[0] + len(found[1])) if found else UNANSWERABLE)
    return questions


@dataclass
class Tokens:
    """Stands in for a MappedTable: token `i` of a text is `i`, and stands for the characters [2i, 2i + 2)."""

    counts: list[int]

    def __post_init__(self):
        self.numbers = {"unknown_tokens": np.zeros(len(self.counts), np.int32)}
        self.path = Path("none")

    def lengths(self, column: str) -> np.ndarray:
        return np.array(self.counts, np.int32)

    def row(self, column: str, index: int) -> np.ndarray:
        numbers = np.arange(self.counts[index], dtype=np.int32)
        return {"input_ids": numbers, "starts": 2 * numbers, "ends": 2 * numbers + 2}[column]


def cut(contexts: Sequence[int], queries: Sequence[tuple[int, int]], lengths: Lengths) -> QuestionFeatures:
    """Windows of contexts with these numbers of tokens, for queries `(number of the context, tokens)`."""
    questions = asked(["가" * 2 * count for count in contexts], *((context, "?") for context, _ in queries))
    return QuestionFeatures(questions, Tokens(list(contexts)), Tokens([size for _, size in queries]), BERT, lengths)


def windows_of(features: QuestionFeatures, question: int) -> list[tuple[int, int]]:
    of = features.question == question
    return list(zip(features.start[of].tolist(), features.length[of].tolist(), strict=True))


def owned_as_in_bert(windows: list[tuple[int, int]], tokens: int) -> list[list[int]]:
    """The tokens of each window by `_check_is_max_context` of run_squad.py, times a hundred."""
    owned: list[list[int]] = [[] for _ in windows]
    for token in range(tokens):
        best_score, best = None, None
        for number, (start, length) in enumerate(windows):
            if not start <= token < start + length:
                continue
            score = 100 * min(token - start, start + length - 1 - token) + length
            if best_score is None or score > best_score:
                best_score, best = score, number
        owned[best].append(token)
    return owned
