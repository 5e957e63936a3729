"""Where words start, as a vocabulary's tokens tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

_STARTS = ("▁", "Ġ")  # SentencePiece's and byte-level BPE's
_GOES_ON = ("##", "~")  # WordPiece's; HanBERT's, `~~는` and `~는`


def mark_of_words(tokens: Iterable[str]) -> str | None:
    """What stands before a word: `▁학교 에서`. None where, as in WordPiece, it is the rest of words that is marked
    (`학교 ##에서`), or nothing. What the vocabulary has most of tells.
    """
    heads = Counter(token[:1] if token[:1] in _STARTS else token[:2] for token in tokens)
    mark = max(_STARTS, key=heads.__getitem__)
    return mark if heads[mark] > heads["##"] else None


def start_words(tokens: Sequence[str]) -> np.ndarray:
    """bool `[V]`: whether each token starts a word. In WordPiece, punctuation does."""
    if mark := mark_of_words(tokens):
        return np.array([token.startswith(mark) for token in tokens], dtype=bool)
    return np.array([not (len(token) > 1 and token.startswith(_GOES_ON)) for token in tokens], dtype=bool)
