"""python3 -m pytest tests/scripts/test_run_long_qa.py

`run_long_qa.py` as a user runs it: a small BigBird, and the sample model, on long sample documents; what it refuses.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
import time
from pathlib import Path

import pytest

from conftest import BRIEFLY, ONE_STEP, User, sample, snapshot
from processors import TASKS
from processors.qa.answer_scores import score_korquad_2

SCRIPT = "run_long_qa.py"
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


@pytest.fixture(scope="module")
def bigbird(user: User) -> list[str]:
    """The flags of a small BigBird with the sample's tokenizer."""
    source, folder = user.folder / "sample_data" / "tiny-electra", user.folder / "tiny-bigbird"
    shutil.copytree(source, folder)
    size = json.loads((source / "config.json").read_text())["vocab_size"]
    (folder / "config.json").write_text(json.dumps(TINY_BIGBIRD | {"vocab_size": size}))
    return ["--model_name_or_path", "tiny-bigbird"]


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def brief(user: User, types, bigbird) -> str:
    """A finished run of BigBird on tydiqa, with checkpoints 2, 4 and 6. To change it, copy it."""
    types(*sample("tydiqa", "long-brief", *BRIEFLY, *bigbird, *LONG, "--save_optimizer"), fresh=True)
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
    answerable = sum(map(bool, rows.answers))
    totals = {"total": len(rows), "has_ans_total": answerable, "no_ans_total": len(rows) - answerable}
    assert user.results(brief)["original_figures"] == totals  # its own scores are KoBigBird's, not SQuAD's
    assert all((answers[id] == "") == (value > 0) for id, value in odds.items()) and set(odds) == set(answers)
    config = load(folder / "checkpoint-6" / "config.json")
    assert (config["attention_type"], config["sep_token_id"]) == ("block_sparse", 3)
    train = TASKS["tydiqa"].read(TASKS["tydiqa"], user.folder / "sample_data/tydiqa/tydiqa-v1.0-train.jsonl")
    assert user.results(brief)["rows"] == {"train": len(train), "test": len(rows)}
    assert user.results(brief)["data"].keys() == {
        "sample_data/tydiqa/tydiqa-v1.0-train.jsonl",
        "sample_data/tydiqa/tydiqa-v1.0-dev.jsonl",
    }


def test_what_is_said_and_full_attention(user: User, types, bigbird, brief: str):
    err = types(*sample("tydiqa", "long-full", *ONE_STEP, *bigbird, *LONG, "--attention", "full")).err
    assert "\ntydiqa, tiny-bigbird: 1 steps of 4 rows (published: 64, on 8 devices), " in err
    assert "questions that somebody answered with yes or no, left out: " in err
    # A batch of 113 tokens and more is sparse: another model than one with full attention.
    assert user.log("long-full", "train")[0]["loss"] != user.log(brief, "train")[0]["loss"]
    assert load(user.run_dir("long-full") / "checkpoint-1" / "config.json")["attention_type"] == "original_full"


def test_resumed_it_is_the_run_that_was_never_stopped(user: User, types, bigbird, brief: str):
    whole, resumed = user.run_dir(brief), user.run_dir("long-resumed")
    shutil.copytree(whole, resumed, ignore=shutil.ignore_patterns("checkpoint-[46]", "results.json"))
    types(*sample("tydiqa", "long-resumed", *BRIEFLY, *bigbird, *LONG, "--save_optimizer", "--resume"))
    first, again = (folder / "checkpoint-6" / "model.safetensors" for folder in (whole, resumed))
    assert first.read_bytes() == again.read_bytes()
    assert user.results(brief)["metrics"] == user.results("long-resumed")["metrics"]
    losses = [[line["loss"] for line in user.log(name, "train")] for name in (brief, "long-resumed")]
    assert losses[0] == losses[1]


def test_evaluated_and_used_on_another_day(user: User, types, bigbird, brief: str):
    folder = shutil.copytree(user.run_dir(brief), user.run_dir("long-later"))
    types(*sample("tydiqa", "long-later", "--do_eval", *LONG[:4]))
    assert load(folder / "predictions.json") == load(user.run_dir(brief) / "predictions.json")
    assert user.results("long-later")["metrics"] == pytest.approx(user.results(brief)["metrics"])


