"""KLUE's files of JSON rows, and the tasks topic classification, similarity, inference and relation extraction.

The benchmark: https://github.com/KLUE-benchmark/KLUE (arXiv:2105.09680). Inputs, labels and settings are those of
https://github.com/KLUE-benchmark/KLUE-baseline. The labels of the official test files are not public, so that the
development files are scored, as KLUE-baseline does.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import processors.klue_scores  # noqa: F401  (its metrics are named below)
from processors.entity_markers import MARKERS, mark_entities
from processors.task import DataError, HubData, Malformed, Rows, Task, parse_json, read_text, without_lone_surrogates
from processors.text_readers import UNLABELLED, RowCollector, rows_in_own_form, sides_of, unlabelled_lines

SOURCE, LICENCE = "https://github.com/KLUE-benchmark/KLUE", "CC BY-SA 4.0"
# A row of a file and what to count about it -> its text or its two texts. Raises Malformed.
TextsOf = Callable[[Task, Mapping[str, Any], Counter[str]], list[str]]


def settings_of(training_rows: int) -> dict[str, Any]:
    """The settings that KLUE-baseline's run_all.sh has for most tasks, as far as they differ from the defaults.

    training_rows: of the official training file. Checkpoints are scored and kept four times in an epoch of it.
    """
    quarter = math.ceil(training_rows / 32) // 4
    return {"warmup_proportion": 0.1, "eval_steps": quarter, "save_steps": quarter, "save_total_limit": 2}


def texts_of(task: Task, row: Mapping[str, Any], counts: Counter[str]) -> list[str]:
    """The texts under `task.text_columns`. Raises Malformed where one is missing."""
    texts = []
    for column in task.text_columns:
        if not isinstance(row.get(column), str):
            raise Malformed(f'no text "{column}"')
        texts.append(without_lone_surrogates(row[column], counts))
    return texts


def marked_text_of(task: Task, row: Mapping[str, Any], counts: Counter[str]) -> list[str]:
    """The sentence of a row of KLUE-RE with markers around its two entities. Raises Malformed."""
    return [without_lone_surrogates(mark_entities(row, counts), counts)]


def read_klue(
    task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False, texts_of: TextsOf = texts_of
) -> Rows:
    """Rows of a KLUE file, a JSON list of objects. A dot in `task.label_column` leads into an object in the row.

    Raises DataError naming file and row (by its guid, where it has one) of malformed rows.
    """
    rows = enumerate(_json_rows(path, read_text(path, encoding)))
    return collect_rows(task, path, ((_name_of(row, number), row) for number, row in rows), skip_bad_rows, texts_of)


def collect_rows(
    task: Task, path: Path | str, rows: Iterable[tuple[str, Any]], skip_bad_rows: bool, texts_of: TextsOf = texts_of
) -> Rows:
    """The texts and labels of KLUE's rows. Raises DataError naming malformed rows.

    path: where they are from. rows: what each is called in messages, and itself.
    """
    found = RowCollector(task, path, skip_bad_rows, nothing="there are no rows in it")
    for name, row in rows:
        try:
            texts, label = texts_of(task, _object(row), found.counts), _label_of(task, row)
        except Malformed as error:
            found.bad.add_at(name, str(error))
            continue
        found.add(texts, label, place=name)
    return found.rows()


def read_klue_relations(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Rows:
    """`read_klue` for sentences whose two entities are marked."""
    return read_klue(task, path, encoding, skip_bad_rows, marked_text_of)


def _unlabelled(task: Task, text: str, place: str, texts_of: TextsOf = texts_of) -> Rows | None:
    """The texts of a JSON list, whose labels may be missing; None for a different form. Raises DataError."""
    # A text may begin with a bracket too: "[단독] ..."
    if not re.match(r"\s*\[\s*\{", text) and not place.endswith(".json"):
        return None
    counts: Counter[str] = Counter()
    sides = []
    for number, row in enumerate(_json_rows(place, text)):
        try:
            sides.append(sides_of(task, texts_of(task, _object(row), counts)))
        except Malformed as error:
            raise DataError(f"{place}: {_name_of(row, number)}: {error}") from None
    return rows_in_own_form(task, place, sides, counts)


def _unlabelled_relations(task: Task, text: str, place: str) -> Rows:
    """`_unlabelled`, or sentences on lines. Raises DataError for one that does not hold each marker once."""
    rows = _unlabelled(task, text, place, marked_text_of)
    if rows is not None:
        return rows
    rows = unlabelled_lines(task, place, text)
    for number, sentence in enumerate(rows.first, 1):
        if wrong := [marker for marker in MARKERS if sentence.count(marker) != 1]:
            raise DataError(
                f"{place}:{number}: {task.name} expects {' '.join(MARKERS)} around the two entities, each once; "
                f"here {wrong[0]} occurs {sentence.count(wrong[0])} times"
            )
    return rows


def _json_rows(place: Path | str, text: str) -> list[Any]:
    content = parse_json(text, str(place))
    if not isinstance(content, list) or not content:
        raise DataError(f"{place}: not in the form of KLUE's files: a JSON list of rows is expected")
    return content


def _object(row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise Malformed("is no object")
    return row


def _name_of(row: Any, number: int) -> str:
    guid = row.get("guid") if isinstance(row, dict) else None
    return f"row {guid!r}" if isinstance(guid, str) and guid else f"[{number}]"


def _label_of(task: Task, row: Mapping[str, Any]) -> str:
    """The label as it is written. Raises Malformed where there is none."""
    value: Any = row
    for key in task.label_column.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        raise Malformed(f'no "{task.label_column}"')
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# Texts to be labelled may be in these forms too.
UNLABELLED |= {read_klue: _unlabelled, read_klue_relations: _unlabelled_relations}

# The hub has version 1.0 of the files, whose rows are JSON objects with other names for some keys.
HUB, HUB_SPLITS = "klue/klue", {"train": "train", "test": "validation"}

# The order of `relation_list.json`; no_relation is the first.
RELATIONS = (
    "no_relation",
    "org:dissolved",
    "org:founded",
    "org:place_of_headquarters",
    "org:alternate_names",
    "org:member_of",
    "org:members",
    "org:political/religious_affiliation",
    "org:product",
    "org:founded_by",
    "org:top_members/employees",
    "org:number_of_employees/members",
    "per:date_of_birth",
    "per:date_of_death",
    "per:place_of_birth",
    "per:place_of_death",
    "per:place_of_residence",
    "per:origin",
    "per:employee_of",
    "per:schools_attended",
    "per:alternate_names",
    "per:parents",
    "per:children",
    "per:siblings",
    "per:spouse",
    "per:other_family",
    "per:colleagues",
    "per:product",
    "per:religion",
    "per:title",
)

KLUE_TASKS = (
    Task(
        name="klue-tc",
        folder="klue/ynat-v1.1",
        train_file="ynat-v1.1_train.json",
        dev_file=None,
        test_file="ynat-v1.1_dev.json",
        read=read_klue,
        columns=("guid", "title", "label"),
        text_columns=("title",),
        label_column="label",
        labels=("정치", "경제", "사회", "생활문화", "세계", "IT과학", "스포츠"),
        metrics=("macro_f1",),
        main_metric="macro_f1",
        source=SOURCE,
        licence=LICENCE,
        fetch="bash scripts/download_data.sh klue-tc",
        hub=HubData(HUB, "ynat", splits=HUB_SPLITS),
        defaults=settings_of(45_678) | {"num_train_epochs": 4},
    ),
    Task(
        name="klue-sts",
        folder="klue/klue-sts-v1.1",
        train_file="klue-sts-v1.1_train.json",
        dev_file=None,
        test_file="klue-sts-v1.1_dev.json",
        read=read_klue,
        columns=("guid", "sentence1", "sentence2", "labels.real-label"),
        text_columns=("sentence1", "sentence2"),
        is_pair=True,
        # The mean of the annotators' scores. `labels.label` is the same rounded to one decimal.
        label_column="labels.real-label",
        metrics=("pearson", "f1_at_3"),
        main_metric="pearson",
        source=SOURCE,
        licence=LICENCE,
        fetch="bash scripts/download_data.sh klue-sts",
        hub=HubData(HUB, "sts", splits=HUB_SPLITS),
        defaults=settings_of(11_668) | {"num_train_epochs": 4, "early_stopping_patience": 5},
    ),
    Task(
        name="klue-nli",
        folder="klue/klue-nli-v1.1",
        train_file="klue-nli-v1.1_train.json",
        dev_file=None,
        test_file="klue-nli-v1.1_dev.json",
        read=read_klue,
        columns=("guid", "premise", "hypothesis", "gold_label"),
        text_columns=("premise", "hypothesis"),
        is_pair=True,
        label_column="gold_label",
        labels=("entailment", "contradiction", "neutral"),
        metrics=("accuracy",),
        main_metric="accuracy",
        source=SOURCE,
        licence=LICENCE,
        fetch="bash scripts/download_data.sh klue-nli",
        hub=HubData(HUB, "nli", splits=HUB_SPLITS, columns={"gold_label": "label"}),
        defaults=settings_of(24_998) | {"num_train_epochs": 5, "early_stopping_patience": 5},
    ),
    Task(
        name="klue-re",
        folder="klue/klue-re-v1.1",
        train_file="klue-re-v1.1_train.json",
        dev_file=None,
        test_file="klue-re-v1.1_dev.json",
        read=read_klue_relations,
        columns=("guid", "sentence", "subject_entity", "object_entity", "label"),
        text_columns=("sentence",),
        label_column="label",
        labels=RELATIONS,
        markers=MARKERS,
        metrics=("micro_f1", "auprc"),
        main_metric="micro_f1",
        source=SOURCE,
        licence=LICENCE,
        fetch="bash scripts/download_data.sh klue-re",
        hub=HubData(HUB, "re", splits=HUB_SPLITS),
        defaults=settings_of(32_470) | {"num_train_epochs": 3, "max_seq_len": 256},
    ),
)
