"""Which of several processes this is, as `torchrun` says it: for who does not need torch to know."""

from __future__ import annotations

import os


def process_count() -> int:
    """How many processes make up this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this is the first of them, which alone prints and writes; the only one, where there are no others."""
    return int(os.environ.get("RANK", "0")) == 0


def show(text: str) -> None:
    """Results, on standard output; once, whatever the number of processes."""
    if is_main_process():
        print(text, flush=True)
