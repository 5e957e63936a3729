"""A few-shot study: the same settings on samples of several sizes, each size several times, and what came of it.

A cell of the study is a run like any other, in `<output folder>/<size>/seed-<seed>/`, with the ids of its sample beside
its results. Its seed draws the sample, the order of the rows and the fresh weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from training.config import Contradiction, Given, UsageError, is_typed, without_effect
from training.processes import is_main_process, process_count, show
from training.results import (
    CONFIG_FILE,
    QUESTION_SCORES_FILE,
    RESULTS_FILE,
    SEEDS_FILE,
    changed_settings,
    delete_earlier_run,
    mean_and_std,
    prepare_output_dir,
    read_json_object,
    sha256_of,
    summary_of_seeds,
    write_json,
    write_whole,
)
from workflows.settings import FineTuningConfig

FULL = "full"
SAMPLE_FILE = "sample.txt"
# What all cells share: the model's weights and the files that are trained on and scored, by their hashes, and the
# number of processes, which says how many rows a step has.
STUDY_FILE = "study.json"
ANOTHER = "--overwrite_output_dir runs it again, --output_dir NAME takes another folder"
Size = int | Literal["full"]


class FewShotConfig(FineTuningConfig):
    """Few-shot samples"""

    few_shot: list[Size] | None = Field(
        None,
        description="numbers of questions to train on, each a random sample; full: all questions; default: one run "
        "on all questions",
    )
    samples: int = Field(3, ge=1, description="samples to draw of each size, with the seeds seed, seed + 1, ...")
    sample_dir: str | None = Field(
        None, description="folder with the samples of an earlier study to train on: <size>/seed-<seed>/sample.txt"
    )
    full_train_epochs: float = Field(2, gt=0, description="num_train_epochs of a run on all questions")
    keep_models: bool = Field(False, description="keep the model of each sample after it has been scored")

    @field_validator("few_shot")
    @classmethod
    def _sizes_are_sizes(cls, value: list[Size] | None) -> list[Size] | None:
        if value is not None and not (value and all(size == FULL or size > 0 for size in value)):
            raise ValueError("must be one or more numbers of questions above 0, or full")
        if value is not None and len(set(value)) < len(value):
            raise ValueError("must not name a size twice")
        return value

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.few_shot is None:
            keys = ("samples", "sample_dir", "keep_models")
            yield from without_effect(keys, given, ("few_shot",), "without few_shot")
            if is_typed("num_train_epochs", given):
                message = "--num_train_epochs is for samples (few_shot): with all questions it is --full_train_epochs"
                yield Contradiction(("num_train_epochs", "few_shot"), message)
            return
        if not (self.do_train and self.do_eval) or self.do_predict:
            message = (
                "few_shot trains and scores each sample: to predict or score only, name the folder of one sample with "
                "output_dir, and leave few_shot out"
            )
            yield Contradiction(("few_shot", *self.STAGES), message)
        if self.dry_run:
            message = "--dry_run takes one run: leave few_shot out, for one on all questions"
            yield Contradiction(("dry_run", "few_shot"), message)
        if self.seeds is not None:
            message = "few_shot draws one sample per seed, from seed on: give seed and samples instead of seeds"
            yield Contradiction(("few_shot", "seeds"), message)
        if FULL not in self.few_shot:
            why = "without full among the sizes of few_shot"
            yield from without_effect(["full_train_epochs"], given, ("few_shot",), why)
        if self.few_shot == [FULL]:
            why = "on full: --full_train_epochs is its number"
            yield from without_effect(["num_train_epochs"], given, ("few_shot",), why)

    @classmethod
    def of_training(cls) -> set[str]:
        """Without what only says which rows those of the training are: a checkpoint knows these by their content."""
        return super().of_training() - set(FewShotConfig.__annotations__)

    def of_one_run(self) -> FewShotConfig:
        """The settings of a run on all questions."""
        return self.model_copy(update={"num_train_epochs": self.full_train_epochs})

    def cells(self) -> list[FewShotConfig]:
        """The settings of each run of the study, by size."""
        return [
            (self.of_one_run() if size == FULL else self).model_copy(
                update={
                    "few_shot": [size],
                    "seed": seed,
                    "output_dir": f"{self.output_dir or self.run_dir.name}/{size}/seed-{seed}",
                }
            )
            for size in self.few_shot
            for seed in range(self.seed, self.seed + self.samples)
        ]


def run_study(
    config: FewShotConfig,
    overwrite: bool,
    sample_of: Callable[[int, int], Sequence[str]],
    run: Callable[[FewShotConfig, Sequence[str] | None], dict[str, Any]],
    files: Mapping[str, Sequence[Path]],
) -> None:
    """Runs the cells that are not finished, and prints the scores of all.

    sample_of: size and seed -> ids. run: settings of a cell, its sample (None: everything) -> results. files: those
    that all cells share, by what they are: weights, questions to train on, questions to score with.
    Raises UsageError where a cell is finished or begun with other settings, files or another sample.
    """
    cells = config.cells()
    samples = [None if cell.few_shot == [FULL] else sample_of(*cell.few_shot, cell.seed) for cell in cells]
    if overwrite and is_main_process():  # all at once: a study that is stopped then goes on without the flag
        for cell in cells:
            delete_earlier_run(cell.run_dir)
    begun = [not overwrite and _is_begun(cell) for cell in cells]
    if is_main_process():
        shared = {what: sorted(map(sha256_of, paths)) for what, paths in files.items()}
        _refuse_another_study(config.run_dir, shared | {"number of processes": process_count()})
    for cell, sample, is_begun in zip(cells, samples, begun, strict=True):
        if is_begun:
            _refuse_another_cell(cell, sample)
    finished = [is_begun and _is_finished(cell) for cell, is_begun in zip(cells, begun, strict=True)]
    sizes = ", ".join(map(str, config.few_shot))
    seeds = ", ".join(map(str, range(config.seed, config.seed + config.samples)))
    done = f"; {sum(finished)} of them are finished" if any(finished) else ""
    for cell, is_finished in zip(cells, finished, strict=True):
        if not is_finished:  # that the last folder cannot be made should not come to light after hours
            prepare_output_dir(cell.run_dir, may_hold_a_run=True)
    show(f"{len(cells)} run{'s' * (len(cells) > 1)} in {config.run_dir}: {sizes} questions, seeds {seeds}{done}")
    results = []
    for cell, sample, is_begun, is_finished in zip(cells, samples, begun, finished, strict=True):
        if is_finished:
            results.append(read_json_object(cell.run_dir / RESULTS_FILE))
        else:
            show(f"\n{_in_words(*cell.few_shot)}, seed {cell.seed}")
            if sample is not None:
                write_whole(cell.run_dir / SAMPLE_FILE, _one_a_line(sample))
            results.append(run(cell.model_copy(update={"resume": is_begun}), sample))
            if not config.keep_models and is_main_process():
                _delete_models(cell.run_dir)
    _report(config, cells, results)


def _in_words(size: Size) -> str:
    return "all questions" if size == FULL else f"{size} questions"


def _is_begun(cell: FewShotConfig) -> bool:
    """Whether anything was trained: what there is otherwise is written anew."""
    return (cell.run_dir / CONFIG_FILE).is_file()


def _is_finished(cell: FewShotConfig) -> bool:
    results = read_json_object(cell.run_dir / RESULTS_FILE)
    return bool(results) and (cell.run_dir / QUESTION_SCORES_FILE).is_file()


def _refuse_another_cell(cell: FewShotConfig, sample: Sequence[str] | None) -> None:
    """Raises UsageError where what was begun in the cell's folder had other settings, or another sample."""
    keys = cell.identity("").keys() - {"precision"} | cell.OF_EVALUATION | {"few_shot"}
    if were := changed_settings(cell.run_dir, cell, sorted(keys)):
        raise UsageError(f"{cell.run_dir} was run with {were}: {ANOTHER}")
    path = cell.run_dir / SAMPLE_FILE
    if sample is not None and path.is_file() and path.read_text(encoding="utf-8") != _one_a_line(sample):
        raise UsageError(f"{path} differs from the requested sample: {ANOTHER}")


