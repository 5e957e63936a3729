"""What somebody may have meant by a word that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_of(word: str, known: Iterable[str]) -> str | None:
    """The known word that is nearest; None where none is near."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, for the end of a message; "" where no known word is near."""
    found = nearest_of(word, known)
    return f"; did you mean {found!r}?" if found else ""
