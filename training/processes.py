"""Rank and world size of this process, as `torchrun` sets them; readable without importing torch."""

from __future__ import annotations

import os
import sys


def process_count() -> int:
    """How many processes make up this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_number() -> int:
    """Which of them this process is, from 0."""
    return int(os.environ.get("RANK", "0"))


def number_on_this_machine() -> int:
    """Which of the run's processes on this machine this process is, from 0: also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main_process() -> bool:
    """Whether this is the first of the processes, which alone prints and writes."""
    return process_number() == 0


def leave(code: int) -> int:
    """The exit code, where there is one process. One of several ends here and now.

    In the interpreter's own ending torch's threads abort now and then ("terminate called without an active exception"),
    which torchrun takes for a failure of the run.
    """
    if process_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def show(text: str) -> None:
    """Results, on standard output; once, whatever the number of processes."""
    if is_main_process():
        print(text, flush=True)
