"""How KoELECTRA made question-answering features and answers: a plain reference to measure against.

`WordPiece`, `Featurizer` and `decode` are written anew after the SQuAD example of transformers 2, with the same work in
the same order: a tokenizer in Python, a loop over characters to find words, every word of the context tokenized by
itself, once for every question, lists and dictionaries for every window, all pairs of the n best starts and ends looked
at one by one, and every answer's text put together from tokens and found again in the context. Features come out twice
as fast as from that code, which looks up its special tokens anew for every word and goes through three methods for
every id; answers come out as fast. (`benchmarks/transformers_2.py` runs that code.)
"""

from __future__ import annotations

import math
import string
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from processors.qa.windows import QuestionFeatures

SPECIAL_TOKENS = ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]")
WHITE_SPACE = " \t\r\n\u202f"
# Blocks of Unicode: Unified Ideographs, their extensions A to E, and the compatibility ones.
CHINESE = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)),
    *((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


@dataclass
class Window:
    """A row of `max_seq_length` tokens, and what decoding needs to know of it.

    tokens: without padding. outside: 1 where no answer can be (XLNet's p_mask). start, length: the window's tokens of
    the context. word_of, is_max_context: by position in the row. start_position, end_position: the gold answer's first
    and last token; of [CLS] where the window lacks a part.
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
    start_position: int = 0
    end_position: int = 0


class WordPiece:
    """Tokenizes as BERT does where it keeps case: at white space, punctuation and Chinese characters, then greedily."""

    def __init__(self, id_of: dict[str, int]):
        self.id_of = id_of
        self.token_of = {id: token for token, id in id_of.items()}

    def __call__(self, text: str) -> list[str]:
        """Special tokens in the text stay whole."""
        parts = [text.strip()]
        for special in SPECIAL_TOKENS:
            if special in text:
                parts = [piece for part in parts for piece in _split_around(part, special)]
        tokens: list[str] = []
        for part in parts:
            if part in SPECIAL_TOKENS:
                tokens.append(part)
            else:
                for piece in pieces_of(part):
                    tokens.extend(self._of_piece(piece))
        return tokens

    def _of_piece(self, piece: str) -> list[str]:
        if len(piece) > 100:
            return ["[UNK]"]
        characters = list(piece)
        tokens = []
        start = 0
        while start < len(characters):
            end = len(characters)
            while start < end:
                token = "".join(characters[start:end])
                if start > 0:
                    token = "##" + token
                if token in self.id_of:
                    break
                end -= 1
            else:
                return ["[UNK]"]
            tokens.append(token)
            start = end
        return tokens

    def ids(self, tokens: list[str]) -> list[int]:
        return [self.id_of.get(token, self.id_of["[UNK]"]) for token in tokens]

    def tokens(self, ids: list[int]) -> list[str]:
        return [self.token_of[id] for id in ids]


def _split_around(text: str, special: str) -> list[str]:
    if text in SPECIAL_TOKENS:
        return [text]
    parts = []
    for number, part in enumerate(text.split(special)):
        parts += ([special] if number else []) + ([part] if part.strip() else [])
    return parts


def pieces_of(text: str) -> list[str]:
    """A text's words, and each punctuation mark and Chinese character by itself: one pass after the other."""
    words = "".join(_spaced(character) for character in _cleaned(text)).split()
    return [piece for word in words for piece in _split_at_punctuation(word)]


def _cleaned(text: str) -> str:
    cleaned = []
    for character in text:
        if ord(character) in (0, 0xFFFD) or _is_control(character):
            continue
        cleaned.append(" " if _is_space(character) else character)
    return "".join(cleaned)


def _spaced(character: str) -> str:
    code = ord(character)
    return f" {character} " if any(first <= code <= last for first, last in CHINESE) else character


def _split_at_punctuation(word: str) -> list[str]:
    if word in SPECIAL_TOKENS:
        return [word]
    pieces: list[list[str]] = []
    is_new = True
    for character in word:
        if _is_punctuation(character):
            pieces.append([character])
            is_new = True
        else:
            if is_new:
                pieces.append([])
            is_new = False
            pieces[-1].append(character)
    return ["".join(piece) for piece in pieces]


def _is_space(character: str) -> bool:
    return character in " \t\n\r" or unicodedata.category(character) == "Zs"


def _is_control(character: str) -> bool:
    return character not in "\t\n\r" and unicodedata.category(character).startswith("C")


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


@dataclass(frozen=True)
class Featurizer:
    """The settings are those of `processors.qa_features.Lengths`."""

    tokenizer: WordPiece
    max_seq_length: int
    doc_stride: int
    max_query_length: int

    def windows(self, question: str, context: str, answer: str | None, answer_start: int) -> list[Window]:
        """answer: None where there is none."""
        words, word_at = words_of(context)
        tokens: list[str] = []
        word_of: list[int] = []
        first_token: list[int] = []
        for number, word in enumerate(words):
            first_token.append(len(tokens))
            for token in self.tokenizer(word):
                tokens.append(token)
                word_of.append(number)
        first = last = -1
        if answer is not None:
            first_word = word_at[answer_start]
            last_word = word_at[min(answer_start + len(answer), len(word_at)) - 1]
            first = first_token[first_word]
            last = first_token[last_word + 1] - 1 if last_word + 1 < len(words) else len(tokens) - 1
            first, last = self._narrowed(tokens, first, last, answer)

        query = self.tokenizer.ids(self.tokenizer(question))[: self.max_query_length]
        windows: list[Window] = []
        rest = tokens
        while not windows or windows[-1].start + windows[-1].length < len(tokens):
            window, rest = self._window(query, rest, word_of, len(windows) * self.doc_stride)
            windows.append(window)
        context_at = len(query) + 2
        for number, window in enumerate(windows):
            for i in range(window.length):
                window.is_max_context[context_at + i] = _is_max_context(windows, number, window.start + i)
            if window.start <= first and last < window.start + window.length:
                window.start_position = first - window.start + context_at
                window.end_position = last - window.start + context_at
        return windows

    def _narrowed(self, tokens: list[str], first: int, last: int, answer: str) -> tuple[int, int]:
        """The first stretch within the answer's words whose tokens are those of the answer alone, if there is one."""
        wanted = " ".join(self.tokenizer(answer))
        for start in range(first, last + 1):
            for end in range(last, start - 1, -1):
                if " ".join(tokens[start : end + 1]) == wanted:
                    return start, end
        return first, last

    def _window(self, query: list[int], rest: list[str], word_of: list[int], start: int) -> tuple[Window, list[str]]:
        """The window of the context's tokens from `start` on, which `rest` holds, and what is left for later ones."""
        id_of = self.tokenizer.id_of
        context = self.tokenizer.ids(rest)
        length = min(len(context), self.max_seq_length - len(query) - 3)
        ids = [id_of["[CLS]"], *query, id_of["[SEP]"], *context[:length], id_of["[SEP]"]]
        special = [int(id in (id_of["[CLS]"], id_of["[SEP]"])) for id in ids]
        padding = [0] * (self.max_seq_length - len(ids))
        context_at = len(query) + 2
        window = Window(
            input_ids=ids + [id_of["[PAD]"]] * len(padding),
            attention_mask=[1] * len(ids) + padding,
            token_type_ids=[0] * context_at + [1] * (length + 1) + padding,
            tokens=self.tokenizer.tokens(ids),
            outside=[0] + [1] * (context_at - 1) + special[context_at:] + [1] * len(padding),
            start=start,
            length=length,
            word_of={context_at + i: word_of[start + i] for i in range(length)},
        )
        return window, self.tokenizer.tokens(context[self.doc_stride :])


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
    context: str,
    n_best: int,
    max_answer_length: int,
) -> list[tuple[str, float, float]]:
    """The n best answers of one question: text, score, probability. logits: start and end logits of each window."""
    words, _ = words_of(context)
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
        tokens = " ".join(window.tokens[start : end + 1]).replace(" ##", "").strip()
        text = _in_context(tokens, " ".join(words[window.word_of[start] : window.word_of[end] + 1]))
        if text not in best:
            best[text] = start_logit + end_logit
    return [(text, *figures) for text, figures in zip(best, _with_probabilities(list(best.values())), strict=True)]


def _in_context(answer: str, words: str) -> str:
    """The part of `words` that an answer put together from tokens stands for; all where it cannot be found."""
    spread = " ".join(pieces_of(words))
    start = spread.find(answer)
    where_in_words = [i for i, character in enumerate(words) if character != " "]
    where_in_spread = [i for i, character in enumerate(spread) if character != " "]
    if start < 0 or len(where_in_words) != len(where_in_spread):
        return words
    number_of = {at: number for number, at in enumerate(where_in_spread)}
    first, last = number_of.get(start), number_of.get(start + len(answer) - 1)
    if first is None or last is None:
        return words
    return words[where_in_words[first] : where_in_words[last] + 1]


def _best_positions(logits: list[float], n: int) -> list[int]:
    ranked = sorted(enumerate(logits), key=lambda pair: pair[1], reverse=True)
    return [position for position, _ in ranked[:n]]


def _with_probabilities(scores: list[float]) -> list[tuple[float, float]]:
    weights = [math.exp(score - scores[0]) for score in scores]
    total = sum(weights)
    return [(score, weight / total) for score, weight in zip(scores, weights, strict=True)]


def check_rows(
    name: str, windows: list[list], features: QuestionFeatures, positions: np.ndarray, pad_id: int
) -> list[bool]:
    """Whether the answer of each window is where ours is. Exits where a row is not ours, token by token."""
    same_answer = []
    for question, of_question in enumerate(windows):
        first, end = features.first_window[question : question + 2]
        if not of_question and name == "transformers_2":
            continue  # the original drops the answer when it cannot find it
        if len(of_question) != end - first:
            sys.exit(f"question {question}: {name} makes {len(of_question)} windows, we {end - first}")
        for number, window in enumerate(of_question, start=first):
            row = features.padded(np.array([number]), pad_id, len(window.input_ids))
            for column, array in row.items():
                if array[0].tolist() != list(getattr(window, column)):
                    sys.exit(f"window {number}: {column} of {name} is not ours")
            same_answer.append([window.start_position, window.end_position] == positions[number].tolist())
    return same_answer


def check_answers(name: str, same_answer: list[bool]) -> None:
    """Exits where the answers are elsewhere."""
    if np.mean(same_answer) < 0.99:
        sys.exit(f"only {np.mean(same_answer):.1%} of the answers of {name} are where ours are")
    print(f"{name}: {len(same_answer)} windows, all equal to ours; {np.mean(same_answer):.2%} of the answers are")
