"""python3 -m pytest tests/unit/test_tensorboard_file.py

TensorBoard's own reader says what a user sees; `metrics.jsonl` says what that has to be.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from small_jobs import evaluated_job, make_job
from tensorboard_curves import files_of, logged, shown
from training import config as config_module
from training.config import UsageError
from training.loop import fit
from training.results import MetricsLog, delete_earlier_run, written_by_runs
from training.tensorboard_file import NAME, TensorBoardFile, points_of
from workflows.settings import FineTuningConfig

pytest.importorskip("tensorboard")


def test_curves_are_those_of_the_log(tmp_path: Path) -> None:
    fit(evaluated_job(tmp_path / "run", eval_steps=5, report_to="tensorboard"))
    curves = shown(tmp_path / "run")
    assert curves == logged(tmp_path / "run")
    assert {"train/loss", "train/learning_rate", "eval/accuracy"} <= curves.keys()
    assert [step for step, _ in curves["eval/accuracy"]][:2] == [5, 10]
    assert len(files_of(tmp_path / "run")) == 1


def test_without_the_setting_there_is_no_file(tmp_path: Path) -> None:
    fit(make_job(tmp_path / "run", max_steps=2))
    assert files_of(tmp_path / "run") == []


def test_a_resumed_run_leaves_one_file_without_doubled_or_missing_points(tmp_path: Path) -> None:
    settings = {"save_steps": 4, "save_optimizer": True, "eval_steps": 5, "report_to": "tensorboard", "max_steps": 12}
    run = tmp_path / "run"
    fit(evaluated_job(run, **settings))
    whole = shown(run)
    # As a kill leaves it: behind the newest checkpoint there are points, the last one cut off in the middle.
    for step in (10, 12):
        shutil.rmtree(run / f"checkpoint-{step}", ignore_errors=True)
    (first,) = files_of(run)
    first.write_bytes(first.read_bytes()[:-9])
    assert shown(run)["train/loss"] == whole["train/loss"]
    assert len(shown(run)["eval/accuracy"]) == len(whole["eval/accuracy"]) - 1

    fit(evaluated_job(run, resume=True, **settings))
    (second,) = files_of(run)
    assert first.name < second.name  # TensorBoard reads them in this order
    curves = shown(run)
    assert curves == logged(run)
    assert curves["train/loss"] == whole["train/loss"] and len(curves["train/loss"]) == 12


def test_who_has_read_the_file_before_sees_no_point_twice(tmp_path: Path) -> None:
    lines = [{"event": "train", "step": step, "loss": float(step), "seconds": 1.0 * step} for step in (1, 2, 3)]
    first = TensorBoardFile(tmp_path)
    first.begin(lines[:1])
    first.add(lines[1])
    first.add(lines[2])
    kept = first.path.read_bytes()
    second = TensorBoardFile(tmp_path)
    second.begin(lines[:2])
    second.add({**lines[2], "loss": 9.0})
    assert files_of(tmp_path) == [second.path]
    first.path.write_bytes(kept)  # a TensorBoard that was open all the time has read both
    assert shown(tmp_path) == {"train/loss": [(1, 1.0), (2, 2.0), (3, 9.0)]}


def test_a_run_that_began_without_tensorboard_has_its_beginning_too(tmp_path: Path) -> None:
    fit(make_job(tmp_path / "run", max_steps=4))
    fit(make_job(tmp_path / "run", max_steps=4, resume=True, report_to="tensorboard"))
    assert [step for step, _ in shown(tmp_path / "run")["train/loss"]] == [1, 2, 3, 4]


def test_the_file_is_the_runs_and_another_is_not(tmp_path: Path) -> None:
    fit(make_job(tmp_path / "run", max_steps=2, report_to="tensorboard"))
    (own,) = files_of(tmp_path / "run")
    assert NAME.fullmatch(own.name) and own in written_by_runs(tmp_path / "run")
    others = tmp_path / "run" / "events.out.tfevents.1.host.2.0"
    others.write_bytes(b"of somebody else")
    delete_earlier_run(tmp_path / "run")
    assert files_of(tmp_path / "run") == [others]


def test_figures_that_are_no_numbers_have_no_point() -> None:
    line = {"event": "evaluation", "step": 3, "split": "dev", "metrics": {"f1": 0.5, "auc": None}, "seconds": 2.0}
    assert points_of(line) == {"eval/f1": 0.5}
    assert points_of({"event": "train", "step": 3, "seconds": 2.0, "loss": 1}) == {"train/loss": 1.0}


def test_a_disk_that_does_not_take_it_is_said_in_a_line(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, TensorBoardFile(tmp_path))
    log.begin()
    log.curves.path.unlink()
    log.curves.path.mkdir()
    with pytest.raises(UsageError, match=r"tfevents.* could not be written .*: mend that and go on with --resume"):
        log.write("train", step=1, loss=1.0)
    assert json.loads(log.path.read_text(encoding="utf-8"))["step"] == 1


def test_where_the_library_is_not_installed_it_is_said_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_module, "is_installed", lambda: False)
    config = FineTuningConfig(task="t", model_type="m", report_to="tensorboard")
    said = [found.message for found in config_module.OutputConfig.contradictions(config, {})]
    assert said == ["report_to tensorboard needs a library that is not installed: python3 -m pip install tensorboard"]
    assert not list(config_module.OutputConfig.contradictions(config.model_copy(update={"report_to": "none"}), {}))
