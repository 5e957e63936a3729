"""Runs of the scripts that are sent a signal at a chosen moment, and what they leave behind.

Each run is a copy of a process that is warm. Used by tests and by `soak.py`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import runpy
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fork_server import IMPORTED

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.stem for path in [*ROOT.glob("run_*.py"), *ROOT.glob("pretrain_*.py")])
# What changes a folder. Removals are counted wherever they are: rmtree names files relative to an open folder.
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OF_THE_CLOCK = {"seconds", "rows_per_second", "tokens_per_second", "peak_memory_bytes"}
# Nor is it a difference whether a run was resumed, nor that somebody committed during a soak of hours.
NOT_COMPARED = OF_THE_CLOCK | {"resume", "git_commit"}
MICRO_BATCHES_A_SAMPLE = 5

# A fork server that has imported everything, and computed nothing: each run starts in no time, in a clean process. Not
# conftest.py's: these runs are changed before they start.
server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(
    [*IMPORTED, "pytest", *SCRIPTS, "training.loop", "training.plan", "models.collator", "models.splinter"]
)


def start(
    folder: Path,
    command: list[str],
    kind: str = "",
    moment: float = 0,
    number: int = signal.SIGKILL,
    counted: str = "",
    timeout: float = 300,
) -> int:
    """Runs `command` in `folder`, and returns its exit code. Its temporary files go into `folder/tmp`.

    At its `moment`-th micro-batch or file operation (`kind`) it sends itself the signal `number`; with the kind `clock`
    it is sent to it after `moment` seconds. counted: a file for what it had at its end: numbers of moments by kind,
    `peak_mib`, `open_files`, and `samples` of step, resident MiB and open files, taken at micro-batches. Raises
    AssertionError where the run has not ended `timeout` seconds later.
    """
    process = server.Process(target=_run, args=(folder, list(map(str, command)), kind, moment, number, counted))
    process.start()
    try:
        if kind == "clock":
            process.join(moment)
            if process.is_alive():
                os.kill(process.pid, number)
        process.join(timeout)
        if process.exitcode is None:
            raise AssertionError(f"the run hangs: {folder}, {kind} {moment:g}, {signal.Signals(number).name}")
        return process.exitcode
    finally:  # neither a run that hangs goes on, nor one whose caller is interrupted
        process.kill()
        process.join()


def _run(folder: Path, command: list[str], kind: str, moment: float, number: int, counted: str) -> None:
    os.chdir(folder)
    log = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    Path("tmp").mkdir(exist_ok=True)
    os.environ["TMPDIR"], tempfile.tempdir = str(Path("tmp").resolve()), None
    # As it is in a run that a user starts; in a fork server's copy, semaphores would outlive a kill.
    multiprocessing.set_start_method("fork", force=True)
    from training import plan

    counts = {"micro-batch": 0, "file": 0}
    samples: list[tuple[int, float, int]] = []

    def count(event: str) -> None:
        counts[event] += 1
        if (event, counts[event]) == (kind, moment):
            os.kill(os.getpid(), number)

    def audit(event: str, arguments: tuple) -> None:
        is_written = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if event in CHANGES or (is_written and any(name in str(arguments[0]) for name in ("ckpt/", "cache/"))):
            count("file")

    original = plan._MicroBatches.__getitem__

    def make(batches: Any, place: tuple[int, slice]) -> Any:
        count("micro-batch")
        if counted and counts["micro-batch"] % MICRO_BATCHES_A_SAMPLE == 0:
            samples.append((place[0], *footprint()))
        return original(batches, place)

    plan._MicroBatches.__getitem__ = make
    sys.addaudithook(audit)
    sys.argv = [str(ROOT / command[0]), *command[1:]]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
    if counted:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # of KiB
        figures = {"peak_mib": peak, "open_files": footprint()[1], "samples": samples}
        Path(counted).write_text(json.dumps(counts | figures))
    os._exit(code)


def footprint() -> tuple[float, int]:
    """Resident memory of this process in MiB, and how many files it has open."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208


# --------------------------------------------------------------------------------------------------------------------
# What a run leaves
# --------------------------------------------------------------------------------------------------------------------


def left_in(folder: Path) -> dict[str, object]:
    """Every file and folder of outputs, cache and temporary files, and what is in it."""
    paths = sorted(path for name in ("ckpt", "cache", "tmp") for path in (folder / name).rglob("*"))
    return {str(path.relative_to(folder)): None if path.is_dir() else content_of(path) for path in paths}


def content_of(path: Path) -> object:
    """What is in a file, without what is NOT_COMPARED."""
    if path.name == "training_state.pt":
        return "a state"
    if path.name == "metrics.jsonl":
        return [comparable(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".json":
        return comparable(json.loads(path.read_text(encoding="utf-8")))
    return path.read_bytes()


def comparable(value: object) -> object:
    """A value of a JSON file without the keys that are NOT_COMPARED."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items() if key not in NOT_COMPARED}
    return [comparable(item) for item in value] if isinstance(value, list) else value


def differences(expected: dict[str, object], found: dict[str, object]) -> list[str]:
    """A line for each file that is left over, is missing or has other content than expected, with the first place."""
    lines = [f"{path}: left over" for path in found.keys() - expected.keys()]
    lines += [f"{path}: half-written" for path in expected if re.search(r"\.tmp\b", path)]
    lines += [f"{path}: missing" for path in expected.keys() - found.keys()]
    for path in sorted(expected.keys() & found.keys()):
        lines += [f"{path}{place}" for place in _first_place(expected[path], found[path])]
    return lines


def _first_place(expected: object, found: object) -> Iterator[str]:
    """`[12]["loss"]: 0.25 instead of 0.5`, at most once."""
    if expected == found and type(expected) is type(found):
        return
    keys: list[Any] = []
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        keys = list(expected)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        keys = list(range(len(expected)))
    for key in keys:
        for place in _first_place(expected[key], found[key]):
            yield f"[{key!r}]{place}"
            return
    yield f": {found!r:.200} instead of {expected!r:.200}"
