"""How the Korean SpanBERT (paul-hyun's transformer-evolution) masked a row: a plain reference to measure against.

Written anew, with the same work in the same order: words as lists of token positions, shuffled; a length for each, and
the span there is taken unless it overruns the budget or meets another span or its boundaries; 80/10/10 for each token.
Ids are looked up in a table where the original looked at a token's first character, which takes it longer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

LENGTHS = list(range(1, 11))
WEIGHTS = [1 / length for length in LENGTHS]


@dataclass
class MaskedRow:
    """A row, and for each masked token its position, its label, and the positions of its span's boundaries."""

    tokens: list[int]
    columns: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    left_boundaries: list[int] = field(default_factory=list)
    right_boundaries: list[int] = field(default_factory=list)


def mask_row(
    tokens: list[int],
    starts_word: list[bool],
    special: list[bool],
    mask_id: int,
    ordinary_ids: list[int],
    budget: float,
    generator: random.Random,
) -> MaskedRow:
    """Masks spans of a row without padding. starts_word, special: of every token of the vocabulary."""
    words: list[list[int]] = []
    for column, token in enumerate(tokens):
        if special[token]:
            continue
        if words and not starts_word[token]:
            words[-1].append(column)
        else:
            words.append([column])
    to_mask = int(sum(len(word) for word in words) * budget)
    order = list(range(len(words)))
    generator.shuffle(order)

    row, taken, masked = MaskedRow(list(tokens)), set(), []
    for word in order:
        if len(masked) >= to_mask:
            break
        length = generator.choices(LENGTHS, WEIGHTS)[0]
        if word + length + 1 >= len(words):  # the row's last two words are never masked
            continue
        span = [column for number in range(length) for column in words[word + number]]
        if len(masked) + len(span) > to_mask or any(column in taken for column in span):
            continue
        left, right = span[0] - 1, span[-1] + 1
        for column in span:
            masked.append({"column": column, "left": left, "right": right, "label": tokens[column]})
            taken.add(column)
            if generator.random() < 0.8:
                row.tokens[column] = mask_id
            elif generator.random() < 0.5:
                row.tokens[column] = generator.choice(ordinary_ids)
        taken.update((left, right))
    masked.sort(key=lambda token: token["column"])
    row.columns = [token["column"] for token in masked]
    row.labels = [token["label"] for token in masked]
    row.left_boundaries = [token["left"] for token in masked]
    row.right_boundaries = [token["right"] for token in masked]
    return row
