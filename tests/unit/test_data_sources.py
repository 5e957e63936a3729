"""python3 -m pytest tests/unit/test_data_sources.py

Rows of data sets that the library `datasets` wrote are those of the official files, and bad ones are refused by name.
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, List, Value

from conftest import User
from data_source_rows import read, refused, split_of, table
from dataset_copies import as_official, as_on_hub, copied, write_parquet
from processors import TASKS, data_sources
from processors.character_tokens import build_character_features
from processors.data_sources import DataSource
from processors.features import build_features
from processors.klue_ner import labels_characters
from processors.ner import build_window_features
from processors.qa.windows import Lengths, build_question_features
from processors.sentence_files import Sentences
from processors.splits import read_splits
from processors.task import DataError, HubData, Rows
from small_tokenizers import wordpiece

NSMC, KORSTS, NAVER_NER, KORQUAD = (TASKS[name] for name in ("nsmc", "korsts", "naver-ner", "korquad"))
IN_ONE_FORM_ONLY = ("texts with a lone surrogate", "plausible answers")
ALL = [name for name in TASKS if name != "korquad-few-shot"]
COPIES = [(name, make) for name in ALL for make in (as_official, as_on_hub)]


@pytest.fixture(scope="module")
def data_dir(user: User) -> Path:
    """Sample files of all tasks."""
    return user.folder / "sample_data"


def cached_files(task, rows: Any, cache_dir: Path) -> dict[str, bytes]:
    """The files that the features of rows leave in a cache, by name."""
    tokenizer = wordpiece()
    if isinstance(rows, Rows):
        build_features(rows, tokenizer, 32, cache_dir)
    elif isinstance(rows, Sentences) and labels_characters(task):
        build_character_features(rows, tokenizer, 32, cache_dir)
    elif isinstance(rows, Sentences):
        build_window_features(rows, tokenizer, 32, 8, cache_dir)
    else:
        build_question_features(rows, tokenizer, Lengths(64, 16, 16), cache_dir)
    return {path.name: path.read_bytes() for path in cache_dir.iterdir()}


# --------------------------------------------------------------------------------------------------------------------
# As from the official files
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.seconds
@pytest.mark.parametrize(("name", "make"), COPIES, ids=[f"{name}-{make.__name__}" for name, make in COPIES])
def test_a_copy_has_the_rows_and_the_cached_features_of_the_official_file(name, make, data_dir, tmp_path: Path):
    task = TASKS[name]
    folder = copied(name, data_dir, tmp_path / "copy", make)
    roles = ["train", *(["dev"] if task.dev_file else []), "test"]
    files = {"train": task.train_file, "dev": task.dev_file, "test": task.test_file}
    official = {role: [data_dir / task.folder / file] for role, file in files.items() if file}
    source = {role: [split_of(folder, task, role)] for role in official}
    expected, found = (read_splits(task, roles, parts, seed=3) for parts in (official, source))
    for role in roles:
        theirs, ours = (vars(rows[role]).copy() for rows in (expected, found))
        counts = [
            sorted(count for what, count in rows.pop("counts").items() if not what.startswith(IN_ONE_FORM_ONLY))
            for rows in (theirs, ours)
        ]
        if name == "tydiqa" and make is as_on_hub:  # where questions have no ids
            del theirs["ids"], ours["ids"]
        assert ours == theirs and counts[0] == counts[1]
        cached = [cached_files(task, rows[role], tmp_path / f"{role} {i}") for i, rows in enumerate((expected, found))]
        assert cached[0] == cached[1] and cached[0]


@pytest.mark.seconds
def test_questions_without_ids_have_the_numbers_of_their_rows(data_dir: Path, tmp_path: Path):
    folder = copied("tydiqa", data_dir, tmp_path, as_on_hub)
    rows = read(folder, TASKS["tydiqa"])
    assert rows.ids and [int(id) for id in rows.ids] == sorted(int(id) for id in rows.ids)


def test_plausible_answers_are_none(tmp_path: Path):
    answers = {"text": ["나"], "answer_start": [2]}
    row = {"guid": "a", "context": "가 나 다", "question": "?", "answers": answers}
    folder = table(tmp_path, [row | {"is_impossible": True}, row | {"guid": "b", "is_impossible": False}])
    rows = read(folder, TASKS["klue-mrc"])
    assert (rows.answers, rows.ids) == ([(), ("나",)], ["a", "b"])
    assert rows.counts == {"plausible answers to unanswerable questions, left out": 1}


def test_a_split_is_found_by_the_name_that_is_given_or_usual(tmp_path: Path):
    one = Dataset.from_list([{"document": "가", "label": "1"}])
    folder = write_parquet(tmp_path, {"train": one, "validation": one})
    assert read(folder).first == ["가"]
    assert str(split_of(folder)) == f"{folder}[train]"
    assert split_of(folder, role="test", asked="validation").table().place == f"{folder}, split validation"
    assert split_of(folder, role="test", may_be_dev=True).table().place == f"{folder}, split validation"
    assert split_of(folder, role="dev").table().place == f"{folder}, split validation"
    with pytest.raises(DataError) as error:
        split_of(folder, role="test").table()
    assert str(error.value) == (
        f"{folder}: there is no split test: it has train, validation; test_file (predict_file for questions) names "
        "one of them"
    )


def test_labels_may_be_numbers_texts_or_truths(tmp_path: Path):
    yes_no = dataclasses.replace(NSMC, labels=("false", "true"), hub=None)
    assert read(table(tmp_path / "a", [{"document": "가", "label": i} for i in (0, 1, 1)])).labels == [0, 1, 1]
    rows = [{"document": "가", "label": value} for value in (True, False)]
    assert read(table(tmp_path / "b", rows), yes_no).labels == [1, 0]


def test_columns_by_number(tmp_path: Path):
    folder = table(tmp_path, [{"text": "가", "id": 7, "y": "1"}])
    numbered = dataclasses.replace(NSMC, columns=(), text_columns=(0,), label_column=2)
    assert read(folder, numbered).first == ["가"]
    assert "there is no column 3: it has 3, counted from 0" in refused(
        folder, dataclasses.replace(numbered, label_column=3)
    )


def test_the_same_label_by_number_and_by_name(tmp_path: Path):
    tokens = Dataset.from_list([{"tokens": ["가", "나"], "tags": [1, 0]}])
    tokens = tokens.cast_column("tags", List(ClassLabel(names=["O", "PER-B"])))
    rows = read(write_parquet(tmp_path, {"train": tokens}), NAVER_NER)
    assert [NAVER_NER.labels[id] for id in rows.labels[0]] == ["PER-B", "O"]


def test_scores_have_the_digits_that_they_have_in_the_file(tmp_path: Path):
    rows = Dataset.from_list([{"sentence1": "가", "sentence2": "나", "score": score} for score in (3.6, 0.2, 5.0)])
    folder = write_parquet(tmp_path, {"train": rows.cast_column("score", Value("float32"))})
    assert read(folder, KORSTS).labels == [3.6, 0.2, 5.0]


def test_json_lines_and_saved_data_sets_and_configurations(tmp_path: Path):
    rows = [{"document": "가", "label": "1"}, {"document": "나", "label": "0"}]
    Dataset.from_list(rows).to_json(tmp_path / "json" / "train.jsonl", force_ascii=False)
    DatasetDict({"train": Dataset.from_list(rows)}).save_to_disk(tmp_path / "saved")
    for config, text in (("a", "첫째"), ("b", "둘째")):
        table(tmp_path / "two" / config, [{"document": text, "label": "1"}])
    configs = "".join(f"- config_name: {config}\n  data_files: {config}/train.parquet\n" for config in "ab")
    (tmp_path / "two" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n", encoding="utf-8")
    assert read(tmp_path / "json").first == read(tmp_path / "saved").first == ["가", "나"]
    assert read(f"{tmp_path / 'two'}:b").first == ["둘째"]
    assert split_of(f"{tmp_path / 'two'}:b").table().place == f"{tmp_path / 'two'}:b, split train"
    assert "Config name is missing" in refused(tmp_path / "two")


def test_the_hash_of_a_folder_tells_its_content(tmp_path: Path):
    folders = [table(tmp_path / name, [{"document": text, "label": "1"}]) for name, text in ("a가", "b가", "c나")]
    first, same, other = (split_of(folder).revision for folder in folders)
    assert first == same != other and first.startswith("sha256:") and len(first) == 7 + 64


def test_a_folder_is_read_anew_when_its_content_changes(tmp_path: Path):
    """The library's own cache would go by the date of the file."""
    file = table(tmp_path, [{"document": "가", "label": "1"}]) / "train.parquet"
    date = file.stat().st_mtime
    assert read(tmp_path).first == ["가"]
    table(tmp_path, [{"document": "나", "label": "1"}])
    os.utime(file, (date, date))
    data_sources._from_folder.cache_clear()  # as in the next command
    assert read(tmp_path).first == ["나"]


