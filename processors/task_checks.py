"""What is wrong with the facts of a task, all at once: a run with such a task would stop in the middle or mean nothing.

Tasks are checked when a script starts. Each problem names the task and the field.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal

from processors.klue import read_klue, read_klue_relations
from processors.klue_ner import labels_characters
from processors.metrics import CHARACTER_METRICS, ENTITY_METRICS, METRIC_FACTS, METRICS, bio_form
from processors.sentence_files import read_json_sentences, read_token_lines
from processors.task import HubData, Task
from processors.text_readers import read_csv, read_json_lines

# What is labelled or answered, which decides what facts a task needs.
Kind = Literal["texts", "words", "questions"]
TUPLES = ("columns", "text_columns", "labels", "metrics", "comments", "markers")
FILES = ("train_file", "dev_file", "test_file")
# The scores of questions that have no `score` of their own (`processors/qa/answer_scores.py`).
QUESTION_METRICS = ("em", "f1")
JSON_READERS = (read_json_lines, read_json_sentences, read_klue, read_klue_relations)
SCORE_RANGE = Task.score_range  # the default


def problems_of_tasks(tasks_of_kind: Iterable[tuple[Kind, Sequence[Task]]]) -> list[str]:
    """What is wrong with all tasks; the same task may be there more than once."""
    problems: list[str] = []
    known: dict[Any, Task] = {}
    for kind, tasks in tasks_of_kind:
        for task in tasks:
            if known.setdefault(task.name, task) is not task:
                problems.append(f"task {task.name}: name: two tasks are named {task.name}")
            problems += problems_of(task, kind)
    return list(dict.fromkeys(problems))


def problems_of(task: Task, kind: Kind) -> list[str]:
    """What is wrong with one task, a line for each problem; it begins with the task's name and the field."""
    types = list(_wrong_types(task))
    further = {"texts": _wrong_texts, "words": _wrong_words, "questions": _wrong_questions}[kind]
    # With a wrong type, what follows from the values cannot be known.
    found = types or [*_wrong_places(task), *_wrong_metrics(task, kind), *_wrong_hub(task), *further(task)]
    return [f"task {task.name}: {field}: {what}" for field, what in found]


def problems_of_defaults(tasks: Iterable[Task], keys: Container[str]) -> list[str]:
    """Keys in the tasks' `defaults` that the script does not have. keys: those of the script."""
    return [
        f"task {task.name}: defaults: this script has no key {key!r}{_nearest(str(key), keys)}"
        for task in tasks
        for key in (task.defaults if isinstance(task.defaults, Mapping) else ())
        if key not in keys
    ]


def _nearest(word: str, known: Any) -> str:
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""


def _wrong_types(task: Task) -> Iterator[tuple[str, str]]:
    for field in TUPLES:
        value = getattr(task, field)
        if isinstance(value, str):
            yield field, f"is a text; a tuple is expected: ({value!r},)"
        elif value is not None or field != "comments":
            types = (str, int) if field == "text_columns" else (str,)
            if not isinstance(value, list | tuple) or not all(type(each) in types for each in value):
                yield field, f"a tuple of texts is expected, not {value!r}"
    for field in (*FILES, "name", "folder", "main_metric", "separator"):
        value = getattr(task, field)
        if not isinstance(value, str) and not (value is None and field in ("dev_file", "test_file")):
            yield field, f"a text is expected, not {value!r}"
    if type(task.label_column) not in (str, int):
        yield "label_column", f"a name or a number is expected, not {task.label_column!r}"
    for field in ("defaults", "label_map"):
        if not isinstance(getattr(task, field), Mapping):
            yield field, f"a dictionary is expected, not {getattr(task, field)!r}"
    if task.hub is not None and not isinstance(task.hub, HubData):
        yield "hub", f"HubData or None is expected, not {task.hub!r}"
    if not callable(task.read):
        yield "read", f"a function is expected, not {task.read!r}"
    share = task.held_out_share
    if share is not None and not (isinstance(share, int | float) and 0 < share < 1):
        yield "held_out_share", f"a number between 0 and 1 is expected, not {share!r}"
    is_pair = isinstance(task.score_range, list | tuple) and len(task.score_range) == 2
    if not is_pair or not all(isinstance(end, int | float) and math.isfinite(end) for end in task.score_range):
        yield "score_range", f"the lowest and the highest score are expected, such as (0, 5), not {task.score_range!r}"


