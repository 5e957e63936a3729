"""python3 -m pytest tests/unit/test_pulse.py

No minute of a run is silent: what is printed about it, and when, by a clock that the test moves on.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from processors.features import build_features
from processors.task import Rows
from small_jobs import losses, make_job, weights
from small_tokenizers import wordpiece
from storage.activity import Activity, begin, clock, counted, doing, end, has_printed, note_a_line, under_way
from training.loop import Job, fit
from training.progress import Progress
from training.pulse import SECONDS_UNTIL_ASKED, Pulse
from training.runtime import Runtime
from workflows.script import run_command
from workflows.settings import FineTuningConfig


class Clock:
    """A clock that stands still until it is moved on."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def beat():
    """Lets seconds pass, with a beat after each; returns the lines that were printed then."""
    has_printed()
    now, lines = Clock(), []
    pulse = Pulse("run_seq_cls.py", now, lines.append)

    def let_pass(seconds: int) -> list[str]:
        lines.clear()
        for _ in range(seconds):
            now.seconds += 1
            pulse.beat()
        return list(lines)

    let_pass.now = now
    return let_pass


def test_no_minute_is_silent(beat):
    assert beat(54) == []
    assert beat(1) == ["run_seq_cls.py  0:55 so far"]
    assert [len(beat(55)) for _ in range(3)] == [1, 1, 1]


def test_what_is_printed_by_others_counts(beat):
    beat(50)
    note_a_line()
    assert beat(50) == []
    assert len(beat(10)) == 1


def test_activities_lie_in_one_another(beat):
    activity = Activity("tokenize", 1000, now=beat.now)
    with doing("encode train"):
        begin(activity)
        activity.advance(250)
        assert beat(60) == ["encode train, tokenize 250/1000 rows  4.5 rows/s  2:45 left"]
        end(activity)
        assert beat(60)[0].startswith("encode train  ")
    assert under_way() == []


def test_an_activity_that_failed_leaves_nothing_behind():
    with pytest.raises(ValueError), doing("outer"):
        begin(Activity("inner"))
        raise ValueError
    assert under_way() == []


def test_training_prints_its_own_line_when_asked(beat, monkeypatch: pytest.MonkeyPatch):
    runtime, said = Runtime(no_cuda=True, precision="fp32"), []
    monkeypatch.setattr(runtime, "say", lambda line: (said.append(line), note_a_line()))
    progress = Progress(runtime, "train", 100, "step", done=10, now=beat.now)
    progress.can_tell_more = True
    try:
        progress.advance(10)
        assert beat(int(SECONDS_UNTIL_ASKED)) == [] and progress.is_asked
        progress.show("loss 0.5")
        assert said == ["train 20/100 steps  loss 0.5  7:20 left"] and not progress.is_asked
        assert beat(58) == [] and progress.is_asked
        # A step that takes longer than a minute: nobody answers.
        assert beat(2) == ["train 20/100 steps  0.087 steps/s  15:20 left"]
    finally:
        progress.close()


def run_that_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch, is_asked: bool, **settings) -> tuple[Job, list]:
    """A training of seven steps, of which each is asked for a line or none; also the lines it printed."""
    lines: list[str] = []
    advance = Progress.advance

    def ask(self: Progress, count: int = 1) -> None:
        advance(self, count)
        self.is_asked = is_asked

    monkeypatch.setattr(Progress, "advance", ask)
    monkeypatch.setattr(Runtime, "say", lambda self, line: lines.append(line))
    job = make_job(folder, num_train_epochs=1, **settings)
    fit(job)
    monkeypatch.undo()
    return job, [line for line in lines if line.startswith("train ")]


@pytest.mark.parametrize("save_steps", [0, 3])
def test_asking_for_lines_changes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_steps: int):
    """With `logging_steps` of 5 in seven steps: what stands in metrics.jsonl is the same to the bit."""
    settings = {"logging_steps": 5, "save_steps": save_steps}
    asked, lines = run_that_is_asked(tmp_path / "asked", monkeypatch, True, **settings)
    silent, few = run_that_is_asked(tmp_path / "silent", monkeypatch, False, **settings)
    assert [line.split()[1] for line in lines] == [f"{step}/7" for step in range(1, 8)]
    assert [line.split()[1] for line in few] == ["5/7", "7/7"]
    assert losses(tmp_path / "asked") == losses(tmp_path / "silent")
    assert all(torch.equal(value, weights(silent)[name]) for name, value in weights(asked).items())
    # The lines between give the mean loss since the last log line: those of a run that logs each step, put together.
    run_that_is_asked(tmp_path / "each", monkeypatch, False, logging_steps=1)
    each = [loss for _, loss in losses(tmp_path / "each")]
    shown = [float(line.split("loss ")[1].split()[0]) for line in lines]
    assert shown[:4] == pytest.approx([np.mean(each[:step]) for step in (1, 2, 3, 4)], abs=6e-5)
    assert "lr " in lines[0] and "rows/s" in lines[0] and lines[0].endswith("left")


def test_a_bar_needs_no_lines(beat):
    activity = Activity("train", 5, now=beat.now)
    activity.has_bar = True
    begin(activity)
    try:
        assert beat(300) == []
    finally:
        end(activity)


def test_tokenizing_counts_its_rows(tmp_path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    advance = Activity.advance

    def watched(self: Activity, count: int = 1) -> None:
        advance(self, count)
        seen.append(([activity.name for activity in under_way()], self.done, self.total))

    monkeypatch.setattr(Activity, "advance", watched)
    texts = ["가 나"] * 3000
    build_features(Rows(texts, None, None), wordpiece(), 16, tmp_path)
    assert seen == [(["tokenize"], 2048, 3000), (["tokenize"], 3000, 3000)]


def test_every_script_has_a_pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The run lasts until the pulse has beaten."""
    has_beaten = threading.Event()
    monkeypatch.setattr(Pulse, "beat", lambda self: has_beaten.set())
    argv = ["--task", "t", "--model_type", "koelectra-base-v3", "--ckpt_dir", str(tmp_path), "--output_dir", "run"]
    argv += ["--cache_dir", str(tmp_path / "cache")]
    beaten = []
    code = run_command(
        "run_seq_cls.py", "", argv, FineTuningConfig, {"t": {}}, lambda *_: beaten.append(has_beaten.wait(60))
    )
    assert (code, beaten) == (0, [True])


def test_counted_and_clock():
    activity = Activity("read")
    assert list(counted("abc", activity)) == ["a", "b", "c"] and activity.place() == "read 3 rows"
    assert [clock(seconds) for seconds in (75, 3675)] == ["1:15", "1:01:15"]
