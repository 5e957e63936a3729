"""Fine-tunes an encoder on named entity recognition, scores it, and labels new sentences.

python3 run_ner.py --task naver-ner --config_file koelectra-small.json
python3 run_ner.py --task naver-ner --config_file koelectra-small.json --ner_stride 64 --output_dir windows
python3 run_ner.py --task naver-ner --config_file koelectra-small.json --do_predict --input_file sentences.txt
python3 run_ner.py --task naver-ner --model_name_or_path FOLDER_OR_HUB_ID --do_eval      # a model fine-tuned elsewhere
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from workflows.startup import start

    start()

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from models import build_model
from processors import TASKS, TASKS_OF_SCRIPT
from processors.character_tokens import label_names
from processors.features import NO_LABEL
from processors.klue_ner import labels_characters
from processors.metrics import ENTITY_METRICS, EntityScores, at_chance, entity_scores, loss_published_style, score
from processors.ner import NOT_PREDICTED, bio_labels, has_suffix_labels
from processors.sentence_files import WRITERS, read_unlabelled, token_lines
from processors.task import Task
from training.config import Contradiction, Given
from training.results import ORIGINAL_FIGURES
from workflows.character_tagging import encode_characters, label_characters, score_characters
from workflows.encoding import encode_sentences
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
from workflows.predictions import read_inputs, write_predictions
from workflows.scoring import Scored, score_checkpoints, selected_checkpoint, write_results
from workflows.script import open_device, run_script
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

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.ner_stride and self.task in TASKS and labels_characters(TASKS[self.task]):
            message = f"ner_stride has no effect on {self.task}: its sentences are cut, as in KLUE-baseline"
            yield Contradiction(("ner_stride", "task"), message)


def main(config: NerConfig, overwrite: bool) -> dict[str, Any] | None:
    """A run from its files to its scores and predictions. Returns the results, or None where nothing is scored."""
    task = TASKS[config.task]
    rows = read_rows(config, task)
    sentences = read_inputs(config, task, read_unlabelled)
    folder = find_model_folder(config, task)
    runtime = open_device(config)
    results = None

    def encode(model: ReadyModel, name: str, rows: Any) -> Split:
        if labels_characters(task):
            return encode_characters(config, runtime, task, model, name, rows)
        return encode_sentences(config, runtime, model, name, rows)

    def score(model: ReadyModel, split: Split) -> Scored:
        if labels_characters(task):
            return score_characters(task, split, label_characters(config, task, model, split))
        return score_labels(config, task, split, label_words(config, task, model, split))

    if config.do_train:
        runtime.seed(config.seed)
        model = load(config, runtime, folder, is_trained=False)
        splits = {name: encode(model, name, rows[name]) for name in rows}
        train(config, runtime, task, model, splits, cross_entropies, score, overwrite)
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
        labels = labels_of(config, task, model, encode(model, "predict", sentences))
        files = prediction_files(task, sentences, labels)
        write_predictions(config, runtime, checkpoint, len(sentences), files)
    return results


def load(config: NerConfig, runtime, folder: Path, is_trained: bool) -> ReadyModel:
    """The model in a folder with a tagger, which is trained already or fresh."""
    tokenizer = load_tokenizer(config, runtime, folder)
    model = build_model(
        folder,
        "token",
        TASKS[config.task].labels,
        from_scratch=config.from_scratch and not is_trained,
        fresh_head=not is_trained,
        attention=config.attention,
        say=runtime.say_once,
    )
    return make_ready(config, runtime, model, tokenizer, label_ids_and_losses, "max_seq_len")


def label_ids_and_losses(model, batch: dict[str, Any]) -> Any:
    """`[B, 2, L]`: the likeliest label of each token, and the cross entropy of its own label; 0 where it has none."""
    import torch
    from torch.nn.functional import cross_entropy

    logits = model(**batch["inputs"]).logits.float()
    ids = logits.argmax(dim=-1).float()
    losses = torch.zeros_like(ids)
    if "labels" in batch:
        labels = batch["labels"].flatten()
        losses = cross_entropy(logits.flatten(0, 1), labels, ignore_index=NO_LABEL, reduction="none").view_as(ids)
    return torch.stack([ids, losses], dim=1)


def cross_entropies(model, batch: dict[str, Any]) -> Any:
    """Sum of the words' cross entropies."""
    from torch.nn.functional import cross_entropy

    logits = model(**batch["inputs"]).logits.float()
    return cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=NO_LABEL, reduction="sum")