def _wrong_places(task: Task) -> Iterator[tuple[str, str]]:
    """The name, which is also that of folders, and the files."""
    if not re.fullmatch(r"[\w.-]+", task.name) or task.name.strip(".") == "":
        yield "name", "letters, digits, '-', '_' and '.' are expected, as folders are called by it"
    for field in ("folder", *FILES):
        value = getattr(task, field)
        inside = "data_dir" if field == "folder" else f"the folder {task.folder!r}"
        if value is not None and (not value.strip() or PurePath(value).is_absolute() or ".." in PurePath(value).parts):
            yield field, f"a path inside {inside} is expected, not {value!r}"
    if task.test_file is None and task.held_out_share is None:
        yield "test_file", "is None: then held_out_share must say how much of the training file is held out"


def _wrong_hub(task: Task) -> Iterator[tuple[str, str]]:
    """The data set on the hub: its id, and names that are none of the task's."""
    if task.hub is None:
        return
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", task.hub.id):
        yield "hub", f"an id such as owner/name is expected, not {task.hub.id!r}"
    splits = {"train": task.train_file, "dev": task.dev_file, "test": task.test_file}
    for role in task.hub.splits:
        if not splits.get(role):
            there = ", ".join(name for name, file in splits.items() if file)
            yield "hub", f"splits: the task has no split {role!r}: it has {there}"
    named = {column for column in (*task.text_columns, task.label_column) if isinstance(column, str)}
    for column in task.hub.columns if named - {""} else ():
        if column not in named | set(task.columns):
            yield "hub", f"columns: no column is called {column!r}{_nearest(column, named)}"
    for meaning in task.hub.labels.values():
        if meaning not in task.labels:
            yield "hub", f"labels: {meaning!r} is none of the labels: {', '.join(task.labels)}"


def _wrong_metrics(task: Task, kind: Kind) -> Iterator[tuple[str, str]]:
    yield from _twice(task, "metrics")
    if not task.metrics:
        yield "metrics", "there are none"
    elif task.main_metric not in task.metrics:
        yield "main_metric", f"{task.main_metric!r} is none of its metrics: {', '.join(task.metrics)}"
    if kind == "questions":
        known = list(QUESTION_METRICS) if task.score is None else list(task.metrics)
    elif kind == "words" and labels_characters(task):
        known = list(CHARACTER_METRICS)
    else:
        known = list(dict.fromkeys([*METRICS, *(ENTITY_METRICS if kind == "words" else ())]))
    for name in task.metrics:
        if name not in known:
            yield "metrics", f"no metric is called {name!r}{_nearest(name, known)}; known are {', '.join(known)}"
        elif kind == "texts" or (kind == "words" and name not in (*ENTITY_METRICS, *CHARACTER_METRICS)):
            yield from _unfit_metric(task, name)
    if task.score is None and task.main_metric in known:
        facts = METRIC_FACTS.get(task.main_metric)
        right = facts.greater_is_better if facts else True  # of the known scores of entities and answers
        if task.greater_is_better != right:
            more = "more" if right else "less"
            hint = " (for a metric of your own, @metric(greater_is_better=False) says otherwise)" if right else ""
            yield "greater_is_better", f"is {task.greater_is_better}, but {more} {task.main_metric} is better{hint}"


def _unfit_metric(task: Task, name: str) -> Iterator[tuple[str, str]]:
    wanted = METRIC_FACTS[name].labels
    if task.is_regression != (wanted == "scores"):
        what = "the scores of a regression" if wanted == "scores" else "classes"
        has = "this task has no labels, so it is a regression" if task.is_regression else "this task has labels"
        yield "metrics", f"{name} is for {what}, and {has}"
    elif wanted == "two classes" and len(task.labels) != 2:
        hint = f"; macro_{name} is for any number" if f"macro_{name}" in METRICS else ""
        yield "metrics", f"{name} is for two labels, and this task has {len(task.labels)}{hint}"


def _twice(task: Task, field: str) -> Iterator[tuple[str, str]]:
    value = getattr(task, field)
    if len(set(value)) < len(value):
        yield field, f"names something twice: {', '.join(map(str, value))}"


def _wrong_labels(task: Task) -> Iterator[tuple[str, str]]:
    yield from _twice(task, "labels")
    if len(task.labels) == 1:
        yield "labels", "there is only one: two or more are expected, or none for a regression"
    for label in task.labels:
        if not label or label != label.strip() or "\t" in label or "\n" in label:
            yield "labels", f"{label!r} can stand in no file: it is empty, or has white space around it or tabs in it"


