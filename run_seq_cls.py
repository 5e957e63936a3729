"""Fine-tunes an encoder on a sequence classification (or regression) task, scores it, and labels new texts.

python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json
python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json --resume
python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json --seeds 42 43 44
python3 run_seq_cls.py --task nsmc --config_file koelectra-base.json --do_predict --input_file texts.txt
python3 run_seq_cls.py --task nsmc --model_name_or_path FOLDER_OR_HUB_ID --do_eval      # a model fine-tuned elsewhere
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from workflows.startup import start

    start()

import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from models import build_model, widen_vocabulary
from processors import TASKS, TASKS_OF_SCRIPT
from processors.entity_markers import add_markers
from processors.features import NO_LABEL
from processors.seq_cls import prediction_table
from processors.task import Task
from processors.text_readers import read_unlabelled
from training.results import ORIGINAL_FIGURES
from workflows.encoding import encode_texts
from workflows.fine_tuning import (
    ReadyModel,
    Split,
    find_model_folder,
    load_tokenizer,
    make_ready,
    predictions_of,
    read_rows,
    train,
)
from workflows.predictions import read_inputs, write_predictions, writes_to_standard_output
from workflows.scoring import Scored, score_checkpoints, selected_checkpoint, write_results
from workflows.script import open_device, run_script
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


def main(config: SequenceClassificationConfig, overwrite: bool) -> dict[str, Any] | None:
    """A run from its files to its scores and predictions. Returns the results, or None where nothing is scored."""
    task = TASKS[config.task]
    rows = read_rows(config, task)
    texts = read_inputs(config, task, read_unlabelled)
    folder = find_model_folder(config, task)
    runtime = open_device(config)
    results = None

    def encode(model: ReadyModel, name: str, rows: Any) -> Split:
        return encode_texts(config, runtime, model, name, rows)

    def score(model: ReadyModel, split: Split) -> Scored:
        return score_outputs(config, task, split, outputs_of(config, model, split))

    if config.do_train:
        runtime.seed(config.seed)
        model = load(config, runtime, folder, is_trained=False)
        splits = {name: encode(model, name, rows[name]) for name in rows}
        loss_of = squared_errors if task.is_regression else cross_entropies
        train(config, runtime, task, model, splits, loss_of, score, overwrite)
        del model, splits  # frees memory before the checkpoints are loaded
    if config.dry_run:
        return None

    if config.do_eval:

        def load_checkpoint(checkpoint: Path) -> tuple[ReadyModel, Split]:
            model = load(config, runtime, checkpoint, is_trained=True)
            return model, encode(model, "test", rows["test"])

        selected = score_checkpoints(config, runtime, task, folder, load_checkpoint, score)
        files = prediction_files(task, rows["test"], selected.scored.outputs)
        results = write_results(config, runtime, task, selected, len(rows["test"]), files)

    if config.do_predict:
        checkpoint = selected_checkpoint(config, task, folder)
        model = load(config, runtime, checkpoint, is_trained=True)
        outputs = outputs_of(config, model, encode(model, "predict", texts))
        files = prediction_files(task, texts, outputs, is_short=writes_to_standard_output(config))
        write_predictions(config, runtime, checkpoint, len(texts), files)
    return results


def load(config: SequenceClassificationConfig, runtime, folder: Path, is_trained: bool) -> ReadyModel:
    """The model in a folder with a classifier, which is trained already or fresh."""
    task = TASKS[config.task]
    tokenizer = load_tokenizer(config, runtime, folder)
    add_markers(tokenizer, task.markers)
    model = build_model(
        folder,
        "sequence",
        task.labels,
        config.pooling,
        from_scratch=config.from_scratch and not is_trained,
        fresh_head=not is_trained,
        attention=config.attention,
        linear_classifier=config.linear_classifier,
        say=runtime.say_once,
    )
    if task.markers:
        widen_vocabulary(model, len(tokenizer), folder, is_trained)
    return make_ready(config, runtime, model, tokenizer, logits_of, "max_seq_len")


def logits_of(model, batch: dict[str, Any]) -> Any:
    """`[B, C]` logits, or `[B, 1]` scores of a regression."""
    return model(**batch["inputs"]).logits


def cross_entropies(model, batch: dict[str, Any]) -> Any:
    """Sum of the rows' cross entropies."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits_of(model, batch).float(), batch["labels"], ignore_index=NO_LABEL, reduction="sum")


def squared_errors(model, batch: dict[str, Any]) -> Any:
    """Sum of the rows' squared errors, for a regression."""
    from torch.nn.functional import mse_loss

    errors = mse_loss(logits_of(model, batch).float().squeeze(-1), batch["labels"], reduction="none")
    return errors.where(batch["labels"] != NO_LABEL, 0).sum()


def outputs_of(config: SequenceClassificationConfig, model: ReadyModel, split: Split) -> np.ndarray:
    """`[N, C]` logits of all rows, or `[N, 1]` scores of a regression."""
    from training.evaluate import in_order_of_rows

    return in_order_of_rows(predictions_of(config, model, split), len(split.features.lengths))


def score_outputs(config: SequenceClassificationConfig, task: Task, split: Split, outputs: np.ndarray) -> Scored:
    """The task's metrics (`processors/metrics.py`), and what KoELECTRA logged besides."""
    from processors.metrics import at_chance, loss_published_style, row_losses, score

    labels = np.array(split.rows.labels)
    metrics = score(task.metrics, labels, outputs)
    losses = row_losses(labels, outputs, task.is_regression)
    figures = {"loss_published_style": loss_published_style(losses, np.ones(len(losses)), config.eval_batch_size)}
    if {"pearson", "spearman"} <= metrics.keys():
        figures["mean_of_pearson_and_spearman"] = (metrics["pearson"] + metrics["spearman"]) / 2
    return Scored(metrics, outputs, at_chance(labels, outputs, task.is_regression), {ORIGINAL_FIGURES: figures})


def prediction_files(task: Task, rows: Any, outputs: np.ndarray, is_short: bool = False) -> dict[str, str]:
    """`predictions.tsv`, a line a row (`prediction_table`). is_short: with four digits, for the screen."""
    return {"predictions.tsv": prediction_table(task, rows, outputs, ".4f" if is_short else ".9g")}


if __name__ == "__main__":
    tasks = TASKS_OF_SCRIPT["run_seq_cls.py"]
    sys.exit(run_script(__file__, __doc__, sys.argv[1:], SequenceClassificationConfig, tasks, main))
