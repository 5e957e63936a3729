"""python3 -m pytest tests/scripts/test_run_seq_cls.py

`run_seq_cls.py` as a user runs it: train, evaluate, predict, stop, go on, on the sample data.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import make_sample_data
from conftest import BRIEFLY, REPOSITORY, User, nsmc, sample, snapshot
from processors import TASKS_OF_SCRIPT

# The score of somebody who has not read the texts. The samples can be learned far beyond it.
CHANCE = {
    "nsmc": 0.5, "kornli": 1 / 3, "korsts": 0.0, "paws": 0.5, "question-pair": 0.5, "hate-speech": 1 / 3,
    "fake-news": 0.5, "modu-sentiment": 1 / 5,
}  # fmt: skip
FAST = {
    "nsmc": ["--precision", "fp32", "--weight_decay", "0.01"],
    "kornli": ["--save_optimizer"],
    "korsts": ["--precision", "bf16"],
}
RESULTS_KEYS = set(
    "task model model_name_or_path pretraining seed split main_metric metrics rows selection checkpoint step at_chance "
    "original_figures evaluations training hardware versions data data_source git_commit config".split()
)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))


def table_of(path: Path) -> list[dict[str, str]]:
    return table(path.read_text(encoding="utf-8"))


def mean_of_batches(losses: list[float], size: int) -> float:
    """The evaluation loss as KoELECTRA's loop adds it up, batch by batch."""
    batches = [losses[at : at + size] for at in range(0, len(losses), size)]
    return sum(sum(batch) / len(batch) for batch in batches) / len(batches)


def checkpoints(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.glob("checkpoint-[0-9]*"))


def test_every_task_has_a_sample_configuration_here():
    with_sample = {path.parent.name for path in (REPOSITORY / "config").glob("*/sample.json")}
    mine = {task.name for task in TASKS_OF_SCRIPT["run_seq_cls.py"] if not task.name.startswith("klue-")}
    assert set(CHANCE) == with_sample & mine  # test_run_klue.py has the others
    assert with_sample == set(make_sample_data.TASKS) | {"spanbert", "splinter"}


@pytest.fixture(scope="session")
def trained(user: User):
    """Trains a task with its `sample.json`, once; returns its results and what stood on standard output."""
    done: dict[str, tuple[dict, str]] = {}

    def train(task: str) -> tuple[dict, str]:
        if task not in done:
            finished = user.types(*sample(task, task, *FAST.get(task, ())))
            done[task] = user.results(task), finished.out
        return done[task]

    return train


@pytest.mark.parametrize(
    "task", [task if task in FAST else pytest.param(task, marks=pytest.mark.slow) for task in CHANCE]
)
def test_a_task_is_learned_and_its_score_can_be_computed_from_its_predictions(trained, user, task):
    results, out = trained(task)
    metric = results["main_metric"]
    score = results["metrics"][metric]
    assert score > CHANCE[task] + 0.4 * (1 - CHANCE[task])
    assert results["at_chance"] is False
    assert f"{metric} {score:.4f}" in out and task in out

    rows = table_of(user.run_dir(task) / "predictions.tsv")
    labels, predictions = [row["label"] for row in rows], [row["prediction"] for row in rows]
    pairs = list(zip(labels, predictions, strict=True))
    batch_size = results["config"]["eval_batch_size"]
    if task == "korsts":
        expected = rank_correlation([float(label) for label in labels], [float(p) for p in predictions])
        assert results["metrics"]["spearman"] == pytest.approx(expected, abs=1e-3)
        losses = [(float(label) - float(prediction)) ** 2 for label, prediction in pairs]
        assert results["original_figures"] == {
            "loss_published_style": pytest.approx(mean_of_batches(losses, batch_size)),
            "mean_of_pearson_and_spearman": pytest.approx(
                (results["metrics"]["pearson"] + results["metrics"]["spearman"]) / 2
            ),
        }
        return
    hits = [label == prediction for label, prediction in pairs]
    assert results["metrics"]["accuracy"] == pytest.approx(sum(hits) / len(hits), abs=1e-9)
    losses = [-math.log(float(row[f"p({row['label']})"])) for row in rows]
    loss = mean_of_batches(losses, batch_size)
    assert results["original_figures"] == {"loss_published_style": pytest.approx(loss, rel=1e-4)}
    for row in rows:
        shares = {key[2:-1]: float(value) for key, value in row.items() if key.startswith("p(")}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
        assert shares[row["prediction"]] == max(shares.values())


