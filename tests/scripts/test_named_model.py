"""python3 -m pytest tests/scripts/test_named_model.py

A fine-tuned model that somebody else made, scored and used by its name, and what is claimed of it. The models are
transformers' own, with random weights, and what they compute by themselves is the reference.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    ElectraForQuestionAnswering,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
    ElectraModel,
)

import run_seq_cls
from conftest import BRIEFLY, User, nsmc, snapshot
from processors import TASKS, TASKS_OF_SCRIPT
from workflows.script import run_script

TINY = "sample_data/tiny-electra"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
KIND = "koelectra-small-v3"
SAMPLE = ["--data_dir", "sample_data", "--no_cuda", "--precision", "fp32"]


def make(user: User, name: str, builder: type, labels: tuple[str, ...] | None = None, tokenizer: bool = True):
    """A fine-tuned model in the user's folder `name`. labels: its `id2label`; None: transformers' own."""
    torch.manual_seed(5)
    config = AutoConfig.from_pretrained(user.folder / TINY)
    if labels:
        config.id2label, config.label2id = dict(enumerate(labels)), {label: i for i, label in enumerate(labels)}
    model = builder(config).eval()
    for key, parameter in model.named_parameters():  # so that the answers differ from text to text
        if "LayerNorm" not in key:
            parameter.data.normal_(std=0.15)
    folder = user.folder / name
    model.save_pretrained(folder)
    for file in TOKENIZER if tokenizer else ():
        shutil.copy(user.folder / TINY / file, folder)
    return model


def tokens_of(user: User, *texts: str):
    return AutoTokenizer.from_pretrained(user.folder / TINY)(
        *texts, truncation=True, max_length=128, return_tensors="pt"
    )


def by_name(task: str, model: str, *words: object) -> list[object]:
    return ["--task", task, "--model_name_or_path", model, *SAMPLE, *words]


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="module")
def turned(user: User) -> ElectraForSequenceClassification:
    """A model whose labels are in another order than the task's, in the folder `turned`."""
    return make(user, "turned", ElectraForSequenceClassification, ("1", "0"))


# --------------------------------------------------------------------------------------------------------------------
# Classification
# --------------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_koelectras_scripts(user: User):
    """Weights in `pytorch_model.bin`, no tokenizer, and a run of the same type elsewhere, which is not looked at."""
    theirs = make(user, "their-electra", ElectraForSequenceClassification, ("1", "0"), tokenizer=False)
    folder = user.folder / "their-electra"
    (folder / "model.safetensors").unlink()
    torch.save(
        theirs.state_dict() | {"electra.embeddings.position_ids": torch.arange(512)[None]}, folder / "pytorch_model.bin"
    )
    published = user.folder / "monologg" / f"{KIND}-discriminator"
    published.mkdir(parents=True)
    for file in (*TOKENIZER, "config.json"):
        shutil.copy(user.folder / TINY / file, published)
    assert "--model_type NAME" in user.is_refused(*by_name("nsmc", "their-electra", "--do_eval"))

    command = by_name("nsmc", "their-electra", "--do_eval", "--config_file", f"{KIND}.json")
    # Other tests of this process may have trained a model of this type in the same place.
    before = sorted(user.run_dir(f"{KIND}-nsmc-ckpt").rglob("*"))
    finished = user.types(*command)
    assert f"their-electra holds no tokenizer: that of model_type {KIND} is taken" in finished.err
    assert "the model has them in the order 1, 0, the task in the order 0, 1" in finished.err
    rows = table(user.run_dir("their-electra-nsmc-eval") / "predictions.tsv")
    for row in rows[:40]:
        with torch.no_grad():
            shares = theirs(**tokens_of(user, row["text1"])).logits.softmax(dim=-1)[0]
        assert [float(row["p(1)"]), float(row["p(0)"])] == pytest.approx(shares.tolist(), rel=1e-3)
    assert len({row["prediction"] for row in rows}) == 2
    results = user.results("their-electra-nsmc-eval")
    hits = [row["label"] == row["prediction"] for row in rows]
    assert results["metrics"]["accuracy"] == pytest.approx(sum(hits) / len(hits))
    assert sorted(user.run_dir(f"{KIND}-nsmc-ckpt").rglob("*")) == before
    # The same again, into the same folder.
    user.types(*command)
    assert user.results("their-electra-nsmc-eval")["metrics"] == results["metrics"]


