"""python3 -m pytest tests/scripts/test_few_shot_study.py

KoSplinter's study: which commands it consists of, what it refuses, and, slow, all of it on the sample data.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from command_words import value_of, values_of
from conftest import REPOSITORY, User
from extended_copy import copy_repository

SIZES = ["16", "32", "64", "128", "256", "512", "1024", "full"]
FOLDER = "korquad-few-shot"


@pytest.fixture
def study() -> ModuleType:
    return importlib.import_module("few_shot_study")


@pytest.fixture
def commands(study: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs the study with commands that only leave what the next ones look for; returns their words.

    fetched: filled with the models that are looked for before.
    """

    def call(*words: str, fetched: list | None = None) -> list[list[str]]:
        done = []

        def pretend(command: list[str | Path]) -> int:
            script, *words = str(Path(command[1]).relative_to(REPOSITORY)), *map(str, command[2:])
            done.append([script, *words])
            if script == "scripts/results_table.py":
                Path(words[-1]).write_text("the table\n")
            if script == "scripts/make_sample_data.py":
                Path("sample_data/few_shot/korquad").mkdir(parents=True)
            if script == "pretrain_splinter.py":
                folder = Path(value_of("--ckpt_dir", words)) / value_of("--output_dir", words)
                for step in (9, 10):
                    (folder / f"checkpoint-{step}").mkdir(parents=True)
                (folder / "results.json").write_text("{}")
            return 0

        monkeypatch.setattr("reporting.study.execute", pretend)
        monkeypatch.setattr("models.find_model", lambda *model: fetched.append(model) if fetched is not None else None)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["few_shot_study.py", *words])
        study.main()
        return done

    for name in ("data/korquad", "there/korquad", "kosplinter", "another/qass", "own/checkpoint-7"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("kosplinter", "another/qass"):
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "own/checkpoint-7/config.json").write_text('{"pretraining": {"objective": "splinter"}}')
    return call


def test_the_commands_of_the_study(commands, capsys: pytest.CaptureFixture):
    fetched = []
    splinter, baseline, figure, table = commands("--splinter", "kosplinter/", fetched=fetched)
    for words in (splinter, baseline):
        assert words[:3] == ["run_splinter_qa.py", "--task", "korquad-few-shot"]
        assert values_of("--few_shot", words) == SIZES and value_of("--samples", words) == "3"
        assert value_of("--ckpt_dir", words) == f"ckpt/{FOLDER}" and "--data_dir" not in words and "--seed" not in words
    assert value_of("--config_file", splinter) == "kosplinter.json"
    assert value_of("--model_name_or_path", splinter) == "kosplinter"
    assert value_of("--config_file", baseline) == "koelectra-base-v3.json" and "--model_name_or_path" not in baseline
    folders = [f"ckpt/{FOLDER}/{value_of('--output_dir', words)}" for words in (splinter, baseline)]
    assert folders == [f"ckpt/{FOLDER}/splinter", f"ckpt/{FOLDER}/baseline"]
    assert figure[1:] == [*folders, "--x", "questions", "--output", f"ckpt/{FOLDER}/few_shot"]
    assert table[1:] == [*folders, "--shape", "kosplinter", "--output", f"ckpt/{FOLDER}/table.md"]
    assert fetched == [("koelectra-base-v3", None)]  # before the first command, not after hours of them
    assert capsys.readouterr().out.endswith("the table\n")


def test_what_is_passed_on(commands):
    words = (
        "--few_shot 16 48 --samples 2 --seed 0 --data_dir there --precision fp32 --no_cuda --cache_dir c --ckpt_dir d"
    )
    splinter, baseline, *_ = commands("--splinter", "kosplinter", *words.split())
    for command in (splinter, baseline):
        assert values_of("--few_shot", command) == ["16", "48"] and value_of("--samples", command) == "2"
        assert (value_of("--seed", command), value_of("--data_dir", command)) == ("0", "there")
        assert (value_of("--precision", command), value_of("--cache_dir", command)) == ("fp32", "c")
        assert "--no_cuda" in command and value_of("--ckpt_dir", command) == f"d/{FOLDER}"


def test_models_that_are_not_the_published_ones_do_not_bear_their_names(commands):
    fetched = []
    splinter, *_ = commands("--splinter", "another/qass", "--ckpt_dir", "other")
    assert "--config_file" not in splinter and value_of("--model_name_or_path", splinter) == "another/qass"
    splinter, baseline, *_ = commands("--splinter", "own/checkpoint-7", "--baseline", "klue/bert", fetched=fetched)
    assert "--config_file" not in splinter and "--config_file" not in baseline and fetched == [(None, "klue/bert")]
    assert value_of("--model_name_or_path", splinter) == "own/checkpoint-7"
    assert (value_of("--head", baseline), value_of("--model_name_or_path", baseline)) == ("linear", "klue/bert")


def test_the_sample_is_made_and_its_splinter_pretrained_once(commands, tmp_path: Path):
    data, pretraining, splinter, scratch, *rest = commands("--scale", "sample")
    assert data == ["scripts/make_sample_data.py"]
    assert pretraining == [
        *("pretrain_splinter.py", "--config_file", "sample.json"),
        *("--ckpt_dir", f"ckpt/{FOLDER}-sample", "--output_dir", "pretraining"),
    ]
    for words in (splinter, scratch):
        assert value_of("--config_file", words) == "sample.json" and values_of("--few_shot", words) == ["16", "64"]
        assert value_of("--model_name_or_path", words) == f"ckpt/{FOLDER}-sample/pretraining/checkpoint-10"
    assert ("--from_scratch" in splinter, "--from_scratch" in scratch) == (False, True)
    assert [value_of("--output_dir", words) for words in (splinter, scratch)] == ["splinter", "from-scratch"]
    again = commands("--scale", "sample", "--samples", "5")
    assert again[0][0] == "run_splinter_qa.py" and again[2:] == rest


