"""Named entity recognition: the task, and the alignment of words and tokens.

A word's first token carries its label (BIO in the suffix form, `PER-B PER-I O`); the others carry none. Every word is
tokenized by itself, as KoELECTRA did, so that words and tokens line up with every tokenizer, native or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from processors.features import (
    NO_LABEL,
    ROWS_IN_BATCH,
    SCHEMA,
    Features,
    SpecialTokens,
    cached_table,
    in_processes,
    token_ids_of_words,
    tokenizer_fingerprint,
)
from processors.metrics import bio_form
from processors.sentence_files import (  # all readers, so that a task that is added here finds its own
    Sentences,
    read_json_sentences,  # noqa: F401
    read_sentence_lines,
    read_token_lines,  # noqa: F401
)
from processors.task import DataError, Task

# The predicted label of words that were cut off by `max_seq_len`.
NOT_PREDICTED = "?"


def has_suffix_labels(task: Task) -> bool:
    """Whether the labels have the form `PER-B`, as in naver-ner, and not `B-PER`."""
    return bio_form(bio_labels(task)) == "suffix"


def bio_labels(task: Task) -> tuple[str, ...]:
    """What each of the task's labels means in BIO."""
    return tuple(task.label_map.get(label, label) for label in task.labels)


# --------------------------------------------------------------------------------------------------------------------
# Words and tokens
# --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alignment:
    """Which tokens belong to which word of a sentence.

    first_tokens: `[words + 1]`, the number of each word's first token, and last the number of tokens.
    """

    first_tokens: np.ndarray

    @classmethod
    def of_counts(cls, tokens_a_word: Sequence[int]) -> Alignment:
        """From the number of tokens in each word, `[words]`."""
        return cls(np.concatenate([[0], np.cumsum(np.asarray(tokens_a_word, dtype=np.int64))]))

    @property
    def words(self) -> int:
        """Number of words."""
        return len(self.first_tokens) - 1

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return int(self.first_tokens[-1])

    def word_of(self, token: int) -> int:
        """The word that a token belongs to."""
        return int(np.searchsorted(self.first_tokens, token, side="right")) - 1


@dataclass(frozen=True)
class Window:
    """A part of a sentence that fits into one row: the tokens [start, end). It labels the words [first, last)."""

    start: int
    end: int
    first: int
    last: int


def windows_of(alignment: Alignment, room: int, stride: int) -> list[Window]:
    """The windows of one sentence; none where it has no words.

    room: tokens in a window. stride: at most so many tokens lie between the starts of two windows, which start at
    words. Each word is labelled once: in the window that shows most tokens on the word's shorter side, the earlier of
    two equal ones. stride 0: there is one window, and words that start after its end get no label.
    """
    if alignment.words == 0:
        return []
    if alignment.tokens <= room or not stride:
        end = min(room, alignment.tokens)
        return [Window(0, end, 0, int(np.searchsorted(alignment.first_tokens[:-1], end)))]
    spans = [(0, room)]
    while spans[-1][1] < alignment.tokens:
        start, end = spans[-1]
        following = alignment.word_of(start + stride)  # this word begins at most `stride` tokens later
        if alignment.first_tokens[following] <= start:  # one word has more than `stride` tokens: take the next word
            following = alignment.word_of(start) + 1
            if following == alignment.words:
                break  # only further tokens of the last word are left, and its first token carries its label
        start = int(alignment.first_tokens[following])
        spans.append((start, min(start + room, alignment.tokens)))
    starts, ends = np.array(spans).T
    # A token halfway between one window's last token and the next window's first has as many tokens on its right in the
    # one as on its left in the other. A word that starts there still belongs to the earlier window.
    owner = np.searchsorted(ends[:-1] - 1 + starts[1:], 2 * alignment.first_tokens[:-1])
    firsts, lasts = (np.searchsorted(owner, np.arange(len(spans)), side) for side in ("left", "right"))
    return [
        Window(start, end, int(first), int(last))
        for (start, end), first, last in zip(spans, firsts, lasts, strict=True)
        if first < last
    ]


NER_SCHEMA = pa.schema(
    [
        *SCHEMA,
        pa.field("sentence", pa.int32()),
        pa.field("first_word", pa.int32()),
        pa.field("positions", pa.list_(pa.int32())),
    ]
)


