"""A model's row of a published table, measured and published, and the bar chart of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reporting.figures import COLOURS
from reporting.results_reading import (
    NONE,
    Run,
    bullet_list,
    find_runs,
    legend_of_marks,
    markdown_grid,
    marks,
    mean_and_deviation,
    percent,
    rows_by_setting,
    score_text,
)

SELECTED = {"test": "best on test", "last": "the last checkpoint", "dev": "best on dev", "unknown": "not said how"}


@dataclass(frozen=True)
class TableRow:
    """The row of one model.

    name: the model's, as measured. columns: the published table's. cells: task -> its runs, one for each seed.
    published_name, published: the row of the model in the published table, task -> a score for each metric; "" and
    nothing where it has none. source: of the published scores. notes: what stands below the table.
    """

    name: str
    columns: Sequence[Mapping[str, Any]]
    cells: Mapping[str, list[Run]]
    published_name: str
    published: Mapping[str, list[float]]
    source: str
    notes: Sequence[str]

    @classmethod
    def of(cls, table: Mapping[str, Any], model: str, name: str, folders: Mapping[str, Path]) -> TableRow:
        """Reads the results of the runs. model: whose published row is shown. folders: task -> folder of its runs."""
        columns = [column for column in table["columns"] if column["task"] in folders]
        needed = {column["task"]: tuple(column["metrics"]) for column in columns}
        cells, notes = {}, []
        for column in columns:
            folder = folders[column["task"]]
            found = find_runs([folder], needed) if folder.is_dir() else []
            rows, remarks = rows_by_setting(found, column["metrics"], lambda number, of=column: f"{of['title']}")
            cells |= {column["task"]: rows[1]} if 1 in rows else {}
            notes += remarks
        rows = [row for group in table["groups"] for row in group["rows"] if row["model"] == model]
        scores = rows[0]["scores"] if rows else {}
        published = {task: score if isinstance(score, list) else [score] for task, score in scores.items()}
        source = f"{table['url']}, {table['source']}"
        return cls(name, columns, cells, rows[0]["name"] if rows else "", published, source, notes)

    def markdown(self) -> str:
        """The table: a header, the measured row, the published one below it, and the legend."""
        header = ["Model", *(f"{column['title']} ({column['unit']})" for column in self.columns)]
        lines = [header, [self.name, *map(self._measured, self.columns)]]
        below = legend_of_marks(list(self.cells.values()))
        if self.published:
            lines.append([f"{self.published_name}, published", *map(self._published, self.columns)])
            chosen = [f"{column['title']} {SELECTED[column['selection']]}" for column in self.columns]
            below.append(f"Published: {self.source}. Its checkpoints: {', '.join(chosen)}.")
        else:
            below.append(f"No scores of {self.name} are published in this table.")
        return f"{markdown_grid(lines)}\n\n{bullet_list(below, self.notes)}"

    def _measured(self, column: Mapping[str, Any]) -> str:
        runs = self.cells.get(column["task"])
        if not runs:
            return NONE
        return " / ".join(score_text(percent(runs, metric), 2) for metric in column["metrics"]) + marks(runs)

    def _published(self, column: Mapping[str, Any]) -> str:
        return " / ".join(f"{score:.2f}" for score in self.published.get(column["task"], [])) or NONE


@dataclass(frozen=True)
class Bars:
    """A metric of a task in the chart; None where there is no score, and no deviation for a single seed."""

    label: str
    measured: float | None
    deviation: float | None
    published: float | None


def bars_of(row: TableRow) -> list[Bars]:
    """The bars of each task, in the order of the columns; a task with two metrics has two pairs."""
    bars = []
    for column in row.columns:
        units = column["unit"].split("/") if len(column["metrics"]) > 1 else [column["unit"]]
        published = row.published.get(column["task"], [])
        for index, metric in enumerate(column["metrics"]):
            runs = row.cells.get(column["task"])
            mean, deviation = mean_and_deviation(percent(runs, metric)) if runs else (None, None)
            known = published[index] if index < len(published) else None
            bars.append(Bars(f"{column['title']}\n{units[index]}", mean, deviation, known))
    return bars


def draw(row: TableRow, title: str) -> Any:
    """The bar chart of measured against published scores, in per cent from 0, with the figures above the bars."""
    from matplotlib.figure import Figure

    bars = bars_of(row)
    figure = Figure(figsize=(max(5.5, 1.6 + 1.1 * len(bars)), 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.set_axisbelow(True)
    axes.grid(axis="y", alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    both = any(one.published is not None for one in bars)
    width = 0.38 if both else 0.6
    measured = {"color": COLOURS[0], "label": row.name}
    published = {
        "color": "#D9D9D9",
        "edgecolor": "#777777",
        "linewidth": 0.6,
        "label": f"{row.published_name}, published",
    }
    for place, scores, style in (
        (-width / 2 if both else 0, [(one.measured, one.deviation) for one in bars], measured),
        (width / 2, [(one.published, None) for one in bars], published),
    ):
        _draw_bars(axes, {at + place: score for at, score in enumerate(scores) if score[0] is not None}, width, style)
    for at, one in enumerate(bars):
        if one.measured is None:
            place = at - width / 2 if both else at
            axes.annotate("not run", (place, 0), (0, 4), textcoords="offset points", ha="center", va="bottom",
                          rotation=90, fontsize=7, color="#777777")  # fmt: skip
    axes.set_xticks(range(len(bars)), [one.label for one in bars], fontsize=8)
    axes.set_xlim(-0.6, len(bars) - 0.4)
    axes.set_ylim(min(0, *(one.measured or 0 for one in bars)), 105)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("score (%)")
    axes.set_title(title, fontsize=10)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def _draw_bars(
    axes: Any, scores: Mapping[float, tuple[float, float | None]], width: float, style: Mapping[str, Any]
) -> None:
    """Bars with error bars and figures. scores: place on the x axis -> score and standard deviation."""
    if not scores:
        return
    heights, deviations = zip(*scores.values(), strict=True)
    spread = [deviation or 0 for deviation in deviations]
    axes.bar(list(scores), heights, width, **style)
    if any(spread):
        axes.errorbar(list(scores), heights, yerr=spread, fmt="none", ecolor="#222222", elinewidth=1, capsize=3)
    for x, height, above in zip(scores, heights, spread, strict=True):
        axes.annotate(f"{height:.2f}", (x, max(height, 0) + above), (0, 2), textcoords="offset points", ha="center",
                      fontsize=6.5)  # fmt: skip
