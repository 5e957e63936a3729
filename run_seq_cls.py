"""Fine-tunes an encoder on a sequence classification (or regression) task, scores it, and labels new texts.

python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json
python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json --resume
python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json --seeds 42 43 44
python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json --do_predict --input_file texts.txt
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from models import (
    MODELS,
    ModelError,
    build_sequence_classifier,
    build_tokenizer,
    find_model,
    longest_input,
    takes_token_types,
    unknown_model,
)
from processors import TASKS
from processors.features import Features, build_features
from processors.seq_cls import SEQUENCE_CLASSIFICATION_TASKS, prediction_table, read_splits, read_unlabelled
from processors.task import DataError, Rows, Task
from training.config import FineTuningConfig, UsageError
from training.script import (
    check_checkpoints,
    run_script,
    score_checkpoints,
    selected_checkpoint,
    write_results,
    write_to_standard_output,
)

# A share of [UNK] that means a vocabulary of another language, or Hangul taken apart.
UNKNOWN_SHARE_WARNED, UNKNOWN_SHARE_REFUSED = 0.05, 0.30
TEST_PREDICTIONS = "predictions-test.tsv"

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.


class SequenceClassificationConfig(FineTuningConfig):
    """Sequence classification"""

    max_seq_len: int = Field(128, ge=1, description="tokens a row, special ones included; longer rows are cut")
    pooling: Literal["cls", "mean", "max"] = Field("cls", description="cls: the architecture's own head")

    def contradictions(self, given: Mapping[str, str]) -> Iterator[str]:
        if self.model_type is not None and self.model_type not in MODELS:
            yield unknown_model(self.model_type)


def run(config: SequenceClassificationConfig, overwrite: bool) -> dict[str, Any] | None:
    """Trains, evaluates and predicts as the settings say; returns the results of the evaluation."""
    # All files are read first: what is wrong with the last of them should not come to light after hours of training.
    rows = read(config)
    texts = read_texts(config) if config.do_predict else None
    if not config.do_train:
        check_checkpoints(config, settings_that_checkpoints_share(config), held_out_from(config))
    folder = find_model(config.model_type, config.model_name_or_path) if config.do_train else None

    from training.runtime import Runtime, quiet_libraries

    runtime = Runtime(config.no_cuda, config.precision)
    quiet_libraries()
    results = None
    if config.do_train:
        train(config, runtime, folder, rows, overwrite)
    if config.do_eval:
        results = score(config, runtime, rows["test"])
    if config.do_predict:
        predict(config, runtime, texts)
    return results


def train(config: SequenceClassificationConfig, runtime, folder: Path, rows: dict[str, Rows], overwrite: bool) -> None:
    """Fine-tunes the model in `folder`."""
    import torch

    from training.checkpoint import CheckpointFolder
    from training.loop import Job, Plan, fit
    from training.results import MetricsLog, delete_earlier_run, sha256_of

    task = TASKS[config.task]
    tokenizer = build_tokenizer(config.model_type, folder)
    torch.manual_seed(config.seed)
    model = build_sequence_classifier(folder, task.labels, config.pooling, config.from_scratch)
    classifier = Classifier(config, runtime, model, tokenizer)
    splits = {name: classifier.prepare(name, rows[name]) for name in rows}
    evaluation_split = splits[config.training_split] if config.evaluates_every != 0 else None
    plan = Plan(
        rows=len(rows["train"]),
        batch_size=config.train_batch_size,
        accumulation=config.gradient_accumulation_steps,
        epochs=config.num_train_epochs,
        seed=config.seed,
        max_steps=config.max_steps,
    )

    def evaluate_now() -> tuple[str, dict[str, float]]:
        return config.training_split, classifier.score(evaluation_split)[0]

    def write_model(target: Path) -> None:
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)

    runtime.say(
        f"{task.name}, {config.model_name}: {plan.steps} steps of {plan.batch_size * plan.accumulation} rows, "
        f"{runtime.describe()}{', unpadded' if classifier.unpads else ''}"
    )
    if overwrite:
        delete_earlier_run(config.run_dir)
    job = Job(
        model=classifier.model,
        plan=plan,
        collate=splits["train"].collate,
        loss_of=classifier.loss_of,
        config=config,
        runtime=runtime,
        checkpoints=CheckpointFolder(config.run_dir, config.save_total_limit, config.save_optimizer),
        log=MetricsLog(config.run_dir),
        write_model=write_model,
        identity=config.identity(runtime.precision)
        | {"training rows": splits["train"].content}
        | ({f"{config.training_split} rows": evaluation_split.content} if evaluation_split else {}),
        data={str(path): sha256_of(path) for name in rows for path in data_files(config)[name]},
        evaluate=evaluate_now if evaluation_split else None,
        main_metric=task.main_metric,
        greater_is_better=task.greater_is_better,
    )
    fit(job)


def score(config: SequenceClassificationConfig, runtime, rows: Rows) -> dict[str, Any]:
    """Scores the run's checkpoints on the test split; writes results and the selected checkpoint's predictions."""
    from training.metrics import at_chance
    from training.results import write_whole

    task = TASKS[config.task]

    def score_checkpoint(checkpoint: Path) -> tuple[dict[str, float], np.ndarray]:
        classifier = Classifier.of_checkpoint(config, runtime, checkpoint)
        return classifier.score(classifier.prepare("test", rows))

    checkpoint, metrics, outputs, evaluations = score_checkpoints(
        config, runtime, score_checkpoint, task.main_metric, task.greater_is_better, config.do_train
    )
    write_whole(config.run_dir / TEST_PREDICTIONS, prediction_table(task, rows, outputs, ".9g"))
    chance = at_chance(np.array(rows.labels), outputs, task.is_regression)
    files = data_files(config)["test"] or data_files(config)["train"]
    return write_results(config, runtime, checkpoint, metrics, evaluations, task.main_metric, chance, files)


def predict(config: SequenceClassificationConfig, runtime, rows: Rows) -> None:
    """Labels the texts of `input_file` with the selected checkpoint."""
    from training.results import write_whole

    task = TASKS[config.task]
    checkpoint = selected_checkpoint(config, task.main_metric, task.greater_is_better)
    classifier = Classifier.of_checkpoint(config, runtime, checkpoint)
    outputs = classifier.outputs(classifier.prepare("predict", rows))
    target = predictions_path(config)
    if target is None:
        write_to_standard_output(prediction_table(task, rows, outputs))
        return
    write_whole(target, prediction_table(task, rows, outputs, ".9g"))
    runtime.say(f"{len(rows)} predictions of {checkpoint.name} written to {target}")


def read_texts(config: SequenceClassificationConfig) -> Rows:
    """The texts to be labelled. Raises UsageError where it is known now that the labels could not be written."""
    target = predictions_path(config)
    if target is not None and config.output_file and not target.parent.is_dir():
        raise UsageError(f"output_file {target}: there is no folder {target.parent}")
    if target is not None and target == config.run_dir / TEST_PREDICTIONS:
        raise UsageError(f"{target} holds the predictions on the test split: name another file with --output_file")
    source = None if config.input_file == "-" else Path(config.input_file)
    if source is not None and target is not None and target.resolve() == source.resolve():
        raise UsageError(f"output_file {target} is the input_file: its texts would be lost")
    return read_unlabelled(TASKS[config.task], source, config.encoding)


def predictions_path(config: SequenceClassificationConfig) -> Path | None:
    """The file that predictions go to; None for standard output."""
    if config.output_file:
        return Path(config.output_file)
    return None if config.input_file == "-" else config.run_dir / f"predictions-{Path(config.input_file).stem}.tsv"


def settings_that_checkpoints_share(config: SequenceClassificationConfig) -> list[str]:
    """What must be as it was in training: where test rows may be drawn from the training file, also what says which."""
    keys = ["task", "model_type", "pooling", "max_seq_len"]
    drawn = ["seed", "train_file", "test_file", "encoding", "skip_bad_rows"]
    return [*keys, *drawn] if TASKS[config.task].held_out_share else keys


def held_out_from(config: SequenceClassificationConfig) -> list[Path]:
    """The files that both training and test rows are drawn from; none where the test rows have files of their own."""
    files = data_files(config)
    return files["train"] if config.do_eval and not files["test"] else []


def data_files(config: SequenceClassificationConfig) -> dict[str, list[Path]]:
    """The files of each split, in `data_dir/<task folder>`, or wherever an absolute path says."""
    folder = Path(config.data_dir) / TASKS[config.task].folder
    training = config.train_file if isinstance(config.train_file, list) else [config.train_file]
    names = {"train": training, "dev": [config.dev_file], "test": [config.test_file]}
    return {split: [folder / file for file in files if file] for split, files in names.items()}


def read(config: SequenceClassificationConfig) -> dict[str, Rows]:
    """The rows of the splits that the run needs."""
    names = ["train"] if config.do_train else []
    if config.do_train and config.evaluates_every != 0:
        names.append(config.training_split)
    if config.do_eval:
        names.append("test")
    if not names:
        return {}
    return read_splits(
        TASKS[config.task], names, data_files(config), config.encoding, config.skip_bad_rows, config.seed
    )


@dataclass(frozen=True)
class Split:
    """Rows of one split, tokenized. collate: row ids to a batch. content: stands for texts, labels and tokens."""

    rows: Rows
    features: Features
    collate: Callable[[np.ndarray], dict[str, Any]]

    @property
    def content(self) -> str:
        labels = hashlib.sha256(repr(self.rows.labels).encode()).hexdigest()
        return f"{self.features.path.stem} {labels}"


class Classifier:
    """A model with its tokenizer: what turns rows into batches, batches into losses, and outputs into scores."""

    def __init__(self, config: SequenceClassificationConfig, runtime, model, tokenizer):
        from models.unpadding import supports_unpadding, unpad_encoder

        self.config, self.runtime, self.tokenizer = config, runtime, tokenizer
        self.task = TASKS[config.task]
        limit = longest_input(model.config)
        if limit is not None and config.max_seq_len > limit:
            raise ModelError(f"max_seq_len {config.max_seq_len} is more than the model's {limit} positions")
        self.unpads = not config.no_unpad and supports_unpadding(model)
        self.model = runtime.prepare(unpad_encoder(model) if self.unpads else model)
        self.takes_token_types = takes_token_types(model.config)

    @classmethod
    def of_checkpoint(cls, config: SequenceClassificationConfig, runtime, checkpoint: Path) -> Classifier:
        """The trained classifier saved in `checkpoint`."""
        labels = TASKS[config.task].labels
        model = build_sequence_classifier(checkpoint, labels, config.pooling, fresh_head=False)
        return cls(config, runtime, model, build_tokenizer(config.model_type, checkpoint))

    def prepare(self, name: str, rows: Rows) -> Split:
        """Tokenizes the rows of a split, and says, once, what there is to know about them."""
        config, say = self.config, self.runtime.say_once
        features = build_features(rows, self.tokenizer, config.max_seq_len, Path(config.cache_dir), config.threads)
        notes = [f"{what}: {count}" for what, count in rows.counts.items()]
        if features.cut_rows:
            lost = f"{features.cut_tokens} tokens lost"
            notes.append(f"rows cut to {config.max_seq_len} tokens: {features.cut_rows} ({lost})")
        say(f"{name}: {len(rows)} rows, {features.lengths.mean():.1f} tokens each" + "".join(f"; {n}" for n in notes))
        unknown = f"{name}: {features.unknown_share:.1%} of the tokens are {self.tokenizer.unk_token}"
        if features.unknown_share > UNKNOWN_SHARE_REFUSED and rows.labels is not None:  # one text may be all emoji
            raise DataError(f"{unknown}: this tokenizer's vocabulary is not made for these texts")
        if features.unknown_share > UNKNOWN_SHARE_WARNED:
            say(f"warning: {unknown}; does the tokenizer belong to this language?")
        return Split(rows, features, lambda row_ids: self._collate(rows, features, row_ids))

    def _collate(self, rows: Rows, features: Features, row_ids: np.ndarray) -> dict[str, Any]:
        import torch

        from models.unpadding import Packing

        arrays = features.padded(row_ids, self.tokenizer.pad_token_id)
        mask = arrays["attention_mask"]
        if not self.takes_token_types:
            del arrays["token_type_ids"]
        inputs: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self.unpads:
            inputs["packing"] = Packing.of_mask(mask)
        batch = {"inputs": inputs, "rows": len(row_ids), "real_tokens": int(mask.sum()), "padded_tokens": mask.size}
        if rows.labels is not None:
            batch["labels"] = torch.tensor([rows.labels[row] for row in row_ids])
        return batch

    def loss_of(self, model, batch: dict[str, Any]) -> tuple[Any, int]:
        """Sum of the rows' losses, and their number: cross entropy, or squared error of a regression."""
        from torch.nn.functional import cross_entropy, mse_loss

        logits = model(**batch["inputs"]).logits.float()
        if self.task.is_regression:
            return mse_loss(logits.squeeze(-1), batch["labels"], reduction="sum"), batch["rows"]
        return cross_entropy(logits, batch["labels"], reduction="sum"), batch["rows"]

    def outputs(self, split: Split) -> np.ndarray:
        """`[N, C]` logits of all rows, or `[N, 1]` scores of a regression."""
        from training.loop import evaluate

        def logits_of(model, batch: dict[str, Any]):
            return model(**batch["inputs"]).logits

        return evaluate(
            self.model, logits_of, split.collate, split.features.lengths, self.config.eval_batch_size, self.runtime
        )

    def score(self, split: Split) -> tuple[dict[str, float], np.ndarray]:
        """The task's metrics on a split, and the outputs they were computed from."""
        from training.metrics import score

        outputs = self.outputs(split)
        return score(self.task.metrics, np.array(split.rows.labels), outputs), outputs


def settings_of(task: Task) -> dict[str, Any]:
    """What a task sets, in the keys of the configuration."""
    files = {"train_file": task.train_file, "dev_file": task.dev_file or "", "test_file": task.test_file or ""}
    return files | dict(task.defaults)


def main(argv: list[str]) -> int:
    tasks = {task.name: settings_of(task) for task in SEQUENCE_CLASSIFICATION_TASKS}
    errors = (DataError, ModelError)
    return run_script(__file__, __doc__, argv, SequenceClassificationConfig, tasks, errors, run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
