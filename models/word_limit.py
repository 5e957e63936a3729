"""The most characters that a WordPiece tokenizer looks at in a word; a longer word becomes a single [UNK].

BERT's tokenizer, and so all published results, have 100. Transformers does not save another limit, so it is kept among
the settings in `tokenizer_config.json`, under `max_word_characters`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from models.errors import ModelError

KEY = "max_word_characters"
MOST = 1_000_000  # far below what regular expressions can count to


def word_limit(tokenizer: Any) -> int | None:
    """The most characters of a word; None for tokenizers without such a limit, and those that are written in Python."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return getattr(backend.model, "max_input_chars_per_word", None) if backend is not None else None


def set_word_limit(tokenizer: Any, characters: int) -> None:
    """Changes the limit, in place and in what the tokenizer saves. Raises ModelError where there is none to change."""
    if word_limit(tokenizer) is None:
        raise ModelError(f"{KEY} {characters}: this tokenizer has no limit that can be set (WordPiece tokenizers have)")
    tokenizer.backend_tokenizer.model.max_input_chars_per_word = characters
    tokenizer.init_kwargs[KEY] = characters


def restore_word_limit(tokenizer: Any) -> None:
    """Sets the limit that the tokenizer was saved with. Raises ModelError where it is no number from 1 to MOST."""
    saved = tokenizer.init_kwargs.get(KEY)
    if saved is None:
        return
    if type(saved) is not int or not 1 <= saved <= MOST:
        raise ModelError(f"{KEY} in tokenizer_config.json is no number of characters: {saved!r:.100}")
    set_word_limit(tokenizer, saved)


def rows_beyond_limit(tokenizer: Any, rows: Iterable[str]) -> int:
    """How many texts have a word with more characters than the limit; 0 for a tokenizer without one."""
    limit = word_limit(tokenizer)
    if limit is None:
        return 0
    backend = tokenizer.backend_tokenizer
    # Words are parts of what stands between spaces, and few texts have anything that long: only these are looked into.
    is_long = re.compile(rf"[^ \t\n\r]{{{limit + 1}}}").search

    def has_long_word(text: str) -> bool:
        text = backend.normalizer.normalize_str(text) if backend.normalizer else text
        words = backend.pre_tokenizer.pre_tokenize_str(text) if backend.pre_tokenizer else [(text, None)]
        return any(len(word) > limit for word, _ in words)

    return sum(1 for text in rows if is_long(text) and has_long_word(text))