# --------------------------------------------------------------------------------------------------------------------
# What is refused
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"document": "가", "label": "2"}], "row 0 (from 0), column label: unknown label '2': known are 0, 1"),
        ([{"document": "가", "label": None}, {"document": "나", "label": "1"}],
         "row 0 (from 0), column label: there is no label"),
        ([{"document": "가", "label": "1"}, {"document": None, "label": "1"}],
         "row 1 (from 0), column document: a text is expected, not None"),
        ([{"document": 7, "label": "1"}], "row 0 (from 0), column document: a text is expected, not 7"),
        ([{"text": "가", "label": "1"}],
         "there is no column document: it has text, label; document, label are expected"),
    ],
)  # fmt: skip
def test_bad_texts(rows: list[dict], message: str, tmp_path: Path):
    folder = table(tmp_path, rows)
    assert refused(folder) == f"{folder}, split train: {message}"


def test_bad_rows_can_be_skipped(tmp_path: Path):
    folder = table(tmp_path, [{"document": "가", "label": "2"}, {"document": "나", "label": "1"}])
    rows = read(folder, skip=True)
    assert (rows.first, sum(rows.counts.values())) == (["나"], 1)


def test_labels_with_other_names(tmp_path: Path):
    labels = Dataset.from_list([{"document": "가", "label": 1}]).cast_column("label", ClassLabel(names=["bad", "good"]))
    folder = write_parquet(tmp_path, {"train": labels})
    assert refused(folder).endswith("row 0 (from 0), column label: unknown label 'good': known are 0, 1")


