"""What the person at the keyboard sees of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds to import
    from training.runtime import Runtime

# seconds between two lines of a long evaluation where the output is no terminal
SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Counts towards a total. The time left comes from this session's steps alone, not from those before a resume.

    name: what is being done, such as `train`. unit: what is counted.
    """

    def __init__(self, runtime: Runtime, name: str, total: int, unit: str, done: int = 0):
        self.runtime, self.name, self.total, self.unit = runtime, name, total, unit
        self.done = self._first = done
        self._started = self._last_line = time.monotonic()
        self._bar = None
        # A terminal that does not know its size would show no bar.
        if runtime.is_main and sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, desc=name, unit=unit, leave=False, dynamic_ncols=True, smoothing=0.05
            )

    def advance(self, count: int = 1) -> None:
        """Counts `count` more as done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)

    def show(self, facts: str) -> None:
        """The newest figures: beside the bar, or as a line with the place reached and the time left."""
        if self._bar is not None:
            self._bar.set_postfix_str(facts)
        else:
            self.runtime.say(f"{self.name} {self.done}/{self.total} {self.unit}s  {facts}  {self.time_left()} left")
            self._last_line = time.monotonic()

    def show_now_and_then(self) -> None:
        """A line now and then where there is no bar."""
        if self._bar is None and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self.show(f"{(self.done - self._first) / (time.monotonic() - self._started):.0f} {self.unit}s/s")

    def time_left(self) -> str:
        """The time left as `h:mm:ss` or `m:ss`, at the mean rate so far."""
        done = self.done - self._first
        if done == 0:
            return "?"
        return clock((time.monotonic() - self._started) / done * (self.total - self.done))

    def close(self) -> None:
        """Removes the bar from the terminal."""
        if self._bar is not None:
            self._bar.close()


def clock(seconds: float) -> str:
    """`75` as `1:15`, `3675` as `1:01:15`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
