"""Recurring spans of a row by looking at every pair of positions: a plain reference to measure and to test against.

Splinter's rules (Ram et al., 2021, arXiv:2101.00438) one after another, on lists. Its time grows with the square of how
often a token occurs in a row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

Ngram = tuple[int, ...]


def clusters_of_row(
    tokens: Sequence[int],
    starts_word: Sequence[bool],
    usable: Sequence[bool],
    stop_word: Sequence[bool],
    longest: int = 10,
    first_member_only: bool = False,
    left_out: Collection[Ngram] = (),
) -> list[tuple[Ngram, list[int]]]:
    """The clusters of a row without padding, longest first: the n-gram, and where it starts, from left to right.

    starts_word, usable, stop_word: of every token of the vocabulary. usable: letters and digits, neither special nor
    [UNK].
    """
    clusters = []
    for ngram, starts in recurring_ngrams(tokens, longest).items():
        if not starts_word[ngram[0]] or not all(usable[token] for token in ngram):
            continue
        if all(stop_word[token] for token in ngram) or ngram in left_out:
            continue
        members = sorted(starts)
        if first_member_only:
            if not ends_word(tokens, members[0] + len(ngram), starts_word):
                continue
        else:
            members = [start for start in members if ends_word(tokens, start + len(ngram), starts_word)]
        if len(members) >= 2:
            clusters.append((ngram, members))
    clusters.sort(key=lambda cluster: (-len(cluster[0]), cluster[1][0]))
    return without_overlaps(clusters)


def recurring_ngrams(tokens: Sequence[int], longest: int) -> dict[Ngram, set[int]]:
    """Where each n-gram starts that is all that two positions have in common."""
    positions = defaultdict(list)
    for position, token in enumerate(tokens):
        positions[token].append(position)
    found = defaultdict(set)
    for same in positions.values():
        for number, first in enumerate(same):
            for second in same[number + 1 :]:
                length = 1
                while (
                    length < longest
                    and first + length < second
                    and second + length < len(tokens)
                    and tokens[first + length] == tokens[second + length]
                ):
                    length += 1
                found[tuple(tokens[first : first + length])].update((first, second))
    return found


def ends_word(tokens: Sequence[int], end: int, starts_word: Sequence[bool]) -> bool:
    """Whether a span that ends before `end` ends where a word does."""
    return end == len(tokens) or starts_word[tokens[end]]


def without_overlaps(clusters: list[tuple[Ngram, list[int]]]) -> list[tuple[Ngram, list[int]]]:
    """What is left of the clusters, in their order, if no token is in two spans and every cluster has two."""
    taken: set[int] = set()
    kept = []
    for ngram, members in clusters:
        free: list[int] = []
        for start in members:
            is_apart = not free or start >= free[-1] + len(ngram)
            if is_apart and taken.isdisjoint(range(start, start + len(ngram))):
                free.append(start)
        if len(free) >= 2:
            kept.append((ngram, free))
            for start in free:
                taken.update(range(start, start + len(ngram)))
    return kept
