"""Measures what a Splinter is worth with few questions: against a linear head on the model that it was made from.

    python3 scripts/measure_few_shot.py --splinter ckpt/splinter/checkpoint-700 --baseline spanbert-half --data_dir data
    python3 scripts/measure_few_shot.py --splinter ... --baseline ... --few_shot 16 64 --full

Both models learn from the same samples of KorQuAD's questions, and are scored on its whole development file. The
learning rate of each is chosen beforehand: every rate of the grid is tried once on a sample of 64 questions, and the F1
on articles that are held back from the training file decides. The same command continues where it was interrupted.
Sizes, samples and rates may be added; the models, the lengths of the runs and the data must stay the same.

The figures are written to few_shot.json in the folder of the runs. With --output benchmarks/results, the table of
docs/results.md is made of that file by `python3 scripts/results_page.py`. Without --full, a run takes 160 steps of 4
rows whatever the size, five to ten minutes on one core; with --full it follows Splinter's protocol: 12 rows, ten epochs
but at least 200 steps.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import json
import math
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from processors import SCRIPT_OF_TASK, TASKS
from reporting.few_shot_bootstrap import RESAMPLES, mean_over_samples, p_no_better
from reporting.few_shot_cells import METRICS, TASK
from reporting.measured import FEW_SHOT_ARMS, as_typed
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
from reporting.results_reading import read_lines, read_run, stop, write_or_stop
from reporting.study import flags, refuse_another_study, run, say
from training.results import CHECKPOINT_PREFIX, METRICS_FILE, RESULTS_FILE

RATES = (1e-5, 3e-5, 1e-4)
SIZES = (16, 64, 256, 1024)
TRIED_WITH = 64  # questions, when a rate is tried
SEED = 42  # of the first sample
SAMPLES = 3  # of each size
SHORT = "--train_batch_size 4 --max_steps 160"
# A Splinter begins with the head that it was pretrained with: it is what few questions are enough for.
ITS_OWN = dict(zip(FEW_SHOT_ARMS, ("--initialize_new_qass false", "--head linear"), strict=True))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--splinter", required=True, metavar="FOLDER", help="a checkpoint of pretrain_splinter.py")
    parser.add_argument("--baseline", required=True, metavar="FOLDER", help="the model that it was pretrained from")
    parser.add_argument(
        "--data_dir", type=Path, default=Path("data"), help="folder that holds korquad/ (default: data)"
    )
    parser.add_argument("--few_shot", nargs="+", type=int, default=SIZES, metavar="SIZE",
                        help=f"numbers of training questions; default: {' '.join(map(str, SIZES))}")  # fmt: skip
    parser.add_argument("--samples", type=int, default=SAMPLES,
                        help=f"how many samples of each size (default: {SAMPLES})")  # fmt: skip
    add_rates(parser, RATES)
    parser.add_argument("--full", action="store_true", help="Splinter's protocol instead of 160 steps")
    parser.add_argument("--ckpt_dir", type=Path, default=Path("ckpt/measured-few-shot"),
                        help="folder for the runs (default: ckpt/measured-few-shot)")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="folder for the file (default: --ckpt_dir)")
    arguments = parser.parse_args()
    refuse_wrong_rates(parser, arguments.rates)
    if min(arguments.few_shot) < 1 or len(set(arguments.few_shot)) < len(arguments.few_shot):
        parser.error("--few_shot must be different numbers above 0")
    if arguments.samples < 1:
        parser.error("--samples must be at least 1")
    arguments.few_shot = sorted(arguments.few_shot)
    arguments.output = arguments.output or arguments.ckpt_dir
    arguments.splinter, arguments.baseline = map(str, map(Path, (arguments.splinter, arguments.baseline)))  # without /
    return arguments


class Study:
    """The runs of both models."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments, self.work = arguments, arguments.ckpt_dir
        self.model_of = dict(zip(FEW_SHOT_ARMS, (arguments.splinter, arguments.baseline), strict=True))
        folder = (arguments.data_dir / TASKS[TASK].folder).resolve()
        self.files = folder / TASKS[TASK].train_file, folder / TASKS[TASK].test_file
        self.settings = [] if arguments.full else SHORT.split()
        self.held_out = found_while_pretrained(Path(arguments.splinter))

    def begin(self) -> None:
        """Looks at everything before the first run, which is hours before the last. Ends the program where it fails."""
        shapes = {model: shape_of(Path(model)) for model in self.model_of.values()}
        if len({tuple(shape.values()) for shape in shapes.values()}) > 1:
            found = ", ".join(f"{model} has {' x '.join(map(str, shape.values()))}" for model, shape in shapes.items())
            stop(f"the two models have different shapes: {found}; the baseline is what the Splinter was made from")
        refuse_unwritable(self.arguments.output)
        questions, largest = len(refuse_unusable_files(TASKS[TASK], *self.files)["train"]), self.arguments.few_shot[-1]
        if largest > questions:
            stop(f"--few_shot {largest}: {self.files[0]} has only {questions} questions")
        asked = {name: getattr(self.arguments, name) for name in ("splinter", "baseline", "full")}
        asked |= {"the runs' settings": " ".join([*self.settings, *ITS_OWN.values()])}
        asked |= {f"the weights of {model}": weights_of(Path(model)) for model in self.model_of.values()}
        asked |= digests_of(*self.files)
        refuse_another_study(self.work, asked)

    def words(self, arm: str, rate: float, size: int, samples: int, files: tuple[Path, Path]) -> list[str]:
        """The words of the runs with one size."""
        model = ["--model_name_or_path", self.model_of[arm], *ITS_OWN[arm].split()]
        sample = ["--few_shot", str(size), "--samples", str(samples), "--seed", str(SEED)]
        train, test = map(str, files)
        data = ["--train_file", train, "--predict_file", test]
        return ["--task", TASK, *model, *self.settings, "--learning_rate", as_typed(rate), *sample, *data]

    def runs_of(
        self, arm: str, rate: float, size: int, samples: int, files: tuple[Path, Path], name: str = ""
    ) -> list[Path]:
        """The folders of the runs with one size, which are made now unless they are finished.

        name: the end of the name of their folder, which tells all that runs of the study differ in beside the size.
        """
        folder = self.work / f"{arm.replace(' ', '-')}-rate-{as_typed(rate)}{name}"
        words = self.words(arm, rate, size, samples, files)
        runs = [folder / str(size) / f"seed-{seed}" for seed in range(SEED, SEED + samples)]
        if not all((one / RESULTS_FILE).is_file() for one in runs):  # the script itself skips finished samples
            run(SCRIPT_OF_TASK[TASK], *words, "--cache_dir", self.work / "cache", "--ckpt_dir", self.work,
                "--output_dir", folder.name)  # fmt: skip
        return runs

    def try_rates(self, arm: str, files: tuple[Path, Path]) -> tuple[dict[float, float], int]:
        """The F1 on the held-back questions with each rate, and how many questions these are."""
        tried = {}
        for rate in self.arguments.rates:
            (folder,) = self.runs_of(arm, rate, TRIED_WITH, 1, files, "-held-back")
            tried[rate] = results_in(folder)
        questions = next(iter(tried.values()))["rows"]["test"]
        return {rate: main_score(results) for rate, results in tried.items()}, questions

    def measure(self) -> Iterator[dict[str, Any]]:
        """After each size, what is to be written by then: nothing of it is lost where a larger size fails."""
        parts = divide(TASKS[TASK], self.files[0], self.work)
        grids = {arm: self.try_rates(arm, parts) for arm in FEW_SHOT_ARMS}
        rate_of = {arm: max(scores, key=scores.__getitem__) for arm, (scores, _) in grids.items()}
        folders: dict[str, dict[int, list[Path]]] = {arm: {} for arm in FEW_SHOT_ARMS}
        for size in self.arguments.few_shot:  # small sizes of both models first: they can be compared the soonest
            for arm in FEW_SHOT_ARMS:
                folders[arm][size] = self.runs_of(arm, rate_of[arm], size, self.arguments.samples, self.files)
            yield self.content(grids, rate_of, folders)

    def content(
        self,
        grids: Mapping[str, tuple[Mapping[float, float], int]],
        rate_of: Mapping[str, float],
        folders: Mapping[str, Mapping[int, list[Path]]],
    ) -> dict[str, Any]:
        """What is written of the runs in these folders: model -> size -> a folder for each sample."""
        results = {arm: {size: list(map(results_in, runs)) for size, runs in folders[arm].items()} for arm in folders}
        everything = [one for of_arm in results.values() for runs in of_arm.values() for one in runs]
        first, sizes = everything[0], list(folders[FEW_SHOT_ARMS[0]])
        arms = {
            arm: {
                "model": short_name(Path(self.model_of[arm])),
                "pretraining": next(iter(results[arm].values()))[0]["pretraining"],
                "command": self.command(arm, rate_of[arm], folders[arm]),
                "grid": {as_typed(rate): score for rate, score in grids[arm][0].items()},
                "held_back_rows": grids[arm][1],
                "learning_rate": rate_of[arm],
                "sizes": {str(size): list(map(summary, runs)) for size, runs in results[arm].items()},
            }
            for arm in FEW_SHOT_ARMS
        }
        return {
            "task": TASK,
            "full": self.arguments.full,
            "tried_with": TRIED_WITH,
            "shape": shape_of(Path(self.arguments.baseline)),
            "rows": {"test": first["rows"]["test"]},
            **{key: first[key] for key in ("main_metric", "hardware", "versions")},
            "other_hardware": other_hardware(everything),
            "resamples": RESAMPLES,
            "measured_by": self.measuring_command(sizes),
            "files": {Path(path).name: digest for path, digest in first["data"].items()},
            "held_out": self.held_out,
            "arms": arms,
            "p": {str(size): compared({arm: of_arm[size] for arm, of_arm in folders.items()}) for size in sizes},
        }

    def measuring_command(self, sizes: Sequence[int]) -> str:
        """The command that measures these sizes as they were measured, for somebody who has models and data."""
        models = {f"--{key}": getattr(self.arguments, key) for key in ("splinter", "baseline")}
        words = [word for flag, model in models.items() for word in (flag, short_name(Path(model)))]
        words += ["--few_shot", *map(str, sizes)]
        if self.arguments.samples != SAMPLES:
            words += ["--samples", str(self.arguments.samples)]
        words += rates_in_words(self.arguments.rates, RATES)
        return shlex.join(["python3", "scripts/measure_few_shot.py", *words, *flags(self.arguments, "full")])

    def command(self, arm: str, rate: float, sizes: Iterable[int]) -> str:
        """The command that repeats the runs of a model, for somebody who has model and data in `data`."""
        words = ["--model_name_or_path", short_name(Path(self.model_of[arm])), *ITS_OWN[arm].split(), *self.settings]
        sample = ["--few_shot", *map(str, sizes), "--samples", str(self.arguments.samples)]
        return shlex.join(["python3", SCRIPT_OF_TASK[TASK], *words, "--learning_rate", as_typed(rate), *sample])


