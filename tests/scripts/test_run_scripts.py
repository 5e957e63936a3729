"""The eight scripts of the long documents: which command they stand for, and that they pass on what they are given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY

TASKS = {
    "tydiqa": ("run_long_qa.py", "tydiqa"),
    "korquad_2": ("run_long_qa.py", "korquad-2"),
    "fake_news": ("run_seq_cls.py", "fake-news"),
    "modu_sentiment": ("run_seq_cls.py", "modu-sentiment"),
}
CONFIG_FILES = {"": "kobigbird-bert-base.json", "_short": "klue-roberta-base.json"}


@pytest.fixture
def python3(tmp_path: Path) -> Path:
    """A folder with a `python3` that tells where it runs and what it is given, and fails if the last word is `fail`."""
    program = tmp_path / "bin" / "python3"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([os.getcwd(), *sys.argv[1:]]))\n"
        "sys.exit(7 if sys.argv[-1] == 'fail' else 0)\n"
    )
    program.chmod(0o755)
    return program.parent


def call(python3: Path, script: str, *words: str, cwd: Path, code: int = 0, **environment: str) -> list[str]:
    settings = {key: value for key, value in os.environ.items() if key != "USE_TPU"} | environment
    settings["PATH"] = f"{python3}:{settings['PATH']}"
    result = subprocess.run(
        ["bash", script, *words], cwd=cwd, env=settings, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (code, "")
    return json.loads(result.stdout)


@pytest.mark.parametrize("size", CONFIG_FILES)
@pytest.mark.parametrize("task", TASKS)
def test_names_its_config_and_passes_words_on(python3: Path, tmp_path: Path, task: str, size: str) -> None:
    path = REPOSITORY / "scripts" / f"run_{task}{size}.sh"
    script, name = TASKS[task]
    command = [str(REPOSITORY), script, "--task", name, "--config_file", CONFIG_FILES[size]]
    assert (REPOSITORY / "config" / name / CONFIG_FILES[size]).is_file()
    assert os.access(path, os.X_OK)
    words = ["--seeds", "1", "2", "--output_dir", "two words", "", "*", "$HOME"]
    assert call(python3, f"scripts/{path.name}", cwd=REPOSITORY) == command
    assert call(python3, str(path), *words, cwd=tmp_path) == command + words  # from another folder
    assert call(python3, path.name, *words, cwd=path.parent, USE_TPU="1") == [*command, "--use_tpu", *words]
    assert call(python3, str(path), cwd=tmp_path, USE_TPU="0") == command
    call(python3, str(path), "fail", cwd=tmp_path, code=7)