@pytest.mark.slow
def test_rows_held_out_by_one_seed_are_not_scored_with_a_run_of_another(trained, user):
    trained("modu-sentiment")
    message = user.is_refused(*sample("modu-sentiment", "modu-sentiment", "--do_eval", "--seed", 7))
    assert "seed 42" in message and "7" in message
    assert user.results("modu-sentiment")["seed"] == 42


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's: the correlation of ranks, equal values sharing the mean of theirs."""

    def ranks(values: list[float]) -> np.ndarray:
        array = np.array(values)
        return np.array([(array < value).sum() + ((array == value).sum() - 1) / 2 for value in array])

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def test_what_a_finished_run_leaves(trained, user):
    results, _ = trained("nsmc")
    folder = user.run_dir("nsmc")
    assert set(results) == RESULTS_KEYS
    # 2,000 rows in batches of 32 are 62.5 steps an epoch; three epochs.
    assert (results["task"], results["model"], results["seed"], results["split"]) == (
        "nsmc",
        "tiny-electra",
        42,
        "test",
    )
    assert results["training"]["steps"] == 3 * 63 and results["training"]["epochs"] == 3
    assert results["training"]["rows_per_second"] > 0 and results["training"]["tokens_per_second"] > 0
    assert 0 < results["training"]["padding_ratio"] < 1 and results["training"]["stopped_early"] is False
    assert results["training"]["peak_memory_bytes"] > 50e6
    assert results["hardware"]["device"] in ("cpu", "cuda") and results["hardware"]["precision"] == "fp32"
    assert {"torch", "transformers", "tokenizers", "numpy"} <= set(results["versions"])
    assert set(results["data"]) == {f"sample_data/nsmc/ratings_{split}.txt" for split in ("train", "test")}
    assert all(len(digest) == 64 for digest in results["data"].values())
    assert results["config"]["learning_rate"] == 5e-4 and results["config"]["save_total_limit"] == 2
    assert results["config"] == json.loads((folder / "run_config.json").read_text(encoding="utf-8"))

    # No dev split: the test file is evaluated, and that it was, is said.
    scores = {line["step"]: line["metrics"]["accuracy"] for line in user.log("nsmc", "evaluation")}
    assert list(scores) == [63, 126, 189] and results["selection"] == "test"
    best = max(scores, key=lambda step: (scores[step], -step))
    assert results["step"] == best and results["checkpoint"] == f"checkpoint-{best}"
    losses = [line["loss"] for line in user.log("nsmc", "train")]
    assert [line["step"] for line in user.log("nsmc", "train")] == [*range(20, 189, 20), 189]
    assert losses[0] == pytest.approx(math.log(2), abs=0.1) and losses[-1] < 0.4 * losses[0]

    assert len(checkpoints(folder)) == 2 and {best, 189} <= set(checkpoints(folder))
    states = [path.parent.name for path in folder.glob("checkpoint-*/training_state.pt")]
    assert states == ["checkpoint-189"]


def test_with_save_optimizer_every_checkpoint_can_be_gone_on_from(trained, user):
    trained("kornli")
    folder = user.run_dir("kornli")
    assert len(list(folder.glob("checkpoint-*/training_state.pt"))) == len(checkpoints(folder)) == 2


def test_a_checkpoint_is_a_model_for_plain_transformers(trained, user):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    results, _ = trained("nsmc")
    folder = user.run_dir("nsmc") / results["checkpoint"]
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    assert tokenizer.tokenize("한국어 영화") and "[UNK]" not in tokenizer.tokenize("한국어 영화")
    model.eval()
    assert model.config.id2label == {0: "0", 1: "1"}
    rows = table_of(user.run_dir("nsmc") / "predictions.tsv")
    texts = [row["text1"].replace("\\t", "\t") for row in rows]
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.no_grad():
        shares = model(**inputs).logits.softmax(-1)
    assert [model.config.id2label[i] for i in shares.argmax(-1).tolist()] == [row["prediction"] for row in rows]
    assert shares[:, 1].tolist() == pytest.approx([float(row["p(1)"]) for row in rows], abs=2e-4)


def test_evaluating_again_gives_the_same_score_and_keeps_what_is_known_of_the_training(trained, user):
    before, _ = trained("nsmc")
    finished = user.types(*nsmc("nsmc", "--do_eval", "--eval_all_checkpoints", "false", "--precision", "fp32"))
    after = user.results("nsmc")
    assert f"accuracy {before['metrics']['accuracy']:.4f}" in finished.out
    for key in ("metrics", "checkpoint", "step", "training", "data", "at_chance"):
        assert after[key] == before[key], key
    assert after["config"]["weight_decay"] == 0.01  # of the training, though this command did not say so


