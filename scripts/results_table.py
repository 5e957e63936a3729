"""Prints the tables of the original READMEs, measured scores beside the published ones.

    python3 scripts/results_table.py ckpt
    python3 scripts/results_table.py ckpt/nsmc ckpt/paws --all_published --output results.md
    python3 scripts/results_table.py ckpt --shape koelectra --csv > results.csv

Every results.json below the folders is read. Runs that differ only in the seed share a cell (mean ± sample standard
deviation); runs that differ in anything else get rows of their own, and a note says in what they differ. A model that
was trained from scratch has a row of its own as well, without published scores. All scores are in per cent, in the CSV
too. The published scores and the tables' layout are in scripts/reporting/published_scores.json.

Few-shot question answering has a table of its own with a column for each number of training questions. A model that is
better than all others is marked there (reporting/few_shot_bootstrap.py).
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import csv
import functools
import io
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reporting import few_shot_table
from reporting.few_shot_cells import METRICS as FEW_SHOT_METRICS
from reporting.few_shot_cells import TASK as FEW_SHOT
from reporting.few_shot_cells import label_of
from reporting.results_reading import (
    NONE,
    PUBLISHED,
    Run,
    bullet_list,
    csv_score,
    find_runs,
    legend_of_marks,
    markdown_grid,
    marks,
    numbered,
    percent,
    refuse_missing,
    rows_by_setting,
    score_text,
    stop,
    write_out,
)

FEW_SHOT_SHAPE = "kosplinter"
# split -> the settings that may name its file
SCORED_FILE = {"dev": ("dev_file",), "test": ("test_file", "predict_file")}
CSV_COLUMNS = (
    "model",
    "task",
    "metric",
    "mean",
    "std",
    "n",
    "seeds",
    "published",
    "selection",
    "at_chance",
    "size",
    "p",
)


@dataclass(frozen=True)
class Column:
    task: str
    title: str
    unit: str
    metrics: tuple[str, ...]
    selection: str = ""  # how the published score was selected: test, last, dev, unknown; "": none is published
    note: str = ""  # what the legend says about the metrics
    settings: dict[str, Any] = field(default_factory=dict)  # runs that have them belong here, and in no other table

    def takes(self, run: Run) -> bool:
        """Whether this is a column for the run: for its task, its settings and its metrics."""
        has_settings = all(run.config.get(key) == value for key, value in self.settings.items())
        return run.task == self.task and has_settings and run.metrics.keys() >= set(self.metrics)


@dataclass(frozen=True)
class Row:
    model: str
    name: str
    size: str
    scores: dict[str, float | list[float]]  # published, task -> one score for each of the column's metrics
    number: int = 1  # 2, 3, ...: the same model in other settings

    @property
    def label(self) -> str:
        return numbered(self.name, self.number)

    def published(self, column: Column) -> list[float]:
        score = self.scores.get(column.task, [])
        return score if isinstance(score, list) else [score]


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[Column]
    groups: list[tuple[str, list[Row]]]
    runs: list[Run] = field(default_factory=list)
    published_on: str = ""  # which files the published scores are of, where runs of this suite have others


Cells = dict[tuple[str, int, str], list[Run]]  # (model, number of the setting, task) -> one run for each seed


def fill_cells(table: Table) -> tuple[Cells, list[str]]:
    """Sorts a table's runs into cells; runs in different settings never share one. Returns the cells and the notes."""
    names = {row.model: row.name for _, rows in table.groups for row in rows}
    cells: Cells = {}
    notes: list[str] = []

    def where(name: str, title: str, number: int) -> str:
        return f"{numbered(name, number)}, {title}"

    for column in table.columns:
        by_model: dict[str, list[Run]] = defaultdict(list)
        for run in table.runs:
            if run.task == column.task:
                by_model[run.model].append(run)
        for model, members in by_model.items():
            of_cell = functools.partial(where, names.get(model, model), column.title)
            rows, remarks = rows_by_setting(members, column.metrics, of_cell)
            cells |= {(model, number, column.task): kept for number, kept in rows.items()}
            notes += remarks
    return cells, notes