def test_questions_to_be_answered(user: User, types, is_refused, bigbird, brief: str):
    """In the task's own format, whatever its annotations: as in the evaluation, but for those left out there."""
    folder = shutil.copytree(user.run_dir(brief), user.run_dir("long-asked"))
    answers, source = load(folder / "predictions.json"), user.folder / "sample_data/tydiqa/tydiqa-v1.0-dev.jsonl"
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").split("\n") if line]
    for row in rows:
        del row["annotations"]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    (user.folder / "asked.jsonl.gz").write_bytes(gzip.compress(content.encode()))

    def asked(name: object, command=types, **options):
        words = ["--do_predict", "--input_file", name, *LONG[:4]]
        return command(*sample("tydiqa", "long-asked", *words), **options)

    asked(source.absolute())
    of_file = load(folder / f"predictions-{source.stem}.json")
    assert answers.items() <= of_file.items() and len(of_file) == sum(row["language"] == "korean" for row in rows)
    asked("asked.jsonl.gz")
    assert load(folder / "predictions-asked.jsonl.json") == of_file
    assert json.loads(asked("-", stdin=content).out) == of_file
    squad = {"data": [{"paragraphs": [{"context": "가람은 서울에 있다.", "qas": [{"id": "1", "question": "어디?"}]}]}]}
    (user.folder / "squad.json").write_text(json.dumps(squad), encoding="utf-8")
    message = asked("squad.json", is_refused)
    assert message.startswith("squad.json: no line is a question of TyDi QA v1.0, an object with ")


@pytest.mark.slow
def test_korquad_2_is_trained_on_the_first_question_of_each_document(user: User, types, is_refused):
    counts = {}
    for name, words in (("first", ["--all_korquad_2_sample", "false"]), ("all", ["--all_korquad_2_sample"])):
        err = types(*sample("korquad-2", f"korquad-2-{name}", *ONE_STEP, *words)).err
        train = next(line for line in err.split("\n") if line.startswith("train: "))
        counts[name] = int(train.split()[1])
        assert ("questions that are not the first of their document, left out: " in train) == (name == "first")
        assert "test: 120 questions" in err
        assert user.results(f"korquad-2-{name}")["rows"] == {"train": counts[name], "test": 120}
    assert counts == {"first": 204, "all": 900}
    data = user.results("korquad-2-all")["data"]
    assert data.keys() == {"sample_data/korquad_2/train", "sample_data/korquad_2/dev"}
    assert data == user.results("korquad-2-first")["data"] and len(set(data.values())) == 2
    # The same questions asked: pages are cleaned in the same way.
    types(*sample("korquad-2", "korquad-2-all", "--do_predict", "--input_file", "sample_data/korquad_2/dev"))
    folder = user.run_dir("korquad-2-all")
    assert load(folder / "predictions-dev.json") == load(folder / "predictions.json")
    source = "sample_data/questions.json"
    message = is_refused(*sample("korquad-2", "korquad-2-all", "--do_predict", "--input_file", source))
    assert message.startswith(f"{source}: in the SQuAD format, ")


def test_korquad_runs_here_too(user: User, types, bigbird):
    types(*sample("korquad", "korquad-long", *ONE_STEP, *bigbird, *LONG))
    assert set(user.results("korquad-long")["metrics"]) == {"em", "f1"}
    words = ["--do_predict", "--input_file", "sample_data/questions.json", *LONG[:4]]
    types(*sample("korquad", "korquad-long", *words))  # in the SQuAD format
    assert load(user.run_dir("korquad-long") / "predictions-questions.json")


@pytest.mark.parametrize(
    "script, task, config_file",
    [
        ("run_seq_cls.py", "nsmc", "kobigbird-bert-base.json"),
        ("run_squad.py", "korquad", "kobigbird-bert-base-short.json"),
    ],
)
def test_short_sequences_run_with_full_attention(user: User, bigbird, script: str, task: str, config_file: str):
    words = ["--task", task, "--config_file", config_file, "--data_dir", "sample_data", *bigbird, "--from_scratch"]
    user.types(*words, "--max_steps", 1, "--eval_steps", 0, "--save_steps", 0, script=script)
    results = user.results(f"kobigbird-bert-base-{task}-ckpt")
    config = load(user.run_dir(f"kobigbird-bert-base-{task}-ckpt") / results["checkpoint"] / "config.json")
    assert config["attention_type"] == "original_full" and results["config"]["attention"] == "full"
    table = user.types("ckpt", "--shape", "kobigbird_short", script="scripts/results_table.py").out
    column = {"nsmc": "NSMC (acc)", "korquad": "KorQuAD (Dev) (EM/F1)"}[task]
    assert "kobigbird-bert-base, from scratch" in table and column in table


def broken_line(user: User, name: str, change) -> Path:
    """A copy of the dev file with its third line changed, as a text; its absolute path."""
    lines = (user.folder / "sample_data/tydiqa/tydiqa-v1.0-dev.jsonl").read_text(encoding="utf-8").splitlines()
    lines[2] = change(lines[2])
    path = user.folder / f"{name}.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.absolute()


