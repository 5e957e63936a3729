"""python3 -m pytest tests/scripts/test_spanbert_study.py

The Korean SpanBERT's study: which commands it consists of, its table from hand-made results, and, slow, all of it on a
part of the sample data.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from conftest import REPOSITORY, User

SCRIPTS = REPOSITORY / "scripts"
CELLS = [(0, "cls"), (5, "cls"), (5, "mean"), (5, "max"), (10, "max")]


@pytest.fixture
def study() -> ModuleType:
    return importlib.import_module("spanbert_study")


@pytest.fixture
def commands(study: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs the study with commands that only leave what the next ones look for; returns their words."""

    def call(*words: str, finishes: bool = True) -> list[list[str]]:
        done = []

        def pretend(command: list[str | Path], check: bool) -> subprocess.CompletedProcess:
            script, *words = str(Path(command[1]).relative_to(REPOSITORY)), *map(str, command[2:])
            done.append([script, *words])
            ended = subprocess.CompletedProcess(command, 0)
            if script == "scripts/spanbert_table.py":
                Path(words[-1]).write_text("the table\n")
            if "--ckpt_dir" not in words:
                return ended
            folder = Path(words[words.index("--ckpt_dir") + 1]) / words[words.index("--output_dir") + 1]
            for epochs in range(1, 11) if script == "pretrain_spanbert.py" else ():
                (folder / f"checkpoint-{epochs * 7}").mkdir(parents=True, exist_ok=True)
                config = {"pretraining": {"epochs": float(epochs)}}
                (folder / f"checkpoint-{epochs * 7}" / "config.json").write_text(json.dumps(config))
            folder.mkdir(exist_ok=True)
            if finishes:
                (folder / ("seeds.json" if "--seeds" in words else "results.json")).write_text("{}")
            return ended

        monkeypatch.setattr(subprocess, "run", pretend)
        monkeypatch.chdir(tmp_path)
        for name in ("data", "there"):
            (tmp_path / name / "nsmc").mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(sys, "argv", ["spanbert_study.py", *words, "--ckpt_dir", str(tmp_path)])
        study.main()
        return done

    return call


def value_of(flag: str, words: list[str]) -> str:
    return words[words.index(flag) + 1]


def test_the_commands_of_the_study(commands, tmp_path: Path, capsys: pytest.CaptureFixture):
    flags = ["--corpus", "a.txt", "b", "--data_dir", "there", "--precision", "fp32"]
    pretraining, *rest = commands("--scale", "half", *flags)
    assert pretraining[:3] == ["pretrain_spanbert.py", "--config_file", "half.json"]
    assert pretraining[pretraining.index("--corpus") + 1 :][:2] == ["a.txt", "b"]
    assert "--data_dir" not in pretraining and value_of("--num_train_epochs", pretraining) == "10"
    fine_tunings, drawings, tables = rest[:5], rest[5:7], rest[7:]
    for (epochs, pooling), words in zip(CELLS, fine_tunings, strict=True):
        assert words[:3] == ["run_seq_cls.py", "--task", "nsmc"]
        assert value_of("--config_file", words) == "spanbert-half.json" and "--corpus" not in words
        assert (value_of("--pooling", words), "--from_scratch" in words) == (pooling, epochs == 0)
        checkpoint = tmp_path / "spanbert-nsmc-half" / "pretraining" / f"checkpoint-{7 * (epochs or 10)}"
        assert value_of("--model_name_or_path", words) == str(checkpoint)
        assert value_of("--output_dir", words) == f"pre-{epochs}-{pooling}"
        assert (value_of("--data_dir", words), "--resume" in words) == ("there", False)
    assert all(value_of("--precision", words) == "fp32" for words in (pretraining, *fine_tunings))
    assert [value_of("--panels", words) for words in drawings] == ["loss", "score"]
    assert len(tables) == 1 and capsys.readouterr().out.endswith("the table\n")


def test_what_is_finished_is_left_and_what_was_stopped_goes_on(commands, tmp_path: Path):
    assert len(commands("--scale", "base", "--seeds", "1", "2")) == 9
    assert [words[0] for words in commands("--scale", "base", "--seeds", "1", "2")] == [
        *("scripts/plot_runs.py", "scripts/plot_runs.py", "scripts/spanbert_table.py")
    ]
    (tmp_path / "spanbert-nsmc-base" / "pre-5-max" / "seeds.json").unlink()
    again, *_ = commands("--scale", "base", "--seeds", "1", "2")
    assert value_of("--output_dir", again) == "pre-5-max" and again[-1] == "--resume"


