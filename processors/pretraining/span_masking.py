"""Span masking: whole words in spans, for the masked language model and the span boundary objective.

SpanBERT (Joshi et al., 2020, arXiv:1907.10529), section 3.1, is the default; the settings have what the Korean original
(paul-hyun's transformer-evolution) did differently. Masks are drawn for a whole batch at once: lengths first, then
places for all spans of a row together, so that the lengths are those of the law, and none is thrown away because it
would not fit where it fell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from processors.pretraining.draws import Draws
from processors.pretraining.word_starts import mark_of_words, start_words

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1  # of what is predicted; the last tenth stays as it is
# Words in spans for each word that the budget pays for. As words differ in tokens, fewer would leave some of it unspent
# (and much where spans are skipped); more would fill short rows, and spans that are not paid for push others about.
WORDS_PLACED = {"cut": 1.3, "skip": 2.0}
LENGTHS, PLACES, DECISIONS, RANDOM_TOKENS = range(4)  # kinds of draws


@dataclass(frozen=True)
class SpanMasking:
    """How spans are drawn and masked.

    law: of a span's length n in words. geometric: p (1 - p)^(n - 1); inverse: 1 / n, as the original. Both end at
        `longest`, and what lies above is shared among the rest in proportion (mean of the paper's: 3.8 words).
    budget: share of a row's ordinary tokens to be masked; to whole tokens, and at least one.
    overrun: what becomes of a span for which too little of the budget is left. cut: it keeps the words that are paid
        for, and the row is done, as in the paper's code (which cuts inside words too). skip: it is left out, and others
        are tried, as the original: nearly all is spent, but long spans are rarer than the law has them.
    decision: whether a span becomes [MASK], random tokens, or stays (80/10/10), or each token of it, as the original.
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
    """What masking has to know of a vocabulary of V tokens.

    starts_word: bool `[V]`. A word is a token that starts one, and all after it that do not.
    special: bool `[V]`. These are never masked, nor is a word that has one in it.
    mask_id: of [MASK]. ordinary_ids: of all tokens but the special ones; random replacements are drawn from these.
    """

    starts_word: np.ndarray
    special: np.ndarray
    mask_id: int
    ordinary_ids: np.ndarray

    @classmethod
    def of_tokens(
        cls, tokens: Sequence[str], special_ids: Iterable[int], mask_id: int, unk_id: int | None = None
    ) -> Vocabulary:
        """The vocabulary whose token i is `tokens[i]`: SentencePiece's or byte-level BPE's, which mark where words
        start (`▁학교 에서`, `Ġ`), or WordPiece's, which marks where they go on (`학교 ##에서`; HanBERT: `학교 ~~에서`).

        Raises ValueError where there are no ordinary tokens, or where [MASK] is not in the vocabulary.
        """
        if not 0 <= mask_id < len(tokens):
            raise ValueError(f"[MASK] has the id {mask_id}, and the vocabulary {len(tokens)} tokens")
        special = np.zeros(len(tokens), dtype=bool)
        special[[*special_ids, mask_id]] = True
        starts_word = start_words(tokens) | special
        if mark_of_words(tokens) and unk_id is not None:
            starts_word[unk_id] = False  # stands for some characters of a word; WordPiece's for a whole word
        ordinary_ids = np.flatnonzero(~special)
        if not len(ordinary_ids):
            raise ValueError("the vocabulary holds special tokens only")
        return cls(starts_word, special, mask_id, ordinary_ids)


@dataclass(frozen=True)
class MaskedSpans:
    """A masked batch, and what is to be predicted: M tokens in the order of rows and columns.

    input_ids: int64 `[B, L]`. All others int64 `[M]`:
    rows, columns: where the token is. labels: what was there.
    left_boundaries, right_boundaries: columns of the tokens before and after its span, which are never masked.
    positions: of the token in its span, from 1: how far it is from the left boundary.
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
    """The words of a batch that may be masked, N in all, row by row.

    first, end: int64 `[N]`, tokens in the flattened batch, from the first to before the end.
    row_starts: `[B]`, the number of a row's first word. counts, tokens: `[B]`, how many words, and tokens in them.
    """

    first: np.ndarray
    end: np.ndarray
    row_starts: np.ndarray
    counts: np.ndarray
    tokens: np.ndarray

    def run_ends(self, words: np.ndarray) -> np.ndarray:
        """Up to which word (exclusively) the words follow one another without a gap, from each of `words` on."""
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

    input_ids, attention_mask: int64 `[B, L]`; where the mask is 0 (also in the middle of a row) nothing is masked, and
    nothing beside it. Two spans of a row have at least one token between them, which both may have as their boundary.

    A row's first span has at least its first word, whatever the budget, so that short rows are learned from too. Words
    of more than half of a row's ordinary tokens are never masked (but for the only token of a row of one), and neither
    is what is left of a word that started before the row.

    A row's masks are the same for the same draws, whatever stands beside it.
    """
    real = attention_mask != 0
    ordinary = real & ~vocabulary.special[input_ids]
    ordinary_counts = np.count_nonzero(ordinary, axis=1)
    words = _find_words(vocabulary.starts_word[input_ids], real, ordinary, np.maximum(1, ordinary_counts // 2))
    budgets = np.maximum(1, np.rint(settings.budget * ordinary_counts)).astype(np.int64)
    starts, ends = _draw_spans(words, budgets, settings, draws)
    return _mask(input_ids, words.first[starts], words.end[ends - 1], vocabulary, settings.decision, draws)


def _find_words(starts_word: np.ndarray, real: np.ndarray, ordinary: np.ndarray, longest: np.ndarray) -> _Words:
    """The words of at most `longest` tokens, `[B]`, that are ordinary throughout and have real tokens on both sides.

    The other arguments: bool `[B, L]`.
    """
    batch, length = real.shape
    # The batch is cut where a word starts, and at every token that is not ordinary. A word is whole where its first
    # token is ordinary, and the next cut is not due to a token in the midst of it.
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
    """First word and word after the last of each span, ascending."""
    probabilities = settings.length_probabilities()
    mean_length = probabilities @ np.arange(1, settings.longest + 1)
    paid_for = np.ceil(budgets * words.counts / np.maximum(words.tokens, 1))
    wanted = np.maximum(1, np.floor(WORDS_PLACED[settings.overrun] * paid_for))
    # How many spans a row may have depends on nothing but the row, though as many are drawn for all.
    most = np.ceil((WORDS_PLACED["skip"] * paid_for + settings.longest) / mean_length).astype(np.int64)
    rows, number = np.arange(len(budgets))[:, None], np.arange(most.max(initial=0))

    uniform = draws.uniform(LENGTHS, rows, number)
    drawn = 1 + np.searchsorted(np.cumsum(probabilities)[:-1], uniform, side="right")
    # Longer spans than the budget pays for would be cut, or skipped, wherever they were.
    lengths = np.minimum(drawn, np.minimum(np.maximum(paid_for, 1), words.counts).astype(np.int64)[:, None])
    is_skipped = (settings.overrun == "skip") & (drawn > lengths)
    lengths[:, 1:][is_skipped[:, 1:]] = 0  # the first has a place: one word of it is masked where nothing else is
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
    # The first word of the row's first span is masked whatever it costs, where nothing else is.
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
    """Places spans of those `lengths`, `[B, K]` words, in rows of `counts` words, one word or more between them.

    Returns the word in the row that each starts at, and which have a place: in the order of the draws, up to `wanted`
    words and to what the row holds. Where they are is drawn for all of a row together: every span gets a number of free
    words before it, uniformly, and they stand in the order of these numbers, or, where they are equal, of chance.
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
    """`[B, K]`: what is left of the budget where a span is taken, 0 where it is skipped, as it costs more."""
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
    """Masks the spans of the flattened batch that reach from `first` to before `end`, ascending, `[S]` each."""
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
