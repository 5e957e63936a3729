"""How KoELECTRA made question-answering features and answers: a plain reference to measure against.

Written anew after the SQuAD example of transformers 2, with the same work in the same order: a loop over characters to
find words, every word of the context tokenized by itself, once for every question, lists and dictionaries for every
window, and all pairs of the n best starts and ends looked at one by one. Two things differ. Words go to the Rust
tokenizer (11 us a word; the Python tokenizer of transformers 2 took 14 us on the same machine). An answer's text is cut
out of the context by characters, not put together from tokens, which saves the reference that work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

WHITE_SPACE = " \t\r\n\u202f"


@dataclass
class Window:
    """A row of `max_seq_length` tokens, and what decoding needs to know of it.

    tokens: without padding. outside: 1 where no answer can be (XLNet's p_mask). start, length: the window's tokens of
    the context. word_of, is_max_context: by position in the row. answer: positions of the gold answer's first and last
    token; of [CLS] where the window lacks a part.
    """

    input_ids: list[int]
    attention_mask: list[int]
    token_type_ids: list[int]
    tokens: list[str]
    outside: list[int]
    start: int
    length: int
    word_of: dict[int, int]
    is_max_context: dict[int, bool] = field(default_factory=dict)
    answer: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Featurizer:
    """tokenize: a text's tokens. id_of: vocabulary. The rest as in `processors.qa_features.Lengths`."""

    tokenize: Callable[[str], list[str]]
    id_of: dict[str, int]
    max_seq_length: int
    doc_stride: int
    max_query_length: int

    def windows(self, question: str, context: str, answer: str, answer_start: int) -> list[Window]:
        words, word_at = words_of(context)
        tokens: list[str] = []
        word_of: list[int] = []
        first_token: list[int] = []
        for number, word in enumerate(words):
            first_token.append(len(tokens))
            for token in self.tokenize(word):
                tokens.append(token)
                word_of.append(number)
        first_word = word_at[answer_start]
        last_word = word_at[min(answer_start + len(answer), len(word_at)) - 1]
        first = first_token[first_word]
        last = first_token[last_word + 1] - 1 if last_word + 1 < len(words) else len(tokens) - 1
        first, last = self._narrowed(tokens, first, last, answer)

        query = self.tokenize(question)[: self.max_query_length]
        windows: list[Window] = []
        while not windows or windows[-1].start + windows[-1].length < len(tokens):
            start = len(windows) * self.doc_stride
            windows.append(self._window(query, tokens, word_of, start))
        context_at = len(query) + 2
        for number, window in enumerate(windows):
            for i in range(window.length):
                window.is_max_context[context_at + i] = _is_max_context(windows, number, window.start + i)
            if window.start <= first and last < window.start + window.length:
                window.answer = first - window.start + context_at, last - window.start + context_at
        return windows

    def _narrowed(self, tokens: list[str], first: int, last: int, answer: str) -> tuple[int, int]:
        """The first stretch within the answer's words whose tokens are those of the answer alone, if there is one."""
        wanted = " ".join(self.tokenize(answer))
        for start in range(first, last + 1):
            for end in range(last, start - 1, -1):
                if " ".join(tokens[start : end + 1]) == wanted:
                    return start, end
        return first, last

    def _window(self, query: list[str], context: list[str], word_of: list[int], start: int) -> Window:
        length = min(len(context) - start, self.max_seq_length - len(query) - 3)
        tokens = ["[CLS]", *query, "[SEP]", *context[start : start + length], "[SEP]"]
        ids = [self.id_of[token] for token in tokens]
        padding = [0] * (self.max_seq_length - len(ids))
        context_at = len(query) + 2
        special = [int(id in (self.id_of["[CLS]"], self.id_of["[SEP]"])) for id in ids]
        return Window(
            input_ids=ids + [self.id_of["[PAD]"]] * len(padding),
            attention_mask=[1] * len(ids) + padding,
            token_type_ids=[0] * context_at + [1] * (length + 1) + padding,
            tokens=tokens,
            outside=[0] + [1] * (context_at - 1) + special[context_at:] + [1] * len(padding),
            start=start,
            length=length,
            word_of={context_at + i: word_of[start + i] for i in range(length)},
        )


def words_of(context: str) -> tuple[list[str], list[int]]:
    """The words, and for each character the number of its word (of the one before, for white space)."""
    words: list[str] = []
    word_at: list[int] = []
    is_new = True
    for character in context:
        if character in WHITE_SPACE:
            is_new = True
        else:
            if is_new:
                words.append(character)
            else:
                words[-1] += character
            is_new = False
        word_at.append(len(words) - 1)
    return words, word_at


def _is_max_context(windows: list[Window], number: int, token: int) -> bool:
    """Whether a token of the context has most context in this window, of all that hold it."""
    best_score, best = -math.inf, -1
    for i, window in enumerate(windows):
        end = window.start + window.length - 1
        if token < window.start or token > end:
            continue
        score = min(token - window.start, end - token) + 0.01 * window.length
        if score > best_score:
            best_score, best = score, i
    return best == number


def decode(
    windows: Sequence[Window],
    logits: Sequence[tuple[list[float], list[float]]],
    text_of: Callable[[int, int], str],
    n_best: int,
    max_answer_length: int,
) -> list[tuple[str, float, float]]:
    """The n best answers of one question: text, score, probability.

    logits: start and end logits of each window. text_of: the text from one token of the context to another.
    """
    found = []
    for window, (start_logits, end_logits) in zip(windows, logits, strict=True):
        ends = _best_positions(end_logits, n_best)
        for start in _best_positions(start_logits, n_best):
            for end in ends:
                if start not in window.word_of or end not in window.word_of:
                    continue
                if not window.is_max_context.get(start, False):
                    continue
                if end < start or end - start + 1 > max_answer_length:
                    continue
                found.append((window, start, end, start_logits[start], end_logits[end]))
    found.sort(key=lambda span: span[3] + span[4], reverse=True)
    best: dict[str, float] = {}
    for window, start, end, start_logit, end_logit in found:
        if len(best) >= n_best:
            break
        shift = window.start - next(iter(window.word_of))
        text = text_of(start + shift, end + shift)
        if text not in best:
            best[text] = start_logit + end_logit
    return [(text, *figures) for text, figures in zip(best, _with_probabilities(list(best.values())), strict=True)]


def _best_positions(logits: list[float], n: int) -> list[int]:
    ranked = sorted(enumerate(logits), key=lambda pair: pair[1], reverse=True)
    return [position for position, _ in ranked[:n]]


def _with_probabilities(scores: list[float]) -> list[tuple[float, float]]:
    weights = [math.exp(score - scores[0]) for score in scores]
    total = sum(weights)
    return [(score, weight / total) for score, weight in zip(scores, weights, strict=True)]
