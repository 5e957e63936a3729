"""Sequence classification: the tasks, their readers, and the table of predictions.

The readers keep and drop the same rows as KoELECTRA's `finetune` and KoBigBird's `finetune`.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from processors.task import (
    BadRows,
    DataError,
    Rows,
    Task,
    comma_separated,
    place_of,
    read_json,
    read_text,
    tab_separated,
    without_lone_surrogates,
)


def read_tsv(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Rows:
    """Rows of a tab-separated file with the columns `task.columns`.

    Raises DataError naming file and line of malformed rows.
    """
    text_at = [task.columns.index(column) for column in task.text_columns]
    label_at = task.columns.index(task.label_column)
    counts: Counter[str] = Counter()
    bad = BadRows(path, skip_bad_rows)
    texts: list[list[str]] = []
    labels: list[int] | list[float] = []
    for record in tab_separated(path, task.columns, encoding):
        if len(record.values) != len(task.columns):
            bad.add(record.line, _wrong_number_of_columns(record.values, task.columns))
            continue
        label = parse_label(task, record.values[label_at])
        if isinstance(label, str):
            bad.add(record.line, label)
            continue
        _keep(task, [record.values[at] for at in text_at], label, texts, labels, counts)
    bad.finish(counts)
    return _rows(task, path, texts, labels, counts)


def read_fake_news(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Rows:
    """Rows of a fake-news CSV file: the text is `title + " " + content`, the label column `Label` or `label`."""
    header, records = comma_separated(path, encoding)
    label_column = next((name for name in ("Label", "label") if name in header), None)
    missing = [name for name in task.text_columns if name not in header] + ["label"] * (label_column is None)
    if missing:
        raise DataError(f"{path}:1: the header has no column {', '.join(missing)}: it is {','.join(header)[:80]!r}")
    text_at, label_at = [header.index(name) for name in task.text_columns], header.index(label_column)
    counts: Counter[str] = Counter()
    bad = BadRows(path, skip_bad_rows)
    texts: list[list[str]] = []
    labels: list[int] | list[float] = []
    for record in records:
        if len(record.values) != len(header):
            bad.add(record.line, _wrong_number_of_columns(record.values, tuple(header)))
            continue
        label = parse_label(task, record.values[label_at])
        if isinstance(label, str):
            bad.add(record.line, label)
            continue
        _keep(task, [" ".join(record.values[at] for at in text_at)], label, texts, labels, counts)
    bad.finish(counts)
    return _rows(task, path, texts, labels, counts)


def read_modu_sentiment(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Rows:
    """Rows of the Modu sentiment corpus (2020): the paragraphs joined by spaces, with `document_score` as the class."""
    content = read_json(path, encoding)
    documents = content.get("document") if isinstance(content, dict) else None
    if not isinstance(documents, list) or not documents:
        raise DataError(f'{path}: no documents: an object with a list "document" is expected')
    counts: Counter[str] = Counter()
    bad = BadRows(path, skip_bad_rows)
    texts: list[list[str]] = []
    labels: list[int] | list[float] = []
    for number, document in enumerate(documents):
        if wrong := _wrong_in_document(document):
            bad.messages.append(f"{path}: document[{number}]: {wrong}")
            continue
        text = " ".join(paragraph["paragraph_form"] for paragraph in document["paragraph"])
        label = parse_label(task, str(document["document_score"]))
        if isinstance(label, str):
            bad.messages.append(f"{path}: document {document['id']}: {label}")
            continue
        _keep(task, [without_lone_surrogates(text, counts)], label, texts, labels, counts)
    bad.finish(counts)
    return _rows(task, path, texts, labels, counts)


def _wrong_in_document(document: Any) -> str:
    """How a document of the Modu corpus breaks its schema; an empty text where it does not."""
    if not isinstance(document, dict):
        return "is no object"
    for key in ("id", "document_score", "paragraph"):
        if key not in document:
            return f"no key {key!r}"
    if not isinstance(document["paragraph"], list):
        return '"paragraph" is no list'
    for number, paragraph in enumerate(document["paragraph"]):
        if not isinstance(paragraph, dict) or not isinstance(paragraph.get("paragraph_form"), str):
            return f'paragraph[{number}] has no text "paragraph_form"'
    return ""


def read_unlabelled(task: Task, path: Path | None, encoding: str = "utf-8") -> Rows:
    """Texts without labels, one on each line, for pair tasks with a tab between the two sentences.

    Every line is kept, so that line n of the predictions belongs to line n of the file.
    path: the file, or None for standard input.
    Raises DataError naming a line with too many or too few tabs.
    """
    return unlabelled_lines(task, place_of(path), read_text(path, encoding))


def unlabelled_lines(task: Task, place: str, text: str) -> Rows:
    """`read_unlabelled` of a text that has been read from `place` already."""
    sides = [line.rstrip("\r").split("\t") for line in text.removesuffix("\n").split("\n")]
    wanted = 2 if task.is_pair else 1
    for number, values in enumerate(sides, 1):
        if len(values) != wanted:
            form = "two sentences with a tab between them" if task.is_pair else "one text without tabs"
            raise DataError(
                f"{place}:{number}: {task.name} expects {form} on each line; this line has {len(values) - 1} tabs"
            )
    empty = sum(not all(side.strip() for side in values) for values in sides)
    counts = Counter({"empty texts, labelled like the others": empty} if empty else {})
    return Rows([v[0] for v in sides], [v[1] for v in sides] if task.is_pair else None, None, counts)


def parse_label(task: Task, text: str) -> int | float | str:
    """The id of a label as it is written in the file, or a regression's score; a text says why it is neither."""
    text = text.strip()
    if not task.is_regression:
        known = ", ".join(task.labels)
        return task.labels.index(text) if text in task.labels else f"unknown label {text[:40]!r}: known are {known}"
    try:
        score = float(text)
    except ValueError:
        return f"the score {text[:40]!r} is not a number"
    low, high = task.score_range
    is_right = math.isfinite(score) and low <= score <= high
    return score if is_right else f"the score {text} is not between {low:g} and {high:g}"