def _one_a_line(sample: Sequence[str]) -> str:
    return "".join(f"{id}\n" for id in sample)


def _refuse_another_study(folder: Path, shared: dict[str, Any]) -> None:
    """Keeps what all runs share, files by their contents. Raises UsageError where any run began with something else."""
    path = folder / STUDY_FILE
    before = read_json_object(path) if any(folder.glob(f"*/seed-*/{CONFIG_FILE}")) else {}
    if other := [what for what, own in shared.items() if before.get(what, own) != own]:
        raise UsageError(f"the runs in {folder} differ from those asked for now in {' and '.join(other)}: {ANOTHER}")
    write_json(path, shared)


def _delete_models(folder: Path) -> None:
    """What a study needs no more, and what would fill the disk: its models, a gigabyte each with a base model."""
    from training.checkpoint import CheckpointFolder

    for checkpoint in CheckpointFolder(folder).all():
        shutil.rmtree(checkpoint)


def _report(config: FewShotConfig, cells: Sequence[FewShotConfig], results: Sequence[dict[str, Any]]) -> None:
    """Writes mean and standard deviation over the samples of each size, and says them on standard output."""
    summaries = {}
    for size in config.few_shot:
        pairs = zip(cells, results, strict=True)
        summaries[size] = summary_of_seeds({cell.seed: one for cell, one in pairs if cell.few_shot == [size]})
        write_json(config.run_dir / str(size) / SEEDS_FILE, summaries[size])
    first = summaries[config.few_shot[0]]
    samples = f"{config.samples} samples of each size" if config.samples > 1 else "one sample of each size"
    show(f"\n{first['model']} on {first['task']}, {samples}")
    show(f"  {'questions':<12}" + "".join(f"{name:>18}" for name in first["metrics"]))
    for size, summary in summaries.items():
        show(f"  {size:<12}" + "".join(f"{mean_and_std(values):>18}" for values in summary["metrics"].values()))
