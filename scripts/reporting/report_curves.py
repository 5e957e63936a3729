"""For the page of `scripts/report.py`: the learning curves of all runs on a task, drawn from their `metrics.jsonl`."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence

from plot_runs import (
    MANY_POINTS,
    NO_SHARES,
    PlottedRun,
    labels,
    moving_average,
    read_run,
    score_label,
    separate,
    series,
)
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
    averaged = any(len(run.training) > MANY_POINTS for run in members)
    said = f"{len(shown)} of {len(groups)} groups of runs are drawn; fewer folders give a page about the others."
    figures = [
        line_chart("training loss" + (" (moving average)" if averaged else ""), "step", losses),
        line_chart(score_label(members, splits) if splits else "main score", "step", scores),
    ]
    return join([
        element("div", *figures, cls="charts"),
        legend(keys),
        paragraph(said, cls="faint") if len(shown) < len(groups) else Html(""),
    ])  # fmt: skip


def points_of_loss(run: PlottedRun) -> list[tuple[float, float]]:
    """The training loss by the step; of many points a moving average."""
    at, loss = series(run.training, "step", [event.get("loss") for event in run.training])
    if len(at) > MANY_POINTS:
        loss = moving_average(loss, 2 * (len(at) // 40) + 3)
    every = math.ceil(len(at) / MOST_POINTS) or 1
    return list(zip(at, loss, strict=True))[::-every][::-1]  # the last point is always there


def points_of_score(run: PlottedRun, split: str) -> list[tuple[float, float]]:
    """The main score by the step, in per cent, or a loss as it is."""
    events = [event for event in run.evaluations if str(event.get("split")) == split]
    at, scores = series(events, "step", [event["metrics"].get(run.metric) for event in events])
    factor = 1 if run.metric in NO_SHARES else 100
    every = math.ceil(len(at) / MOST_POINTS) or 1
    return [(x, factor * y) for x, y in zip(at, scores, strict=True)][::-every][::-1]
