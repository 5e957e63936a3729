"""Span masking: whole words in spans, for the masked language model and the span boundary objective.

The defaults follow SpanBERT (Joshi et al., 2020, arXiv:1907.10529), section 3.1; `ORIGINAL` has the settings of the
Korean original (paul-hyun's transformer-evolution). Masks are drawn for a whole batch at once: lengths first, then
places for all spans of a row together. So the lengths follow the chosen law, and no span is dropped because its place
is too small for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from processors.pretraining.draws import Draws
from processors.pretraining.word_starts import mark_of_words, start_words

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1  # of the predicted tokens; the last tenth is not changed
# How many words are placed in spans for each word that fits into the budget. Words differ in their number of tokens, so
# with fewer some budget would be left (and much where spans are skipped). With more, spans that exceed the budget would
# fill short rows and shift the others.
WORDS_PLACED = {"cut": 1.3, "skip": 2.0}
LENGTHS, PLACES, DECISIONS, RANDOM_TOKENS = range(4)  # kinds of random numbers


@dataclass(frozen=True)
class SpanMasking:
    """How spans are drawn and masked.

    law: the distribution of a span's length n in words. geometric: p (1 - p)^(n - 1). inverse: 1 / n, as in the
        original. Both end at `longest`; the probability of longer spans is shared among the others in proportion (the
        paper's mean is 3.8 words).
    budget: share of a row's ordinary tokens to mask, rounded to whole tokens, and at least one.
    overrun: what happens to a span that exceeds the budget that is left. cut: it keeps the words that fit, and the row
        is finished, as in the paper's code (which also cuts inside words). skip: it is left out, and others are tried,
        as in the original: nearly all of the budget is used, but long spans are rarer than in the law.
    decision: [MASK], random tokens or no change (80/10/10) are drawn for each span, or, as in the original, each token.
    """

    law: Literal["geometric", "inverse"] = "geometric"
    p: float = 0.2
    longest: int = 10
    budget: float = 0.15
    overrun: Literal["cut", "skip"] = "cut"
    decision: Literal["span", "token"] = "span"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("law", self.law, ("geometric", "inverse")),
            ("overrun", self.overrun, ("cut", "skip")),
            ("decision", self.decision, ("span", "token")),
        ):
            if value not in choices:
                raise ValueError(f"{name} is {' or '.join(choices)}, not {value!r}")
        if not 0 < self.p < 1 or self.longest < 1 or not 0 < self.budget < 0.5:
            raise ValueError(
                "p lies between 0 and 1, longest is at least 1, budget lies between 0 and 0.5; "
                f"they are {self.p}, {self.longest}, {self.budget}"
            )

    def length_probabilities(self) -> np.ndarray:
        """`[longest]`: probability of each length, from one word on."""
        lengths = np.arange(1, self.longest + 1)
        weights = 1 / lengths if self.law == "inverse" else (1 - self.p) ** (lengths - 1.0)
        return weights / weights.sum()


ORIGINAL = SpanMasking(law="inverse", overrun="skip", decision="token")


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary of V tokens, with the properties that masking needs.

    starts_word: bool `[V]`. A word is a token that starts a word and all following tokens that do not.
    special: bool `[V]`. Special tokens are never masked, and neither are words that contain one.
    mask_id: the id of [MASK]. ordinary_ids: the ids of all other tokens but the special ones; random replacements are
        drawn from them.
    """

    starts_word: np.ndarray
    special: np.ndarray
    mask_id: int
    ordinary_ids: np.ndarray

    @classmethod
    def of_tokens(
        cls, tokens: Sequence[str], special_ids: Iterable[int], mask_id: int, unk_id: int | None = None
    ) -> Vocabulary:
        """Makes it from the tokens in the order of their ids.

        The vocabulary may be SentencePiece's or byte-level BPE's, which mark the first token of words (`▁학교 에서`,
        `Ġ`), or WordPiece's, which marks the others (`학교 ##에서`; HanBERT: `학교 ~~에서`).

        Raises ValueError where there are no ordinary tokens, or where [MASK] is not in the vocabulary.
        """
        if not 0 <= mask_id < len(tokens):
            raise ValueError(f"[MASK] has the id {mask_id}, and the vocabulary {len(tokens)} tokens")
        special = np.zeros(len(tokens), dtype=bool)
        special[[*special_ids, mask_id]] = True
        starts_word = start_words(tokens) | special
        if mark_of_words(tokens) and unk_id is not None:
            starts_word[unk_id] = False  # [UNK] is a part of a word here; WordPiece's is a whole word
        ordinary_ids = np.flatnonzero(~special)
        if not len(ordinary_ids):
            raise ValueError("the vocabulary holds special tokens only")
        return cls(starts_word, special, mask_id, ordinary_ids)


@dataclass(frozen=True)
class MaskedSpans:
    """A masked batch, and the M tokens to predict, in the order of rows and columns.

    input_ids: int64 `[B, L]`. All others are int64 `[M]`:
    rows, columns: the place of each token. labels: its id before masking.
    left_boundaries, right_boundaries: columns of the tokens before and after its span, which are never masked.
    positions: the token's position in its span, from 1, that is its distance from the left boundary.
    """

    input_ids: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    labels: np.ndarray
    left_boundaries: np.ndarray
    right_boundaries: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class _Words:
    """The N words of a batch that may be masked, row by row.

    first, end: int64 `[N]`; a word is the tokens [first, end) of the flattened batch.
    row_starts: `[B]`, the number of each row's first word. counts, tokens: `[B]`, how many words each row has, and how
        many tokens these have together.
    """

    first: np.ndarray
    end: np.ndarray
    row_starts: np.ndarray
    counts: np.ndarray
    tokens: np.ndarray

    def run_ends(self, words: np.ndarray) -> np.ndarray:
        """For each of `words`, the first later word that does not directly follow the word before it."""
        breaks = np.append(np.flatnonzero(self.first[1:] != self.end[:-1]) + 1, len(self.first))
        return breaks[np.searchsorted(breaks, words, side="right")]


def mask_spans(
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    vocabulary: Vocabulary,
    settings: SpanMasking,
    draws: Draws,
) -> MaskedSpans:
    """Masks spans of whole words in a batch; SpanBERT, section 3.1.

    input_ids, attention_mask: int64 `[B, L]`; places where the mask is 0 (also inside a row) are never masked, nor are
    the tokens next to them. Two spans of a row have at least one token between them, which may be a boundary of both.

    A row's first span keeps at least its first word, whatever the budget, so that short rows are used too. Words with
    more than half of a row's ordinary tokens are never masked (except for the only token of a row), and neither is the
    rest of a word that started before the row.

    For the same draws, a row's masks do not depend on the other rows of the batch.
    """
    real = attention_mask != 0
    ordinary = real & ~vocabulary.special[input_ids]
    ordinary_counts = np.count_nonzero(ordinary, axis=1)
    words = _find_words(vocabulary.starts_word[input_ids], real, ordinary, np.maximum(1, ordinary_counts // 2))
    budgets = np.maximum(1, np.rint(settings.budget * ordinary_counts)).astype(np.int64)
    starts, ends = _draw_spans(words, budgets, settings, draws)
    return _mask(input_ids, words.first[starts], words.end[ends - 1], vocabulary, settings.decision, draws)


def _find_words(starts_word: np.ndarray, real: np.ndarray, ordinary: np.ndarray, longest: np.ndarray) -> _Words:
    """The words of at most `longest` tokens, int64 `[B]`, that have only ordinary tokens, and real ones on both sides.

    The other arguments are bool `[B, L]`.
    """
    batch, length = real.shape
    # The batch is cut where a word starts, and at every token that is not ordinary. A word is whole if its first token
    # is ordinary and the next cut is not at a token inside it.
    is_cut = starts_word | ~ordinary
    is_cut[:, :1] = True
    may_be_first = np.zeros_like(real)
    may_be_first[:, 1:] = ordinary[:, 1:] & real[:, :-1]
    may_follow = np.zeros(real.size + 1, dtype=bool)
    may_follow[:-1].reshape(real.shape)[:, 1:] = (starts_word & real)[:, 1:]
    cuts = np.append(np.flatnonzero(is_cut), real.size)
    is_whole = may_be_first.reshape(-1)[cuts[:-1]] & may_follow[cuts[1:]]
    first, end = cuts[:-1][is_whole], cuts[1:][is_whole]
    row = first // max(length, 1)
    is_short = end - first <= longest[row]
    if not is_short.all():
        first, end, row = first[is_short], end[is_short], row[is_short]
    row_starts = np.searchsorted(row, np.arange(batch))
    tokens = np.bincount(row, weights=end - first, minlength=batch)
    return _Words(first, end, row_starts, np.diff(row_starts, append=len(row)), tokens)


def _draw_spans(
    words: _Words, budgets: np.ndarray, settings: SpanMasking, draws: Draws
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the spans: the first word of each, and the word after its last, ascending."""
    probabilities = settings.length_probabilities()
    mean_length = probabilities @ np.arange(1, settings.longest + 1)
    paid_for = np.ceil(budgets * words.counts / np.maximum(words.tokens, 1))
    wanted = np.maximum(1, np.floor(WORDS_PLACED[settings.overrun] * paid_for))
    # The limit of spans depends on each row alone, although the same number is drawn for all rows.
    most = np.ceil((WORDS_PLACED["skip"] * paid_for + settings.longest) / mean_length).astype(np.int64)
    rows, number = np.arange(len(budgets))[:, None], np.arange(most.max(initial=0))

    uniform = draws.uniform(LENGTHS, rows, number)
    drawn = 1 + np.searchsorted(np.cumsum(probabilities)[:-1], uniform, side="right")
    # Spans longer than the whole budget would be cut or skipped at any place.
    lengths = np.minimum(drawn, np.minimum(np.maximum(paid_for, 1), words.counts).astype(np.int64)[:, None])
    is_skipped = (settings.overrun == "skip") & (drawn > lengths)
    lengths[:, 1:][is_skipped[:, 1:]] = 0  # the first span keeps its place, as its first word may have to be masked
    lengths[number >= most[:, None]] = 0
    places, is_placed = _place(lengths, wanted, words.counts, draws.uniform(PLACES, rows, number))

    placed = np.flatnonzero(is_placed)  # in the order of rows and draws
    row, draw = np.divmod(placed, max(len(number), 1))
    starts = words.row_starts[row] + places.reshape(-1)[placed]
    ends = np.minimum(starts + lengths.reshape(-1)[placed], words.run_ends(starts))
    first = words.first[starts]
    costs = np.zeros(lengths.shape, dtype=np.int64)
    costs.reshape(-1)[placed] = words.end[ends - 1] - first
    if settings.overrun == "cut":
        left = budgets[:, None] - np.cumsum(costs, axis=1) + costs
    else:
        costs[is_skipped] = np.iinfo(np.int32).max
        left = _left_without_skipped(costs, is_placed, budgets)
    left = left.reshape(-1)[placed]
    ends[left <= 0] = starts[left <= 0]
    cut = np.flatnonzero((left > 0) & (left < costs.reshape(-1)[placed]))
    ends[cut] = np.searchsorted(words.end, first[cut] + left[cut], side="right")
    # Where nothing else is masked in a row, the first word of its first span is, whatever it costs.
    nothing_else = np.ones(len(budgets), dtype=bool)
    nothing_else[row[ends > starts]] = False
    ends = np.where((draw == 0) & nothing_else[row], starts + 1, ends)
    taken = ends > starts
    starts, ends = starts[taken], ends[taken]
    ascending = np.argsort(starts)
    return starts[ascending], ends[ascending]


def _place(
    lengths: np.ndarray, wanted: np.ndarray, counts: np.ndarray, uniform: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places spans of `lengths`, `[B, K]` words, in rows of `counts` words, with at least one word between two spans.

    Returns the word of its row at which each span starts, and which spans are placed: in the order of the draws, as
    long as there are fewer than `wanted` words and the row has room. The places in a row are drawn together: each span
    gets a uniform number of free words before it, and the spans are sorted by these numbers; ties are broken at random.
    """
    batch, spans = lengths.shape
    number = np.arange(spans)
    total = np.cumsum(lengths, axis=1)
    is_placed = (total + number <= counts[:, None]) & (total - lengths < wanted[:, None]) & (lengths > 0)
    free = counts - (lengths * is_placed).sum(axis=1) - np.maximum(is_placed.sum(axis=1) - 1, 0)
    before = (uniform * (free + 1)[:, None]).astype(np.int64)
    order = np.argsort(np.where(is_placed, uniform, 2.0), axis=1) + spans * np.arange(batch)[:, None]
    in_order = lengths.reshape(-1)[order]
    places = np.empty(lengths.size, dtype=np.int64)
    places[order] = before.reshape(-1)[order] + np.cumsum(in_order, axis=1) - in_order + number
    return places.reshape(lengths.shape), is_placed


def _left_without_skipped(costs: np.ndarray, is_placed: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """`[B, K]`: the budget left before each span that is taken; 0 for each that is skipped because it costs more."""
    left, remaining = np.zeros_like(costs), budgets.copy()
    for draw in range(costs.shape[1]):
        fits = is_placed[:, draw] & (costs[:, draw] <= remaining)
        left[:, draw] = remaining * fits
        remaining -= costs[:, draw] * fits
    return left


def _mask(
    input_ids: np.ndarray,
    first: np.ndarray,
    end: np.ndarray,
    vocabulary: Vocabulary,
    decision: str,
    draws: Draws,
) -> MaskedSpans:
    """Masks the spans [first, end) of the flattened batch, ascending, `[S]` each."""
    length = input_ids.shape[1]
    sizes = end - first
    span = np.repeat(np.arange(len(first)), sizes)
    positions = 1 + np.arange(len(span)) - (np.cumsum(sizes) - sizes)[span]
    tokens = first[span] + positions - 1
    masked = input_ids.reshape(-1).copy()
    labels = masked[tokens]
    rows = (first // max(length, 1))[span]
    row_starts = rows * length
    columns = tokens - row_starts
    uniform = draws.uniform(DECISIONS, rows, columns - positions if decision == "span" else columns)
    becomes_random = (uniform >= MASKED_SHARE) & (uniform < MASKED_SHARE + RANDOM_SHARE)
    masked[tokens[uniform < MASKED_SHARE]] = vocabulary.mask_id
    which = draws.uniform(RANDOM_TOKENS, rows[becomes_random], columns[becomes_random])
    ordinary = vocabulary.ordinary_ids
    masked[tokens[becomes_random]] = ordinary[(which * len(ordinary)).astype(np.int64)]
    return MaskedSpans(
        input_ids=masked.reshape(input_ids.shape),
        rows=rows,
        columns=columns,
        labels=labels,
        left_boundaries=first[span] - 1 - row_starts,
        right_boundaries=end[span] - row_starts,
        positions=positions,
    )
