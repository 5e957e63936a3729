"""Draws learning curves: training loss above, the main score of every evaluation below, as PNG and SVG.

    python3 scripts/plot_runs.py ckpt/koelectra-base-nsmc-ckpt --output curves
    python3 scripts/plot_runs.py ckpt/run-a ckpt/run-b --output curves --x seconds --metric loss
    python3 scripts/plot_runs.py ckpt/run-a ckpt/run-b --output accuracy --panels score --x epoch --name_by folder
    python3 scripts/plot_runs.py ckpt/kosplinter ckpt/koelectra --output few_shot --x questions

Reads each run's metrics.jsonl; task, model and seed come from results.json if the run has finished. A folder with
seed-* folders stands for all of them; the seeds of one model share a colour. The same files give the same bytes.

--x questions draws F1 and exact match of few-shot results by the number of training questions instead; every
results.json below the folders is read, and published scores are drawn too, in the colour of their model.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import functools
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reporting import few_shot_figure
from reporting.figures import colours, panels_above_legend, put_legend, write_figure
from reporting.results_reading import read_lines, read_object, stop

MANY_POINTS = 50  # with more points, a moving average of the training loss is drawn over the raw line
AXIS = {"step": "optimizer step", "epoch": "epoch", "seconds": "training time"}
QUESTIONS = "questions"  # a different kind of figure: the scores of many runs by the number of training questions
FEW_RUNS = 6  # with more runs, raw lines are not drawn, because they would hide the averages
TIME_UNITS = (("h", 3600.0, 7200.0), ("min", 60.0, 600.0), ("s", 1.0, 0.0))  # name, in seconds, used from so many on
MARKERS = "os^Dv"
STYLES = ("-", "--", ":", "-.")  # one for each split
NO_SHARES = frozenset({"loss", "mse", "mae", "perplexity"})  # shown as they are; all others are shown in per cent
LEFT_OUT = frozenset({"loss", "pearson"})  # the main score of no task; drawn only if there is no other
PANELS = ("loss", "score")


@dataclass(frozen=True)
class PlottedRun:
    """One run's metrics.jsonl. group: runs in the same group differ only in the seed, and share a colour."""

    folder: Path
    task: str | None
    model: str
    seed: str | None
    metric: str | None
    group: tuple[str, ...]
    training: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]


def expand(folder: Path) -> list[Path]:
    """The run folders that a folder of the command line stands for. Raises ValueError where there are none."""
    if (folder / "metrics.jsonl").is_file():
        return [folder]
    if not folder.is_dir():
        raise ValueError(f"no such folder: {folder}")
    seeds = [child.parent for child in folder.glob("seed-*/metrics.jsonl")]
    if not seeds:
        raise ValueError(f"{folder} has no metrics.jsonl and no seed-*/metrics.jsonl")
    return sorted(seeds, key=lambda path: (len(path.name), path.name))  # seed-9 before seed-10


def read_run(folder: Path, given: Path, metric: str | None, name_by: str = "model") -> PlottedRun:
    """Reads a run. given: the folder of the command line in which `folder` was found. name_by: model or folder."""
    events = read_lines(folder / "metrics.jsonl")
    results: dict[str, Any] = {}
    if (folder / "results.json").is_file():
        try:
            results = read_object(folder / "results.json")
        except ValueError as error:
            print(f"warning: {folder / 'results.json'}: {error}; named after the folder", file=sys.stderr)
    evaluations = [event for event in events if event.get("event") == "evaluation"]
    evaluations = [event for event in evaluations if isinstance(event.get("metrics"), dict)]
    names = [name for event in evaluations for name in event["metrics"]]
    guess = next((name for name in names if name not in LEFT_OUT), names[0] if names else None)
    unnamed_seed = folder.name.removeprefix("seed-") if folder != given else None
    seed = results.get("seed", unnamed_seed)
    # A folder given as a path is named by its last part.
    model = str((name_by == "model" and results.get("model")) or given.resolve().name)
    return PlottedRun(
        folder=folder,
        task=results.get("task"),
        model=model,
        seed=None if seed is None else str(seed),
        metric=metric or results.get("main_metric") or guess,
        group=(str(results.get("task")), model),
        training=[event for event in events if event.get("event") == "train"],
        evaluations=evaluations,
    )


def series(events: Sequence[dict[str, Any]], x: str, values: Sequence[Any]) -> tuple[list[float], list[float]]:
    """x and values, sorted by x; events that lack one of them are left out, NaN and infinity become gaps."""
    points = []
    for event, value in zip(events, values, strict=True):
        numbers = (event.get(x), value)
        if all(isinstance(number, int | float) for number in numbers):
            points.append((float(numbers[0]), float(numbers[1]) if math.isfinite(numbers[1]) else math.nan))
    points.sort(key=lambda point: point[0])
    return [point[0] for point in points], [point[1] for point in points]


def losses_of(run: PlottedRun, x: str) -> tuple[list[float], list[float]]:
    """x and the training loss, as `series`."""
    return series(run.training, x, [event.get("loss") for event in run.training])


