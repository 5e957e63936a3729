"""python3 -m pytest tests/scripts/test_run_progress.py

How far a list of runs is, and how long the rest will take.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
from pathlib import Path

import pytest

from reporting import run_progress
from reporting.run_progress import PlannedRun, RunsProgress


def planned(tmp_path: Path, name: str, kind: str, weight: float) -> PlannedRun:
    return PlannedRun(name, kind, tmp_path / name, "run.py", [], weight)


def test_the_time_left_is_learned_from_the_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    now = [100.0]
    monkeypatch.setattr(run_progress.time, "monotonic", lambda: now[0])
    runs = [planned(tmp_path, *run) for run in (("a1", "a", 10), ("a2", "a", 10), ("b1", "b", 40), ("b2", "b", 40))]
    progress = RunsProgress(runs, tmp_path)
    progress.begin(runs[0])
    assert (
        progress.seconds_left() is None
        and progress.describe() == "run 1 of 4: a1; 0:00 so far, time left not known yet"
    )
    now[0] += 5
    progress.see("train 50/200 steps  epoch 0.5")  # a quarter of 10 in 5 seconds: 2 seconds for a weight of 1
    assert progress.seconds_left() == pytest.approx(0.75 * 20 + 20 + 80 + 80)
    now[0] += 25
    runs[0].folder.mkdir()
    (runs[0].folder / "results.json").touch()
    progress.end(runs[0])  # 30 seconds: so will a2, and 3 seconds for a weight of 1
    progress.begin(runs[1])
    assert progress.seconds_left() == pytest.approx(30 + 120 + 120)
    assert progress.describe() == "run 2 of 4: a2; 0:30 so far, about 4:30 left"
    runs[1].folder.mkdir()
    progress.begin(runs[1])  # gone on with: where it is, its first line tells
    progress.see("train 100/200 steps  epoch 1.0")
    assert progress.seconds_left() == pytest.approx(15 + 120 + 120)
    now[0] += 99
    progress.end(runs[1])  # its time says nothing
    again = RunsProgress(runs, tmp_path)
    again.begin(runs[2])
    assert again.seconds_left() == pytest.approx(30 + 120 + 120)  # a2 left no results


@pytest.mark.parametrize("columns", [0, 80])
def test_a_terminal_of_unknown_width_gets_lines(columns: int, monkeypatch: pytest.MonkeyPatch):
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(controller, "rb", buffering=0), os.fdopen(terminal, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "stderr", output)
        assert run_progress.has_room_for_a_line() == (columns > 0)


def test_a_resumed_run_alone_tells_its_rate_from_its_second_line_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    now = [0.0]
    monkeypatch.setattr(run_progress.time, "monotonic", lambda: now[0])
    run = planned(tmp_path, "a1", "a", 10)
    run.folder.mkdir()
    progress = RunsProgress([run], tmp_path)
    progress.begin(run)
    progress.see("train 100/200 steps  epoch 0.5")
    assert progress.seconds_left() is None
    now[0] += 8
    progress.see("train 120/200 steps  epoch 0.6")
    assert progress.seconds_left() == pytest.approx(32)
