"""A few-shot study: runs with the same settings on samples of several sizes, several samples of each size.

A cell of the study is a run like any other, in `<output folder>/<size>/seed-<seed>/`, with the ids of its sample beside
its results. Its seed draws the sample, the order of the rows and the fresh weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from processors.qa.few_shot_samples import draw_sample, read_sample
from storage.names import on_disk
from storage.whole import remove_abandoned, remove_whole
from training.config import Contradiction, Given, UsageError, is_typed, without_effect
from training.processes import is_main_process, process_count, show
from training.results import (
    CONFIG_FILE,
    QUESTION_SCORES_FILE,
    RESULTS_FILE,
    SEEDS_FILE,
    changed_settings,
    delete_earlier_run,
    locked,
    mean_and_std,
    prepare_output_dir,
    read_json_object,
    summary_of_seeds,
    write_json,
    write_whole,
)
from workflows.data_parts import DataPart, hash_of_part
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
        """Without the settings that only choose the training rows, which a checkpoint knows by their content."""
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


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    config: its settings. sample: ids of the questions that it is trained on; None: all. is_begun: whether anything was
    trained before; what there is otherwise is written anew. is_finished: whether it has been scored.
    """

    config: FewShotConfig
    sample: Sequence[str] | None
    is_begun: bool
    is_finished: bool


def begin_study(
    config: FewShotConfig, overwrite: bool, ids: Sequence[str], files: Mapping[str, Sequence[DataPart]]
) -> list[Cell]:
    """The runs of a study, each with its sample; finds out which are finished, and that they belong to this study.

    ids: of the questions that can be learned from. files: those that all runs share, by what they are: weights,
    questions to train on, questions to score with.
    Raises UsageError where a run is finished or begun with other settings, files or another sample, and DataError where
    a sample cannot be drawn or read.
    """
    settings = config.cells()
    samples = [None if one.few_shot == [FULL] else sample_of(one, ids) for one in settings]
    if overwrite and is_main_process():  # all at once, so that a study that is stopped can go on without the flag
        for one in settings:
            delete_earlier_run(one.run_dir)
    if is_main_process():
        shared = {what: sorted(map(hash_of_part, paths)) for what, paths in files.items()}
        _refuse_another_study(config.run_dir, shared | {"number of processes": process_count()})
    cells = []
    for one, sample in zip(settings, samples, strict=True):
        is_begun = not overwrite and (one.run_dir / CONFIG_FILE).is_file()
        if is_begun:
            _refuse_another_run(one, sample)
        cells.append(Cell(one, sample, is_begun, is_begun and _is_finished(one)))
    if is_main_process():
        for size in config.few_shot:
            remove_abandoned(config.run_dir / str(size))
    for cell in cells:  # now, so that the last folder is not refused after hours
        prepare_output_dir(cell.config.run_dir, may_hold_a_run=True)
        if cell.is_finished:  # the study may have been killed before it could
            _delete_models(cell.config)
    _announce(config, cells)
    return cells


def sample_of(config: FewShotConfig, ids: Sequence[str]) -> list[str]:
    """The ids that one run is trained on: drawn by its seed, or as an earlier study left them (`sample_dir`)."""
    (size,) = config.few_shot
    if config.sample_dir:
        return read_sample(
            on_disk(Path(config.sample_dir)) / str(size) / f"seed-{config.seed}" / SAMPLE_FILE, ids, size
        )
    return draw_sample(ids, size, config.seed)


@contextlib.contextmanager
def running(cell: Cell) -> Iterator[FewShotConfig]:
    """Says which run begins, writes down its sample, and yields its settings. Deletes the models at the end.

    Raises UsageError where another run is writing to its folder.
    """
    show(f"\n{_in_words(*cell.config.few_shot)}, seed {cell.config.seed}")
    folder = cell.config.run_dir
    with locked(folder):
        if cell.sample is not None:
            write_whole(folder / SAMPLE_FILE, _one_a_line(cell.sample))
        yield cell.config.model_copy(update={"resume": cell.is_begun})
        _delete_models(cell.config)


def _delete_models(config: FewShotConfig) -> None:
    """They would fill the disk, a gigabyte each with a base model. Those that were trained to be kept stay."""
    from training.checkpoint import CheckpointFolder

    if read_json_object(config.run_dir / CONFIG_FILE).get("keep_models") or not is_main_process():
        return
    for checkpoint in CheckpointFolder(config.run_dir).all():
        remove_whole(checkpoint)


def end_study(config: FewShotConfig, cells: Sequence[Cell]) -> None:
    """Writes mean and standard deviation over the samples of each size, and prints them."""
    summaries = {}
    for size in config.few_shot:
        results = {
            cell.config.seed: read_json_object(cell.config.run_dir / RESULTS_FILE)
            for cell in cells
            if cell.config.few_shot == [size]
        }
        summaries[size] = summary_of_seeds(results)
        write_json(config.run_dir / str(size) / SEEDS_FILE, summaries[size])
    first = summaries[config.few_shot[0]]
    samples = f"{config.samples} samples of each size" if config.samples > 1 else "one sample of each size"
    show(f"\n{first['model']} on {first['task']}, {samples}")
    show(f"  {'questions':<12}" + "".join(f"{name:>18}" for name in first["metrics"]))
    for size, summary in summaries.items():
        show(f"  {size:<12}" + "".join(f"{mean_and_std(values):>18}" for values in summary["metrics"].values()))


def _announce(config: FewShotConfig, cells: Sequence[Cell]) -> None:
    finished = sum(cell.is_finished for cell in cells)
    sizes = ", ".join(map(str, config.few_shot))
    seeds = ", ".join(map(str, range(config.seed, config.seed + config.samples)))
    done = f"; {finished} of them are finished" if finished else ""
    show(f"{len(cells)} run{'s' * (len(cells) > 1)} in {config.run_dir}: {sizes} questions, seeds {seeds}{done}")


def _in_words(size: Size) -> str:
    return "all questions" if size == FULL else f"{size} questions"


def _is_finished(config: FewShotConfig) -> bool:
    results = read_json_object(config.run_dir / RESULTS_FILE)
    return bool(results) and (config.run_dir / QUESTION_SCORES_FILE).is_file()


def _refuse_another_run(config: FewShotConfig, sample: Sequence[str] | None) -> None:
    """Raises UsageError where the run was begun with other settings or a different sample."""
    keys = config.identity("").keys() - {"precision"} | config.OF_EVALUATION | {"few_shot"}
    if were := changed_settings(config.run_dir, config, sorted(keys)):
        raise UsageError(f"{config.run_dir} was run with {were}: {ANOTHER}")
    path = config.run_dir / SAMPLE_FILE
    if sample is not None and path.is_file() and path.read_text(encoding="utf-8") != _one_a_line(sample):
        raise UsageError(f"{path} differs from the requested sample: {ANOTHER}")


def _one_a_line(sample: Sequence[str]) -> str:
    return "".join(f"{id}\n" for id in sample)


def _refuse_another_study(folder: Path, shared: dict[str, Any]) -> None:
    """Writes down what all runs share, files by their hashes. Raises UsageError where a run began with other files."""
    path = folder / STUDY_FILE
    before = read_json_object(path) if any(folder.glob(f"*/seed-*/{CONFIG_FILE}")) else {}
    if other := [what for what, own in shared.items() if before.get(what, own) != own]:
        raise UsageError(f"the runs in {folder} differ from those asked for now in {' and '.join(other)}: {ANOTHER}")
    write_json(path, shared)
