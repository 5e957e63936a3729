"""What the program is doing, and how far it is; for the line that a long run prints when it has been silent.

    with doing("tokenize", total=150_000) as activity:
        activity.advance(2_048)

Activities can be nested: tokenizing happens while a checkpoint is scored. `training/pulse.py` prints the line about
them, `training/progress.py` those with the figures of a training.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Activity:
    """Something that takes its time, and counts towards a total if that is known.

    name: what is being done, such as `train`. total: None where it is not known. unit: what is counted. done: how much
    was done before, in an earlier session. now: the clock, in seconds. has_bar: a terminal shows how far it is.
    can_tell_more: whoever does the work prints a line with more to it when `is_asked`.
    """

    has_bar = False
    can_tell_more = False

    def __init__(
        self,
        name: str,
        total: int | None = None,
        unit: str = "row",
        done: int = 0,
        now: Callable[[], float] = time.monotonic,
    ):
        self.name, self.total, self.unit, self.done, self.now = name, total, unit, done, now
        self.is_asked = False
        self._first, self._started = done, now()

    def advance(self, count: int = 1) -> None:
        """Counts `count` more as done."""
        self.done += count

    def place(self) -> str:
        """The name and how far it is: `train 20/100 steps`."""
        if self.total is not None:
            return f"{self.name} {self.done}/{self.total} {self.unit}s"
        return f"{self.name} {self.done} {self.unit}s" if self.done else self.name

    def rate(self) -> str:
        """How fast it goes, such as `12.5 rows/s`, at the mean of this session; "" before anything is done."""
        done, seconds = self.done - self._first, self.now() - self._started
        if done <= 0 or seconds <= 0:
            return ""
        speed = done / seconds
        return f"{speed:.0f} {self.unit}s/s" if speed >= 10 else f"{speed:.2g} {self.unit}s/s"

    def time_left(self) -> str:
        """The time left as `h:mm:ss` or `m:ss`, at the mean rate of this session; `?` where it is not known."""
        done = self.done - self._first
        if done <= 0 or self.total is None:
            return "?"
        return clock((self.now() - self._started) / done * max(0, self.total - self.done))

    def time_spent(self) -> str:
        """The time since it began, as `h:mm:ss` or `m:ss`."""
        return clock(self.now() - self._started)


_under_way: list[Activity] = []
_line_was_printed = False


@contextlib.contextmanager
def doing(name: str, total: int | None = None, unit: str = "row") -> Iterator[Activity]:
    """The block is an activity of this name."""
    activity = Activity(name, total, unit)
    begin(activity)
    try:
        yield activity
    finally:
        end(activity)


def counted(things: Iterable[Any], activity: Activity) -> Iterator[Any]:
    """The same things, each counted as done when the next one is asked for."""
    for thing in things:
        yield thing
        activity.advance()


def begin(activity: Activity) -> None:
    """From now on this is what is being done, within what was being done before."""
    _under_way.append(activity)


def end(activity: Activity) -> None:
    """The activity is over, and with it whatever was begun within it and not ended."""
    if activity in _under_way:
        del _under_way[_under_way.index(activity) :]


def under_way() -> list[Activity]:
    """What is being done now, the outermost first."""
    return list(_under_way)


def note_a_line() -> None:
    """Something has been printed, so that no line about the activities is needed for a while."""
    global _line_was_printed
    _line_was_printed = True


def has_printed() -> bool:
    """Whether something has been printed since this was last asked."""
    global _line_was_printed
    before, _line_was_printed = _line_was_printed, False
    return before


def clock(seconds: float) -> str:
    """`75` as `1:15`, `3675` as `1:01:15`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
