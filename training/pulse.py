"""A line at least once a minute about what a run is doing; readable without importing torch."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from storage.activity import Activity, has_printed, under_way
from training.processes import is_main_process

# After the first time without a line, the training loop is asked for one with its loss and rate. Where none has come
# after the second, because a step takes longer or something else is being done, the pulse prints one without them.
SECONDS_UNTIL_ASKED, SECONDS_UNTIL_PRINTED = 55.0, 59.0


def write_line(text: str) -> None:
    """Prints a line on standard error, above the bars of a terminal."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


class Pulse:
    """Prints what is being done where a run has said nothing for almost a minute.

    name: of the run, for what is no activity. now: the clock, in seconds. say: prints a line.
    """

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic, say: Callable[[str], None] | None = None):
        self.now, self.say = now, say or write_line
        self._whole = Activity(name, now=now)
        self._last_line = now()

    def beat(self) -> None:
        """To be called about once a second: asks for a line, or prints it, where one is due."""
        now, activities = self.now(), under_way()
        if has_printed():
            self._last_line = now
        silence, innermost = now - self._last_line, activities[-1] if activities else self._whole
        if silence < SECONDS_UNTIL_ASKED or innermost.has_bar:
            return
        if innermost.can_tell_more and silence < SECONDS_UNTIL_PRINTED:
            innermost.is_asked = True
            return
        self._last_line = now
        self.say(line_about(activities or [self._whole]))


def line_about(activities: list[Activity]) -> str:
    """What is being done and how far it is, the outermost first; then rate and time left, or the time spent so far."""
    innermost = activities[-1]
    facts = [", ".join(activity.place() for activity in activities)]
    if rate := innermost.rate():
        facts.append(rate)
    left = innermost.time_left()
    facts.append(f"{innermost.time_spent()} so far" if left == "?" else f"{left} left")
    return "  ".join(facts)


@contextlib.contextmanager
def pulse(name: str) -> Iterator[None]:
    """No minute of the block is silent: the first process prints lines about what it is doing.

    A thread of its own prints them, because some steps are one call of a library.
    """
    if not is_main_process():
        yield
        return
    beating, is_over = Pulse(name), threading.Event()

    def run() -> None:
        while not is_over.wait(1):
            beating.beat()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
