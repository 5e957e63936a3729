"""python3 -m pytest tests/scripts/test_spanbert_study.py

The Korean SpanBERT's study: which commands it consists of, and, slow, all of it on a part of the sample data.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from command_words import value_of
from conftest import REPOSITORY, User
from pretrain_spanbert import SpanBertConfig
from processors.pretraining.span_masking import SpanMasking
from reporting.spanbert_recipes import AS_PUBLISHED, PAPER
from training.command_line import resolve

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

        def pretend(command: list[str | Path]) -> int:
            script, *words = str(Path(command[1]).relative_to(REPOSITORY)), *map(str, command[2:])
            done.append([script, *words])
            if script == "scripts/spanbert_table.py":
                Path(words[-1]).write_text("the table\n")
            if "--ckpt_dir" not in words:
                return 0
            folder = Path(words[words.index("--ckpt_dir") + 1]) / words[words.index("--output_dir") + 1]
            trained = int(words[words.index("--num_train_epochs") + 1]) if script == "pretrain_spanbert.py" else 0
            for epochs in range(1, trained + 1):
                (folder / f"checkpoint-{epochs * 7}").mkdir(parents=True, exist_ok=True)
                config = {"pretraining": {"epochs": float(epochs)}}
                (folder / f"checkpoint-{epochs * 7}" / "config.json").write_text(json.dumps(config))
            folder.mkdir(exist_ok=True)
            if finishes:
                (folder / ("seeds.json" if "--seeds" in words else "results.json")).write_text("{}")
            return 0

        monkeypatch.setattr("reporting.study.execute", pretend)
        monkeypatch.chdir(tmp_path)
        for name in ("data", "there"):
            (tmp_path / name / "nsmc").mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(sys, "argv", ["spanbert_study.py", *words, "--ckpt_dir", str(tmp_path)])
        study.main()
        return done

    return call


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


def test_the_study_as_it_was_published(commands, tmp_path: Path):
    """Each number of epochs is a run of its own, with the settings of the original's code."""
    first, second, *rest = commands("--scale", "half", "--corpus", "a.txt", "--as_published")
    study = tmp_path / "spanbert-nsmc-half-as-published"
    for epochs, words in ((5, first), (10, second)):
        assert words[:3] == ["pretrain_spanbert.py", "--config_file", "half.json"]
        assert (value_of("--num_train_epochs", words), value_of("--save_total_limit", words)) == (str(epochs), "1")
        assert value_of("--output_dir", words) == f"pretraining-{epochs}"
        settings = SpanBertConfig.model_fields.keys() & {word.removeprefix("--") for word in words[1:]}
        argv = [*words[1:], "--cache_dir", "x"]
        config, _ = resolve(SpanBertConfig, argv, {"spanbert": {}}, REPOSITORY / "config", "")
        # transformer-evolution/spanbert: data.py (span lengths, overrun, 80/10/10 per token, masks written once for all
        # epochs), model.py (projection_sbo, projection_lm), pretrain.py (no clipping, the schedule, all documents),
        # vocab.py (the corpus in lower case), config_half.json and the defaults of its flags.
        assert config.masking == SpanMasking("inverse", 0.2, 10, 0.15, "skip", "token") and config.mask_once
        assert (config.sbo, config.mlm_head, config.max_grad_norm) == ("original", "tied", 0)
        assert (config.lr_scheduler, config.warmup_proportion, config.learning_rate) == ("linear", 0, 5e-5)
        assert (config.lower_case, config.lower_cases_texts, config.held_out_share) == ("corpus", True, 0)
        assert (config.train_batch_size, config.weight_decay, config.adam_epsilon) == (32, 0, 1e-8)
        assert (config.num_train_epochs, config.seed, config.max_seq_length) == (epochs, 42, 512)
        assert "learning_rate" not in settings  # what the original shares with the paper's study is left to the file
    for (epochs, pooling), words in zip(CELLS, rest[:5], strict=True):
        checkpoint = study / f"pretraining-{epochs or 10}" / f"checkpoint-{7 * (epochs or 10)}"
        assert value_of("--model_name_or_path", words) == str(checkpoint)
        assert (value_of("--pooling", words), "--from_scratch" in words) == (pooling, epochs == 0)
        assert not {"--span_law", "--lower_case", "--max_grad_norm"} & set(words)
    assert [words[0] for words in rest[5:]] == ["scripts/plot_runs.py"] * 2 + ["scripts/spanbert_table.py"]


def test_a_stopped_study_as_published_goes_on(commands, tmp_path: Path, capsys: pytest.CaptureFixture):
    flags = ["--scale", "half", "--corpus", "a.txt", "--as_published"]
    commands(*flags)
    study = tmp_path / "spanbert-nsmc-half-as-published"
    (study / "pre-10-max" / "results.json").unlink()
    (again, *_) = commands(*flags)
    assert value_of("--output_dir", again) == "pre-10-max" and again[-1] == "--resume"
    for name in ("pretraining-10", "pre-10-max", "pre-0-cls"):
        (study / name / "results.json").unlink()
    pretraining, *rest = commands(*flags)
    assert value_of("--output_dir", pretraining) == "pretraining-10" and pretraining[-1] == "--resume"
    assert [value_of("--output_dir", words) for words in rest[:2]] == ["pre-0-cls", "pre-10-max"]
    (study / "pretraining-5" / "results.json").unlink()
    with pytest.raises(SystemExit):
        commands(*flags)
    told = "holds fine-tunings of an earlier pretraining (pre-5-cls, pre-5-max, pre-5-mean): delete them too"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("as_published", [[], ["--as_published"]])
