"""From the rows of a split to what batches are made from: tokenized, kept in the cache, and described in one line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.word_limit import rows_beyond_limit, word_limit
from processors import TASKS
from processors.features import NO_LABEL, MappedTable, build_features, warn_of_unknown
from processors.ner import build_window_features
from processors.sentence_files import Sentences
from processors.task import DataError, Rows, number_of
from storage.activity import doing
from training.identity import rows_content
from workflows.fine_tuning import ReadyModel, Split
from workflows.settings import FineTuningConfig

if TYPE_CHECKING:
    from training.runtime import Runtime


def encode_texts(config: FineTuningConfig, runtime: Runtime, model: ReadyModel, name: str, rows: Rows) -> Split:
    """Tokenizes texts or pairs of texts, and says, once, what there is to know about them.

    The batches have `labels`, `[B]`: int64 label ids, or fp32 scores of a regression. name: of the split.
    """
    with doing(f"encode {name}"), runtime.first_alone():
        features = build_features(
            rows,
            model.tokenizer,
            config.max_seq_len,
            Path(config.cache_dir),
            config.threads,
            has_markers=bool(TASKS[config.task].markers),
        )
    say_what_was_damaged(runtime, features.table)
    notes = [f"{what}: {count}" for what, count in rows.counts.items()]
    texts = rows.first if rows.second is None else map(" ".join, zip(rows.first, rows.second, strict=True))
    notes += note_of_long_words(model, texts)
    if features.cut_rows:
        lost = f"{features.cut_tokens} tokens lost"
        notes.append(f"rows cut to {config.max_seq_len} tokens: {features.cut_rows} ({lost})")
    size = f"{len(rows)} rows, {features.lengths.mean():.1f} tokens each"
    describe(runtime, model, name, size, notes, features.unknown_share, rows.labels is not None)
    kind = np.float32 if TASKS[config.task].is_regression else np.int64
    collator, pad = model.collator, model.tokenizer.pad_token_id

    def collate(row_ids: np.ndarray, size: int | None = None) -> dict[str, Any]:
        arrays = features.padded(row_ids, pad, collator.width(features.lengths[row_ids]))
        if rows.labels is None:
            return collator.batch(arrays, size)
        return collator.batch(arrays, size, labels=np.array([rows.labels[row] for row in row_ids], dtype=kind))

    content = rows_content(features.table.path.stem, hash_of(rows.labels), len(rows))
    return Split(rows, features, collate, content)


def encode_sentences(
    config: FineTuningConfig, runtime: Runtime, model: ReadyModel, name: str, rows: Sentences
) -> Split:
    """Tokenizes sentences of words, and says, once, what there is to know about them. Raises DataError without words.

    The batches have `labels`, int64 `[B, L]`: the label id of a word at its first token, NO_LABEL elsewhere; their
    terms are the words. name: of the split.
    """
    with doing(f"encode {name}"), runtime.first_alone():
        features = build_window_features(
            rows, model.tokenizer, config.max_seq_len, config.ner_stride, Path(config.cache_dir), config.threads
        )
    say_what_was_damaged(runtime, features.table)
    if not len(features):
        raise DataError(f"{name}: there are no words in it")
    notes = [f"{what}: {count}" for what, count in rows.counts.items()]
    notes += note_of_long_words(model, map(" ".join, rows.words))
    if len(features) > len(rows):
        notes.append(f"cut into {len(features)} windows of up to {config.max_seq_len} tokens")
    words = sum(map(len, rows.words)) / len(rows)
    size = f"{len(rows)} sentences, {words:.1f} words and {features.lengths.mean():.1f} tokens each"
    cut = ""
    if features.cut_words:
        cut = (
            f"{number_of(features.cut_words, 'word')} of {number_of(features.cut_sentences, 'sentence')} lie beyond "
            f"max_seq_len {config.max_seq_len}: they get no label and are not scored; "
            f"--ner_stride {config.max_seq_len // 2} labels every word"
        )
    describe(runtime, model, name, size, notes, features.unknown_share, rows.labels is not None, cut)
    collator, pad = model.collator, model.tokenizer.pad_token_id

    def collate(windows: np.ndarray, size: int | None = None) -> dict[str, Any]:
        width = collator.width(features.lengths[windows])
        arrays = features.padded(windows, pad, width)
        if rows.labels is None:
            return collator.batch(arrays, size)
        label_ids = features.label_ids(windows, rows.labels, width)
        words = int((label_ids != NO_LABEL).sum())
        return collator.batch(arrays, size, terms=words, labels=label_ids)

    content = rows_content(features.table.path.stem, hash_of(rows.labels), len(rows))
    return Split(rows, features, collate, content)


def say_what_was_damaged(runtime: Runtime, *tables: MappedTable) -> None:
    """Names the cache files that were damaged and have been made again."""
    for table in tables:
        if table.was_damaged:
            runtime.say(f"{table.path} was damaged; it has been made again")


def note_of_long_words(model: ReadyModel, texts: Iterable[str], what: str = "rows") -> list[str]:
    """How many texts lose a word to the tokenizer's limit on its length; nothing where none does."""
    count = rows_beyond_limit(model.tokenizer, texts)
    if not count:
        return []
    limit = word_limit(model.tokenizer)
    return [
        f"{what} with a word of more than {limit} characters, which becomes {model.tokenizer.unk_token}: {count} "
        "(--max_word_characters raises the limit)"
    ]


def describe(
    runtime: Runtime,
    model: ReadyModel,
    name: str,
    size: str,
    notes: Iterable[str],
    unknown_share: float,
    is_labelled: bool,
    warning: str = "",
) -> None:
    """Says, once, how large a split is, what was noticed about it, and a warning where much of it is unknown."""
    runtime.say_once(f"{name}: {size}" + "".join(f"; {note}" for note in notes))
    if warning:
        runtime.say_once(f"warning: {name}: {warning}")
    warn_of_unknown(name, unknown_share, model.tokenizer.unk_token, is_labelled, runtime.say_once)


def hash_of(content: Any) -> str:
    """A hash of labels or answers, which are lists, tuples, texts and numbers."""
    return hashlib.sha256(repr(content).encode()).hexdigest()