def test_what_is_not_known_of_a_training_is_null(user: User, turned):
    user.types(*by_name("nsmc", "turned", "--do_eval"))
    results = user.results("turned-nsmc-eval")
    assert (results["model"], results["model_name_or_path"]) == ("turned", "turned")
    assert [results[key] for key in ("seed", "step", "selection", "training", "pretraining")] == [None] * 5
    assert results["rows"] == {"train": None, "test": 400}
    unknown = ("learning_rate", "num_train_epochs", "train_batch_size", "seed", "train_file", "from_scratch")
    assert [results["config"][key] for key in unknown] == [None] * len(unknown)
    assert results["config"]["max_seq_len"] == 128 and results["config"]["eval_batch_size"] > 0
    assert list(results["data"]) == ["sample_data/nsmc/ratings_test.txt"]
    assert not list(user.run_dir("turned-nsmc-eval").glob("metrics.jsonl"))
    # The table takes it as a model of its own.
    out = user.types("ckpt/turned-nsmc-eval", script="scripts/results_table.py").out
    assert "turned" in out and "how the checkpoint was selected is not recorded" in out


def test_texts_are_labelled_by_the_named_model(user: User, turned, brief_run: str):
    """Also where the JSON file names the folder of a run that exists."""
    words = ["--config_file", "sample.json", "--do_predict", "--input_file", "-", "--no_cuda", "--precision", "fp32"]
    texts = "정말 훌륭했다\n지루해서 나왔다\n올해 최고의 영화\n"
    out = user.types("--task", "nsmc", "--model_name_or_path", "turned", *words, stdin=texts).out
    for row in csv.DictReader(out.splitlines(), delimiter="\t"):
        with torch.no_grad():
            first, second = turned(**tokens_of(user, row["text1"])).logits.softmax(dim=-1)[0].tolist()
        assert (float(row["p(1)"]), float(row["p(0)"])) == pytest.approx((first, second), abs=1e-3)
        assert row["prediction"] == ("1" if first > second else "0")
    assert "trained" not in user.types(*by_name("nsmc", "turned", *words[2:4], "sample_data/texts.txt")).err
    assert (user.run_dir("turned-nsmc-eval") / "predictions-texts.tsv").is_file()


def test_names_such_as_label_0_are_taken_in_order(user: User):
    theirs = make(user, "numbered", ElectraForSequenceClassification)
    finished = user.types(*by_name("nsmc", "numbered", "--do_eval"))
    assert "no names (LABEL_0, LABEL_1): they are taken in the task's order, 0, 1" in finished.err
    row = table(user.run_dir("numbered-nsmc-eval") / "predictions.tsv")[0]
    with torch.no_grad():
        shares = theirs(**tokens_of(user, row["text1"])).logits.softmax(dim=-1)[0]
    assert [float(row["p(0)"]), float(row["p(1)"])] == pytest.approx(shares.tolist(), rel=1e-3)


def test_models_that_cannot_be_used(user: User):
    make(user, "moods", ElectraForSequenceClassification, ("neg", "pos"))
    message = user.is_refused(*by_name("nsmc", "moods", "--do_eval"))
    assert message == (
        "moods was trained on labels that are not the task's: there neg, pos; here 0, 1; where they mean the same, "
        "rename them in id2label of moods/config.json, each output with the task's name for it"
    )
    make(user, "encoder", ElectraModel)
    message = user.is_refused(*by_name("nsmc", "encoder", "--do_eval"))
    assert message.startswith("encoder holds no trained head for 2 outputs: it is a model to train from.")
    assert "\n" not in message
    message = user.is_refused(
        *by_name("nsmc", "somebody/model", "--do_predict", "--input_file", "sample_data/texts.txt")
    )
    assert message.startswith("'somebody/model' is neither a local folder") and "\n" not in message
    assert not list((user.folder / "ckpt").glob("m*-eval/*"))


