"""The steps of `run_ner.py` for a task whose characters are labelled (`processors/klue_ner.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from processors.character_tokens import (
    NO_TOKEN,
    CharacterFeatures,
    build_character_features,
    label_names,
    spread_labels,
)
from processors.features import NO_LABEL
from processors.klue_scores import tag_scores
from processors.sentence_files import Sentences
from processors.task import DataError, Task, number_of
from storage.activity import doing
from training.identity import rows_content
from workflows.encoding import describe, hash_of, note_of_long_words, say_what_was_damaged
from workflows.fine_tuning import ReadyModel, Split, predictions_of
from workflows.scoring import Scored
from workflows.settings import FineTuningConfig

if TYPE_CHECKING:
    from training.runtime import Runtime


def encode_characters(
    config: FineTuningConfig, runtime: Runtime, task: Task, model: ReadyModel, name: str, rows: Sentences
) -> Split:
    """Tokenizes sentences, and says, once, what there is to know about them. Raises DataError without words.

    The batches have `labels`, int64 `[B, L]`: a label id for every token, special tokens included, NO_LABEL for
    padding; their terms are the tokens. name: of the split.
    """
    with doing(f"encode {name}"), runtime.first_alone():
        features = build_character_features(
            rows, model.tokenizer, config.max_seq_len, Path(config.cache_dir), config.threads
        )
    say_what_was_damaged(runtime, features.table)
    if not any(rows.words):
        raise DataError(f"{name}: there are no words in it")
    notes = [f"{what}: {count}" for what, count in rows.counts.items()]
    notes += note_of_long_words(model, map(" ".join, rows.words))
    if features.cut_rows:
        lost = f"{features.cut_tokens} tokens get no label and are not scored"
        notes.append(f"sentences cut to {config.max_seq_len} tokens: {features.cut_rows} ({lost})")
    if rows.labels is not None and name != "train" and features.not_as_published:
        failing = number_of(features.not_as_published, "sentence")
        notes.append(f"{failing} that KLUE-baseline cannot score, scored by their own tokens")
    characters = sum(len(word) for words in rows.words for word in words) / len(rows)
    size = f"{len(rows)} sentences, {characters:.1f} characters and {features.lengths.mean():.1f} tokens each"
    describe(runtime, model, name, size, notes, features.unknown_share, rows.labels is not None)
    collator, pad, outside = model.collator, model.tokenizer.pad_token_id, task.labels.index("O")

    def collate(row_ids: np.ndarray, size: int | None = None) -> dict[str, Any]:
        width = collator.width(features.lengths[row_ids])
        arrays = features.padded(row_ids, pad, width)
        if rows.labels is None:
            return collator.batch(arrays, size)
        label_ids = features.label_ids(row_ids, rows.labels, outside, width, NO_LABEL)
        return collator.batch(arrays, size, terms=int((label_ids != NO_LABEL).sum()), labels=label_ids)

    content = rows_content(features.table.path.stem, hash_of(rows.labels), len(rows))
    return Split(rows, features, collate, content)


@dataclass(frozen=True)
class LabelledCharacters:
    """What the model predicts for sentences.

    tokens: the label ids of each row, `[L]`, special tokens included. aligned: the label ids of all characters, each
    labelled by its own token; NO_TOKEN for those that have none.
    """

    tokens: list[np.ndarray]
    aligned: list[np.ndarray]


def label_characters(config: FineTuningConfig, task: Task, model: ReadyModel, split: Split) -> LabelledCharacters:
    """The likeliest label of each token, spread over its characters."""
    features: CharacterFeatures = split.features
    tokens: list[np.ndarray] = [np.zeros(0, np.int64)] * len(features)
    for rows, outputs in predictions_of(config, model, split):
        for row, (ids, _) in zip(rows, outputs, strict=True):
            tokens[row] = ids[: features.lengths[row]].astype(np.int64)
    aligned = [spread_labels(task, ids, features.places("aligned", row)) for row, ids in enumerate(tokens)]
    return LabelledCharacters(tokens, aligned)


def score_characters(task: Task, split: Split, predicted: LabelledCharacters) -> Scored:
    """KLUE's scores, counted as KLUE-baseline does, and `aligned_...`: the same with each character at its own token.

    KLUE-baseline counts [CLS] and, at the end of each sentence, one position more as characters with the label O. It
    takes that position from the padding; here it is [SEP].
    """
    outside = task.labels.index("O")
    golds: list[int] = []
    found: list[int] = []
    aligned_golds: list[int] = []
    aligned: list[int] = []
    for row, (labels, tokens) in enumerate(zip(split.rows.labels, predicted.tokens, strict=True)):
        ids = spread_labels(task, tokens, split.features.places("published", row))
        golds += [outside, *labels[: len(ids)], outside]
        found += [tokens[0], *np.where(ids == NO_TOKEN, outside, ids), tokens[-1]]
        aligned_golds += labels
        aligned += np.where(predicted.aligned[row] == NO_TOKEN, outside, predicted.aligned[row]).tolist()
    metrics = tag_scores(task.labels, golds, [int(id) for id in found])
    own = tag_scores(task.labels, aligned_golds, aligned)
    metrics |= {f"aligned_{name}": value for name, value in own.items()}
    names = [label_names(task, ids) for ids in predicted.aligned]
    return Scored(metrics, names, own["entity_macro_f1"] == 0)
