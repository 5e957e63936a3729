"""Arranges few-shot results for the table and the figure: rows are models, columns numbers of training questions."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reporting.results_reading import PUBLISHED, Run, difference, numbered, rows_by_setting, settings_of

TASK, METRICS = "korquad-few-shot", ("em", "f1")
FULL = "full"  # the whole training set
# The size of a column and settings of the study; runs of one row may differ in them.
COLUMN_SETTINGS = frozenset({"few_shot", "samples", "keep_models", "full_train_epochs"})
# Settings that may depend on the size, so runs of one row may differ in them, but runs of one cell may not.
SETTINGS_OF_SIZE = frozenset({"num_train_epochs", "max_steps", "min_steps"})

Size = int | str  # a number of training questions, or FULL
Contender = tuple[str, bool]  # model, whether from scratch


@dataclass(frozen=True)
class FewShotRow:
    """A model in one setting; number 2, 3, ...: the same model in further settings.

    cells: size -> one run for each sample. published: metric -> size -> per cent. published_settings: those that the
    published scores were made with, as far as runs of this suite may differ from them.
    """

    model: str
    from_scratch: bool
    name: str
    number: int
    cells: dict[Size, list[Run]]
    published: dict[str, dict[Size, float]] = field(default_factory=dict)
    published_settings: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return numbered(label_of(self.name, self.from_scratch), self.number)

    @property
    def contender(self) -> Contender:
        """Identifies the model; the same in all of its settings."""
        return self.model, self.from_scratch


def label_of(name: str, from_scratch: bool) -> str:
    return f"{name}, from scratch" if from_scratch else name


def size_title(size: Size) -> str:
    return size.capitalize() if isinstance(size, str) else str(size)


def order_of(size: Size) -> tuple[bool, int]:
    """Sorts sizes: numbers, then the whole set."""
    return (True, 0) if isinstance(size, str) else (False, size)


def size_of(run: Run) -> Size:
    """The size of a run's sample; FULL without samples. Raises ValueError where a run has not exactly one size."""
    sizes = run.config.get("few_shot") or [FULL]
    if isinstance(sizes, list) and len(sizes) == 1:
        (size,) = sizes
        if size == FULL or (isinstance(size, int) and not isinstance(size, bool) and size > 0):
            return size
    raise ValueError(f"few_shot is {json.dumps(sizes)}, not one number of questions or {json.dumps([FULL])}")


def published_scores() -> dict[str, Any]:
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))["kosplinter_few_shot_korquad"]


def rows_of(runs: Sequence[Run], all_published: bool = False) -> tuple[list[FewShotRow], list[str]]:
    """Rows of published models first, in their order, then of other models by name; and the notes.

    Warns on stderr about runs without a size. all_published: also rows of models that have no run.
    """
    spec = published_scores()
    known = {(row["model"], False): row for row in spec["rows"]}
    names = {row["model"]: row["name"] for row in spec["rows"]}
    by_contender: dict[Contender, list[Run]] = defaultdict(list)
    for run in runs:
        try:
            size_of(run)
        except ValueError as error:
            print(f"warning: {run.path}: {error}; left out", file=sys.stderr)
        else:
            # A local model is named after its folder: KoSplinter's is the published one in capital letters too.
            model = run.model.lower() if run.model.lower() in names else run.model
            by_contender[model, bool(run.config.get("from_scratch"))].append(run)
    rows: list[FewShotRow] = []
    notes: list[str] = []
    for contender in [*known, *sorted(by_contender.keys() - known.keys())]:
        model, from_scratch = contender
        row = known.get(contender, {})
        scores = {metric: dict(zip(spec["sizes"], row[metric], strict=True)) for metric in METRICS if row}
        name = names.get(model, model)
        theirs = row.get("settings", {})
        settings, remarks = cells_by_setting(by_contender[contender], label_of(name, from_scratch), theirs)
        notes += remarks
        if row and (settings or all_published):
            settings = {1: {}} | settings  # the published scores, whatever there is beside them
        for number, cells in settings.items():
            beside = (scores, theirs) if number == 1 else ({}, {})
            rows.append(FewShotRow(model, from_scratch, name, number, cells, *beside))
    return rows, notes


def cells_by_setting(
    runs: Sequence[Run], label: str, published_settings: Mapping[str, Any]
) -> tuple[dict[int, dict[Size, list[Run]]], list[str]]:
    """The cells of one model's rows by the row's number, with one run for each sample; and the notes.

    Each row has one setting, except for SETTINGS_OF_SIZE, which may differ between its cells. Where these differ within
    one size, the runs with further values go into rows below. published_settings: those of the published scores; the
    row that has most of them is first.
    """
    rows: dict[int, dict[Size, list[Run]]] = {}
    notes: list[str] = []
    along_row = [replace(run, aside=COLUMN_SETTINGS | SETTINGS_OF_SIZE) for run in runs]
    groups = settings_of(along_row, counted=lambda run: (size_of(run), run.seed))
    groups.sort(key=lambda members: len(settings_apart(members[0], published_settings)))
    taken = 0  # numbers of rows
    for members in groups:
        if taken:
            reason = difference(members[0], groups[0][0])
            notes.append(f"{numbered(label, taken + 1)}: a row of its own: {reason}")
        used = 0
        for size in sorted({size_of(run) for run in members}, key=order_of):
            of_size = [replace(run, aside=COLUMN_SETTINGS) for run in members if size_of(run) == size]

            def where(number: int, size: Size = size, before: int = taken) -> str:
                return f"{numbered(label, before + number)}, {size_title(size)}"

            settings, remarks = rows_by_setting(of_size, METRICS, where)
            notes += remarks
            for number, kept in settings.items():
                rows.setdefault(taken + number, {})[size] = kept
            used = max(used, *settings, 1)
        taken += used
    return dict(sorted(rows.items())), notes


def settings_apart(run: Run, published: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in which a run differs from the published ones, with the run's values."""
    return {key: run.config.get(key) for key, value in published.items() if run.config.get(key) != value}


def sizes_of(rows: Sequence[FewShotRow], all_published: bool = False) -> list[Size]:
    """The columns: all sizes of runs, and, without runs or with all_published, the published sizes."""
    sizes = {size for row in rows for size in row.cells}
    if all_published or not sizes:
        sizes |= {size for row in rows for scores in row.published.values() for size in scores}
    return sorted(sizes, key=order_of)
