"""Recurring spans: which spans of a row occur again in it, and questions made of them.

Splinter (Ram et al., 2021, arXiv:2101.00438), section 3: of the spans that are the same, one stays and is the answer,
and a [QUESTION] token stands for each of the others. KoSplinter adds that n-grams of earlier corpora are left out.

    vocabulary = SplinterVocabulary.of_tokens(tokens, tokenizer.all_special_ids, question_id, pad_id, unk_id)
    selected = select_spans(input_ids, attention_mask, vocabulary, RecurringSpans(), draws)

Spans are found for a whole batch at once, one length after another: positions with the same n-gram are grouped, and
only the groups of two and more are looked at again, a token longer. Each length costs a sort of what is left, so that
a row of one repeated token costs little more than any other.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from processors.pretraining.draws import Draws
from processors.pretraining.splinter_vocabulary import SplinterVocabulary

CLUSTERS, SPANS = range(2)  # kinds of draws


@dataclass(frozen=True)
class RecurringSpans:
    """Which spans recur, and how many are asked for; the defaults are Splinter's.

    longest: tokens of the longest span.
    first_member_only: whether all spans that are the same stand or fall by whether the first of them ends where a word
        does, as in the original, where then parts of words are asked for; else those that do not are left out.
    budget: questions in a row, as a share of its real tokens; to a whole number, and at least one.
    most_questions: in a row, however long.
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
        """At most so many in rows of so many real tokens."""
        return np.minimum(self.most_questions, np.maximum(1, np.rint(self.budget * tokens))).astype(np.int64)


@dataclass(frozen=True)
class Clusters:
    """Spans of a batch that recur: C clusters of at least two spans that are the same, M spans in all.

    rows: int64 `[C]`, ascending. lengths: int64 `[C]`, tokens of each span; in a row the longest come first.
    offsets: int64 `[C + 1]`; the spans of cluster c are `offsets[c]` to `offsets[c + 1]`.
    starts: int64 `[M]`, column of the first token of each span, in a cluster from left to right. No two spans overlap.
    """

    rows: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """`[C]`: how many spans each has."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class SelectedSpans:
    """A batch with Q questions, in the order of rows and columns; a row in which no span recurs has none.

    input_ids, attention_mask: int64 `[B, L]`. A question takes as many columns as the span it stands for: [QUESTION],
    and for the other tokens [PAD], where the mask is 0.
    rows, columns: int64 `[Q]`, where each [QUESTION] is.
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

    input_ids, attention_mask: int64 `[B, L]`; no span has a token in it where the mask is 0. left_out: what `keys_of`
    makes of n-grams that are not to be used.

    Clusters are taken in random order, and the spans of each: the first one stays, and is the answer to the others, up
    to the budget. In the last cluster some may stay as they are besides the answer.

    A row in which no span recurs comes back as it is, without questions: it teaches nothing. The caller may leave such
    rows out beforehand (`recurs_in`).

    A row's questions are the same for the same draws, whatever stands beside it.
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
    """`[Q]` each: the number of each span that is asked for, and of the one that answers it."""
    cluster = np.repeat(np.arange(len(clusters.rows)), clusters.sizes)
    row = clusters.rows[cluster]
    # A span is known in its row by where it starts, and a cluster by its first span: none overlap.
    cluster_draw = draws.uniform(CLUSTERS, clusters.rows, clusters.starts[clusters.offsets[:-1]])[cluster]
    span_draw = draws.uniform(SPANS, row, clusters.starts)
    order = np.lexsort((span_draw, cluster, cluster_draw, row))
    row, cluster = row[order], cluster[order]
    stays = np.ones(len(order), dtype=bool)
    stays[1:] = cluster[1:] != cluster[:-1]
    before = np.cumsum(~stays)  # questions up to here, in the batch, and before a row
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
    """The spans that recur in each row of a batch; arguments as those of `select_spans`.

    Any two positions with the same token are the starts of a pair of spans: the longest that are the same, up to
    `settings.longest` tokens, where the first does not reach the start of the second. All that have the same tokens,
    of whichever pairs, are a cluster. Of these a span is kept if

    - it starts where a word does, and ends where one does or where the row does,
    - all its tokens are usable, and not all of them stop-words, and it is not left out,
    - it has no token in common with one that was chosen before, longest clusters first, then from left to right,

    and a cluster if it has two such spans. What is the same is found first, and the rules are for all of it: of
    `서울 시장 .` and `서울 시장 .`, where the full stop is the same too, no shorter span is tried instead. Where an
    n-gram is left out, others may come in its stead, as 시장 of 서울 시장 is one by itself.
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
    """bool `[B]`: which rows have a cluster, and so a question whatever is drawn; cheaper than finding all of them.

    Arguments as those of `select_spans`.
    """
    # The first cluster that is looked at has nothing to overlap with: where there is a candidate, one is chosen.
    found = _candidates(input_ids, attention_mask, vocabulary, settings, left_out)
    recurs = np.zeros(len(input_ids), dtype=bool)
    recurs[found.starts // (input_ids.shape[1] + 1)] = True
    return recurs


@dataclass(frozen=True)
class _Candidates:
    """Clusters that keep to all rules but for overlaps with others, in each two spans at least that do not overlap.

    starts: `[M]` in the flattened batch, in which a column without a token is behind each row. lengths: `[C]`,
    offsets: `[C + 1]`, as those of `Clusters`.
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
    # Where there is no token, there is an id that is nowhere else, so that nothing is the same across it.
    tokens = -1 - np.arange(real.size)
    tokens[real] = input_ids[attention_mask != 0]
    ids = np.where(real, tokens, 0)
    starts_word = vocabulary.starts_word[ids] | ~real
    usable = vocabulary.usable[ids] & real
    # Whether spans are of stop-words only: by how many other tokens are before each place.
    others = np.append(0, np.cumsum(~vocabulary.stop_word[ids] & real))

    # A span may start at these, which the n-gram alone decides: what is left out here is no partner of the others.
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
        # What follows is from -real.size up.
        longer = usable[at + n]
        keys = group * (real.size + len(vocabulary.tokens)) + following + real.size
        at, sizes = _repeated(at[longer], keys[longer])
    return _with_two_apart(spans, lengths, group_sizes, tokens, left_out)


def _repeated(at: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions by groups of the same key, ascending in each, without those that are alone; and the groups' sizes."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    sizes = np.diff(np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1], [True])))) if len(keys) else keys
    return at[order[np.repeat(sizes > 1, sizes)]], sizes[sizes > 1]


def _are_members(
    at: np.ndarray, group: np.ndarray, sizes: np.ndarray, following: np.ndarray, n: int, is_longest: bool, size: int
) -> np.ndarray:
    """bool `[A]`: which positions have a partner in their group with exactly n tokens as the longest match.

    at, group: `[A]`, positions by groups with the same n tokens, ascending in each. sizes: of the groups. following:
    `[A]`, the tokens n after the positions. size: of the flattened batch.

    The partner is at least n away. The match goes no further if another token follows there, or if the partner is
    exactly n away, or if n is the longest.
    """
    first = np.cumsum(sizes) - sizes
    last = first + sizes - 1
    if is_longest:
        return (at[first][group] <= at - n) | (at[last][group] >= at + n)
    # The nearest to the row's start that another token follows is the first of the group, or, for those that the same
    # token follows as that one, the first that another token follows; the nearest to the row's end likewise.
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
    """The clusters, lists by lengths, of which two spans or more do not overlap, and whose n-gram is not left out."""
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
