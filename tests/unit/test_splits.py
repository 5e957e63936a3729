"""What becomes of rows: splits of files and of one file, texts to be labelled, and the table of predictions."""

import io
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import REPOSITORY
from processors import TASKS
from processors.metrics import softmax
from processors.seq_cls import prediction_table
from processors.splits import read_splits, stratified_split
from processors.task import DataError, Rows
from processors.text_readers import read_unlabelled

NSMC, PAWS, KORSTS, FAKE_NEWS = (TASKS[name] for name in ("nsmc", "paws", "korsts", "fake-news"))
PAIR = "two sentences with a tab between them on each line"


def rows_of(counts: dict[int, int]) -> Rows:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return Rows([f"글 {number}" for number in range(len(labels))], None, labels, Counter({"noticed": 1}))


@pytest.mark.parametrize("seed", [0, 42, 4294967295])
def test_each_class_has_its_share_on_both_sides(seed: int):
    rows = rows_of({0: 50, 1: 30, 2: 20})
    train, test = stratified_split(FAKE_NEWS, rows, seed)
    assert Counter(train.labels) == {0: 40, 1: 24, 2: 16}
    assert Counter(test.labels) == {0: 10, 1: 6, 2: 4}
    pairs = list(zip(rows.first, rows.labels, strict=True))
    assert sorted(zip(train.first + test.first, train.labels + test.labels, strict=True)) == sorted(pairs)


def test_a_split_is_drawn_by_its_seed():
    rows = rows_of({0: 50, 1: 50})
    drawn = [stratified_split(FAKE_NEWS, rows, seed)[1].first for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) != set(drawn[2])


@pytest.mark.parametrize("counts", [{0: 50, 1: 1}, {0: 1}, {0: 2, 1: 2}])
def test_classes_too_small_to_be_on_both_sides(counts: dict[int, int]):
    with pytest.raises(DataError, match=r"^fake-news: the rows cannot be split into training and test rows: "):
        stratified_split(FAKE_NEWS, rows_of(counts), 42)


def write_csv(path: Path, first: int, count: int) -> Path:
    lines = [f"제목,글 {number},{number % 2}\n" for number in range(first, first + count)]
    path.write_text("title,content,label\n" + "".join(lines), encoding="utf-8")
    return path


def test_the_label_of_a_single_row_is_named():
    rows = Rows(list("가나다라"), None, [0, 1, 1, 1])
    with pytest.raises(DataError, match=r"only one row has the label 0, and both parts need one$"):
        stratified_split(TASKS["fake-news"], rows, 42)


def test_a_task_without_test_file_is_split(tmp_path: Path):
    train_files = [write_csv(tmp_path / "a.csv", 0, 30), write_csv(tmp_path / "b.csv", 30, 20)]
    files = {"train": train_files, "dev": [], "test": []}
    splits = read_splits(FAKE_NEWS, ("train", "test"), files, seed=3)
    assert list(splits) == ["train", "test"]
    assert [Counter(rows.labels) for rows in splits.values()] == [{0: 20, 1: 20}, {0: 5, 1: 5}]
    assert sorted(splits["train"].first + splits["test"].first) == sorted(f"제목 글 {i}" for i in range(50))
    # Asked for alone, at another time, it is the same split.
    assert read_splits(FAKE_NEWS, ("test",), files, seed=3)["test"].first == splits["test"].first

    dev = write_csv(tmp_path / "dev.csv", 90, 4)
    splits = read_splits(FAKE_NEWS, ("train", "dev"), {**files, "dev": [dev]}, seed=3)
    assert (len(splits["train"]), splits["dev"].first) == (40, [f"제목 글 {i}" for i in range(90, 94)])

    given = read_splits(FAKE_NEWS, ("train", "test"), {**files, "test": [dev]}, seed=3)
    assert (len(given["train"]), len(given["test"])) == (50, 4)


def test_files_of_a_split_are_joined(tmp_path: Path):
    first, second = tmp_path / "a.tsv", tmp_path / "b.tsv"
    header = "id\tsentence1\tsentence2\tlabel\n"
    first.write_text(header + "1\t가\t나\t1\n2\t\t나\t1\n", encoding="utf-8")
    second.write_text(header + "3\t다\t라\t0\n4\t마\t\t0\n", encoding="utf-8")
    rows = read_splits(PAWS, ("train",), {"train": [first, second]})["train"]
    assert (rows.first, rows.second, rows.labels) == (["가", "다"], ["나", "라"], [1, 0])
    assert dict(rows.counts) == {"rows with an empty text dropped": 2}


@pytest.mark.parametrize("task", ["nsmc", "fake-news"])
def test_a_split_without_a_file(task: str):
    with pytest.raises(DataError, match=f"^{task}: no file is given for the train split: set train_file$"):
        read_splits(TASKS[task], ("train",), {"train": [], "dev": [], "test": []})
    if task == "nsmc":
        with pytest.raises(DataError, match=f"^{task}: no file is given for the test split"):
            read_splits(TASKS[task], ("test",), {"train": ["x"], "dev": [], "test": []})


# --------------------------------------------------------------------------------------------------------------------
# Texts to be labelled
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_every_line_is_a_text(line_end: str, last: bool, tmp_path: Path):
    lines = ["\ufeff좋다", "", 'null "x"', "한 줄\u2028두 줄\u0085셋", "😀"]
    file = tmp_path / "texts.txt"
    file.write_bytes((line_end.join(lines) + line_end * last).encode())
    rows = read_unlabelled(NSMC, file)
    assert rows.first == ["좋다", *lines[1:]]
    assert (rows.second, rows.labels) == (None, None)
    assert dict(rows.counts) == {"empty texts, labelled like the others": 1}


