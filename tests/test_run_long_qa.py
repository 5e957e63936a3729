"""python3 -m pytest tests/test_run_long_qa.py

`run_long_qa.py` as a user runs it: a small BigBird, and the sample model, on long sample documents; what it refuses.
"""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import pytest
from conftest import BRIEFLY, User, snapshot

from processors import TASKS
from processors.qa_score import score_korquad_2

ANSWERS = {"predictions.json", "nbest_predictions.json", "null_odds.json"}
LEFT = ANSWERS | {"results.json", "run_config.json", "training.json", "metrics.jsonl"}
# Sparse from 113 tokens on: blocks of 16, one of them random.
TINY_BIGBIRD = {
    "model_type": "big_bird",
    "attention_type": "block_sparse",
    "block_size": 16,
    "num_random_blocks": 1,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 1024,
}
LONG = ["--max_seq_length", 512, "--doc_stride", 384, "--train_batch_size", 2, "--gradient_accumulation_steps", 2]


@pytest.fixture(scope="session")
def types(user: User):
    return functools.partial(user.types, script="run_long_qa.py")


@pytest.fixture(scope="session")
def is_refused(user: User):
    return functools.partial(user.is_refused, script="run_long_qa.py")


@pytest.fixture(scope="session")
def bigbird(user: User) -> list[str]:
    """The flags of a small BigBird with the sample's tokenizer."""
    source, folder = user.folder / "sample_data" / "tiny-electra", user.folder / "tiny-bigbird"
    shutil.copytree(source, folder)
    size = json.loads((source / "config.json").read_text())["vocab_size"]
    (folder / "config.json").write_text(json.dumps(TINY_BIGBIRD | {"vocab_size": size}))
    return ["--model_name_or_path", "tiny-bigbird"]


def long_qa(task: str, output_dir: str, *words: object) -> list[object]:
    return ["--task", task, "--config_file", "sample.json", "--output_dir", output_dir, *words]


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def brief(user: User, types, bigbird) -> str:
    """A finished run of BigBird on tydiqa, with checkpoints 2, 4 and 6."""
    types(*long_qa("tydiqa", "long-brief", *BRIEFLY, *bigbird, *LONG))
    return "long-brief"


def test_what_a_run_leaves(user: User, brief: str):
    folder = user.run_dir(brief)
    assert {path.name for path in folder.iterdir() if path.is_file()} == LEFT
    rows = TASKS["tydiqa"].read(TASKS["tydiqa"], user.folder / "sample_data/tydiqa/tydiqa-v1.0-dev.jsonl")
    answers = load(folder / "predictions.json")
    assert list(answers) == rows.ids
    for id, context, answer in zip(rows.ids, rows.context_of, answers.values(), strict=True):
        assert answer in rows.contexts[context], id
    golds = dict(zip(rows.ids, rows.answers, strict=True))
    metrics = user.results(brief)["metrics"]
    odds = load(folder / "null_odds.json")
    expected = score_korquad_2(answers, golds)
    assert {key: metrics[key] for key in expected} == expected and len(expected) == 8
    assert all((answers[id] == "") == (value > 0) for id, value in odds.items()) and set(odds) == set(answers)
    config = load(folder / "checkpoint-6" / "config.json")
    assert (config["attention_type"], config["sep_token_id"]) == ("block_sparse", 3)
    assert user.results(brief)["data"].keys() == {
        "sample_data/tydiqa/tydiqa-v1.0-train.jsonl",
        "sample_data/tydiqa/tydiqa-v1.0-dev.jsonl",
    }


def test_what_is_said(user: User, types, bigbird):
    words = [*BRIEFLY, *bigbird, *LONG]
    err = types(*long_qa("tydiqa", "long-said", *words)).err
    assert "batch: 4 rows a step (2 x 2 micro-batches); published: 64, on 8 devices" in err
    assert "questions that somebody answered with yes or no, left out: " in err
    # A batch of 113 tokens and more is sparse: another model than one with full attention.
    types(*long_qa("tydiqa", "long-full", *words, "--attention", "full"))
    losses = [[line["loss"] for line in user.log(name, "train")] for name in ("long-said", "long-full")]
    assert losses[0] != losses[1]
    assert load(user.run_dir("long-full") / "checkpoint-6" / "config.json")["attention_type"] == "original_full"


@pytest.mark.slow
def test_resumed_it_is_the_run_that_was_never_stopped(user: User, types, bigbird, brief: str):
    words = long_qa("tydiqa", "long-stopped", *BRIEFLY, *bigbird, *LONG, "--save_optimizer")
    types(*words)
    folder = user.run_dir("long-stopped")
    for name in ("checkpoint-6", "checkpoint-4"):
        shutil.rmtree(folder / name)
    types(*words, "--resume")
    first, again = (user.run_dir(name) / "checkpoint-6" / "model.safetensors" for name in (brief, "long-stopped"))
    assert first.read_bytes() == again.read_bytes()
    assert user.results(brief)["metrics"] == user.results("long-stopped")["metrics"]
    losses = [[line["loss"] for line in user.log(name, "train")] for name in (brief, "long-stopped")]
    assert losses[0] == losses[1]


