"""Which token labels which characters, for tasks with a label for each character (KLUE-NER).

A model labels tokens. As in KLUE-baseline, a token learns the label of its first character, and what it predicts is
spread over its characters: a predicted `B-PS` is `B-PS` for the first and `I-PS` for the others. In a word (what stands
between two spaces) with [UNK], nothing tells which token has which characters: there, every token learns the label of
the word's first character. Characters are counted from the start of each word, so that one that the tokenizer drops
moves no label of later words, as it does in KLUE-baseline. In the official development file this makes no difference.

KLUE-baseline's way from tokens back to characters loses its place at words with [UNK]: the tokens after it in the
sentence are read one place too early. Scores are computed that way (`published_places`), as published ones
were. Predictions are written, and scored as `aligned_...`, with each character labelled by its own token
(`aligned_places`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from processors.entity_markers import continuation_of
from processors.features import (
    ROWS_IN_BATCH,
    SCHEMA,
    Features,
    SpecialTokens,
    cached_table,
    in_processes,
    token_ids_of_words,
    tokenizer_fingerprint,
)
from processors.ner import NOT_PREDICTED
from processors.sentence_files import Sentences
from processors.task import Task

# A token (counted in the sentence), and whether the character goes on with the token: `B-PS` is then `I-PS`.
Place = tuple[int, bool]
NO_TOKEN = -1


@dataclass(frozen=True)
class WordTokens:
    """The tokens of one word, as texts without the mark for the start or the continuation of a word.

    word: its characters. tokens: their texts; None for [UNK].
    """

    word: str
    tokens: list[str | None]

    @property
    def has_unknown(self) -> bool:
        """Whether one of the tokens is [UNK]."""
        return None in self.tokens


def first_characters(words: Sequence[WordTokens]) -> list[int]:
    """The character that gives each token its label, `[tokens]`, counted in the sentence; NO_TOKEN for none."""
    firsts, start = [], 0
    for word in words:
        at = start
        for token in word.tokens:
            inside = at < start + len(word.word)  # a tokenizer may write more characters than the word has
            firsts.append(NO_TOKEN if token == "" or not inside else at)
            at += 0 if word.has_unknown else len(token)
        start += len(word.word)
    return firsts


def aligned_places(words: Sequence[WordTokens]) -> list[Place]:
    """The place of every character of a sentence: the token that it is a part of.

    In a word with [UNK], the tokens before the first and after the last [UNK] have the characters at the word's ends;
    the rest belongs to the [UNK]s, the last of which has all that others leave.
    """
    places: list[Place] = []
    first = 0
    for word in words:
        lengths = _lengths(word)
        for number, length in enumerate(lengths):
            places += [(first + number, at > 0) for at in range(length)]
        places += [(NO_TOKEN, False)] * (len(word.word) - sum(lengths))
        first += len(word.tokens)
    return places


def _lengths(word: WordTokens) -> list[int]:
    """How many characters of a word each of its tokens has; their sum is at most the word's length."""
    lengths = [1 if token is None else len(token) for token in word.tokens]
    spare = len(word.word) - sum(lengths)
    if spare > 0 and word.has_unknown:
        last = max(number for number, token in enumerate(word.tokens) if token is None)
        lengths[last] += spare
    while spare < 0:  # more characters than the word has: the last tokens have none
        last = max(number for number, length in enumerate(lengths) if length)
        taken = min(lengths[last], -spare)
        lengths[last] -= taken
        spare += taken
    return lengths


class Unit(Enum):
    """What KLUE-baseline makes of a word with [UNK]: an [UNK], one more character of it, or a known token."""

    UNKNOWN = 1
    MORE = 2
    KNOWN = 3


def published_places(words: Sequence[WordTokens], room: int) -> list[Place] | None:
    """The places of the characters that KLUE-baseline scores, in its own way (see the docstring of this file).

    room: tokens in a row, special tokens aside; what lies beyond is not scored. Token number `room` is the [SEP] there.
    None where KLUE-baseline stops with an error: where it finds more characters than there are, or no end.
    """
    places: list[Place] = []
    at = 0
    for word in words:
        if at >= room:
            break
        if not word.has_unknown:
            for token in word.tokens[: room - at]:
                places += [(at, number > 0) for number in range(len(token))]
                at += 1
            continue
        units = _spread(word)
        if units is None:
            return None
        is_open = False  # after an [UNK], whose token is left only when the next known one comes
        for unit in units:
            if at >= room:
                break
            if unit is not Unit.KNOWN:
                places.append((at, unit is Unit.MORE))
                is_open = is_open or unit is Unit.UNKNOWN
            elif is_open:
                at, is_open = at + 1, False
                places.append((at, False))
            else:
                places.append((at, False))
                at += 1
    return places if len(places) <= sum(len(word.word) for word in words) else None


def _spread(word: WordTokens) -> list[Unit] | None:
    """The units of a word with [UNK]; None where KLUE-baseline finds no end to them.

    An [UNK] before a known token goes on to the next character that is that token's first, and one at the end to the
    end of the word. A known token is one unit, however many characters it has.
    """
    units: list[Unit] = []
    at = step = 0
    for number, token in enumerate(word.tokens):
        following = word.tokens[number + 1] if number + 1 < len(word.tokens) else None
        if number + 1 == len(word.tokens) and at == len(word.word):
            return units
        step = 1 if token is None else len(token)
        units.append(Unit.UNKNOWN if token is None else Unit.KNOWN)
        at += step
        if token is None and following is not None:
            end = word.word.find(following[:1], at) if following else -1
            if end < 0:
                return None
            units += [Unit.MORE] * (end - at)
            at = end
    while at < len(word.word) and step:  # each of these passes over as many characters as the last token has
        units.append(Unit.MORE)
        at += step
    return units if at == len(word.word) else None