class WindowFeatures(Features):
    """Token ids of all windows, and where the words are in them.

    sentence: `[windows]`, the sentence that each window is a part of. first_word: `[windows]`, the first word that it
    labels. cut_words, cut_sentences: how many words no window labels, and how many sentences have such words.
    """

    def __init__(self, table, sentences: Sentences):
        super().__init__(table)
        self.sentence, self.first_word = table.numbers["sentence"], table.numbers["first_word"]
        labelled = np.zeros(len(sentences), dtype=np.int64)
        np.add.at(labelled, self.sentence, table.lengths("positions"))
        missing = np.array([len(words) for words in sentences.words]) - labelled
        self.cut_words, self.cut_sentences = int(missing.sum()), int((missing > 0).sum())

    def places(self, window: int) -> tuple[int, slice, np.ndarray]:
        """A window's sentence, the words that it labels, and the positions of their first tokens in the row."""
        positions = self.table.row("positions", window)
        first = int(self.first_word[window])
        return int(self.sentence[window]), slice(first, first + len(positions)), positions

    def label_ids(self, windows: np.ndarray, labels: list[list[int]], length: int) -> np.ndarray:
        """`[B, L]` label ids; NO_LABEL for tokens that are not the first of a word."""
        ids = np.full((len(windows), length), NO_LABEL, dtype=np.int64)
        for i, window in enumerate(windows):
            sentence, words, positions = self.places(int(window))
            ids[i, positions] = labels[sentence][words]
        return ids


def build_window_features(
    sentences: Sentences, tokenizer, max_seq_len: int, stride: int, cache_dir: Path, threads: int = 1
) -> WindowFeatures:
    """Tokenizes the words of all sentences, or takes them from `cache_dir`.

    stride: see `windows_of`. Raises DataError where `max_seq_len` leaves no room for text, or less than `stride`.
    """
    special = SpecialTokens.of(tokenizer, pair=False)
    room = special.room(max_seq_len)
    if stride > room:
        raise DataError(
            f"ner_stride {stride} is more than the {room} tokens that max_seq_len {max_seq_len} has room for: "
            "words between two windows would be lost"
        )
    content = ["ner", max_seq_len, stride, tokenizer_fingerprint(tokenizer), sentences.words]

    def batches() -> Iterator[pa.RecordBatch]:
        slices = ((at, sentences.words[at : at + ROWS_IN_BATCH]) for at in range(0, len(sentences), ROWS_IN_BATCH))
        return in_processes(_WindowEncoder(tokenizer, special, room, stride), slices, threads)

    return WindowFeatures(cached_table(cache_dir, content, NER_SCHEMA, batches), sentences)


@dataclass(frozen=True)
class _WindowEncoder:
    """Tokenizes a slice of sentences, given as (number of the first, sentences). It is sent to worker processes."""

    tokenizer: Any
    special: SpecialTokens
    room: int
    stride: int

    def __call__(self, part: tuple[int, list[list[str]]]) -> pa.RecordBatch:
        first_sentence, sentences = part
        unknown = self.tokenizer.unk_token_id
        # A word for which the tokenizer yields nothing (an emoji, a zero-width space) becomes [UNK], so that every word
        # has a token.
        tokens_of = token_ids_of_words(self.tokenizer, sentences)
        columns: dict[str, list] = {name: [] for name in NER_SCHEMA.names}
        for number, words in enumerate(sentences, first_sentence):
            tokens = [tokens_of[word] or [unknown] for word in words]
            alignment = Alignment.of_counts([len(one) for one in tokens])
            flat = [token for one in tokens for token in one]
            windows = windows_of(alignment, self.room, self.stride)
            for window in windows:
                ids, types = self.special.join(flat[window.start : window.end], None)
                positions = alignment.first_tokens[window.first : window.last] - window.start + len(self.special.prefix)
                columns["input_ids"].append(ids)
                columns["token_type_ids"].append(types)
                columns["unknown_tokens"].append(ids.count(unknown))
                columns["cut_tokens"].append(len(flat) - window.end if window is windows[-1] else 0)
                columns["sentence"].append(number)
                columns["first_word"].append(window.first)
                columns["positions"].append(positions)
        return pa.RecordBatch.from_pydict(columns, schema=NER_SCHEMA)


_TYPES = ("PER", "FLD", "AFW", "ORG", "LOC", "CVL", "DAT", "TIM", "NUM", "EVT", "ANM", "PLT", "MAT", "TRM")

NER_TASKS = (
    Task(
        name="naver-ner",
        folder="naver-ner",
        train_file="train.tsv",
        dev_file=None,
        test_file="test.tsv",
        read=read_sentence_lines,
        labels=("O", *(f"{name}-{part}" for name in _TYPES for part in "BI")),
        metrics=("f1", "precision", "recall"),
        main_metric="f1",
        source="https://github.com/naver/nlp-challenge",
        licence="by consent of Naver",
        fetch="bash scripts/download_data.sh naver-ner",
        defaults={"num_train_epochs": 20, "eval_batch_size": 128, "logging_steps": 1000, "save_steps": 1000},
    ),
)
