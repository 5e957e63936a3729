"""Counts rows that stand in two splits, or twice with other labels: scores on them say less than they seem to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from processors.sentence_files import Sentences
from processors.task import Rows

# What a row consists of: its text, or its two texts or its words.
Text = str | tuple[str, ...]
IN_WORDS = {"train": "training", "dev": "development", "test": "test"}


def count_repeats(splits: Mapping[str, Any]) -> None:
    """Adds to the `counts` of each split how many of its rows stand in an earlier split, or twice with other labels.

    Rows are the same if all their texts are, character by character. Rows of nothing but white space are left out.
    """
    texts_of: dict[str, set[Text]] = {}
    for name, rows in splits.items():
        texts, labels = texts_and_labels(rows)
        label_of: dict[Text, Any] = {}
        contradicted: set[Text] = set()
        for text, label in zip(texts, labels, strict=True):
            if label_of.setdefault(text, label) != label:
                contradicted.add(text)
        found = {text for text in label_of if "".join(text).strip()}
        contradicted &= found
        if contradicted:
            rows.counts["rows that occur again with another label"] = sum(text in contradicted for text in texts)
        for earlier, its_texts in texts_of.items():
            if shared := found & its_texts:
                what = f"rows that are also {IN_WORDS.get(earlier, earlier)} rows"
                rows.counts[what] = sum(text in shared for text in texts)
        texts_of[name] = found


def texts_and_labels(rows: Any) -> tuple[Sequence[Text], Sequence[Any]]:
    """The texts of each row, and its label, its labels or its answers."""
    if isinstance(rows, Rows):
        return rows.first if rows.second is None else list(zip(rows.first, rows.second, strict=True)), rows.labels
    if isinstance(rows, Sentences):
        return [tuple(words) for words in rows.words], rows.labels
    return list(zip((rows.contexts[at] for at in rows.context_of), rows.texts, strict=True)), rows.answers
