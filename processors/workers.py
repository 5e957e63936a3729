"""Processes that tokenize for the main process: not interrupted by Ctrl-C, and never left over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.context import SpawnContext, SpawnProcess


class _Worker(SpawnProcess):
    def start(self) -> None:
        # Ctrl-C reaches all processes of a terminal, and the main process handles it. A worker inherits what is
        # blocked, so that it is not interrupted while it is still starting either.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerContext(SpawnContext):
    """For `multiprocessing` pools. A forked child would inherit torch's and tokenizers' threads in an unknown state."""

    Process = _Worker


def begin_worker() -> None:
    """Called once in every worker: ends it when the main process is killed; otherwise it might wait for ever."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each core already has a process
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
