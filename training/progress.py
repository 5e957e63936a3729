"""What the person at the keyboard sees of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from storage.activity import Activity, begin, end
from storage.streams import shows_bars
from training.runtime import Runtime


class Progress(Activity):
    """An activity that shows a bar on a terminal. The time left comes from this session's steps alone."""

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        total: int,
        unit: str,
        done: int = 0,
        now: Callable[[], float] = time.monotonic,
    ):
        super().__init__(name, total, unit, done, now)
        self.runtime = runtime
        self._bar = None
        if runtime.is_main and shows_bars():
            from tqdm import tqdm

            self.has_bar = True
            self._bar = tqdm(
                total=total, initial=done, desc=name, unit=unit, leave=False, dynamic_ncols=True, smoothing=0.05
            )
        begin(self)

    def advance(self, count: int = 1) -> None:
        """Counts `count` more as done."""
        super().advance(count)
        if self._bar is not None:
            self._bar.update(count)

    def show(self, facts: str) -> None:
        """The newest figures: beside the bar, or as a line with the place reached and the time left."""
        self.is_asked = False
        if self._bar is not None:
            self._bar.set_postfix_str(facts)
        else:
            self.runtime.say(f"{self.place()}  {facts}  {self.time_left()} left")

    def close(self) -> None:
        """Removes the bar from the terminal."""
        if self._bar is not None:
            self._bar.close()
        end(self)
