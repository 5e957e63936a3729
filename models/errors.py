"""The error that this folder raises, and how it quotes an error of a library."""

from __future__ import annotations

import json
from pathlib import Path


class ModelError(Exception):
    """A model or tokenizer that cannot be built: the message says what, where it was looked for, and what to do."""


class NotBertError(ModelError):
    """A model of another architecture where only BERT will do."""


def one_line(error: Exception) -> str:
    """An error's message in one line of at most 300 characters, with the error's type before a message of one word."""
    words = str(error).split()
    return " ".join(words if len(words) > 1 else [f"{type(error).__name__}:", *words])[:300]


def reason(error: Exception, folder: Path) -> str:
    """Why nothing could be built from a model folder, in one line: the error's, or that the folder has its own code.

    transformers would run the code that `auto_map` in a folder's files names. Here it is never allowed to.
    """
    if "trust_remote_code" in str(error) or _is_of_its_own_kind(folder):
        return (
            "the folder asks for its own code to be run (auto_map), and this suite does not do that; it takes models "
            "that transformers itself can build"
        )
    return one_line(error)


def _is_of_its_own_kind(folder: Path) -> bool:
    """Whether config.json names code of the folder's for an architecture that transformers does not have."""
    from transformers import CONFIG_MAPPING

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return "auto_map" in config and config.get("model_type") not in CONFIG_MAPPING
    except (OSError, ValueError, AttributeError, TypeError):
        return False
