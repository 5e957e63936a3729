"""Prints the Korean SpanBERT's table: NSMC after 0, 5 and 10 epochs of pretraining, by three poolings.

    python3 scripts/spanbert_table.py ckpt/spanbert-nsmc-half
    python3 scripts/spanbert_table.py ckpt/run-a ckpt/run-b --output table.md

Every results.json of NSMC below the folders is read; `scripts/run_spanbert_nsmc.sh` makes those of the published rows.
Runs that differ in nothing but the seed share a row (mean ± sample standard deviation); a published figure stands
in parentheses. Epochs are counted from 1; loss is the mean training loss of the scored checkpoint's epoch.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
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
    read_lines,
    refuse_missing,
    stop,
    write_out,
)

TASK, METRIC = "nsmc", "accuracy"
HEADER = ("ITEM", "Pretrain", "logit", "epoch", "loss", "accuracy")
Cell = tuple[float, str]  # epochs of pretraining, pooling


def is_spanbert(run: Run) -> bool:
    """Whether a run began with this suite's SpanBERT, or from scratch."""
    known = run.pretraining or {}
    if run.config.get("from_scratch"):
        return True
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


def mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return NONE
    spread = f" ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.{digits}f}{spread}"


def rows_of(runs: Sequence[Run]) -> tuple[list[tuple[Cell, int, list[Run]]], list[str]]:
    """Published cells first, in their order, each with its settings; and what there is to note."""
    published = [(float(row["pretrain_epochs"]), row["pooling"]) for row in published_rows()]
    settings: dict[Cell, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        settings[cell_of(run)][json.dumps(run.setting, sort_keys=True)].append(run)
    rows, notes = [], []
    for cell in [*published, *sorted(settings.keys() - set(published))]:
        ordered = sorted(settings[cell].items(), key=lambda item: (-len({run.seed for run in item[1]}), item[0]))
        for number, (_, members) in enumerate(ordered, start=1):
            kept, remarks = one_run_a_seed(members, (METRIC,), item(cell, number))
            notes += remarks
            if number > 1:
                notes.append(f"{item(cell, number)}: a row of its own: {difference(members[0], ordered[0][1][0])}")
            if kept:
                rows.append((cell, number, kept))
        if not ordered:
            rows.append((cell, 1, []))
    return rows, notes


def item(cell: Cell, number: int = 1) -> str:
    return f"spanbert-pre:{cell[0]:g}-{cell[1]}" + (f" [{number}]" if number > 1 else "")


def published_rows() -> list[dict[str, Any]]:
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))["spanbert_nsmc"]["rows"]


def table(rows: Sequence[tuple[Cell, int, list[Run]]], notes: Sequence[str]) -> str:
    published = {(float(row["pretrain_epochs"]), row["pooling"]): row for row in published_rows()}
    lines = [HEADER]
    for cell, number, runs in rows:
        figures = published.get(cell, {}) if number == 1 else {}
        texts = [
            mean([run.epoch for run in runs], 0 if len(runs) < 2 else 1),
            mean([training_loss(run) for run in runs], 3),
            mean([run.metrics[METRIC] for run in runs], 4) + (marks(runs) if runs else ""),
        ]
        scores = [figures.get(key) for key in HEADER[3:]]
        texts = [
            text + (f" ({score:g})" if score is not None else "") for text, score in zip(texts, scores, strict=True)
        ]
        lines.append((item(cell, number), f"{cell[0]:g}", cell[1], *texts))
    shown = [run for _, _, runs in rows for run in runs]
    below = [
        f"{mark} {meaning}." for name, (mark, meaning) in SELECTIONS.items() if name in {r.selection for r in shown}
    ]
    below += [" ".join(CHANCE) + "."] if any(run.at_chance for run in shown) else []
    seeds = sorted({len(runs) for _, _, runs in rows if len(runs) > 1})
    below += [f"± sample standard deviation over {' or '.join(map(str, seeds))} seeds."] if seeds else []
    below += ["( ) published: best of ten epochs on the test file; whether its epochs begin at 0 or 1 is not said."]
    below += [f"Note: {note}." for note in notes]
    return markdown_grid(lines) + "\n\n" + "\n".join(f"- {line}" for line in below) + "\n"


def marks(runs: Sequence[Run]) -> str:
    chance = CHANCE[0] if any(run.at_chance for run in runs) else ""
    return SELECTIONS.get(runs[0].selection, UNKNOWN_SELECTION)[0] + chance


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
    runs = [run for run in found if is_spanbert(run)]
    for run in found:
        if run not in runs:
            print(f"warning: {run.path}: {run.model} is no SpanBERT of this suite; left out", file=sys.stderr)
    if not runs:
        stop(
            f"no SpanBERT's results of {TASK} below {', '.join(map(str, arguments.folders))} (looked for results.json)"
        )
    write_out(table(*rows_of(runs)), arguments.output)


if __name__ == "__main__":
    main()
