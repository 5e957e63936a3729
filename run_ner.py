"""Fine-tunes an encoder on named entity recognition, scores it, and labels new sentences.

python3 run_ner.py --task naver-ner --config_file koelectra-small.json
python3 run_ner.py --task naver-ner --config_file koelectra-small.json --ner_stride 64 --output_dir windows
python3 run_ner.py --task naver-ner --config_file koelectra-small.json --do_predict --input_file sentences.txt
"""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from models import ModelError, build_model, build_tokenizer, find_model
from processors import SCRIPT_OF_TASK, TASKS, TASKS_OF_SCRIPT
from processors.features import NO_LABEL, warn_of_unknown
from processors.ner import (
    NOT_PREDICTED,
    WRITERS,
    Sentences,
    WindowFeatures,
    build_window_features,
    has_suffix_labels,
    number_of,
    read_unlabelled,
)
from processors.splits import read_splits
from processors.task import DataError, Task
from workflows.fine_tuning import Recipe, Split, run_recipe
from workflows.script import Scored
from workflows.settings import FineTuningConfig, TestSplitConfig

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.


class NerConfig(FineTuningConfig, TestSplitConfig):
    """Named entity recognition"""

    OF_EVALUATION: ClassVar = frozenset({*TestSplitConfig.model_fields, "ner_stride"})

    max_seq_len: int = Field(128, ge=1, description="tokens per row, special tokens included; longer sentences are cut")
    ner_stride: int = Field(
        0,
        ge=0,
        description="split long sentences into windows that start this many tokens apart, so that every word gets a "
        "label; 0: cut them",
    )


