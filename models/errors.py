"""The error that this folder raises, and how it quotes an error of a library."""

from __future__ import annotations


class ModelError(Exception):
    """A model or tokenizer that cannot be built: the message says what, where it was looked for, and what to do."""


def one_line(error: Exception) -> str:
    """An error's message in one line of at most 300 characters, with the error's type before a message of one word."""
    words = str(error).split()
    return " ".join(words if len(words) > 1 else [f"{type(error).__name__}:", *words])[:300]