def test_evaluated_and_used_on_another_day(user: User, types, brief: str):
    before = load(user.run_dir(brief) / "predictions.json")
    metrics = user.results(brief)["metrics"]
    types(*long_qa("tydiqa", brief, "--do_eval", *LONG[:4], "--model_name_or_path", "tiny-bigbird"))
    assert load(user.run_dir(brief) / "predictions.json") == before
    assert user.results(brief)["metrics"] == pytest.approx(metrics)
    paragraph = {"context": "가람은 서울에 있다. " * 60, "qas": [{"id": "1", "question": "어디?"}]}
    questions = {"data": [{"paragraphs": [paragraph]}]}
    (user.folder / "asked.json").write_text(json.dumps(questions), encoding="utf-8")
    words = ["--do_predict", "--input_file", "asked.json", *LONG[:4], "--model_name_or_path", "tiny-bigbird"]
    types(*long_qa("tydiqa", brief, *words))
    assert set(load(user.run_dir(brief) / "predictions-asked.json")) == {"1"}


@pytest.mark.slow
def test_korquad_2_is_trained_on_the_first_question_of_each_document(user: User, types):
    counts = {}
    for name, words in (("first", ["--all_korquad_2_sample", "false"]), ("all", ["--all_korquad_2_sample"])):
        err = types(*long_qa("korquad-2", f"korquad-2-{name}", *BRIEFLY, *words)).err
        train = next(line for line in err.split("\n") if line.startswith("train: "))
        counts[name] = int(train.split()[1])
        assert ("questions that are not the first of their document, left out: " in train) == (name == "first")
        assert "test: 120 questions" in err
    assert counts == {"first": 204, "all": 900}
    data = user.results("korquad-2-all")["data"]
    assert data.keys() == {"sample_data/korquad_2/train", "sample_data/korquad_2/dev"}
    assert data == user.results("korquad-2-first")["data"] and len(set(data.values())) == 2


def test_korquad_runs_here_too(user: User, types, bigbird):
    types(*long_qa("korquad", "korquad-long", *BRIEFLY, *bigbird, *LONG))
    assert set(user.results("korquad-long")["metrics"]) == {"em", "f1"}


def broken_line(user: User, name: str, change) -> Path:
    """A copy of the dev file with its third line changed, as a text; its absolute path."""
    lines = (user.folder / "sample_data/tydiqa/tydiqa-v1.0-dev.jsonl").read_text(encoding="utf-8").splitlines()
    lines[2] = change(lines[2])
    path = user.folder / f"{name}.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.absolute()


def test_documents_that_cannot_be_used(user: User, types, is_refused):
    path = broken_line(user, "broken", lambda line: line[:100])
    message = is_refused(*long_qa("tydiqa", "long-refused", *BRIEFLY, "--predict_file", path))
    assert message.startswith(f"{path}:3: not valid JSON")
    assert snapshot(user.run_dir("long-refused")) == {}
    err = types(*long_qa("tydiqa", "long-skipped", *BRIEFLY, "--predict_file", path, "--skip_bad_documents")).err
    assert f"malformed rows left out, first {path}:3: " in err
    assert "nowhere: no such file" in is_refused(*long_qa("korquad-2", "long-refused", "--predict_file", "nowhere"))


def test_commands_that_cannot_be(is_refused, bigbird):
    assert is_refused(*long_qa("tydiqa", "long-wrong", "--all_korquad_2_sample")) == (
        "--all_korquad_2_sample is a setting of korquad-2, and has no effect on tydiqa"
    )
    message = is_refused(*long_qa("tydiqa", "long-wrong", "--attention", "spars", "--max_seq_len", 12))
    assert "--attention" in message and "did you mean '--max_seq_length'?" in message
    message = is_refused(*long_qa("tydiqa", "long-wrong", "--attention", "full"))
    assert message == "attention full: only BigBird has that choice, and sample_data/tiny-electra holds another model"
    message = is_refused(*long_qa("tydiqa", "long-wrong", *bigbird, "--max_seq_length", 2048, "--doc_stride", 512))
    assert message == "max_seq_length 2048 is more than the model's 1024 positions"
    assert "korquad is a task of" not in is_refused("--task", "nsmc", "--config_file", "sample.json")


@pytest.mark.slow
def test_learns_to_answer(user: User, types):
    """Answers to questions that have one: leaving all without an answer would score as high over all."""
    types(*long_qa("tydiqa", "tydiqa-learned"), timeout=1500)
    results = user.results("tydiqa-learned")
    assert results["metrics"]["has_ans_f1"] > 0.25  # another fact of the document: about 0.12
    losses = [line["loss"] for line in user.log("tydiqa-learned", "train")]
    assert losses[-1] < 0.5 * losses[0]
