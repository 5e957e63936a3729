"""Fine-tunes an encoder on a sequence classification (or regression) task, scores it, and labels new texts.

python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json
python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json --resume
python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json --seeds 42 43 44
python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json --do_predict --input_file texts.txt
"""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from models import ModelError, build_model, build_tokenizer, find_model
from processors import SCRIPT_OF_TASK, TASKS, TASKS_OF_SCRIPT
from processors.features import NO_LABEL, Features, build_features, warn_of_unknown
from processors.seq_cls import prediction_table, read_unlabelled
from processors.splits import read_splits
from processors.task import DataError, Rows, Task
from workflows.fine_tuning import Recipe, Split, run_recipe
from workflows.script import Scored
from workflows.settings import FineTuningConfig, TestSplitConfig

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.


class SequenceClassificationConfig(FineTuningConfig, TestSplitConfig):
    """Sequence classification"""

    OF_EVALUATION: ClassVar = frozenset(TestSplitConfig.model_fields)

    max_seq_len: int = Field(128, ge=1, description="tokens per row, special tokens included; longer rows are cut")
    pooling: Literal["cls", "mean", "max"] = Field(
        "cls", description="how the tokens of a row become one vector; cls: by the architecture's own head"
    )
    linear_classifier: bool = Field(
        False, description="classify the pooled vector with one matrix: no further layers, no dropout, no bias"
    )


class Classifier:
    """A model with its tokenizer: what turns rows into batches, batches into losses, and outputs into scores."""

    def __init__(self, config: SequenceClassificationConfig, runtime, folder: Path, is_trained: bool):
        from models.collator import Collator
        from training.evaluate import Predictor

        self.config, self.runtime, self.task = config, runtime, TASKS[config.task]
        self.tokenizer = build_tokenizer(config.model_type, folder)
        from_scratch = config.from_scratch and not is_trained
        model = build_model(
            folder,
            "sequence",
            self.task.labels,
            config.pooling,
            from_scratch,
            fresh_head=not is_trained,
            attention=config.attention,
            linear_classifier=config.linear_classifier,
        )
        self.collator = Collator.of(model, config, runtime, "max_seq_len")
        self.model, self.unpads = runtime.prepare(self.collator.model), self.collator.unpads
        self.predictor = Predictor(self.model, logits_of, runtime)

    def prepare(self, name: str, rows: Rows) -> Split:
        """Tokenizes the rows of a split, and says, once, what there is to know about them."""
        config, say = self.config, self.runtime.say_once
        features = build_features(rows, self.tokenizer, config.max_seq_len, Path(config.cache_dir), config.threads)
        notes = [f"{what}: {count}" for what, count in rows.counts.items()]
        if features.cut_rows:
            lost = f"{features.cut_tokens} tokens lost"
            notes.append(f"rows cut to {config.max_seq_len} tokens: {features.cut_rows} ({lost})")
        say(f"{name}: {len(rows)} rows, {features.lengths.mean():.1f} tokens each" + "".join(f"; {n}" for n in notes))
        warn_of_unknown(name, features.unknown_share, self.tokenizer.unk_token, rows.labels is not None, say)
        labels = hashlib.sha256(repr(rows.labels).encode()).hexdigest()
        content = f"{features.table.path.stem} {labels}"
        return Split(rows, features, functools.partial(self._collate, rows, features), content)

    def _collate(self, rows: Rows, features: Features, row_ids: np.ndarray, size: int | None = None) -> dict[str, Any]:
        width = self.collator.width(features.lengths[row_ids])
        arrays = features.padded(row_ids, self.tokenizer.pad_token_id, width)
        if rows.labels is None:
            return self.collator.batch(arrays, size)
        kind = np.float32 if self.task.is_regression else np.int64
        return self.collator.batch(arrays, size, labels=np.array([rows.labels[row] for row in row_ids], dtype=kind))

    def loss_of(self, model, batch: dict[str, Any]) -> Any:
        """Sum of the rows' losses: cross entropy, or squared error of a regression."""
        from torch.nn.functional import cross_entropy, mse_loss

        logits = model(**batch["inputs"]).logits.float()
        if self.task.is_regression:
            errors = mse_loss(logits.squeeze(-1), batch["labels"], reduction="none")
            return errors.where(batch["labels"] != NO_LABEL, 0).sum()
        return cross_entropy(logits, batch["labels"], ignore_index=NO_LABEL, reduction="sum")

    def outputs(self, split: Split) -> np.ndarray:
        """`[N, C]` logits of all rows, or `[N, 1]` scores of a regression."""
        from training.evaluate import evaluate, in_order_of_rows

        lengths = split.features.lengths
        batches = evaluate(self.predictor, split.collate, lengths, self.config.eval_batch_size)
        return in_order_of_rows(batches, len(lengths))

    def score(self, split: Split) -> Scored:
        """The task's metrics on a split."""
        from processors.metrics import at_chance, score

        outputs, labels = self.outputs(split), np.array(split.rows.labels)
        return Scored(
            score(self.task.metrics, labels, outputs), outputs, at_chance(labels, outputs, self.task.is_regression)
        )


def logits_of(model, batch: dict[str, Any]) -> Any:
    """`[B, C]` logits."""
    return model(**batch["inputs"]).logits


def prediction_files(task: Task, rows: Rows, outputs: np.ndarray, exact: bool) -> dict[str, str]:
    """`predictions.tsv`: a line a row, see `prediction_table`."""
    return {"predictions.tsv": prediction_table(task, rows, outputs, ".9g" if exact else ".4f")}


RECIPE = Recipe(
    tasks={task.name: task for task in TASKS_OF_SCRIPT["run_seq_cls.py"]},
    script_of_task=SCRIPT_OF_TASK,
    config_class=SequenceClassificationConfig,
    errors=(DataError, ModelError),
    find_model=find_model,
    learner=Classifier,
    read_splits=read_splits,
    read_inputs=read_unlabelled,
    prediction_files=prediction_files,
)

if __name__ == "__main__":
    sys.exit(run_recipe(__file__, __doc__, sys.argv[1:], RECIPE))
