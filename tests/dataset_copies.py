"""Copies of official files as data sets, in Parquet, made by the library `datasets` and not by the code under test.

`as_official` has the official file's columns; `as_on_hub` has the columns, types and labels of the hub's data set.
"""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
from datasets import ClassLabel, Dataset, List, Value

from processors import TASKS
from processors.task import Task

datasets.disable_progress_bars()
Row = dict[str, Any]

# What labels are on the hub, in an order that is not the task's. Where no data set is known, as they might be.
LABELS = {
    "nsmc": ("label", ["negative", "positive"]),
    "kornli": ("label", ["entailment", "neutral", "contradiction"]),
    "paws": ("label", ["0", "1"]),
    "question-pair": ("is_duplicate", ["0", "1"]),
    "hate-speech": ("hate", ["hate", "offensive", "none"]),
    "fake-news": ("label", ["1", "0"]),
    "klue-tc": ("label", ["IT과학", "경제", "사회", "생활문화", "세계", "스포츠", "정치"]),
    "klue-nli": ("label", ["entailment", "neutral", "contradiction"]),
    "klue-re": ("label", sorted(TASKS["klue-re"].labels)),
}
SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def rows_of(task: str, path: Path) -> list[Row]:
    """The rows of an official file, with its own names for their parts."""
    text = "" if path.is_dir() else path.read_bytes().decode()
    if path.suffix in (".tsv", ".txt") and "ner" not in task:
        header, *lines = [line.rstrip("\r").split("\t") for line in text.rstrip("\r\n").split("\n")]
        return [dict(zip(header, line, strict=True)) for line in lines]
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text.rstrip("\r\n"), newline="")))
    if task == "naver-ner":
        pairs = [line.split("\t") for line in text.rstrip("\n").split("\n")]
        return [{"tokens": a.split(" "), "ner_tags": b.split(" ")} for a, b in pairs]
    if task == "klue-ner":
        lines = [line.split("\t") for line in text.split("\n") if not line.startswith("##")]
        return _sentences_of_characters(lines)
    if task == "tydiqa":
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    if task == "korquad-2":
        files = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(path.glob("*.json"))]
        return [
            {"title": page["title"], "context": page["context"], **qa}
            for file in files
            for page in file["data"]
            for qa in page["qas"]
        ]
    content = json.loads(text)
    if task == "modu-sentiment":  # Arrow holds no half of a surrogate pair: U+FFFD, by which the reader replaces it
        whole = json.dumps(content, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return json.loads(whole)["document"]
    if isinstance(content, dict):
        paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
        return [{"context": paragraph["context"], **qa} for paragraph in paragraphs for qa in paragraph["qas"]]
    return content


def _sentences_of_characters(lines: list[list[str]]) -> list[Row]:
    rows: list[Row] = []
    before: list[str] = [""]
    for line in lines:
        if len(line) == 2:
            if len(before) != 2:
                rows.append({"tokens": [], "ner_tags": []})
            rows[-1]["tokens"].append(line[0])
            rows[-1]["ner_tags"].append(line[1])
        before = line
    return rows


def as_official(task: str, rows: list[Row]) -> Dataset:
    """A table with the official file's columns; a number as wide as JSON has it is left out, as Arrow has no such."""
    if task == "tydiqa":
        for row in rows:
            for annotation in row["annotations"]:
                annotation.pop("annotation_id", None)
    return Dataset.from_list(rows)


def as_on_hub(task: str, rows: list[Row]) -> Dataset:
    """A table as that of the hub's data set."""
    facts: Task = TASKS[task]
    renamed = facts.hub.columns if facts.hub else {}
    rows = [{renamed.get(key, key): value for key, value in row.items()} for row in rows]
    if task == "nsmc":
        rows = [row | {"label": ["negative", "positive"][int(row["label"])]} for row in rows]
    if "answers" in rows[0] and task != "tydiqa":
        rows = [row | {"answers": _answers(row)} for row in rows]
    if task == "tydiqa":
        rows = [
            {key: row[key] for key in ("language", "question_text", "document_plaintext")}
            | {"annotations": _annotations(row["annotations"])}
            for row in rows
        ]
    table = Dataset.from_list(rows)
    if task in LABELS:
        column, names = LABELS[task]
        table = table.cast_column(column, ClassLabel(names=names))
    if "ner" in task:
        table = table.cast_column("ner_tags", List(ClassLabel(names=sorted(facts.labels))))
    if task == "korsts":
        table = table.cast_column("score", Value("float32"))
    return table


def _answers(row: Row) -> dict[str, list]:
    """Answers as the hub has them; those that are only plausible stand among them."""
    answers = row["answers"] + row.get("plausible_answers", [])
    return {
        "text": [answer["text"] for answer in answers],
        "answer_start": [answer["answer_start"] for answer in answers],
    }


def _annotations(annotations: list[Row]) -> dict[str, list]:
    minimal = [annotation["minimal_answer"] for annotation in annotations]
    return {
        "minimal_answers_start_byte": [answer["plaintext_start_byte"] for answer in minimal],
        "minimal_answers_end_byte": [answer["plaintext_end_byte"] for answer in minimal],
        "yes_no_answer": [annotation["yes_no_answer"] for annotation in annotations],
    }


def write_parquet(folder: Path, tables: Mapping[str, Dataset]) -> Path:
    """A folder with a Parquet file for each split."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    return folder


def copied(task: str, data_dir: Path, folder: Path, make=as_official) -> Path:
    """A copy of the task's official files in `data_dir` as a data set in `folder`. make: the form of its tables."""
    facts = TASKS[task]
    files = {"train": facts.train_file, "dev": facts.dev_file, "test": facts.test_file}
    official = {role: data_dir / facts.folder / file for role, file in files.items() if file}
    tables = {
        ((facts.hub and facts.hub.splits.get(role, "").split(":")[-1]) or SPLITS[role]): make(task, rows_of(task, path))
        for role, path in official.items()
    }
    return write_parquet(folder, tables)
