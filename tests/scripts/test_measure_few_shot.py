"""What is measured of a Splinter with few questions: which runs are made, and what is written about them."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import measure_few_shot
from conftest import User

SCRIPT = "scripts/measure_few_shot.py"
HELD_OUT = {
    "event": "evaluation",
    "step": 9,
    "split": "held_out",
    "metrics": {"loss": 4.5, "span_em": 0.25, "span_em_1": 1.0},
}


def squad(articles: int, name: str) -> str:
    def article(number: int) -> dict[str, Any]:
        context = f"{name} {number}은 서울에 있다."
        answers = [{"text": "서울", "answer_start": context.index("서울")}]
        questions = [{"id": f"{name}-{number}", "question": "어디에 있는가?", "answers": answers}]
        return {"title": f"{name} {number}", "paragraphs": [{"context": context, "qas": questions}]}

    return json.dumps({"version": "1.0", "data": [article(number) for number in range(articles)]}, ensure_ascii=False)


class Runs:
    """In place of runs: what was asked for, and results whose score is that of the learning rate, or of the model."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.monkeypatch = monkeypatch
        self.made: list[dict[str, str]] = []
        self.score_of = {"3e-05": 0.5, "0.0001": 0.75}
        self.hardware = {"name": "Some CPU", "precision": "fp32"}
        monkeypatch.chdir(folder)
        monkeypatch.setattr(measure_few_shot, "run", self.run)
        for model in ("splinter/checkpoint-9", "spanbert"):
            Path(model).mkdir(parents=True)
            Path(model, "config.json").write_text('{"num_hidden_layers": 6, "hidden_size": 64}')
            Path(model, "model.safetensors").write_bytes(b"weights")
        later = HELD_OUT | {"step": 10}  # than the checkpoint
        broken = [HELD_OUT | {"step": None}, HELD_OUT | {"step": 8, "metrics": None}]
        without = HELD_OUT | {"step": 4, "metrics": {"loss": 5.0}}  # as other objectives have it
        events = [without, {"event": "train", "step": 5, "loss": 3.0}, *broken, HELD_OUT, later]
        Path("splinter/metrics.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
        Path("data/korquad").mkdir(parents=True)
        Path("data/korquad/KorQuAD_v1.0_train.json").write_text(squad(20, "글"), encoding="utf-8")
        Path("data/korquad/KorQuAD_v1.0_dev.json").write_text(squad(9, "말"), encoding="utf-8")

    def run(self, script: str, *words: str | Path) -> None:
        asked = {str(word)[2:]: str(after) for word, after in itertools.pairwise(words) if "--" in str(word)}
        self.made.append(asked | {"script": script})
        scored = json.loads(Path(asked["predict_file"]).read_text(encoding="utf-8"))["data"]
        share = self.score_of[asked["learning_rate"]] if asked["output_dir"].endswith("held-back") else 0.25
        # Of the final runs, the Splinter answers every question, and the baseline some of them.
        share = 1.0 if "head" not in asked and share == 0.25 else share
        right = [number < share * len(scored) for number in range(len(scored))]
        mean = sum(right) / len(right)
        for seed in range(42, 42 + int(asked["samples"])):
            folder = Path(asked["ckpt_dir"], asked["output_dir"], asked["few_shot"], f"seed-{seed}")
            folder.mkdir(parents=True, exist_ok=True)
            results = {
                "task": "korquad-few-shot", "model": "m", "seed": seed, "main_metric": "f1", "at_chance": False,
                "metrics": {"em": mean, "f1": mean}, "rows": {"test": len(scored)}, "pretraining": {"steps": 9},
                "training": {"steps": 9, "epochs": 1.0, "seconds": 3.0, "tokens_per_second": 10.0},
                "hardware": self.hardware, "versions": {}, "git_commit": "c", "data": {asked["train_file"]: "d"},
                "config": {"train_batch_size": 6},
            }  # fmt: skip
            (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
            scores = {
                one["paragraphs"][0]["qas"][0]["id"]: [ok, ok]
                for one, ok in zip(scored, map(float, right), strict=True)
            }
            (folder / "question_scores.json").write_text(json.dumps(scores), encoding="utf-8")

    def measure(self, *words: str) -> list[dict[str, str]]:
        """Runs the script; returns the runs that it made."""
        self.made.clear()
        given = "--splinter splinter/checkpoint-9 --baseline spanbert --rates 3e-5 1e-4".split()
        self.monkeypatch.setattr(sys, "argv", ["measure_few_shot.py", *given, *words])
        measure_few_shot.main()
        return list(self.made)

    @property
    def results(self) -> dict[str, Any]:
        return json.loads(Path("ckpt/measured-few-shot/few_shot.json").read_text(encoding="utf-8"))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(tmp_path, monkeypatch)


def refused(runs: Runs, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        runs.measure(*words)
    assert end.value.code == 2 and not runs.made
    return capsys.readouterr().err.strip()


def test_the_best_rate_of_the_held_back_questions_is_taken_for_all_sizes(runs: Runs) -> None:
    made = runs.measure("--few_shot", "8", "4", "--samples", "2")
    assert [run["learning_rate"] for run in made] == ["3e-05", "0.0001"] * 2 + ["0.0001"] * 4
    assert [run["few_shot"] for run in made] == ["64"] * 4 + ["4", "4", "8", "8"]
    assert [run.get("head") for run in made] == [None, None, "linear", "linear", None, "linear", None, "linear"]
    assert [run.get("initialize_new_qass") for run in made[:3]] == ["false", "false", None]
    assert all(run["max_steps"] == "160" and run["train_batch_size"] == "4" for run in made)
    rest, held_back = (json.loads(Path(made[0][key]).read_text())["data"] for key in ("train_file", "predict_file"))
    assert len(rest) == 18 and len(held_back) == 2
    assert made[-1]["train_file"] == str(Path("data/korquad/KorQuAD_v1.0_train.json").resolve())
    found = runs.results
    splinter, linear = (found["arms"][name] for name in ("Splinter", "linear head"))
    assert splinter["grid"] == {"3e-05": 0.5, "0.0001": 1.0} and splinter["held_back_rows"] == 2
    assert splinter["learning_rate"] == 1e-4 and linear["model"] == "spanbert"
    assert list(splinter["sizes"]) == ["4", "8"] == list(linear["sizes"])
    assert [(run["seed"], run["git_commit"]) for run in linear["sizes"]["4"]] == [(42, "c"), (43, "c")]
    assert splinter["command"] == (
        "python3 run_splinter_qa.py --model_name_or_path splinter/checkpoint-9 --initialize_new_qass false "
        "--train_batch_size 4 --max_steps 160 --learning_rate 0.0001 --few_shot 4 8 --samples 2"
    )
    words = "--splinter splinter/checkpoint-9 --baseline spanbert --few_shot 4 8 --samples 2 --rates 3e-05 0.0001"
    assert found["measured_by"] == f"python3 scripts/measure_few_shot.py {words}"
    assert found["held_out"] == {"9": {"span_em": 0.25, "span_em_1": 1.0}}
    assert found["shape"] == {"num_hidden_layers": 6, "hidden_size": 64}


def test_models_of_different_shapes_are_refused(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    Path("spanbert/config.json").write_text('{"num_hidden_layers": 6, "hidden_size": 32}')
    found = "splinter/checkpoint-9 has 6 x 64, spanbert has 6 x 32"
    assert f"different shapes: {found}" in refused(runs, capsys, "--few_shot", "4", "--samples", "1")


def test_the_share_of_resamples_without_a_gain_is_written(runs: Runs) -> None:
    runs.measure("--few_shot", "4", "--samples", "1")
    # 6 of 9 questions gain: hardly any of 10,000 resamples holds none of them.
    p = runs.results["p"]["4"]
    assert all(0 < one < 0.01 for one in p["Splinter"].values()) and set(p["linear head"].values()) == {1.0}
    runs.score_of["0.0001"] = 0.0  # the rate is 3e-5 then, and the Splinter no better
    with runs.monkeypatch.context() as patch:
        patch.setattr(measure_few_shot, "ITS_OWN", dict.fromkeys(measure_few_shot.ITS_OWN, "--head linear"))
        runs.measure("--few_shot", "4", "--samples", "1", "--ckpt_dir", "equal", "--output", "ckpt/measured-few-shot")
    assert runs.results["p"]["4"] == {name: {"em": 1.0, "f1": 1.0} for name in ("Splinter", "linear head")}


def test_a_further_call_makes_what_is_missing_and_nothing_else(runs: Runs) -> None:
    runs.measure("--few_shot", "4", "--samples", "1")
    assert runs.measure("--few_shot", "4", "--samples", "1") == []
    further = runs.measure("--few_shot", "4", "8", "--samples", "1")
    assert [(run["few_shot"], run.get("head")) for run in further] == [("8", None), ("8", "linear")]
    assert [run["samples"] for run in runs.measure("--few_shot", "4", "--samples", "2")] == ["2", "2"]


def test_what_is_finished_is_written_though_a_larger_size_fails(runs: Runs) -> None:
    run = runs.run

    def fails(script: str, *words: str | Path) -> None:
        if words[words.index("--few_shot") + 1] == "8":
            raise SystemExit(1)
        run(script, *words)

    with runs.monkeypatch.context() as patch:
        patch.setattr(measure_few_shot, "run", fails)
        with pytest.raises(SystemExit):
            runs.measure("--few_shot", "4", "8", "--samples", "1")
    found = runs.results
    assert list(found["p"]) == ["4"] and "--few_shot 4 --samples 1" in found["arms"]["Splinter"]["command"]


def test_results_that_lack_something_are_refused(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    runs.measure("--few_shot", "4", "--samples", "1")
    folder = Path("ckpt/measured-few-shot/linear-head-rate-0.0001/4/seed-42")
    (folder / "results.json").write_text("{}")
    said = refused(runs, capsys, "--few_shot", "4", "--samples", "1")
    assert f"{folder}/results.json: has no 'seed'; delete {folder} to run it again" in said


def test_another_study_is_refused(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    runs.measure("--few_shot", "4", "--samples", "1")
    assert "--full false, not true" in refused(runs, capsys, "--full", "--few_shot", "4")
    assert runs.measure("--few_shot", "4", "--samples", "1", "--baseline", "spanbert/") == []
    Path("spanbert/model.safetensors").write_bytes(b"other weights")
    assert "was begun with the weights of spanbert " in refused(runs, capsys, "--few_shot", "4")
    Path("spanbert/model.safetensors").write_bytes(b"weights")
    Path("data/korquad/KorQuAD_v1.0_dev.json").write_text(squad(8, "말"), encoding="utf-8")
    assert "was begun with the test file " in refused(runs, capsys, "--few_shot", "4")


def test_full_runs_follow_the_protocol_of_splinter(runs: Runs) -> None:
    made = runs.measure("--few_shot", "4", "--samples", "1", "--full")
    assert not any("max_steps" in run or "train_batch_size" in run for run in made)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--few_shot", "4", "4"], "--few_shot must be different numbers above 0"),
        (["--few_shot", "0"], "--few_shot must be different numbers above 0"),
        (["--samples", "0"], "--samples must be at least 1"),
        (["--few_shot", "4", "21"], "--few_shot 21: "),
        (["--few_shot", "4", "21"], "KorQuAD_v1.0_train.json has only 20 questions"),
        (["--rates", "0"], "--rates must be numbers above 0, and finite"),
        (["--baseline", "nowhere"], "there is no model in nowhere"),
        (["--data_dir", "nowhere"], "nowhere/korquad/KorQuAD_v1.0_train.json: no such file"),
        (["--output", "spanbert/config.json"], "the folder spanbert/config.json cannot be made"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    runs: Runs, capsys: pytest.CaptureFixture[str], words: list[str], error: str
) -> None:
    assert error in refused(runs, capsys, *words)


def test_scores_that_do_not_belong_to_the_results_are_refused(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    runs.measure("--few_shot", "4", "--samples", "1")
    path = Path("ckpt/measured-few-shot/linear-head-rate-0.0001/4/seed-42/question_scores.json")
    path.write_text('{"a": [1.0, 1.0]}')
    assert "the models cannot be compared: " in refused(runs, capsys, "--few_shot", "4", "--samples", "1")
    scores = json.loads(path.with_name("results.json").read_text())["metrics"]
    path.write_text(json.dumps({f"other {at}": [float(at < scores["em"] * 9)] * 2 for at in range(9)}))
    assert "they were not scored on the same questions" in refused(runs, capsys, "--few_shot", "4", "--samples", "1")
    path.unlink()
    assert f"there is no {path}" in refused(runs, capsys, "--few_shot", "4", "--samples", "1")


@pytest.mark.slow
def test_a_splinter_is_measured_on_the_sample(user: User) -> None:
    """Both models are trained and scored, and a second call repeats nothing."""
    words = ["--config_file", "sample.json", "--max_steps", 4, "--eval_steps", 2, "--output_dir", "to-be-measured"]
    user.types(*words, script="pretrain_splinter.py")
    splinter = "ckpt/to-be-measured/checkpoint-4"
    words = [
        "--splinter",
        splinter,
        "--baseline",
        splinter,
        "--data_dir",
        "sample_data/few_shot",
        "--output",
        "results",
    ]
    words += ["--few_shot", 16, "--samples", 2, "--rates", "1e-3"]
    assert user.types(*words, script=SCRIPT).out.count("$ python3 run_splinter_qa.py") == 4
    found = json.loads((user.folder / "results" / "few_shot.json").read_text(encoding="utf-8"))
    for arm in found["arms"].values():
        assert [run["steps"] for run in arm["sizes"]["16"]] == [160, 160] and arm["pretraining"]["steps"] == 4
    assert list(found["held_out"]) == ["2", "4"] and 0 < found["p"]["16"]["Splinter"]["f1"] <= 1
    assert not list((user.folder / "ckpt" / "measured-few-shot").rglob("checkpoint-*"))
    assert "$ python3" not in user.types(*words, script=SCRIPT).out