def compared(folders: Mapping[str, list[Path]]) -> dict[str, dict[str, float]]:
    """For each model, EM and F1: p of "it is no better than the other", by a paired bootstrap over the questions.

    folders: model -> the folders of its runs with one size.
    """
    try:
        scores = {
            arm: mean_over_samples([read_run(folder / RESULTS_FILE, {TASK: METRICS}) for folder in runs])
            for arm, runs in folders.items()
        }
        splinter, baseline = FEW_SHOT_ARMS
        pairs = ((splinter, baseline), (baseline, splinter))
        return {ours: p_no_better(scores[ours], scores[theirs]) for ours, theirs in pairs}
    except ValueError as error:
        stop(f"the models cannot be compared: {error}")


def found_while_pretrained(splinter: Path) -> dict[str, dict[str, float]]:
    """Step -> the share of held-out questions that the Splinter answered then, and those by the answer's length.

    Up to the step of this checkpoint. Empty where pretrain_splinter.py's folder is not there any more.
    """
    checkpoint = splinter.resolve()
    path = checkpoint.parent / METRICS_FILE
    events = read_lines(path) if path.is_file() else []
    number = checkpoint.name.removeprefix(CHECKPOINT_PREFIX)
    last = int(number) if number.isdecimal() else math.inf
    shares = {}
    for event in events:
        step, metrics = event.get("step"), event.get("metrics")
        is_whole = event.get("split") == "held_out" and isinstance(step, int) and isinstance(metrics, dict)
        if is_whole and step <= last and "span_em" in metrics:
            shares[str(step)] = {name: value for name, value in metrics.items() if name.startswith("span_em")}
    return shares


def main() -> None:
    study = Study(parse_arguments())
    study.begin()
    path = study.arguments.output / "few_shot.json"
    for content in study.measure():
        write_or_stop(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    say(f"written to {path}")


if __name__ == "__main__":
    sys.exit(run_main(main))
