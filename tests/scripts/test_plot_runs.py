"""python3 -m pytest tests/scripts/test_plot_runs.py

Hand-made metrics.jsonl files; the figure's contents are looked at in process, the files through the script.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "plot_runs.py"


def write_run(folder: Path, model: Any = "koelectra-base", seed: int = 42, steps: int = 10, **names: Any) -> Path:
    """`steps` training lines and two evaluations, accuracy 0.50 and 0.75; no results.json where model is None."""
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        point = {"step": step, "epoch": step / 10, "seconds": 60.0 * step}
        lines.append({"event": "train", **point, "loss": 1 / step, "learning_rate": 5e-05})
        if steps > 1 and step in (steps // 2, steps):
            for split in names.get("splits", ("test",)):
                scores = {"loss": 0.4, "accuracy": 0.5 if step < steps else 0.75}
                lines.append({"event": "evaluation", **point, "split": split, "metrics": scores})
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if model:
        results = {"task": names.get("task", "nsmc"), "model": model, "seed": seed, "main_metric": "accuracy"}
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder


def call(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
    result = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def plot_runs() -> ModuleType:
    return importlib.import_module("plot_runs")


def figure_of(plot_runs: ModuleType, *folders: Path, x: str = "step", metric: str | None = None) -> Any:
    runs = [plot_runs.read_run(run, given, metric) for given in folders for run in plot_runs.expand(given)]
    return plot_runs.draw(runs, x)


def legend_of(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_png_and_svg_are_written_and_the_same_every_time(tmp_path: Path) -> None:
    for seed in (42, 43):
        write_run(tmp_path / f"run/seed-{seed}", seed=seed, steps=60)
    said, errors = call(tmp_path / "run", "--output", tmp_path / "new/curves")
    assert said.startswith("2 runs: ") and errors == ""
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["curves.png", "curves.svg"]
    png, svg = ((tmp_path / f"new/curves.{kind}").read_bytes() for kind in ("png", "svg"))
    assert png.startswith(b"\x89PNG") and b"<svg" in svg and b"<dc:date>" not in svg
    call(tmp_path / "run", "--output", tmp_path / "again.svg")  # a suffix is no part of the name
    assert (tmp_path / "again.png").read_bytes() == png
    assert (tmp_path / "again.svg").read_bytes() == svg


def test_seeds_share_a_colour_and_models_do_not(plot_runs: ModuleType, tmp_path: Path) -> None:
    for seed in (9, 10):
        write_run(tmp_path / f"a/seed-{seed}", seed=seed)
    write_run(tmp_path / "b", "kobert")
    figure = figure_of(plot_runs, tmp_path / "a", tmp_path / "b")
    upper, lower = figure.axes
    assert legend_of(figure) == ["koelectra-base · seeds 9, 10", "kobert · seed 42"]
    colours = [line.get_color() for line in upper.lines]
    assert colours[0] == colours[1] != colours[2]
    assert [line.get_color() for line in lower.lines] == colours
    assert (upper.get_title(), upper.get_ylabel()) == ("Learning curves: nsmc", "training loss")
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("optimizer step", "test accuracy (%)")
    assert list(lower.lines[0].get_xdata()) == [5, 10] and list(lower.lines[0].get_ydata()) == [50, 75]
    assert list(upper.lines[0].get_ydata()) == [1 / step for step in range(1, 11)]
    assert lower.get_xlim()[0] == 0


def test_the_same_seed_twice_is_told_apart_by_folder(plot_runs: ModuleType, tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name) for name in ("lr-3e-5", "lr-5e-5")]
    figure = figure_of(plot_runs, *runs)
    assert legend_of(figure) == ["koelectra-base · lr-3e-5 · seed 42", "koelectra-base · lr-5e-5 · seed 42"]
    assert len({line.get_color() for line in figure.axes[0].lines}) == 2


def test_many_points_get_a_moving_average_and_many_runs_only_that(plot_runs: ModuleType, tmp_path: Path) -> None:
    # half a window of 3 is 1: means over two values at the ends, NaN counts nowhere
    assert plot_runs.moving_average([1.0, 3.0, 8.0, math.nan], 3) == [2.0, 4.0, 5.5, 8.0]
    assert math.isnan(plot_runs.moving_average([math.nan], 3)[0])
    runs = [write_run(tmp_path / f"m{index:02d}", f"model-{index}", steps=60, splits=("dev", "test"), task=f"t{index}")
            for index in range(12)]  # fmt: skip
    raw, average = figure_of(plot_runs, runs[0]).axes[0].lines
    assert raw.get_alpha() == 0.25 and average.get_alpha() is None and len(average.get_ydata()) == 60
    figure = figure_of(plot_runs, *runs)
    upper, lower = figure.axes
    assert len(upper.lines) == 12 and upper.get_ylabel() == "training loss (moving average)"
    assert len({line.get_color() for line in upper.lines}) == 12
    assert len(lower.lines) == 24 and lower.get_ylabel() == "accuracy (%)"
    assert legend_of(figure)[0] == "t0 · model-0 · seed 42" and legend_of(figure)[-2:] == ["dev", "test"]
    figure.savefig(io.BytesIO())  # lays it out
    box = figure.legends[0].get_window_extent()
    assert box.y1 <= min(axes.get_tightbbox().y0 for axes in figure.axes)  # hides no curve and no label
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0


def test_x_axis_in_epochs_or_time_and_another_metric(plot_runs: ModuleType, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    lower = figure_of(plot_runs, run, x="epoch", metric="loss").axes[1]
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("epoch", "test loss")
    assert list(lower.lines[0].get_xdata()) == [0.5, 1.0] and list(lower.lines[0].get_ydata()) == [0.4, 0.4]
    lower = figure_of(plot_runs, run, x="seconds").axes[1]
    assert lower.get_xlabel() == "training time (min)" and list(lower.lines[0].get_xdata()) == [5, 10]


def test_one_point_unfinished_runs_and_empty_panels(plot_runs: ModuleType, tmp_path: Path) -> None:
    run = write_run(tmp_path / "pinned", model=None, steps=1)
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "train", "step": 2, "loss": NaN}\n{"event": "tra')
    _, errors = call(run, "--output", tmp_path / "curves")
    assert errors.count("\n") == 1 and "metrics.jsonl:3: not a JSON object" in errors
    figure = figure_of(plot_runs, run)
    upper, lower = figure.axes
    assert legend_of(figure) == ["pinned"] and upper.get_title() == "Learning curves"
    assert upper.lines[0].get_marker() == "o"  # a line through one point would be invisible
    assert upper.lines[0].get_ydata()[0] == 1 and math.isnan(upper.lines[0].get_ydata()[1])
    assert [text.get_text() for text in lower.texts] == ["no evaluation recorded"]


def test_names_are_no_formulas(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "_a $x_{$ model")
    assert call(tmp_path / "run", "--output", tmp_path / "curves")[1] == ""
    svg = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    assert re.search(r"<!-- _a \$x_\{\$ model", svg)


def test_one_panel_and_names_of_folders(plot_runs: ModuleType, tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, model="checkpoint-7") for name in ("pre-5-max", "pre-5-cls")]
    runs = [plot_runs.read_run(folder, folder, None, "folder") for folder in folders]
    for panel, label in (("loss", "training loss"), ("score", "test accuracy (%)")):
        figure = plot_runs.draw(runs, "epoch", (panel,))
        assert [axes.get_ylabel() for axes in figure.axes] == [label]
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.texts] == ["pre-5-max · seed 42", "pre-5-cls · seed 42"]
    flags = ["--panels", "loss", "--name_by", "folder", "--output", tmp_path / "loss"]
    assert call(*folders, *flags)[0].startswith("2 runs")
    call(*folders, *flags, "--panels", "losses", code=2)


def test_errors_of_the_caller(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank/metrics.jsonl").touch()
    output = ("--output", tmp_path / "curves")
    for arguments, reason in (
        ([tmp_path / "absent", *output], "no such folder"),
        ([tmp_path / "empty", *output], "no metrics.jsonl and no seed-*"),
        ([tmp_path / "blank", *output], "nothing to draw"),
        ([run, *output, "--metric", "f1"], "no run has the metric 'f1' (there is: accuracy, loss)"),
        ([run, "--output", run / "results.json/curves"], "results.json"),
    ):
        _, error = call(*arguments, code=2)
        assert error.count("\n") == 1 and reason in error
    call(run, *output, "--metr", "loss", code=2)
    assert not (tmp_path / "curves.png").exists()