def scores_of(run: PlottedRun, x: str, split: str) -> tuple[list[float], list[float]]:
    """x and the main score on a split in per cent, or a loss as it is; as `series`."""
    events = [event for event in run.evaluations if str(event.get("split")) == split]
    at, scores = series(events, x, [event["metrics"].get(run.metric) for event in events])
    factor = 1 if run.metric in NO_SHARES else 100
    return at, [factor * score for score in scores]


def averaged(losses: Sequence[float]) -> list[float]:
    """The moving average that is drawn of many losses, over about a twentieth of them."""
    return moving_average(losses, 2 * (len(losses) // 40) + 3)


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """The mean of the `window` (an odd number) values around each value, of fewer at both ends; NaN is left out."""
    half = window // 2
    sums, counts = [0.0], [0]  # running totals: a long run has 100,000 points and a window of thousands
    for value in values:
        sums.append(sums[-1] + (0.0 if math.isnan(value) else value))
        counts.append(counts[-1] + (not math.isnan(value)))
    means = []
    for index in range(len(values)):
        start, end = max(0, index - half), min(len(values), index + half + 1)
        count = counts[end] - counts[start]
        means.append((sums[end] - sums[start]) / count if count else math.nan)
    return means


def separate(runs: Sequence[PlottedRun]) -> dict[tuple[str, ...], list[PlottedRun]]:
    """Groups of runs that share a colour. A group in which a seed occurs twice is divided by folders."""
    groups: dict[tuple[str, ...], list[PlottedRun]] = defaultdict(list)
    for run in runs:
        groups[run.group].append(run)
    apart: dict[tuple[str, ...], list[PlottedRun]] = defaultdict(list)
    for key, members in groups.items():
        repeated = len({run.seed for run in members}) < len(members)
        for run in members:
            folder = run.folder.parent if run.folder.name.startswith("seed-") else run.folder
            apart[(*key, str(folder)) if repeated else key].append(run)
    return apart


def labels(groups: dict[tuple[str, ...], list[PlottedRun]]) -> tuple[str, list[str]]:
    """The figure's title (what all runs have in common) and a legend text for each group."""
    firsts = [members[0] for members in groups.values()]
    tasks = {run.task for run in firsts}
    common = firsts[0].task if len(tasks) == 1 else None
    texts = []
    for key, members in groups.items():
        parts = [members[0].task] if members[0].task and not common else []
        parts.append(members[0].model)
        parts += [Path(key[2]).name] if len(key) == 3 and Path(key[2]).name != members[0].model else []
        seeds = [run.seed for run in members if run.seed is not None]
        parts += [("seed " if len(seeds) == 1 else "seeds ") + ", ".join(seeds)] if seeds else []
        texts.append(" · ".join(str(part) for part in parts))
    return f"Learning curves: {common}" if common else "Learning curves", texts


def draw_loss(axes: Any, run: PlottedRun, x: str, scale: float, colour: Any, raw: bool) -> bool:
    """Draws one run's loss; with many points, a moving average over the light raw line. False: nothing to draw."""
    at, loss = losses_of(run, x)
    at = [value / scale for value in at]
    if len(at) > MANY_POINTS:
        if raw:
            axes.plot(at, loss, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(at, averaged(loss), color=colour, linewidth=1.6)
    else:
        axes.plot(at, loss, color=colour, linewidth=1.4, marker="o" if len(at) < 3 else None, markersize=4)
    return bool(at)


def split_style(index: int) -> dict[str, Any]:
    return {"linestyle": STYLES[index % len(STYLES)], "marker": MARKERS[index % len(MARKERS)], "markersize": 4}


def draw_scores(axes: Any, run: PlottedRun, x: str, scale: float, colour: Any, splits: Sequence[str]) -> bool:
    """Draws one line for each split, scores in per cent and a loss as it is. False: there is nothing to draw."""
    drawn = False
    for index, split in enumerate(splits):
        at, scores = scores_of(run, x, split)
        axes.plot([value / scale for value in at], scores, color=colour, linewidth=1.4, **split_style(index))
        drawn |= bool(at)
    return drawn


def score_label(runs: Sequence[PlottedRun], splits: Sequence[str]) -> str:
    metrics = {run.metric for run in runs if run.metric and run.evaluations}
    name = next(iter(metrics)).replace("_", " ") if len(metrics) == 1 else "main score"
    unit = "" if metrics <= NO_SHARES else " (%)"
    return f"{splits[0]} {name}{unit}" if len(splits) == 1 else f"{name}{unit}"


def time_unit(runs: Sequence[PlottedRun], x: str) -> tuple[str, float]:
    """The label of the x axis, and the number by which x values are divided."""
    if x != "seconds":
        return AXIS[x], 1.0
    every = [event.get(x) for run in runs for event in (*run.training, *run.evaluations)]
    longest = max((value for value in every if isinstance(value, int | float)), default=0.0)
    name, seconds, _ = next(unit for unit in TIME_UNITS if longest >= unit[2])
    return f"{AXIS[x]} ({name})", seconds


def draw(runs: Sequence[PlottedRun], x: str, panels: Sequence[str] = PANELS) -> Any:
    """Draws the figure. A run without values at `x` has no line, and an empty panel says that it is empty."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    groups = separate(runs)
    title, texts = labels(groups)
    splits = sorted({str(event.get("split")) for run in runs for event in run.evaluations if "score" in panels})
    keys = texts + (splits if len(splits) > 1 else [])
    figure, every, columns = panels_above_legend(len(panels), texts, len(keys))
    axes_of = dict(zip(panels, every, strict=True))
    name, scale = time_unit(runs, x)
    drawn = dict.fromkeys(panels, False)
    handles = []
    for colour, members in zip(colours(len(groups)), groups.values(), strict=True):
        for run in members:
            if "loss" in panels:
                drawn["loss"] |= draw_loss(axes_of["loss"], run, x, scale, colour, raw=len(runs) <= FEW_RUNS)
            if "score" in panels:
                drawn["score"] |= draw_scores(axes_of["score"], run, x, scale, colour, splits)
        handles.append(Line2D([], [], color=colour, linewidth=2.5))
    if len(splits) > 1:
        handles += [Line2D([], [], color="#555555", **split_style(index)) for index in range(len(splits))]
    only_averages = len(runs) > FEW_RUNS and any(len(run.training) > MANY_POINTS for run in runs)
    loss_label = "training loss" + (" (moving average)" if only_averages else "")
    for panel, axes in axes_of.items():
        axes.set_ylabel(loss_label if panel == "loss" else score_label(runs, splits))
        if not drawn[panel]:
            what = "training loss" if panel == "loss" else "evaluation"
            axes.text(0.5, 0.5, f"no {what} recorded", transform=axes.transAxes, ha="center", color="#777777")
            axes.set_yticks([])
    axes_of[panels[0]].set_title(title)
    lower = axes_of[panels[-1]]
    lower.set_xlabel(name)
    lower.set_xlim(left=0)  # training starts there, and a single point gets a readable axis
    figure.align_ylabels()
    if x == "step":
        lower.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    put_legend(figure, handles, keys, columns)
    return figure


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER", help="an output_dir, or one of seed-*")
    parser.add_argument("--output", type=Path, required=True, metavar="NAME", help="writes NAME.png and NAME.svg")
    parser.add_argument("--metric", metavar="NAME", help="score to draw (default: each run's main score)")
    parser.add_argument("--x", choices=[*AXIS, QUESTIONS], default="step", help="horizontal axis (default: step)")
    parser.add_argument("--panels", nargs="+", choices=PANELS, help="what to draw (default: both)")
    parser.add_argument(
        "--name_by", choices=["model", "folder"], default="model", help="in the legend (default: model)"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    try:
        draw_it, count = few_shot(arguments) if arguments.x == QUESTIONS else learning_curves(arguments)
        paths = write_figure(draw_it, arguments.output)
    except (ValueError, OSError) as error:
        stop(str(error))
    print(f"{count} {'run' if count == 1 else 'runs'}: {', '.join(map(str, paths))}")


def learning_curves(arguments: argparse.Namespace) -> tuple[Callable[[], Any], int]:
    """A function that draws the learning curves, and the number of runs. Raises ValueError where there are none."""
    runs: dict[Path, PlottedRun] = {}
    for given in arguments.folders:
        for folder in expand(given):
            runs.setdefault(folder.resolve(), read_run(folder, given, arguments.metric, arguments.name_by))
    check(list(runs.values()), arguments.metric)
    panels = tuple(dict.fromkeys(arguments.panels or PANELS))
    return functools.partial(draw, list(runs.values()), arguments.x, panels), len(runs)


def few_shot(arguments: argparse.Namespace) -> tuple[Callable[[], Any], int]:
    """A function that draws few-shot scores by the number of training questions, and the number of runs."""
    if arguments.panels or arguments.name_by != "model":
        raise ValueError(f"--panels and --name_by are for learning curves, not for --x {QUESTIONS}")
    panels = tuple(few_shot_figure.PANEL_TITLES)
    if arguments.metric not in (None, *panels):
        raise ValueError(f"--x {QUESTIONS} draws {' and '.join(panels)}, not {arguments.metric!r}")
    rows = few_shot_figure.read_rows(arguments.folders)
    count = sum(len(runs) for row in rows for runs in row.cells.values())
    return functools.partial(few_shot_figure.draw, rows, (arguments.metric,) if arguments.metric else panels), count


def check(runs: Sequence[PlottedRun], metric: str | None) -> None:
    """ValueError where there is nothing to draw, or no run has the metric that was asked for."""
    if not any(run.training or run.evaluations for run in runs):
        raise ValueError(f"nothing to draw in {', '.join(str(run.folder / 'metrics.jsonl') for run in runs)}")
    known = sorted({name for run in runs for event in run.evaluations for name in event["metrics"]})
    if metric is not None and metric not in known:
        raise ValueError(f"no run has the metric {metric!r} (there is: {', '.join(known) or 'none'})")


if __name__ == "__main__":
    sys.exit(run_main(main))
