"""python3 -m pytest tests/scripts/test_run_ner.py

`run_ner.py` as a user runs it: train, score, label, stop, go on, on the sample data; and what it refuses.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import BRIEFLY, User, sample, snapshot
from entity_counts import entities_of, figures
from processors import TASKS
from processors.sentence_files import Sentences
from run_ner import LabelledWords, score_labels
from workflows.fine_tuning import Split

SCRIPT = "run_ner.py"
ner = functools.partial(sample, "naver-ner")
TASK = TASKS["naver-ner"]
EPOCHS = 2
SHORT = ["--max_seq_len", 32, "--precision", "fp32"]


def columns(path: Path) -> list[tuple[list[str], list[str]]]:
    """Words and labels of each line of a file in the task's form."""
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [tuple([part for part in side.split(" ") if part] for side in line.split("\t")) for line in lines]


def labels_of(path: Path) -> list[str]:
    return [label for _, labels in columns(path) for label in labels]


def counted(gold: Path, predicted: Path) -> dict[str, float]:
    """Precision, recall and F1 of the entities of two files, leaving out words that have no predicted label."""
    right = found = there = 0
    for (words, labels), (same_words, guesses) in zip(columns(gold), columns(predicted), strict=True):
        assert words == same_words and len(labels) == len(guesses)
        kept = [i for i, guess in enumerate(guesses) if guess != "?"]
        real, made = entities_of([labels[i] for i in kept]), entities_of([guesses[i] for i in kept])
        right, found, there = right + len(real & made), found + len(made), there + len(real)
    return figures(right, found, there)


@pytest.fixture(scope="module")
def test_file(user: User) -> Path:
    return user.folder / "sample_data" / "naver-ner" / "test.tsv"


@pytest.fixture(scope="module")
def trained(user: User, types) -> tuple[dict, str, str]:
    """The results of half of `sample.json` in the folder `naver-ner`, and what stood on standard output and error."""
    finished = types(*ner("naver-ner", "--num_train_epochs", EPOCHS, "--precision", "fp32"))
    return user.results("naver-ner"), finished.out, finished.err


@pytest.fixture(scope="module")
def cut(user: User, types) -> tuple[str, str]:
    """The folder of a brief run whose rows of 32 tokens are too short for some sentences, and what it said."""
    return "cut", types(*ner("cut", *SHORT, "--max_steps", 2, "--eval_steps", 0, "--save_steps", 0)).err


@pytest.fixture
def copied(user: User, cut, request: pytest.FixtureRequest) -> str:
    """The output folder of a copy of that run."""
    name = re.sub(r"\W+", "-", request.node.name)
    shutil.copytree(user.run_dir(cut[0]), user.run_dir(name))
    return name


# --------------------------------------------------------------------------------------------------------------------
# Training and scores
# --------------------------------------------------------------------------------------------------------------------


def test_entities_are_learned_and_the_score_can_be_computed_from_the_predictions(trained, user, test_file):
    """Whoever gives every word the most frequent label, O, finds no entity at all."""
    results, out, _ = trained
    metrics = results["metrics"]
    assert metrics["f1"] > 0.7 and metrics["precision"] > 0.6 and metrics["recall"] > 0.6
    assert results["main_metric"] == "f1" and results["at_chance"] is False
    assert metrics == counted(test_file, user.run_dir("naver-ner") / "predictions.tsv")
    assert f"naver-ner  tiny-electra  seed 42  test  f1 {metrics['f1']:.4f}" in out


@pytest.mark.slow
def test_the_sample_configuration_learns_more(trained, user, types):
    types(*ner("longer"))
    assert max(0.8, trained[0]["metrics"]["f1"]) < user.results("longer")["metrics"]["f1"]


