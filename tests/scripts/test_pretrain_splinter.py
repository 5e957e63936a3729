"""python3 -m pytest tests/scripts/test_pretrain_splinter.py

`pretrain_splinter.py` as a user runs it, on the sample corpus: what it leaves, how it goes on, what it refuses.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from conftest import User
from exact_runs import objective_of
from models import build_tokenizer
from models.splinter import build_splinter, export_splinter
from models.splinter_tokens import add_question_token
from pretrain_splinter import SplinterConfig, metrics_of
from processors.pretraining.corpus import build_blocks
from processors.pretraining.corpus_readers import open_corpus
from processors.pretraining.ngrams import read_ngrams
from training.command_line import resolve
from training.row_random import RowDraws
from training.runtime import Runtime
from workflows.recurring_questions import rows_with_questions

ROOT = Path(__file__).parents[2]

SCRIPT = "pretrain_splinter.py"
BRIEFLY = "--max_steps 6 --logging_steps 1 --eval_steps 2 --save_steps 2 --save_total_limit 9 --save_optimizer".split()
ONE_STEP = "--max_steps 1 --logging_steps 1 --eval_steps 0 --save_steps 0".split()
TINY = "--hidden_size 32 --num_hidden_layers 2 --num_attention_heads 2 --intermediate_size 64 --no_cuda".split()
BY_LENGTH = {"span_em_1", "span_em_2_to_3", "span_em_4_or_more"}
METRICS = {"loss", "start_accuracy", "end_accuracy", "span_em", *BY_LENGTH}
POSITIONS = "bert.embeddings.position_embeddings.weight"
SKIPPED = "rows skipped because no span recurs in them: "
NAMES = ["가람", "나루", "다솜", "라온", "마루", "바다", "사랑", "아라", "자두", "차돌"]


def words(output_dir: str, *more: object) -> list[object]:
    tokenizer = [] if "--tokenizer" in more else ["--tokenizer", "sample_data/tiny-electra"]
    return ["--config_file", "sample.json", "--output_dir", output_dir, *TINY, *tokenizer, *more]


@pytest.fixture(scope="module")
def corpora(user: User) -> list[str]:
    """Two small corpora: a compressed file with one document per line, and a folder of JSON lines.

    Each document joins several short texts; in some documents a span recurs. The last document of the second corpus
    has three words, each once.
    """
    lines = (user.folder / "sample_data" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:2000]
    texts = [json.loads(line)["text"].replace("\n", " ") for line in lines]
    documents = [" ".join(texts[at : at + 5]) for at in range(0, len(texts), 5)]
    (user.folder / "talk.txt.gz").write_bytes(gzip.compress("\n".join(documents[:150]).encode()))
    (user.folder / "articles").mkdir()
    news = [*documents[150:], "전혀 다른 이야기"]
    content = "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in news)
    (user.folder / "articles" / "a.jsonl").write_text(content, encoding="utf-8")
    return ["--corpus", "talk.txt.gz", "articles"]


@pytest.fixture(scope="module")
def brief(types, corpora) -> str:
    """A finished run with checkpoints 2, 4 and 6."""
    types(*words("splinter-brief", *BRIEFLY, *corpora, "--ngrams_out", "brief.tsv"))
    return "splinter-brief"


def test_what_a_run_leaves(user: User, brief: str):
    folder = user.run_dir(brief)
    assert {path.name for path in folder.iterdir()} == {
        *("checkpoint-2", "checkpoint-4", "checkpoint-6"),
        *("results.json", "run_config.json", "training.json", "metrics.jsonl"),
    }
    results = user.results(brief)
    metrics = results["metrics"]
    assert set(metrics) == METRICS and results["split"] == "held_out" and results["step"] == 6
    assert 0 <= metrics["span_em"] <= min(metrics["start_accuracy"], metrics["end_accuracy"])
    assert [line["step"] for line in user.log(brief, "evaluation")] == [2, 4, 6]
    losses = [line["loss"] for line in user.log(brief, "train")]
    assert len(losses) == 6 and losses[-1] < losses[0]
    # A uniform guess over a row's tokens, for one start or one end: the logged loss is not the sum of both.
    assert losses[0] < 1.5 * np.log(128)
    assert set(results["data"]) == {"talk.txt.gz", "articles/a.jsonl"}
    assert results["training"]["tokens_per_second"] > 0
    config = json.loads((folder / "checkpoint-4" / "config.json").read_text())
    assert config["pretraining"]["objective"] == "splinter" and config["pretraining"]["steps"] == 4
    assert config["pretraining"]["tokens"] > 0
    assert config["pretraining"]["positions"] == "visible tokens" and config["pretraining"]["[SEP]"] == "visible"


def test_checkpoints_know_the_question_token_and_load_elsewhere(user: User, brief: str, tmp_path: Path):
    folder = user.run_dir(brief) / "checkpoint-6"
    model, encoder, tokenizer = build_splinter(folder), AutoModel.from_pretrained(folder), build_tokenizer(None, folder)
    question = tokenizer.get_vocab()["[QUESTION]"]
    assert (question, model.config.qass) == (model.config.question_token_id, "pretrained")
    assert tokenizer("무엇은 [QUESTION].")["input_ids"].count(question) == 1
    assert not add_question_token(AutoTokenizer.from_pretrained(folder))
    assert model.config.hidden_token_id == tokenizer.sep_token_id
    assert len(tokenizer) == question + 1 == model.config.vocab_size
    weights = encoder.state_dict()
    trained = {name.removeprefix("bert."): value for name, value in model.state_dict().items()}
    shared = weights.keys() & trained.keys()
    assert len(shared) > 30 and all((weights[name] == trained[name]).all() for name in shared)
    export_splinter(model, tmp_path / "original", "original")
    again = build_splinter(tmp_path / "original").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def stopped_after_two(user: User, whole: str, copy: str) -> Path:
    """The folder of a copy of a finished run, as it was after its second step."""
    folder = user.run_dir(copy)
    shutil.copytree(user.run_dir(whole), folder)
    for name in ("checkpoint-4", "checkpoint-6"):
        shutil.rmtree(folder / name)
    (folder / "results.json").unlink()
    return folder


def expect_the_same_run(user: User, *names: str) -> None:
    for event in ("train", "evaluation"):
        whole, resumed = (
            [{key: value for key, value in line.items() if "second" not in key} for line in user.log(name, event)]
            for name in names
        )
        assert resumed == whole and len(whole) > 2


def test_resumed_it_is_the_run_that_was_never_stopped(user: User, types, corpora, brief: str):
    stopped_after_two(user, brief, "splinter-resumed")
    types(*words("splinter-resumed", *BRIEFLY, *corpora, "--resume"))
    expect_the_same_run(user, brief, "splinter-resumed")


def test_a_run_with_the_former_positions_is_not_resumed(user: User, is_refused, corpora, brief: str):
    """Its further steps would not be those of the run that was never stopped."""
    state_file = stopped_after_two(user, brief, "splinter-former") / "checkpoint-2" / "training_state.pt"
    state = torch.load(state_file, weights_only=True)
    for name in ("positions", "[SEP]", "mlm", "most_predictions", "adam_bias_correction"):
        del state["identity"][name]
    torch.save(state, state_file)
    said = is_refused(*words("splinter-former", *BRIEFLY, *corpora, "--resume"))
    assert "positions was None, is now 'visible tokens', [SEP] was None, is now 'visible'; resuming needs" in said
    assert "mlm" not in said and "adam" not in said  # at their defaults they are what there was before


def test_the_joint_objective_with_berts_optimizer(user: User, types, is_refused, corpora):
    """Its figures, its head, and that it resumes to the bit; another script leaves the head out."""
    joint = ["--mlm", "true", "--most_predictions", 12, "--adam_bias_correction", "false", "--weight_decay", 0.01]
    types(*words("splinter-joint", *BRIEFLY, *corpora, *joint))
    metrics = user.results("splinter-joint")["metrics"]
    assert set(metrics) == METRICS | {"span_loss", "mlm_loss", "mlm_accuracy"}
    assert metrics["loss"] == pytest.approx(metrics["span_loss"] + metrics["mlm_loss"])
    losses = [line["loss"] for line in user.log("splinter-joint", "train")]
    # A uniform guess over a row's tokens and one over the vocabulary, added up.
    assert losses[0] < 1.5 * (np.log(128) + np.log(build_splinter_config(user, "splinter-joint").vocab_size))
    assert losses[-1] < losses[0]
    folder = stopped_after_two(user, "splinter-joint", "splinter-joint-resumed")
    types(*words("splinter-joint-resumed", *BRIEFLY, *corpora, *joint, "--resume"))
    expect_the_same_run(user, "splinter-joint", "splinter-joint-resumed")
    weights = load_file(folder / "checkpoint-6/model.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in load_checkpoint(user, "splinter-joint").items())
    assert "cls.predictions.transform.dense.weight" in weights
    assert not any(name.startswith("cls.") for name in build_splinter(folder / "checkpoint-6").state_dict())
    said = is_refused(*words("splinter-wrong", *corpora, "--most_predictions", 12))
    assert "--most_predictions has no effect without mlm" in said
    said = is_refused(*words("splinter-wrong", *corpora, "--qass_from_mlm"))
    assert "qass_from_mlm begins with the MLM head of model_name_or_path, and none is given" in said


def load_checkpoint(user: User, name: str) -> dict[str, torch.Tensor]:
    return load_file(user.run_dir(name) / "checkpoint-6/model.safetensors")


def build_splinter_config(user: User, name: str):
    return build_splinter(user.run_dir(name) / "checkpoint-6").config


def test_checkpoints_with_the_former_positions_are_read_with_a_warning(user: User, types, is_refused, corpora, brief):
    """By whatever goes on from them; where nothing of their weights is used, and on new ones, nothing is said."""
    former = user.run_dir(brief).parent / "former"
    shutil.copytree(user.run_dir(brief) / "checkpoint-6", former)
    config = json.loads((former / "config.json").read_text())
    del config["pretraining"]["positions"], config["pretraining"]["[SEP]"]
    (former / "config.json").write_text(json.dumps(config))
    warning = (
        f"warning: {former.relative_to(user.folder)} was pretrained with positions that counted the tokens hidden "
        "behind a [QUESTION], and with [SEP] hidden; pretraining now counts visible tokens only and shows [SEP], as "
        "the original does\n"
    )
    pretraining = ["--corpus", "articles", "--max_seq_length", 128, *ONE_STEP, "--no_cuda", "--output_dir"]
    tuning = ["--data_dir", "sample_data", "--no_cuda", "--max_steps", 1, "--save_steps", 0, "--do_eval", "false"]
    tuning += ["--max_seq_length", 64, "--doc_stride", 16, "--max_query_length", 24, "--output_dir"]
    own = ("--model_name_or_path", f"ckpt/{brief}/checkpoint-6")
    theirs = ("--model_name_or_path", former.relative_to(user.folder))
    assert types(*pretraining, "on-former", *theirs).err.count(warning) == 1
    assert "warning: " not in types(*pretraining, "on-own", *own).err
    for head in ("qass", "linear"):
        finished = user.types(*tuning, f"tuned-{head}", *theirs, "--head", head, script="run_splinter_qa.py")
        assert finished.err.count(warning) == 1
    for name, words_of_model in (("tuned-scratch", (*theirs, "--from_scratch")), ("tuned-own", own)):
        finished = user.types(*tuning, name, *words_of_model, script="run_splinter_qa.py")
        assert "was pretrained with positions" not in finished.err
    now = json.loads((user.run_dir("on-former") / "checkpoint-1" / "config.json").read_text())["pretraining"]
    assert now["positions"] == "visible tokens"
    export_splinter(build_splinter(former), user.folder / "former-original", "original")
    config = json.loads((user.folder / "former-original" / "config.json").read_text())
    config.pop("pretraining")  # as the original's own weights, which never had gaps
    (user.folder / "former-original" / "config.json").write_text(json.dumps(config))
    for path in former.glob("*token*"):
        shutil.copy(path, user.folder / "former-original")
    finished = user.types(
        *tuning, "tuned-original", "--model_name_or_path", "former-original", script="run_splinter_qa.py"
    )
    assert "was pretrained with positions" not in finished.err


def test_rows_in_which_no_span_recurs_are_skipped_and_counted(user: User, types, is_refused):
    """Five documents in which no name recurs, and fifteen in which one does."""
    once = [" ".join(NAMES[i : i + 5]) for i in range(5)]
    twice = [f"{name} 그리고 {other} 아니면 {name} {i}" for i, name in enumerate(NAMES[:5]) for other in NAMES[7:]]
    (user.folder / "names.txt").write_text("\n".join(once + twice), encoding="utf-8")
    command = words("splinter-names", "--corpus", "names.txt", "--held_out_share", 0, *ONE_STEP[:4], "--save_steps", 0)
    finished = types(*command, "--ngrams_out", "deep/names.tsv")
    assert f"names.txt: {SKIPPED}5\n" in finished.err
    assert user.results("splinter-names")["training"]["rows"] == {"train": 15}
    ngrams = read_ngrams(user.folder / "deep" / "names.tsv")
    assert sorted(ngrams.values()) == [3] * 5
    assert {ngram.replace(" ##", "") for ngram in ngrams} == set(NAMES[:5])
    command = words("splinter-none", "--corpus", "names.txt", "--ngrams_in", "deep/names.tsv")
    said = is_refused(*command)
    assert "names.txt: no span recurs in any of its 20 rows, except n-grams of earlier corpora (ngrams_in)" in said


def test_every_row_of_a_batch_has_questions_within_the_limits(user: User, corpora):
    argv = words("unused", *corpora, "--most_questions", 2, "--question_budget", 0.5)
    config, _ = resolve(SplinterConfig, list(map(str, argv)), {"splinter": {}}, ROOT / "config", "")
    tokenizer = build_tokenizer(None, user.folder / "sample_data" / "tiny-electra")
    runtime = Runtime(True, "fp32")
    objective = objective_of(config, runtime, tokenizer)
    corpus = open_corpus([user.folder / "articles"])
    everything = build_blocks(corpus, tokenizer, user.folder / "cache", config.max_seq_length)
    (blocks,) = rows_with_questions(runtime, ["articles"], [everything], objective.rules)
    assert 0 < len(blocks) < len(everything) and blocks.content != everything.content
    rows = np.arange(min(32, len(blocks)))
    batch = objective.make_batch(blocks, rows, RowDraws([0], rows), None)
    inputs, questions = batch["inputs"], batch["questions"]
    asked = np.bincount(questions["rows"], minlength=len(rows))
    assert asked.min() >= 1 and asked.max() == questions["most_questions"] <= 2
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    assert (ids[questions["rows"], questions["columns"]] == objective.model.config.question_token_id).all()
    assert mask[ids == tokenizer.sep_token_id].all() and not mask[ids == tokenizer.pad_token_id].any()
    assert mask[questions["rows"], questions["starts"]].all() and mask[questions["rows"], questions["ends"]].all()
    assert batch["real_tokens"] == int(mask.sum())
    other = objective.make_batch(blocks, rows, RowDraws([1], rows), None)
    assert not torch.equal(ids, other["inputs"]["input_ids"])
    sums = objective.sums_of(objective.model, batch).detach()
    loss, terms = objective.loss_of(objective.model, batch), batch["terms"]
    assert terms == 2 * len(questions["rows"]) == 2 * int(sums[0])
    metrics = metrics_of(sums.numpy().astype(np.float64))
    assert metrics["loss"] == pytest.approx(float(loss.detach()) / terms, rel=1e-5)
    assert metrics["span_em"] == pytest.approx(float(sums[4]) / len(questions["rows"]))


def test_what_an_earlier_corpus_asked_for_is_not_asked_for_again(user: User, types, is_refused, corpora):
    """N-grams of one corpus are left out in another; a run cannot be resumed with other n-grams left out."""
    first, second = "talk.txt.gz", ["--corpus", "articles"]
    types(*words("splinter-first", "--corpus", first, *ONE_STEP, "--ngrams_out", "first.tsv"))
    again = ["--ngrams_in", "first.tsv", "--ngrams_out", "second.tsv"]
    finished = types(*words("splinter-second", *second, *ONE_STEP, *again))
    earlier, later = (read_ngrams(user.folder / name) for name in ("first.tsv", "second.tsv"))
    assert earlier and later and not earlier.keys() & later.keys()
    assert f"first.tsv: n-grams that are not asked for again: {len(earlier):,}\n" in finished.err
    assert "first.tsv" in user.results("splinter-second")["data"]
    # On resume, the path of the file and ngrams_out may change; the content of the file may not.
    shutil.copy(user.folder / "first.tsv", user.folder / "moved.tsv")
    command = words("splinter-second", *second, *ONE_STEP, "--resume", "--ngrams_in")
    types(*command, "moved.tsv")
    assert "another" in is_refused(*command, "moved.tsv", "second.tsv")


def test_files_of_ngrams_that_cannot_be(user: User, is_refused, corpora, brief: str):
    (user.folder / "foreign.tsv").write_text("ngram\trows\nxyzzy ##plugh\t3\n", encoding="utf-8")
    said = is_refused(*words("splinter-wrong", *corpora, "--ngrams_in", "foreign.tsv"))
    assert "foreign.tsv: none of its 1 n-grams consists of tokens in this vocabulary" in said
    (user.folder / "broken.tsv").write_text("ngram\trows\n영화\tmany\n", encoding="utf-8")
    assert "broken.tsv:2: " in is_refused(*words("splinter-wrong", *corpora, "--ngrams_in", "broken.tsv"))
    assert "nowhere.tsv" in is_refused(*words("splinter-wrong", *corpora, "--ngrams_in", "nowhere.tsv"))
    both = ["--ngrams_in", "brief.tsv", "--ngrams_out", "./brief.tsv"]
    assert "ngrams_out would overwrite what ngrams_in reads" in is_refused(*words("splinter-wrong", *corpora, *both))
    before = (user.folder / "talk.txt.gz").read_bytes()
    said = is_refused(*words("splinter-wrong", *corpora, "--ngrams_out", "talk.txt.gz"))
    assert "ngrams_out would overwrite a file that holds no n-grams: talk.txt.gz" in said
    assert (user.folder / "talk.txt.gz").read_bytes() == before


def test_a_vocabulary_without_the_question_token(user: User, types, is_refused, corpora):
    said = is_refused(*words("splinter-without", *corpora, "--add_question_token", "false"))
    assert "the vocabulary has no [QUESTION]" in said and "--add_question_token adds it" in said
    # KoSplinter's vocabulary is one file that begins with [QUESTION], so [PAD] has the id 1 and nothing is added.
    (user.folder / "kosplinter").mkdir()
    vocab = (user.folder / "sample_data" / "tiny-electra" / "vocab.txt").read_text(encoding="utf-8")
    (user.folder / "kosplinter" / "vocab.txt").write_text(f"[QUESTION]\n{vocab}", encoding="utf-8")
    command = words("splinter-with", *corpora, *ONE_STEP, "--tokenizer", "kosplinter", "--add_question_token", "false")
    types(*command)
    config = build_splinter(user.run_dir("splinter-with") / "checkpoint-1").config
    assert (config.question_token_id, config.pad_token_id) == (0, 1)


def test_continues_from_a_published_bert_and_from_a_splinter(user: User, types, is_refused, corpora, brief: str):
    """A BERT's vocabulary and embeddings grow by [QUESTION]; a Splinter keeps its head."""
    source = user.run_dir(brief) / "checkpoint-6"
    (user.folder / "plain-bert").mkdir()
    model = AutoModel.from_pretrained(source)
    size = model.config.vocab_size - 1
    model.resize_token_embeddings(size)
    for key in ("qass", "question_token_id", "hidden_token_id", "kosplinter_compat", "pretraining"):
        delattr(model.config, key)
    model.save_pretrained(user.folder / "plain-bert")
    shutil.copy(user.folder / "sample_data" / "tiny-electra" / "vocab.txt", user.folder / "plain-bert")
    flags = ["--corpus", "articles", "--max_seq_length", 128, *ONE_STEP, "--no_cuda", "--learning_rate", 1e-3]
    from_bert = [*flags, "--model_name_or_path", "plain-bert", "--output_dir", "splinter-on-bert"]
    assert "--add_question_token adds it" in is_refused(*from_bert)
    types(*from_bert, "--add_question_token")
    assert build_splinter(user.run_dir("splinter-on-bert") / "checkpoint-1").config.vocab_size == size + 1
    types(*flags, "--model_name_or_path", source, "--output_dir", "splinter-on")
    first = user.log("splinter-on", "train")[0]["loss"]
    assert first < user.log(brief, "train")[2]["loss"]


