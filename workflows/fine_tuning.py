"""The steps of a fine-tuning run up to the trained model: read the files, open the device, load, fit.

What comes after them is in `scoring.py` and `predictions.py`. Each script's `main` names the steps in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models import build_tokenizer, find_model, find_tokenizer
from models.word_limit import set_word_limit
from processors.repeated_rows import count_repeats
from processors.splits import read_splits
from processors.task import Task
from storage.activity import doing
from workflows.data_parts import hashes_of, parts_of
from workflows.scoring import Scored, check_checkpoints, check_named_model
from workflows.settings import FineTuningConfig

if TYPE_CHECKING:  # torch takes seconds to import, and --help and mistyped flags should answer at once
    from models.collator import Collator
    from training.evaluate import Predictor
    from training.loop import State
    from training.runtime import Runtime
    from training.step import LossOf


@dataclass(frozen=True)
class Split:
    """The rows of one split, tokenized.

    rows: as they were read. features: what batches are made from; `features.lengths`, `[N]`, has the tokens of each row
    that a model sees. collate: makes a batch from row ids `[B]` and the number of rows that it is to have
    (`training/plan.py`). content: what texts, labels and tokens are known by (`training/identity.py`).
    """

    rows: Any
    features: Any
    collate: Callable[[np.ndarray, int | None], dict[str, Any]]
    content: dict[str, Any]


@dataclass(frozen=True)
class ReadyModel:
    """A model that can be trained and asked.

    network: on its device. collator: makes its batches. predictor: what it predicts for a batch, without gradients.
    """

    network: Any
    tokenizer: Any
    collator: Collator
    predictor: Predictor


def read_rows(config: FineTuningConfig, task: Task) -> dict[str, Any]:
    """The rows of the splits that the run needs, by name: train, dev, test. Raises DataError.

    They are read before anything else is done: an error in the last of them should not come to light after hours
    of training. What is twice in the rows is noted in their counts.
    """
    names = ["train"] if config.do_train else []
    if config.do_train and config.evaluates_every != 0:
        names.append(config.training_split)
    if config.do_eval:
        names.append("test")
    if not names:
        return {}
    key = config.TEST_FILE_KEY
    splits = read_splits(task, names, parts_of(config, task), config.encoding, config.skip_bad_rows, config.seed, key)
    with doing("look for rows that are there twice"):
        count_repeats(splits)
    return splits


def find_model_folder(config: FineTuningConfig, task: Task) -> Path | None:
    """The folder of the model to begin with, or of the named one to score and use; None where a run's checkpoints are.

    Raises ModelError where the model is not found, and UsageError where checkpoints were trained with other settings,
    or where the output folder of a named model holds something else.
    """
    if not config.do_train and not config.uses_named_model:
        check_checkpoints(config, task)
        return None
    with doing("fetch the model"):
        folder = find_model(config.model_type, config.model_name_or_path)
    if not config.do_train:
        check_named_model(config, task, folder)
    return folder


def load_tokenizer(config: FineTuningConfig, runtime: Runtime, folder: Path) -> Any:
    """The tokenizer of the model in a folder; if it has none, that of `model_type`, and a line says so.

    Raises ModelError where there is none, and where it does not fit the model.
    """
    found = find_tokenizer(config.model_type, folder)
    if found != folder:
        runtime.say_once(f"{folder} holds no tokenizer: that of model_type {config.model_type} is taken")
    return build_tokenizer(config.model_type, found, config.hanbert_library, folder)


def make_ready(
    config: FineTuningConfig,
    runtime: Runtime,
    network: Any,
    tokenizer: Any,
    predict: Callable[[Any, dict[str, Any]], Any],
    length_key: str,
) -> ReadyModel:
    """Puts a network on the device, without padding in its encoder where that is possible.

    predict: (network, batch) -> `[B, ...]`. length_key: the setting that says how many tokens the longest row has.
    """
    from models.collator import Collator
    from training.evaluate import Predictor

    if config.do_train and config.max_word_characters:  # later, the checkpoint's tokenizer has it
        set_word_limit(tokenizer, config.max_word_characters)
    collator = Collator.of(network, config, runtime, length_key)
    network = runtime.prepare(collator.model)
    return ReadyModel(network, tokenizer, collator, Predictor(network, predict, runtime))


def predictions_of(
    config: FineTuningConfig, model: ReadyModel, split: Split
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row ids `[B]` and what the model predicts for them, `[B, ...]`, batch by batch."""
    from training.evaluate import evaluate

    return evaluate(model.predictor, split.collate, split.features.lengths, config.eval_batch_size)


def train(
    config: FineTuningConfig,
    runtime: Runtime,
    task: Task,
    model: ReadyModel,
    splits: Mapping[str, Split],
    loss_of: LossOf,
    score: Callable[[ReadyModel, Split], Scored],
    overwrite: bool,
    published_batch: str = "",
) -> None:
    """Fine-tunes the model in place on `splits["train"]`, and leaves checkpoints in the run's folder.

    loss_of: (network, batch) -> the sum of the losses (`training/loop.py`). score: scores a split
    during training. overwrite: whether to delete an earlier run. published_batch: added to the line that says how many
    rows a step has.
    """
    from training.dry_run import dry_run
    from training.loop import Job, fit
    from training.plan import Plan
    from training.results import delete_earlier_run

    plan = Plan.of(config, len(splits["train"].features), runtime)
    published = f" ({published_batch})" if published_batch else ""
    runtime.say(
        f"{task.name}, {config.model_name}: {plan.steps} steps of {plan.step_rows} rows"
        f"{published}, {runtime.describe()}{', unpadded' if model.collator.unpads else ''}"
    )
    if overwrite and runtime.is_main:
        delete_earlier_run(config.run_dir)
    evaluated = splits[config.training_split] if config.evaluates_every != 0 else None

    def evaluate() -> tuple[str, dict[str, float]]:
        return config.training_split, score(model, evaluated).metrics

    def write_model(target: Path, state: State) -> None:
        runtime.save_model(model.network, target)
        model.tokenizer.save_pretrained(target)

    job = Job(
        model=model.network,
        plan=plan,
        collate=lambda row_ids, draws, size: splits["train"].collate(row_ids, size),
        loss_of=loss_of,
        config=config,
        runtime=runtime,
        write_model=write_model,
        evaluate=evaluate if evaluated else None,
        main_metric=task.main_metric,
        greater_is_better=task.greater_is_better,
        **_records(config, runtime, task, splits),
    )
    if config.dry_run:
        dry_run(job, splits["train"].features.lengths)
    else:
        fit(job)


def _records(config: FineTuningConfig, runtime: Runtime, task: Task, splits: Mapping[str, Split]) -> dict[str, Any]:
    """Where a run is written down, which data it learns from, and what must be the same when it is resumed."""
    from training.checkpoint import CheckpointFolder
    from training.identity import LABELS, ROWS
    from training.results import MetricsLog

    parts = parts_of(config, task)
    identity = config.identity(runtime.precision) | {f"training{ROWS}": splits["train"].content}
    if task.labels:
        identity[LABELS] = list(task.labels)
    if config.evaluates_every != 0:
        identity[f"{config.training_split}{ROWS}"] = splits[config.training_split].content
    return {
        "checkpoints": CheckpointFolder(config.run_dir, config.save_total_limit, config.save_optimizer),
        "log": MetricsLog.of(config),
        "identity": identity,
        "data": hashes_of(part for name in splits for part in parts[name]),
        "rows": {name: len(split.rows) for name, split in splits.items()},
    }