def test_pairs_from_standard_input(monkeypatch):
    content = "가\t나\n\t다\n".encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    rows = read_unlabelled(PAWS, None)
    assert (rows.first, rows.second, rows.labels) == (["가", ""], ["나", "다"], None)
    assert sum(rows.counts.values()) == 1


@pytest.mark.parametrize(
    "task, content, what",
    [
        (
            "paws",
            "가\t나\n다\n",
            f":2: paws expects {PAIR}; this line has 0 tabs",
        ),
        (
            "paws",
            "가\t나\t다\n",
            f":1: paws expects {PAIR}; this line has 2 tabs",
        ),
        ("nsmc", "가\n\n나\t다\n", ":3: nsmc expects one text without tabs on each line; this line has 1 tabs"),
        ("nsmc", "\n", ": there is nothing in it"),
        (
            "nsmc",
            b"\xb0\xa1\n",
            ":1: not UTF-8 at byte 0; the whole file reads as CP949: --encoding cp949, or convert it with iconv",
        ),
    ],
)
def test_lines_that_are_refused(task: str, content: str | bytes, what: str, tmp_path: Path, monkeypatch):
    content = content if isinstance(content, bytes) else content.encode()
    file = tmp_path / "texts.txt"
    file.write_bytes(content)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    for path, place in ((file, str(file)), (None, "standard input")):
        with pytest.raises(DataError) as error:
            read_unlabelled(TASKS[task], path)
        assert str(error.value) == place + what
    if what.endswith("cp949"):
        assert read_unlabelled(TASKS[task], file, "cp949").first == ["가"]


# --------------------------------------------------------------------------------------------------------------------
# Predictions
# --------------------------------------------------------------------------------------------------------------------


def test_softmax():
    # exp(0) : exp(log 3) = 1 : 3, at any distance from zero
    logits = np.array([[0, math.log(3)], [1000, 1000 + math.log(3)], [-1000, -1000]])
    np.testing.assert_allclose(softmax(logits), [[0.25, 0.75], [0.25, 0.75], [0.5, 0.5]])


def test_a_table_of_classes():
    rows = Rows(["좋다\t정말\n그래", "a\rb 한\u2028줄"], None, [0, 1])
    outputs = np.array([[math.log(1), math.log(3)], [math.log(9), math.log(1)]], dtype=np.float32)
    assert prediction_table(NSMC, rows, outputs) == (
        "label\tprediction\tp(0)\tp(1)\ttext1\n"
        "0\t1\t0.2500\t0.7500\t좋다\\t정말\\n그래\n"
        "1\t0\t0.9000\t0.1000\ta\\rb 한\u2028줄\n"
    )


def test_a_table_of_new_pairs_and_one_of_scores():
    outputs = np.array([[0.0, math.log(3)]])
    assert prediction_table(PAWS, Rows(["가"], ["나"], None), outputs) == (
        "prediction\tp(0)\tp(1)\ttext1\ttext2\n1\t0.2500\t0.7500\t가\t나\n"
    )
    scores = np.array([[3.14159], [-0.5]])
    assert prediction_table(KORSTS, Rows(["가", "다"], ["나", "라"], [3.8, 0.0]), scores) == (
        "label\tprediction\ttext1\ttext2\n3.8\t3.1416\t가\t나\n0.0\t-0.5000\t다\t라\n"
    )


def test_a_missing_official_file_is_told_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def told(name: str, file: Path) -> str:
        with pytest.raises(DataError) as caught:
            read_splits(TASKS[name], ["train"], {"train": [file]})
        return str(caught.value)

    nsmc = "no such file; there is no such folder; fetch it with: bash scripts/download_data.sh nsmc"
    assert told("nsmc", Path("data/nsmc/ratings_train.txt")) == f"data/nsmc/ratings_train.txt: {nsmc}"
    assert told("nsmc", Path("far/away/nsmc/ratings_train.txt")).endswith(f"{nsmc} --data_dir far/away")
    made = told("klue-tc", Path("sample_data/klue/ynat-v1.1/ynat-v1.1_train.json"))
    assert made.endswith("; make it with: python3 scripts/make_sample_data.py")
    by_hand = told("fake-news", Path("data/fake_news/mission2_train.csv"))
    assert by_hand.endswith("; get it from https://github.com/2alive3s/Fake_news (licence: none stated)")
    assert told("nsmc", Path("data/nsmc/own.txt")).endswith("no such folder")  # nobody but its owner knows where it is
    assert told("nsmc", Path("own/ratings_train.txt")).endswith("no such folder")


def test_each_command_that_a_task_names_fetches_its_files():
    for task in TASKS.values():
        if task.fetch:
            finished = subprocess.run(
                [*task.fetch.split(), "--list"], cwd=REPOSITORY, capture_output=True, text=True, check=False
            )
            assert finished.returncode == 0 and "  by hand: " not in finished.stdout, task.name
            assert f"data/{task.folder}/{Path(task.test_file).name}" in finished.stdout, task.name
    by_hand = {task.name for task in TASKS.values() if not task.fetch}
    assert by_hand == {"fake-news", "modu-sentiment"}
