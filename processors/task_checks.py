"""What is wrong with the facts of a task, all at once: a run with such a task would stop in the middle or mean nothing.

Tasks are checked when a script starts. Each problem names the task and the field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal

from processors.klue import read_klue, read_klue_relations
from processors.klue_ner import labels_characters, read_klue_ner
from processors.klue_scores import SIMILAR
from processors.metrics import CHARACTER_METRICS, ENTITY_METRICS, METRIC_FACTS, METRICS, bio_form
from processors.sentence_files import read_json_sentences, read_sentence_lines, read_token_lines
from processors.task import HubData, Task
from processors.text_readers import read_csv, read_json_lines, read_tsv
from storage.spelling import did_you_mean

# A task that says nothing but what it must: the defaults of the facts.
BLANK = Task("", "", "", None, None, read=read_tsv, main_metric="", source="", licence="")
# What is labelled or answered, which decides what facts a task needs.
Kind = Literal["texts", "words", "questions"]
TUPLES = ("columns", "text_columns", "labels", "metrics", "comments", "markers")
FILES = ("train_file", "dev_file", "test_file")
FLAGS = ("is_pair", "drop_empty", "greater_is_better")
# Facts that say how a file with columns is written, and those that readers of files without columns do not look at.
WRITTEN = ("separator", "header", "comments")
IGNORED = {
    **dict.fromkeys((read_json_lines, read_json_sentences, read_klue, read_klue_relations), WRITTEN),
    **dict.fromkeys((read_sentence_lines, read_klue_ner), ("columns", "text_columns", "label_column", *WRITTEN)),
}
# The scores of questions that have no `score` of their own (`processors/qa/answer_scores.py`).
QUESTION_METRICS = ("em", "f1")
READERS: dict[Kind, tuple[Any, ...]] = {
    "texts": (read_tsv, read_csv, read_json_lines, read_klue, read_klue_relations),
    "words": (read_sentence_lines, read_token_lines, read_json_sentences, read_klue_ner),
}
JSON_READERS = (read_json_lines, read_json_sentences, read_klue, read_klue_relations)


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
    found = types or [
        *_wrong_places(task),
        *_wrong_hub(task),
        *_wrong_reader(task, kind),
        *_wrong_metrics(task, kind),
        *further(task),
    ]
    return [f"task {task.name}: {field}: {what}" for field, what in found]


def problems_of_defaults(tasks: Iterable[Task], keys: Container[str]) -> list[str]:
    """Keys in the tasks' `defaults` that the script does not have. keys: those of the script."""
    return [
        f"task {task.name}: defaults: this script has no key {key!r}{did_you_mean(str(key), keys)}"
        for task in tasks
        for key in (task.defaults if isinstance(task.defaults, Mapping) else ())
        if key not in keys
    ]


def _wrong_types(task: Task) -> Iterator[tuple[str, str]]:
    for field in TUPLES:
        value = getattr(task, field)
        if isinstance(value, str):
            yield field, f"is a text; a tuple is expected: ({value!r},)"
        elif isinstance(value, list):
            yield field, f"is a list; a tuple is expected: {tuple(value)!r}"
        elif value is not None or field != "comments":
            types = (str, int) if field == "text_columns" else (str,)
            if not isinstance(value, tuple) or not all(type(each) in types for each in value):
                yield field, f"a tuple of texts is expected, not {value!r}"
    for field in FLAGS:
        if not isinstance(getattr(task, field), bool):
            yield field, f"True or False is expected, not {getattr(task, field)!r}"
    if task.header is not None and not isinstance(task.header, bool):
        yield "header", f"True, False or None is expected, not {task.header!r}"
    for field in (*FILES, "name", "folder", "main_metric", "separator", "source", "licence"):
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
    if isinstance(task.label_map, Mapping):
        for label, meaning in task.label_map.items():
            if not isinstance(label, str) or not isinstance(meaning, str):
                yield "label_map", f"texts are expected, not {label!r}: {meaning!r}"
    for field in ("read", "score", "read_unanswered"):
        value = getattr(task, field)
        if not callable(value) and not (value is None and field != "read"):
            yield field, f"a function is expected, not {value!r}"
    share = task.held_out_share
    if share is not None and not (isinstance(share, int | float) and 0 < share < 1):
        yield "held_out_share", f"a number between 0 and 1 is expected, not {share!r}"
    has_two_ends = isinstance(task.score_range, list | tuple) and len(task.score_range) == 2
    if not has_two_ends or not all(isinstance(end, int | float) and math.isfinite(end) for end in task.score_range):
        yield "score_range", f"the lowest and the highest score are expected, such as (0, 5), not {task.score_range!r}"


def _wrong_places(task: Task) -> Iterator[tuple[str, str]]:
    """The name, which is also that of folders, and the files."""
    if not re.fullmatch(r"[\w.-]+", task.name) or task.name.strip(".") == "":
        yield "name", "letters, digits, '-', '_' and '.' are expected, as folders are called by it"
    for field in ("folder", *FILES):
        value = getattr(task, field)
        inside = "data_dir" if field == "folder" else f"the folder {task.folder!r}"
        if value is None:
            continue
        if not value.strip() or "\0" in value or PurePath(value).is_absolute() or ".." in PurePath(value).parts:
            yield field, f"a path inside {inside} is expected, not {value!r}"
    if task.test_file is None and task.held_out_share is None:
        yield "test_file", "is None: then held_out_share must say how much of the training file is held out"


