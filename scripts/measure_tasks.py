"""Measures what pretraining is worth on real data: a pretrained model against the same shape from scratch.

    python3 scripts/measure_tasks.py --model spanbert-half --data_dir data
    python3 scripts/measure_tasks.py --model spanbert-half --data_dir data --tasks korsts paws --full

For each task and both arms, each learning rate of the grid is tried once, with the first seed: about one in ten
training rows is held back, which share no text with the rows that are trained on, and the score on them decides. With
the best rate the model is trained on all training rows with each seed, and the last checkpoint is scored on the test
file. The same command continues where it was interrupted. Seeds and rates may be added or left out; the model, the
lengths of the runs and the data must stay the same.

Each task is written to <task>.json in the folder of the runs as soon as it is complete. docs/results.md is made of the
files of benchmarks/results/tasks (--output) by `python3 scripts/results_page.py`. Without --full, a run takes the
number of steps that is set for a CPU, mostly of 8 rows: an epoch at most, two to fifteen minutes on one core.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processors import SCRIPT_OF_TASK, TASKS
from reporting.measured import PRETRAINED, SCRATCH, as_typed
from reporting.measuring import (
    add_rates,
    digests_of,
    divide,
    main_score,
    other_hardware,
    rates_in_words,
    refuse_unusable_files,
    refuse_unwritable,
    refuse_wrong_rates,
    results_in,
    shape_of,
    short_name,
    summary,
    weights_of,
)
from reporting.results_reading import write_or_stop
from reporting.study import (
    flags,
    is_finished,
    refuse_another_study,
    refuse_wrong_seeds,
    run_unless_finished,
    say,
)

ARMS = (PRETRAINED, SCRATCH)
RATES = (5e-5, 1e-4, 2e-4)
SEEDS = (42, 43, 44)
COMMON = "--warmup_proportion 0.1 --eval_steps 0 --save_steps 0 --select_by last"


@dataclass(frozen=True)
class Measurement:
    """How a task is measured.

    folder: where its files are in the data folder. steps, batch: without --full, the steps of a run and the rows of a
    step. words: the flags beside the common ones. derived: whether the files behind docs/results.md were made from
    others, so that scores on them are not comparable with published ones. files: the names of the training file and of
    the test file, where they are not the task's own.
    """

    folder: str
    steps: int
    words: str = ""
    derived: bool = False
    files: tuple[str, str] | None = None
    # Small batches hardly cost a CPU more per row, and in so short a time many small steps learn more than few large
    # ones: that was tried on KorSTS.
    batch: int = 8


_SMALL = ("train.tsv", "test.tsv")
_CLASSES = "--pooling mean"
MEASUREMENTS = {
    "nsmc": Measurement("nsmc", 300, _CLASSES, derived=True, batch=16),
    "korsts": Measurement("korsts", 360, _CLASSES),
    "kornli": Measurement("kornli_small", 300, _CLASSES, derived=True, files=_SMALL),
    "paws": Measurement("paws_small", 300, _CLASSES, derived=True, files=_SMALL),
    "question-pair": Measurement("question-pair", 200, _CLASSES, batch=16),
    "hate-speech": Measurement("hate-speech", 300, _CLASSES),
    "naver-ner": Measurement("naver-ner", 300, derived=True),
    "korquad": Measurement("korquad", 100, "--max_seq_length 384", derived=True),
    "tydiqa": Measurement("tydiqa", 64, "--max_seq_length 512 --doc_stride 384", derived=True),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the pretrained model")
    parser.add_argument(
        "--data_dir", type=Path, default=Path("data"), help="folder with the tasks' data (default: data)"
    )
    parser.add_argument("--tasks", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), metavar="TASK",
                        help=f"default: {', '.join(MEASUREMENTS)}")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, metavar="SEED",
                        help=f"one run each; default: {' '.join(map(str, SEEDS))}")  # fmt: skip
    add_rates(parser, RATES)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--full", action="store_true", help="as many epochs as the originals took")
    length.add_argument("--steps", type=int, help="this many steps a run, for every task")
    parser.add_argument("--ckpt_dir", type=Path, default=Path("ckpt/measured-tasks"),
                        help="folder for the runs (default: ckpt/measured-tasks)")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="folder for the files (default: --ckpt_dir)")
    arguments = parser.parse_args()
    refuse_wrong_seeds(parser, arguments.seeds)
    refuse_wrong_rates(parser, arguments.rates)
    if arguments.steps is not None and arguments.steps < 1:
        parser.error("--steps must be at least 1")
    arguments.model = str(Path(arguments.model))  # spanbert/ is spanbert
    arguments.output = arguments.output or arguments.ckpt_dir
    return arguments


@dataclass(frozen=True)
class Study:
    """The runs of one task. work: their folder."""

    task: str
    arguments: argparse.Namespace
    work: Path

    @property
    def measurement(self) -> Measurement:
        return MEASUREMENTS[self.task]

    @property
    def script(self) -> str:
        return SCRIPT_OF_TASK[self.task]

    @property
    def files(self) -> tuple[Path, Path]:
        """The training file and the test file."""
        train, test = self.measurement.files or (TASKS[self.task].train_file, TASKS[self.task].test_file)
        folder = (self.arguments.data_dir / self.measurement.folder).resolve()
        return folder / train, folder / test

    def begin(self) -> None:
        """Makes the folder of the runs, or ends the program where it holds runs of a different study."""
        measurement = self.measurement
        asked = {key: getattr(self.arguments, key) for key in ("model", "full", "steps")}
        asked["the model's weights"] = weights_of(Path(self.arguments.model))
        # The script and the data may have changed since the first call.
        asked["the task's settings"] = f"{COMMON} {measurement.words}".strip()
        asked["the task's length"] = " ".join(self.length) or None
        asked |= digests_of(*self.files)
        refuse_another_study(self.work, asked)

    @property
    def length(self) -> list[str]:
        """The words that tell the length of a run; none with --full, as the task has its own."""
        if self.arguments.full:
            return []
        steps = self.arguments.steps or self.measurement.steps
        return ["--train_batch_size", str(self.measurement.batch), "--max_steps", str(steps)]

    def words(self, arm: str, rate: float) -> list[str]:
        """The words of a run that depend on neither seed nor files."""
        from_scratch = ["--from_scratch"] if arm == SCRATCH else []
        its_own = [*COMMON.split(), *self.measurement.words.split(), *self.length, "--learning_rate", as_typed(rate)]
        return ["--task", self.task, "--model_name_or_path", self.arguments.model, *from_scratch, *its_own]

    def words_of_files(self, train: object, test: object) -> list[str]:
        """The words that name a run's files. There is no development file: the last checkpoint is the one that counts.

        train, test: paths, or names in the task's folder.
        """
        test_flag = "--test_file" if self.script in ("run_seq_cls.py", "run_ner.py") else "--predict_file"
        return ["--train_file", str(train), "--dev_file", "", test_flag, str(test)]

    def run(self, arm: str, rate: float, seed: int, train: Path, test: Path, name: str = "") -> dict[str, Any]:
        """The results of a run, made now if it is not finished. Its weights are deleted: nobody uses them again.

        name: the end of the name of its folder, which tells all that runs of a study differ in.
        """
        folder = self.work / f"{arm.replace(' ', '-')}-rate-{as_typed(rate)}-seed-{seed}{name}"
        if not is_finished(folder):
            words = [*self.words(arm, rate), "--seed", str(seed), *self.words_of_files(train, test)]
            run_unless_finished(folder, self.script, *words, "--cache_dir", self.work / "cache")
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        return results_in(folder)

    def measure_arm(self, arm: str, rest: Path, held_back: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """An arm's grid of learning rates and its summary, and the results of its seeds."""
        tried = {
            rate: self.run(arm, rate, self.arguments.seeds[0], rest, held_back, "-held-back")
            for rate in self.arguments.rates
        }
        scores = {rate: main_score(results) for rate, results in tried.items()}
        best = max(scores, key=scores.__getitem__)
        runs = [self.run(arm, best, seed, *self.files) for seed in self.arguments.seeds]
        kept = {
            "grid": {as_typed(rate): score for rate, score in scores.items()},
            "held_back_rows": tried[best]["rows"]["test"],
            "learning_rate": best,
            "runs": [summary(run) for run in runs],
        }
        return kept, runs

    def measure(self) -> dict[str, Any]:
        """What is written of the task: both arms, and what the first run of the pretrained one says about itself."""
        parts = divide(TASKS[self.task], self.files[0], self.work)
        arms, runs = zip(*(self.measure_arm(arm, *parts) for arm in ARMS), strict=True)
        first = runs[0][0]
        told = ("main_metric", "rows", "pretraining", "hardware", "versions")
        return {
            "task": self.task,
            "folder": self.measurement.folder,
            "derived": self.measurement.derived,
            "full": self.arguments.full,
            "model": short_name(Path(self.arguments.model)),
            "shape": shape_of(Path(self.arguments.model)),
            "measured_by": self.measuring_command(),
            "command": self.command(arms[0]["learning_rate"]),
            **{key: first[key] for key in told},
            "other_hardware": other_hardware([run for of_arm in runs for run in of_arm]),
            "files": {Path(path).name: digest for path, digest in first["data"].items()},
            "arms": dict(zip(ARMS, arms, strict=True)),
        }

    def measuring_command(self) -> str:
        """The command that measures this task as it was measured, for somebody who has model and data in `data`."""
        words = ["--model", short_name(Path(self.arguments.model)), "--tasks", self.task]
        words += rates_in_words(self.arguments.rates, RATES)
        if tuple(self.arguments.seeds) != SEEDS:
            words += ["--seeds", *map(str, self.arguments.seeds)]
        words += flags(self.arguments, "full", "steps")
        return shlex.join(["python3", "scripts/measure_tasks.py", *words])

    def command(self, rate: float) -> str:
        """The command that repeats the runs of the pretrained arm, for somebody who has model and data in `data`."""
        words, folder = self.words(PRETRAINED, rate), self.measurement.folder
        words[words.index("--model_name_or_path") + 1] = short_name(Path(self.arguments.model))
        is_elsewhere = folder != TASKS[self.task].folder
        names = (f"../{folder}/{path.name}" if is_elsewhere else path.name for path in self.files)
        seeds = ["--seeds", *map(str, self.arguments.seeds)]
        return shlex.join(["python3", self.script, *words, *self.words_of_files(*names), *seeds])


def main() -> None:
    arguments = parse_arguments()
    shape_of(Path(arguments.model))
    studies = [Study(task, arguments, arguments.ckpt_dir / task) for task in dict.fromkeys(arguments.tasks)]
    refuse_unwritable(arguments.output)
    for study in studies:
        refuse_unusable_files(TASKS[study.task], *study.files)
        study.begin()
    for study in studies:
        path = arguments.output / f"{study.task}.json"
        write_or_stop(path, json.dumps(study.measure(), ensure_ascii=False, indent=1) + "\n")
        say(f"{study.task}: written to {path}")


if __name__ == "__main__":
    sys.exit(run_main(main))
