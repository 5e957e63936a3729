"""Ctrl-C and SIGTERM: a run ends with a checkpoint, after the step under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.runtime import Runtime


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; everything up to then is saved in `checkpoint`."""

    def __init__(self, checkpoint: Path):
        super().__init__(f"stopped; saved as {checkpoint}")


class StopRequest:
    """Whether Ctrl-C or SIGTERM asked for an end. The step under way is finished first, an evaluation is not.

    Several processes never break off by themselves, where others would wait for them: `torchrun` sends a second signal
    anyway, and ends what has not ended 30 seconds after the first.
    """

    def __init__(self, processes: int = 1):
        self.requested = False
        self._at_once = False
        self._among_several = processes > 1

    def handle(self, signal_number: int, frame: Any) -> None:
        at_once = (self.requested or self._at_once) and not self._among_several  # a second Ctrl-C does not wait
        self.requested = True
        if at_once:
            raise KeyboardInterrupt

    def is_agreed(self, runtime: Runtime) -> bool:
        """Whether all processes stop after this step, as one of them was asked to."""
        return runtime.sums([float(self.requested)])[0] > 0

    @contextmanager
    def at_once(self, runtime: Runtime) -> Iterator[None]:
        """For an evaluation, which is broken off; by several processes after the same batch."""
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
    stop = StopRequest(processes)
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
