"""Recurring spans: finds the spans that occur several times in a row, and turns them into questions.

Splinter (Ram et al., 2021, arXiv:2101.00438), section 3: in each group of identical spans one is kept as the answer,
and a [QUESTION] token replaces each of the others. In KoSplinter, n-grams of earlier corpora can be left out.

    vocabulary = SplinterVocabulary.of_tokens(tokens, tokenizer.all_special_ids, question_id, pad_id, unk_id)
    selected = select_spans(input_ids, attention_mask, vocabulary, RecurringSpans(), draws)

Spans are found for a whole batch at once, one length after the other: positions with the same n-gram are grouped, and
only groups of at least two are examined again with one token more. Each length costs a sort of the positions that are
left, so that a row of one repeated token costs little more than any other.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from processors.pretraining.draws import Draws
from processors.pretraining.splinter_vocabulary import SplinterVocabulary

CLUSTERS, SPANS = range(2)  # kinds of random numbers


@dataclass(frozen=True)
class RecurringSpans:
    """Which spans count as recurring, and how many become questions; the defaults are Splinter's.

    longest: tokens in the longest span.
    first_member_only: keep or drop identical spans together, by whether the first of them ends at the end of a word.
        The original does this, and so also asks for parts of words. Otherwise each span must end at the end of a word.
    budget: questions in a row as a share of its real tokens, rounded, and at least one.
    most_questions: the largest number of questions in a row of any length.
    """

    longest: int = 10
    first_member_only: bool = False
    budget: float = 0.15
    most_questions: int = 30

    def __post_init__(self) -> None:
        if self.longest < 1 or self.most_questions < 1 or not 0 < self.budget < 1:
            raise ValueError(
                "longest and most_questions are at least 1, budget lies between 0 and 1; "
                f"they are {self.longest}, {self.most_questions}, {self.budget}"
            )

    def questions_in(self, tokens: np.ndarray | int) -> np.ndarray:
        """The largest number of questions in rows with so many real tokens: int64, shaped like `tokens`."""
        return np.minimum(self.most_questions, np.maximum(1, np.rint(self.budget * tokens))).astype(np.int64)


@dataclass(frozen=True)
class Clusters:
    """The recurring spans of a batch: C clusters of at least two identical spans, M spans in all.

    rows: int64 `[C]`, ascending. lengths: int64 `[C]`, tokens in each span; within a row the longest come first.
    offsets: int64 `[C + 1]`; the spans of cluster c are `starts[offsets[c] : offsets[c + 1]]`.
    starts: int64 `[M]`, the column of each span's first token, ascending within a cluster. No two spans overlap.
    """

    rows: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """`[C]`: the number of spans in each cluster."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class SelectedSpans:
    """A batch with Q questions, in the order of rows and columns; a row in which no span recurs has none.

    input_ids, attention_mask: int64 `[B, L]`. A question takes as many columns as the span that it replaces: [QUESTION]
    for the first token, and for each other token [PAD] with the mask 0.
    rows, columns: int64 `[Q]`, the place of each [QUESTION].
    starts, ends: int64 `[Q]`, columns of the first and the last token of its answer, in the same row.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


# --------------------------------------------------------------------------------------------------------------------
# Questions
# --------------------------------------------------------------------------------------------------------------------


def select_spans(
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    vocabulary: SplinterVocabulary,
    settings: RecurringSpans,
    draws: Draws,
    left_out: Set[bytes] = frozenset(),
) -> SelectedSpans:
    """Recurring span selection: Splinter, section 3.

    input_ids, attention_mask: int64 `[B, L]`; spans only contain tokens where the mask is not 0. left_out: n-grams that
    must not be used, in the form of `keys_of`.

    Clusters come in random order, and so do the spans of each cluster: the first span is kept as the answer, and
    questions replace the others, until the budget is spent. In the last cluster, some spans may stay as they are.

    A row in which no span recurs is returned unchanged, without questions. It teaches nothing, so callers may leave
    such rows out beforehand (`recurs_in`).

    For the same draws, a row's questions do not depend on the other rows of the batch.
    """
    clusters = find_clusters(input_ids, attention_mask, vocabulary, settings, left_out)
    budgets = settings.questions_in(np.count_nonzero(attention_mask, axis=1))
    asked, answers = _draw(clusters, budgets, draws)

    cluster = np.repeat(np.arange(len(clusters.rows)), clusters.sizes)[asked]
    rows, lengths, columns = clusters.rows[cluster], clusters.lengths[cluster], clusters.starts[asked]
    ids, mask = input_ids.copy(), attention_mask.copy()
    span = np.repeat(np.arange(len(asked)), lengths)
    inside = columns[span] + np.arange(len(span)) - (np.cumsum(lengths) - lengths)[span]
    ids[rows[span], inside], mask[rows[span], inside] = vocabulary.pad_id, 0
    ids[rows, columns], mask[rows, columns] = vocabulary.question_id, 1
    starts = clusters.starts[answers]
    ascending = np.lexsort((columns, rows))
    return SelectedSpans(
        ids,
        mask,
        rows=rows[ascending],
        columns=columns[ascending],
        starts=starts[ascending],
        ends=(starts + lengths - 1)[ascending],
    )


def _draw(clusters: Clusters, budgets: np.ndarray, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Draws the questions: `[Q]` each, the number of each span to ask for, and of its answer."""
    cluster = np.repeat(np.arange(len(clusters.rows)), clusters.sizes)
    row = clusters.rows[cluster]
    # Spans do not overlap, so the column where a span starts identifies it in its row, and its first span a cluster.
    cluster_draw = draws.uniform(CLUSTERS, clusters.rows, clusters.starts[clusters.offsets[:-1]])[cluster]
    span_draw = draws.uniform(SPANS, row, clusters.starts)
    order = np.lexsort((span_draw, cluster, cluster_draw, row))
    row, cluster = row[order], cluster[order]
    stays = np.ones(len(order), dtype=bool)
    stays[1:] = cluster[1:] != cluster[:-1]
    before = np.cumsum(~stays)  # possible questions up to each span, counted over the batch
    before_row = np.append(0, before)[np.searchsorted(row, np.arange(len(budgets)))]
    is_asked = ~stays & (before - before_row[row] <= budgets[row])
    answers = order[stays][np.cumsum(stays) - 1]
    return order[is_asked], answers[is_asked]


