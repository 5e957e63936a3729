"""Tests and measures the GPU of this machine within the given time; run by `scripts/measure_gpu.sh`.

    bash scripts/measure_gpu.sh --minutes 9 --output measured
    bash scripts/measure_gpu.sh --rehearse --output rehearsed       on a CPU, with tiny models: the figures mean nothing

First it runs the tests marked gpu, for at most a third of the time. Then come the cells of benchmarks/bench_gpu.py,
the most important ones first, each in its own process, and at last the tests of --compile. When one of them fails, it
records why and continues with the next. After each of them it rewrites two files in FOLDER: gpu.json (device, versions,
all figures and ratios, failures) and gpu.md (the same as tables). Ctrl-C ends it, and the files keep what was measured.

The exit code is 0 if nothing failed, 1 if something failed (the files are written all the same), and 2 if there is no
GPU or torch is older than 2.11.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu_report import LINES_OF_A_FAILURE, as_markdown, ratios_of
from training.config import UsageError
from training.results import git_commit, versions, write_json, write_whole

ROOT = Path(__file__).resolve().parents[1]
OLDEST_TORCH = (2, 11)
# The keys of CELLS in benchmarks/bench_gpu.py, which would take seconds to import.
CELLS = "nsmc_base bigbird_4096 nsmc_small korquad_base spanbert splinter evaluation first_step end_to_end".split()
TESTS, COMPILED_TESTS = "tests", "tests of --compile"
TEST_FILE = "tests/scripts/test_gpu.py"
# The largest share of the remaining time that a part may take, so that a part that hangs leaves time for the others.
SHARE_OF_TESTS, SHARE_OF_A_CELL = 1 / 3, 1 / 2
LEAST_SECONDS = 60  # a cell may take that long, whatever its share is
SECONDS_TO_BEGIN = 5  # no part is started when less time than this remains
AT_ONCE_IN_REHEARSAL = 2
OUTCOME = re.compile(r"^(tests/\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """One command to run.

    json: the file that the command writes its figures to; None: it runs tests. It is stopped after `share` of the
    remaining time, but not before `least` seconds.
    """

    name: str
    command: Sequence[str]
    json: Path | None = None
    share: float = SHARE_OF_A_CELL
    least: float = LEAST_SECONDS


@dataclass
class Running:
    """A part that has been started. log: the file that holds its output. limit: it is stopped after so many seconds."""

    part: Part
    process: subprocess.Popen
    log: Path
    started: float
    limit: float

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """Kills the process and everything that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Measurement:
    """What has been measured so far (`found`, the content of gpu.json), and how much time remains."""

    def __init__(self, output: Path, minutes: float, is_rehearsal: bool, started: float):
        """started: by time.monotonic(); the minutes begin then."""
        self.output, self.is_rehearsal = output, is_rehearsal
        self._started, self._seconds = started, 60 * minutes
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.found: dict[str, Any] = {
            **machine(is_rehearsal),
            "commit": git_commit(ROOT),
            "started": now,
            "minutes": minutes,
            "seconds": 0.0,
            "rehearsal": is_rehearsal,
            "tests": {"passed": 0, "failed": 0, "names": {}},
            "cells": {},
            "ratios": {},
            "no_time_for": [],
            "failures": [],
        }

    @property
    def left(self) -> float:
        """Seconds that remain."""
        return self._started + self._seconds - time.monotonic()

    def run(self, parts: Sequence[Part], at_once: int = 1) -> None:
        """Starts the parts in their order, `at_once` of them at a time, and rewrites the files when one has ended."""
        waiting: deque[Part] = deque(parts)
        running: list[Running] = []
        with tempfile.TemporaryDirectory() as folder:
            try:
                while waiting or running:
                    while waiting and len(running) < at_once:
                        which = f"{len(parts) - len(waiting) + 1} of {len(parts)}"
                        running += self._begin(waiting.popleft(), Path(folder), which)
                    time.sleep(0.05)
                    for one in list(running):
                        if one.process.poll() is not None or time.monotonic() - one.started > one.limit:
                            running.remove(one)
                            self._end(one)
            except KeyboardInterrupt:
                not_begun = [part.name for part in (*(one.part for one in running), *waiting)]
                self._fail("interrupted", f"without: {', '.join(not_begun)}")
            finally:
                for one in running:
                    one.kill()
                self.write()

    def _begin(self, part: Part, folder: Path, which: str) -> list[Running]:
        """Starts a part, unless no time remains for it; then the list is empty."""
        left = self.left
        if left < SECONDS_TO_BEGIN:
            say(f"{part.name} ({which}): no time is left for it")
            self.found["no_time_for"].append(part.name)
            self.write()
            return []
        say(f"{part.name} ({which}), {clock(left)} left")
        log = folder / f"{which}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                part.command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT,
                env=self._environment(), start_new_session=True,
            )  # fmt: skip
        return [Running(part, process, log, time.monotonic(), min(left, max(part.least, left * part.share)))]

    def _environment(self) -> dict[str, str]:
        rehearsal = {"REHEARSE_CAPTURE": "1", "OMP_NUM_THREADS": "1"} if self.is_rehearsal else {}
        return os.environ | {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"} | rehearsal

    def _end(self, one: Running) -> None:
        """Reads the figures of a part that has ended or reached its limit; figures written before a crash count too."""
        part, code = one.part, one.process.poll()
        one.kill()  # even if it has ended: it may have left processes behind
        if part.json is None:
            self._add_tests(one.said)
        elif part.json.is_file():
            self.found["cells"][part.name] = json.loads(part.json.read_text(encoding="utf-8"))
        last_lines = "\n".join(one.said.rstrip().splitlines()[-LINES_OF_A_FAILURE:])
        if code is None:
            self._fail(part.name, f"stopped after {one.limit:.0f} s, its share of the time\n{last_lines}")
        elif code:
            reason = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._fail(part.name, f"{reason}\n{last_lines}")
        elif part.json is not None and part.name not in self.found["cells"]:
            self._fail(part.name, f"it ended without figures\n{last_lines}")
        self.write()

    def _add_tests(self, said: str) -> None:
        tests = self.found["tests"]
        names = dict(OUTCOME.findall(said))
        if self.is_rehearsal:
            names = {line: "collected" for line in said.splitlines() if line.startswith(f"{TEST_FILE}::")}
        tests["names"] |= names
        outcomes = list(tests["names"].values())
        tests["passed"] = outcomes.count("PASSED")
        tests["failed"] = outcomes.count("FAILED") + outcomes.count("ERROR")

    def _fail(self, what: str, why: str) -> None:
        say(f"{what} failed: {why.splitlines()[0]}")
        self.found["failures"].append({"what": what, "why": why.strip()})

    def write(self) -> None:
        """Replaces both files as a whole, so that a kill leaves either these or the previous ones."""
        self.found["seconds"] = round(self._seconds - self.left, 1)
        self.found["ratios"] = ratios_of(self.found["cells"], self.is_rehearsal)
        write_json(self.output / "gpu.json", self.found)
        write_whole(self.output / "gpu.md", as_markdown(self.found))


def machine(is_rehearsal: bool) -> dict[str, Any]:
    """{"device": its name and size, "versions": {library: version}}"""
    import torch

    from training.runtime import cpu_capabilities

    found = {"python": platform.python_version(), **versions(), "torch": torch.__version__}
    if is_rehearsal:
        return {"device": cpu_capabilities().get("cpu_name", platform.machine()), "versions": found}
    facts = torch.cuda.get_device_properties(0)
    device = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, {os.cpu_count()} CPU cores"
    return {"device": device, "versions": {**found, "CUDA": torch.version.cuda, "driver": driver_version()}}


def driver_version() -> str | None:
    """The version of NVIDIA's driver; None if nvidia-smi does not tell."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def why_not(is_rehearsal: bool) -> str | None:
    """A sentence that says why nothing can be measured on this machine; None if it can."""
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported by {sys.executable}: {error}"
    if tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2]) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        return f"torch {torch.__version__} is too old: {oldest} or newer is needed"
    if is_rehearsal or torch.cuda.is_available():
        return None
    from training.runtime import why_no_gpu

    return f"there is no GPU that torch {torch.__version__} can use: {why_no_gpu()}"


def parts_of(is_rehearsal: bool, folder: Path) -> Iterator[Part]:
    """All parts, the most important ones first. folder: the cells write their figures there."""
    pytest = [sys.executable, "-m", "pytest", "-m", "gpu", TEST_FILE, "--color=no", "-p", "no:cacheprovider"]
    if is_rehearsal:
        yield Part(TESTS, [*pytest, "--collect-only"])
    else:
        yield Part(TESTS, [*pytest, "-vv", "--tb=short", "-k", "not compiled"], share=SHARE_OF_TESTS, least=0)
    flags = ["--rehearse", "--repeats", "1"] if is_rehearsal else []
    for cell in CELLS:
        file = folder / f"{cell}.json"
        yield Part(
            cell, [sys.executable, str(ROOT / "benchmarks/bench_gpu.py"), cell, "--json", str(file), *flags], file
        )
    if not is_rehearsal:
        yield Part(COMPILED_TESTS, [*pytest, "-vv", "--tb=short", "-k", "compiled"], share=1)


def say(text: str) -> None:
    print(f"measure_gpu: {text}", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """`75` as `1:15`."""
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{seconds:02}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="measure_gpu.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--minutes", type=float, default=9, help="how long it may take; default: 9")
    parser.add_argument("--output", type=Path, default=Path("measured"), help="folder for the files; default: measured")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with tiny models: the figures mean nothing")
    started = time.monotonic()
    arguments = parser.parse_args(argv)
    if not arguments.minutes > 0:
        parser.error(f"minutes must be above 0, not {arguments.minutes:g}")
    if reason := why_not(arguments.rehearse):
        say(reason)
        return 2
    output = arguments.output.absolute()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        say(f"{output} cannot be made: {error.strerror}")
        return 2
    measurement = Measurement(output, arguments.minutes, arguments.rehearse, started)
    # SIGTERM ends it as Ctrl-C does, and Ctrl-C does so even where a shell has started it in the background.
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in signals]
    try:
        with tempfile.TemporaryDirectory() as folder:
            parts = list(parts_of(arguments.rehearse, Path(folder)))
            measurement.run(parts, AT_ONCE_IN_REHEARSAL if arguments.rehearse else 1)
    except UsageError as error:  # a full disk
        say(str(error))
        return 1
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
    failures, missing = measurement.found["failures"], measurement.found["no_time_for"]
    say(f"written: {output / 'gpu.json'}, {output / 'gpu.md'}; failed: {len(failures)}, no time for: {len(missing)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