class Tagger:
    """A model with its tokenizer: what turns sentences into batches, batches into losses, and outputs into labels."""

    def __init__(self, config: NerConfig, runtime, folder: Path, is_trained: bool):
        from models.collator import Collator
        from training.evaluate import Predictor

        self.config, self.runtime, self.task = config, runtime, TASKS[config.task]
        self.tokenizer = build_tokenizer(config.model_type, folder)
        fresh = {"from_scratch": config.from_scratch and not is_trained, "fresh_head": not is_trained}
        model = build_model(folder, "token", self.task.labels, attention=config.attention, **fresh)
        self.collator = Collator.of(model, config, runtime, "max_seq_len")
        self.model, self.unpads = runtime.prepare(self.collator.model), self.collator.unpads
        self.predictor = Predictor(self.model, label_ids_of, runtime)

    def prepare(self, name: str, rows: Sentences) -> Split:
        """Tokenizes the sentences of a split, and says, once, what there is to know about them."""
        config, say = self.config, self.runtime.say_once
        features = build_window_features(
            rows, self.tokenizer, config.max_seq_len, config.ner_stride, Path(config.cache_dir), config.threads
        )
        if not len(features):
            raise DataError(f"{name}: there are no words in it")
        notes = [f"{what}: {count}" for what, count in rows.counts.items()]
        if len(features) > len(rows):
            notes.append(f"cut into {len(features)} windows of up to {config.max_seq_len} tokens")
        words = sum(map(len, rows.words)) / len(rows)
        size = f"{len(rows)} sentences, {words:.1f} words and {features.lengths.mean():.1f} tokens each"
        say(f"{name}: {size}" + "".join(f"; {note}" for note in notes))
        if features.cut_words:
            say(
                f"warning: {name}: {number_of(features.cut_words, 'word')} of "
                f"{number_of(features.cut_sentences, 'sentence')} lie beyond "
                f"max_seq_len {config.max_seq_len}: they get no label and are not scored; "
                f"--ner_stride {config.max_seq_len // 2} labels every word"
            )
        warn_of_unknown(name, features.unknown_share, self.tokenizer.unk_token, rows.labels is not None, say)
        labels = hashlib.sha256(repr(rows.labels).encode()).hexdigest()
        content = f"{features.table.path.stem} {labels}"
        return Split(rows, features, functools.partial(self._collate, rows, features), content)

    def _collate(
        self, rows: Sentences, features: WindowFeatures, windows: np.ndarray, size: int | None = None
    ) -> dict[str, Any]:
        width = self.collator.width(features.lengths[windows])
        arrays = features.padded(windows, self.tokenizer.pad_token_id, width)
        if rows.labels is None:
            return self.collator.batch(arrays, size)
        label_ids = features.label_ids(windows, rows.labels, width)
        words = int((label_ids != NO_LABEL).sum())
        return self.collator.batch(arrays, size, terms=words, labels=label_ids)

    def loss_of(self, model, batch: dict[str, Any]) -> Any:
        """Sum of the words' cross entropies."""
        from torch.nn.functional import cross_entropy

        logits = model(**batch["inputs"]).logits.float()
        return cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=NO_LABEL, reduction="sum")

    def outputs(self, split: Split) -> list[list[str]]:
        """The label of every word; NOT_PREDICTED where it lies beyond `max_seq_len`."""
        from training.evaluate import evaluate

        features, names = split.features, self.task.labels
        predicted = [[NOT_PREDICTED] * len(words) for words in split.rows.words]
        batches = evaluate(self.predictor, split.collate, features.lengths, self.config.eval_batch_size)
        for windows, label_ids in batches:
            for window, ids in zip(windows, label_ids.astype(int), strict=True):
                sentence, words, positions = features.places(int(window))
                predicted[sentence][words] = [names[id] for id in ids[positions]]
        return predicted

    def score(self, split: Split) -> Scored:
        """Entity F1 on a split; words beyond `max_seq_len` are left out of it, as KoELECTRA did, and counted."""
        from processors.metrics import entity_scores

        predicted, names = self.outputs(split), self.task.labels
        kept = [[i for i, label in enumerate(labels) if label != NOT_PREDICTED] for labels in predicted]
        gold = [[names[labels[i]] for i in places] for labels, places in zip(split.rows.labels, kept, strict=True)]
        found = [[labels[i] for i in places] for labels, places in zip(predicted, kept, strict=True)]
        metrics, types = entity_scores(gold, found, has_suffix_labels(self.task))
        details = {"per_type": types, "words_not_scored": split.features.cut_words}
        return Scored(metrics, predicted, metrics["f1"] == 0, details, report_of(types))


def label_ids_of(model, batch: dict[str, Any]) -> Any:
    """`[B, L]`, the likeliest label of each token."""
    return model(**batch["inputs"]).logits.argmax(dim=-1)


def report_of(types: dict[str, dict[str, float]]) -> str:
    """A table of the scores of each type, the most frequent first."""
    lines = [f"  {'':8}{'precision':>10}{'recall':>10}{'f1':>10}{'entities':>10}"]
    for name, row in sorted(types.items(), key=lambda item: -item[1]["support"]):
        figures = "".join(f"{row[key]:10.4f}" for key in ("precision", "recall", "f1"))
        lines.append(f"  {name:8}{figures}{row['support']:10}")
    return "\n".join(lines)


def prediction_files(task: Task, rows: Sentences, outputs: list[list[str]], exact: bool) -> dict[str, str]:
    """`predictions.tsv` in the form of the task's own files."""
    return {"predictions.tsv": WRITERS[task.read](rows.words, outputs)}


RECIPE = Recipe(
    tasks={task.name: task for task in TASKS_OF_SCRIPT["run_ner.py"]},
    script_of_task=SCRIPT_OF_TASK,
    config_class=NerConfig,
    errors=(DataError, ModelError),
    find_model=find_model,
    learner=Tagger,
    read_splits=read_splits,
    read_inputs=read_unlabelled,
    prediction_files=prediction_files,
)

if __name__ == "__main__":
    sys.exit(run_recipe(__file__, __doc__, sys.argv[1:], RECIPE))