def test_positions_that_begin_as_sines(user: User, types, is_refused, corpora):
    types(*words("sines", *corpora, *ONE_STEP, "--sinusoidal_positions", "--learning_rate", 0))
    positions = load_file(user.run_dir("sines") / "checkpoint-1/model.safetensors")[POSITIONS]
    assert not positions[0, 0::2].any() and (positions[0, 1::2] > 0.02).all()
    error = is_refused(*corpora, "--model_name_or_path", "ckpt/sines/checkpoint-1", "--sinusoidal_positions")
    assert "--sinusoidal_positions" in error and "model_name_or_path" in error


def test_a_corpus_without_recurrence(user: User, is_refused):
    (user.folder / "once.txt").write_text("\n".join(" ".join(NAMES[i:]) for i in range(5)), encoding="utf-8")
    said = is_refused(*words("splinter-once", "--corpus", "once.txt"))
    assert "once.txt: no span recurs in any of its 5 rows" in said
    assert "max_seq_length" in said


def test_a_vocabulary_of_bytes(user: User, is_refused, corpora):
    vocabulary = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary.train_from_iterator(["오늘 영화가 정말 좋았다"] * 9, vocab_size=400, special_tokens=special)
    names = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=vocabulary._tokenizer, **names)
    tokenizer.save_pretrained(user.folder / "bytes-bpe")
    said = is_refused(*words("splinter-bytes", *corpora, "--tokenizer", "bytes-bpe"))
    assert "vocabulary is of bytes" in said and "WordPiece or SentencePiece" in said


