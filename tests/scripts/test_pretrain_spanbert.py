"""python3 -m pytest tests/scripts/test_pretrain_spanbert.py

`pretrain_spanbert.py` as a user runs it, on the sample corpus: what it leaves, how it goes on, what it refuses.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForMaskedLM, AutoTokenizer

import pretrain_spanbert
from conftest import User, nsmc
from models.spanbert import BertForSpanPreTraining
from models.vocabulary import train_sentencepiece
from pretrain_spanbert import SpanBertConfig
from processors import TASKS_OF_SCRIPT
from reporting.spanbert_recipes import AS_PUBLISHED, words_of
from run_seq_cls import SequenceClassificationConfig
from training.command_line import resolve
from training.row_random import RowDraws

ROOT = Path(__file__).parents[2]

SCRIPT = "pretrain_spanbert.py"
BRIEFLY = "--max_steps 6 --logging_steps 1 --eval_steps 2 --save_steps 2 --save_total_limit 9 --save_optimizer".split()
TINY = "--hidden_size 32 --num_hidden_layers 2 --num_attention_heads 2 --intermediate_size 64 --no_cuda".split()
METRICS = {"loss", "mlm_loss", "sbo_loss", "mlm_accuracy", "sbo_accuracy"}


def words(output_dir: str, *more: object) -> list[object]:
    return ["--config_file", "sample.json", "--output_dir", output_dir, *TINY, *more]


@pytest.fixture(scope="module")
def corpora(user: User) -> list[str]:
    """Two small corpora: a compressed file with a document a line, and a folder of JSON lines."""
    lines = (user.folder / "sample_data" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:1500]
    texts = [json.loads(line)["text"].replace("\n", " ") for line in lines[:500]]
    (user.folder / "reviews.txt.gz").write_bytes(gzip.compress("\n".join(texts).encode()))
    (user.folder / "news").mkdir()
    (user.folder / "news" / "a.jsonl").write_text("\n".join(lines[500:]), encoding="utf-8")
    return ["--corpus", "reviews.txt.gz", "news"]


@pytest.fixture(scope="module")
def brief(types, corpora) -> str:
    """A finished run with checkpoints 2, 4 and 6."""
    types(*words("span-brief", *BRIEFLY, *corpora))
    return "span-brief"


def test_what_a_run_leaves(user: User, brief: str):
    folder = user.run_dir(brief)
    assert {path.name for path in folder.iterdir()} == {
        *("checkpoint-2", "checkpoint-4", "checkpoint-6"),
        *("results.json", "run_config.json", "training.json", "metrics.jsonl"),
    }
    results = user.results(brief)
    assert set(results["metrics"]) == METRICS and results["split"] == "held_out" and results["step"] == 6
    assert results["metrics"]["loss"] == pytest.approx(results["metrics"]["mlm_loss"] + results["metrics"]["sbo_loss"])
    assert [line["step"] for line in user.log(brief, "evaluation")] == [2, 4, 6]
    losses = [line["loss"] for line in user.log(brief, "train")]
    assert len(losses) == 6 and losses[-1] < losses[0]
    assert set(results["data"]) == {"reviews.txt.gz", "news/a.jsonl"}
    assert results["training"]["tokens_per_second"] > 0
    config = json.loads((folder / "checkpoint-4" / "config.json").read_text())
    assert config["pretraining"]["objective"] == "spanbert" and config["pretraining"]["steps"] == 4
    assert config["pretraining"]["tokens"] > 0
    # Six steps were planned; the epochs are rounded.
    assert config["pretraining"]["planned_epochs"] == pytest.approx(config["pretraining"]["epochs"] * 6 / 4, rel=1e-3)
    assert config["pretraining"]["recipe"] == {
        **{"span_law": "geometric", "span_overrun": "cut", "mask_decision": "span", "mask_once": False},
        **{"sbo": "paper", "mlm_head": "bert", "max_grad_norm": 1.0, "lr_scheduler": "linear"},
        **{"lower_case": False, "held_out_share": 0.01},
    }


def test_checkpoints_load_with_transformers_and_can_be_fine_tuned(user: User, brief: str):
    folder = user.run_dir(brief) / "checkpoint-6"
    assert AutoTokenizer.from_pretrained(folder).mask_token == "[MASK]"
    trained, masked_lm = BertForSpanPreTraining.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder)
    weights = masked_lm.state_dict()
    assert all((weights[name] == value).all() for name, value in trained.state_dict().items() if name in weights)
    for pooling in ("cls", "mean", "max"):
        output_dir = f"span-nsmc-{pooling}"
        model = ["--model_name_or_path", folder, "--from_scratch", "false", "--pooling", pooling]
        user.types(*nsmc(output_dir, *model, "--max_steps", 1, "--eval_steps", 0, "--save_steps", 0, "--no_cuda"))
        assert user.results(output_dir)["pretraining"]["steps"] == 6
    fresh = ["--model_name_or_path", folder, "--from_scratch", "--max_steps", 1, "--eval_steps", 0, "--save_steps", 0]
    user.types(*nsmc("span-nsmc-fresh", *fresh, "--no_cuda"))
    assert user.results("span-nsmc-fresh")["pretraining"] is None


def test_resumed_it_is_the_run_that_was_never_stopped(user: User, types, corpora, brief: str):
    """Including masks, which differ from epoch to epoch: these steps pass over the corpus twice."""
    folder = user.run_dir("span-resumed")
    shutil.copytree(user.run_dir(brief), folder)
    for name in ("checkpoint-4", "checkpoint-6"):
        shutil.rmtree(folder / name)
    (folder / "results.json").unlink()
    types(*words("span-resumed", *BRIEFLY, *corpora, "--resume"))
    for event in ("train", "evaluation"):
        whole, resumed = (
            [{key: value for key, value in line.items() if "second" not in key} for line in user.log(name, event)]
            for name in (brief, "span-resumed")
        )
        assert resumed == whole


def test_the_originals_settings_stay_with_the_model(user: User, types, corpora):
    """What is recorded, and that a later run, which types none of them, has the heads of the model it starts from."""
    flags = words_of(AS_PUBLISHED)
    types(*words("span-original", "--max_steps", 1, "--logging_steps", 1, *corpora, *flags))
    folder = user.run_dir("span-original") / "checkpoint-1"
    config = json.loads((folder / "config.json").read_text())
    assert config["pretraining"]["recipe"] == AS_PUBLISHED
    assert (config["mlm_head"], config["sbo"]) == ("tied", "original")
    assert user.results("span-original")["metrics"] == {}  # no documents are held out
    command = ["--corpus", "news", "--model_name_or_path", folder, "--no_cuda", "--max_seq_length", 64]
    types(*command, "--output_dir", "span-original-on", "--max_steps", 1, "--logging_steps", 1, "--eval_steps", 0)
    config = json.loads((user.run_dir("span-original-on") / "checkpoint-1" / "config.json").read_text())
    recipe = config["pretraining"]["recipe"]
    assert (recipe["mlm_head"], recipe["sbo"], recipe["span_law"]) == ("tied", "original", "geometric")


@pytest.mark.parametrize("once", [True, False])
def test_masks_of_a_row_in_two_epochs(user: User, corpora, once: bool, monkeypatch: pytest.MonkeyPatch):
    """The batch that the loop would train on, with what is drawn in two epochs."""
    jobs = []
    monkeypatch.chdir(user.folder)
    monkeypatch.setattr(pretrain_spanbert, "train", lambda job, *_: jobs.append(job))
    command = words("span-once", *corpora, "--mask_once", str(once).lower())
    config, _ = resolve(SpanBertConfig, [*map(str, command)], {"spanbert": {}}, ROOT / "config", "")
    pretrain_spanbert.main(config, overwrite=False)
    rows = np.arange(100)
    first, second = (jobs[0].collate(rows, RowDraws([42, epoch], rows), None) for epoch in range(2))
    for name in ("columns", "labels", "left_boundaries", "positions"):
        assert np.array_equal(first["spans"][name], second["spans"][name]) == once
    # Other rows have other masks, and those of a row do not depend on the batch.
    later = jobs[0].collate(rows[50:], RowDraws([42, 2], rows[50:]), None)
    of_second_half = first["spans"]["rows"] >= 50
    assert np.array_equal(first["spans"]["columns"][of_second_half], later["spans"]["columns"]) == once


def test_continues_from_a_published_bert(user: User, types, corpora, brief: str):
    source = user.run_dir(brief) / "checkpoint-6"
    flags = ["--config_file", "sample.json", "--corpus", "news", "--model_name_or_path", source, "--no_cuda"]
    command = [word for word in flags if word != "--config_file" and word != "sample.json"]
    types(*command, "--output_dir", "span-on", "--max_seq_length", 64, "--max_steps", 2, "--logging_steps", 1)
    first = user.log("span-on", "train")[0]["loss"]
    assert first < user.log(brief, "train")[2]["loss"]


def test_a_vocabulary_is_made_once(user: User, types, corpora):
    command = ["--train_vocab", "wordpiece", "--vocab_size", 1500, "--max_steps", 1, "--logging_steps", 1]
    config = json.loads((ROOT / "config" / "spanbert" / "sample.json").read_text())
    del config["tokenizer"]
    (user.folder / "made.json").write_text(json.dumps(config))
    said = []
    for run in range(2):
        finished = types(
            "--config_file", "made.json", "--output_dir", f"span-made-{run}", *TINY, *corpora, *command, "--lower_case"
        )
        said.append("making a wordpiece vocabulary of 1500 tokens" in finished.err)
    assert said == [True, False]
    first, second = (user.run_dir(f"span-made-{run}") / "checkpoint-1" / "tokenizer.json" for run in range(2))
    assert first.read_bytes() == second.read_bytes()


def test_the_originals_vocabulary_is_one_file(user: User, types, is_refused, corpora):
    lines = (user.folder / "sample_data" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:1000]
    train_sentencepiece((json.loads(line)["text"] for line in lines), user.folder / "original-vocabulary", 1000)
    command = [*words("span-file", *corpora, "--max_steps", 1), "--lower_case", "--tokenizer"]
    types(*command, "original-vocabulary/sentencepiece.model")
    tokenizer = AutoTokenizer.from_pretrained(user.run_dir("span-file") / "checkpoint-1")
    assert len(tokenizer) == 1007 and tokenizer.tokenize("A 영화") == tokenizer.tokenize("a 영화")
    said = is_refused(*command, "original-vocabulary")
    assert "--lower_case has no effect" in said and "tokenizer in original-vocabulary" in said


def test_a_tokenizer_instead_of_the_vocabulary_that_a_file_would_make(
    types, is_refused, corpora, brief: str, user: User
):
    """A cased tokenizer then gets cased texts, even if the file would lower-case the vocabulary that it trains."""
    half = ["--config_file", "half.json", *corpora, *TINY, "--max_steps", 1]
    types(*half, "--tokenizer", "sample_data/tiny-electra", "--output_dir", "span-half")
    config = json.loads((user.run_dir("span-half") / "run_config.json").read_text())
    assert config["train_vocab"] and config["tokenizer"] == "sample_data/tiny-electra"
    said = is_refused(*half, "--tokenizer", "sample_data/tiny-electra", "--train_vocab", "wordpiece")
    assert "give one of them" in said
    words = ["--config_file", "half.json", "--corpus", "a.txt", "--model_name_or_path", "x"]
    config, _ = resolve(SpanBertConfig, words, {"spanbert": {}}, ROOT / "config", "")
    assert config.lower_case and not config.lower_cases_texts
    assert "has no effect" in is_refused("--corpus", "news", "--model_name_or_path", "x", "--lower_case")


def test_the_corpus_alone_may_be_lower_cased(user: User, types, corpora):
    """As in the original, whose vocabulary is made of lower-cased texts and knows no capital letters."""
    lines = (user.folder / "sample_data" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:800]
    texts = [json.loads(line)["text"] + " Good Movie KBS" for line in lines]
    (user.folder / "capitals.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    (user.folder / "corpus-only.json").write_text(
        '{"train_vocab": "sentencepiece", "vocab_size": 900, "lower_case": "corpus", "max_steps": 1, "eval_steps": 0}'
    )
    command = ["--config_file", "corpus-only.json", *TINY, "--corpus", "capitals.jsonl"]
    said = types(*command, "--output_dir", "span-capitals")
    tokenizer = AutoTokenizer.from_pretrained(user.run_dir("span-capitals") / "checkpoint-1")
    assert not [token for token in tokenizer.get_vocab() if token.lower() != token and not token.startswith("[")]
    assert "[UNK]" in tokenizer.tokenize("Good") and "[UNK]" not in tokenizer.tokenize("good")
    assert "[UNK]" not in said.err and "warning" not in (said.out + said.err).lower()
    # The same for a tokenizer that exists, also one with capital letters: a file, a folder, a model's.
    for named in (["--tokenizer", "x"], ["--model_name_or_path", "x"]):
        flags = ["--config_file", "half.json", "--corpus", "a.txt", *named, "--lower_case", "corpus"]
        config, _ = resolve(SpanBertConfig, flags, {"spanbert": {}}, ROOT / "config", "")
        assert config.lower_cases_texts and not config.tokenizer_lower_cases


def test_a_damaged_vocabulary_in_the_cache_is_made_again(user: User, types, corpora):
    (user.folder / "damaged.json").write_text('{"train_vocab": "wordpiece", "vocab_size": 1400, "max_steps": 1}')
    command = [
        "--config_file",
        "damaged.json",
        *TINY,
        *corpora,
        "--cache_dir",
        "damaged",
        "--output_dir",
        "span-damaged",
    ]
    types(*command)
    (folder,) = (path for path in (user.folder / "damaged").glob("vocabulary-*") if path.is_dir())
    file = folder / "tokenizer.json"
    whole = file.read_bytes()
    for damage in (b"{", whole + b" "):
        file.write_bytes(damage)
        assert f"damaged/{folder.name} was damaged; it is made again" in types(*command, "--overwrite_output_dir").err
        assert file.read_bytes() == whole


def test_commands_that_cannot_be(user: User, is_refused, corpora, brief: str):
    """What each message must name; its sentence may change."""
    (user.folder / "empty.txt").write_text("\n\n")
    trained = ["--corpus", "news", "--model_name_or_path", user.run_dir(brief) / "checkpoint-6"]
    for command, *facts in (
        (words("span-wrong", "--vocab_size", 9), "--vocab_size has no effect", "train_vocab"),
        (words("span-wrong", *corpora, "--corpus_weights", 2), "corpus_weights", "1 numbers", "2 corpora"),
        (words("span-wrong", "--corpora", "a"), "--corpora", "did you mean '--corpus'?"),
        (["--config_file", "sample.json", "--hidden_size", 30], "hidden_size 30", "num_attention_heads 4"),
        (words("span-wrong", "--corpus", "nowhere.txt"), "nowhere.txt: no such file"),
        (words("span-wrong", "--corpus", "empty.txt"), "empty.txt", "no text"),
        (["--corpus", "reviews.txt.gz"], "no vocabulary", "train_vocab"),
        (["--tokenizer", "sample_data/tiny-electra"], "corpus is missing"),
        (words("span-wrong", "--lower_case", "yes"), '--lower_case must be true or false or corpus, not "yes"'),
        (words("span-wrong", "--mlm_head", "paper"), '--mlm_head must be bert or tied, not "paper"'),
        ([*trained, "--max_seq_length", 2000], "max_seq_length 2000"),
    ):
        said = is_refused(*command)
        assert [fact for fact in facts if fact not in said] == [], said


@pytest.mark.parametrize("name", ["half", "base", "sample"])
def test_configurations(name: str):
    """Sizes and learning rate of the original; each file holds only what differs from the defaults."""
    path = ROOT / "config" / "spanbert" / f"{name}.json"
    argv = ["--config_file", path.name, "--corpus", "a.txt"]
    config, _ = resolve(SpanBertConfig, argv, {"spanbert": {}}, ROOT / "config", "")
    content = json.loads(path.read_text(encoding="utf-8"))
    defaults = {key: field.get_default() for key, field in SpanBertConfig.model_fields.items()}
    assert {key for key, value in content.items() if value == defaults[key]} == set()
    if name != "sample":
        width, heads = {"half": (384, 6), "base": (768, 12)}[name]
        sizes = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size)
        assert sizes == (width, 12, heads, 4 * width)
        assert (config.train_vocab, config.vocab_size, config.lower_case) == ("sentencepiece", 8000, True)
        assert (config.learning_rate, config.train_batch_size, config.max_seq_length) == (5e-5, 32, 512)


def test_the_configuration_of_nsmc_is_the_originals_but_for_the_model(is_refused):
    words = ["--task", "nsmc", "--config_file", "spanbert-half.json"]
    assert is_refused(*words, script="run_seq_cls.py").startswith("no model: set model_type (a known model)")
    settings = {task.name: task.settings() for task in TASKS_OF_SCRIPT["run_seq_cls.py"]}
    words += ["--model_name_or_path", "ckpt/spanbert-half/checkpoint-9"]
    config, _ = resolve(SequenceClassificationConfig, words, settings, ROOT / "config", "")
    assert (config.train_batch_size, config.num_train_epochs, config.learning_rate) == (128, 10, 5e-5)
    assert (config.max_grad_norm, config.training_split) == (0, "test")
