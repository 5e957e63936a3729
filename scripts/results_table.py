"""Prints the tables of the original READMEs, measured scores beside the published ones.

    python3 scripts/results_table.py ckpt
    python3 scripts/results_table.py ckpt/nsmc ckpt/paws --all_published --output results.md
    python3 scripts/results_table.py ckpt --shape koelectra --csv > results.csv

Every results.json below the folders is read. Runs that differ in nothing but the seed share a cell (mean ± sample
standard deviation); runs that differ in anything else stand in rows of their own, and a note says in what. All scores
are in per cent, in the CSV too. The published scores and the tables' layout are in scripts/published_scores.json.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results_reading import (
    CHANCE,
    NONE,
    PUBLISHED,
    SELECTIONS,
    UNKNOWN_SELECTION,
    Run,
    difference,
    find_runs,
    markdown_grid,
    one_run_a_seed,
    refuse_missing,
    stop,
    write_out,
)

CSV_COLUMNS = ("model", "task", "metric", "mean", "std", "n", "seeds", "published", "selection", "at_chance")


@dataclass(frozen=True)
class Column:
    task: str
    title: str
    unit: str
    metrics: tuple[str, ...]
    selection: str | None = None  # how the published score was selected, where known


@dataclass(frozen=True)
class Row:
    model: str
    name: str
    size: str
    scores: dict[str, float | list[float]]  # published, task -> one score for each of the column's metrics
    number: int = 1  # 2, 3, ...: the same model in other settings

    @property
    def label(self) -> str:
        return self.name if self.number == 1 else f"{self.name} [{self.number}]"

    def published(self, column: Column) -> list[float]:
        score = self.scores.get(column.task, [])
        return score if isinstance(score, list) else [score]


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[Column]
    groups: list[tuple[str, list[Row]]]


Cells = dict[tuple[str, int, str], list[Run]]  # (model, number of the setting, task) -> one run a seed


def fill_cells(runs: Sequence[Run], table: Table) -> tuple[Cells, list[str]]:
    """Sorts runs into cells; runs in different settings never share one. Returns the cells and the notes."""
    names = {row.model: row.name for _, rows in table.groups for row in rows}
    cells: Cells = {}
    notes: list[str] = []
    for column in table.columns:
        settings: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
        for run in runs:
            if run.task == column.task:
                settings[run.model][json.dumps(run.setting, sort_keys=True)].append(run)
        for model, groups in settings.items():
            # The setting with the most seeds comes first; the settings' text makes the order the same every time.
            ordered = sorted(groups, key=lambda key: (-len({run.seed for run in groups[key]}), key))
            for number, key in enumerate(ordered, start=1):
                label = names.get(model, model) + (f" [{number}]" if number > 1 else "")
                where = f"{label}, {column.title}"
                kept, remarks = one_run_a_seed(groups[key], column.metrics, where)
                if number > 1:
                    notes.append(f"{where}: a row of its own: {difference(groups[key][0], groups[ordered[0]][0])}")
                notes += remarks
                stuck = [str(run.seed) for run in kept if run.at_chance]
                if stuck:
                    notes.append(f"{where}: {len(stuck)} of {len(kept)} at chance (seed {', '.join(stuck)})")
                if kept:
                    cells[model, number, column.task] = kept
    return cells, notes


def layout(published: dict[str, Any], runs: Sequence[Run], shape: str) -> list[Table]:
    """The tables to show: the published ones that have a run, and one for tasks that are in neither."""
    tables = []
    tasks = {run.task for run in runs}
    for name, spec in published["tables"].items():
        columns = [Column(**{**entry, "metrics": tuple(entry["metrics"])}) for entry in spec["columns"]]
        rows = [(group["title"], [Row(**{"size": "", **row}) for row in group["rows"]]) for group in spec["groups"]]
        if shape == name or (shape == "all" and any(column.task in tasks for column in columns)):
            tables.append(Table(spec["title"], columns, rows))
        tasks -= {column.task for column in columns}
    if shape == "all" and tasks:
        main = {run.task: run.main_metric for run in runs if run.task in tasks}
        columns = [Column(task, task, main[task], (main[task],)) for task in sorted(tasks)]
        tables.append(Table("Other tasks", columns, []))
    return tables


def rows_to_show(table: Table, cells: Cells, all_published: bool) -> list[tuple[str, list[Row]]]:
    """The groups' rows in the published order, then models nobody published; further settings under their model."""
    tasks = {column.task for column in table.columns}
    numbers: dict[str, int] = {}
    for model, number, task in cells:
        if task in tasks:
            numbers[model] = max(number, numbers.get(model, 0))
    known = {row.model for _, rows in table.groups for row in rows}
    others = [Row(model, model, "", {}) for model in sorted(numbers.keys() - known)]
    shown = []
    for title, rows in [*table.groups, ("Other Models", others)]:
        numbered = []
        for row in rows:
            for number in range(1, numbers.get(row.model, int(all_published)) + 1):
                numbered.append(Row(row.model, row.name, row.size, row.scores, number))
        if numbered:
            shown.append((title, numbered))
    return shown


def percent(runs: Sequence[Run], metric: str) -> tuple[float, float | None]:
    """Mean and sample standard deviation (ddof = 1; None for a single run) of one metric."""
    values = [100 * run.metrics[metric] for run in runs]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def cell_text(row: Row, column: Column, runs: list[Run] | None) -> str:
    """`89.12 ± 0.10ᵗ (90.21)`: measured, how selected, published."""
    published = " / ".join(f"{score:.2f}" for score in row.published(column))
    if not runs:
        return f"{NONE} ({published})" if published and row.number == 1 else NONE
    scores = []
    for metric in column.metrics:
        mean, std = percent(runs, metric)
        scores.append(f"{mean:.2f}" + ("" if std is None else f" ± {std:.2f}"))
    mark = SELECTIONS.get(runs[0].selection, UNKNOWN_SELECTION)[0]
    chance = CHANCE[0] if any(run.at_chance for run in runs) else ""
    return " / ".join(scores) + mark + chance + (f" ({published})" if published else "")


