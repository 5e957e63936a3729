"""Sequence classification: the tasks, their readers, and the table of predictions.

The readers keep and drop the same rows as KoELECTRA's `finetune` and KoBigBird's `finetune`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from processors.delimited import comma_separated
from processors.metrics import softmax
from processors.task import DataError, HubData, Rows, Task, parse_json, read_json, without_lone_surrogates
from processors.text_readers import (  # all readers, so that a task that is added here finds its own
    UNLABELLED,
    RowCollector,
    read_csv,
    read_json_lines,  # noqa: F401
    read_tsv,
    rows_in_own_form,
    wrong_number_of_columns,
)


def read_fake_news(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Rows:
    """Rows of a fake-news CSV file: the text is `title + " " + content`, the label column `Label` or `label`."""
    header, records = comma_separated(path, encoding)
    label_column = next((name for name in ("Label", "label") if name in header), None)
    missing = [name for name in task.text_columns if name not in header] + ["label"] * (label_column is None)
    if missing:
        raise DataError(f"{path}:1: the header has no column {', '.join(missing)}: it is {','.join(header)[:80]!r}")
    text_at, label_at = [header.index(name) for name in task.text_columns], header.index(label_column)
    found = RowCollector(task, path, skip_bad_rows)
    for record in records:
        if len(record.values) != len(header):
            found.bad.add(record.line, wrong_number_of_columns(record.values, len(header), tuple(header)))
        else:
            found.add([record.values[at] for at in text_at], record.values[label_at], record.line)
    return found.rows()


def read_modu_sentiment(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Rows:
    """Rows of the Modu sentiment corpus (2020): the paragraphs joined by spaces, with `document_score` as the class."""
    found = RowCollector(task, path, skip_bad_rows)
    for number, document in enumerate(_documents(read_json(path, encoding), str(path))):
        if wrong := wrong_in_document(document):
            found.bad.add_at(f"document[{number}]", wrong)
            continue
        text, score = text_of_document(document, found.counts), str(document["document_score"])
        found.add([text], score, place=f"document {document['id']}")
    return found.rows()


def _unlabelled_modu_sentiment(task: Task, text: str, place: str) -> Rows | None:
    """The documents of a file in the corpus's form, whose scores may be missing; None for a different form."""
    if not text.lstrip().startswith("{"):
        return None
    counts: Counter[str] = Counter()
    sides = []
    for number, document in enumerate(_documents(parse_json(text, place), place)):
        if wrong := wrong_in_document(document, ("paragraph",)):
            raise DataError(f"{place}: document[{number}]: {wrong}")
        sides.append([text_of_document(document, counts)])
    return rows_in_own_form(task, place, sides, counts)


def _documents(content: Any, place: str) -> list[Any]:
    documents = content.get("document") if isinstance(content, dict) else None
    if not isinstance(documents, list) or not documents:
        raise DataError(f'{place}: no documents: an object with a list "document" is expected')
    return documents


def text_of_document(document: dict[str, Any], counts: Counter[str]) -> str:
    """The paragraphs of a document of the Modu corpus, joined by spaces."""
    text = " ".join(paragraph["paragraph_form"] for paragraph in document["paragraph"])
    return without_lone_surrogates(text, counts)


def wrong_in_document(document: Any, keys: tuple[str, ...] = ("id", "document_score", "paragraph")) -> str:
    """How a document of the Modu corpus breaks its schema; an empty text where it does not. keys: what it must have."""
    if not isinstance(document, dict):
        return "is no object"
    for key in keys:
        if key not in document:
            return f"no key {key!r}"
    if not isinstance(document["paragraph"], list):
        return '"paragraph" is no list'
    for number, paragraph in enumerate(document["paragraph"]):
        if not isinstance(paragraph, dict) or not isinstance(paragraph.get("paragraph_form"), str):
            return f'paragraph[{number}] has no text "paragraph_form"'
    return ""


# Texts to be labelled may be in these forms too.
UNLABELLED |= {read_fake_news: UNLABELLED[read_csv], read_modu_sentiment: _unlabelled_modu_sentiment}


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


TRAIN_DEV_TEST = {"train": "train", "dev": "validation", "test": "test"}  # as most data sets on the hub call them

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
        fetch="bash scripts/download_data.sh nsmc",
        # The data set itself is a script, which is not run. This revision is the hub's own conversion of it.
        hub=HubData(
            "e9t/nsmc",
            revision="refs/convert/parquet",
            splits={"train": "train", "test": "test"},
            labels={"negative": "0", "positive": "1"},
        ),
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
        fetch="bash scripts/download_data.sh kornli",
        hub=HubData(
            "kakaobrain/kor_nli",
            splits={"train": "multi_nli:train", "dev": "xnli:validation", "test": "xnli:test"},
            columns={"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"},
        ),
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
        fetch="bash scripts/download_data.sh paws",
        hub=HubData("google-research-datasets/paws-x", "ko", splits=TRAIN_DEV_TEST),
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
        fetch="bash scripts/download_data.sh korsts",
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
        fetch="bash scripts/download_data.sh question-pair",
        hub=HubData("songys/kor_qpair", revision="refs/convert/parquet", splits=TRAIN_DEV_TEST),  # as for nsmc
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
        fetch="bash scripts/download_data.sh hate-speech",
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