def test_commands_that_cannot_be(is_refused):
    """Of this script alone: what both pretraining scripts refuse, test_pretrain_spanbert.py has."""
    assert "unknown flag --dupe_factor" in is_refused(*words("splinter-wrong", "--dupe_factor", 5))
    assert "unknown flag --most_question; did you mean '--most_questions'?" in is_refused(
        *words("splinter-wrong", "--most_question", 5)
    )
    said = is_refused(*words("splinter-wrong", "--question_budget", 1.0, "--longest_span", 0, "--most_questions", 0))
    assert all(key in said for key in ("question_budget", "longest_span", "most_questions"))
    assert "unknown flag --span_law" in is_refused(*words("splinter-wrong", "--span_law", "inverse"))


@pytest.mark.parametrize(("words", "questions"), [([], 30), (["--mlm", "true"], 10)])
def test_questions_count_among_the_predictions(words: list[str], questions: int):
    argv = ["--corpus", "a.txt", "--tokenizer", "tokenizer", *words, *(["--most_predictions", "10"] if words else [])]
    config, _ = resolve(SplinterConfig, argv, {"splinter": {}}, ROOT / "config", "")
    assert config.recurring_spans.questions_in(512) == questions


@pytest.mark.parametrize("name", ["base", "sample"])
def test_configurations(name: str):
    """Settings are those of the published pretraining; each file holds only what differs from the defaults."""
    path = ROOT / "config" / "splinter" / f"{name}.json"
    argv = ["--config_file", path.name, "--corpus", "a.txt"]
    config, _ = resolve(SplinterConfig, argv, {"splinter": {}}, ROOT / "config", "")
    content = json.loads(path.read_text(encoding="utf-8"))
    defaults = {key: field.get_default() for key, field in SplinterConfig.model_fields.items()}
    assert {key for key, value in content.items() if value == defaults[key]} == set()
    assert config.add_question_token
    if name == "base":
        sizes = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size)
        assert sizes == (768, 12, 12, 3072)
        assert config.train_batch_size * config.gradient_accumulation_steps == 256
        assert (config.learning_rate, config.max_steps, config.max_seq_length) == (1e-4, 4_500_000, 512)
        assert int(config.max_steps * config.warmup_proportion) == 10_000  # as training/optimizer.py counts them
        spans = config.recurring_spans
        assert (spans.longest, spans.budget, spans.most_questions) == (10, 0.15, 30)
        # oriram/splinter: optimization.py, save_checkpoints_steps, only_recurring_span_selection.
        assert (config.weight_decay, config.adam_epsilon, config.adam_bias_correction) == (0.01, 1e-6, False)
        assert config.max_grad_norm == 1.0 and config.save_steps == config.evaluates_every == 10_000
        assert not config.mlm and config.most_predictions == 80