def layout(published: dict[str, Any], runs: Sequence[Run], shape: str) -> list[Table]:
    """The tables to show: the published ones that have a run, and one for all runs that belong in none of them."""
    tables: dict[str, Table] = {}
    # A model of the same name that was not pretrained is a different one.
    runs = [replace(run, model=label_of(run.model, bool(run.config.get("from_scratch")))) for run in runs]
    for name, spec in published["tables"].items():
        columns = [Column(**{**entry, "metrics": tuple(entry["metrics"])}) for entry in spec["columns"]]
        rows = [(group["title"], [Row(**{"size": "", **row}) for row in group["rows"]]) for group in spec["groups"]]
        tables[name] = Table(spec["title"], columns, rows, published_on=spec.get("published_on", ""))
    members, others = share_out(tables, runs)
    shown = [
        replace(table, runs=members[name])
        for name, table in tables.items()
        if shape == name or (shape == "all" and members[name])
    ]
    if shape == "all" and others:
        main = {run.task: run.main_metric for run in others}
        columns = [Column(task, task, main[task], (main[task],)) for task in sorted(main)]
        shown.append(Table("Other tasks", columns, [], others))
    return shown


def share_out(tables: dict[str, Table], runs: Sequence[Run]) -> tuple[dict[str, list[Run]], list[Run]]:
    """The runs of each table, and those of none. Of a task's columns, one that names the run's settings has precedence:
    the score belongs beside the published one that was made like it.
    """
    members: dict[str, list[Run]] = {name: [] for name in tables}
    others = []
    for run in runs:
        places = [(name, column) for name, table in tables.items() for column in table.columns if column.takes(run)]
        for name, _ in [place for place in places if place[1].settings] or places:
            members[name].append(run)
        others += [] if places else [run]
    return members, others


def rows_to_show(table: Table, cells: Cells, all_published: bool) -> list[tuple[str, list[Row]]]:
    """The groups' rows in the published order, then other models; further settings follow their model."""
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


def cell_text(row: Row, column: Column, runs: list[Run] | None) -> str:
    """`89.12 ± 0.10ᵗ (90.21)`: the measured score, a mark for how it was selected, and the published score."""
    published = " / ".join(f"{score:.2f}" for score in row.published(column))
    if not runs:
        return f"{NONE} ({published})" if published and row.number == 1 else NONE
    scores = " / ".join(score_text(percent(runs, metric), 2) for metric in column.metrics)
    return scores + marks(runs) + (f" ({published})" if published else "")


def legend(columns: Sequence[Column], shown: Sequence[list[Run]], published_on: str | None) -> list[str]:
    """The lines below a table: the marks that occur in it, what was scored, and what the published scores are.

    published_on: None where the table shows no published score.
    """
    lines = legend_of_marks(shown)
    files: dict[str, set[str]] = defaultdict(set)
    for runs in shown:
        files[runs[0].task].update(map(scored_rows, runs))
    scored = [column for column in columns if column.task in files]
    where = "; ".join(f"{column.title} {' and '.join(sorted(files[column.task]))}" for column in scored)
    lines += [f"Scored on: {where}."] if scored else []
    lines += [f"{column.title}: {column.note}." for column in columns if column.note]
    if published_on is None:
        return lines
    return [*lines, f"( ) published score{' ' * bool(published_on)}{published_on}{selections_in_words(columns)}."]


def scored_rows(run: Run) -> str:
    """`ratings_test.txt (50,000 rows)`: the file that a run was scored on; its split where the file is not known."""
    file = next((run.config[key] for key in SCORED_FILE.get(run.split, ()) if run.config.get(key)), run.split)
    return Path(str(file)).name + ("" if run.scored_rows is None else f" ({run.scored_rows:,} rows)")


def selections_in_words(columns: Sequence[Column]) -> str:
    """How the published scores were selected: `; best on test in NSMC, Naver NER; not said how selected in PAWS`."""
    words = {
        "test": "best on test in",
        "last": "the last checkpoint in",
        "dev": "best on dev in",
        "unknown": "not said how selected in",
    }
    titles = {how: ", ".join(column.title for column in columns if column.selection == how) for how in words}
    return "".join(f"; {words[how]} {names}" for how, names in titles.items() if names)


def table_grids(table: Table, cells: Cells, all_published: bool) -> tuple[list[tuple[str, list[list[str]]]], list[str]]:
    """A table's texts: for each group of models its title and its lines, of which the first is the header; the legend.

    The title is empty where the table has no groups.
    """
    groups = rows_to_show(table, cells, all_published)
    rows = [row for _, members in groups for row in members]
    columns = [
        column
        for column in table.columns
        if any(row.published(column) or (row.model, row.number, column.task) in cells for row in rows)
    ]
    sized = any(row.size for row in rows)
    grids = []
    for title, members in groups:
        lines = [["", *(["Size"] if sized else []), *(f"{column.title} ({column.unit})" for column in columns)]]
        for row in members:
            texts = [cell_text(row, column, cells.get((row.model, row.number, column.task))) for column in columns]
            lines.append([row.label, *([row.size or NONE] if sized else []), *texts])
        grids.append((title if table.groups else "", lines))
    tasks = {column.task for column in columns}
    shown = [runs for (_, _, task), runs in cells.items() if task in tasks]
    return grids, legend(columns, shown, table.published_on if any(row.scores for row in rows) else None)


