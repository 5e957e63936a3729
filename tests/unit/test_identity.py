"""How two runs differ, in words: what a user reads who resumes a run after an edit."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.config import UsageError
from training.identity import differences, refuse_another_run, rows_content

ROWS = rows_content("features-1", "2", 100)
RUN = {"seed": 42, "labels": ["no", "yes"], "training rows": ROWS, "test rows": ROWS}
TEXTS = "the texts of the training rows, or how they are tokenized, have changed"
LABELS = "the labels of the training rows have changed"


@pytest.mark.parametrize(
    "edited, words",
    [
        ({}, []),
        ({"seed": 7}, ["seed was 42, is now 7"]),
        ({"labels": ["yes", "no"]}, ["the order of the labels was no, yes, is now yes, no"]),
        ({"labels": ["no", "yes", "so"]}, ["the labels were no, yes, are now no, yes, so"]),
        (
            {"labels": ["yes", "no"], "training rows": rows_content("features-1", "3", 100)},
            ["the order of the labels was no, yes, is now yes, no"],
        ),
        ({"training rows": rows_content("features-2", "2", 100)}, [TEXTS]),
        ({"training rows": rows_content("features-1", "3", 100)}, [LABELS]),
        ({"training rows": rows_content("features-2", "3", 100)}, [TEXTS, LABELS]),
        ({"training rows": rows_content("features-2", "3", 99)}, ["there were 100 training rows, are now 99"]),
        ({"test rows": None}, ["test rows were evaluated, and are not now"]),
    ],
)
def test_what_has_changed(edited: dict, words: list[str]):
    assert differences(RUN, RUN | edited) == words


def test_rows_that_were_not_evaluated():
    without = {key: value for key, value in RUN.items() if key != "test rows"}
    assert differences(without, RUN) == ["test rows were not evaluated, and are now"]


def test_checkpoints_of_earlier_versions():
    """Their rows are two hashes in a text, and they do not know the labels."""
    older = {"seed": 42, "training rows": "features-1 2", "test rows": "contexts-1 queries-1 2"}
    rows = {"training rows": ROWS, "test rows": rows_content("contexts-1 queries-1", "2", 100)}
    assert differences(older, RUN | rows) == []
    assert differences(older, RUN | rows | {"training rows": rows_content("features-2", "3", 9)}) == [TEXTS, LABELS]


def test_rows_of_pretraining_are_known_by_one_hash():
    assert differences({"training rows": "a"}, {"training rows": "a"}) == []
    assert differences({"training rows": "a"}, {"training rows": "b"}) == [TEXTS]


def test_the_error():
    with pytest.raises(UsageError, match=r"^run/checkpoint-3 belongs to another run: seed was 42, is now 7; resuming "):
        refuse_another_run(RUN, RUN | {"seed": 7}, Path("run/checkpoint-3"))


@pytest.mark.parametrize(
    ("edited", "way"),
    [
        ({"num_train_epochs": 3.0}, "--num_train_epochs 2"),
        ({"num_train_epochs": 0.5}, "the length you want"),
        ({"max_steps": 100}, "the length you want"),
    ],
)
def test_more_epochs(edited: dict, way: str):
    run = RUN | {"num_train_epochs": 1.0, "max_steps": -1}
    with pytest.raises(UsageError) as caught:
        refuse_another_run(run, run | edited, Path("run/checkpoint-3"))
    assert str(caught.value).endswith(
        "; resuming needs the same. A run's learning rate is planned to its end, so it cannot be made longer: without "
        f"--resume, --model_name_or_path run/checkpoint-3 --output_dir NAME with {way} trains its weights further, in "
        "a run of its own, and --overwrite_output_dir trains from the beginning"
    )
    with pytest.raises(UsageError, match=r"resuming needs the same$"):
        refuse_another_run(run, run | edited | {"seed": 7}, Path("run/checkpoint-3"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"from_scratch": True}, "--from_scratch false --output_dir NAME with --num_train_epochs 2"),
        ({"from_scratch": False}, "--output_dir NAME with --num_train_epochs 2"),
        (
            {"head": "qass", "initialize_new_qass": True},
            "--initialize_new_qass false --output_dir NAME with the length you want",
        ),
        ({"head": "linear", "initialize_new_qass": True}, "--output_dir NAME with the length you want"),
    ],
)
def test_the_run_of_its_own_begins_with_the_checkpoint_s_weights(settings: dict, words: str):
    run = RUN | {"num_train_epochs": 1.0} | settings
    with pytest.raises(UsageError, match=f"--model_name_or_path run/checkpoint-3 {words} trains its weights further"):
        refuse_another_run(run, run | {"num_train_epochs": 3.0}, Path("run/checkpoint-3"))
