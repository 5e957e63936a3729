"""KoSplinter's few-shot table for `results_table.py`: exact match and F1 by the number of training questions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reporting.few_shot_bootstrap import LEVEL, RESAMPLES, Comparison, compare
from reporting.few_shot_cells import (
    FULL,
    METRICS,
    TASK,
    FewShotRow,
    Size,
    label_of,
    published_scores,
    rows_of,
    settings_apart,
    size_title,
    sizes_of,
)
from reporting.results_reading import (
    Run,
    bullet_list,
    csv_score,
    legend_of_marks,
    markdown_grid,
    marks,
    numbered,
    percent,
    score_text,
)

BETTER = "†"


@dataclass(frozen=True)
class FewShotTable:
    rows: list[FewShotRow]
    sizes: list[Size]
    comparison: Comparison
    notes: list[str]
    all_published: bool

    @property
    def samples(self) -> int:
        """The largest number of samples in any cell."""
        return max((len(runs) for row in self.rows for runs in row.cells.values()), default=0)


def few_shot_table(runs: Sequence[Run], all_published: bool) -> FewShotTable:
    rows, notes = rows_of(runs, all_published)
    sizes = sizes_of(rows, all_published)
    comparison = compare(rows, sizes)
    return FewShotTable(rows, sizes, comparison, notes + comparison.notes, all_published)


def cell_text(table: FewShotTable, row: FewShotRow, size: Size, metric: str) -> str:
    """`45.10 ± 2.31ˡ† n=2 (46.22)`: measured, how selected, whether better than all others, published."""
    runs, published = row.cells.get(size, []), row.published.get(metric, {}).get(size)
    text = score_text(percent(runs, metric), 2)
    if runs:
        text += marks(runs) + (BETTER if table.comparison.is_better((row.label, size, metric)) else "")
        text += f" n={len(runs)}" if len(runs) < table.samples else ""
    return text + (f" ({published:.2f})" if published is not None else "")


def legend(table: FewShotTable) -> list[str]:
    """The lines below the table."""
    cells = [runs for row in table.rows for runs in row.cells.values()]
    lines = legend_of_marks(cells, over="samples")
    if any(len(runs) < table.samples for runs in cells):
        lines.append(f"n= a mean over so few samples, where others have {table.samples}.")
    if table.comparison.p:
        who = BETTER if any(map(table.comparison.is_better, table.comparison.p)) else "No model is"
        lines.append(
            f"{who} better than every other measured model at its size: paired bootstrap over "
            f"{counted(table.comparison.questions)}, {RESAMPLES:,} resamples, one-sided p < {LEVEL:g} against each. "
            "A question's scores are averaged over the samples first: it says nothing of how scores vary from sample "
            "to sample beyond that mean."
        )
    lines += [scored_on([run for runs in cells for run in runs])] if cells else []
    with_published = [row for row in table.rows if row.published]
    return lines + published_in_words(with_published, table.sizes) + unlike_published(with_published)


def unlike_published(rows: Sequence[FewShotRow]) -> list[str]:
    """A line for each row whose runs have other settings than the published scores beside them."""
    lines = []
    for row in rows:
        runs = [run for of_size in row.cells.values() for run in of_size]
        if runs and (ours := settings_apart(runs[0], row.published_settings)):
            theirs = {key: row.published_settings[key] for key in ours}
            lines.append(f"{row.label}: published with {in_words(theirs)}, measured here with {in_words(ours)}.")
    return lines


def in_words(settings: Mapping[str, Any]) -> str:
    """`kosplinter_compat true, head qass`, as in a configuration."""
    return ", ".join(
        f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()
    )


def published_in_words(rows: Sequence[FewShotRow], sizes: Sequence[Size]) -> list[str]:
    """What the published scores of these rows and columns are means over, and where they come from."""
    spec = published_scores()
    if not rows:
        return []
    shown = [size for size in sizes if size in spec["sizes"]]
    parts = [f"mean over {spec['samples']} samples"] if set(shown) - {FULL} else []
    parts += ["Full: after training on all questions"] if FULL in shown else []
    theirs = f"on the {spec['questions']:,} questions of {spec['predict_file']}"
    lines = [f"( ) published score of the model of that name, {theirs}; {'; '.join(parts)}."] if parts else []
    borrowed = {row["model"]: row["full_from"] for row in spec["rows"] if "full_from" in row} if FULL in shown else {}
    return lines + [f"{row.name}, Full: from {borrowed[row.model]}." for row in rows if row.model in borrowed]


def counted(questions: set[int]) -> str:
    """`40 and 5,774 questions`."""
    return " and ".join(f"{count:,}" for count in sorted(questions)) + " questions"


def scored_on(runs: Sequence[Run]) -> str:
    """The file, the number of its questions, and whether these are the published ones."""
    spec = published_scores()
    files = sorted({str(run.config.get("predict_file") or run.split) for run in runs})
    counts = {run.scored_rows for run in runs if run.scored_rows is not None}
    questions = f", {counted(counts)}" if counts else ""
    same = (files, counts) == ([spec["predict_file"]], {spec["questions"]})
    return f"Scored on: {' and '.join(files)}{questions}{', as published' if same else ', not the published ones'}."


def csv_lines(table: FewShotTable) -> list[dict[str, Any]]:
    """One line for each model, size and metric that has a score."""
    lines = []
    for row in table.rows:
        for size in table.sizes:
            runs = row.cells.get(size, [])
            for metric in METRICS:
                published = row.published.get(metric, {}).get(size)
                if not runs and (published is None or not table.all_published):
                    continue
                p = table.comparison.p.get((row.label, size, metric))
                name = numbered(label_of(row.model, row.from_scratch), row.number)
                line = {"model": name, "task": TASK, "published": published, "size": size}
                lines.append(line | csv_score(runs, metric) | {"p": None if p is None else round(p, 4)})
    return lines


def grid(table: FewShotTable) -> list[list[str]]:
    """The table's texts, the header first: two rows a model, exact match and F1, as in KoSplinter's README."""
    lines = [["Model", "", *map(size_title, table.sizes)]]
    for row in table.rows:
        for metric in METRICS:
            texts = [cell_text(table, row, size, metric) for size in table.sizes]
            lines.append([row.label, metric.upper(), *texts])
    return lines


def markdown(table: FewShotTable) -> str:
    """The table in Markdown, with its legend and notes."""
    title = published_scores()["title"]
    return f"## {title}\n\n{markdown_grid(grid(table))}\n\n{bullet_list(legend(table), table.notes)}"
