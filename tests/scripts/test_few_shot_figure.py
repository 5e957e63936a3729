"""python3 -m pytest tests/scripts/test_few_shot_figure.py

The few-shot figure of `plot_runs.py --x questions`, from hand-made results: what is drawn, and the files.
"""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from conftest import REPOSITORY
from few_shot_runs import write_run

SCRIPT = REPOSITORY / "scripts" / "plot_runs.py"


@pytest.fixture(scope="module")
def few_shot_figure() -> ModuleType:
    return importlib.import_module("reporting.few_shot_figure")


def call(*words: str | Path, code: int = 0) -> tuple[str, str]:
    command = [sys.executable, SCRIPT, *words, "--x", "questions"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    return done.stdout, done.stderr


def points_of(axes: Any, colour: str, style: str) -> list[tuple[float, float]]:
    """All points of the lines in that colour and style, without error bars."""
    lines = [line for line in axes.lines if line.get_color() == colour and line.get_linestyle() == style]
    return [point for line in lines for point in zip(*line.get_data(), strict=True)]


def test_a_curve_a_model_with_error_bars_and_the_published_one(few_shot_figure: ModuleType, tmp_path: Path):
    for seed, right in ((42, 20), (43, 22), (44, 24)):
        write_run(tmp_path / "s", "kosplinter", 16, seed, right)
        write_run(tmp_path / "s", "kosplinter", 64, seed, 30)
        write_run(tmp_path / "s", "kosplinter", "full", seed, 36)
    write_run(tmp_path / "a", "a-bert", 16, 42, 10)
    figure = few_shot_figure.draw(few_shot_figure.read_rows([tmp_path]))
    upper, lower = figure.axes
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("F1 (%)", "exact match (%)")
    assert lower.get_xlabel() == "training questions"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["KoSplinter · 3 samples", "a-bert · 1 sample", "published"]
    # The published sizes are all there: 16 is 2^4, and the whole set stands apart from 1024, which is 2^10.
    assert [text.get_text() for text in lower.get_xticklabels()] == "16 32 64 128 256 512 1024 Full".split()
    assert list(lower.get_xticks()) == [4, 5, 6, 7, 8, 9, 10, pytest.approx(11.2)]
    ours, other = few_shot_figure.colours(2)
    aside = few_shot_figure.BESIDE / 2
    measured = points_of(lower, ours, "-")
    assert measured == [pytest.approx(point) for point in ((4 - aside, 55), (6 - aside, 75), (11.2 - aside, 90))]
    assert points_of(lower, other, "-") == [pytest.approx((4 + aside, 25))]
    published = points_of(lower, ours, "--")
    assert (
        published[0] == (4, 33.67) and published[6] == (10, 79.47) and {score for _, score in published[7:]} == {86.16}
    )
    assert points_of(lower, other, "--") == []
    curves = [line for line in lower.lines if line.get_color() == ours and line.get_marker() == "o"]
    assert sorted(len(line.get_xdata()) for line in curves) == [1, 2]  # the whole training set is no point of the line
    bars = [path.vertices[:, 1] for container in lower.containers for path in container.lines[2][0].get_paths()]
    assert bars[0] == pytest.approx([50, 60]) and np.isnan(bars[-1]).all()  # 55 ± 5; one sample has none
    figure.savefig(io.BytesIO())  # lays it out
    box = figure.legends[0].get_window_extent()
    assert box.y1 <= min(axes.get_tightbbox().y0 for axes in figure.axes) and box.y0 >= 0


def test_one_panel_and_only_samples_or_only_everything(few_shot_figure: ModuleType, tmp_path: Path):
    write_run(tmp_path / "some", "a-bert", 16, 42, 10)
    write_run(tmp_path / "some", "a-bert", 48, 42, 10)
    write_run(tmp_path / "all", "a-bert", "full", 42, 10)
    (axes,) = few_shot_figure.draw(few_shot_figure.read_rows([tmp_path / "some"]), ("em",)).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["16", "48"]
    assert axes.get_ylabel() == "exact match (%)"
    assert axes.get_title() == "KorQuAD with few questions"  # no samples to have a deviation
    _, axes = few_shot_figure.draw(few_shot_figure.read_rows([tmp_path / "all"])).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["Full"]


def test_both_files_are_the_same_every_time(tmp_path: Path):
    for seed in (42, 43):
        write_run(tmp_path / "s", "kosplinter", 16, seed, 20)
    write_run(tmp_path / "lr", "kosplinter", 16, 42, 20, learning_rate=1.0)
    said, errors = call(tmp_path, "--output", tmp_path / "new" / "few.svg")
    assert "3 runs: " in said and errors == "note: KoSplinter [2]: a row of its own: learning_rate 1.0, not 3e-05\n"
    call(tmp_path, "--output", tmp_path / "again")
    for kind in ("png", "svg"):
        assert (tmp_path / f"new/few.{kind}").read_bytes() == (tmp_path / f"again.{kind}").read_bytes()


def test_errors_of_the_caller(tmp_path: Path):
    write_run(tmp_path / "run", "a-bert", 16, 42, 10)
    (tmp_path / "empty").mkdir()
    output = ("--output", tmp_path / "few")
    for words, reason in (
        ([tmp_path / "absent"], "no such folder"),
        ([tmp_path / "empty"], "no results of korquad-few-shot below"),
        ([tmp_path, "--metric", "accuracy"], "draws f1 and em, not 'accuracy'"),
        ([tmp_path, "--panels", "loss"], "are for learning curves"),
        ([tmp_path, "--name_by", "folder"], "are for learning curves"),
    ):
        _, error = call(*words, *output, code=2)
        assert error.count("\n") == 1 and reason in error
    assert not (tmp_path / "few.png").exists()
    call(tmp_path, "--metric", "em", *output)
    assert (tmp_path / "few.png").exists()
