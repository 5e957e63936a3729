"""Prints the scores that the original authors published, with their sources, as a page of Markdown.

    python3 scripts/published_scores_page.py --output docs/published_scores.md

The scores are those of scripts/reporting/published_scores.json, which `results_table.py` shows beside measured ones.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reporting.few_shot_cells import METRICS, size_title
from reporting.results_reading import NONE, PUBLISHED, markdown_grid, write_out

INTRODUCTION = """# Published scores

These scores are taken from the pages of the four original projects and of KLUE, and have not been measured here yet.
They are in per cent unless a table says otherwise. `python3 scripts/results_table.py ckpt --all_published` prints such
tables with your own scores, mean ± standard deviation over seeds; `scripts/spanbert_table.py` prints the last one.
[results.md](results.md) has what a small model of this suite reaches.

`python3 scripts/published_scores_page.py --output docs/published_scores.md` makes this page from
[published_scores.json](../scripts/reporting/published_scores.json).
"""

SELECTIONS = {
    "test": "Best of several evaluations on the scored file itself",
    "last": "The last checkpoint",
    "dev": "Best of several evaluations on the development file",
    "unknown": "Neither code nor README says how the checkpoint was selected",
}


def page(published: dict[str, Any]) -> str:
    """The whole page, from the content of published_scores.json."""
    sections = [tasks_section(table) for table in published["tables"].values()]
    sections += [few_shot_section(published["kosplinter_few_shot_korquad"])]
    sections += [spanbert_section(published["spanbert_nsmc"])]
    return "\n".join([INTRODUCTION, *sections])


def tasks_section(table: dict[str, Any]) -> str:
    """A column for each task and a row for each model; a cell without a published score has a dash."""
    columns = table["columns"]
    header = ["Model", "Size", *(f"{column['title']} ({column['unit']})" for column in columns)]
    lines = []
    for group in table["groups"]:
        for row in group["rows"]:
            scores = [score_text(row["scores"].get(column["task"])) for column in columns]
            lines.append([row["name"], row.get("size", NONE), *scores])
    if all(line[1] == NONE for line in lines):
        header, lines = without_second(header), [without_second(line) for line in lines]
    remarks = [f"{meaning}: {titles}." for how, meaning in SELECTIONS.items() if (titles := selected(columns, how))]
    remarks += [f"{column['title']}: {column['note']}." for column in columns if "note" in column]
    return section(table, [header, *lines], remarks)


def selected(columns: list[dict[str, Any]], how: str) -> str:
    """The titles of the columns whose published scores were selected like this."""
    return ", ".join(column["title"] for column in columns if column["selection"] == how)


def few_shot_section(table: dict[str, Any]) -> str:
    """Two rows for each model, exact match and F1, and a column for each number of training questions."""
    lines = [["Model", "", *map(size_title, table["sizes"])]]
    for row in table["rows"]:
        lines += [[row["name"], metric.upper(), *map(score_text, row[metric])] for metric in METRICS]
    scored = (
        f"Scored on the {table['questions']:,} questions of {table['predict_file']}. {SELECTIONS[table['selection']]}."
    )
    samples = f"Mean over {table['samples']} random samples of each size; Full is a model trained on all questions."
    borrowed = [f"{row['name']}, Full: from {row['full_from']}." for row in table["rows"] if "full_from" in row]
    return section(table, lines, [scored, samples, *borrowed])


def spanbert_section(table: dict[str, Any]) -> str:
    """A row for each number of pretraining epochs and pooling; loss and accuracy as their README has them."""
    header = ["Pretraining epochs", "Pooling", "Best epoch", "Loss", "Accuracy (a fraction)"]
    keys = ("pretrain_epochs", "pooling", "epoch", "loss", "accuracy")
    formats = ("", "", "", ".3f", ".3f")
    lines = [[format(row[key], form) for key, form in zip(keys, formats, strict=True)] for row in table["rows"]]
    return section(table, [header, *lines], ["The original's code counts epochs from 0."])


def section(table: dict[str, Any], lines: list[list[str]], remarks: Iterable[str]) -> str:
    """Title, grid, source and remarks of one table."""
    below = [f"Source: [{table['url'].removeprefix('https://')}]({table['url']}), {table['source']}.", *remarks]
    return f"## {table['title']}\n\n{markdown_grid(lines)}\n\n" + "".join(f"- {line}\n" for line in below)


def score_text(score: float | list[float] | None) -> str:
    """`89.63`, `52.81 / 80.27` for a task with two metrics, and a dash where no score was published."""
    if score is None:
        return NONE
    return " / ".join(f"{value:.2f}" for value in (score if isinstance(score, list) else [score]))


def without_second(line: list[str]) -> list[str]:
    return [line[0], *line[2:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of standard output")
    arguments = parser.parse_args()
    write_out(page(json.loads(PUBLISHED.read_text(encoding="utf-8"))), arguments.output)


if __name__ == "__main__":
    sys.exit(run_main(main))