def _wrong_reader(task: Task, kind: Kind) -> Iterator[tuple[str, str]]:
    """A reader of what tasks of a different kind have."""
    for its, readers in READERS.items():
        if its != kind and task.read in readers:
            yield "read", f"{task.read.__name__} reads {its}, and tasks of this kind have {kind}"


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
            yield "hub", f"columns: no column is called {column!r}{did_you_mean(column, named)}"
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
            yield "metrics", f"no metric is called {name!r}{did_you_mean(name, known)}; known are {', '.join(known)}"
        elif kind == "texts" or (kind == "words" and name not in (*ENTITY_METRICS, *CHARACTER_METRICS)):
            yield from _unfit_metric(task, name, kind)
    if task.score is None and task.main_metric in known:
        facts = METRIC_FACTS.get(task.main_metric)
        right = facts.greater_is_better if facts else True  # of the known scores of entities and answers
        if task.greater_is_better != right:
            more = "more" if right else "less"
            hint = " (for a metric of your own, @metric(greater_is_better=False) says otherwise)" if right else ""
            yield "greater_is_better", f"is {task.greater_is_better}, but {more} {task.main_metric} is better{hint}"


def _unfit_metric(task: Task, name: str, kind: Kind) -> Iterator[tuple[str, str]]:
    wanted = METRIC_FACTS[name].labels
    if METRIC_FACTS[name].needs_logits and kind == "words":
        yield "metrics", f"{name} is computed from logits, and those of words are not kept"
    if task.is_regression != (wanted == "scores"):
        what = "the scores of a regression" if wanted == "scores" else "classes"
        has = "this task has no labels, so it is a regression" if task.is_regression else "this task has labels"
        yield "metrics", f"{name} is for {what}, and {has}"
    elif wanted == "two classes" and len(task.labels) != 2:
        hint = f"; macro_{name} is for any number" if f"macro_{name}" in METRICS else ""
        yield "metrics", f"{name} is for two labels, and this task has {len(task.labels)}{hint}"
    elif wanted == "no_relation first" and task.labels[0] != "no_relation":
        yield "metrics", f"{name} leaves out the first label, which must be 'no_relation', not {task.labels[0]!r}"
    elif name == "f1_at_3" and not task.score_range[0] < SIMILAR <= task.score_range[1]:
        low, high = task.score_range
        yield "metrics", f"{name} is for scores below and above 3, and score_range is ({low:g}, {high:g})"


def _twice(task: Task, field: str) -> Iterator[tuple[str, str]]:
    value = getattr(task, field)
    if len(set(value)) < len(value):
        yield field, f"names something twice: {', '.join(map(str, value))}"


def _wrong_labels(task: Task) -> Iterator[tuple[str, str]]:
    yield from _twice(task, "labels")
    if len(task.labels) == 1:
        yield "labels", "there is only one: two or more are expected, or none for a regression"
    separator = " " if task.read is read_sentence_lines else task.separator
    for label in task.labels:
        if not label or label != label.strip() or "\t" in label or "\n" in label:
            yield "labels", f"{label!r} can stand in no file: it is empty, or has white space around it or tabs in it"
        elif separator and separator in label and task.read is not read_csv:
            yield "labels", f"{label!r} can stand in no file: {separator!r} separates columns or labels there"


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
    elif task.read is read_csv and task.separator in (" ", '"'):
        yield "separator", f"a comma, a semicolon or a tab is expected in CSV, not {task.separator!r}"
    for field, texts in (("separator", [task.separator]), ("comments", task.comments or ())):
        if any("\n" in text or "\r" in text for text in texts):
            yield field, "line ends stand between lines, not in them"
    if "" in (task.comments or ()):
        yield "comments", "'' begins every line"
    for field in IGNORED.get(task.read, ()):
        if _is_given(task, field):
            yield field, f"has no effect with {task.read.__name__}"
    if task.label_column in task.text_columns:
        yield "label_column", f"{task.label_column!r} is one of the text_columns too"


def _is_given(task: Task, field: str) -> bool:
    """Whether a fact differs from its default."""
    value, default = getattr(task, field), getattr(BLANK, field)
    return (tuple(value) if isinstance(value, list) else value) != default


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
    if task.labels and _is_given(task, "score_range"):
        yield "score_range", "is for a regression, and this task has labels"
    yield from _for_questions(task)


def _for_questions(task: Task) -> Iterator[tuple[str, str]]:
    for field in ("score", "read_unanswered"):
        if _is_given(task, field):
            yield field, "is for questions"


def _wrong_words(task: Task) -> Iterator[tuple[str, str]]:
    yield from _wrong_labels(task)
    if task.is_regression:
        yield "labels", "there are none, and each word needs one"
    yield from _wrong_columns(task)
    if task.read is read_json_sentences and not task.text_columns:
        yield "text_columns", "there are none: under which key are the words?"
    if len(task.text_columns) > 1:
        yield "text_columns", f"words are in one column, not in {len(task.text_columns)}"
    if task.read is read_token_lines and task.columns and not task.text_columns:
        yield "text_columns", f"there are none: which of {', '.join(task.columns)} holds the word?"
    if bool(task.text_columns) != (task.label_column != ""):
        yield "label_column", "text_columns and label_column are given together or not at all"
    if task.is_pair:
        yield "is_pair", "sentences of words are no pairs"
    if task.markers:
        yield "markers", "are for texts, not for words"
    for field in ("drop_empty", "score_range"):
        if _is_given(task, field):
            yield field, "is for texts, not for words"
    yield from _for_questions(task)
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
        elif set(meanings) == {"O"}:
            yield "labels", "there are no entities: all of them mean 'O'"
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
    texts = ("columns", "text_columns", "labels", "label_map", "label_column", "is_pair", "markers")
    for field in (*texts, *WRITTEN, "score_range", "drop_empty"):
        if _is_given(task, field):
            yield field, "is not for questions"
    if task.held_out_share is not None:
        yield "held_out_share", "is not for questions: name a test_file"