@pytest.mark.parametrize(
    "words",
    [["--seeds", 1, 2], ["--resume"], ["--select_by", "last"], ["--eval_steps", 5], ["--seed", 1],
     ["--train_file", "x"], ["--evaluate_test_during_training"], ["--learning_rate", 1e-3], ["--from_scratch"]],
    ids=str,
)  # fmt: skip
def test_flags_about_a_training_are_refused(user: User, turned, words: list):
    message = user.is_refused(*by_name("nsmc", "turned", "--do_eval", *words))
    assert message.startswith(f"{words[0]} has no effect ") and "\n" not in message


# --------------------------------------------------------------------------------------------------------------------
# Its output folder, and checkpoints of this suite
# --------------------------------------------------------------------------------------------------------------------


def test_an_output_folder_holds_one_model_and_no_training(user: User, turned, brief_run: str):
    before = snapshot(user.run_dir(brief_run))
    message = user.is_refused(*by_name("nsmc", "turned", "--do_eval", "--output_dir", brief_run))
    assert message.startswith(f"ckpt/{brief_run} holds a run that was trained: ")
    assert snapshot(user.run_dir(brief_run)) == before
    for name in ("a", "b"):
        shutil.copytree(user.folder / "turned", user.folder / name / "best")
    user.types(*by_name("nsmc", "a/best", "--do_predict", "--input_file", "sample_data/texts.txt"))
    message = user.is_refused(*by_name("nsmc", "b/best", "--do_eval"))
    assert message == "ckpt/best-nsmc-eval holds what a/best did on nsmc: --output_dir NAME takes another folder"
    texts = ("--do_predict", "--input_file", "sample_data/texts.txt", "--output_file", "of-b.tsv")
    user.types(*by_name("nsmc", "b/best", *texts))  # nothing is written there
    user.types(*by_name("nsmc", "b/best", "--do_eval", "--output_dir", "best-of-b"))
    user.types(*by_name("nsmc", user.folder / "a/best", "--do_eval"))
    message = user.is_refused(*by_name("nsmc", "b/best", "--do_eval", "--ckpt_dir", "b", "--output_dir", "best"))
    assert message.startswith("b/best is the folder of the model")
    message = user.is_refused(*nsmc("best-of-b", *BRIEFLY))
    assert "holds the results of an earlier run" in message


def test_a_checkpoint_of_a_run_by_its_path(user: User, brief_run: str):
    before = snapshot(user.run_dir(brief_run))
    checkpoint = f"ckpt/{brief_run}/checkpoint-4"
    user.types(*by_name("nsmc", checkpoint, "--do_eval"))
    name = f"{brief_run}-checkpoint-4-nsmc-eval"
    results, of_run = user.results(name), user.results(brief_run)
    at_4 = next(e for e in of_run["evaluations"] if e["step"] == 4)
    assert results["metrics"]["accuracy"] == pytest.approx(at_4["metrics"]["accuracy"], abs=0.01)
    assert (results["step"], results["seed"], results["selection"]) == (4, 42, None)
    assert results["rows"] == of_run["rows"] and results["data"] == of_run["data"]
    assert results["config"]["learning_rate"] == of_run["config"]["learning_rate"]
    assert results["config"]["model_name_or_path"] == results["model_name_or_path"] == checkpoint
    assert results["training"].items() >= of_run["training"].items()
    assert results["training"]["model_name_or_path"] == TINY
    assert snapshot(user.run_dir(brief_run)) == before
    message = user.is_refused(*by_name("nsmc", checkpoint, "--do_eval", "--max_seq_len", 64))
    assert "were trained with max_seq_len 128 (asked for now: 64)" in message
    message = user.is_refused(*by_name("nsmc", f"ckpt/{brief_run}", "--do_eval"))
    assert message.endswith(f"it holds checkpoints, which are: ckpt/{brief_run}/checkpoint-6")
    # Moved away from its run, nothing is known of its training any more.
    shutil.copytree(user.folder / checkpoint, user.folder / "moved")
    user.types(*by_name("nsmc", "moved", "--do_eval"))
    assert user.results("moved-nsmc-eval")["metrics"] == results["metrics"]
    assert user.results("moved-nsmc-eval")["training"] is None


