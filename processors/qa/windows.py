"""Question answering: each context and each question is tokenized once, and windows are cut by arithmetic.

A row is `[CLS] question [SEP] window [SEP]`, or has the special tokens that the tokenizer puts around a pair. All
lengths are in tokens: `max_seq_length` is the whole row's, `max_query_length` the question's, and `doc_stride` the step
from one window to the next, as in the SQuAD example of transformers 2, which KoELECTRA and KoBigBird used. (The
`stride` of today's tokenizers is the overlap of two windows.)
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from processors.features import (
    MappedTable,
    SpecialTokens,
    cached_table,
    empty_batch,
    in_processes,
    native_encodings,
    tokenizer_fingerprint,
)
from processors.qa.answer_scores import normalize
from processors.qa.questions import UNANSWERABLE, Questions, shown, words_at
from processors.task import SHOWN_ROWS, DataError

CHARACTERS_IN_BATCH = 100_000  # the tokenizer's output takes a thousand bytes for each character
TEXT_SCHEMA = pa.schema({"input_ids": pa.list_(pa.int32()), "unknown_tokens": pa.int32()})
# starts, ends: the characters of the text that a token stands for, end excluded
SPAN_SCHEMA = pa.schema(
    [*TEXT_SCHEMA, pa.field("starts", pa.list_(pa.int32())), pa.field("ends", pa.list_(pa.int32()))]
)


def tokenized(texts: list[str], tokenizer, with_spans: bool, cache_dir: Path, threads: int = 1) -> MappedTable:
    """The tokens of each text, without special tokens and without truncation, cached in `cache_dir`.

    with_spans: also which characters each token stands for. Raises DataError where the tokenizer cannot tell.
    """
    schema = SPAN_SCHEMA if with_spans else TEXT_SCHEMA

    def batches() -> Iterator[pa.RecordBatch]:
        return in_processes(_TextEncoder(tokenizer, with_spans), _slices(texts), threads)

    content = ["spans" if with_spans else "texts", tokenizer_fingerprint(tokenizer), texts]
    return cached_table(cache_dir, content, schema, batches, len(texts))


def _slices(texts: list[str]) -> Iterator[list[str]]:
    """Consecutive texts with at most CHARACTERS_IN_BATCH characters together; a longer text is alone in its slice."""
    first, characters = 0, 0
    for number, text in enumerate(texts):
        if number > first and characters + len(text) > CHARACTERS_IN_BATCH:
            yield texts[first:number]
            first, characters = number, 0
        characters += len(text)
    if first < len(texts):
        yield texts[first:]


@dataclass(frozen=True)
class _TextEncoder:
    """Tokenizes a slice of texts. It is pickled and sent to worker processes."""

    tokenizer: Any
    with_spans: bool

    def __call__(self, texts: list[str]) -> pa.RecordBatch:
        ids, spans = self._of_native(texts) if self.tokenizer.is_fast else self._of_python(texts)
        unknown = self.tokenizer.unk_token_id
        columns = {
            "input_ids": _lists(ids),
            "unknown_tokens": pa.array([row.count(unknown) for row in ids], pa.int32()),
        }
        if self.with_spans:
            pairs = [np.array(row, dtype=np.int32).reshape(-1, 2) for row in spans]
            columns |= {"starts": _lists([row[:, 0] for row in pairs]), "ends": _lists([row[:, 1] for row in pairs])}
        return pa.RecordBatch.from_pydict(columns, schema=SPAN_SCHEMA if self.with_spans else TEXT_SCHEMA)

    def _of_native(self, texts: list[str]) -> tuple[list[list[int]], list]:
        encodings = native_encodings(self.tokenizer, texts, self.with_spans)
        spans = [encoding.offsets for encoding in encodings] if self.with_spans else []
        pairs = zip(texts, spans, strict=self.with_spans)
        return [encoding.ids for encoding in encodings], [_whole_characters(*pair) for pair in pairs]

    def _of_python(self, texts: list[str]) -> tuple[list[list[int]], list]:
        if not hasattr(self.tokenizer, "tokenize_with_offsets"):
            raise DataError(
                f"{type(self.tokenizer).__name__} cannot tell which characters a token stands for, "
                "and answers are found by them"
            )
        pairs = [self.tokenizer.tokenize_with_offsets(text) for text in texts]
        return [self.tokenizer.convert_tokens_to_ids(tokens) for tokens, _ in pairs], [spans for _, spans in pairs]


def _whole_characters(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that end after whole characters. In decomposed text, a span from `tokenizers` may end inside one.

    Where a normalizer composes characters, a span may end after the initial of a decomposed syllable, for example. Its
    end moves to the end of the syllable.
    """
    if unicodedata.is_normalized("NFC", text):
        return spans
    whole = []
    next_starts = [start for start, _ in spans[1:]] + [len(text)]
    for (start, end), limit in zip(spans, next_starts, strict=True):
        while start < end < limit and _continues(text[end]):
            end += 1
        whole.append((start, end))
    return whole


