"""Runs of the scripts that send themselves a signal at a chosen moment, each in a copy of a process that is warm."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import signal
import sys
from pathlib import Path

from fork_server import IMPORTED

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.stem for path in [*ROOT.glob("run_*.py"), *ROOT.glob("pretrain_*.py")])
# What changes a folder. Removals are counted wherever they are: rmtree names files relative to an open folder.
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

# A fork server that has imported everything, and computed nothing: each run starts in no time, in a clean process. Not
# conftest.py's: these runs are changed before they start.
server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(
    [*IMPORTED, "pytest", *SCRIPTS, "training.loop", "training.plan", "models.collator", "models.splinter"]
)


def start(
    folder: Path, command: list[str], kind: str = "", moment: int = 0, number: int = signal.SIGKILL, counted: str = ""
) -> int:
    """Runs `command` in `folder`, and returns its exit code.

    At its `moment`-th micro-batch or file operation (`kind`) it sends itself the signal `number`. counted: a file for
    the numbers of moments that the run has had at its end.
    """
    process = server.Process(target=_run, args=(folder, list(map(str, command)), kind, moment, number, counted))
    process.start()
    process.join(timeout=300)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def _run(folder: Path, command: list[str], kind: str, moment: int, number: int, counted: str) -> None:
    os.chdir(folder)
    log = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from training import plan

    counts = {"micro-batch": 0, "file": 0}

    def count(event: str) -> None:
        counts[event] += 1
        if (event, counts[event]) == (kind, moment):
            os.kill(os.getpid(), number)

    def audit(event: str, arguments: tuple) -> None:
        is_written = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if event in CHANGES or (is_written and any(name in str(arguments[0]) for name in ("ckpt/", "cache/"))):
            count("file")

    original = plan._MicroBatches.__getitem__
    plan._MicroBatches.__getitem__ = lambda batches, place: (count("micro-batch"), original(batches, place))[1]
    sys.addaudithook(audit)
    sys.argv = [str(ROOT / command[0]), *command[1:]]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
    if counted:
        Path(counted).write_text(json.dumps(counts))
    os._exit(code)
