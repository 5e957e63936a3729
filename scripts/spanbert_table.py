"""Prints the Korean SpanBERT's table: NSMC after 0, 5 and 10 epochs of pretraining, by three poolings.

    python3 scripts/spanbert_table.py ckpt/spanbert-nsmc-half
    python3 scripts/spanbert_table.py ckpt/run-a ckpt/run-b --output table.md

Every results.json of NSMC below the folders is read; `scripts/run_spanbert_nsmc.sh` makes those of the published rows.
Runs that differ only in the seed share a row (mean ± sample standard deviation); published figures are in parentheses.
Epochs are counted from 1; loss is the mean training loss in the scored checkpoint's epoch. The line above the table
says by which recipe its models were pretrained: the SpanBERT paper's, or the Korean original's.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import functools
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reporting.results_reading import (
    PUBLISHED,
    Run,
    bullet_list,
    find_runs,
    legend_of_marks,
    markdown_grid,
    marks,
    numbered,
    read_lines,
    refuse_missing,
    rows_by_setting,
    score_text,
    stop,
    write_out,
)
from reporting.spanbert_recipes import caption
from training.results import CHECKPOINT_PREFIX

TASK, METRIC = "nsmc", "accuracy"
HEADER = ("ITEM", "Pretrain", "logit", "epoch", "loss", "accuracy")
Cell = tuple[float, str]  # epochs of pretraining, pooling


def spanberts(found: Sequence[Run]) -> list[Run]:
    """The runs that started from a SpanBERT of this suite, and those from scratch with the shape of one.

    The results of a run from scratch do not tell what its folder holds. It counts where the folder is named like a
    checkpoint, or where another run started from the weights of a SpanBERT of that name.
    """
    pretrained = [run for run in found if is_pretrained(run)]
    names = {run.model for run in pretrained}
    scratch = [run for run in found if run.config.get("from_scratch")]
    same = [run for run in scratch if run.model in names or run.model.startswith(CHECKPOINT_PREFIX)]
    return pretrained + same


def is_pretrained(run: Run) -> bool:
    known = run.pretraining or {}
    return known.get("objective") == "spanbert" and isinstance(known.get("epochs"), int | float)


def cell_of(run: Run) -> Cell:
    return float((run.pretraining or {}).get("epochs", 0)), str(run.config.get("pooling", "cls"))


def training_loss(run: Run) -> float | None:
    """Mean training loss of the epoch that the scored checkpoint ended, from the metrics.jsonl beside the results."""
    path = run.path.with_name("metrics.jsonl")
    if run.epoch is None or not path.is_file():
        return None
    losses = []
    for event in read_lines(path):
        epoch, loss = event.get("epoch"), event.get("loss")
        if event.get("event") == "train" and isinstance(epoch, int | float) and isinstance(loss, int | float):
            losses += [loss] if run.epoch - 1 < epoch <= run.epoch + 0.01 and math.isfinite(loss) else []
    return statistics.fmean(losses) if losses else None


def item(cell: Cell, number: int = 1) -> str:
    return numbered(f"spanbert-pre:{cell[0]:g}-{cell[1]}", number)


def published_rows() -> dict[Cell, dict[str, Any]]:
    rows = json.loads(PUBLISHED.read_text(encoding="utf-8"))["spanbert_nsmc"]["rows"]
    return {(float(row["pretrain_epochs"]), row["pooling"]): row for row in rows}


def table(runs: Sequence[Run]) -> str:
    """The table in Markdown under its caption: published cells first, then others; each setting has a row."""
    published = published_rows()
    found: dict[Cell, list[Run]] = defaultdict(list)
    for run in runs:
        found[cell_of(run)].append(run)
    lines, shown, notes, records = [HEADER], [], [], []
    for cell in [*published, *sorted(found.keys() - published.keys())]:
        rows, remarks = rows_by_setting(found[cell], (METRIC,), functools.partial(item, cell))
        notes += remarks
        shown += rows.values()
        records += [(item(cell, number), [run.pretraining for run in members]) for number, members in rows.items()]
        for number, members in (rows or {1: []}).items():
            figures = published.get(cell, {}) if number == 1 else {}
            lines.append((item(cell, number), f"{cell[0]:g}", cell[1], *texts_of(members, figures)))
    below = legend_of_marks(shown)
    below += ["( ) published: best of ten epochs on the test file; the original's code counts them from 0."]
    return "\n\n".join([caption(records), markdown_grid(lines), bullet_list(below, notes)])


def texts_of(runs: Sequence[Run], published: dict[str, Any]) -> list[str]:
    """Epoch, loss and accuracy of a row, each followed by the published figure."""
    texts = [
        score_text([run.epoch for run in runs], 0 if len(runs) < 2 else 1),
        score_text([training_loss(run) for run in runs], 3),
        score_text([run.metrics[METRIC] for run in runs], 4) + (marks(runs) if runs else ""),
    ]
    figures = [published.get(key) for key in HEADER[3:]]
    return [text + (f" ({figure:g})" if figure is not None else "")
            for text, figure in zip(texts, figures, strict=True)]  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="searched for results.json, all levels")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there instead of standard output")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    refuse_missing(arguments.folders)
    found = [run for run in find_runs(arguments.folders, {TASK: (METRIC,)}) if run.task == TASK]
    runs = spanberts(found)
    for run in found:
        if run not in runs:
            print(f"warning: {run.path}: {run.model} is no SpanBERT of this suite; left out", file=sys.stderr)
    if not runs:
        stop(
            f"no SpanBERT's results of {TASK} below {', '.join(map(str, arguments.folders))} (looked for results.json)"
        )
    write_out(table(runs), arguments.output)


if __name__ == "__main__":
    sys.exit(run_main(main))
