"""Rank and world size of this process, as `torchrun` sets them; readable without importing torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from storage.activity import note_a_line

SECONDS_TO_STOP = 30  # as torchrun gives its processes


def process_count() -> int:
    """How many processes make up this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_number() -> int:
    """The number of this process among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def number_on_this_machine() -> int:
    """The number of this process among those on this machine, from 0, which is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main_process() -> bool:
    """Whether this is the first of the processes, which alone prints and writes."""
    return process_number() == 0


def leave(code: int) -> int:
    """Returns the exit code in a run of one process; ends the process at once in a run of several.

    When the interpreter shuts down by itself, torch's threads abort now and then ("terminate called without an active
    exception"), and torchrun takes that for a failure of the run.
    """
    if process_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def end_with_launcher() -> None:
    """Ends this process, one of several, when `torchrun` has ended without ending it (killed by SIGKILL, say).

    It is asked to stop as by SIGTERM, so training leaves a checkpoint if the processes can still reach one another.
    """
    if process_count() == 1:
        return
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_STOP)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def show(text: str) -> None:
    """Prints results on standard output, once, however many processes there are."""
    if is_main_process():
        print(text, flush=True)
        note_a_line()
