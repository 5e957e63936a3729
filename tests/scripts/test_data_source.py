"""python3 -m pytest tests/scripts/test_data_source.py

`--data_source`: each script on a copy of the sample data that the library `datasets` wrote, and what is refused.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from datasets import Dataset

from conftest import ONE_STEP, REPOSITORY, User, nsmc, sample, snapshot
from dataset_copies import as_on_hub, copied, write_parquet
from processors import TASKS

SCRIPT = "run_seq_cls.py"
FEW_SHOT = [
    *("--task", "korquad-few-shot", "--data_dir", "sample_data", "--output_dir", "dry", "--head", "linear"),
    *("--model_name_or_path", "sample_data/tiny-electra", "--from_scratch"),
]

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def copies(user: User) -> dict[str, Path]:
    """Copies of the sample files as they would be on the hub, by task; paths from the user's folder."""
    names = ("nsmc", "naver-ner", "korquad", "korquad-few-shot", "tydiqa", "fake-news")
    for name in names:
        copied(name, user.folder / "sample_data", user.folder / "copies" / name, as_on_hub)
    return {name: Path("copies") / name for name in names}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("run_seq_cls.py", nsmc("dry")),
        ("run_ner.py", sample("naver-ner", "dry")),
        ("run_squad.py", sample("korquad", "dry")),
        ("run_long_qa.py", sample("tydiqa", "dry")),
        ("run_splinter_qa.py", FEW_SHOT),
    ],
)
def test_each_script_has_the_same_cache_from_either(user: User, copies: dict, script: str, words: list):
    task = words[words.index("--task") + 1]
    words = [word for word in words if word not in ("--data_dir", "sample_data")]
    dry = ["--dry_run", "--no_cuda", "--max_steps", 2]
    names = ("cache-of-files", "cache-of-copies")
    official = user.types(*words, "--data_dir", "sample_data", *dry, "--cache_dir", names[0], script=script)
    found = user.types(*words, "--data_source", copies[task], *dry, "--cache_dir", names[1], script=script)
    caches = [snapshot(user.folder / name) for name in names]
    assert caches[0] == caches[1] and len(caches[0]) > 1
    assert official.err.count("\n") == found.err.count("\n")
    for name in names:
        shutil.rmtree(user.folder / name)


@pytest.fixture(scope="module")
def run(user: User, copies: dict) -> str:
    """A run of one step on a copy."""
    user.types(*nsmc("copied", "--data_source", copies["nsmc"], *ONE_STEP))
    return "copied"


def test_results_say_what_was_read(user: User, copies: dict, run: str):
    results = user.results(run)
    source = results["data_source"]
    assert (source["asked"], source["name"]) == ("copies/nsmc", "copies/nsmc")
    assert source["revision"].startswith("sha256:")
    assert results["data"] == {f"copies/nsmc[{role}]": source["revision"] for role in ("train", "test")}
    assert results["config"]["data_source"] == "copies/nsmc"


def test_scores_and_predictions_are_those_of_the_official_files(user: User, run: str):
    user.types(*nsmc("official", *ONE_STEP))
    official, found = user.results("official"), user.results(run)
    assert official["data_source"] is None and official["metrics"] == found["metrics"]
    tables = [(user.run_dir(name) / "predictions.tsv").read_bytes() for name in ("official", run)]
    assert tables[0] == tables[1]


def test_a_run_goes_on_from_either(user: User, copies: dict, run: str):
    """The rows are the same, wherever they are from."""
    shutil.copytree(user.run_dir(run), user.run_dir("goes-on"))
    user.types(*nsmc("goes-on", *ONE_STEP), "--resume")
    assert user.results("goes-on")["data_source"] is None


def test_it_is_scored_and_asked_later(user: User, copies: dict, run: str):
    before = user.results(run)["metrics"]
    user.types(*nsmc(run, "--do_eval", "--data_source", copies["nsmc"], "--no_cuda"))
    assert user.results(run)["metrics"] == before
    done = user.types(*nsmc(run, "--do_predict", "--input_file", "-", "--no_cuda"), stdin="재미있다\n")
    assert done.out.startswith("prediction\t")


def test_file_settings_name_splits(user: User, copies: dict):
    """Names of official files, as the original projects' JSON files have them, mean the usual splits."""
    original = {"train_file": "ratings_train.txt", "dev_file": "", "test_file": "ratings_test.txt"}
    settings = json.loads((REPOSITORY / "config/nsmc/sample.json").read_text(encoding="utf-8"))
    path = user.folder / "original.json"
    path.write_text(json.dumps(settings | original | {"data_source": "copies/nsmc"}), encoding="utf-8")
    words = ["--task", "nsmc", "--config_file", "original.json", "--output_dir", "named", *ONE_STEP]
    user.types(*words)
    assert list(user.results("named")["data"]) == ["copies/nsmc[train]", "copies/nsmc[test]"]
    user.types(*words, "--test_file", "train", "--overwrite_output_dir")
    assert list(user.results("named")["data"]) == ["copies/nsmc[train]"]


def test_rows_that_were_held_out_stay_held_out(user: User, copies: dict):
    folder = shutil.copytree(user.folder / copies["fake-news"], user.folder / "moving")
    words = sample("fake-news", "held-out", "--data_source", "moving")
    user.types(*words, *ONE_STEP)
    assert user.results("held-out")["rows"].keys() == {"train", "test"}
    table = Dataset.from_parquet(str(folder / "train.parquet"))
    write_parquet(folder, {"train": table.select(range(len(table) - 1))})
    error = user.is_refused(*words, "--do_eval", "--no_cuda")
    assert error.startswith("moving[train] is not what the checkpoints in ckpt/held-out were trained on: rows that")
    assert "data_source moving (asked for now: official)" in user.is_refused(
        *sample("fake-news", "held-out", "--do_eval", "--no_cuda")
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            nsmc("x", "--data_source", "nowhere"),
            "data_source nowhere: no such folder: a folder is expected, or a hub id",
        ),
        (nsmc("x", "--data_source", "sample_data/tiny-electra"), "sample_data/tiny-electra"),
        (nsmc("x", "--data_source", "copies/naver-ner"), "copies/naver-ner, split train: there is no column document"),
        (nsmc("x", "--data_source", "copies/nsmc", "--test_file", "dev"), "copies/nsmc: there is no split dev: it has"),
        (
            nsmc("x", "--data_source", "copies/nsmc", "--data_dir", "y"),
            "--data_dir has no effect on the rows of",
        ),
        (nsmc("x", "--data_source", "hub"), "the data set e9t/nsmc was asked of the hub (http://127.0.0.1:9), which "),
        (sample("korsts", "x", "--data_source", "hub"), "korsts: no data set on the hub is known to have its rows"),
    ],
)
def test_what_is_refused(user: User, copies: dict, words: list, message: str):
    error = user.is_refused(*words)
    assert error.startswith(message) and "\n" not in error
    assert not user.run_dir("x").exists() or not list(user.run_dir("x").iterdir())


def test_a_study_with_few_questions(user: User, copies: dict):
    words = [word for word in FEW_SHOT if word not in ("--data_dir", "sample_data", "dry", "--output_dir")]
    words += ["--output_dir", "study-of-rows", "--few_shot", 16, "--samples", 1, "--max_steps", 1, "--no_cuda"]
    assert TASKS["korquad-few-shot"].hub
    user.types(*words, "--data_source", copies["korquad-few-shot"], script="run_splinter_qa.py")