def test_a_study_does_not_go_on_with_other_arguments(commands, tmp_path: Path, capsys: pytest.CaptureFixture):
    commands("--scale", "base", "--corpus", "a.txt")
    for words, told in (
        (["--corpus", "b.txt"], "--corpus ['a.txt'], not ['b.txt']"),
        (["--corpus", "a.txt", "--seeds", "1", "2"], "--seeds (none), not [1, 2]"),
        (["--corpus", "a.txt", "--data_dir", "there"], "--data_dir (none), not there"),
    ):
        with pytest.raises(SystemExit):
            commands("--scale", "base", *words)
        assert f"was begun with {told}: delete it" in capsys.readouterr().err
    (tmp_path / "spanbert-nsmc-base" / "pretraining" / "results.json").unlink()
    with pytest.raises(SystemExit):
        commands("--scale", "base", "--corpus", "a.txt")
    assert "holds fine-tunings of an earlier pretraining (pre-0-cls, pre-10-max" in capsys.readouterr().err
    for seeds in (["1", "1"], ["-1"]):
        with pytest.raises(SystemExit):
            commands("--scale", "half", "--seeds", *seeds)
        assert "each of them once" in capsys.readouterr().err


def test_missing_data_are_said_before_pretraining(commands, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        commands("--scale", "half", "--data_dir", "nowhere")
    assert "there is no nowhere/nsmc to fine-tune on" in capsys.readouterr().err


def test_a_pretraining_without_the_epoch_is_said(study: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture):
    for name in ("checkpoint-2", "checkpoint-3"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-2" / "config.json").write_text("{")
    (tmp_path / "checkpoint-3" / "config.json").write_text('{"pretraining": {"epochs": 4.0}}')
    with pytest.raises(SystemExit):
        study.checkpoint_after(5, tmp_path)
    assert f"{tmp_path} holds no checkpoint of epoch 5" in capsys.readouterr().err


def test_a_command_that_fails_ends_the_study_with_its_code(study: ModuleType, capfd: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as ended:
        study.run("run_seq_cls.py", "--learning_rat", "1")
    assert ended.value.code == 2 and "$ python3 run_seq_cls.py --learning_rat 1" in capfd.readouterr().out


def test_an_interrupted_study_says_how_it_goes_on(
    study: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def interrupted(command: list[str | Path], check: bool):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(SystemExit) as ended:
        study.run("run_seq_cls.py")
    assert ended.value.code == 130 and "the same command goes on" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------------------
# The table
# --------------------------------------------------------------------------------------------------------------------


def write_run(folder: Path, epochs: int, pooling: str, accuracy: float, step: int, seed: int = 42, **changes: Any):
    """Three epochs of 10 steps, logged twice each; the mean losses of the epochs are 0.35, 0.25 and 0.15."""
    results = {
        **{"task": "nsmc", "model": f"checkpoint-{epochs}", "seed": seed, "split": "test", "main_metric": "accuracy"},
        **{"metrics": {"accuracy": accuracy}, "selection": "test", "at_chance": False, "step": step},
        "training": {"steps": 30, "epochs": 3.0},
        "config": {"pooling": pooling, "seed": seed, "from_scratch": not epochs, **changes},
        "pretraining": {"objective": "spanbert", "epochs": float(epochs)} if epochs else None,
    }
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))
    losses = {5: 0.4, 10: 0.3, 15: 0.3, 20: 0.2, 25: 0.2, 30: 0.1}
    events = [{"event": "train", "step": step, "epoch": step / 10, "loss": loss} for step, loss in losses.items()]
    events.append({"event": "evaluation", "step": 30, "epoch": 3.0, "metrics": {"accuracy": 0.5}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def table(*words: str | Path, code: int = 0) -> tuple[list[list[str]], list[str], str]:
    """Rows of the table, lines below it, standard error."""
    command = [sys.executable, SCRIPTS / "spanbert_table.py", *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == code, done.stderr
    lines = done.stdout.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return (
        [row for row in rows if not row[0].startswith(":-")],
        [line for line in lines if line[:2] == "- "],
        done.stderr,
    )


def test_the_published_rows_with_what_was_measured(tmp_path: Path):
    write_run(tmp_path / "a", 0, "cls", 0.81, step=20)
    write_run(tmp_path / "b" / "seed-1", 5, "mean", 0.82, step=30, seed=1)
    write_run(tmp_path / "b" / "seed-2", 5, "mean", 0.84, step=20, seed=2)
    write_run(tmp_path / "c", 5, "max", 0.83, step=30, learning_rate=0.5)
    write_run(tmp_path / "d", 5, "max", 0.70, step=30, learning_rate=1.0)
    write_run(tmp_path / "e", 3, "cls", 0.80, step=10)
    rows, below, _ = table(tmp_path)
    assert rows == [
        ["ITEM", "Pretrain", "logit", "epoch", "loss", "accuracy"],
        ["spanbert-pre:0-cls", "0", "cls", "2 (9)", "0.250 (0.22)", "0.8100ᵗ (0.825)"],
        ["spanbert-pre:5-cls", "5", "cls", "– (9)", "– (0.201)", "– (0.826)"],
        ["spanbert-pre:5-mean", "5", "mean", "2.5 ± 0.7 (9)", "0.200 ± 0.071 (0.178)", "0.8300 ± 0.0141ᵗ (0.826)"],
        ["spanbert-pre:5-max", "5", "max", "3 (9)", "0.150 (0.184)", "0.8300ᵗ (0.827)"],
        ["spanbert-pre:5-max [2]", "5", "max", "3", "0.150", "0.7000ᵗ"],
        ["spanbert-pre:10-max", "10", "max", "– (5)", "– (0.254)", "– (0.827)"],
        ["spanbert-pre:3-cls", "3", "cls", "1", "0.350", "0.8000ᵗ"],
    ]
    assert any(line.startswith("- ± sample standard deviation over 2 seeds") for line in below)
    assert any("[2]: a row of its own: learning_rate 1.0, not 0.5" in line for line in below)


def test_a_log_that_broke_off(tmp_path: Path):
    write_run(tmp_path / "a", 0, "cls", 0.81, step=20)
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write('{"event": "train", "ep')
    rows, _, said = table(tmp_path)
    assert rows[1][4] == "0.250 (0.22)" and "metrics.jsonl:8: not a JSON object; left out" in said


def test_a_score_that_is_no_number_and_a_selection_that_is_not_known(tmp_path: Path):
    write_run(tmp_path / "a", 0, "cls", float("nan"), step=20)
    write_run(tmp_path / "b", 5, "cls", 0.8, step=20)
    path = tmp_path / "b" / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"selection": None}))
    rows, below, _ = table(tmp_path)
    assert rows[1] == ["spanbert-pre:0-cls", "0", "cls", "– (9)", "– (0.22)", "– (0.825)"]
    assert rows[2][5] == "0.8000ˀ (0.826)" and "- ˀ how the checkpoint was selected is not recorded." in below
    assert any("the score of seed 42 is not a finite number" in line for line in below)


def test_what_the_table_refuses(tmp_path: Path):
    assert "no such folder" in table(tmp_path / "none", code=2)[2]
    assert "no SpanBERT's results of nsmc" in table(tmp_path, code=2)[2]
    write_run(tmp_path / "electra", 0, "cls", 0.9, step=30, from_scratch=False)
    said = table(tmp_path, code=2)[2]
    assert "checkpoint-0 is no SpanBERT of this suite; left out" in said
    (tmp_path / "electra" / "results.json").write_text('{"task": "nsmc", "hardware": "x"}')
    assert "hardware" in table(tmp_path, code=2)[2]


@pytest.mark.slow
def test_the_whole_study_on_a_part_of_the_sample(user: User, tmp_path: Path):
    """Pretraining, five fine-tunings, the table and both figures."""
    lines = (user.folder / "sample_data" / "corpus.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "corpus.jsonl").write_text("".join(lines[:1500]), encoding="utf-8")
    command = [
        sys.executable,
        SCRIPTS / "spanbert_study.py",
        "--scale",
        "sample",
        "--corpus",
        tmp_path / "corpus.jsonl",
    ]
    command += ["--ckpt_dir", tmp_path, "--cache_dir", tmp_path / "cache"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=user.folder)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "spanbert-nsmc-sample"
    figures = {f"{name}.{kind}" for name in ("loss", "accuracy") for kind in ("png", "svg")}
    assert {path.name for path in folder.iterdir()} == {
        *("study.json", "pretraining", "table.md", *figures),
        *(f"pre-{epochs}-{pooling}" for epochs, pooling in CELLS),
    }
    rows, _, _ = table(folder)
    assert len(rows) == 6 and all(float(row[5].split("ᵗ")[0]) > 0.85 for row in rows[1:])
    for epochs, pooling in CELLS:
        results = json.loads((folder / f"pre-{epochs}-{pooling}" / "results.json").read_text())
        assert (results["pretraining"] or {"epochs": 0})["epochs"] == epochs
        assert results["config"]["linear_classifier"] and results["config"]["pooling"] == pooling
    config = json.loads((folder / "pre-5-max" / "run_config.json").read_text())
    assert config["model_name_or_path"] != "" and not config["from_scratch"]
    assert (folder / "loss.png").stat().st_size > 10_000