def test_a_run_knows_its_model(user: User, copied_run: str):
    user.types("--task", "nsmc", "--output_dir", copied_run, "--do_eval", *SAMPLE)
    assert user.results(copied_run)["model"] == "tiny-electra"
    path = user.run_dir(copied_run) / "run_config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"model_type": KIND})
    )  # as if it had been trained by type
    user.types("--task", "nsmc", "--output_dir", copied_run, "--do_eval", *SAMPLE)
    assert user.results(copied_run)["model"] == KIND
    message = user.is_refused("--task", "nsmc", "--output_dir", "nowhere", "--do_eval", *SAMPLE)
    assert message.startswith("ckpt/nowhere holds no checkpoint: train first")
    assert "no model: set model_type" in user.is_refused("--task", "nsmc", "--do_eval", *SAMPLE)


def test_held_out_rows_may_have_been_learned(user: User):
    labels = TASKS["fake-news"].labels
    make(user, "named-news", ElectraForSequenceClassification, labels)
    finished = user.types(*by_name("fake-news", "named-news", "--do_eval", "--max_seq_len", 64, "--seed", 3))
    assert "drawn from the training file by seed 3; what named-news was trained on is not known" in finished.out
    assert user.results("named-news-fake-news-eval")["config"]["seed"] == 3


# --------------------------------------------------------------------------------------------------------------------
# A task that is edited after the training
# --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(user: User, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture):
    """Runs `run_seq_cls.py` in this process with other labels of nsmc; returns exit code and error."""
    monkeypatch.chdir(user.folder)
    for key in ("HF_ENDPOINT", "HF_HOME"):
        monkeypatch.setitem(os.environ, key, user.environment[key])

    def run(labels: tuple[str, ...], *words: object) -> tuple[int, str]:
        monkeypatch.setitem(TASKS, "nsmc", dataclasses.replace(TASKS["nsmc"], labels=labels))
        tasks = TASKS_OF_SCRIPT["run_seq_cls.py"]
        config_class, argv = run_seq_cls.SequenceClassificationConfig, list(map(str, words))
        capfd.readouterr()
        code = run_script(run_seq_cls.__file__, "", argv, config_class, tasks, run_seq_cls.main)
        return code, capfd.readouterr().err

    return run


def test_labels_that_were_exchanged(user: User, copied_run: str, here):
    before = user.results(copied_run)
    code, err = here(("1", "0"), *nsmc(copied_run, "--do_eval", "--no_cuda"))
    assert code == 0 and "the model has them in the order 0, 1, the task in the order 1, 0" in err
    assert user.results(copied_run)["metrics"] == before["metrics"]
    code, err = here(("1", "0"), *nsmc(copied_run, *BRIEFLY, "--resume"))
    assert code == 2 and "belongs to another run: the order of the labels was 0, 1, is now 1, 0; resuming" in err
    assert "features-" not in err


def test_labels_that_were_added(user: User, copied_run: str, here):
    code, err = here(("0", "1", "2"), *nsmc(copied_run, "--do_eval", "--no_cuda"))
    assert code == 2 and "trained on labels that are not the task's: there 0, 1; here 0, 1, 2" in err
    code, err = here(("0", "1", "2"), *nsmc(copied_run, *BRIEFLY, "--resume"))
    assert code == 2 and "the labels were 0, 1, are now 0, 1, 2; resuming needs the same" in err


def test_rows_that_were_edited(user: User, copied_run: str, tmp_path: Path):
    path = user.folder / "sample_data/nsmc/ratings_train.txt"
    header, first, *rest = path.read_text(encoding="utf-8").split("\n")
    id, text, label = first.split("\t")
    texts, labels = "texts of the training rows, or how they are tokenized,", "labels of the training rows"
    edits = {
        "there were 2000 training rows, are now 1999": [header, *rest],
        f"the {texts} have changed": [header, f"{id}\t{text} 또\t{label}", *rest],
        f"the {labels} have changed": [header, f"{id}\t{text}\t{1 - int(label)}", *rest],
    }
    for words, lines in edits.items():
        file = tmp_path / "train.txt"
        file.write_text("\n".join(lines), encoding="utf-8")
        message = user.is_refused(*nsmc(copied_run, *BRIEFLY, "--resume", "--train_file", file))
        assert f"belongs to another run: {words}; resuming needs the same" in message