def _wrong_columns(task: Task) -> Iterator[tuple[str, str]]:
    """Columns that name something twice, or not at all, or contradict one another."""
    for field in ("columns", "text_columns"):
        yield from _twice(task, field)
    chosen = [("text_columns", column) for column in task.text_columns]
    chosen += [("label_column", task.label_column)] if task.label_column != "" else []
    for field, column in chosen:
        if isinstance(column, int) and task.read in JSON_READERS:
            yield field, f"{column} is a number, and JSON objects have keys"
        elif isinstance(column, int):
            if column < 0 or (task.columns and column >= len(task.columns)):
                there = f" below {len(task.columns)}" if task.columns else ""
                yield field, f"there is no column {column}: a number{there} is expected, counted from 0"
        elif task.columns and column not in task.columns:
            yield field, f"no column is called {column!r}: it has {', '.join(task.columns)}"
        elif not task.columns and (task.header is False or task.read is read_token_lines):
            yield field, f"{column!r} is a name: columns must say which column has it, or give its number"
    if task.read is read_csv and len(task.separator) > 1:
        yield "separator", f"one character is expected in CSV, not {task.separator!r}"
    if "" in (task.comments or ()):
        yield "comments", "'' begins every line"
    if task.label_column in task.text_columns:
        yield "label_column", f"{task.label_column!r} is one of the text_columns too"


def _wrong_texts(task: Task) -> Iterator[tuple[str, str]]:
    yield from _wrong_labels(task)
    yield from _wrong_columns(task)
    if not task.text_columns:
        yield "text_columns", "there are none: which columns hold the text?"
    if task.label_column == "":
        yield "label_column", "is missing: which column holds the label or the score?"
    if task.is_pair and len(task.text_columns) != 2:
        yield "is_pair", f"a pair has two text_columns, not {len(task.text_columns)}"
    if task.label_map:
        yield "label_map", "is for the labels of entities"
    low, high = task.score_range
    if low >= high:
        yield "score_range", f"the lowest score comes first: ({high:g}, {low:g})" if low > high else "has no width"
    if task.labels and tuple(task.score_range) != SCORE_RANGE:
        yield "score_range", "is for a regression, and this task has labels"


def _wrong_words(task: Task) -> Iterator[tuple[str, str]]:
    yield from _wrong_labels(task)
    if task.is_regression:
        yield "labels", "there are none, and each word needs one"
    yield from _wrong_columns(task)
    if task.read is read_json_sentences and not task.text_columns:
        yield "text_columns", "there are none: under which key are the words?"
    if len(task.text_columns) > 1:
        yield "text_columns", f"words are in one column, not in {len(task.text_columns)}"
    if bool(task.text_columns) != (task.label_column != ""):
        yield "label_column", "text_columns and label_column are given together or not at all"
    if task.is_pair:
        yield "is_pair", "sentences of words are no pairs"
    if task.markers:
        yield "markers", "are for texts, not for words"
    for label, meaning in task.label_map.items():
        if label not in task.labels:
            yield "label_map", f"{label!r} is none of the labels: {', '.join(task.labels)}"
        elif meaning != "O" and bio_form([meaning]) is None:
            yield "label_map", f"{meaning!r} is not BIO: 'B-PER', 'PER-B' or 'O' is expected"
    if labels_characters(task):
        yield from _wrong_characters(task)
    elif ENTITY_METRICS & set(task.metrics):
        meanings = [task.label_map.get(label, label) for label in task.labels]
        if bio_form(meanings) is None:
            yield "labels", _not_bio(meanings)
    elif task.label_map:
        yield "label_map", "has no effect without scores of entities (f1, precision, recall)"


def _wrong_characters(task: Task) -> Iterator[tuple[str, str]]:
    """What the scores of labels of characters need."""
    if "O" not in task.labels or bio_form(task.labels) != "prefix":
        yield "labels", f"characters have labels such as 'B-PS', 'I-PS' and 'O', not {', '.join(task.labels)}"
    for begin in task.labels:
        if begin.startswith("B-") and begin.replace("B-", "I-", 1) not in task.labels:
            yield "labels", f"{begin!r} needs {begin.replace('B-', 'I-', 1)!r}, which its further characters have"
    if task.label_map:
        yield "label_map", "is for the labels of words"


def _not_bio(meanings: list[str]) -> str:
    """The message about labels that are no entities, or of which some are `B-PER` and others `PER-B`."""
    each = {label: bio_form([label]) for label in meanings if label != "O"}
    wrong = next((label for label, form in each.items() if form is None), None)
    if wrong is None:
        return f"'B-PER' and 'PER-B' do not mix: {', '.join(each)}"
    return (
        f"{wrong!r} is not BIO ('B-PER', 'PER-B' or 'O'), which f1, precision and recall of entities need: "
        'label_map says what it means, such as {"PER_B": "PER-B", "-": "O"}; '
        'tags that are no entities take metrics=("accuracy", "macro_f1")'
    )


def _wrong_questions(task: Task) -> Iterator[tuple[str, str]]:
    for field in ("columns", "text_columns", "labels", "label_map", "label_column", "is_pair", "markers"):
        if getattr(task, field):
            yield field, "is not for questions"
    if task.held_out_share is not None:
        yield "held_out_share", "is not for questions: name a test_file"
