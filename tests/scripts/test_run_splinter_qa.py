"""python3 -m pytest tests/scripts/test_run_splinter_qa.py

`run_splinter_qa.py` as a user runs it: one run, a study of few-shot samples, stopped and gone on with; what it refuses;
and the rows that it asks with.
"""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertTokenizer, SplinterTokenizer

from conftest import ONE_STEP, User, snapshot
from models import build_tokenizer
from models.splinter import (
    HIDDEN_LOGIT,
    build_splinter,
    export_splinter,
)
from models.splinter_tokens import KOSPLINTER_SEP_ID, QUESTION, add_question_token, set_token_ids
from processors.features import SpecialTokens
from processors.qa.few_shot_samples import draw_sample, read_sample
from processors.qa.questions import QA_TASKS, Questions, read_squad
from processors.qa.squad_scores import n_best_figures
from processors.qa.windows import GoldSpans, QuestionFeatures
from processors.task import DataError
from run_splinter_qa import SplinterQuestionAnsweringConfig
from run_splinter_qa import load as load_model
from training.results import CONFIG_FILE
from training.runtime import Runtime
from workflows.fine_tuning import ReadyModel
from workflows.question_answering import padded_windows, split_of_windows, windows_of
from workflows.span_selection import (
    asking_special_tokens,
    asking_windows,
    plain_special_tokens,
    span_selection_losses,
    without_hidden_ends,
)

SCRIPT = "run_splinter_qa.py"
DATA = "sample_data/korquad/KorQuAD_v1.0_train.json"
# Rows as short as the questions allow, and a question too long for its part of them among them.
LENGTHS = ["--max_seq_length", 64, "--doc_stride", 16, "--max_query_length", 24]
SIZES = dict(
    hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_position_embeddings=128
)


def words_of(model: str, output_dir: str, *words: object, steps: list[str] = ONE_STEP) -> list[object]:
    """The words of a command on the sample's KorQuAD, in one step of each run."""
    return [
        *("--model_name_or_path", model, "--data_dir", "sample_data", "--output_dir", output_dir),
        *(*LENGTHS, *steps, *words),
    ]


def without_model(words: list[object]) -> list[object]:
    """The words on the checkpoints of the run in the output folder, which knows its model."""
    at = words.index("--model_name_or_path")
    return words[:at] + words[at + 2 :]


study = functools.partial(words_of, "splinter")
FEW = ("--few_shot", 4, 8, "--samples", 2)


def tokenizer_with_question(folder: Path):
    tokenizer = build_tokenizer(None, folder)
    add_question_token(tokenizer)
    return tokenizer


