"""Draws few-shot results for `plot_runs.py --x questions`: F1 and exact match by the number of training questions."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reporting.few_shot_cells import FULL, METRICS, TASK, FewShotRow, Size, rows_of, size_title, sizes_of
from reporting.figures import colours, panels_above_legend, put_legend
from reporting.results_reading import find_runs, mean_and_deviation, percent, refuse_missing

PANEL_TITLES = {"f1": "F1 (%)", "em": "exact match (%)"}  # in the order of the panels
APART = 1.2  # steps of the logarithmic axis between the largest number and the whole training set
BESIDE = 0.05  # of such a step between models, so that their error bars do not hide one another


def read_rows(folders: Sequence[Path]) -> list[FewShotRow]:
    """Raises ValueError where there is no score to draw."""
    refuse_missing(folders)
    found = [run for run in find_runs(folders, {TASK: METRICS}) if run.task == TASK]
    rows, notes = rows_of(found)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if not rows:
        raise ValueError(f"no results of {TASK} below {', '.join(map(str, folders))} (looked for results.json)")
    return rows


def positions_of(sizes: Sequence[Size]) -> dict[Size, float]:
    """The x position of each size: numbers on a logarithmic axis, and the whole training set at some distance."""
    places = {size: math.log2(size) for size in sizes if size != FULL}
    return places | ({FULL: max(places.values(), default=0.0) + APART} if FULL in sizes else {})


def draw(rows: Sequence[FewShotRow], metrics: Sequence[str] = tuple(PANEL_TITLES)) -> Any:
    """Draws the figure. Each row has a colour; published scores are dashed, in the colour of their model."""
    from matplotlib.lines import Line2D

    sizes = sizes_of(rows, all_published=True)
    places = positions_of(sizes)
    texts = [f"{row.label} · {samples_of(row)}" for row in rows]
    published = any(row.published for row in rows)
    figure, every, columns = panels_above_legend(len(metrics), texts, len(texts) + published)
    handles = []
    for index, (row, colour) in enumerate(zip(rows, colours(len(rows)), strict=True)):
        aside = BESIDE * (index - (len(rows) - 1) / 2)
        for axes, metric in zip(every, metrics, strict=True):
            draw_published(axes, row.published.get(metric, {}), places, colour)
            draw_measured(axes, row, metric, {size: place + aside for size, place in places.items()}, colour)
        handles.append(Line2D([], [], color=colour, linewidth=2, marker="o", markersize=4))
    if published:
        handles.append(Line2D([], [], color="#555555", linewidth=1, linestyle="--"))
        texts.append("published")
    for axes, metric in zip(every, metrics, strict=True):
        axes.set_ylabel(PANEL_TITLES[metric])
        if FULL in places and len(places) > 1:
            axes.axvline(places[FULL] - APART / 2, color="#999999", linewidth=0.8, linestyle=":")
    deviation = any(len(runs) > 1 for row in rows for runs in row.cells.values())
    spread = ", mean and standard deviation over samples" if deviation else ""
    every[0].set_title(f"KorQuAD with few questions{spread}")
    every[-1].set_xlabel("training questions")
    every[-1].set_xticks([places[size] for size in sizes], [size_title(size) for size in sizes])
    figure.align_ylabels()
    put_legend(figure, handles, texts, columns)
    return figure


def samples_of(row: FewShotRow) -> str:
    """`3 samples`, `2 to 3 samples`."""
    counts = sorted({len(runs) for runs in row.cells.values()} or {0})
    number = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return f"{number} {'sample' if counts[-1] == 1 else 'samples'}"


def draw_measured(axes: Any, row: FewShotRow, metric: str, places: dict[Size, float], colour: Any) -> None:
    """Draws means, joined along the logarithmic axis, with an error bar where there are several samples."""
    points = {size: mean_and_deviation(percent(row.cells[size], metric)) for size in places if size in row.cells}
    for joined in ([size for size in points if size != FULL], [size for size in points if size == FULL]):
        axes.errorbar(
            [places[size] for size in joined],
            [points[size][0] for size in joined],
            yerr=[math.nan if points[size][1] is None else points[size][1] for size in joined],
            **{"color": colour, "linewidth": 1.6, "marker": "o", "markersize": 4, "capsize": 3, "elinewidth": 1.0},
        )


def draw_published(axes: Any, scores: dict[Size, float], places: dict[Size, float], colour: Any) -> None:
    numbers = [size for size in places if size in scores and size != FULL]
    style = {"color": colour, "linewidth": 1.0, "linestyle": "--", "alpha": 0.6}
    axes.plot([places[size] for size in numbers], [scores[size] for size in numbers], **style)
    if FULL in scores:  # a short dash, because a line from the last number would suggest scores for sizes in between
        axes.plot([places[FULL] - 0.2, places[FULL] + 0.2], [scores[FULL]] * 2, **style)