def test_documents_that_cannot_be_used(user: User, types, is_refused):
    path = broken_line(user, "broken", lambda line: line[:100])
    message = is_refused(*sample("tydiqa", "long-refused", *BRIEFLY, "--predict_file", path))
    assert message.startswith(f"{path}:3: not valid JSON")
    assert snapshot(user.run_dir("long-refused")) == {}
    err = types(*sample("tydiqa", "long-skipped", *ONE_STEP, "--predict_file", path, "--skip_bad_documents")).err
    assert f"malformed rows left out (first {path}:3: " in err
    broken = user.folder / "broken.jsonl.gz"
    broken.write_bytes(
        gzip.compress(Path(user.folder, "sample_data/tydiqa/tydiqa-v1.0-dev.jsonl").read_bytes())[:-2000]
    )
    words = ["--predict_file", broken.absolute()]
    message = is_refused(*sample("tydiqa", "long-refused", *ONE_STEP, *words))
    place = message.partition(": ")[0]
    assert f"{place}: the gzip archive is broken or was not downloaded whole (" in message and "\n" not in message
    err = types(*sample("tydiqa", "long-broken", *ONE_STEP, *words, "--skip_bad_documents")).err
    assert f"all from that line on is lost, and how many questions that is cannot be known (first {place}: " in err
    assert "nowhere: no such file" in is_refused(*sample("korquad-2", "long-refused", "--predict_file", "nowhere"))


def test_commands_that_cannot_be(types, is_refused, bigbird):
    message = is_refused(*sample("tydiqa", "long-wrong", "--all_korquad_2_sample"))
    assert all(word in message for word in ("--all_korquad_2_sample", "korquad-2", "tydiqa")) and "\n" not in message
    message = is_refused(*sample("tydiqa", "long-wrong", "--attention", "spars", "--max_seq_len", 12))
    assert "--attention" in message and "did you mean '--max_seq_length'?" in message
    message = is_refused(*sample("tydiqa", "long-wrong", "--attention", "full"))
    assert message.startswith("attention full: ") and "BigBird" in message and "sample_data/tiny-electra" in message
    message = is_refused(*sample("tydiqa", "long-wrong", *bigbird, "--max_seq_length", 2048, "--doc_stride", 512))
    assert "max_seq_length 2048" in message and "1024 positions" in message and "\n" not in message
    assert "korquad is a task of" not in is_refused("--task", "nsmc", "--config_file", "sample.json")
    # Nothing is said before what is wrong.
    err = types(*sample("tydiqa", "long-wrong", *bigbird, *LONG[:2], "--doc_stride", 512), code=2).err
    assert err.startswith("run_long_qa.py: doc_stride 512 must be smaller than the ")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_half_a_million_tokens_are_answered_within_two_gigabytes(user: User, bigbird, brief: str):
    folder, tokens = shutil.copytree(user.run_dir(brief), user.run_dir("long-huge")), 500_000
    words = "가람은 서울에 있는 오래된 도시이고 강은 그 곁을 지나 바다로 흐른다".split()
    text = " ".join(random.Random(1).choices(words, k=tokens))  # each a token, or more
    row = {"example_id": "1", "language": "korean", "question_text": "어디?", "document_plaintext": text}
    (user.folder / "huge.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    words = ["--do_predict", "--input_file", "huge.jsonl", *LONG[:4]]
    with (folder / "err").open("w", encoding="utf-8") as err:
        process = user.starts(*sample("tydiqa", "long-huge", *words), script=SCRIPT, stdout=err, stderr=err)
        peak = 0
        while process.poll() is None:  # its getrusage would have the peak of this process, too
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = int(found[1]) * 1024 if found else peak  # at its very end there is none
            time.sleep(0.05)
    said = (folder / "err").read_text(encoding="utf-8")
    assert process.returncode == 0, said
    windows = int(re.search(r"1 questions about 1 contexts, (\d+) windows", said)[1])
    assert windows > tokens / 384
    assert load(folder / "predictions-huge.json").keys() == {"1"}
    assert all(answer["text"] in text for answer in load(folder / "nbest_predictions-huge.json")["1"])
    assert 100 * 1024**2 < peak < 2 * 1024**3


@pytest.mark.slow
def test_learns_to_answer(user: User, types):
    """Answers to questions that have one: leaving all without an answer would score as high over all."""
    types(*sample("tydiqa", "tydiqa-learned"), timeout=1500)
    results = user.results("tydiqa-learned")
    assert results["metrics"]["has_ans_f1"] > 0.25  # another fact of the document: about 0.12
    losses = [line["loss"] for line in user.log("tydiqa-learned", "train")]
    assert losses[-1] < 0.5 * losses[0]