# --------------------------------------------------------------------------------------------------------------------
# Entities and answers
# --------------------------------------------------------------------------------------------------------------------


def test_entities(user: User):
    labels = TASKS["naver-ner"].labels
    turned = labels[3:] + labels[:3]
    theirs = make(user, "tagger", ElectraForTokenClassification, turned)
    tokenizer = AutoTokenizer.from_pretrained(user.folder / TINY)
    words = by_name("naver-ner", "tagger", "--do_predict", "--input_file", "sample_data/sentences.txt")
    finished = user.types(*words, script="run_ner.py")
    assert "labels go by their names" in finished.err
    lines = (
        (user.run_dir("tagger-naver-ner-eval") / "predictions-sentences.tsv").read_text(encoding="utf-8").splitlines()
    )
    found = []
    for line in lines:
        sentence, tags = (side.split(" ") for side in line.split("\t"))
        pieces = [
            tokenizer(word, add_special_tokens=False)["input_ids"] or [tokenizer.unk_token_id] for word in sentence
        ]
        ids = [tokenizer.cls_token_id, *(id for piece in pieces for id in piece), tokenizer.sep_token_id]
        with torch.no_grad():
            of_tokens = theirs(input_ids=torch.tensor([ids])).logits[0].argmax(dim=-1).tolist()
        starts = [1 + sum(map(len, pieces[:number])) for number in range(len(pieces))]
        assert tags == [turned[of_tokens[start]] for start in starts]
        found += tags
    assert len(set(found)) > 2
    user.types(*by_name("naver-ner", "tagger", "--do_eval"), script="run_ner.py")
    assert user.results("tagger-naver-ner-eval")["training"] is None
    make(user, "other-tagger", ElectraForTokenClassification, ("O", "B-PER", "I-PER"))
    message = user.is_refused(*by_name("naver-ner", "other-tagger", "--do_eval"), script="run_ner.py")
    assert "there O, B-PER, I-PER; here O, " in message


def best_answer(user: User, model, question: str, context: str, most: int) -> str:
    """The context between the best start and the best end of up to `most` tokens, by transformers' own logits."""
    tokenizer = AutoTokenizer.from_pretrained(user.folder / TINY)
    encoded = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets, of = encoded.pop("offset_mapping")[0].tolist(), encoded.sequence_ids(0)
    with torch.no_grad():
        outputs = model(**encoded)
    start, end = outputs.start_logits[0], outputs.end_logits[0]
    places = [place for place, sequence in enumerate(of) if sequence == 1]
    spans = [(start[a] + end[b], a, b) for a in places for b in places if a <= b < a + most]
    _, first, last = max(spans)
    return context[offsets[first][0] : offsets[last][1]]


@pytest.mark.parametrize(
    "script, task, words",
    [
        ("run_squad.py", "korquad", []),
        ("run_long_qa.py", "korquad", []),
        ("run_splinter_qa.py", "korquad-few-shot", ["--head", "linear"]),
    ],
)
def test_answers(user: User, script: str, task: str, words: list):
    theirs = make(user, "answerer", ElectraForQuestionAnswering)
    words = [*words, "--max_seq_length", 192, "--doc_stride", 96, "--max_answer_length", 10]
    source = json.loads((user.folder / "sample_data/questions.json").read_text(encoding="utf-8"))
    command = by_name(task, "answerer", *words)
    user.types(*command, "--do_predict", "--input_file", "sample_data/questions.json", script=script)
    folder = user.run_dir(f"answerer-{task}-eval")
    answers = json.loads((folder / "predictions-questions.json").read_text(encoding="utf-8"))
    for paragraph in (p for document in source["data"] for p in document["paragraphs"]):
        for question in paragraph["qas"]:
            wanted = best_answer(user, theirs, question["question"], paragraph["context"], 10)
            assert answers[question["id"]] == wanted
    user.types(*command, "--do_eval", script=script)
    assert user.results(folder.name)["training"] is None
    make(user, "encoder", ElectraModel)
    message = user.is_refused(*by_name(task, "encoder", *words, "--do_eval"), script=script)
    assert message.startswith("encoder holds no trained head for 2 outputs")