def prediction_table(task: Task, rows: Rows, outputs: np.ndarray, digits: str = ".4f") -> str:
    """A tab-separated table with a header and a line for each row: label, prediction, probabilities, and the texts.

    outputs: `[N, C]` logits, or `[N, 1]` scores of a regression. digits: the format of numbers; `.9g` keeps all digits
    of fp32, so that scores can be computed from the table. Line ends and tabs inside texts are written as `\\n`
    and `\\t`.
    """
    header = ["prediction"] if task.is_regression else ["prediction", *(f"p({label})" for label in task.labels)]
    header = header + [f"text{i}" for i in (1, 2)[: 1 + task.is_pair]]
    if rows.labels is not None:
        header.insert(0, "label")
    lines = ["\t".join(header)]
    probabilities = None if task.is_regression else softmax(outputs)
    for i in range(len(rows)):
        if task.is_regression:
            fields = [format(outputs[i, 0], digits)]
        else:
            fields = [task.labels[outputs[i].argmax()], *(format(p, digits) for p in probabilities[i])]
        if rows.labels is not None:
            fields.insert(0, str(rows.labels[i]) if task.is_regression else task.labels[rows.labels[i]])
        texts = [rows.first[i]] if rows.second is None else [rows.first[i], rows.second[i]]
        fields += [text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r") for text in texts]
        lines.append("\t".join(fields))
    return "\n".join(lines) + "\n"


def softmax(logits: np.ndarray) -> np.ndarray:
    """`[N, C]` logits to probabilities."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _wrong_number_of_columns(values: list[str], columns: tuple[str, ...]) -> str:
    hint = ""
    if len(values) > len(columns) and any(value.startswith('"') for value in values):
        hint = "; a quoted text may hold no separator here: quotes are part of the text"
    if values == [""]:
        hint = "; the line is blank"
    columns_found = f"{len(values)} column{'s' * (len(values) != 1)}"
    return f"{columns_found} instead of {len(columns)} ({', '.join(columns)}){hint}"


def _keep(task: Task, sides: list[str], label: int | float, texts: list, labels: list, counts: Counter[str]) -> None:
    if not all(side.strip() for side in sides):
        if task.drop_empty:
            counts["rows with an empty text dropped"] += 1
            return
        counts["rows with an empty text kept"] += 1
    texts.append(sides)
    labels.append(label)


def _rows(task: Task, path: Path, texts: list[list[str]], labels: list, counts: Counter[str]) -> Rows:
    if not texts:
        why = "; ".join(f"{what}: {count}" for what, count in counts.items())
        raise DataError(f"{path}: no rows are left ({why})" if why else f"{path}: no rows, only a header")
    second = [sides[1] for sides in texts] if task.is_pair else None
    return Rows([sides[0] for sides in texts], second, labels, counts)


# `defaults` are the settings that all of KoELECTRA's JSON files for a task (or KoBigBird's flags) share, as far as they
# differ from the defaults in training/config.py.
SEQUENCE_CLASSIFICATION_TASKS = (
    Task(
        name="nsmc",
        folder="nsmc",
        train_file="ratings_train.txt",
        dev_file=None,
        test_file="ratings_test.txt",
        read=read_tsv,
        columns=("id", "document", "label"),
        text_columns=("document",),
        label_column="label",
        labels=("0", "1"),
        metrics=("accuracy",),
        main_metric="accuracy",
        source="https://github.com/e9t/nsmc",
        licence="CC0 1.0",
        defaults={"eval_batch_size": 128, "logging_steps": 2000, "save_steps": 2000},
    ),
    Task(
        name="kornli",
        folder="kornli",
        train_file="multinli.train.ko.tsv",
        dev_file="xnli.dev.ko.tsv",
        test_file="xnli.test.ko.tsv",
        read=read_tsv,
        columns=("sentence1", "sentence2", "gold_label"),
        text_columns=("sentence1", "sentence2"),
        is_pair=True,
        label_column="gold_label",
        labels=("contradiction", "entailment", "neutral"),
        metrics=("accuracy",),
        main_metric="accuracy",
        source="https://github.com/kakaobrain/KorNLUDatasets",
        licence="CC BY-SA 4.0",
        defaults={"num_train_epochs": 15, "eval_batch_size": 256, "logging_steps": 3000, "save_steps": 3000},
    ),
    Task(
        name="paws",
        folder="paws",
        train_file="translated_train.tsv",
        dev_file="dev_2k.tsv",
        test_file="test_2k.tsv",
        read=read_tsv,
        columns=("id", "sentence1", "sentence2", "label"),
        text_columns=("sentence1", "sentence2"),
        is_pair=True,
        label_column="label",
        labels=("0", "1"),
        drop_empty=True,
        metrics=("accuracy",),
        main_metric="accuracy",
        source="https://github.com/google-research-datasets/paws",
        licence="free to use for any purpose, acknowledging Google LLC",
        defaults={"num_train_epochs": 15, "learning_rate": 3e-5, "logging_steps": 1000, "save_steps": 1000},
    ),
    Task(
        name="korsts",
        folder="korsts",
        train_file="sts-train.tsv",
        dev_file="sts-dev.tsv",
        test_file="sts-test.tsv",
        read=read_tsv,
        columns=("genre", "filename", "year", "id", "score", "sentence1", "sentence2"),
        text_columns=("sentence1", "sentence2"),
        is_pair=True,
        label_column="score",
        labels=(),
        metrics=("pearson", "spearman"),
        main_metric="spearman",
        source="https://github.com/kakaobrain/KorNLUDatasets",
        licence="CC BY-SA 4.0",
    ),
    Task(
        name="question-pair",
        folder="question-pair",
        train_file="train.tsv",
        dev_file="dev.tsv",
        test_file="test.tsv",
        read=read_tsv,
        columns=("question1", "question2", "is_duplicate"),
        text_columns=("question1", "question2"),
        is_pair=True,
        label_column="is_duplicate",
        # In this data 0 means "the same question" and 1 "a different one", although the column is called is_duplicate.
        labels=("0", "1"),
        drop_empty=True,
        metrics=("accuracy",),
        main_metric="accuracy",
        source="https://github.com/songys/Question_pair",
        licence="MIT",
    ),
    Task(
        name="hate-speech",
        folder="hate-speech",
        train_file="train.tsv",
        dev_file=None,
        test_file="val.tsv",
        read=read_tsv,
        columns=("title", "comment", "bias", "hate"),
        text_columns=("comment",),
        label_column="hate",
        labels=("none", "offensive", "hate"),
        metrics=("macro_f1", "macro_precision", "macro_recall", "accuracy"),
        main_metric="macro_f1",
        source="https://github.com/kocohub/korean-hate-speech",
        licence="CC BY-SA 4.0",
    ),
    Task(
        name="fake-news",
        folder="fake_news",
        train_file="mission2_train.csv",
        dev_file=None,
        test_file=None,
        held_out_share=0.2,
        read=read_fake_news,
        columns=("title", "content", "label"),
        text_columns=("title", "content"),
        label_column="label",
        labels=("0", "1"),
        metrics=(
            "f1",
            "accuracy",
            "precision",
            "recall",
            "matthews_correlation",
            "roc_auc",
            "roc_auc_published_style",
        ),
        main_metric="f1",
        source="https://github.com/2alive3s/Fake_news",
        licence="none stated",
        defaults={
            "learning_rate": 3e-5,
            "lr_scheduler": "auto",
            "eval_steps": "epoch",
            "save_steps": "epoch",
            "max_seq_len": 1024,
            "eval_batch_size": 8,
        },
    ),
    Task(
        name="modu-sentiment",
        folder="modu_sentiment",
        train_file="EXSA2002108040.json",
        dev_file=None,
        test_file=None,
        held_out_share=0.2,
        read=read_modu_sentiment,
        columns=("paragraph", "document_score"),
        text_columns=("paragraph",),
        label_column="document_score",
        labels=("-2", "-1", "0", "1", "2"),
        metrics=("macro_f1", "accuracy"),
        main_metric="macro_f1",
        source="https://corpus.korean.go.kr",
        licence="by agreement with the National Institute of Korean Language",
        defaults={
            "num_train_epochs": 20,
            "learning_rate": 3e-5,
            "lr_scheduler": "auto",
            "eval_steps": "epoch",
            "save_steps": "epoch",
            "max_seq_len": 1024,
            "eval_batch_size": 8,
        },
    ),
)