# --------------------------------------------------------------------------------------------------------------------
# Features
# --------------------------------------------------------------------------------------------------------------------

# The lists hold a token of the row, counted without special tokens, times two, plus one where the character goes on
# with it; NO_TOKEN where there is none.
CHARACTER_SCHEMA = pa.schema(
    [
        *SCHEMA,
        pa.field("first_characters", pa.list_(pa.int32())),
        pa.field("published", pa.list_(pa.int32())),
        pa.field("aligned", pa.list_(pa.int32())),
        pa.field("as_published", pa.int32()),
    ]
)


class CharacterFeatures(Features):
    """Token ids of all sentences, a row each, and which token labels which characters.

    prefix: special tokens before the first token. not_as_published: how many sentences KLUE-baseline could not score;
    their characters are those of `aligned_places`.
    """

    def __init__(self, table, prefix: int):
        super().__init__(table)
        self.prefix = prefix
        self.not_as_published = int((table.numbers["as_published"] == 0).sum())

    def label_ids(self, rows: np.ndarray, labels: list[list[int]], outside: int, length: int, no_label: int):
        """`[B, L]` label ids. Special tokens have the label `outside`, as in KLUE-baseline; padding has `no_label`."""
        ids = np.full((len(rows), length), no_label, dtype=np.int64)
        for i, row in enumerate(rows):
            firsts = self.table.row("first_characters", int(row))
            ids[i, : self.lengths[row]] = outside
            its = np.array([*labels[row], outside])  # NO_TOKEN, -1, is the last of these
            ids[i, self.prefix : self.prefix + len(firsts)] = its[firsts]
        return ids

    def places(self, kind: str, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Each character's token as a position in the row, `[characters]`, -1 for none, and whether it goes on with it.

        kind: "published" or "aligned".
        """
        codes = self.table.row(kind, row)
        return np.where(codes >= 0, (codes >> 1) + self.prefix, -1), (codes & 1) == 1


def build_character_features(
    sentences: Sentences, tokenizer, max_seq_len: int, cache_dir: Path, threads: int = 1
) -> CharacterFeatures:
    """Tokenizes all sentences, word by word, or takes them from `cache_dir`. Raises DataError without room for text."""
    special = SpecialTokens.of(tokenizer, pair=False)
    room = special.room(max_seq_len)
    content = ["characters", max_seq_len, tokenizer_fingerprint(tokenizer), sentences.words]

    def batches() -> Iterator[pa.RecordBatch]:
        slices = (sentences.words[at : at + ROWS_IN_BATCH] for at in range(0, len(sentences), ROWS_IN_BATCH))
        return in_processes(_CharacterEncoder(tokenizer, special, room, continuation_of(tokenizer)), slices, threads)

    table = cached_table(cache_dir, content, CHARACTER_SCHEMA, batches, len(sentences))
    return CharacterFeatures(table, len(special.prefix))


@dataclass(frozen=True)
class _CharacterEncoder:
    """Tokenizes a slice of sentences. It is sent to worker processes. mark: what `continuation_of` says."""

    tokenizer: Any
    special: SpecialTokens
    room: int
    mark: str

    def __call__(self, sentences: list[list[str]]) -> pa.RecordBatch:
        ids_of = token_ids_of_words(self.tokenizer, sentences)
        columns: dict[str, list] = {name: [] for name in CHARACTER_SCHEMA.names}
        for sentence in sentences:
            flat = [id for word in sentence for id in ids_of[word]]
            words = [WordTokens(word, self._texts(ids_of[word])) for word in sentence]
            ids, types = self.special.join(flat[: self.room], None)
            aligned = [(at if at < self.room else NO_TOKEN, goes_on) for at, goes_on in aligned_places(words)]
            published = published_places(words, self.room)
            columns["input_ids"].append(ids)
            columns["token_type_ids"].append(types)
            columns["unknown_tokens"].append(ids.count(self.tokenizer.unk_token_id))
            columns["cut_tokens"].append(max(0, len(flat) - self.room))
            columns["first_characters"].append(first_characters(words)[: self.room])
            columns["published"].append(_codes(aligned if published is None else published))
            columns["aligned"].append(_codes(aligned))
            columns["as_published"].append(int(published is not None))
        return pa.RecordBatch.from_pydict(columns, schema=CHARACTER_SCHEMA)

    def _texts(self, ids: list[int]) -> list[str | None]:
        tokens = self.tokenizer.convert_ids_to_tokens(ids)
        unknown = self.tokenizer.unk_token
        return [None if token == unknown else _without(token, self.mark) for token in tokens]


def _without(token: str, mark: str) -> str:
    return token.replace(mark, "") if mark else token


def _codes(places: list[Place]) -> list[int]:
    return [NO_TOKEN if at == NO_TOKEN else 2 * at + goes_on for at, goes_on in places]


def spread_labels(task: Task, ids: np.ndarray, places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The label ids of characters, `[characters]`, from those of a row's tokens, `[L]`; NO_TOKEN where there is none.

    places: as from `CharacterFeatures.places`.
    """
    # The type may hold "B-" too: "B-SUB-PS".
    inside = np.array([task.labels.index(f"I-{name[2:]}" if name.startswith("B-") else name) for name in task.labels])
    positions, goes_on = places
    found = ids[positions]
    return np.where(positions < 0, NO_TOKEN, np.where(goes_on, inside[found], found))


def label_names(task: Task, ids: np.ndarray) -> list[str]:
    """The names of label ids; NOT_PREDICTED for NO_TOKEN."""
    return [NOT_PREDICTED if id == NO_TOKEN else task.labels[id] for id in ids]