# --------------------------------------------------------------------------------------------------------------------
# Finding what recurs
# --------------------------------------------------------------------------------------------------------------------


def find_clusters(
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    vocabulary: SplinterVocabulary,
    settings: RecurringSpans,
    left_out: Set[bytes] = frozenset(),
) -> Clusters:
    """The spans that recur in each row of a batch; the arguments are those of `select_spans`.

    Any two positions with the same token start a pair of spans: the longest identical ones, up to `settings.longest`
    tokens, of which the first ends before the second starts. All spans with the same tokens, from whichever pairs, form
    a cluster. A span of it is kept if

    - it starts at the start of a word, and ends at the end of a word or of the row,
    - all its tokens are usable, not all of them are stop words, and its n-gram is not left out,
    - it overlaps no span that was chosen before; the longest clusters come first, then the leftmost.

    A cluster is kept if it has two such spans. These rules apply to the longest match only: in `서울 시장 .` and
    `서울 시장 .`, where the full stop matches too, no shorter span is tried instead. Where an n-gram is left out,
    others may take its place, as 시장 from 서울 시장 is an n-gram of its own.
    """
    found = _candidates(input_ids, attention_mask, vocabulary, settings, left_out)
    width = input_ids.shape[1] + 1
    first = found.starts[found.offsets[:-1]]
    order = np.lexsort((first, -found.lengths, first // width))
    starts, offsets, lengths = found.starts.tolist(), found.offsets.tolist(), found.lengths.tolist()
    taken = bytearray(len(input_ids) * width)
    kept, sizes, spans = [], [], []
    for cluster in order.tolist():
        length, end, free = lengths[cluster], 0, []
        for start in starts[offsets[cluster] : offsets[cluster + 1]]:
            if start >= end and taken.find(1, start, start + length) < 0:
                free.append(start)
                end = start + length
        if len(free) < 2:
            continue
        for start in free:
            taken[start : start + length] = b"\1" * length
        kept.append(cluster)
        sizes.append(len(free))
        spans += free
    kept = np.array(kept, dtype=np.int64)
    return Clusters(
        rows=first[kept] // width,
        lengths=found.lengths[kept],
        offsets=np.cumsum([0, *sizes], dtype=np.int64),
        starts=np.array(spans, dtype=np.int64) % width,
    )


def recurs_in(
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    vocabulary: SplinterVocabulary,
    settings: RecurringSpans,
    left_out: Set[bytes] = frozenset(),
) -> np.ndarray:
    """bool `[B]`: which rows have a cluster, and so at least one question; cheaper than `find_clusters`.

    The arguments are those of `select_spans`.
    """
    # The first candidate of a row overlaps with nothing chosen before, so a row with a candidate has a cluster.
    found = _candidates(input_ids, attention_mask, vocabulary, settings, left_out)
    recurs = np.zeros(len(input_ids), dtype=bool)
    recurs[found.starts // (input_ids.shape[1] + 1)] = True
    return recurs


@dataclass(frozen=True)
class _Candidates:
    """Clusters that satisfy all rules except for overlaps with other clusters; each has two spans that do not overlap.

    starts: `[M]`, positions in the flattened batch, in which one column without a token follows each row. lengths:
    `[C]`, offsets: `[C + 1]`, as in `Clusters`.
    """

    starts: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray


def _candidates(
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    vocabulary: SplinterVocabulary,
    settings: RecurringSpans,
    left_out: Set[bytes],
) -> _Candidates:
    batch, length = input_ids.shape
    real = np.zeros((batch, length + 1), dtype=bool)
    real[:, :-1] = attention_mask != 0
    real = real.reshape(-1)
    # Places without a token get ids that occur nowhere else, so that no match extends across them.
    tokens = -1 - np.arange(real.size)
    tokens[real] = input_ids[attention_mask != 0]
    ids = np.where(real, tokens, 0)
    starts_word = vocabulary.starts_word[ids] | ~real
    usable = vocabulary.usable[ids] & real
    # The number of tokens before each place that are no stop words; where it does not grow, a span has only stop words.
    others = np.append(0, np.cumsum(~vocabulary.stop_word[ids] & real))

    # Positions where a span may start. The token alone decides that, so no position loses a partner here.
    at = np.flatnonzero(starts_word & usable)
    at, sizes = _repeated(at, at // (length + 1) * len(vocabulary.tokens) + tokens[at])
    spans, group_sizes, lengths = [], [], []
    for n in range(1, settings.longest + 1):
        if not len(at):
            break
        following = tokens[at + n]
        group = np.repeat(np.arange(len(sizes)), sizes)
        chosen = _are_members(at, group, sizes, following, n, n == settings.longest, real.size)
        ends_word = starts_word[at + n]
        if settings.first_member_only:
            members = np.flatnonzero(chosen)
            groups, firsts = np.unique(group[members], return_index=True)
            stands = np.zeros(len(sizes), dtype=bool)
            stands[groups] = ends_word[members[firsts]]
            chosen &= stands[group]
        else:
            chosen &= ends_word
        chosen &= others[at + n] > others[at]
        spans.append(at[chosen])
        group_sizes.append(np.bincount(group[chosen], minlength=len(sizes)))
        lengths.append(np.full(len(sizes), n))
        # The ids in `following` are at least -real.size; the keys must not be negative.
        longer = usable[at + n]
        keys = group * (real.size + len(vocabulary.tokens)) + following + real.size
        at, sizes = _repeated(at[longer], keys[longer])
    return _with_two_apart(spans, lengths, group_sizes, tokens, left_out)


def _repeated(at: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The positions grouped by equal keys, ascending in each group, without groups of one; and the groups' sizes."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    sizes = np.diff(np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1], [True])))) if len(keys) else keys
    return at[order[np.repeat(sizes > 1, sizes)]], sizes[sizes > 1]


def _are_members(
    at: np.ndarray, group: np.ndarray, sizes: np.ndarray, following: np.ndarray, n: int, is_longest: bool, size: int
) -> np.ndarray:
    """bool `[A]`: which positions have a partner in their group whose longest match with them has exactly n tokens.

    at, group: `[A]`, positions and the number of their group, in which the same n tokens begin; ascending in each
    group. sizes: the groups' sizes. following: `[A]`, the token n places after each position. size: the number of
    places in the flattened batch.

    A partner is at least n places away. The match ends after n tokens if different tokens follow, if the partner is
    exactly n places away, or if n is the longest length.
    """
    first = np.cumsum(sizes) - sizes
    last = first + sizes - 1
    if is_longest:
        return (at[first][group] <= at - n) | (at[last][group] >= at + n)
    # For each position, the leftmost one of its group with a different following token: this is the group's first, or,
    # if the first has the same following token, the first one that has a different one. Likewise for the rightmost.
    as_first, as_last = following == following[first][group], following == following[last][group]
    leftmost_other = np.minimum.reduceat(np.where(as_first, size + n, at), first)
    rightmost_other = np.maximum.reduceat(np.where(as_last, -n, at), first)
    left = np.where(as_first, leftmost_other[group], at[first][group])
    right = np.where(as_last, rightmost_other[group], at[last][group])
    group_at = np.full(size + 2 * n, -1)
    group_at[at + n] = group
    return (left <= at - n) | (right >= at + n) | (group_at[at] == group) | (group_at[at + 2 * n] == group)


def _with_two_apart(
    spans: list[np.ndarray],
    lengths: list[np.ndarray],
    sizes: list[np.ndarray],
    tokens: np.ndarray,
    left_out: Set[bytes],
) -> _Candidates:
    """The clusters in which at least two spans do not overlap and whose n-gram is not left out; lists: by length."""
    empty = np.zeros(0, dtype=np.int64)
    starts, length, size = (np.concatenate([empty, *arrays]) for arrays in (spans, lengths, sizes))
    cluster = np.repeat(np.arange(len(size)), size)
    end = np.cumsum(size)
    is_kept = size > 1
    two = np.flatnonzero(is_kept)
    is_kept[two] = starts[end[two] - 1] - starts[end[two] - size[two]] >= length[two]
    if left_out:
        for number in np.flatnonzero(is_kept).tolist():
            start = starts[end[number] - size[number]]
            is_kept[number] = tokens[start : start + length[number]].tobytes() not in left_out
    return _Candidates(starts[is_kept[cluster]], length[is_kept], np.append(0, np.cumsum(size[is_kept])))