def test_other_flags_go_to_pretraining(commands, as_published: list[str], capsys: pytest.CaptureFixture):
    flags = ["--scale", "half", "--corpus", "a.txt", "--learning_rate", "1e-4", "--seeds", "1", "--vocab_size=900"]
    done = commands(*flags, "--corpus_weights", "1", *as_published)
    for words in done:
        passed_on = ["--learning_rate", "1e-4", "--vocab_size=900", "--corpus_weights", "1"]
        assert (words[0] == "pretrain_spanbert.py") == (" ".join(passed_on) in " ".join(words))
        assert ("--vocab_size=900" in words) == (words[0] == "pretrain_spanbert.py")
    with pytest.raises(SystemExit):
        commands("--scale", "half", "--corpus", "a.txt", "--learning_rate", "2e-4", "--seeds", "1", *as_published)
    told = "was begun with flags for pretraining --learning_rate 1e-4 --vocab_size=900 "
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--max_steps", "9"], "--max_steps is set by the study itself"),
        (["--output_dir=x"], "--output_dir is set by the study itself"),
        (["--as_published", "--sbo", "paper"], "--as_published sets --sbo too: leave one of them out"),
        (["--as_published", "--lower_case"], "--as_published sets --lower_case too"),
        (["--no_cuda", "word"], "unexpected word 'word'"),
        (["--learning_rat", "1"], "unknown flag --learning_rat; did you mean '--learning_rate'?"),
        (["--gpu", "1"], "unknown flag --gpu: the Korean SpanBERT's --gpu has no counterpart here"),
        (["--learning_rate", "fast"], '--learning_rate must be a number, not "fast"'),
        (["--as_published", "--hidden_size", "10"], "hidden_size 10 is not a multiple of num_attention_heads 6"),
    ],
)
def test_flags_that_cannot_be_passed_on_are_refused_before_anything_begins(
    commands, words: list[str], told: str, capsys, tmp_path: Path
):
    with pytest.raises(SystemExit) as ended:
        commands("--scale", "half", "--corpus", "a.txt", *words)
    assert ended.value.code == 2 and f"error: {told}" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("spanbert")]


def test_a_study_that_its_first_command_refused_begins_anew(study: ModuleType, commands, monkeypatch, tmp_path: Path):
    """As where there is no such corpus, which pretrain_spanbert.py says when it has made its folder and no more."""
    folder = tmp_path / "spanbert-nsmc-half"
    (folder / "pretraining").mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps({"corpus": ["b.txt"], "flags for pretraining": ["--seed", "1"]}))
    assert commands("--scale", "half", "--corpus", "a.txt", "--seed", "2")[0][0] == "pretrain_spanbert.py"
    begun = json.loads((folder / "study.json").read_text())
    assert (begun["corpus"], begun["flags for pretraining"]) == (["a.txt"], ["--seed", "2"])


def test_every_flag_that_the_study_names_is_one_of_pretraining(study: ModuleType):
    assert (study.SET_BY_THE_STUDY | AS_PUBLISHED.keys()) - SpanBertConfig.model_fields.keys() == {"config_file"}
    assert PAPER.keys() <= AS_PUBLISHED.keys()
    defaults = {key: SpanBertConfig.model_fields[key].default for key in PAPER}
    assert defaults | {"sbo": "paper", "mlm_head": "bert"} == PAPER  # what the study's other form trains with


def test_what_is_finished_is_left_and_what_was_stopped_goes_on(commands, tmp_path: Path):
    seeds = ["--scale", "base", "--corpus", "a.txt", "--seeds", "1", "2"]
    assert len(commands(*seeds)) == 9
    assert [words[0] for words in commands(*seeds)] == [
        *("scripts/plot_runs.py", "scripts/plot_runs.py", "scripts/spanbert_table.py")
    ]
    (tmp_path / "spanbert-nsmc-base" / "pre-5-max" / "seeds.json").unlink()
    again, *_ = commands(*seeds)
    assert value_of("--output_dir", again) == "pre-5-max" and again[-1] == "--resume"


def test_flags_in_another_order_are_the_same_study(commands):
    same = ["--scale", "base", "--corpus", "a.txt"]
    commands(*same, "--vocab_size", "900", "--learning_rate", "1e-4")
    commands(*same, "--learning_rate", "1e-4", "--vocab_size", "900")
    with pytest.raises(SystemExit):
        commands(*same, "--learning_rate", "900", "--vocab_size", "1e-4")


