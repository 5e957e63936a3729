"""What the end-to-end tests share: a folder of sample data, and a user who types commands in it.

A module about one script names it, `SCRIPT`, and has `types` and `is_refused` for it.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from download_server import Server, serving
from fork_server import ForkServer
from training.results import MetricsLog

REPOSITORY = Path(__file__).resolve().parents[1]
# A run that learns nothing, but has everything a run has: three checkpoints, losses, evaluations, results.
BRIEFLY = "--max_steps 6 --logging_steps 1 --eval_steps 2 --save_steps 2 --save_total_limit 9 --no_cuda".split()
# One that has a checkpoint and results.
ONE_STEP = "--max_steps 1 --logging_steps 1 --eval_steps 0 --save_steps 0 --no_cuda".split()


def sample(task: str, output_dir: str, *words: object) -> list[object]:
    """The words of a command on the sample of a task."""
    return ["--task", task, "--config_file", "sample.json", "--output_dir", output_dir, *words]


nsmc = functools.partial(sample, "nsmc")


@dataclass(frozen=True)
class Finished:
    """What a command left on the screen."""

    out: str
    err: str

    @property
    def error(self) -> str:
        """What it says is wrong, without its own name."""
        *before, message = re.split(r"\brun_\w+\.py: ", self.err)
        assert len(before) <= 1, f"more than one error:\n{self.err}"
        return message.strip()


@dataclass(frozen=True)
class User:
    """Somebody at a keyboard in `folder`, which holds `sample_data`. Paths in commands are relative to it."""

    folder: Path
    environment: dict[str, str]
    fork_server: ForkServer

    def starts(self, *words: object, script: str = "run_seq_cls.py", **options) -> subprocess.Popen[str]:
        """The command, running; its output has to be read."""
        command = [sys.executable, str(REPOSITORY / script), *map(str, words)]
        settings = {"cwd": self.folder, "env": self.environment, "encoding": "utf-8"} | options
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(command, **(pipes | settings))

    def types(
        self,
        *words: object,
        script: str = "run_seq_cls.py",
        code: int = 0,
        stdin: str = "",
        timeout: int = 300,
        fresh: bool = False,
        **options,
    ) -> Finished:
        """Runs the command to its end, which must be with that exit code and without a traceback.

        fresh: by a Python of its own, which takes seconds longer; with options (of Popen) always.
        """
        if fresh or options:
            process = self.starts(*words, script=script, **options)
            try:
                out, err = process.communicate(stdin, timeout=timeout)
            finally:
                process.kill()
            ended = process.returncode
        else:
            command = [str(REPOSITORY / script), *map(str, words)]
            ended, out, err = self.fork_server.run(command, self.folder, stdin, timeout)
        assert "Traceback" not in out + err, err
        assert ended == code, f"exit code {ended}\n{out}\n{err}"
        return Finished(out, err)

    def is_refused(self, *words: object, **options) -> str:
        """Runs a command that cannot be carried out; returns the error message. Nothing may be on standard output."""
        finished = self.types(*words, code=2, **options)
        assert finished.out == "" and finished.error
        return finished.error

    def run_dir(self, output_dir: str) -> Path:
        return self.folder / "ckpt" / output_dir

    def results(self, output_dir: str) -> dict:
        return json.loads((self.run_dir(output_dir) / "results.json").read_text(encoding="utf-8"))

    def losses(self, output_dir: str) -> list[float]:
        """As they were logged."""
        return [line["loss"] for line in self.log(output_dir, "train")]

    def log(self, output_dir: str, event: str) -> list[dict]:
        """The lines of one kind in `metrics.jsonl`."""
        lines = (self.run_dir(output_dir) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [line for line in map(json.loads, lines) if line["event"] == event]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def wait_for_steps(process: subprocess.Popen[str], folder: Path, number: int) -> None:
    """Waits until the run in `folder` has logged so many steps and evaluations. It must not end before."""
    while len(MetricsLog(folder).read()) < number:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


@pytest.fixture(scope="session")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """A user with sample data and without network. One thread: two on a busy machine may take ten times as long."""
    folder = tmp_path_factory.mktemp("user")
    offline = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(folder / "huggingface")}
    # REHEARSE_CAPTURE: `--capture true` may be typed on a CPU, see training/captured_step.py.
    settings = {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", "REHEARSE_CAPTURE": "1"}
    environment = os.environ | offline | settings
    user = User(folder, environment, ForkServer(environment))
    user.types(script="scripts/make_sample_data.py")
    yield user
    user.fork_server.stop()


@pytest.fixture(scope="module")
def types(user: User, request: pytest.FixtureRequest) -> Callable[..., Finished]:
    return functools.partial(user.types, script=request.module.SCRIPT)


@pytest.fixture(scope="module")
def is_refused(user: User, request: pytest.FixtureRequest) -> Callable[..., str]:
    return functools.partial(user.is_refused, script=request.module.SCRIPT)


@pytest.fixture(scope="session")
def brief_run(user: User) -> str:
    """The output folder of a finished run with checkpoints 2, 4 and 6. To change it, copy it."""
    user.types(*nsmc("brief", *BRIEFLY))
    return "brief"


@pytest.fixture
def copied_run(user: User, brief_run: str, request: pytest.FixtureRequest) -> str:
    """The output folder of a copy of that run."""
    name = re.sub(r"\W+", "-", request.node.name)
    shutil.copytree(user.run_dir(brief_run), user.run_dir(name))
    return name


@pytest.fixture(autouse=True)
def subnormal_numbers() -> Iterator[None]:
    """A Runtime sets for its whole process that they count as 0: the next test of the process has them again."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for the download scripts to fetch from."""
    yield from serving()