def table_markdown(table: Table, cells: Cells, notes: Sequence[str], all_published: bool) -> str:
    """A table in Markdown: a grid for each group of models, then the legend and the notes."""
    grids, below = table_grids(table, cells, all_published)
    blocks = [f"## {table.title}"]
    blocks += [(f"### {title}\n\n" if title else "") + markdown_grid(lines) for title, lines in grids]
    return "\n\n".join(blocks) + "\n\n" + bullet_list(below, notes)


def csv_lines(table: Table, cells: Cells, all_published: bool) -> Iterator[dict[str, Any]]:
    """One line for each model, task and metric."""
    for row in (row for _, rows in rows_to_show(table, cells, all_published) for row in rows):
        for column in table.columns:
            runs = cells.get((row.model, row.number, column.task), [])
            published = row.published(column) or [None] * len(column.metrics)
            if not runs and (published[0] is None or not all_published or row.number > 1):
                continue
            for metric, score in zip(column.metrics, published, strict=True):
                line = {"model": numbered(row.model, row.number), "task": column.task, "published": score}
                yield line | csv_score(runs, metric)


def table_csv(lines: Iterable[dict[str, Any]]) -> str:
    """The CSV file: scores in per cent, seeds separated by spaces; only few-shot results have a size and a p."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def parse_arguments(shapes: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="searched for results.json, all levels")
    parser.add_argument(
        "--shape", choices=[*shapes, FEW_SHOT_SHAPE, "all"], default="all", help="which table (default: all with runs)"
    )
    parser.add_argument("--all_published", action="store_true", help="also models that have no measured result")
    parser.add_argument("--csv", action="store_true", help="machine-readable lines; the notes go to stderr")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of standard output")
    return parser.parse_args()


def main() -> None:
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    arguments = parse_arguments(list(published["tables"]))
    refuse_missing(arguments.folders)
    found = find_runs(arguments.folders, needed_metrics(published))
    runs = [run for run in found if run.task != FEW_SHOT]
    tables = [(table, *fill_cells(table)) for table in layout(published, runs, arguments.shape)]
    few_shot = few_shot_of(found, arguments)
    if few_shot is None and not any(cells or notes for _, cells, notes in tables):
        wanted = "" if arguments.shape == "all" else f" for the {arguments.shape} table"
        stop(f"no results{wanted} below {', '.join(map(str, arguments.folders))} (looked for results.json)")
    if arguments.csv:
        lines = [line for table, cells, _ in tables for line in csv_lines(table, cells, arguments.all_published)]
        text = table_csv(lines + (few_shot_table.csv_lines(few_shot) if few_shot else []))
        for note in [*(note for *_, notes in tables for note in notes), *(few_shot.notes if few_shot else [])]:
            print(f"note: {note}", file=sys.stderr)
    else:
        texts = [table_markdown(*parts, arguments.all_published) for parts in tables]
        text = "\n".join(texts + ([few_shot_table.markdown(few_shot)] if few_shot else []))
    write_out(text, arguments.output)


def needed_metrics(published: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The metrics that the tables' columns show, by task; results without them are left out."""
    entries = [entry for spec in published["tables"].values() for entry in spec["columns"]]
    # A column with settings may have metrics of its own (`Column.takes`): its runs are read for their main metric.
    needed = {entry["task"]: tuple(entry["metrics"]) for entry in entries if "settings" not in entry}
    return {**needed, FEW_SHOT: FEW_SHOT_METRICS}


def few_shot_of(runs: Sequence[Run], arguments: argparse.Namespace) -> few_shot_table.FewShotTable | None:
    """The few-shot table, if it is asked for and has anything to show."""
    of_task = [run for run in runs if run.task == FEW_SHOT]
    if not of_task or arguments.shape not in ("all", FEW_SHOT_SHAPE):
        return None
    table = few_shot_table.few_shot_table(of_task, arguments.all_published)
    return table if table.notes or any(row.cells for row in table.rows) else None


if __name__ == "__main__":
    sys.exit(run_main(main))
