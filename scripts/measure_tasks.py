"""Measures what pretraining is worth on real data: a pretrained model against the same shape from scratch.

    python3 scripts/measure_tasks.py --model spanbert-half --data_dir data
    python3 scripts/measure_tasks.py --model spanbert-half --data_dir data --tasks korsts paws --full

For each task and both arms, each learning rate of the grid is tried once: training leaves out a part of the training
rows, and the score on that part decides. With the best rate the model is trained on all training rows with each seed,
and the last checkpoint is scored on the test file. The same command continues where it was interrupted.

Each task is written to benchmarks/results/tasks/<task>.json as soon as it is complete;
`python3 scripts/results_page.py` makes docs/results.md of these files. Without --full, a run takes the number of steps
that is set for a CPU: between a tenth of an epoch and two epochs, four to ten minutes on one core.
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processors import SCRIPT_OF_TASK, TASKS
from reporting.results_reading import stop
from reporting.study import REPOSITORY, is_finished, refuse_another_study, run_unless_finished, say
from storage.whole import write_whole

ARMS = ("pretrained", "from scratch")
RATES = (1e-4, 2e-4, 4e-4)
SEEDS = (42, 43, 44)
# Of the training rows, one in ten is left out while rates are compared, and no more than 2,000 rows.
HELD_BACK_SHARE, MOST_HELD_BACK = 10, 2000
COMMON = "--warmup_proportion 0.1 --eval_steps 0 --save_steps 0 --select_by last"


@dataclass(frozen=True)
class Measurement:
    """How a task is measured.

    folder: where its files are in the data folder. epochs: with --full. steps: without. words: the flags beside the
    common ones. derived: whether the files were made from others, so that scores on them are not comparable with
    published ones. files: the names of the training file and of the test file, where they are not the task's own.
    """

    folder: str
    epochs: int
    steps: int
    words: str = ""
    derived: bool = False
    files: tuple[str, str] | None = None


_SMALL = ("train.tsv", "test.tsv")
_CLASSES = "--pooling mean"
_QUESTIONS = "--max_seq_length 384 --train_batch_size 16"
_LONG_QUESTIONS = "--max_seq_length 512 --doc_stride 384 --train_batch_size 8"
MEASUREMENTS = {
    "nsmc": Measurement("nsmc", 3, 500, _CLASSES, derived=True),
    "korsts": Measurement("korsts", 10, 180, _CLASSES),
    "kornli": Measurement("kornli_small", 10, 165, _CLASSES, derived=True, files=_SMALL),
    "paws": Measurement("paws_small", 10, 88, _CLASSES, derived=True, files=_SMALL),
    "question-pair": Measurement("question-pair", 10, 384, _CLASSES),
    "hate-speech": Measurement("hate-speech", 10, 247, _CLASSES),
    "naver-ner": Measurement("naver-ner", 20, 214, derived=True),
    "korquad": Measurement("korquad", 7, 128, _QUESTIONS, derived=True),
    "tydiqa": Measurement("tydiqa", 5, 104, _LONG_QUESTIONS, derived=True),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the pretrained model")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="folder with the tasks' data")
    parser.add_argument("--tasks", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), metavar="TASK",
                        help=f"default: {', '.join(MEASUREMENTS)}")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, metavar="SEED")
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, metavar="RATE", help="the grid")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--full", action="store_true", help="as many epochs as the originals take")
    length.add_argument("--steps", type=int, help="this many steps a run, for every task")
    parser.add_argument("--ckpt_dir", type=Path, default=Path("ckpt/measured-tasks"), help="folder for the runs")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "tasks",
                        help="folder for the results (default: benchmarks/results/tasks)")  # fmt: skip
    return parser.parse_args()


def parts_of(path: Path) -> list[Any]:
    """The parts of a training file that may be held back: the articles of a SQuAD file, else the lines."""
    text = path.read_text(encoding="utf-8")
    return json.loads(text)["data"] if path.suffix == ".json" else text.splitlines(keepends=True)


def hold_back(path: Path, rest: Path, held_back: Path) -> None:
    """Writes every tenth part of a training file to `held_back`, less often where that would be too much.

    Parts are taken at equal distances, because some files are sorted. Both files get the header line, if there is one.
    """
    parts = parts_of(path)
    if path.suffix == ".json":
        header, join = None, lambda some: json.dumps({"version": "1.0", "data": some}, ensure_ascii=False)
    else:
        header = parts.pop(0) if path.suffix in (".tsv", ".txt") and len(parts[0].split("\t")) > 2 else ""
        join = lambda some: "".join([header, *some])  # noqa: E731
    every = max(HELD_BACK_SHARE, len(parts) // MOST_HELD_BACK)
    write_whole(held_back, join(parts[every - 1 :: every]))
    write_whole(rest, join([part for i, part in enumerate(parts) if i % every != every - 1]))


def files_of(task: str) -> tuple[str, str]:
    """The names of a task's training file and test file."""
    return MEASUREMENTS[task].files or (TASKS[task].train_file, TASKS[task].test_file)