def test_more_epochs(user):
    """A finished run is not made longer by --resume, and the way that the message names works."""
    user.types(*nsmc("one-epoch", "--max_steps", 2, "--eval_steps", 0, "--no_cuda"))
    longer = nsmc("one-epoch", "--max_steps", 4, "--eval_steps", 0, "--no_cuda", "--resume")
    checkpoint = user.run_dir("one-epoch") / "checkpoint-2"
    way = f"--model_name_or_path ckpt/one-epoch/{checkpoint.name} --from_scratch false"  # sample.json is from scratch
    assert f"{way} --output_dir NAME with" in user.is_refused(*longer)
    user.types(*nsmc("further", *way.split(), "--max_steps", 2, "--eval_steps", 0, "--no_cuda"))
    assert user.results("further")["step"] == 2 and user.results("further")["config"]["from_scratch"] is False


def test_predictions_on_a_file_go_to_standard_output(trained, user):
    trained("nsmc")
    file = user.folder / "sample_data" / "texts.txt"
    finished = user.types(*nsmc("nsmc", "--do_predict", "--input_file", file, "--output_file", "-"))
    assert [row["text1"] for row in table(finished.out)] == file.read_text(encoding="utf-8").splitlines()
    assert not (user.folder / "-").exists()


def test_texts_from_standard_input_are_labelled_on_standard_output(trained, user):
    trained("nsmc")
    texts = (user.folder / "sample_data" / "texts.txt").read_text(encoding="utf-8")
    environment = user.environment | {"PYTHONIOENCODING": "ascii"}  # Korean comes out of any terminal
    finished = user.types(*nsmc("nsmc", "--do_predict", "--input_file", "-"), stdin=texts, env=environment)
    rows = table(finished.out)
    assert [row["text1"] for row in rows] == texts.splitlines()
    assert {row["prediction"] for row in rows} == {"0", "1"} and list(rows[0]) == [
        "prediction",
        "p(0)",
        "p(1)",
        "text1",
    ]


def test_pairs_from_a_file_are_labelled_into_a_file(trained, user):
    trained("kornli")
    pairs = "소년이 사과를 먹고 있다.\t아이가 과일을 먹고 있다.\r\n소년이 사과를 먹고 있다.\t\r\n"
    (user.folder / "pairs.txt").write_text(pairs, encoding="utf-8", newline="")
    words = sample("kornli", "kornli", "--do_predict")
    finished = user.types(*words, "--input_file", "pairs.txt")
    rows = table_of(user.run_dir("kornli") / "predictions-pairs.tsv")
    assert [(row["text1"], row["text2"]) for row in rows] == [tuple(line.split("\t")) for line in pairs.splitlines()]
    assert {row["prediction"] for row in rows} <= {"contradiction", "entailment", "neutral"}
    assert finished.out == "" and "empty texts" in finished.err
    user.types(*words, "--input_file", "pairs.txt", "--output_file", "elsewhere.tsv")
    assert table_of(user.folder / "elsewhere.tsv") == rows


def test_the_table_and_the_curves_show_the_run(trained, user):
    results, _ = trained("nsmc")
    shown = user.types("ckpt/nsmc", script="scripts/results_table.py").out
    assert f"{100 * results['metrics']['accuracy']:.2f}" in shown
    user.types("ckpt/nsmc", "--output", "curves", script="scripts/plot_runs.py")
    assert (user.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (user.folder / "curves.svg").read_text(encoding="utf-8")


def test_kornli_trains_on_several_files(user):
    words = sample("kornli", "both", *BRIEFLY)
    finished = user.types(*words, "--train_file", "multinli.train.ko.tsv", "snli_1.0_train.ko.tsv")
    assert "train: 3000 rows" in finished.err
    assert {Path(file).name for file in user.results("both")["data"]} == {
        "multinli.train.ko.tsv", "snli_1.0_train.ko.tsv", "xnli.dev.ko.tsv", "xnli.test.ko.tsv",
    }  # fmt: skip


def test_logging_evaluating_and_saving_every_so_many_steps(user, brief_run):
    assert [line["step"] for line in user.log(brief_run, "train")] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in user.log(brief_run, "evaluation")] == [2, 4, 6]
    assert checkpoints(user.run_dir(brief_run)) == [2, 4, 6]


