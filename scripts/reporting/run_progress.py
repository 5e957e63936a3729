"""How far a list of runs is, and how long the rest will take: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reporting.study import is_finished, run_unless_finished, say, started
from storage.activity import clock
from storage.streams import shows_bars
from storage.whole import write_whole

SECONDS_FILE = "seconds.json"  # name of a run -> the seconds of its command, for runs that were never interrupted
SECONDS_BETWEEN_LINES = 60.0
# What a training script prints where its output is no terminal, such as `train 20/189 steps  epoch 0.32 ...`.
STEPS_DONE = re.compile(r"train (\d+)/(\d+) steps ")


@dataclass(frozen=True)
class PlannedRun:
    """A run to be made.

    name: such as "nsmc, seed 42". kind: runs of one kind take about the same time. folder: of its results. script,
    words: its command. weight: its time in relation to the other runs'.
    """

    name: str
    kind: str
    folder: Path
    script: str
    words: Sequence[str]
    weight: float


class RunsProgress:
    """How far the runs are. The time left is learned from the runs that have ended, and from the one under way.

    study: the folder that keeps the seconds of ended runs.
    """

    def __init__(self, runs: Sequence[PlannedRun], study: Path):
        self.runs, self._path = runs, study / SECONDS_FILE
        self._seconds = self._read()
        self._began = time.monotonic()
        self._run_began = self._began
        self.current: PlannedRun | None = None
        self.share = 0.0  # of the current run that is done, as its last line said
        self._was_resumed = False
        self._first: tuple[float, float] | None = None  # moment and share from which on the current run was seen
        self._last = self._began  # the moment of its last line

    def _read(self) -> dict[str, float]:
        try:
            content = dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}
        return {name: value for name, value in content.items() if isinstance(value, int | float)}

    def begin(self, run: PlannedRun) -> None:
        """The run is begun, or gone on with."""
        now = time.monotonic()
        self._was_resumed = run.folder.is_dir()
        self.current, self.share, self._run_began, self._last = run, 0.0, now, now
        self._first = None if self._was_resumed else (now, 0.0)

    def see(self, line: str) -> None:
        """Learns from a line of the current run how far it is."""
        if found := STEPS_DONE.match(line):
            done, steps = map(int, found.groups())
            self.share, self._last = done / max(steps, 1), time.monotonic()
            self._first = self._first or (self._last, self.share)

    def end(self, run: PlannedRun) -> None:
        """The run has ended. The time of one that was resumed says nothing about the whole."""
        if not self._was_resumed:
            self._seconds[run.name] = round(time.monotonic() - self._run_began, 1)
            with contextlib.suppress(OSError):  # a full disk: only the estimate of the next command is worse
                write_whole(self._path, json.dumps(self._seconds, ensure_ascii=False, indent=1) + "\n")
        self.current = None

    def seconds_of(self, run: PlannedRun) -> float | None:
        """How long the whole run takes, as far as it is known: as the others of its kind did, else by its weight."""
        known = {one.name: self._seconds[one.name] for one in self.runs if one.name in self._seconds}
        alike = [known[one.name] for one in self.runs if one.kind == run.kind and one.name in known]
        if alike:
            return sum(alike) / len(alike)
        seconds, weight = sum(known.values()), sum(one.weight for one in self.runs if one.name in known)
        if not weight and self.current is not None and self._first is not None:
            moment, share = self._first
            seconds, weight = self._last - moment, (self.share - share) * self.current.weight
        return seconds / weight * run.weight if weight else None

    def seconds_left(self) -> float | None:
        """The time that all unfinished runs will still take; None while nothing is known."""
        left = 0.0
        for run in self.runs:
            if is_finished(run.folder) and run is not self.current:
                continue
            seconds = self.seconds_of(run)
            if seconds is None:
                return None
            left += seconds * (1 - self.share) if run is self.current else seconds
        return left

    def describe(self) -> str:
        """`run 3 of 16: nsmc, seed 2; 12:30 so far, about 41:00 left`."""
        where = "" if self.current is None else f"run {self.runs.index(self.current) + 1} of {len(self.runs)}: "
        name = "" if self.current is None else f"{self.current.name}; "
        left = self.seconds_left()
        told = "time left not known yet" if left is None else f"about {clock(left)} left"
        return f"{where}{name}{clock(time.monotonic() - self._began)} so far, {told}"


def make_all(runs: Sequence[PlannedRun], study: Path) -> None:
    """Makes the runs that are not finished, one after the other; if one fails, the program ends with its exit code."""
    progress = RunsProgress(runs, study)
    is_live = has_room_for_a_line()
    for run in runs:
        if not is_finished(run.folder):
            progress.begin(run)
            say(f"\n{progress.describe()}")
        run_unless_finished(run.folder, run.script, *run.words, by=lambda command: relay(command, progress, is_live))
        if progress.current is not None:
            progress.end(run)


def has_room_for_a_line() -> bool:
    """Whether a line with the progress can be kept below the output, which then goes to the terminal too."""
    return sys.stdout.isatty() and shows_bars()


def relay(command: Sequence[str | Path], progress: RunsProgress, is_live: bool) -> int:
    """Runs a command whose lines are passed on and tell how far it is; returns its exit code.

    is_live: keep a line with the progress at the bottom of the terminal; otherwise such a line comes once a minute.
    """
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "encoding": "utf-8", "errors": "replace"}
    options |= {"env": os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}}
    options |= {"stderr": subprocess.STDOUT} if is_live else {}
    with started(command, **options) as process, StatusLine(progress, is_live) as status:
        for line in process.stdout:
            progress.see(line)
            status.above(line)
        return process.wait()


class StatusLine:
    """A line with the progress: at the bottom of a terminal, renewed each second, or now and then among the others."""

    def __init__(self, progress: RunsProgress, is_live: bool):
        self.progress, self._bar, self._stopped = progress, None, threading.Event()
        self._last = time.monotonic()
        if is_live:
            from tqdm import tqdm

            self._bar = tqdm(bar_format="{desc}", leave=False, dynamic_ncols=True)
            self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> StatusLine:
        if self._bar is not None:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        if self._bar is not None:
            self._thread.join()
            self._bar.close()

    def _renew(self) -> None:
        while not self._stopped.wait(1):
            self._bar.set_description_str(self.progress.describe())

    def above(self, line: str) -> None:
        """Prints a line of the command."""
        text = line.rstrip("\n")
        if self._bar is not None:
            with self._bar.external_write_mode():
                say(text)
            return
        say(text)
        if time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            say(self.progress.describe())
