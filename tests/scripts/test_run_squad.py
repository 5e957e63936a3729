"""python3 -m pytest tests/scripts/test_run_squad.py

`run_squad.py` as a user runs it: train, score, answer, stop, go on, on the sample data; and what it refuses.
"""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import pytest

from conftest import BRIEFLY, ONE_STEP, User, sample, snapshot
from processors.qa.answer_scores import score
from processors.qa.squad_scores import squad_figures
from training.results import METRICS_FILE

SCRIPT = "run_squad.py"
squad = functools.partial(sample, "korquad")
LEFT = {"predictions.json", "nbest_predictions.json", "results.json", "run_config.json", "training.json", METRICS_FILE}
V2 = [
    *("--version_2_with_negative", "--train_file", "KorQuAD_v2.0_sample_train.json"),
    *("--predict_file", "KorQuAD_v2.0_sample_dev.json"),
]


@pytest.fixture(scope="module")
def brief(user: User, types) -> str:
    """The output folder of a finished run with checkpoints 2, 4 and 6. To change it, copy it."""
    types(*squad("qa-brief", *BRIEFLY, "--save_optimizer"), fresh=True)
    return "qa-brief"


def questions_of(path: Path) -> dict[str, tuple[str, dict]]:
    """Question id -> context and question, of a file in the SQuAD format."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    return {qa["id"]: (paragraph["context"], qa) for paragraph in paragraphs for qa in paragraph["qas"]}


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def edited(user: User, name: str, change) -> str:
    """A copy of the dev file, changed; its absolute path."""
    content = load(user.folder / "sample_data/korquad/KorQuAD_v1.0_dev.json")
    change(content["data"][0]["paragraphs"][0])
    path = user.folder / f"{name}.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return str(path)


def test_what_a_run_leaves(user: User, brief: str):
    folder = user.run_dir(brief)
    assert {path.name for path in folder.iterdir() if path.is_file()} == LEFT
    questions = questions_of(user.folder / "sample_data/korquad/KorQuAD_v1.0_dev.json")
    predictions, best = load(folder / "predictions.json"), load(folder / "nbest_predictions.json")
    assert set(predictions) == set(best) == set(questions)
    for id, (context, _) in questions.items():
        answers = best[id]
        assert predictions[id] == answers[0]["text"] and predictions[id] in context
        assert len({answer["text"] for answer in answers}) == len(answers) <= 20
        assert [a["score"] for a in answers] == sorted((a["score"] for a in answers), reverse=True)
        assert sum(a["probability"] for a in answers) == pytest.approx(1)
    # The scores can be computed again from what the official script would read.
    golds = {id: [answer["text"] for answer in qa["answers"]] for id, (_, qa) in questions.items()}
    assert user.results(brief)["metrics"] == pytest.approx(score(predictions, golds))
    assert user.results(brief)["original_figures"] == pytest.approx(
        {"total": len(golds), "has_ans_total": len(golds)} | squad_figures(predictions, golds)
    )
    assert [e["step"] for e in user.results(brief)["evaluations"]] == [2, 4, 6]


def test_resumed_it_is_the_run_that_was_never_stopped(user: User, types, brief: str):
    whole, resumed = user.run_dir(brief), user.run_dir("qa-resumed")
    shutil.copytree(whole, resumed, ignore=shutil.ignore_patterns("checkpoint-6", "results.json", "predictions.json"))
    types(*squad("qa-resumed", *BRIEFLY, "--save_optimizer", "--resume"))
    first, again = (folder / "checkpoint-6" / "model.safetensors" for folder in (whole, resumed))
    assert first.read_bytes() == again.read_bytes()
    assert load(whole / "predictions.json") == load(resumed / "predictions.json")


def test_evaluated_and_used_on_another_day(user: User, types, is_refused, brief: str):
    name = "qa-later"
    shutil.copytree(user.run_dir(brief), user.run_dir(name))
    before = load(user.run_dir(name) / "predictions.json")
    types(*squad(name, "--do_eval"))
    assert load(user.run_dir(name) / "predictions.json") == before
    assert user.results(name)["metrics"] == user.results(brief)["metrics"]
    # How answers are decoded may change, what the model was trained on may not.
    types(*squad(name, "--do_eval", "--max_answer_length", 1, "--n_best_size", 3))
    assert all(len(answers) <= 3 for answers in load(user.run_dir(name) / "nbest_predictions.json").values())
    assert "doc_stride" in is_refused(*squad(name, "--do_eval", "--doc_stride", 32))

    source = user.folder / "sample_data/questions.json"
    types(*squad(name, "--do_predict", "--input_file", source))
    predictions = load(user.run_dir(name) / "predictions-questions.json")
    assert set(load(user.run_dir(name) / "nbest_predictions-questions.json")) == set(predictions)
    assert all(predictions[id] in context for id, (context, _) in questions_of(source).items())
    finished = types(*squad(name, "--do_predict", "--input_file", "-"), stdin=source.read_text(encoding="utf-8"))
    assert json.loads(finished.out) == predictions
    types(*squad(name, "--do_predict", "--input_file", source, "--output_file", "answers.json"))
    assert load(user.folder / "answers.json") == predictions


def test_unanswerable_questions(user: User, types, is_refused):
    message = is_refused(*squad("qa-v2", *ONE_STEP, *V2[1:]))
    assert "has no answer: --version_2_with_negative takes such data" in message
    types(*squad("qa-v2", *ONE_STEP, *V2))
    metrics, figures = (user.results("qa-v2")[key] for key in ("metrics", "original_figures"))
    assert (
        figures["total"] == figures["has_ans_total"] + figures["no_ans_total"] == user.results("qa-v2")["rows"]["test"]
    )
    assert {"squad_exact", "squad_has_ans_f1", "squad_no_ans_exact", "squad_best_f1"} <= set(figures)
    assert {"has_ans_em", "no_ans_f1", "best_f1", "best_f1_threshold"} <= set(metrics)
    odds = load(user.run_dir("qa-v2") / "null_odds.json")
    predictions = load(user.run_dir("qa-v2") / "predictions.json")
    assert all((predictions[id] == "") == (value > 0) for id, value in odds.items())
    # The threshold that is called best gives the score that is called best.
    threshold = ["--null_score_diff_threshold", f"{metrics['best_f1_threshold']:e}"]
    types(*squad("qa-v2", "--do_eval", *V2, *threshold))
    assert user.results("qa-v2")["metrics"]["f1"] == pytest.approx(metrics["best_f1"])


def shift(paragraph: dict) -> None:
    paragraph["qas"][0]["answers"][0]["answer_start"] += 100_000


@pytest.mark.parametrize(
    "change, problem",
    [
        (shift, "is outside the context"),
        (lambda p: p.update(context=""), "the context is empty"),
        (lambda p: p["qas"][0].pop("question"), 'no text "question"'),
        (lambda p: p["qas"].append(p["qas"][0]), "another question has the same id"),
        (lambda p: p["qas"][0]["answers"][0].update(answer_start="7"), "a whole number"),
        (lambda p: p.pop("qas"), 'no list "qas"'),
    ],
)
def test_broken_files(user: User, is_refused, types, change, problem: str):
    name = f"broken-{problem.replace(' ', '-').replace(chr(34), '')}"
    path = edited(user, name, change)
    message = is_refused(*squad("qa-refused", "--predict_file", path))
    assert problem in message and path in message
    assert not user.run_dir("qa-refused").exists() or snapshot(user.run_dir("qa-refused")) == {}


def test_answers_that_are_not_where_they_should_be(user: User, types):
    def change(paragraph: dict) -> None:
        paragraph["qas"][0]["answers"][0]["text"] = "아무 데도 없는 답"

    path = edited(user, "lost", change)
    finished = types(*squad("qa-lost", *ONE_STEP, "--train_file", path))
    first = next(iter(questions_of(Path(path))))
    assert "of no use in training" in finished.err and repr(first) in finished.err and path in finished.err


def test_training_questions_that_are_all_lost(user: User, is_refused):
    def change(paragraph: dict) -> None:
        for qa in paragraph["qas"]:
            qa["answers"][0]["text"] = "아무 데도 없는 답"

    content = load(user.folder / "sample_data/korquad/KorQuAD_v1.0_train.json")
    content["data"] = [{"paragraphs": content["data"][0]["paragraphs"][:1]}]
    change(content["data"][0]["paragraphs"][0])
    path = user.folder / "all-lost.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    message = is_refused(*squad("qa-all-lost", *ONE_STEP, "--train_file", path.absolute()))
    assert message.startswith("train: no answer ") and "answer_start" in message and "\n" not in message
    assert snapshot(user.run_dir("qa-all-lost")) == {}


def test_commands_that_cannot_be(is_refused):
    wrong = ["--max_seq_len", 128, "--doc_stride", "wide", "--null_score_diff_threshold", 1]
    message = is_refused(*squad("qa-wrong", *wrong))
    assert "unknown flag --max_seq_len; did you mean '--max_seq_length'?" in message
    assert '--doc_stride must be a whole number, not "wide"' in message
    assert "--null_score_diff_threshold has no effect without version_2_with_negative" in message
    assert "doc_stride 125 must be smaller than the 125 tokens" in is_refused(*squad("qa-wrong", "--doc_stride", 125))
    assert "no room for a context" in is_refused(*squad("qa-wrong", "--max_seq_length", 60, "--doc_stride", 1))
    assert "nowhere.json: no such file" in is_refused(*squad("qa-wrong", "--predict_file", "nowhere.json"))
    assert "nsmc is a task of run_seq_cls.py" in is_refused("--task", "nsmc", "--config_file", "sample.json")


@pytest.mark.slow
def test_learns_to_answer(user: User, types):
    types(*squad("qa-learned"), timeout=900)
    metrics = user.results("qa-learned")["metrics"]
    assert metrics["em"] > 0.5 and metrics["f1"] > 0.6  # another fact of the right paragraph: about 0.12
    losses = [line["loss"] for line in user.log("qa-learned", "train")]
    assert losses[-1] < 0.3 * losses[0]
    assert not user.results("qa-learned")["at_chance"]