def test_every_type_is_reported(trained, user, test_file):
    results, out, _ = trained
    guesses = labels_of(user.run_dir("naver-ner") / "predictions.tsv")
    scored = [label for label, guess in zip(labels_of(test_file), guesses, strict=True) if guess != "?"]
    types, lines = results["per_type"], out.splitlines()
    assert set(types) >= {label.partition("-")[0] for label in scored if label != "O"}
    for name, row in types.items():
        assert set(row) == {"f1", "precision", "recall", "support"}
        (line,) = (line.split()[1:] for line in lines if line.split()[0] == name)
        assert line == [*(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")), str(row["support"])]
    # An entity begins with each B; the rest are those that begin with an I, as conlleval has it.
    begun = sum(label.endswith("-B") for label in scored)
    assert begun <= sum(row["support"] for row in types.values()) <= begun + 5
    assert set(results["averages"]) == {"micro", "macro", "weighted"}
    for name, row in results["averages"].items():
        (line,) = (line.split()[2:] for line in lines if line.split()[:2] == [name, "avg"])
        assert line == [*(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")), str(row["support"])]
    assert results["averages"]["micro"].items() >= results["metrics"].items()
    order = [line.split()[0] for line in lines if line.split()[0] in types]
    assert [types[name]["support"] for name in order] == sorted((t["support"] for t in types.values()), reverse=True)
    right = sum(row["recall"] * row["support"] for row in types.values())
    assert right / sum(row["support"] for row in types.values()) == pytest.approx(results["metrics"]["recall"])


def test_the_evaluation_loss_is_the_one_that_the_original_logged(trained, user, test_file):
    """KoELECTRA's loop over the test file: padded batches in the file's order, and the mean of transformers' losses."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    folder = user.run_dir("naver-ner") / trained[0]["checkpoint"]
    model, tokenizer = AutoModelForTokenClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    config = trained[0]["config"]
    inputs, targets = [], []
    for words, labels in columns(test_file):
        tokens = [tokenizer(word, add_special_tokens=False).input_ids or [tokenizer.unk_token_id] for word in words]
        ids = [token for word in tokens for token in word][: config["max_seq_len"] - 2]
        first = [
            [TASK.labels.index(label), *[-100] * (len(word) - 1)] for word, label in zip(tokens, labels, strict=True)
        ]
        inputs.append([tokenizer.cls_token_id, *ids, tokenizer.sep_token_id])
        targets.append([-100, *[target for word in first for target in word][: len(ids)], -100])
    losses = []
    for at in range(0, len(inputs), config["eval_batch_size"]):
        rows = slice(at, at + config["eval_batch_size"])
        padded, labels, mask = (
            torch.nn.utils.rnn.pad_sequence(list(map(torch.tensor, part)), batch_first=True, padding_value=value)
            for part, value in (
                (inputs[rows], tokenizer.pad_token_id),
                (targets[rows], -100),
                ([[1] * len(one) for one in inputs[rows]], 0),
            )
        )
        with torch.no_grad():
            losses.append(model(input_ids=padded, attention_mask=mask, labels=labels).loss.item())
    assert len(losses) > 1
    expected = pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert trained[0]["original_figures"] == {"loss_published_style": expected}


def test_what_a_finished_run_leaves(trained, user, test_file):
    results, _, err = trained
    folder = user.run_dir("naver-ner")
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == {"metrics.jsonl", "predictions.tsv", "results.json", "run_config.json", "training.json"}
    rows = {name: len(columns(test_file.with_name(f"{name}.tsv"))) for name in ("train", "test")}
    steps = EPOCHS * -(-rows["train"] // 16)
    assert results["training"]["steps"] == steps and results["training"]["epochs"] == EPOCHS
    kept = {path.name for path in folder.glob("checkpoint-*")}
    assert kept >= {results["checkpoint"], f"checkpoint-{steps}"} and len(kept) <= 2
    scores = {line["step"]: line["metrics"]["f1"] for line in user.log("naver-ner", "evaluation")}
    assert max(scores.values()) == results["metrics"]["f1"] and results["selection"] == "test"
    losses = [line["loss"] for line in user.log("naver-ner", "train")]
    assert losses[-1] < 0.2 * losses[0]
    for name, count in rows.items():
        assert err.count(f"\n{name}: {count} sentences, ") + err.startswith(f"{name}: {count} sentences, ") == 1
    # Each file of the sample has one sentence of hundreds of words.
    words = labels_of(folder / "predictions.tsv").count("?")
    assert results["words_not_scored"] == words > 100
    assert f"warning: test: {words} words of 1 sentence lie beyond max_seq_len 128" in err


def test_the_checkpoint_is_a_model_for_plain_transformers(trained, user):
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    folder = user.run_dir("naver-ner") / trained[0]["checkpoint"]
    model, tokenizer = AutoModelForTokenClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert tuple(model.config.id2label.values()) == TASK.labels
    model.eval()
    rows = [row for row in columns(user.run_dir("naver-ner") / "predictions.tsv") if "?" not in row[1]][:40]
    for words, labels in rows:
        tokens = [tokenizer(word, add_special_tokens=False)["input_ids"] or [1] for word in words]
        firsts = np.cumsum([1, *map(len, tokens)])[:-1]
        ids = torch.tensor([[2, *(one for word in tokens for one in word), 3]])
        with torch.no_grad():
            best = model(input_ids=ids).logits[0].argmax(dim=-1)
        assert [TASK.labels[best[first]] for first in firsts] == labels


def test_evaluating_on_another_day_gives_the_same_score_and_labels(trained, user, types):
    results, out, _ = trained
    before = snapshot(user.run_dir("naver-ner"))
    finished = types(*ner("naver-ner", "--do_eval", "--eval_all_checkpoints", "false", "--precision", "fp32"))
    assert finished.out.splitlines()[:-1] == out.splitlines()[:-1]  # the last line says where they are written
    after = user.results("naver-ner")
    for key in ("metrics", "per_type", "words_not_scored", "checkpoint", "training", "data", "at_chance"):
        assert after[key] == results[key], key
    assert (user.run_dir("naver-ner") / "predictions.tsv").read_bytes() == before["predictions.tsv"]


def test_a_run_that_finds_no_entity_is_flagged(user, types):
    finished = types(*ner("ner-chance", "--learning_rate", 0, "--max_steps", 1, "--eval_steps", 0))
    results = user.results("ner-chance")
    # Random weights may hit an entity by accident: then F1 is not 0, but still far from anything learned.
    assert results["metrics"]["f1"] < 0.05
    assert results["at_chance"] is (results["metrics"]["f1"] == 0) is ("no better than chance" in finished.err)


# --------------------------------------------------------------------------------------------------------------------
# Labelling sentences
# --------------------------------------------------------------------------------------------------------------------


def test_sentences_from_standard_input_are_labelled_on_standard_output(trained, user, types):
    text = (user.folder / "sample_data" / "sentences.txt").read_text(encoding="utf-8")
    text = text + "\n😂  \u200b \n" + "한바람 감독은 " * 100 + "\n끝"  # blank, swallowed, long, without a line end
    environment = user.environment | {"PYTHONIOENCODING": "ascii"}  # Korean comes out of any terminal
    finished = types(*ner("naver-ner", "--do_predict", "--input_file", "-"), stdin=text, env=environment)
    lines = [line.split("\t") for line in finished.out.removesuffix("\n").split("\n")]
    assert [line[0].split() for line in lines] == [line.split() for line in text.split("\n")]
    labels = [line[1].split() for line in lines]
    assert [len(row) for row in labels] == [len(line.split()) for line in text.split("\n")]
    assert {label for row in labels for label in row} <= {*TASK.labels, "?"}
    assert labels[0][:3] == ["PER-B", "CVL-B", "DAT-B"]  # 한바람 감독은 3월
    assert ["?" in row for row in labels] == [False] * 8 + [True, False] and labels[6] == []
    assert "blank lines: 1" in finished.err and "--ner_stride 64" in finished.err


def test_sentences_from_a_file_are_labelled_into_a_file(trained, user, types):
    before = snapshot(user.run_dir("naver-ner"))
    text = (user.folder / "sample_data" / "sentences.txt").read_text(encoding="utf-8")
    (user.folder / "mine.txt").write_text(text + "한바람 감독은 " * 100, encoding="utf-8")
    words = ner("naver-ner", "--do_predict", "--input_file", "mine.txt", "--ner_stride", 64)
    finished = types(*words)
    target = user.run_dir("naver-ner") / "predictions-mine.tsv"
    assert [words for words, _ in columns(target)] == [
        line.split() for line in [*text.splitlines(), "한바람 감독은 " * 100]
    ]
    assert set(labels_of(target)) <= set(TASK.labels)  # with windows, no word is without a label
    assert finished.out == "" and "7 predictions" in finished.err and "cut into" in finished.err
    types(*words, "--output_file", "labelled-elsewhere.tsv")
    assert (user.folder / "labelled-elsewhere.tsv").read_bytes() == target.read_bytes()
    target.unlink()
    assert snapshot(user.run_dir("naver-ner")) == before


# --------------------------------------------------------------------------------------------------------------------
# Sentences longer than a row
# --------------------------------------------------------------------------------------------------------------------


def test_words_beyond_a_row_get_no_label_and_are_not_scored(cut, user, test_file):
    folder, err = user.run_dir("cut"), cut[1]
    results, labels = user.results("cut"), labels_of(folder / "predictions.tsv")
    beyond = labels.count("?")
    assert 0 < beyond == results["words_not_scored"] < len(labels)
    for line in ("train: ", "test: "):
        (warning,) = (said for said in err.splitlines() if said.startswith(f"warning: {line}"))
        assert "lie beyond max_seq_len 32" in warning and "--ner_stride 16" in warning
    assert f"warning: test: {beyond} words of " in err
    for _, guesses in columns(folder / "predictions.tsv"):
        assert "?" not in guesses[: guesses.index("?") if "?" in guesses else None]
        assert set(guesses[guesses.index("?") :] if "?" in guesses else "?") == {"?"}  # from there to the end
    assert results["metrics"] == counted(test_file, folder / "predictions.tsv")


def test_with_windows_every_word_is_scored_also_on_a_run_trained_without(copied, user, types, test_file):
    before = user.results(copied)
    finished = types(*ner(copied, "--do_eval", *SHORT, "--ner_stride", 8))
    results = user.results(copied)
    predictions = user.run_dir(copied) / "predictions.tsv"
    assert results["words_not_scored"] == 0 and "?" not in labels_of(predictions)
    assert "windows of up to 32 tokens" in finished.err and "beyond" not in finished.err
    assert results["metrics"] == counted(test_file, predictions)
    assert results["config"]["ner_stride"] == 8 and results["training"] == before["training"]


@pytest.mark.slow
def test_windows_in_training(user, types, is_refused, cut):
    words = [*BRIEFLY, *SHORT]
    finished = types(*ner("windows", *words, "--ner_stride", 8))
    assert finished.err.count("windows of up to 32 tokens") == 2 and "beyond" not in finished.err
    results = user.results("windows")
    assert results["words_not_scored"] == 0 and "?" not in labels_of(user.run_dir("windows") / "predictions.tsv")
    assert results["config"]["ner_stride"] == 8
    # Sentences without windows: scored on what a row holds, though trained on all.
    types(*ner("windows", "--do_eval", *SHORT))
    assert user.results("windows")["words_not_scored"] == user.results(cut[0])["words_not_scored"]
    message = is_refused(*ner("windows", *words, "--resume"))
    assert "training rows" in message


def test_the_marker_of_a_word_without_a_label_is_no_label():
    """Two sentences; the words beyond a row, an entity's last one among them, count on neither side."""

    ids = {name: TASK.labels.index(name) for name in ("O", "PER-B", "PER-I", "LOC-B")}
    gold = [[ids[name] for name in row.split()] for row in ("PER-B PER-I PER-I LOC-B", "LOC-B O")]
    rows = Sentences([["가", "나", "다", "라"], ["마", "바"]], gold)
    split = Split(rows, SimpleNamespace(cut_words=2), lambda windows: {}, "")
    config = SimpleNamespace(eval_batch_size=2)
    predicted = [["PER-B", "PER-I", "?", "?"], ["PER-B", "O"]]
    scored = score_labels(config, TASK, split, LabelledWords(predicted, np.array([0.5, 1.5])))
    assert scored.metrics == figures(1, 2, 2)
    assert scored.details["per_type"] == {
        "PER": figures(1, 2, 1) | {"support": 1},
        "LOC": figures(0, 0, 1) | {"support": 1},
    }
    assert scored.details["words_not_scored"] == 2 and not scored.at_chance
    assert scored.outputs == [["PER-B", "PER-I", "?", "?"], ["PER-B", "O"]]
    # One batch of two sentences with two scored words each; batches of one sentence have means 0.25 and 0.75.
    assert scored.details["original_figures"] == {"loss_published_style": pytest.approx(2 / 4)}
    none = LabelledWords([["O", "O", "?", "?"], ["O", "O"]], np.zeros(2))
    assert score_labels(config, TASK, split, none).at_chance


# --------------------------------------------------------------------------------------------------------------------
# Stopping and going on, seeds
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("stride", [0, 8])
def test_a_run_that_was_interrupted_and_resumed_is_the_run_that_was_not(user, types, stride):
    settings = ["--max_steps", 40, "--save_steps", 15, "--eval_steps", 20, "--logging_steps", 1, "--precision", "fp32"]
    settings += ["--max_seq_len", 48, "--ner_stride", stride]
    whole, stopped = f"whole-{stride}", f"stopped-{stride}"
    types(*ner(whole, *settings))
    process = user.starts(*ner(stopped, *settings), script="run_ner.py")
    assert any("train 18/40" in line for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and out == "" and "--resume" in err
    assert not (user.run_dir(stopped) / "results.json").exists()

    finished = types(*ner(stopped, *settings, "--resume"))
    assert "resumed from ckpt/" in finished.err
    kinds = ("train", "evaluation")
    logged = [
        [(line["step"], line.get("loss"), line.get("metrics")) for kind in kinds for line in user.log(name, kind)]
        for name in (whole, stopped)
    ]
    assert logged[0] == logged[1] and len(logged[0]) > 40
    one, other = user.results(whole), user.results(stopped)
    for key in ("metrics", "per_type", "words_not_scored", "step", "checkpoint", "selection", "at_chance"):
        assert one[key] == other[key], key
    predictions = [(user.run_dir(name) / "predictions.tsv").read_bytes() for name in (whole, stopped)]
    assert predictions[0] == predictions[1]


@pytest.mark.slow
def test_the_mean_over_seeds_is_reported(user, types):
    settings = ["--max_steps", 150, "--eval_steps", 0, "--save_steps", 0, "--logging_steps", 50]
    finished = types(*ner("ner-seeds", *settings, "--seeds", 1, 2))
    summary = json.loads((user.run_dir("ner-seeds") / "seeds.json").read_text(encoding="utf-8"))
    a, b = (user.results(f"ner-seeds/seed-{seed}")["metrics"]["f1"] for seed in (1, 2))
    assert a != b
    assert summary["metrics"]["f1"]["mean"] == pytest.approx((a + b) / 2)
    assert set(summary["metrics"]) == {"f1", "precision", "recall"}
    assert f"{(a + b) / 2:.4f} ± " in finished.out
    table = user.types("ckpt/ner-seeds", script="scripts/results_table.py").out
    assert "Naver NER (F1)" in table and f"{50 * (a + b):.2f}" in table


@pytest.mark.slow
def test_without_padding_the_losses_and_scores_are_the_padded_ones(user, types):
    model = user.folder / "no-dropout-ner"
    shutil.copytree(user.folder / "sample_data" / "tiny-electra", model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    settings = [*BRIEFLY, "--model_name_or_path", model, "--precision", "fp32", "--learning_rate", "5e-4"]
    for name, words in (("ner-unpadded", []), ("ner-padded", ["--no_unpad"])):
        types(*ner(name, *settings, *words))
    losses = [[line["loss"] for line in user.log(name, "train")] for name in ("ner-unpadded", "ner-padded")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert user.results("ner-unpadded")["metrics"] == user.results("ner-padded")["metrics"]


# --------------------------------------------------------------------------------------------------------------------
# What is refused
# --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def spoil(user: User, request: pytest.FixtureRequest):
    """Copies the sample's folder and puts lines before the fourth of a file, or deletes it; returns the data folder."""

    def spoil(name: str, *lines: str) -> Path:
        data = Path(re.sub(r"\W+", "-", request.node.name))
        folder = user.folder / data / "naver-ner"
        if not folder.exists():
            shutil.copytree(user.folder / "sample_data" / "naver-ner", folder)
        if not lines:
            (folder / name).unlink()
            return data
        content = (folder / name).read_text(encoding="utf-8").split("\n")
        (folder / name).write_text("\n".join([*content[:3], *lines, *content[3:]]), encoding="utf-8")
        return data

    return spoil


BAD_LINES = {
    "가 나 다\tO O": "3 words, but 2 labels",
    "가 나\tO PER": "unknown label 'PER': known are O, PER-B, PER-I, ",
    "": "the sentence is empty: the line is blank",
    "가 나": "1 column instead of 2 (words, labels; a tab between them)",
}


def test_all_bad_lines_are_named_and_nothing_is_left_behind(user, is_refused, spoil):
    data = spoil("train.tsv", *BAD_LINES)
    lines = is_refused(*ner("bad", "--data_dir", data)).split("\n")
    assert len(lines) == len(BAD_LINES)
    for number, (line, what) in enumerate(zip(lines, BAD_LINES.values(), strict=True), 4):
        assert line.startswith(f"{data}/naver-ner/train.tsv:{number}: {what}")
    assert snapshot(user.run_dir("bad")) == {}  # the corrected command is not refused


def test_bad_lines_can_be_left_out_and_are_counted(user, types, is_refused, spoil):
    data = spoil("train.tsv", *(line for line in [*BAD_LINES] * 2))
    lines = is_refused(*ner("skipped", "--data_dir", data)).split("\n")
    assert len(lines) == 6 and lines[5].startswith("... and 3 more malformed rows in ")
    sentences = len(columns(user.folder / "sample_data" / "naver-ner" / "train.tsv"))
    finished = types(*ner("skipped", *BRIEFLY, "--data_dir", data, "--skip_bad_rows"))
    (said,) = (line for line in finished.err.splitlines() if line.startswith("train: "))
    assert said.startswith(f"train: {sentences} sentences, ")
    assert f"malformed rows left out (first {data}/naver-ner/train.tsv:4: 3 words, but 2 labels): 8" in said


@pytest.mark.parametrize("missing", ["train.tsv", "test.tsv"])
def test_a_missing_file_is_missed_before_training(user, is_refused, spoil, missing):
    data = spoil(missing)
    other = {"train.tsv": "test.tsv", "test.tsv": "train.tsv"}[missing]
    message = is_refused(*ner("bad", "--data_dir", data))
    way = f"fetch it with: bash scripts/download_data.sh naver-ner --data_dir {data}"
    assert message == f"{data}/naver-ner/{missing}: no such file; the folder holds {other}; {way}"
    assert snapshot(user.run_dir("bad")) == {}


def test_a_bad_line_of_the_test_file_is_named_before_training(is_refused, spoil):
    data = spoil("test.tsv", "가\tO O")
    assert is_refused(*ner("bad", "--data_dir", data)).startswith(f"{data}/naver-ner/test.tsv:4: 1 word, but 2 labels")


WRONG_COMMANDS = {
    "all at once": (
        ["--ner_strid", 8, "--max_seq_len", 0, "--learning_rate", "fast"],
        ["--ner_strid;", "'--ner_stride'", "--max_seq_len must be", "--learning_rate"],
    ),
    "negative stride": (["--ner_stride", -1], ["--ner_stride", "-1"]),
    "half a stride": (["--ner_stride", "8.5"], ["--ner_stride", "whole number"]),
    "setting of another script": (["--pooling", "mean"], ["--pooling"]),
    "nothing to label": (["--do_predict"], ["input_file"]),
    "no checkpoint": (["--do_eval"], ["ckpt/wrong holds no checkpoint"]),
}


@pytest.mark.parametrize("case", WRONG_COMMANDS)
def test_a_wrong_command_is_refused_at_once(user, is_refused, case):
    words, expected = WRONG_COMMANDS[case]
    message = is_refused(*ner("wrong", *words))
    assert all(part in message for part in expected)
    assert not user.run_dir("wrong").exists()


def test_a_task_of_another_script_is_refused_naming_the_script(user, is_refused):
    message = is_refused("--task", "nsmc", "--config_file", "sample.json")
    assert "run_seq_cls.py" in message and "naver-ner" in message
    assert "run_ner.py" in user.is_refused("--task", "naver-ner", "--config_file", "sample.json")


def test_windows_that_would_lose_words_are_refused(user, is_refused):
    message = is_refused(*ner("lost", "--max_seq_len", 32, "--ner_stride", 31))
    assert message.startswith("ner_stride 31 is more than the 30 tokens that max_seq_len 32 has room for")
    assert snapshot(user.run_dir("lost")) == {}


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--max_seq_len", 2], "max_seq_len 2 leaves no room for text beside 2 special tokens"),
        (["--max_seq_len", 513], "max_seq_len 513 is more than the model's 512 positions"),
    ],
)
def test_rows_that_no_model_takes_are_refused(user, is_refused, words, expected):
    assert is_refused(*ner("rows", *words)) == expected
    assert snapshot(user.run_dir("rows")) == {}


def test_sentences_with_a_tab_and_rows_of_another_length_are_refused(cut, user, is_refused):
    before = snapshot(user.run_dir("cut"))
    words = ner("cut", "--do_predict", "--input_file", "-", "--max_seq_len", 32)
    message = is_refused(*words, stdin="가 나\n가 나\tO O\n")
    assert message == "standard input:2: naver-ner expects one sentence without tabs on each line"
    assert "nothing in it" in is_refused(*words, stdin="\n \n")
    message = is_refused(*ner("cut", "--do_eval"))
    assert "max_seq_len 32 (asked for now: 128)" in message
    assert snapshot(user.run_dir("cut")) == before
