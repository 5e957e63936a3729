"""Ctrl-C and SIGTERM: the run finishes its current step, saves a checkpoint and ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.runtime import Runtime


class Interrupted(KeyboardInterrupt):
    """A run ended by Ctrl-C or SIGTERM, after it was saved in `checkpoint`."""

    def __init__(self, checkpoint: Path):
        super().__init__(f"stopped; saved as {checkpoint}")


class StopRequest:
    """Whether Ctrl-C or SIGTERM asked the run to end. The current step is finished first; an evaluation is not.

    One of several processes never breaks off alone, because the others would wait for it. `torchrun` sends a second
    signal anyway, and kills what has not ended 30 seconds after the first.
    """

    def __init__(self, processes: int = 1):
        self.requested = False
        self._at_once = False
        self._among_several = processes > 1

    def handle(self, signal_number: int, frame: Any) -> None:
        """Notes the signal; a second one, or one during an evaluation, raises KeyboardInterrupt in a single process."""
        at_once = (self.requested or self._at_once) and not self._among_several  # a second Ctrl-C ends the run at once
        self.requested = True
        if at_once:
            raise KeyboardInterrupt

    def is_agreed(self, runtime: Runtime) -> bool:
        """Whether all processes stop after this step, because at least one of them was asked to."""
        return runtime.sums([float(self.requested)])[0] > 0

    @contextmanager
    def at_once(self, runtime: Runtime) -> Iterator[None]:
        """Within this block a signal breaks off the evaluation; several processes break off after the same batch."""
        self._at_once = True
        if self._among_several:
            runtime.is_asked_to_stop = lambda: self.requested
        try:
            yield
        finally:
            self._at_once = False
            runtime.is_asked_to_stop = lambda: False


@contextmanager
def stop_request(processes: int) -> Iterator[StopRequest]:
    """Handles Ctrl-C and SIGTERM within the block, and restores the handlers afterwards."""
    stop = StopRequest(processes)
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