def test_a_study_does_not_go_on_with_other_arguments(commands, tmp_path: Path, capsys: pytest.CaptureFixture):
    commands("--splinter", "kosplinter")
    for words, told in (
        (["--seed", "7"], "--seed (none), not 7"),
        (["--data_dir", "there"], "--data_dir (none), not there"),
        (["--baseline", "klue/bert"], "--baseline (none), not klue/bert"),
        (["--kosplinter_compat"], "--kosplinter_compat (none), not true"),
    ):
        with pytest.raises(SystemExit):
            commands("--splinter", "kosplinter", *words)
        assert f"ckpt/{FOLDER} was begun with {told}: delete it" in capsys.readouterr().err
    commands("--splinter", "kosplinter/", "--few_shot", "48", "--samples", "4")  # more of the same
    commands("--scale", "sample")
    cell = tmp_path / "ckpt" / f"{FOLDER}-sample" / "splinter" / "16" / "seed-42"
    cell.mkdir(parents=True)
    (cell / "results.json").write_text("{}")
    (cell.parents[2] / "pretraining" / "results.json").unlink()
    with pytest.raises(SystemExit):
        commands("--scale", "sample")
    assert "holds fine-tunings of an earlier pretraining (splinter/16/seed-42)" in capsys.readouterr().err


def test_what_is_missing_is_said_before_anything_runs(
    commands, study: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    models = importlib.import_module("models")
    find_model = models.find_model

    def refused(*words: str) -> str:
        with pytest.raises(SystemExit):
            commands(*words)
        out, error = capsys.readouterr()
        assert "$ python3" not in out
        return error

    said = refused("--splinter", "nowhere")
    assert "there is no model in nowhere (no config.json); KoSplinter's is on Google Drive" in said
    assert "https://github.com/YunSoungKim/KoSplinter" in said and said.count("\n") == 1
    assert "there is no nowhere/korquad to fine-tune on" in refused("--splinter", "kosplinter", "--data_dir", "nowhere")
    assert "leave --baseline out" in refused("--scale", "sample", "--baseline", "klue/bert")
    assert "--kosplinter_compat is for --splinter" in refused("--scale", "sample", "--kosplinter_compat")
    assert "not allowed with argument" in refused("--scale", "sample", "--splinter", "kosplinter")
    assert "one of the arguments --splinter --scale is required" in refused()

    arguments = study.argparse.Namespace(splinter="kosplinter", baseline="own")
    monkeypatch.setattr(models, "find_model", find_model)
    with pytest.raises(SystemExit):
        study.refuse_missing_models(arguments)
    assert "the baseline: own: the folder holds no config.json" in capsys.readouterr().err


def test_the_shell_script_from_anywhere(tmp_path: Path):
    command = ["bash", REPOSITORY / "scripts" / "run_korquad_few_shot.sh", "--help"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("usage: run_korquad_few_shot.sh")


@pytest.fixture
def brief_study(tmp_path: Path) -> Path:
    """The study's script in a copy of the suite whose pretraining for the sample has 100 steps instead of 2,400."""
    copy = tmp_path / "suite"
    copy_repository(copy)
    path = copy / "config" / "splinter" / "sample.json"
    brief = {"max_steps": 100, "eval_steps": 50, "save_steps": 50, "held_out_share": 0.01}
    path.write_text(json.dumps(json.loads(path.read_text()) | brief))
    return copy / "scripts" / "few_shot_study.py"


@pytest.mark.slow
def test_the_whole_study_on_the_sample(user: User, brief_study: Path, tmp_path: Path):
    """Pretraining, four fine-tunings, the table and the figure, from the commands that the study makes by itself.

    What a whole pretraining is worth stands in docs/few_shot.md. Here it is too short for that; what is checked is that
    it learned, and that its weights are those that one model begins with, and the other one does not.
    """
    command = [sys.executable, brief_study, "--scale", "sample", "--few_shot", "16", "32", "--samples", "1"]
    command += ["--ckpt_dir", tmp_path, "--cache_dir", tmp_path / "cache"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=user.folder)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / f"{FOLDER}-sample"
    assert {path.name for path in folder.iterdir()} == {
        *("study.json", "pretraining", "splinter", "from-scratch", "table.md", "few_shot.png", "few_shot.svg")
    }
    losses = [each["metrics"]["loss"] for each in results_in(folder / "pretraining")["evaluations"]]
    assert len(losses) == 2 and losses[1] < losses[0]
    rows = [line.split("|")[1:-1] for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in row] for row in rows]
    assert header == ["Model", "", "16", "32"]
    assert [row[0].endswith("from scratch") for row in rows] == [False, False, True, True]
    f1 = {row[0]: [float(re.match(r"[\d.]+", cell)[0]) for cell in row[2:]] for row in rows if row[1] == "F1"}
    ours, scratch = f1.values()
    assert ours != scratch
    start = folder / "pretraining" / "checkpoint-100"
    for name in ("splinter", "from-scratch"):
        for size in (16, 32):
            config = results_in(folder / name / str(size) / "seed-42")["config"]
            assert config["from_scratch"] == (name == "from-scratch") and config["few_shot"] == [size]
            assert Path(config["model_name_or_path"]) == start
    again = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=user.folder)
    assert again.returncode == 0 and "2 of them are finished" in again.stdout


def results_in(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))
