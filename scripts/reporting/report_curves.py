"""For the page of `scripts/report.py`: the learning curves of all runs on a task, drawn from their `metrics.jsonl`."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence

from plot_runs import MANY_POINTS, PlottedRun, averaged, labels, losses_of, read_run, score_label, scores_of, separate
from reporting.markup import Html, element, join, paragraph
from reporting.reported_runs import ReportedRun
from reporting.svg_charts import COLOURS, Line, legend, line_chart
from training.results import METRICS_FILE

MOST_GROUPS = 2 * COLOURS  # of runs in one chart: seven colours, each with two kinds of dashes
MOST_POINTS = 400  # of a curve, beyond which nobody sees a difference


def curves_by_task(runs: Sequence[ReportedRun]) -> list[tuple[str, Html]]:
    """The task and its figures, for each task with a run that has logged something."""
    by_task: dict[str, list[PlottedRun]] = defaultdict(list)
    for run in runs:
        if (run.folder / METRICS_FILE).is_file():
            plotted = as_plotted(run)
            if plotted.training or plotted.evaluations:
                by_task[run.task].append(plotted)
    return [(task, curves(by_task[task])) for task in sorted(by_task)]


def as_plotted(run: ReportedRun) -> PlottedRun:
    """The run as `plot_runs.py` reads it; one that has no results yet is named after its folder."""
    given = run.folder.parent if run.folder.name.startswith("seed-") else run.folder
    plotted = read_run(run.folder, given, None)
    return dataclasses.replace(plotted, task=run.task, group=(run.task, plotted.model))


def curves(runs: Sequence[PlottedRun]) -> Html:
    """Training loss and main score by the step; the seeds of one model share a colour."""
    groups = separate(runs)
    _, names = labels(groups)
    shown = list(groups.values())[:MOST_GROUPS]
    members = [run for group in shown for run in group]
    splits = sorted({str(event.get("split")) for run in members for event in run.evaluations})
    losses = [
        Line("loss", points_of_loss(run), number, number // COLOURS)
        for number, group in enumerate(shown)
        for run in group
    ]
    scores = [
        Line(split, points_of_score(run, split), number, at + number // COLOURS)
        for number, group in enumerate(shown)
        for run in group
        for at, split in enumerate(splits)
    ]
    keys = [(name, number, number // COLOURS) for number, name in enumerate(names[:MOST_GROUPS])]
    keys += [(split, 4, at) for at, split in enumerate(splits)] if len(splits) > 1 else []
    has_averages = any(len(run.training) > MANY_POINTS for run in members)
    said = f"{len(shown)} of {len(groups)} groups of runs are drawn; fewer folders give a page about the others."
    figures = [
        line_chart("training loss" + (" (moving average)" if has_averages else ""), "step", losses),
        line_chart(score_label(members, splits) if splits else "main score", "step", scores),
    ]
    return join([
        element("div", *figures, cls="charts"),
        legend(keys),
        paragraph(said, cls="faint") if len(shown) < len(groups) else Html(""),
    ])  # fmt: skip


def points_of_loss(run: PlottedRun) -> list[tuple[float, float]]:
    """The training loss by the step; of many points a moving average."""
    at, loss = losses_of(run, "step")
    return thinned(list(zip(at, averaged(loss) if len(at) > MANY_POINTS else loss, strict=True)))


def points_of_score(run: PlottedRun, split: str) -> list[tuple[float, float]]:
    """The main score by the step, in per cent, or a loss as it is."""
    return thinned(list(zip(*scores_of(run, "step", split), strict=True)))


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """As many of the points, at equal distances, as a curve needs; the last one is always there."""
    every = math.ceil(len(points) / MOST_POINTS) or 1
    return points[::-every][::-1]
