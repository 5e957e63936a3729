"""Runs scripts as `python3 script words` does, but with all that they import imported already, which takes seconds.

What a script misses among its own imports is not seen here: tests/scripts/test_documented_commands.py starts each by a
Python of its own.

The server is a process that has everything imported, and runs each command in a copy of itself. Commands are lines of
JSON on its standard input, exit codes are lines on its standard output.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import numpy as np

# What takes long, and what it imports.
IMPORTED = (
    "pydantic.main",
    "sklearn.metrics",
    "transformers.data.data_collator",
    "transformers.models.electra.modeling_electra",
)
REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("models", "processors", "storage", "training", "workflows")
# What the scripts import of this repository, and what that imports: a third of a second. `training.xla` and others that
# are imported only where they are needed are left out.
OF_THE_REPOSITORY = (
    "workflows.few_shot",
    "workflows.fine_tuning",
    "workflows.pretraining",
    "workflows.question_answering",
    "workflows.recurring_questions",
    "workflows.scoring",
    "workflows.span_selection",
)
STREAMS = ("stdin", "stdout", "stderr")


class ForkServer:
    """The server, as the tests see it."""

    def __init__(self, environment: dict[str, str]):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, __file__], env=environment, encoding="utf-8", **pipes)

    def run(self, command: list[str], folder: Path, stdin: str, timeout: int) -> tuple[int, str, str]:
        """Exit code (negative: of the signal that ended it), standard output and error. timeout: seconds."""
        with tempfile.TemporaryDirectory() as name:
            files = [Path(name, stream) for stream in STREAMS]
            files[0].write_text(stdin, encoding="utf-8")
            order = {"command": command, "folder": str(folder), "streams": name, "timeout": timeout}
            print(json.dumps(order), file=self.process.stdin, flush=True)
            code = int(self.process.stdout.readline())
            return code, *(file.read_text(encoding="utf-8") for file in files[1:])

    def stop(self) -> None:
        self.process.communicate()


def become(command: list[str], folder: str, streams: str, timeout: int) -> NoReturn:
    """Goes on as the command. streams: the folder of the files that are its standard input, output and error."""
    signal.alarm(timeout)
    os.chdir(folder)
    for number, stream in enumerate(STREAMS):
        os.dup2(os.open(Path(streams, stream), os.O_RDWR | os.O_CREAT), number)
    # Otherwise every run would draw the same, and one that forgets its seed would be as good as any.
    random.seed()
    np.random.seed()
    sys.argv = command
    sys.path[0] = str(Path(command[0]).parent)
    if not Path(command[0]).is_relative_to(REPOSITORY):  # a copy of the repository, which imports its own
        for name in [name for name in sys.modules if name.split(".")[0] in ROOMS]:
            del sys.modules[name]
    try:
        runpy.run_path(command[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code or 0
    sys.stdout.flush()
    os._exit(code)  # Python would take half a second to clear away all that is imported


def serve() -> None:
    with os.fdopen(os.dup(0)) as orders:
        for order in orders:
            child = os.fork()
            if not child:
                become(**json.loads(order))
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    own, sys.path[0] = sys.path[0], str(REPOSITORY)
    for name in (*IMPORTED, *OF_THE_REPOSITORY):
        importlib.import_module(name)
    sys.path[0] = own
    gc.freeze()  # no copy has to look for garbage among all this
    serve()