def test_labels_that_are_missing_are_minus_one_on_the_hub(tmp_path: Path):
    labels = Dataset.from_list([{"document": "가", "label": -1}]).cast_column("label", ClassLabel(names=["0", "1"]))
    assert refused(write_parquet(tmp_path, {"train": labels})).endswith("column label: there is no label")


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("naver-ner", {"tokens": ["가"], "ner_tags": ["X"]}, "row 0 (from 0): unknown label 'X': known are"),
        ("naver-ner", {"tokens": ["가", "나"], "ner_tags": ["O"]}, "row 0 (from 0): 2 words, but 1 label"),
        ("naver-ner", {"tokens": "가 나", "ner_tags": ["O"]}, "row 0 (from 0): tokens is no list of words"),
        ("naver-ner", {"text": "가 나", "ner_tags": ["O"]}, "there is no column tokens: it has text, ner_tags"),
        ("klue-ner", {"tokens": ["가나"], "ner_tags": ["O"]}, "row 0 (from 0): tokens: '가나' is not one character"),
        ("korquad", {"id": "a", "context": "가", "question": "?", "answers": {"text": ["가"], "answer_start": [3]}},
         "row 0 (from 0): answer_start 3 is outside the context of 1 characters"),
        ("korquad", {"id": "a", "context": "가", "question": "?", "answers": {"text": ["가"], "answer_start": []}},
         'row 0 (from 0): "answers" is no list'),
        ("korquad", {"id": "a", "context": "가", "answers": []}, "there is no column question: it has id, context"),
        ("klue-sts", {"sentence1": "가", "sentence2": "나", "labels": {"real-label": 9.0}},
         "row 0 (from 0): the score 9.0 is not between 0 and 5"),
        ("klue-re", {"sentence": "가", "subject_entity": {"word": "가", "start_idx": 0, "end_idx": 4},
                     "object_entity": {"word": "가", "start_idx": 0, "end_idx": 0}, "label": "no_relation"},
         "row 0 (from 0): subject_entity is at 0-4, outside the sentence of 1 characters"),
        ("modu-sentiment", {"paragraph": [{"text": "가"}], "document_score": 1},
         'row 0 (from 0): paragraph[0] has no text "paragraph_form"'),
        ("tydiqa", {"language": "korean", "question_text": "?", "document_plaintext": "가", "annotations": []},
         "row 0 (from 0): question '0': there is no annotation"),
        ("korquad-2", {"id": "a", "context": "가", "question": "?", "answer": {"text": "가", "answer_start": 9}},
         "row 0 (from 0): question 'a': answer_start 9 is outside"),
    ],
)  # fmt: skip
def test_bad_rows_of_each_form(task: str, row: dict, message: str, tmp_path: Path):
    folder = table(tmp_path, [row])
    error = refused(folder, TASKS[task])
    assert error.startswith(f"{folder}, split train: {message}") and "\n" not in error