@pytest.fixture(scope="module", autouse=True)
def splinter(user: User) -> Path:
    """The folders of small Splinters in the user's: `splinter`, as this suite writes it, `theirs` and `original`, the
    same in other formats, `compat` as KoSplinter's code has it, and `electra`, which is none.
    """
    folder = user.folder / "splinter"
    tokenizer = tokenizer_with_question(user.folder / "sample_data/tiny-electra")
    torch.manual_seed(0)
    model = build_splinter(BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SIZES))
    set_token_ids(model, tokenizer)
    for name, form in (("splinter", "ours"), ("theirs", "transformers"), ("original", "original")):
        export_splinter(model, user.folder / name, form)
        tokenizer.save_pretrained(user.folder / name)
    shutil.copy(user.folder / "sample_data/tiny-electra/vocab.txt", user.folder / "vocab.txt")
    with (user.folder / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write(f"{QUESTION}\n")
    SplinterTokenizer(vocab=str(user.folder / "vocab.txt"), do_lower_case=False).save_pretrained(user.folder / "theirs")
    return folder


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


# --------------------------------------------------------------------------------------------------------------------
# Rows
# --------------------------------------------------------------------------------------------------------------------


@dataclass
class Reader:
    """A model that is about to be trained, with its settings and its machine."""

    config: SplinterQuestionAnsweringConfig
    runtime: Runtime
    model: ReadyModel

    @property
    def special(self) -> SpecialTokens:
        if self.config.head == "linear":
            return plain_special_tokens(self.model.tokenizer)
        return asking_special_tokens(self.model.tokenizer, self.model.network.config.question_token_id)

    def windows(self, rows: Questions) -> QuestionFeatures:
        return windows_of(self.config, self.runtime, self.model, rows, self.special)

    def batch(self, features: QuestionFeatures, windows: np.ndarray, gold: GoldSpans | None = None) -> dict:
        network, arrays_of = self.model.network, padded_windows(self.model)
        if self.config.head == "qass":
            arrays_of = asking_windows(arrays_of, network.config.question_token_id, network.config.hidden_token_id)
        arguments = self.config, self.runtime, self.model, "train", features, gold, arrays_of
        return split_of_windows(*arguments).collate(windows)


def reader_of(user: User, folder: str, **settings) -> Reader:
    own = {"max_seq_length": 64, "doc_stride": 16, "max_query_length": 24, "cache_dir": str(user.folder / "cache")}
    config = SplinterQuestionAnsweringConfig.model_construct(**(own | settings))
    runtime = Runtime(no_cuda=True, precision="fp32")
    return Reader(config, runtime, load_model(config, runtime, user.folder / folder, is_trained=False))


@pytest.mark.parametrize("folder", ["splinter", "theirs", "original"])
def test_every_row_asks_once_and_gold_spans_are_where_the_answers_are(user: User, folder: str):
    reader = reader_of(user, folder)
    rows = read_squad(QA_TASKS[0], user.folder / DATA)
    features = reader.windows(rows)
    assert features.cut_questions  # so that one is cut at least, and asks all the same
    gold = GoldSpans.of(features)
    tokenizer, windows = reader.model.tokenizer, np.arange(len(features))
    question, sep, stop = (tokenizer.convert_tokens_to_ids(token) for token in (QUESTION, "[SEP]", "."))
    batch = reader.batch(features, windows, gold)
    ids, columns = batch["inputs"]["input_ids"].numpy(), batch["inputs"]["columns"].numpy()
    assert ((ids == question).sum(axis=1) == 1).all()
    assert (ids[windows, columns] == question).all()
    assert (ids[windows, columns + 1] == stop).all() and (ids[windows, columns + 2] == sep).all()
    assert (columns == 1 + features.query_lengths[features.question]).all()
    # Hidden are all [SEP] and the padding, nothing else.
    assert ((batch["inputs"]["attention_mask"].numpy() == 0) == np.isin(ids, [sep, tokenizer.pad_token_id])).all()
    # The same spans as an ordinary head's, two tokens further on.
    plain = reader_of(user, "sample_data/tiny-electra", head="linear", from_scratch=True, max_seq_length=62)
    plain_features = plain.windows(features.questions)
    plain_positions = GoldSpans.of(plain_features).positions(plain_features, windows)
    positions = batch["positions"].numpy()
    assert (positions == np.where(plain_positions > 0, plain_positions + 2, 0)).all() and (positions > 0).any()
    plain_ids = plain.batch(plain_features, windows)["inputs"]["input_ids"].numpy()
    for window in np.flatnonzero(positions[:, 0])[::7]:
        (a, b), (c, d) = positions[window], plain_positions[window]
        tokens, plain_tokens = ids[window, a : b + 1], plain_ids[window, c : d + 1]
        assert tokenizer.convert_ids_to_tokens(tokens) == plain.model.tokenizer.convert_ids_to_tokens(plain_tokens)


def test_as_kosplinters_code_has_it(user: User):
    reader = reader_of(user, "splinter", kosplinter_compat=True)
    rows = read_squad(QA_TASKS[0], user.folder / DATA)
    features = reader.windows(rows)
    batch = reader.batch(features, np.arange(200))
    ids, columns = batch["inputs"]["input_ids"].numpy(), batch["inputs"]["columns"].numpy()
    tokenizer = reader.model.tokenizer
    assert (ids[np.arange(200), columns] == tokenizer.mask_token_id).all()
    assert QUESTION not in tokenizer.convert_ids_to_tokens(ids.ravel())
    hidden = np.isin(ids, [KOSPLINTER_SEP_ID, tokenizer.pad_token_id])
    assert ((batch["inputs"]["attention_mask"].numpy() == 0) == hidden).all()


def test_loss_and_hidden_logits(user: User):
    reader = reader_of(user, "splinter", no_unpad=True)
    rows = read_squad(QA_TASKS[0], user.folder / DATA)
    features = reader.windows(rows)
    batch = reader.batch(features, np.arange(32), GoldSpans.of(features))
    model = reader.model.network.eval()
    with torch.no_grad():
        total = span_selection_losses(model, batch)
        outputs = model(**batch["inputs"])
    hidden = batch["inputs"]["attention_mask"] == 0
    assert (outputs.start_logits[hidden] == HIDDEN_LOGIT).all() and (outputs.end_logits[hidden] == HIDDEN_LOGIT).all()
    expected = 0.0
    for row in range(32):
        for i, logits in enumerate((outputs.start_logits, outputs.end_logits)):
            expected -= float(logits[row].double().log_softmax(-1)[batch["positions"][row, i]]) / 2
    assert batch["terms"] == 32 and float(total) == pytest.approx(expected, rel=1e-5)


# --------------------------------------------------------------------------------------------------------------------
# Samples
# --------------------------------------------------------------------------------------------------------------------


def test_samples_are_nested_and_the_same_on_every_day():
    ids = [f"id-{number}" for number in range(100)]
    sample = draw_sample(ids, 64, seed=42)
    assert len(set(sample)) == 64 and set(sample) <= set(ids)
    assert draw_sample(ids[::-1], 16, seed=42) == sample[:16]
    assert draw_sample(ids, 64, seed=43) != sample
    assert sorted(draw_sample(ids, 100, 1)) == sorted(ids)
    with pytest.raises(DataError, match="few_shot 101: there are only 100 questions to draw from"):
        draw_sample(ids, 101, seed=42)


def test_sample_files(tmp_path: Path):
    path = tmp_path / "sample.txt"
    path.write_text("a\nc\n", encoding="utf-8")
    assert read_sample(path, ["a", "b", "c"], 2) == ["a", "c"]
    for text, message in (
        ("a\nd\n", "sample.txt:2: 'd' is not the id of a question that can be trained on"),
        ("a\na\n", "sample.txt:2: 'a' is listed twice"),
        ("a\n", "1 ids are listed, but the sample needs 2"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read_sample(path, ["a", "b", "c"], 2)
    path.write_bytes("\ufeffa\nc\n\n".encode())  # as an editor may leave it
    assert read_sample(path, ["a", "b", "c"], 2) == ["a", "c"]
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        read_sample(path, ["a"], 1)


# --------------------------------------------------------------------------------------------------------------------
# Studies
# --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(user: User, types) -> str:
    """The output folder of a finished study with two samples of 4 and of 8 questions. To change it, copy it."""
    finished = types(*study("study", *FEW), fresh=True)
    assert "4 runs in ckpt/study: 4, 8 questions, seeds 42, 43" in finished.out
    table = finished.out.split("splinter on korquad-few-shot, 2 samples of each size\n")[1].splitlines()
    assert [line.split()[0] for line in table] == ["questions", "4", "8"]
    return "study"


def test_what_a_study_leaves(user: User, done: str):
    folder = user.run_dir(done)
    questions = {qa["id"] for a in load(user.folder / DATA)["data"] for p in a["paragraphs"] for qa in p["qas"]}
    scored = load((user.folder / DATA).with_name("KorQuAD_v1.0_dev.json"))["data"]
    qas = [qa for article in scored for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    golds = {qa["id"]: [answer["text"] for answer in qa["answers"]] for qa in qas}
    samples = {}
    for size in (4, 8):
        for seed in (42, 43):
            cell = folder / str(size) / f"seed-{seed}"
            samples[size, seed] = (cell / "sample.txt").read_text(encoding="utf-8").splitlines()
            results, scores = load(cell / "results.json"), load(cell / "question_scores.json")
            assert len(samples[size, seed]) == size == results["rows"]["train"]
            assert set(samples[size, seed]) <= questions
            assert results["config"]["few_shot"] == [size] and results["seed"] == seed
            assert results["task"] == "korquad-few-shot" and results["selection"] == "last"
            assert set(scores) == set(load(cell / "predictions.json")) and len(scores) == results["rows"]["test"]
            means = np.mean(list(scores.values()), axis=0)
            assert means == pytest.approx([results["metrics"]["em"], results["metrics"]["f1"]])
            n_best = {id: [one["text"] for one in best] for id, best in load(cell / "nbest_predictions.json").items()}
            expected = n_best_figures(n_best, golds, (1, 3, 5, 10))
            assert expected.items() <= results["original_figures"].items() and len(expected) == 8
            assert not list(cell.glob("checkpoint-*"))
        summary = load(folder / str(size) / "seeds.json")
        assert summary["seeds"] == [42, 43] and set(summary["metrics"]) == {"em", "f1"}
        assert set(summary["original_figures"]) == set(results["original_figures"]) > set(expected)
    assert samples[4, 42] == samples[8, 42][:4] and samples[4, 43] == samples[8, 43][:4]
    assert samples[8, 42] != samples[8, 43]


def test_finished_runs_are_not_run_again_and_new_ones_are(user: User, types, is_refused, done: str):
    shutil.copytree(user.run_dir(done), user.run_dir("grown"))
    before = snapshot(user.run_dir("grown"))
    finished = types(*study("grown", "--few_shot", 8, 6, "--samples", 3))
    assert "6 runs in ckpt/grown: 8, 6 questions, seeds 42, 43, 44; 2 of them are finished" in finished.out
    after = snapshot(user.run_dir("grown"))
    assert all(after[name] == content for name, content in before.items() if not name.endswith("seeds.json"))
    assert load(user.run_dir("grown") / "8/seeds.json")["seeds"] == [42, 43, 44]
    again = types(*study("grown", "--few_shot", 8, 6, "--samples", 3))
    assert "6 of them are finished" in again.out and not again.err
    assert again.out.split("\n\n")[-1] == finished.out.split("\n\n")[-1]
    # With other settings they would be compared as if they were the same.
    error = is_refused(*study("grown", "--few_shot", 8, "--learning_rate", 0.1))
    assert "ckpt/grown/8/seed-42 was run with learning_rate 3e-05 (asked for now: 0.1)" in error
    assert "max_answer_length 10 (asked for now: 5)" in is_refused(
        *study("grown", "--few_shot", 8, "--max_answer_length", 5)
    )
    assert snapshot(user.run_dir("grown")).keys() == after.keys()
    types(*study("grown", "--few_shot", 8, "--samples", 1, "--learning_rate", 0.1, "--overwrite_output_dir"))
    assert load(user.run_dir("grown") / "8/seed-42/results.json")["config"]["learning_rate"] == 0.1
    assert load(user.run_dir("grown") / "8/seed-43/results.json")["config"]["learning_rate"] == 3e-05


def test_other_data_are_another_study(user: User, types, is_refused, done: str):
    shutil.copytree(user.run_dir(done), user.run_dir("moved"))
    shutil.copytree(user.folder / "sample_data/korquad", user.folder / "elsewhere/korquad")
    here = ["--data_dir", "elsewhere"]
    words = [word for word in study("moved", *FEW) if word not in ("--data_dir", "sample_data")]
    assert "4 of them are finished" in types(*words, *here).out
    dev = user.folder / "elsewhere/korquad/KorQuAD_v1.0_dev.json"
    content = load(dev)
    content["data"] = content["data"][1:]
    dev.write_text(json.dumps(content), encoding="utf-8")
    error = is_refused(*words, *here)
    assert "the runs in ckpt/moved differ from those asked for now in questions to be scored with" in error


def test_a_stopped_study_goes_on(user: User, types, done: str):
    steps = "--max_steps 3 --eval_steps 0 --save_steps 1 --save_total_limit 9 --no_cuda".split()
    kept = study("kept", *FEW, "--keep_models", steps=steps)
    types(*kept)
    folder = user.run_dir("kept") / "8/seed-42"
    whole = snapshot(folder)
    # As a kill leaves it: begun, one checkpoint, nothing scored.
    for name in ("results.json", "predictions.json", "question_scores.json"):
        (folder / name).unlink()
    begun = user.run_dir("kept") / "8/seed-43"
    results = load(begun / "results.json")
    shutil.rmtree(begun)
    again = types(*kept)
    assert "2 of them are finished" in again.out
    assert "resumed from ckpt/kept/8/seed-42/checkpoint-3" in again.err
    assert load(begun / "results.json")["metrics"] == results["metrics"]
    assert snapshot(folder)["predictions.json"] == whole["predictions.json"]
    # What was kept once is not deleted by who forgets the flag.
    types(*study("kept", *FEW, steps=steps))
    assert (folder / "checkpoint-3").is_dir()
    # A kept model is a run's like any other.
    words = without_model(study("kept/8/seed-42", steps=["--no_cuda"]))
    types(*words, "--do_predict", "--input_file", user.folder / "sample_data/questions.json")
    assert set(load(folder / "predictions-questions.json")) == {"predict-0", "predict-1", "predict-2"}
    types(*words, "--do_eval")
    assert load(folder / "results.json")["config"]["few_shot"] == [8]


def test_samples_of_an_earlier_study(user: User, types, is_refused, done: str):
    types(*study("reused", "--few_shot", 8, "--samples", 2, "--sample_dir", "ckpt/study", "--seed", 42))
    for seed in (42, 43):
        path = f"8/seed-{seed}/sample.txt"
        assert (user.run_dir("reused") / path).read_bytes() == (user.run_dir(done) / path).read_bytes()
    shutil.copytree(user.run_dir(done), user.run_dir("edited"))
    path = user.run_dir("edited") / "8/seed-43/sample.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("KorQuAD", "SQuAD"), encoding="utf-8")
    words = study("refused", "--few_shot", 4, 8, "--samples", 2, "--sample_dir", "ckpt/edited")
    assert is_refused(*words).startswith("ckpt/edited/8/seed-43/sample.txt:1: 'SQuAD_v1.0_train-")
    assert not (user.run_dir("refused") / "4").exists()  # said before anything is trained
    assert "ckpt/nowhere/4/seed-42/sample.txt: the sample cannot be read" in is_refused(
        *study("refused", *FEW, "--sample_dir", "ckpt/nowhere")
    )
    assert "differs from the requested sample" in is_refused(
        *study("study", "--few_shot", 8, "--samples", 2, "--sample_dir", swapped(user, done))
    )


def swapped(user: User, done: str) -> str:
    """A copy of a study's samples, those of two seeds exchanged."""
    folder = user.run_dir("swapped") / "8"
    for seed, other in ((42, 43), (43, 42)):
        (folder / f"seed-{seed}").mkdir(parents=True)
        shutil.copy(user.run_dir(done) / f"8/seed-{other}/sample.txt", folder / f"seed-{seed}")
    return "ckpt/swapped"


def test_all_questions(user: User, types):
    """As a column of a study, and as a run by itself: the same."""
    shorter = ["--train_file", str(user.folder / "sample_data/korquad/KorQuAD_v1.0_dev.json")]
    words = study("all", *shorter, "--full_train_epochs", 0.2, steps=["--no_cuda"])
    types(*words, "--few_shot", "full", 4, "--samples", 1, "--min_steps", 2, "--num_train_epochs", 1)
    results = load(user.run_dir("all") / "full/seed-42/results.json")
    assert results["rows"]["train"] == results["rows"]["test"] == 200
    assert results["training"]["steps"] > 2 and results["training"]["epochs"] == pytest.approx(0.2, abs=0.03)
    assert load(user.run_dir("all") / "4/seed-42/results.json")["training"]["steps"] == 2
    assert not (user.run_dir("all") / "full/seed-42/sample.txt").exists()
    words[words.index("all")] = "alone"
    types(*words, "--min_steps", 2)
    assert user.results("alone")["metrics"] == results["metrics"]
    assert list(user.run_dir("alone").glob("checkpoint-*"))  # the model that somebody wanted


def test_nothing_is_overwritten_where_the_test_file_is_missing(user: User, is_refused, done: str):
    overwriting = study(done, *FEW, "--predict_file", "nowhere.json", "--overwrite_output_dir")
    assert "nowhere.json: no such file; the folder holds " in is_refused(*overwriting)
    assert all((user.run_dir(done) / f"8/seed-{seed}/results.json").is_file() for seed in (42, 43))


def test_overwriting_starts_anew(user: User, types, done: str):
    shutil.copytree(user.run_dir(done), user.run_dir("anew"))
    before = (user.run_dir("anew") / "4/seed-42" / CONFIG_FILE).stat().st_mtime_ns
    types(*study("anew", "--few_shot", 4, "--samples", 1, "--overwrite_output_dir"))
    assert (user.run_dir("anew") / "4/seed-42" / CONFIG_FILE).stat().st_mtime_ns > before


# --------------------------------------------------------------------------------------------------------------------
# Models
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["theirs", "original"])
def test_published_formats_are_the_same_model(user: User, types, folder: str):
    """With the pretrained head kept and nothing trained."""
    frozen = ["--learning_rate", 0, "--initialize_new_qass", "false", "--precision", "fp32"]
    scores = {}
    for name in ("splinter", folder):
        types(*words_of(name, f"frozen-{name}", *frozen, "--overwrite_output_dir"))
        scores[name] = load(user.run_dir(f"frozen-{name}") / "question_scores.json")
    assert scores["splinter"] == scores[folder]


def test_other_encoders(user: User, types, is_refused):
    electra = functools.partial(words_of, "sample_data/tiny-electra", "electra", "--from_scratch")
    error = is_refused(*electra())
    assert "Splinter is made of BERT, and this is electra" in error and "--head linear takes any encoder" in error
    types(*electra("--head", "linear", "--few_shot", 4, "--samples", 1))
    assert load(user.run_dir("electra") / "4/seed-42/results.json")["config"]["head"] == "linear"


def test_the_encoder_of_a_splinter_with_an_ordinary_head(user: User, types):
    types(*words_of("splinter", "linear", "--head", "linear"))
    types(*words_of("theirs", "linear-theirs", "--head", "linear"))
    ours, theirs = (reader_of(user, folder, head="linear") for folder in ("splinter", "theirs"))
    assert ours.special == theirs.special and len(ours.special.middle) == 1
    encoders = [reader.model.network.base_model.state_dict() for reader in (ours, theirs)]
    assert encoders[0].keys() == encoders[1].keys()
    assert all(torch.equal(encoders[0][key], encoders[1][key]) for key in encoders[0])


def test_a_vocabulary_without_the_question_token(user: User, types, is_refused):
    folder = user.folder / "bert"
    shutil.copytree(user.folder / "sample_data/tiny-electra", folder)
    vocabulary = str(folder / "vocab.txt")
    size = len(BertTokenizer(vocab=vocabulary))
    build_splinter(BertConfig(vocab_size=size, **SIZES)).bert.save_pretrained(folder)
    error = is_refused(*words_of("bert", "bert"))
    assert error == (
        "the vocabulary has no [QUESTION], which stands where the answer is asked for: --add_question_token adds it"
    )
    types(*words_of("bert", "bert", "--add_question_token"))
    saved = build_tokenizer(None, user.run_dir("bert") / "checkpoint-1")
    assert saved.get_vocab()[QUESTION] == size
    # The checkpoint has it, and need not be given it again.
    words = without_model(words_of("bert", "bert", "--add_question_token", "--do_eval", steps=["--no_cuda"]))
    types(*words)


@pytest.mark.parametrize("compat", [[], ["--kosplinter_compat"]], ids=["ours", "compat"])
def test_a_fine_tuned_splinter_of_others_by_its_name(user: User, types, is_refused, compat: list[str]):
    """In the original's format, whose config.json says nothing of [QUESTION]; the head is the one that was trained."""
    name = f"tuned{len(compat)}"
    types(*study(name, *compat))
    checkpoint, folder = user.run_dir(name) / "checkpoint-1", user.folder / f"{name}-original"
    export_splinter(build_splinter(checkpoint), folder, "original")
    config = load(folder / "config.json")
    for key in ("question_token_id", "hidden_token_id", "kosplinter_compat", "qass"):
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    build_tokenizer(None, checkpoint).save_pretrained(folder)

    words = ["--model_name_or_path", folder.name, "--data_dir", "sample_data", *LENGTHS, "--no_cuda"]
    types(*words, *compat, "--do_eval")
    found = user.run_dir(f"{folder.name}-korquad-few-shot-eval")
    assert load(found / "predictions.json") == load(user.run_dir(name) / "predictions.json")
    assert load(found / "results.json")["training"] is None
    error = is_refused(*words, "--do_eval", "--initialize_new_qass")
    assert error.startswith("--initialize_new_qass has no effect on a model that --model_name_or_path names")
    assert "holds no trained head" in is_refused(*words, "--do_eval", "--head", "linear")


def test_a_checkpoint_of_a_run_by_its_path(user: User, types, is_refused):
    """How its head began is not asked for again."""
    types(*study("pretrained-head", "--initialize_new_qass", "false"))
    words = words_of("ckpt/pretrained-head/checkpoint-1", "by-path", "--do_eval", steps=["--no_cuda"])
    types(*words)
    found = user.run_dir("by-path")
    assert load(found / "predictions.json") == load(user.run_dir("pretrained-head") / "predictions.json")
    assert load(found / "results.json")["config"]["initialize_new_qass"] is False
    assert "were trained with head qass (asked for now: linear)" in is_refused(*words, "--head", "linear")


def test_heads_of_splinter_that_are_not_there(user: User, is_refused):
    build_splinter(user.folder / "splinter").bert.save_pretrained(user.folder / "bare")
    build_tokenizer(None, user.folder / "splinter").save_pretrained(user.folder / "bare")
    words = ["--data_dir", "sample_data", *LENGTHS, "--no_cuda", "--do_eval", "--model_name_or_path"]
    error = is_refused(*words, "theirs", "--head", "linear")
    assert error == "theirs holds the qass head of a Splinter, and none that is linear: --head qass"
    assert "holds no span selection head" in is_refused(*words, "bare")


# --------------------------------------------------------------------------------------------------------------------
# What is refused
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_text_that_asks_by_itself(user: User, types, is_refused):
    content = load(user.folder / DATA)
    paragraphs = content["data"][0]["paragraphs"] + content["data"][1]["paragraphs"]
    qas = [qa for paragraph in paragraphs for qa in paragraph["qas"]]
    qas[0]["question"] += " [QUESTION]"
    folder = user.folder / "asking/korquad"
    folder.mkdir(parents=True)
    (folder / "KorQuAD_v1.0_train.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    shutil.copy(user.folder / "sample_data/korquad/KorQuAD_v1.0_dev.json", folder)
    words = [word if word != "sample_data" else "asking" for word in study("asking")]
    error = is_refused(*words)
    assert error.startswith(f"question {qas[0]['id']!r} or its context holds [QUESTION], which stands where")
    assert error.endswith("questions of this kind: 1. --skip_bad_rows leaves them out")
    finished = types(*words, "--skip_bad_rows", "--overwrite_output_dir")
    assert f"questions left out that hold [QUESTION], first {qas[0]['id']!r}: 1" in finished.err
    # Also of those that are scored, and with an ordinary head, so that both learn and are scored on the same.
    shutil.copy(folder / "KorQuAD_v1.0_train.json", folder / "KorQuAD_v1.0_dev.json")
    types(*words, "--skip_bad_rows", "--overwrite_output_dir")
    assert qas[0]["id"] not in load(user.run_dir("asking") / "question_scores.json")
    linear = [word if word != "splinter" else "sample_data/tiny-electra" for word in words]
    types(*linear, "--head", "linear", "--from_scratch", "--skip_bad_rows", "--overwrite_output_dir")
    assert qas[0]["id"] not in load(user.run_dir("asking") / "question_scores.json")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--few_shot", 16, "--samples", 0], "--samples must be greater than or equal to 1, not 0"),
        (["--few_shot", 0], "--few_shot must be one or more numbers of questions above 0, or full, not [0]"),
        (["--few_shot", 16, "ful"], '--few_shot must be a list of whole numbers or full, not [16, "ful"]'),
        (["--few_shot", 16, 16], "--few_shot must not name a size twice, not [16, 16]"),
        (["--few_shot", 16, "--seeds", 1, 2], "give seed and samples instead of seeds"),
        (["--few_shot", 16, "--do_predict", "--input_file", "x"], "few_shot trains and scores each sample"),
        (["--few_shot", 16, "--full_train_epochs", 3], "--full_train_epochs has no effect without full"),
        (["--few_shot", "full", "--num_train_epochs", 3], "--num_train_epochs has no effect on full"),
        (["--samples", 2], "--samples has no effect without few_shot"),
        (["--num_train_epochs", 2], "with all questions it is --full_train_epochs"),
        (["--head", "linear", "--kosplinter_compat"], "--kosplinter_compat has no effect on head linear"),
        (["--head", "linear", "--initialize_new_qass", "false"], "--initialize_new_qass has no effect on head linear"),
        (["--attention", "full"], "attention is a setting of BigBird models"),
        (["--min_steps", 9, "--max_steps", 9], "--min_steps has no effect beside max_steps"),
        (["--task", "korquad"], "korquad is a task of run_squad.py; those of this script: korquad-few-shot"),
    ],
)
def test_settings_that_do_not_go_together(is_refused, words: list, message: str):
    assert message in is_refused("--model_name_or_path", "splinter", "--data_dir", "sample_data", *words)


def test_other_weights_of_the_same_name_are_another_model(user: User, types, is_refused):
    folder = user.folder / "changing"
    shutil.copytree(user.folder / "splinter", folder)
    words = words_of("changing", "changing", "--few_shot", 4, "--samples", 1)
    types(*words)
    torch.manual_seed(1)
    tokenizer = build_tokenizer(None, folder)
    build_splinter(BertConfig(vocab_size=len(tokenizer), **SIZES)).save_pretrained(folder)
    other_size = [*words[:-3], 8, *words[-2:]]
    for asked in (words, other_size):
        assert "the runs in ckpt/changing differ from those asked for now in weights of the model" in is_refused(*asked)
    types(*words, "--overwrite_output_dir")
    assert "1 of them are finished" in types(*words).out


def test_what_a_killed_study_left_behind_goes_when_it_goes_on(user: User, types, done: str):
    folder = user.run_dir("killed")
    shutil.copytree(user.run_dir(done), folder)
    left = [folder / "4/seed-42/checkpoint-3", folder / "8/seed-43/.checkpoint-3.0123456789abcdef.tmp"]
    for path in left:  # it was scored, but its models were not deleted, or not all of them
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"weights")
    files = ["study.json", "4/seeds.json", "8/seed-42/results.json"]
    left += [(folder / name).with_name(f".{Path(name).name}.0123456789abcdef.tmp") for name in files]
    left.append(user.folder / "cache/.features-00.arrow.0123456789abcdef.tmp")
    for path in left[2:]:
        path.write_text("half")
    types(*study("killed", *FEW))
    assert not [path for path in left if path.exists()]


def test_a_run_without_its_scores_is_run_again_and_a_file_in_its_place_is_named(user: User, types, is_refused):
    words = study("patched", "--few_shot", 4, "--samples", 1)
    types(*words)
    scores = user.run_dir("patched") / "4/seed-42/question_scores.json"
    before = scores.read_bytes()
    scores.unlink()
    types(*words)
    assert scores.read_bytes() == before
    (user.run_dir("patched") / "8").touch()
    error = is_refused(*study("patched", "--few_shot", 8, "--samples", 1))
    assert "ckpt/patched/8/seed-42" in error


def test_an_answer_that_attention_does_not_see(user: User):
    """Its loss would be ten thousand: more than all others, and nothing to learn from."""
    reader = reader_of(user, "splinter")
    rows = read_squad(QA_TASKS[0], user.folder / DATA)
    context = "답은 [SEP]이고 그다음은 나무이다."
    rows.contexts.append(context)
    for text in ("[SEP]", "나무"):
        start = context.index(text)
        rows.add(f"new {text}", "답은?", len(rows.contexts) - 1, (text,), (start, start + len(text)))
    said = []
    reader.runtime.say_once = said.append
    features, hidden_id = reader.windows(rows), reader.model.network.config.hidden_token_id
    gold = without_hidden_ends(reader.runtime, features, GoldSpans.of(features), hidden_id)
    assert gold.first[-2] == gold.last[-2] == -1 < gold.first[-1]
    (line,) = said
    assert line.startswith("answers that begin or end at a token hidden from attention, learned as not there: ")


def test_more_questions_than_there_are(user: User, is_refused):
    error = is_refused(*study("too-many", "--few_shot", 4, 5000))
    assert error.startswith("few_shot 5000: there are only 1")
    assert not (user.run_dir("too-many") / "4").exists()


def test_a_checkpoint_of_something_else(user: User, is_refused):
    torch.manual_seed(0)
    folder = user.folder / "extra"
    shutil.copytree(user.folder / "splinter", folder)
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["bert.encoder.layer.7.output.dense.bias"] = weights.pop("qass.start_classifier.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    error = is_refused(*words_of("extra", "extra", "--initialize_new_qass", "false"))
    assert "missing: qass.start_classifier.weight" in error and "unknown: bert.encoder.layer.7" in error