def prepare(task: str, data_dir: Path, work: Path) -> Path:
    """The folder of data for the runs: links to the task's files, and both parts of the training file."""
    given, names = data_dir / MEASUREMENTS[task].folder, files_of(task)
    for name in names:
        if not (given / name).is_file():
            stop(f"there is no {given / name}")
    folder = work / "data" / TASKS[task].folder  # where the script looks for them
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (folder / name).exists():
            (folder / name).symlink_to(given.resolve() / name)
    train, _ = names
    hold_back(folder / train, folder / f"rest-{train}", folder / f"held-back-{train}")
    return work / "data"


@dataclass(frozen=True)
class Study:
    """The runs of one task. work: their folder. data_dir: that of their data, made by `prepare`."""

    task: str
    arguments: argparse.Namespace
    work: Path
    data_dir: Path

    @property
    def measurement(self) -> Measurement:
        return MEASUREMENTS[self.task]

    @property
    def script(self) -> str:
        return SCRIPT_OF_TASK[self.task]

    def words(self, arm: str, rate: float) -> list[str]:
        """The words of a run that depend on neither seed nor files."""
        length = ["--max_steps", str(self.arguments.steps or self.measurement.steps)]
        if self.arguments.full:
            length = ["--num_train_epochs", str(self.measurement.epochs)]
        model = [self.arguments.model, *(["--from_scratch"] if arm == "from scratch" else [])]
        its_own = [*COMMON.split(), *self.measurement.words.split(), *length, "--learning_rate", f"{rate:g}"]
        return ["--task", self.task, "--model_name_or_path", *model, *its_own]

    def results(self, name: str, words: Sequence[str], train: str, test: str) -> dict[str, Any]:
        """The results of a run, made now if it is not finished. Its weights are deleted: nobody uses them again."""
        folder = self.work / name
        if not is_finished(folder):
            test_flag = "--test_file" if self.script in ("run_seq_cls.py", "run_ner.py") else "--predict_file"
            files = ["--data_dir", self.data_dir, "--train_file", train, "--dev_file", "", test_flag, test,
                     "--cache_dir", self.work / "cache"]  # fmt: skip
            run_unless_finished(folder, self.script, *words, *files)
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))

    def arm(self, arm: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """An arm's grid of learning rates and its summary, and the results of its seeds."""
        name, (first, *_) = arm.replace(" ", "-"), self.arguments.seeds
        train, test = files_of(self.task)
        grid, held_back = {}, 0
        for rate in self.arguments.rates:
            words = [*self.words(arm, rate), "--seed", str(first)]
            results = self.results(f"{name}-rate-{rate:g}", words, f"rest-{train}", f"held-back-{train}")
            grid[f"{rate:g}"], held_back = results["metrics"][results["main_metric"]], results["rows"]["test"]
        best = float(max(grid, key=grid.__getitem__))
        words = self.words(arm, best)
        runs = [
            self.results(f"{name}-seed-{seed}", [*words, "--seed", str(seed)], train, test)
            for seed in self.arguments.seeds
        ]
        kept = [summary(run) for run in runs]
        return {"grid": grid, "held_back_rows": held_back, "learning_rate": best, "runs": kept}, runs

    def measured(self) -> dict[str, Any]:
        """What is written of the task: both arms, and what the first run of the pretrained one says about itself."""
        (pretrained, (first, *_)), (scratch, _) = [self.arm(arm) for arm in ARMS]
        command = shlex.join([self.script, *self.words(ARMS[0], pretrained["learning_rate"])])
        told = ("main_metric", "rows", "pretraining", "hardware", "versions", "git_commit")
        return {
            "task": self.task,
            "folder": self.measurement.folder,
            "derived": self.measurement.derived,
            "full": self.arguments.full,
            "model": Path(self.arguments.model).name,
            "shape": shape_of(Path(self.arguments.model)),
            "command": f"python3 {command}".replace(self.arguments.model, Path(self.arguments.model).name),
            **{key: first[key] for key in told},
            "files": {Path(path).name: digest for path, digest in first["data"].items()},
            "arms": dict(zip(ARMS, (pretrained, scratch), strict=True)),
        }


def shape_of(model: Path) -> dict[str, int]:
    """The number of layers and their size."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return {key: config[key] for key in ("num_hidden_layers", "hidden_size")}


def summary(results: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run: its seed, its scores, its steps and its time."""
    training = results["training"]
    kept = {key: training[key] for key in ("steps", "epochs", "seconds", "tokens_per_second")}
    return {"seed": results["seed"], "metrics": results["metrics"], "at_chance": results["at_chance"], **kept}


def main() -> None:
    arguments = parse_arguments()
    if not (Path(arguments.model) / "config.json").is_file():
        stop(f"there is no model in {arguments.model} (no config.json)")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks:
        work = arguments.ckpt_dir / task
        refuse_another_study(work, {"model": arguments.model, "full": arguments.full, "steps": arguments.steps})
        data_dir = prepare(task, arguments.data_dir, work)
        measured = Study(task, arguments, work, data_dir).measured()
        path = arguments.output / f"{task}.json"
        write_whole(path, json.dumps(measured, ensure_ascii=False, indent=1) + "\n")
        say(f"{task}: written to {path}")


if __name__ == "__main__":
    sys.exit(run_main(main))
