"""What the flags of a command are given, from the list of its words."""

from __future__ import annotations

from collections.abc import Sequence


def value_of(flag: str, words: Sequence[str]) -> str:
    """The word after a flag."""
    return words[words.index(flag) + 1]


def values_of(flag: str, words: Sequence[str]) -> list[str]:
    """The words between a flag and the next one."""
    after = list(words[words.index(flag) + 1 :])
    return after[: next((at for at, word in enumerate(after) if word.startswith("--")), len(after))]