def test_a_split_without_rows(tmp_path: Path):
    empty = Dataset.from_dict({"document": [], "label": []}).cast_column("document", Value("string"))
    folder = write_parquet(tmp_path, {"train": empty})
    assert refused(folder) == f"{folder}, split train: there are no rows in it"


def test_a_task_without_a_data_set_on_the_hub_says_so():
    with pytest.raises(DataError) as error:
        DataSource.of("hub", KORSTS)
    assert str(error.value) == (
        "korsts: no data set on the hub is known to have its rows: data_source takes the id of one (owner/name) or a "
        "local folder"
    )


def test_a_reader_of_ones_own_needs_a_counterpart(tmp_path: Path):
    def read_mine(task, path, encoding="utf-8", skip_bad_rows=False):
        raise AssertionError

    task = dataclasses.replace(NSMC, read=read_mine)
    assert "ROW_READERS in processors/source_rows.py" in refused(table(tmp_path, [{"document": "가"}]), task)


# --------------------------------------------------------------------------------------------------------------------
# Names
# --------------------------------------------------------------------------------------------------------------------


def test_hub_ids():
    entry = NSMC.hub
    assert DataSource.of("hub", NSMC) == DataSource("e9t/nsmc", "", "refs/convert/parquet", False, entry)
    assert DataSource.of("a/b", NSMC) == DataSource("a/b", "", "", False, entry)
    assert DataSource.of("a/b:c", NSMC) == DataSource("a/b", "c", "", False, entry)
    assert DataSource.of("a/b:c@d", KORSTS) == DataSource("a/b", "c", "d", False, HubData(""))
    assert DataSource.of("a/b@refs/convert/parquet", NSMC).revision == "refs/convert/parquet"


def test_the_entries_of_the_tasks_fit_the_tasks():
    entries = {name: task.hub for name, task in TASKS.items() if task.hub}
    assert set(entries) == {
        *("nsmc", "kornli", "paws", "question-pair", "korquad", "korquad-few-shot", "tydiqa"),
        *("klue-tc", "klue-sts", "klue-nli", "klue-re", "klue-ner", "klue-mrc"),
    }
    for name, entry in entries.items():
        task = TASKS[name]
        assert set(entry.splits) == {"train", "test"} | ({"dev"} if task.dev_file else set())


@pytest.mark.seconds
def test_the_library_is_imported_only_when_it_is_used():
    code = "import sys, processors, workflows.fine_tuning; sys.exit('datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_sentence_of_spaces_is_left_out_as_in_the_official_file(tmp_path: Path):
    task = TASKS["klue-ner"]
    table(tmp_path, [{"tokens": list(text), "ner_tags": ["O"] * len(text)} for text in ("  ", "가 나")])
    found = read(tmp_path, task)
    assert (found.words, found.labels) == ([["가", "나"]], [[task.labels.index("O")] * 2])


@pytest.mark.parametrize("context", [["가", "나"], None])
def test_a_page_that_is_no_text_is_told(context, tmp_path: Path):
    answer = {"text": "가", "answer_start": 0}
    table(tmp_path, [{"id": "1", "context": context, "question": "누구?", "answer": answer}])
    assert 'row 0 (from 0): no text "context"' in refused(tmp_path, TASKS["korquad-2"])
