"""python3 -m pytest tests/scripts/test_run_klue.py

KLUE's tasks as a user runs them on the sample data, and what they refuse. Scores are counted again from predictions.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, ElectraForSequenceClassification

from conftest import User, sample
from processors import SCRIPT_OF_TASK, TASKS
from processors.character_tokens import build_character_features, spread_labels
from processors.klue_ner import read_klue_ner
from processors.klue_scores import tag_scores
from run_seq_cls import score_outputs
from small_tokenizers import wordpiece
from workflows.character_tagging import LabelledCharacters, score_characters
from workflows.fine_tuning import Split

BRIEFLY = ["--max_steps", 2, "--eval_steps", 0, "--save_steps", 0, "--precision", "fp32"]
CLASSIFICATION = ("klue-tc", "klue-sts", "klue-nli", "klue-re")
FILES = {
    task: f"klue/{TASKS[task].folder.removeprefix('klue/')}/{TASKS[task].test_file}"
    for task in (*CLASSIFICATION, "klue-ner", "klue-mrc")
}
# Main scores that a run of `sample.json` exceeds by far.
LEARNED = {"klue-tc": 0.8, "klue-sts": 0.8, "klue-nli": 0.7, "klue-re": 0.8, "klue-ner": 0.6, "klue-mrc": 0.3}

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def runs(user: User) -> dict[str, dict]:
    """The results of two steps of each task, by task; the output folders are called like the tasks."""
    for task in FILES:
        user.types(*sample(task, task, *BRIEFLY), script=SCRIPT_OF_TASK[task])
    return {task: user.results(task) for task in FILES}


def predictions(user: User, task: str) -> list[list[str]]:
    text = (user.run_dir(task) / "predictions.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.removesuffix("\n").split("\n")]


@pytest.mark.parametrize("task", FILES)
def test_results(user: User, runs: dict, task: str):
    metrics = runs[task]["metrics"]
    assert set(TASKS[task].metrics) <= metrics.keys() and runs[task]["main_metric"] == TASKS[task].main_metric
    assert all(-1 <= metrics[name] <= 1 for name in TASKS[task].metrics)
    assert any(name.endswith(TASKS[task].test_file) for name in runs[task]["data"])


@pytest.mark.slow
@pytest.mark.parametrize("task, score", LEARNED.items())
def test_a_task_is_learned(user: User, task: str, score: float):
    user.types(*sample(task, f"{task}-learned"), script=SCRIPT_OF_TASK[task], timeout=900)
    results = user.results(f"{task}-learned")
    assert results["metrics"][results["main_metric"]] > score and not results["at_chance"]


@pytest.mark.parametrize("task", CLASSIFICATION)
def test_scores_are_those_of_the_predictions(user: User, runs: dict, task: str):
    header, *rows = predictions(user, task)
    labels = TASKS[task].labels
    if task == "klue-sts":
        golds, outputs = np.array([[float(value) for value in row[:2]] for row in rows]).T
        outputs = outputs[:, None]
    else:
        golds = np.array([labels.index(row[0]) for row in rows])
        outputs = np.log(np.array([[float(value) for value in row[2 : 2 + len(labels)]] for row in rows]))
    split = Split(type("Rows", (), {"labels": golds.tolist()}), None, None, "")
    settings = type("Config", (), {"eval_batch_size": 64})
    assert score_outputs(settings, TASKS[task], split, outputs).metrics == pytest.approx(
        runs[task]["metrics"],
        abs=1e-3,  # probabilities with nine digits may tie
    )
    assert header[0] == "label" and (task != "klue-re" or "<subj>" in rows[0][-1])


def test_a_checkpoint_of_relations_has_the_markers(user: User, runs: dict):
    folder = user.run_dir("klue-re") / "checkpoint-2"
    before = json.loads((user.folder / "sample_data/tiny-electra/config.json").read_text(encoding="utf-8"))
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"] == before["vocab_size"] + 4
    words = ["--do_train", "false", "--do_eval", "false", "--do_predict", "--input_file"]
    user.types(*sample("klue-re", "klue-re", *words, f"sample_data/{FILES['klue-re']}"))
    again = (user.run_dir("klue-re") / "predictions-klue-re-v1.1_dev.tsv").read_text(encoding="utf-8")
    scored = predictions(user, "klue-re")
    assert [row[0] for row in (line.split("\t") for line in again.splitlines())] == [row[1] for row in scored]


def test_predictions_of_characters_have_the_form_of_the_file(user: User, runs: dict):
    file = user.folder / "sample_data" / FILES["klue-ner"]
    gold = read_klue_ner(TASKS["klue-ner"], file)
    path = user.run_dir("klue-ner") / "predictions.tsv"
    text = path.read_text(encoding="utf-8")
    assert "\t?" in text  # one sentence is longer than max_seq_len
    path.write_text(text.replace("\t?", "\tO"), encoding="utf-8")
    found = read_klue_ner(TASKS["klue-ner"], path)
    path.write_text(text, encoding="utf-8")
    assert found.words == gold.words
    flat = [[id for ids in rows.labels for id in ids] for rows in (gold, found)]
    own = tag_scores(TASKS["klue-ner"].labels, *flat)
    assert own == pytest.approx(
        {name: runs["klue-ner"]["metrics"][f"aligned_{name}"] for name in ("entity_macro_f1", "character_macro_f1")}
    )


def test_characters_of_a_file_in_the_tasks_own_form_are_labelled(user: User, runs: dict):
    words = ["--do_train", "false", "--do_eval", "false", "--do_predict", "--input_file"]
    user.types(*sample("klue-ner", "klue-ner", *words, f"sample_data/{FILES['klue-ner']}"), script="run_ner.py")
    again = (user.run_dir("klue-ner") / "predictions-klue-ner-v1.1_dev.tsv").read_text(encoding="utf-8")
    assert again == (user.run_dir("klue-ner") / "predictions.tsv").read_text(encoding="utf-8")


def test_scores_of_characters_as_klue_baseline_counts_them(tmp_path: Path):
    """Perfect predictions for a sentence with an [UNK], after which every token is read one place too early."""
    task, tokenizer = TASKS["klue-ner"], wordpiece()
    assert tokenizer.tokenize("? 가나 다") == ["[UNK]", "가", "##나", "다"]
    (tmp_path / "file").write_text("?\tB-PS\n \tO\n가\tO\n나\tB-LC\n \tO\n다\tB-OG\n", encoding="utf-8")
    rows = read_klue_ner(task, tmp_path / "file")
    features = build_character_features(rows, tokenizer, 16, tmp_path)
    ids = features.label_ids(np.array([0]), rows.labels, task.labels.index("O"), 6, -100)[0]
    assert [task.labels[id] for id in ids] == ["O", "B-PS", "O", "B-LC", "B-OG", "O"]
    predicted = LabelledCharacters([ids], [spread_labels(task, ids, features.places("aligned", 0))])
    scores = score_characters(task, Split(rows, features, None, ""), predicted).metrics
    assert scores["aligned_entity_macro_f1"] == scores["aligned_character_macro_f1"] == 1
    golds, read = "O B-PS O B-LC B-OG O", "O B-PS B-PS O B-LC O"
    numbers = [[task.labels.index(name) for name in names.split()] for names in (golds, read)]
    assert {name: scores[name] for name in ("entity_macro_f1", "character_macro_f1")} == tag_scores(
        task.labels, *numbers
    )
    assert scores["entity_macro_f1"] == pytest.approx(2 / 3 / 3)  # PS: one of two found; LC and OG: not at their places


@pytest.mark.parametrize(
    "task, line, message",
    [
        (
            "klue-nli",
            '  "gold_label": "neutral"',
            "unknown label 'maybe': known are entailment",
        ),
        ("klue-ner", "\tB-LC", "unknown label 'maybe': known are B-PS"),
    ],
)
def test_a_wrong_label(user: User, tmp_path: Path, task: str, line: str, message: str):
    data = tmp_path / "data"
    shutil.copytree(user.folder / "sample_data/klue", data / "klue")
    file = data / FILES[task]
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(line, line.replace("neutral", "maybe").replace("B-LC", "maybe"), 1), encoding="utf-8")
    said = user.is_refused(*sample(task, "refused", "--data_dir", data), script=SCRIPT_OF_TASK[task])
    assert str(file) in said and message in said and len(said.strip().splitlines()) == 1


def test_a_missing_file(user: User, tmp_path: Path):
    said = user.is_refused(*sample("klue-tc", "refused", "--data_dir", tmp_path))
    assert "ynat-v1.1_train.json: no such file" in said


def test_windows_are_for_words(user: User):
    said = user.is_refused(*sample("klue-ner", "refused", "--ner_stride", 8), script="run_ner.py")
    assert "ner_stride has no effect on klue-ner" in said


# --------------------------------------------------------------------------------------------------------------------
# Models by name
# --------------------------------------------------------------------------------------------------------------------


def by_name(task: str, model: object, *words: object) -> list[object]:
    fixed = ["--data_dir", "sample_data", "--no_cuda", "--precision", "fp32", "--do_eval"]
    return ["--task", task, "--model_name_or_path", model, *fixed, *words]


@pytest.mark.parametrize("task", [task for task in FILES if task != "klue-mrc"])
def test_a_checkpoint_by_its_name(user: User, runs: dict, task: str):
    """Its scores are those of the run, so its labels and markers are what they were."""
    length = runs[task]["config"]["max_seq_len"]
    words = ["--output_dir", f"{task}-named", "--max_seq_len", length]
    user.types(*by_name(task, user.run_dir(task) / "checkpoint-2", *words), script=SCRIPT_OF_TASK[task])
    assert user.results(f"{task}-named")["metrics"] == pytest.approx(runs[task]["metrics"])


def test_labels_of_a_named_model_go_by_their_names(user: User, runs: dict, tmp_path: Path):
    """The same weights under turned names: what is predicted are other labels."""
    model = tmp_path / "model"
    shutil.copytree(user.run_dir("klue-ner") / "checkpoint-2", model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    names = list(config["id2label"].values())
    assert tuple(names) == TASKS["klue-ner"].labels
    config["id2label"] = dict(enumerate(names[::-1]))
    config["label2id"] = {name: id for id, name in enumerate(names[::-1])}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    words = ["--output_dir", "ner-turned", "--max_seq_len", runs["klue-ner"]["config"]["max_seq_len"]]
    finished = user.types(*by_name("klue-ner", model, *words), script="run_ner.py")
    assert "labels go by their names" in finished.err
    turned = dict(zip(names, names[::-1], strict=True)) | {"?": "?"}
    found, before = (
        [row[1] for row in predictions(user, folder) if len(row) == 2 and row[0] != " "]
        for folder in ("ner-turned", "klue-ner")
    )
    assert found != before and found[0] == turned[before[0]] and len(found) == len(before)


def test_a_named_model_of_relations_without_its_tokenizer(user: User, runs: dict, tmp_path: Path):
    """KLUE-baseline's markers follow the vocabulary of the model that the training began with."""
    model, published = tmp_path / "model", user.folder / "monologg/koelectra-base-v2-discriminator"
    shutil.copytree(user.run_dir("klue-re") / "checkpoint-2", model)
    shutil.copytree(user.folder / "sample_data/tiny-electra", published)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (model / file).unlink(missing_ok=True)
    words = ["--model_type", "koelectra-base-v2", "--output_dir", "re-without"]
    words += ["--max_seq_len", runs["klue-re"]["config"]["max_seq_len"]]
    finished = user.types(*by_name("klue-re", model, *words))
    shutil.rmtree(published)
    assert "holds no tokenizer" in finished.err
    assert user.results("re-without")["metrics"] == pytest.approx(runs["klue-re"]["metrics"])


def test_a_named_model_that_never_saw_the_markers(user: User, tmp_path: Path):
    torch.manual_seed(5)
    config = AutoConfig.from_pretrained(user.folder / "sample_data/tiny-electra", num_labels=30)
    ElectraForSequenceClassification(config).save_pretrained(tmp_path / "model")
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(user.folder / "sample_data/tiny-electra" / file, tmp_path / "model")
    said = user.is_refused(*by_name("klue-re", tmp_path / "model", "--output_dir", "re-refused"))
    assert "was trained without the markers of this task" in said and len(said.strip().splitlines()) == 1
