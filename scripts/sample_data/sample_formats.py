"""One task's sample data, and functions that format its files. Used by `make_sample_data.py`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass

FAMILY, THUMB = "👨\u200d👩\u200d👧\u200d👦", "👍\U0001f3fb"  # emoji of several code points

Row = tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """One task's files (path below output_dir -> content), and the texts that the vocabulary is trained on."""

    files: dict[str, bytes]
    texts: list[str]


def owned_rng(seed: int, name: str) -> random.Random:
    """A generator that depends only on the seed and the name (random hashes strings with SHA-512, not with hash())."""
    return random.Random(f"{seed}/{name}")


def quoted(text: str, specials: str = '"') -> str:
    """The text as a CSV field: if it contains one of `specials`, in double quotes, with inner quotes doubled."""
    return '"' + text.replace('"', '""') + '"' if any(char in text for char in specials) else text


def tsv(header: str, rows: Iterable[Iterable[str]]) -> bytes:
    """A TSV file; the header's names are given separated by spaces."""
    return "".join("\t".join(row) + "\n" for row in [header.split(), *rows]).encode()


def numbered(rows: Iterable[Row], start: int) -> list[Row]:
    """The rows with a running id as their first column."""
    return [(str(start + i), *row) for i, row in enumerate(rows)]


def json_file(content: object) -> bytes:
    """A JSON file. A lone surrogate, which has no UTF-8 bytes, is written as JSON's escape."""
    return json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace") + b"\n"