def test_a_study_does_not_go_on_with_other_arguments(commands, tmp_path: Path, capsys: pytest.CaptureFixture):
    commands("--scale", "base", "--corpus", "a.txt")
    for words, told in (
        (["--corpus", "b.txt"], "--corpus a.txt, not b.txt"),
        (["--corpus", "a.txt", "--seeds", "1", "2"], "--seeds (none), not 1 2"),
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
            commands("--scale", "half", "--corpus", "a.txt", "--seeds", *seeds)
        assert "each of them once" in capsys.readouterr().err


def test_missing_data_are_said_before_pretraining(commands, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        commands("--scale", "half", "--corpus", "a.txt", "--data_dir", "nowhere")
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
    def interrupted(command: list[str | Path]):
        raise KeyboardInterrupt

    monkeypatch.setattr("reporting.study.execute", interrupted)
    with pytest.raises(SystemExit) as ended:
        study.run("run_seq_cls.py")
    assert ended.value.code == 130 and "the same command goes on" in capsys.readouterr().err


def studied(user: User, folder: Path, *words: str) -> tuple[Path, subprocess.CompletedProcess]:
    """The whole study on a part of the sample: its folder, and the command that ended."""
    lines = (user.folder / "sample_data" / "corpus.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "corpus.jsonl").write_text("".join(lines[:1500]), encoding="utf-8")
    command = [sys.executable, SCRIPTS / "spanbert_study.py", "--scale", "sample", "--ckpt_dir", folder, *words]
    command += ["--corpus", folder / "corpus.jsonl", "--cache_dir", folder / "cache"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=user.folder)
    assert done.returncode == 0, done.stderr
    name = "spanbert-nsmc-sample" + "-as-published" * ("--as_published" in words)
    return folder / name, done


def accuracies(folder: Path) -> list[float]:
    """The scores in the study's table."""
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    return [float(line.split("|")[-2].split("ᵗ")[0]) for line in lines if line.startswith("| spanbert-pre")]


FIGURES = {f"{name}.{kind}" for name in ("loss", "accuracy") for kind in ("png", "svg")}


@pytest.mark.slow
def test_the_whole_study_on_a_part_of_the_sample(user: User, tmp_path: Path):
    """Pretraining, five fine-tunings, the table and both figures."""
    folder, _ = studied(user, tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        *("study.json", "pretraining", "table.md", *FIGURES),
        *(f"pre-{epochs}-{pooling}" for epochs, pooling in CELLS),
    }
    scores = accuracies(folder)
    assert len(scores) == 5 and min(scores) > 0.85
    for epochs, pooling in CELLS:
        results = json.loads((folder / f"pre-{epochs}-{pooling}" / "results.json").read_text())
        assert (results["pretraining"] or {"epochs": 0})["epochs"] == epochs
        assert results["config"]["linear_classifier"] and results["config"]["pooling"] == pooling
    config = json.loads((folder / "pre-5-max" / "run_config.json").read_text())
    assert config["model_name_or_path"] != "" and not config["from_scratch"]
    assert (folder / "loss.png").stat().st_size > 10_000
    caption = (folder / "table.md").read_text(encoding="utf-8").split("\n")[0]
    assert caption.startswith("Pretrained by the SpanBERT paper's recipe, which is not the Korean original's")


@pytest.mark.slow
def test_the_whole_study_as_published_on_a_part_of_the_sample(user: User, tmp_path: Path):
    """Two pretrainings whose rates end at 0, which leave the encoder that the rows start from."""
    folder, done = studied(user, tmp_path, "--as_published", "--logging_steps", "1")
    assert {path.name for path in folder.iterdir()} == {
        *("study.json", "pretraining-5", "pretraining-10", "table.md", *FIGURES),
        *(f"pre-{epochs}-{pooling}" for epochs, pooling in CELLS),
    }
    for epochs in (5, 10):
        events = (folder / f"pretraining-{epochs}" / "metrics.jsonl").read_text().splitlines()
        rates = [event["learning_rate"] for event in map(json.loads, events) if event["event"] == "train"]
        after = len(rates) - round(0.1 * len(rates))  # the sample's configuration warms up in the first tenth
        assert max(rates) == pytest.approx(1e-3, rel=0.02) and rates[-1] == pytest.approx(0, abs=1.1e-3 / after)
        (checkpoint,) = (folder / f"pretraining-{epochs}").glob("checkpoint-*")
        known = json.loads((checkpoint / "config.json").read_text())
        assert (known["mlm_head"], known["sbo"]) == ("tied", "original")
        assert known["pretraining"]["epochs"] == known["pretraining"]["planned_epochs"] == epochs
        assert known["pretraining"]["recipe"] == AS_PUBLISHED
    scores = accuracies(folder)
    assert len(scores) == 5 and min(scores) > 0.85
    caption = (
        "Pretrained with the Korean original's settings (--as_published), in a whole run, whose learning rate ends"
    )
    assert f"\n{caption} at 0: spanbert-pre:5-cls, " in done.stdout
    assert "unknown" not in done.stderr
