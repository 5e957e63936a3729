"""Which tokens of a vocabulary start a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

_STARTS = ("▁", "Ġ")  # marks of a word's first token: SentencePiece's and byte-level BPE's
_GOES_ON = ("##", "~")  # marks of a word's other tokens: WordPiece's, and HanBERT's (`~~는`, `~는`)


def mark_of_words(tokens: Iterable[str]) -> str | None:
    """The mark before the first token of each word (`▁학교 에서`), whichever is most frequent in the vocabulary.

    None where the other tokens of words are marked instead, as in WordPiece (`학교 ##에서`), or where none are.
    """
    heads = Counter(token[:1] if token[:1] in _STARTS else token[:2] for token in tokens)
    mark = max(_STARTS, key=heads.__getitem__)
    return mark if heads[mark] > heads["##"] else None


def start_words(tokens: Sequence[str]) -> np.ndarray:
    """bool `[V]`: whether each token starts a word. In WordPiece, punctuation marks start words too."""
    if mark := mark_of_words(tokens):
        return np.array([token.startswith(mark) for token in tokens], dtype=bool)
    return np.array([not (len(token) > 1 and token.startswith(_GOES_ON)) for token in tokens], dtype=bool)