@dataclass(frozen=True)
class LabelledWords:
    """What the model predicts for the words of sentences.

    labels: of every word of every sentence; NOT_PREDICTED where it lies beyond `max_seq_len`. losses: `[sentences]`,
    the sum of the cross entropies of the words that have a predicted label; 0 for sentences without labels.
    """

    labels: list[list[str]]
    losses: np.ndarray


def label_words(config: NerConfig, task: Task, model: ReadyModel, split: Split) -> LabelledWords:
    """The likeliest label of each word, which is that of its first token."""
    labels = [[NOT_PREDICTED] * len(words) for words in split.rows.words]
    losses = np.zeros(len(labels))
    for windows, outputs in predictions_of(config, model, split):
        for window, (ids, losses_of_tokens) in zip(windows, outputs, strict=True):
            sentence, words, positions = split.features.places(int(window))
            labels[sentence][words] = [task.labels[id] for id in ids[positions].astype(int)]
            losses[sentence] += losses_of_tokens[positions].sum(dtype=np.float64)
    return LabelledWords(labels, losses)


def labels_of(config: NerConfig, task: Task, model: ReadyModel, split: Split) -> list[list[str]]:
    """The predicted label of each word of each sentence, or of each character for a task that labels characters."""
    if labels_characters(task):
        return [label_names(task, ids) for ids in label_characters(config, task, model, split).aligned]
    return label_words(config, task, model, split).labels


def score_labels(config: NerConfig, task: Task, split: Split, predicted: LabelledWords) -> Scored:
    """The task's metrics, of entities and of words; words beyond `max_seq_len` are left out, as in KoELECTRA."""
    kept = [[i for i, label in enumerate(labels) if label != NOT_PREDICTED] for labels in predicted.labels]
    gold = [[labels[i] for i in places] for labels, places in zip(split.rows.labels, kept, strict=True)]
    ids = {label: id for id, label in enumerate(task.labels)}
    found = [[ids[labels[i]] for i in places] for labels, places in zip(predicted.labels, kept, strict=True)]
    words = np.array([len(places) for places in kept])
    loss = loss_published_style(predicted.losses, words, config.eval_batch_size)
    details = {"words_not_scored": split.features.cut_words, ORIGINAL_FIGURES: {"loss_published_style": loss}}
    # What metrics of classes take: one row a word.
    flat, chosen = (np.array([id for labels in side for id in labels], dtype=int) for side in (gold, found))
    outputs = np.eye(len(task.labels), dtype=np.float32)[chosen]
    metrics = score(tuple(name for name in task.metrics if name not in ENTITY_METRICS), flat, outputs)
    if not ENTITY_METRICS & set(task.metrics):
        return Scored(metrics, predicted.labels, at_chance(flat, outputs, is_regression=False), details)
    meanings = bio_labels(task)
    in_bio = [[[meanings[id] for id in labels] for labels in side] for side in (gold, found)]
    scores = entity_scores(*in_bio, has_suffix_labels(task))
    metrics = {name: (metrics | scores.metrics)[name] for name in task.metrics}
    details = {"per_type": scores.types, "averages": scores.averages, **details}
    return Scored(metrics, predicted.labels, scores.metrics["f1"] == 0, details, report_of(scores))


def report_of(scores: EntityScores) -> str:
    """A table of the scores of each type, the most frequent first, and of their averages, as seqeval prints them."""
    lines = [f"  {'':12}{'precision':>10}{'recall':>10}{'f1':>10}{'entities':>10}"]
    by_support = sorted(scores.types.items(), key=lambda item: -item[1]["support"])
    averages = [(f"{name} avg", row) for name, row in scores.averages.items()]
    for name, row in [*by_support, *averages]:
        figures = "".join(f"{row[key]:10.4f}" for key in ("precision", "recall", "f1"))
        lines.append(f"  {name:12}{figures}{row['support']:10}")
    return "\n".join(lines)


def prediction_files(task: Task, rows: Any, labels: list[list[str]]) -> dict[str, str]:
    """`predictions.tsv` in the form of the task's own files (`WRITERS`)."""
    return {"predictions.tsv": WRITERS.get(task.read, token_lines)(rows.words, labels)}


if __name__ == "__main__":
    sys.exit(run_script(__file__, __doc__, sys.argv[1:], NerConfig, TASKS_OF_SCRIPT["run_ner.py"], main))
