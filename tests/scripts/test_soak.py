"""`scripts/soak.sh` for half a minute, and what it says where a run is not what the unbroken one was."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest

import soak
from killed_runs import ROOT

COMMAND = ["bash", str(ROOT / "scripts" / "soak.sh")]
ENVIRONMENT = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, words)], env=ENVIRONMENT, capture_output=True, text=True)


@pytest.mark.slow
def test_a_short_soak_finds_everything_equal_and_leaves_nothing(tmp_path: Path):
    done = run("--minutes", 0.3, "--steps", 20, "--kills", 3, "--folder", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything equal, nothing left behind, memory and open files flat" in done.stdout
    for name in soak.COMMANDS:
        assert re.search(
            rf"^ +\d+:\d\d  {name} 1: killed \d times, equal; peak \d+ MiB, \d+ files open$", done.stdout, re.M
        )
        assert re.search(rf"^{name} +\d+ +\d+ .*steps; from step \d+ on \d+ MiB, at the end \d+", done.stdout, re.M)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_differs_is_told_with_its_place_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """Compared with a run whose losses were others, and which had written one file less."""
    monkeypatch.setattr(sys, "argv", ["soak.py", *"--minutes 0.1 --steps 8 --kills 1 --folder".split(), str(tmp_path)])
    left_in, differing = soak.left_in, []

    def changed(folder: Path) -> dict[str, object]:
        left = left_in(folder)
        if folder.name.endswith("-unbroken"):
            left["ckpt/run/metrics.jsonl"][3]["loss"] += 1e-9
            left.pop("ckpt/run/training.json")
            differing.append(folder)
        return left

    monkeypatch.setattr(soak, "left_in", changed)
    monkeypatch.setattr(soak.Soak, "run_long", lambda *_: None)  # compared with nothing
    with pytest.raises(SystemExit) as end:
        soak.main()
    assert end.value.code == 1 and len(differing) == 2
    said = capsys.readouterr().out
    assert re.search(
        r"WRONG: fine-tuning-1 \((SIG\w+ at [\w-]+ [\d.e-]+: -?\d+|)\):\n    ckpt/run/training.json: left over", said
    )
    assert len(re.findall(r"ckpt/run/metrics.jsonl\[3\]\['loss'\]: [\d.]+ instead of [\d.]+", said)) >= 4
    assert {f"{name}-1" for name in soak.COMMANDS} <= {path.name for path in next(tmp_path.iterdir()).iterdir()}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--minutes", 0], "minutes must be above 0, steps and kills at least 1"),
        (["--kills", 0], "minutes must be above 0, steps and kills at least 1"),
        (["--minutes", "nan"], "minutes must be above 0, steps and kills at least 1"),
        (["--corpus", "nowhere.txt"], "nowhere.txt: no such file or folder"),
        (["--folder", __file__], f"{__file__}: is no folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(words: list, error: str):
    done = run(*words)
    assert done.returncode == 2 and done.stderr.strip().endswith(f"soak.py: error: {error}")


@pytest.mark.slow
def test_ctrl_c_shows_what_was_found_and_leaves_nothing(tmp_path: Path):
    """Also where it is only the soak that gets it, and not the run that it waits for."""
    command = [*COMMAND, *"--minutes 1 --steps 100000 --kills 1 --folder".split(), str(tmp_path)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=PIPE, stderr=PIPE, text=True) as process:
        while not list(tmp_path.glob("soak-*/fine-tuning-unbroken/ckpt/run/metrics.jsonl")):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (130, "\nsoak.py: interrupted\n")
    assert "\nfine-tuning  0 " in out and out.endswith("interrupted; until then everything was equal\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_data_that_no_run_can_use_are_the_user_s_mistake(tmp_path: Path):
    (tmp_path / "data").mkdir()
    done = run("--minutes", 0.1, "--data_dir", tmp_path / "data", "--folder", tmp_path)
    assert done.returncode == 2 and "nsmc/ratings_train.txt: no such file" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def soak_in(folder: Path, **more: object) -> soak.Soak:
    arguments = {"minutes": 1, "steps": 20, "kills": 2, "seed": 0, "data_dir": None, "corpus": None, "model": None}
    soaking = soak.Soak(folder, argparse.Namespace(**arguments | more))
    for kind in soaking.kinds:
        kind.moments = {"clock": 1.0, "micro-batch": 20, "file": 20}
    return soaking


def test_a_run_that_hangs_is_told_and_the_soak_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def hang(folder: Path, *_: object, **__: object) -> int:
        raise AssertionError(f"the run hangs: {folder}")

    monkeypatch.setattr(soak, "start", hang)
    soaking = soak_in(tmp_path)
    soaking.run_broken(soaking.kinds[0], 1)
    soaking.run_long(soaking.kinds[1], 1)
    broken, long_run = soaking.wrong
    assert broken.startswith("fine-tuning-1 (") and f"the run hangs: {tmp_path}/fine-tuning-1" in broken
    assert long_run.startswith("pretraining-long (") and f"the run hangs: {tmp_path}/pretraining-long" in long_run
    with pytest.raises(SystemExit) as end:
        soaking.run_unbroken(soaking.kinds[0])
    assert end.value.code == 2


def test_real_data_reach_both_commands(tmp_path: Path):
    folders = {"data_dir": tmp_path / "data", "corpus": [tmp_path / "corpus"], "model": tmp_path / "model"}
    soaking = soak_in(tmp_path, steps=20_000, kills=100, **folders)
    tuning, pretraining = (soaking.words(kind) for kind in soaking.kinds)
    assert tuning[tuning.index("--data_dir") + 1] == str(tmp_path / "data")
    assert tuning[tuning.index("--model_name_or_path") + 1] == str(tmp_path / "model")
    assert pretraining[pretraining.index("--corpus") + 1] == str(tmp_path / "corpus")
    assert pretraining[pretraining.index("--tokenizer") + 1] == str(tmp_path / "model")
    assert tuning[tuning.index("--save_steps") + 1] == "50"