def _continues(character: str) -> bool:
    """Whether it belongs to the character before it: a vowel or final of a syllable (U+1160-U+11FF), or a mark."""
    return "\u1160" <= character <= "\u11ff" or unicodedata.category(character).startswith("M")


def _lists(rows: list) -> pa.ListArray:
    """An Arrow list column, built from one flat array of values."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    flat = np.concatenate([np.zeros(0, np.int32), *(np.asarray(row, dtype=np.int32) for row in rows)])
    return pa.ListArray.from_arrays(offsets, flat)


@dataclass(frozen=True)
class Lengths:
    """The settings that determine how windows are cut; see the docstring of this file."""

    max_seq_length: int
    doc_stride: int
    max_query_length: int

    def check(self, special_tokens: int) -> None:
        """Raises DataError where the longest question leaves no room, or where neighbouring windows do not overlap."""
        room = self.max_seq_length - self.max_query_length - special_tokens
        if room < 1:
            raise DataError(
                f"max_seq_length {self.max_seq_length} leaves no room for a context beside max_query_length "
                f"{self.max_query_length} and {special_tokens} special tokens"
            )
        if self.doc_stride >= room:
            raise DataError(
                f"doc_stride {self.doc_stride} must be smaller than the {room} tokens that max_seq_length "
                f"{self.max_seq_length} leaves for a context beside max_query_length {self.max_query_length}: "
                "an answer between two windows would be in neither"
            )


class QuestionFeatures:
    """All windows of all questions, as integers; rows of tokens are only assembled when a batch is made.

    question: `[W]`, the question that each window belongs to; the windows of a question follow one another.
    start, length: `[W]`, each window holds the tokens [start, start + length) of its context.
    windows_of_question: `[Q]`, the number of windows of each question. first_window: `[Q + 1]`, the first of them.
    lengths: `[W]`, tokens of the whole row, special tokens included.
    query_lengths: `[Q]`, tokens of each question, cut to `max_query_length`. cut_questions: how many were cut.
    unknown_share: [UNK] tokens as a share of all tokens of contexts and questions.
    """

    def __init__(self, questions: Questions, contexts: MappedTable, queries: MappedTable, special: SpecialTokens,
                 lengths: Lengths):  # fmt: skip
        self.questions, self.contexts, self.queries, self.special = questions, contexts, queries, special
        self.context_of = np.array(questions.context_of, dtype=np.int64)
        uncut = queries.lengths("input_ids").astype(np.int64)
        self.query_lengths = np.minimum(uncut, lengths.max_query_length)
        self.cut_questions = int((uncut > lengths.max_query_length).sum())
        tokens = contexts.lengths("input_ids").astype(np.int64)[self.context_of]
        room = lengths.max_seq_length - special.count - self.query_lengths
        windows = 1 + np.maximum(0, -(-(tokens - room) // lengths.doc_stride))
        self.windows_of_question = windows
        self.first_window = np.concatenate([[0], np.cumsum(windows)])
        self.question = np.repeat(np.arange(len(questions)), windows)
        number = np.arange(len(self.question)) - self.first_window[self.question]
        self.start = number * lengths.doc_stride
        self.length = np.minimum(room[self.question], tokens[self.question] - self.start)
        self.lengths = special.count + self.query_lengths[self.question] + self.length
        unknown = sum(int(table.numbers["unknown_tokens"].sum()) for table in (contexts, queries))
        all_tokens = sum(int(table.lengths("input_ids").sum()) for table in (contexts, queries))
        self.unknown_share = unknown / max(1, all_tokens)

    def __len__(self) -> int:
        return len(self.question)

    @property
    def content(self) -> str:
        """An identifier of the texts and their tokens. It does not cover the lengths by which windows are cut."""
        return f"{self.contexts.path.stem} {self.queries.path.stem}"

    def context_positions(self, windows: np.ndarray) -> np.ndarray:
        """`[B]`: the position of the window's first context token in its row."""
        return len(self.special.prefix) + self.query_lengths[self.question[windows]] + len(self.special.middle)

    def padded(self, windows: np.ndarray, pad_id: int, length: int | None = None) -> dict[str, np.ndarray]:
        """`input_ids`, `attention_mask` and `token_type_ids`, int64 `[B, L]`.

        L is `length`, or the length of the longest row.
        """
        batch = empty_batch(len(windows), length or int(self.lengths[windows].max()), pad_id)
        special = self.special
        for i, window in enumerate(windows):
            question, start = int(self.question[window]), int(self.start[window])
            query = self.queries.row("input_ids", question)[: int(self.query_lengths[question])]
            context = self.contexts.row("input_ids", int(self.context_of[question]))
            context = context[start : start + int(self.length[window])]
            at = 0
            parts = (special.prefix, query, special.middle, context, special.suffix)
            for part, type_id in zip(parts, special.types, strict=True):
                batch["input_ids"][i, at : at + len(part)] = part
                batch["token_type_ids"][i, at : at + len(part)] = type_id
                at += len(part)
            batch["attention_mask"][i, :at] = 1
        return batch

    def text(self, question: int, first: int, last: int) -> str:
        """The characters of the context from token `first` to token `last` (included), both counted in the context."""
        context = int(self.context_of[question])
        start = int(self.contexts.row("starts", context)[first])
        end = int(self.contexts.row("ends", context)[last])
        return self.questions.contexts[context][start:end].strip()  # some tokens carry the space before their word

    def tokens_of(self, question: int, start: int, end: int) -> tuple[int, int, str]:
        """The first and last token that share a character with [start, end) of the context, and the text they span.

        Where no token does, the last comes before the first, and the text is empty.
        """
        context = int(self.context_of[question])
        first = int(self.contexts.row("ends", context).searchsorted(start, side="right"))
        last = int(self.contexts.row("starts", context).searchsorted(end, side="left")) - 1
        return first, last, self.text(question, first, last) if first <= last else ""

    def owned(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`[B]` each: the range [first, end) of tokens that a window owns, counted from the window's first token.

        A token is owned by the window that shows most context around it, the first of equals. As in BERT's
        run_squad.py, context is the number of tokens on the shorter side plus a hundredth of the window's length. An
        answer may start only at a token that its window owns, so that no span is counted twice.
        """
        length = self.length[windows]
        if (self.windows_of_question[self.question[windows]] == 1).all():
            return np.zeros_like(length), length
        columns = np.arange(length.max(initial=0))
        tokens, inside = self.start[windows][:, None] + columns, columns < length[:, None]

        def context_in(step: int) -> np.ndarray:
            """`[B, L]`: 100 times each token's context in the window `step` places later; -1 if it is not in there."""
            others = np.clip(windows + step, 0, len(self) - 1)
            is_there = (others == windows + step) & (self.question[others] == self.question[windows])
            start, length = self.start[others][:, None], self.length[others][:, None]
            sides = np.minimum(tokens - start, start + length - 1 - tokens)
            return np.where(is_there[:, None] & (sides >= 0), 100 * sides + length, -1)

        # Comparing with the neighbours suffices: windows further away show less of a token's context.
        here, before, after = context_in(0), context_in(-1), context_in(1)
        return (inside & (before >= here)).sum(axis=1), length - (inside & (after > here)).sum(axis=1)


@dataclass(frozen=True)
class GoldSpans:
    """The tokens of each question's first answer.

    first, last: `[Q]` tokens of the context, both included; -1 where there is no answer or it could not be found.
    inexact: messages about answers that begin or end inside a token. As in KoELECTRA, the tokens of all words that the
    answer is in are taken for it.
    """

    first: np.ndarray
    last: np.ndarray
    inexact: list[str]

    @classmethod
    def of(cls, features: QuestionFeatures) -> GoldSpans:
        """Finds the tokens of each question's first answer."""
        questions, inexact = features.questions, []
        first, last = (np.full(len(questions), -1, dtype=np.int64) for _ in range(2))
        for question, span in enumerate(questions.spans):
            if span == UNANSWERABLE:
                continue
            answer = questions.answers[question][0]
            a, b, held = features.tokens_of(question, *span)
            if normalize(held) != normalize(answer):
                words = words_at(questions.contexts[questions.context_of[question]], *span)
                a, b, held = features.tokens_of(question, *words)
                inexact.append(f"{questions.ids[question]!r}: {shown(held)} for {shown(answer)}")
            if a <= b:
                first[question], last[question] = a, b
        return cls(first, last, inexact)

    def positions(self, features: QuestionFeatures, windows: np.ndarray) -> np.ndarray:
        """`[B, 2]`: the answer's first and last position in each row; 0 ([CLS]) unless the window holds all of it."""
        question, start = features.question[windows], features.start[windows]
        first, last = self.first[question] - start, self.last[question] - start
        inside = (first >= 0) & (last < features.length[windows]) & (self.first[question] >= 0)
        at = features.context_positions(windows)
        return np.where(inside[:, None], np.stack([first + at, last + at], axis=1), 0)

    def in_no_window(self, features: QuestionFeatures) -> int:
        """How many answers are whole in no window, as they are longer than the overlap of neighbouring windows."""
        held = self.positions(features, np.arange(len(features)))[:, 0] > 0
        return np.count_nonzero(self.first >= 0) - len(np.unique(features.question[held]))

    def report(self) -> str:
        """A message about the inexact answers; empty where there are none."""
        if not self.inexact:
            return ""
        more = ", ..." if len(self.inexact) > SHOWN_ROWS else ""
        shown = "; ".join(self.inexact[:SHOWN_ROWS])
        return f"answers that tokens do not hold exactly: {len(self.inexact)} ({shown}{more})"


def build_question_features(
    questions: Questions,
    tokenizer,
    lengths: Lengths,
    cache_dir: Path,
    threads: int = 1,
    special: SpecialTokens | None = None,
) -> QuestionFeatures:
    """Tokenizes contexts and questions, or takes them from `cache_dir`, and cuts windows.

    special: the tokens around question and window; None: those that the tokenizer adds.
    Raises DataError where the lengths contradict one another, or the tokenizer cannot tell which characters a token
    stands for.
    """
    special = special or SpecialTokens.of(tokenizer, pair=True)
    lengths.check(special.count)
    contexts = tokenized(questions.contexts, tokenizer, True, cache_dir, threads)
    queries = tokenized(questions.texts, tokenizer, False, cache_dir, threads)
    return QuestionFeatures(questions, contexts, queries, special, lengths)