def legend(columns: Sequence[Column], shown: Sequence[list[Run]], has_published: bool) -> list[str]:
    """The lines below a table: only marks that occur in it, the splits, and how many seeds."""
    lines = []
    selections = {run.selection for runs in shown for run in runs}
    for name, (mark, meaning) in SELECTIONS.items():
        lines += [f"{mark} {meaning}."] if name in selections else []
    lines += [" ".join(UNKNOWN_SELECTION) + "."] if selections - SELECTIONS.keys() else []
    lines += [" ".join(CHANCE) + "."] if any(run.at_chance for runs in shown for run in runs) else []
    counts = sorted({len(runs) for runs in shown if len(runs) > 1})
    if counts:
        number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        lines.append(f"± sample standard deviation over {number} seeds.")
    splits: dict[str, set[str]] = defaultdict(set)
    for runs in shown:
        splits[runs[0].task].add(runs[0].split)
    scored = [column for column in columns if column.task in splits]
    where = ", ".join(f"{column.title} {' and '.join(sorted(splits[column.task]))}" for column in scored)
    lines += [f"Scored on: {where}."] if scored else []
    flattered = ", ".join(column.title for column in columns if column.selection == "test")
    if has_published:
        lines.append("( ) published score" + (f"; best on test in {flattered}." if flattered else "."))
    return lines


def table_markdown(table: Table, cells: Cells, notes: Sequence[str], all_published: bool) -> str:
    """One shape's groups, each a grid, then the legend and the notes."""
    groups = rows_to_show(table, cells, all_published)
    rows = [row for _, members in groups for row in members]
    columns = [
        column
        for column in table.columns
        if any(row.published(column) or (row.model, row.number, column.task) in cells for row in rows)
    ]
    sized = any(row.size for row in rows)
    blocks = [f"## {table.title}"]
    for title, members in groups:
        lines = [["", *(["Size"] if sized else []), *(f"{column.title} ({column.unit})" for column in columns)]]
        for row in members:
            texts = [cell_text(row, column, cells.get((row.model, row.number, column.task))) for column in columns]
            lines.append([row.label, *([row.size or NONE] if sized else []), *texts])
        blocks.append((f"### {title}\n\n" if table.groups else "") + markdown_grid(lines))
    tasks = {column.task for column in columns}
    shown = [runs for (_, _, task), runs in cells.items() if task in tasks]
    below = legend(columns, shown, has_published=any(row.scores for row in rows))
    below += [f"Note: {note}." for note in notes]
    return "\n\n".join(blocks) + "\n\n" + "\n".join(f"- {line}" for line in below) + "\n"


def table_csv(tables: Sequence[tuple[Table, Cells]], all_published: bool) -> str:
    """One line for each model, task and metric, in per cent; seeds separated by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table, cells in tables:
        for row in (row for _, rows in rows_to_show(table, cells, all_published) for row in rows):
            name = row.model if row.number == 1 else f"{row.model} [{row.number}]"
            for column in table.columns:
                runs = cells.get((row.model, row.number, column.task), [])
                published = row.published(column) or [None] * len(column.metrics)
                if not runs and (published[0] is None or not all_published or row.number > 1):
                    continue
                seeds = " ".join(str(run.seed) for run in runs)
                selection, stuck = (runs[0].selection, any(run.at_chance for run in runs)) if runs else ("", "")
                for metric, score in zip(column.metrics, published, strict=True):
                    mean, std = percent(runs, metric) if runs else (None, None)
                    numbers = ["" if value is None else round(value, 4) for value in (mean, std)]
                    writer.writerow([name, column.task, metric, *numbers, len(runs), seeds,
                                     "" if score is None else score, selection, str(stuck).lower()])  # fmt: skip
    return text.getvalue()


def parse_arguments(shapes: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="searched for results.json, all levels")
    parser.add_argument("--shape", choices=[*shapes, "all"], default="all", help="which table (default: all with runs)")
    parser.add_argument("--all_published", action="store_true", help="also models that have no measured result")
    parser.add_argument("--csv", action="store_true", help="machine-readable lines; the notes go to stderr")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of standard output")
    return parser.parse_args()


def main() -> None:
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    arguments = parse_arguments(list(published["tables"]))
    refuse_missing(arguments.folders)
    entries = [entry for spec in published["tables"].values() for entry in spec["columns"]]
    runs = find_runs(arguments.folders, {entry["task"]: tuple(entry["metrics"]) for entry in entries})
    tables = [(table, *fill_cells(runs, table)) for table in layout(published, runs, arguments.shape)]
    if not any(cells or notes for _, cells, notes in tables):
        wanted = "" if arguments.shape == "all" else f" for the {arguments.shape} table"
        stop(f"no results{wanted} below {', '.join(map(str, arguments.folders))} (looked for results.json)")
    if arguments.csv:
        text = table_csv([(table, cells) for table, cells, _ in tables], arguments.all_published)
        for note in (note for _, _, notes in tables for note in notes):
            print(f"note: {note}", file=sys.stderr)
    else:
        text = "\n".join(table_markdown(*parts, arguments.all_published) for parts in tables)
    write_out(text, arguments.output)


if __name__ == "__main__":
    main()