@pytest.mark.parametrize("select_by", ["dev", "last", "test"])
def test_the_checkpoint_is_selected_as_asked(user, select_by):
    words = sample("question-pair", "selected")
    if not user.run_dir("selected").exists():
        user.types(*words, *BRIEFLY)
        log = user.run_dir("selected") / "metrics.jsonl"
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            if line["event"] == "evaluation" and line["step"] == 4:
                line["metrics"]["accuracy"] = 1.0
        log.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    finished = user.types(*words, "--do_eval", "--select_by", select_by)
    results = user.results("selected")
    tested = {e["step"]: e["metrics"]["accuracy"] for e in results["evaluations"] if e["split"] == "test"}
    assert sorted(tested) == [2, 4, 6]
    assert (
        results["step"] == {"dev": 4, "last": 6, "test": max(tested, key=lambda step: (tested[step], -step))}[select_by]
    )
    assert results["selection"] == select_by and results["metrics"]["accuracy"] == tested[results["step"]]
    assert {"dev": "best on dev", "last": "the last one", "test": "best on test"}[select_by] in finished.out


def test_a_run_that_learns_nothing_stops_early_and_is_flagged(user):
    rate = ["--learning_rate", "0", "--max_steps", "50"]
    finished = user.types(*nsmc("chance", *rate, "--early_stopping_patience", "2", "--eval_steps", "1"))
    results = user.results("chance")
    # Step 1 is the best there is; steps 2 and 3 are the two without gain.
    assert results["training"]["steps"] == 3 and results["training"]["stopped_early"] is True
    assert results["at_chance"] is True and finished.err.count("no better than chance") == 1
    assert "⚠" in user.types("ckpt/chance", script="scripts/results_table.py").out


def test_each_seed_has_its_folder_and_their_mean_is_reported(user):
    words = sample("korsts", "seeds", *BRIEFLY, "--seeds", 1, 2)
    finished = user.types(*words)
    summary = json.loads((user.run_dir("seeds") / "seeds.json").read_text(encoding="utf-8"))
    runs = [user.results(f"seeds/seed-{seed}") for seed in (1, 2)]
    assert [run["seed"] for run in runs] == [1, 2]
    a, b = (run["metrics"]["spearman"] for run in runs)
    assert a != b
    # The sample standard deviation of two values: their distance over the root of 2.
    assert summary["metrics"]["spearman"]["mean"] == pytest.approx((a + b) / 2)
    assert summary["metrics"]["spearman"]["std"] == pytest.approx(abs(a - b) / math.sqrt(2))
    assert f"{(a + b) / 2:.4f} ± {abs(a - b) / math.sqrt(2):.4f}" in finished.out

    shutil.rmtree(user.run_dir("seeds/seed-1"))
    before = snapshot(user.run_dir("seeds"))
    assert "seed-2" in user.is_refused(*words)
    assert snapshot(user.run_dir("seeds")) == before  # seed 1 was not trained for hours first


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_pooled_head_is_trained_read_back_and_used(user, pooling):
    words = ["--pooling", pooling, "--do_train", "--do_eval", "--do_predict", "--input_file", "sample_data/texts.txt"]
    user.types(*nsmc(pooling, *BRIEFLY, *words))
    results = user.results(pooling)
    logged = {line["step"]: line["metrics"] for line in user.log(pooling, "evaluation")}
    assert results["metrics"] == logged[results["step"]]  # the model in training, and the one read back
    assert len(table_of(user.run_dir(pooling) / "predictions-texts.tsv")) == 8
    message = user.is_refused(*nsmc(pooling, "--do_predict", "--input_file", "sample_data/texts.txt"))
    assert f"pooling {pooling}" in message and "cls" in message


