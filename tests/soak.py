"""Kills training runs at random moments and resumes them until they are finished, again and again.

    bash scripts/soak.sh                                             # five minutes, sample data
    bash scripts/soak.sh --minutes 240 --steps 20000 --kills 100     # hours; each run is killed up to a hundred times
    bash scripts/soak.sh --minutes 60 --data_dir data --corpus data/corpus --model kosplinter    # real data

Fine-tuning (run_seq_cls.py) and pretraining (pretrain_spanbert.py) take turns. First each runs once without a break.
Then, for three quarters of the time, a run is begun in an empty folder, killed (SIGKILL, SIGTERM or SIGINT; at a
micro-batch, at a file operation or by the clock), resumed and killed again, at most `--kills` times, until it is
finished. What it leaves must be what the unbroken run left: every loss and score, every file and no other, no
temporary file, no process; its memory and open files must be those of the earlier runs. In the last quarter each
trains on and on, and memory and open files must be flat after a warm-up.

Runs compute in fp32. In bf16 on a CPU, oneDNN keeps code for each new shape, and memory grows for thousands of steps.

The exit code is 1 where something differs, grows or hangs, and the folder then stays; it is 2 where the unbroken run
fails. Ctrl-C ends the soak with the table of what was found until then.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if __name__ == "__main__":  # before the other imports; hours may be cut short by Ctrl-C, or read by `head`
    from workflows import startup

    startup.start()

from killed_runs import ROOT, differences, left_in, start

SMALL = "--hidden_size 32 --num_attention_heads 2 --intermediate_size 32 --num_hidden_layers 1".split()
COMMANDS = {
    "fine-tuning": ["run_seq_cls.py", "--task", "nsmc", "--config_file", "sample.json", "--max_seq_len", "48"],
    "pretraining": ["pretrain_spanbert.py", "--config_file", "sample.json", "--max_seq_length", "48", *SMALL],
}
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
OUTPUT = ["--output_dir", "run"]
SHORTEST_LONG_RUN = 100  # steps
SHARE_OF_LONG_RUNS = 0.25
# A long run's memory after this share of its samples is compared with that at its end.
WARM_UP = 0.4
GROWTH = 1.03  # of a long run's memory: more is a leak
GROWTH_OF_ROUNDS = 1.10  # of the peaks, which depend on where a run was resumed


@dataclass
class Kind:
    """One kind of run: its command, what the unbroken run left, and what all rounds found.

    moments: how many of each kind the unbroken run had, seconds under "clock".
    """

    name: str
    command: list[str]
    expected: dict[str, object] = field(default_factory=dict)
    moments: dict[str, float] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    peaks: list[float] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)
    long_run: str = ""


class Soak:
    """The folder of all runs, the kinds of runs, and what was found wrong."""

    def __init__(self, folder: Path, arguments: argparse.Namespace):
        self.folder, self.arguments = folder, arguments
        self.random = random.Random(arguments.seed)
        self.wrong: list[str] = []
        self.begun = time.monotonic()
        self.kinds = [Kind(name, self.command(name)) for name in COMMANDS]

    def command(self, name: str) -> list[str]:
        """The command, without what it says about steps."""
        arguments = self.arguments
        words = (
            OUTPUT + "--train_batch_size 8 --logging_steps 1 --save_total_limit 2 --precision fp32 --no_cuda".split()
        )
        if name == "fine-tuning":
            words += ["--data_dir", str(arguments.data_dir.resolve())] if arguments.data_dir else []
            words += ["--model_name_or_path", str(arguments.model.resolve())] if arguments.model else []
        else:
            words += ["--corpus", *(str(path.resolve()) for path in arguments.corpus)] if arguments.corpus else []
            words += ["--tokenizer", str(arguments.model.resolve())] if arguments.model else []
        return [*COMMANDS[name], *words]

    def say(self, text: str) -> None:
        """A line with the time since the beginning."""
        minutes, seconds = divmod(int(time.monotonic() - self.begun), 60)
        print(f"{minutes:>3}:{seconds:02}  {text}", flush=True)

    def minutes_spent(self) -> float:
        return (time.monotonic() - self.begun) / 60

    def begin(self, name: str) -> Path:
        """A new folder in which a run finds the sample data."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "sample_data").symlink_to(self.folder / "sample_data")
        return folder

    # ----------------------------------------------------------------------------------------------------------------
    # The three parts
    # ----------------------------------------------------------------------------------------------------------------

    def run_unbroken(self, kind: Kind) -> None:
        """The run that all others are compared with. Ends the program where it fails."""
        folder, before = self.begin(f"{kind.name}-unbroken"), time.monotonic()
        try:
            code = start(folder, self.words(kind), counted="figures.json", timeout=self.arguments.minutes * 60 + 600)
            why = f"ended with exit code {code}:\n{said(folder)}"
        except AssertionError as error:
            code, why = -1, f"has not ended: {error}"
        if code:
            print(f"soak.py: the unbroken run of {kind.name} {why}", file=sys.stderr)
            sys.exit(2)
        figures = json.loads((folder / "figures.json").read_text())
        kind.moments = {"clock": time.monotonic() - before} | {key: figures[key] for key in ("micro-batch", "file")}
        kind.expected = left_in(folder)
        self.say(
            f"{kind.name}: unbroken, {self.arguments.steps} steps in {kind.moments['clock']:.1f} s, "
            f"{len(kind.expected)} files and folders, peak {figures['peak_mib']:.0f} MiB"
        )

    def run_broken(self, kind: Kind, number: int) -> None:
        """A run that is killed again and again, and finished; compares what it leaves."""
        folder = self.begin(f"{kind.name}-{number}")
        history: list[str] = []
        try:
            code = self.killed_until_finished(kind, folder, history)
        except AssertionError as error:
            self.found(folder, history, [str(error)])
            return
        problems = [f"exit code {code}\n{said(folder)}"] if code else differences(kind.expected, left_in(folder))
        problems += ["a traceback\n" + said(folder)] * ("Traceback" in (folder / "said.txt").read_text())
        problems += [f"process {process} is still there" for process in processes_in(folder)]
        if problems:
            self.found(folder, history, problems)
            return
        figures = json.loads((folder / "figures.json").read_text())
        kind.peaks.append(figures["peak_mib"])
        kind.open_files.append(figures["open_files"])
        self.say(
            f"{kind.name} {number}: killed {sum(': 0' not in line for line in history)} times, equal; "
            f"peak {figures['peak_mib']:.0f} MiB, {figures['open_files']} files open"
        )
        shutil.rmtree(folder)

    def killed_until_finished(self, kind: Kind, folder: Path, history: list[str]) -> int:
        """Starts a run until it is finished, at the latest after so many kills as are asked for; returns its exit code.

        history: gets a line for each kill. Raises AssertionError where the run hangs.
        """
        code = -1
        while code and len(history) < self.arguments.kills:
            # Twice the share of a kill at the most, so that the kills are spread over the whole run.
            event = self.random.choice(list(kind.moments))
            moment = self.random.random() * min(1, 2 / self.arguments.kills) * kind.moments[event]
            how = self.random.choice(SIGNALS)
            moment = moment if event == "clock" else 1 + int(moment)
            code = start(folder, self.words(kind, history), event, moment, how, "figures.json", self.limit(kind))
            history.append(f"{how.name} at {event} {moment:.4g}: {code}")
            kind.starts += 1
            kind.kills[how.name] += code != 0
            if code not in (0, 130, -how):
                return code
        if code:
            kind.starts += 1
            code = start(folder, self.words(kind, history), counted="figures.json", timeout=self.limit(kind))
        return code

    def run_long(self, kind: Kind, seconds: float) -> None:
        """A run of about so many seconds, stopped by SIGINT; its memory and open files must be flat."""
        folder = self.begin(f"{kind.name}-long")
        rate = kind.moments["micro-batch"] / kind.moments["clock"]
        steps = max(SHORTEST_LONG_RUN, int(seconds * rate))
        # The first evaluation and the first checkpoint, which need memory that stays, belong to the warm-up.
        often = steps // 4
        words = [*kind.command, *in_steps(2 * steps, min(50, often), min(200, often))]
        try:
            code = start(folder, words, "micro-batch", steps, signal.SIGINT, "figures.json", 300 + 20 * seconds)
        except AssertionError as error:
            self.found(folder, [f"SIGINT at step {steps}"], [str(error)])
            return
        if code != 130:
            self.found(folder, [f"SIGINT at step {steps}"], [f"exit code {code}\n{said(folder)}"])
            return
        samples = json.loads((folder / "figures.json").read_text())["samples"]
        kind.long_run, problems = growth_in(samples)
        self.say(f"{kind.name}, a long run: {kind.long_run}")
        if problems:
            self.found(folder, [f"{steps} steps"], problems)

    # ----------------------------------------------------------------------------------------------------------------

    def words(self, kind: Kind, history: Sequence[str] = ()) -> list[str]:
        """The command of a run, which is resumed if it was killed before."""
        steps = self.arguments.steps
        # So often that a run advances however often it is killed.
        save_steps = max(1, steps // (4 * self.arguments.kills))
        return [*kind.command, *in_steps(steps, save_steps, max(1, steps // 4)), *["--resume"] * bool(history)]

    def limit(self, kind: Kind) -> float:
        """Seconds after which a run hangs."""
        return 300 + 10 * kind.moments["clock"]

    def found(self, folder: Path, history: Sequence[str], problems: Sequence[str]) -> None:
        """Notes what is wrong with the run in a folder, which is kept."""
        lines = "".join(f"\n    {line}" for line in problems)
        self.wrong.append(f"{folder.name} ({'; '.join(history)}):{lines}")
        self.say(f"WRONG: {self.wrong[-1]}")

    def go(self) -> None:
        """All three parts, within the minutes that are given, but each at least once."""
        for kind in self.kinds:
            start(self.folder, [kind.command[0], "--help"])  # imports everything, so that the clock sees runs alone
            self.run_unbroken(kind)
        number = 0
        while not number or self.minutes_spent() < self.arguments.minutes * (1 - SHARE_OF_LONG_RUNS):
            number += 1
            for kind in self.kinds:
                self.run_broken(kind, number)
        for kind in self.kinds:
            self.wrong += [f"{kind.name}: {line}" for line in growth_of_rounds(kind.peaks, kind.open_files)]
        left = max(self.arguments.minutes - self.minutes_spent(), self.arguments.minutes * SHARE_OF_LONG_RUNS)
        for kind in self.kinds:
            self.run_long(kind, 60 * left / len(self.kinds))

    def tell(self, nothing_wrong: str) -> None:
        """Prints the table, and what was found wrong; where that is nothing, says so and deletes the folder."""
        print(f"\n{closing_table(self.kinds)}\n")
        if self.wrong:
            print(f"{len(self.wrong)} WRONG; the folders are in {self.folder}:", *self.wrong, sep="\n", flush=True)
        else:
            shutil.rmtree(self.folder)
            print(nothing_wrong, flush=True)


def in_steps(steps: int, save_steps: int, eval_steps: int) -> list[str]:
    words = ["--max_steps", steps, "--save_steps", save_steps, "--eval_steps", eval_steps]
    return [str(word) for word in words]


def growth_in(samples: Sequence[tuple[int, float, int]]) -> tuple[str, list[str]]:
    """What a long run's samples (step, MiB, open files) say in a line, and what grew between warm-up and end."""
    if len(samples) < 10:
        return "too short", [f"only {len(samples)} samples of memory"]
    first, last = (samples[int(len(samples) * share) :][: len(samples) // 5] for share in (WARM_UP, 0.8))
    before, after = (statistics.median(mib for _, mib, _ in part) for part in (first, last))
    files = [max(count for _, _, count in part) for part in (first, last)]
    line = (
        f"{samples[-1][0]} steps; from step {first[0][0]} on {before:.0f} MiB, at the end {after:.0f}; "
        f"files open {files[0]}, at the end {files[1]}"
    )
    problems = [f"memory grew from {before:.1f} to {after:.1f} MiB"] if after > GROWTH * before else []
    return line, problems + ([f"open files grew from {files[0]} to {files[1]}"] if files[1] > files[0] else [])


def growth_of_rounds(peaks: Sequence[float], open_files: Sequence[int]) -> list[str]:
    """What grew from the first third of the rounds to the last; nothing is said of fewer than six rounds."""
    problems = []
    if len(peaks) >= 6:
        third = len(peaks) // 3
        before, after = statistics.median(peaks[:third]), statistics.median(peaks[-third:])
        if after > GROWTH_OF_ROUNDS * before:
            problems.append(f"the peak of memory grew from {before:.0f} to {after:.0f} MiB over {len(peaks)} rounds")
    if open_files and max(open_files) > open_files[0]:
        problems.append(f"open files grew from {open_files[0]} to {max(open_files)} over {len(open_files)} rounds")
    return problems


def processes_in(folder: Path) -> list[int]:
    """The processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return found


def said(folder: Path) -> str:
    """The end of what the runs in a folder printed."""
    return (folder / "said.txt").read_text(encoding="utf-8", errors="replace")[-2000:]


def closing_table(kinds: Sequence[Kind]) -> str:
    """A row for each kind of run."""
    names = ("SIGKILL", "SIGTERM", "SIGINT")
    rows = [["run", "rounds", "starts", *names, "peak MiB", "files open", "a long run"]]
    for kind in kinds:
        ranges = [f"{min(values):.0f}-{max(values):.0f}" if values else "-" for values in (kind.peaks, kind.open_files)]
        counts = [len(kind.peaks), kind.starts, *(kind.kills[name] for name in names)]
        rows.append([kind.name, *map(str, counts), *ranges, kind.long_run])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps of a run")
    parser.add_argument("--kills", type=int, default=5, help="how often a run is killed at most")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and signals")
    parser.add_argument("--data_dir", type=Path, help="folder that holds nsmc/; default: sample data")
    parser.add_argument("--corpus", type=Path, nargs="+", help="files or folders; default: sample data")
    parser.add_argument("--model", type=Path, help="folder whose tokenizer, and whose shape for fine-tuning, are taken")
    parser.add_argument("--folder", type=Path, help="existing folder to work in; default: that for temporary files")
    arguments = parser.parse_args()
    if not 0 < arguments.minutes < math.inf or min(arguments.steps, arguments.kills) < 1:
        parser.error("minutes must be above 0, steps and kills at least 1")
    for path in filter(None, (arguments.data_dir, *(arguments.corpus or ()), arguments.model, arguments.folder)):
        if not path.exists():
            parser.error(f"{path}: no such file or folder")
    if arguments.folder and not arguments.folder.is_dir():
        parser.error(f"{arguments.folder}: is no folder")

    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=arguments.folder)).resolve()
    soak = Soak(folder, arguments)
    try:
        sample = [sys.executable, str(ROOT / "scripts" / "make_sample_data.py"), "--rows", "300", "--tasks", "nsmc"]
        subprocess.run(sample, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        soak.go()
    except KeyboardInterrupt:
        soak.tell("interrupted; until then everything was equal")
        raise
    except SystemExit:  # the unbroken run has failed, and has said why
        shutil.rmtree(folder)
        raise
    soak.tell("everything equal, nothing left behind, memory and open files flat")
    if soak.wrong:
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(startup.run_main(main))