def test_without_padding_the_losses_and_scores_are_the_padded_ones(user):
    model = user.folder / "no-dropout"
    shutil.copytree(user.folder / "sample_data" / "tiny-electra", model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name, words in (("unpadded", []), ("padded", ["--no_unpad"])):
        user.types(*nsmc(name, *BRIEFLY, "--model_name_or_path", model, "--precision", "fp32", *words))
    losses = [[line["loss"] for line in user.log(name, "train")] for name in ("unpadded", "padded")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert user.results("unpadded")["metrics"] == user.results("padded")["metrics"]


@pytest.mark.slow
def test_from_another_folder_with_absolute_paths_and_a_json_file_of_ones_own_it_is_the_same_run(user, brief_run):
    elsewhere = user.folder / "else where"
    elsewhere.mkdir()
    settings = json.loads((REPOSITORY / "config/nsmc/sample.json").read_text(encoding="utf-8"))
    settings |= {"task": "nsmc", "data_dir": str(user.folder / "sample_data"), "output_dir": "mine"}
    settings |= {"model_name_or_path": str(user.folder / "sample_data" / "tiny-electra")}
    (elsewhere / "내 설정.json").write_text(json.dumps(settings), encoding="utf-8")
    user.types("--config_file", "내 설정.json", *BRIEFLY, cwd=elsewhere)
    assert (elsewhere / "ckpt/mine/results.json").is_file()
    lines = [json.loads(line) for line in (elsewhere / "ckpt/mine/metrics.jsonl").read_text("utf-8").splitlines()]
    losses = [line["loss"] for line in lines if line["event"] == "train"]
    assert losses == [line["loss"] for line in user.log(brief_run, "train")]


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Reads what the command says until `text` is in a line."""
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the command ended without {text!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_stopped_by_a_signal_it_saves_and_the_printed_command_goes_on(user, number):
    name = f"stopped by {number.name}"  # a folder that has to be quoted
    process = user.starts(*nsmc(name, "--max_steps", 60, "--logging_steps", 1, "--overwrite_output_dir", "true"))
    wait_for(process, "train 3/60")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and out == ""
    (saved,) = checkpoints(user.run_dir(name))
    assert 3 <= saved < 60 and f"checkpoint-{saved}" in err

    printed = err.strip().splitlines()[-1].strip()
    path = f"{Path(sys.executable).parent}:{user.environment['PATH']}"
    environment = user.environment | {"PATH": path}
    done = subprocess.run(printed, shell=True, cwd=user.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"checkpoint-{saved}" in done.stderr
    assert [line["step"] for line in user.log(name, "train")] == list(range(1, 61))
    assert user.results(name)["training"]["steps"] == 60


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_the_step(user):
    # A step over all rows takes a second or more; after the first Ctrl-C alone, it would be finished and saved.
    process = user.starts(
        *nsmc("impatient", "--train_batch_size", 2000, "--save_steps", 0, "--eval_steps", 0, "--logging_steps", 1)
    )
    wait_for(process, "train 1/")
    for _ in range(3):
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in err and "--resume" in err
    assert checkpoints(user.run_dir("impatient")) == []


def test_a_finished_run_that_is_resumed_stays_as_it_is(user, copied_run):
    before = snapshot(user.run_dir(copied_run))
    user.types(*nsmc(copied_run, *BRIEFLY, "--resume"))
    after = snapshot(user.run_dir(copied_run))
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {"results.json", "run_config.json", "training.json"}
    old, new = json.loads(before["results.json"]), json.loads(after["results.json"])
    for key in ("metrics", "checkpoint", "selection", "at_chance"):
        assert new[key] == old[key]


def test_an_earlier_run_is_kept_unless_the_command_line_says_otherwise(user, copied_run):
    folder = user.run_dir(copied_run)
    for foreign in ("notes.txt", "checkpoint-mine/weights.bin", "mine/results.json"):
        (folder / foreign).parent.mkdir(exist_ok=True)
        (folder / foreign).write_text("내 것", encoding="utf-8")
    before = snapshot(folder)
    message = user.is_refused(*nsmc(copied_run))
    assert copied_run in message and "--resume" in message and "--overwrite_output_dir" in message

    settings = json.loads((REPOSITORY / "config/nsmc/sample.json").read_text(encoding="utf-8"))
    (user.folder / "overwrite.json").write_text(json.dumps(settings | {"overwrite_output_dir": True}), encoding="utf-8")
    words = ["--task", "nsmc", "--config_file", "overwrite.json", "--output_dir", copied_run]
    assert "--overwrite_output_dir" in user.is_refused(*words)
    # Nothing goes before the new run can start.
    user.is_refused(*nsmc(copied_run, "--overwrite_output_dir", "--data_dir", "nowhere"))
    assert snapshot(folder) == before

    user.types(*nsmc(copied_run, "--overwrite_output_dir", "--max_steps", "3", "--no_cuda"))
    assert checkpoints(folder) == [3]
    assert [line["step"] for line in user.log(copied_run, "train")] == [3]
    for foreign in ("notes.txt", "checkpoint-mine/weights.bin", "mine/results.json"):
        assert (folder / foreign).read_text(encoding="utf-8") == "내 것"
