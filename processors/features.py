"""From texts to token ids: flat integers in a memory-mapped Arrow file, cached by content.

Texts are tokenized without special tokens, and each row is then assembled by arithmetic, so the number of tokens that
were cut off is known exactly. The cache file's name is a hash of the texts, the tokenizer and the settings: an edited
input file gets a new cache file, and a copy of an input file is not tokenized again.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import json
import marshal
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tokenizers

from processors.arrow_files import DamagedFileError, read_batches, write_batches
from processors.entity_markers import continuation_of, rejoined
from processors.task import DataError, Rows
from processors.workers import WorkerContext, begin_worker
from storage.activity import Activity, doing
from storage.whole import whole_file

# Part of the key of every cached file. Raise it whenever a change in this file changes the rows.
FEATURES_VERSION = 4
ROWS_IN_BATCH = 2048
NO_LABEL = -100  # the label of tokens without one, such as padding; torch's cross entropy ignores it
# Shares of [UNK] that suggest a vocabulary of a different language, or Hangul decomposed into jamo.
UNKNOWN_SHARE_WARNED, UNKNOWN_SHARE_REFUSED = 0.05, 0.30
SCHEMA = pa.schema(
    {
        "input_ids": pa.list_(pa.int32()),
        "token_type_ids": pa.list_(pa.int8()),
        "unknown_tokens": pa.int32(),
        "cut_tokens": pa.int32(),
    }
)


@dataclass(frozen=True)
class SpecialTokens:
    """The tokens that a tokenizer adds around texts: `prefix a suffix`, or `prefix a middle b suffix` for a pair.

    Each part is a list of ids; `types` holds the token types of prefix, a, middle, b, suffix.
    """

    prefix: list[int]
    middle: list[int]
    suffix: list[int]
    types: tuple[int, int, int, int, int]

    @classmethod
    def of(cls, tokenizer, pair: bool) -> SpecialTokens:
        """Finds them by tokenizing one probe text, or two for a pair. Raises DataError where their form is unknown."""
        probe = ("가", "나") if pair else ("가",)
        encoded = tokenizer(*probe, return_token_type_ids=True, return_special_tokens_mask=True)
        ids, types, special = (encoded[key] for key in ("input_ids", "token_type_ids", "special_tokens_mask"))
        # [CLS] 가 [SEP] 나 [SEP] has the mask 1 0 1 0 1; a missing part (no [CLS], for example) is an empty run.
        ends = [i for i in range(len(special)) if i == 0 or special[i] != special[i - 1]] + [len(special)]
        runs = [(special[a], ids[a:b], types[a]) for a, b in itertools.pairwise(ends)]
        if runs[0][0] == 0:
            runs.insert(0, (1, [], runs[0][2]))
        if runs[-1][0] == 0:
            runs.append((1, [], runs[-1][2]))
        if len(runs) != (5 if pair else 3):
            raise DataError(f"the tokenizer's special tokens are not understood: {ids} with the special mask {special}")
        if not pair:
            (_, prefix, t0), (_, _, t1), (_, suffix, t4) = runs
            return cls(prefix, [], suffix, (t0, t1, t1, t1, t4))
        (_, prefix, t0), (_, _, t1), (_, middle, t2), (_, _, t3), (_, suffix, t4) = runs
        return cls(prefix, middle, suffix, (t0, t1, t2, t3, t4))

    @property
    def count(self) -> int:
        """How many special tokens a row has."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)

    def join(self, first: list[int], second: list[int] | None) -> tuple[list[int], list[int]]:
        """Token ids and token types of one row."""
        t = self.types
        ids = self.prefix + first
        types = [t[0]] * len(self.prefix) + [t[1]] * len(first)
        if second is not None:
            ids = ids + self.middle + second
            types += [t[2]] * len(self.middle) + [t[3]] * len(second)
        return ids + self.suffix, types + [t[4]] * len(self.suffix)

    def room(self, length: int, key: str = "max_seq_len") -> int:
        """How many tokens of text fit into a row of `length`. Raises DataError, naming the setting `key`, for none."""
        if length <= self.count:
            raise DataError(f"{key} {length} leaves no room for text beside {self.count} special tokens")
        return length - self.count


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each of two texts are kept when both together must fit into `room` tokens.

    Tokens are dropped one by one from the end of the longer text, and from the second text when both are equally long,
    as in the originals. (Today's Rust tokenizers give the odd token to the longer text instead.)
    """
    if first + second <= room:
        return first, second
    half = room // 2
    if second <= half:
        return room - second, second
    if first <= room - half:
        return first, room - first
    return room - half, half


class MappedTable:
    """Columns of a memory-mapped Arrow file; reading a row of a list column copies nothing.

    path: the cache file. was_cached: whether it already existed. was_damaged: whether it replaces a file that was
    damaged. Raises DamagedFileError.
    """

    def __init__(self, path: Path, was_cached: bool, was_damaged: bool = False):
        self.path, self.was_cached, self.was_damaged = path, was_cached, was_damaged
        self.schema, batches = read_batches(path)
        self._first_rows = [0, *itertools.accumulate(batch.num_rows for batch in batches)]
        self._lists: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}  # values and offsets of each batch
        self.numbers: dict[str, np.ndarray] = {}  # `[rows]`
        for name in self.schema.names:
            columns = [batch.column(name) for batch in batches]
            if pa.types.is_list(self.schema.field(name).type):
                self._lists[name] = [(c.values.to_numpy(), c.offsets.to_numpy()) for c in columns]
            else:
                self.numbers[name] = np.concatenate([np.zeros(0, np.int32), *(c.to_numpy() for c in columns)])

    def __len__(self) -> int:
        return self._first_rows[-1]

    def row(self, column: str, index: int) -> np.ndarray:
        """The list in one row, as a view of the mapped file."""
        batch = bisect.bisect_right(self._first_rows, index) - 1
        values, offsets = self._lists[column][batch]
        at = index - self._first_rows[batch]
        return values[offsets[at] : offsets[at + 1]]

    def rows_with(self, column: str, value: int) -> np.ndarray:
        """The rows whose list contains `value`, each once, in ascending order."""
        found = [np.zeros(0, np.int64)]
        # _first_rows has one entry more than there are batches: the number of rows.
        for first, (values, offsets) in zip(self._first_rows, self._lists[column], strict=False):
            found.append(first + np.searchsorted(offsets, np.flatnonzero(values == value), side="right") - 1)
        return np.unique(np.concatenate(found))

    def lengths(self, column: str) -> np.ndarray:
        """`[rows]`: the lengths of a column's lists."""
        return np.concatenate([np.zeros(0, np.int32), *(np.diff(offsets) for _, offsets in self._lists[column])])


def cached_table(
    cache_dir: Path,
    content: Sequence[Any],
    schema: pa.Schema,
    batches: Callable[[], Iterable[pa.RecordBatch]],
    rows: int | None = None,
) -> MappedTable:
    """Writes the table of `batches()` into the cache, unless a table with the same `content` is already there.

    A file that is there and damaged is made again. content: everything that determines the table, in lists, texts and
    numbers. rows: the number of rows that a cached table must have, where it is known. Raises DataError where the table
    cannot be written.
    """
    # Several times faster than JSON. Version 0, as the later ones write equal texts differently if they are one object.
    digest = hashlib.sha256(marshal.dumps([FEATURES_VERSION, *content], 0))
    path = cache_dir / f"features-{digest.hexdigest()[:32]}.arrow"
    is_there = path.is_file()
    if is_there:
        with contextlib.suppress(DamagedFileError, OSError):
            table = MappedTable(path, was_cached=True)
            if table.schema == schema and rows in (None, len(table)):
                with contextlib.suppress(OSError):
                    os.utime(path)  # so that deleting old cache files spares those still in use
                return table
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with (
            whole_file(path) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            doing("tokenize", rows) as activity,
        ):
            write_batches(sink, schema, _counted(batches(), activity))
    except OSError as error:
        raise DataError(f"{path} could not be written: {error}; --cache_dir takes another folder") from error
    return MappedTable(path, was_cached=False, was_damaged=is_there)


def _counted(batches: Iterable[pa.RecordBatch], activity: Activity) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        activity.advance(batch.num_rows)


class Features:
    """The token ids of all rows, memory-mapped: `[rows]` lists of `[length]` ids.

    lengths: int32 `[rows]`, tokens in each row. unknown_share: [UNK] tokens as a share of all tokens. cut_rows,
    cut_tokens: how many rows were cut to `max_seq_len`, and how many tokens that removed.
    """

    def __init__(self, table: MappedTable):
        self.table = table
        self.lengths = table.lengths("input_ids")
        cut = table.numbers["cut_tokens"]
        self.cut_rows, self.cut_tokens = int((cut > 0).sum()), int(cut.sum())
        self.unknown_share = int(table.numbers["unknown_tokens"].sum()) / max(1, int(self.lengths.sum()))

    def __len__(self) -> int:
        return len(self.lengths)

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and token types of one row, `[length]` each, as views of the file."""
        return self.table.row("input_ids", index), self.table.row("token_type_ids", index)

    def padded(self, rows: np.ndarray, pad_id: int, length: int | None = None) -> dict[str, np.ndarray]:
        """`input_ids`, `attention_mask` and `token_type_ids`, int64 `[B, L]`.

        L is `length`, or the length of the longest row.
        """
        batch = empty_batch(len(rows), length or int(self.lengths[rows].max()), pad_id)
        for i, row in enumerate(rows):
            ids, types = self.row(int(row))
            batch["input_ids"][i, : len(ids)] = ids
            batch["attention_mask"][i, : len(ids)] = 1
            batch["token_type_ids"][i, : len(ids)] = types
        return batch


def empty_batch(rows: int, length: int, pad_id: int) -> dict[str, np.ndarray]:
    """`input_ids`, `attention_mask` and `token_type_ids` that hold only padding, int64 `[rows, length]`."""
    return {
        "input_ids": np.full((rows, length), pad_id, dtype=np.int64),
        "attention_mask": np.zeros((rows, length), dtype=np.int64),
        "token_type_ids": np.zeros((rows, length), dtype=np.int64),
    }


def build_features(
    rows: Rows, tokenizer, max_seq_len: int, cache_dir: Path, threads: int = 1, has_markers: bool = False
) -> Features:
    """Tokenizes texts or pairs of texts, or takes them from `cache_dir`.

    threads: worker processes for a tokenizer written in Python; see `in_processes`. has_markers: entities in the texts
    are marked, and what follows a marker belongs to the word before it (`processors/entity_markers.py`).
    Raises DataError where `max_seq_len` leaves no room for text.
    """
    special = SpecialTokens.of(tokenizer, pair=rows.second is not None)
    special.room(max_seq_len)
    content = [max_seq_len, tokenizer_fingerprint(tokenizer), rows.first, rows.second]
    content += ["entity markers"] if has_markers else []
    continuation = continuation_of(tokenizer) if has_markers else ""

    def batches() -> Iterator[pa.RecordBatch]:
        slices = (
            (rows.first[at : at + ROWS_IN_BATCH], None if rows.second is None else rows.second[at : at + ROWS_IN_BATCH])
            for at in range(0, len(rows), ROWS_IN_BATCH)
        )
        return in_processes(_RowEncoder(tokenizer, special, max_seq_len, continuation), slices, threads)

    return Features(cached_table(cache_dir, content, SCHEMA, batches, len(rows)))


@dataclass(frozen=True)
class _RowEncoder:
    """Tokenizes a slice of rows. It is pickled and sent to worker processes.

    continuation: for marked texts, what `continuation_of` says of the tokenizer; else "".
    """

    tokenizer: Any
    special: SpecialTokens
    max_seq_len: int
    continuation: str

    def __call__(self, texts: tuple[list[str], list[str] | None]) -> pa.RecordBatch:
        first = token_ids(self.tokenizer, texts[0])
        if self.continuation:
            pairs = zip(texts[0], first, strict=True)
            first = [rejoined(self.tokenizer, text, ids, self.continuation) for text, ids in pairs]
        second = [None] * len(first) if texts[1] is None else token_ids(self.tokenizer, texts[1])
        room = self.special.room(self.max_seq_len)
        unknown = self.tokenizer.unk_token_id  # looked up once, as transformers takes longer for it than for a row
        columns: dict[str, list] = {name: [] for name in SCHEMA.names}
        for a, b in zip(first, second, strict=True):
            before = len(a) + len(b or ())
            keep_a, keep_b = longest_first(len(a), len(b or ()), room)
            a, b = a[:keep_a], None if b is None else b[:keep_b]
            ids, types = self.special.join(a, b)
            columns["input_ids"].append(ids)
            columns["token_type_ids"].append(types)
            columns["unknown_tokens"].append(ids.count(unknown))
            columns["cut_tokens"].append(before - keep_a - keep_b)
        return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def token_ids(tokenizer, texts: list[str]) -> list[list[int]]:
    """The token ids of each text, without special tokens and without truncation."""
    if tokenizer.is_fast:
        return [encoding.ids for encoding in native_encodings(tokenizer, texts, with_spans=False)]
    return tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
    )["input_ids"]


def token_ids_of_words(tokenizer, sentences: list[list[str]]) -> dict[str, list[int]]:
    """The token ids of each word of the sentences, by the word: most words occur again and again."""
    different = list(dict.fromkeys(word for words in sentences for word in words))
    return dict(zip(different, token_ids(tokenizer, different) if different else (), strict=True))


def native_encodings(tokenizer, texts: list[str], with_spans: bool) -> list[tokenizers.Encoding]:
    """A Rust tokenizer's encoding of each text, without special tokens or truncation. with_spans: also fill `offsets`.

    Calling the tokenizer itself gives the same, but it copies the result into Python lists several times, which takes
    half as long as the tokenizing, and it always tracks offsets, which takes a quarter.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    encode = backend.encode_batch if with_spans else backend.encode_batch_fast
    return encode(texts, add_special_tokens=False)


def in_processes(encode: Any, slices: Iterable[Any], threads: int) -> Iterator[pa.RecordBatch]:
    """Yields `encode(slice)` for each slice, in order; with a Python tokenizer, `threads` worker processes compute it.

    encode: a picklable callable with an attribute `tokenizer`. Rust tokenizers use all cores by themselves.
    """
    if threads == 1 or encode.tokenizer.is_fast:
        yield from map(encode, slices)
        return
    with WorkerContext().Pool(threads, _keep_encoder, (encode,)) as pool:
        yield from pool.imap(_encode, slices)


def _keep_encoder(encode: Any) -> None:
    """Runs once in every worker, so that the tokenizer, which is large, is sent once and not with every slice."""
    global _encoder
    _encoder = encode
    begin_worker()


def _encode(part: Any) -> pa.RecordBatch:
    return _encoder(part)


def tokenizer_fingerprint(tokenizer) -> str:
    """A hash of everything in a tokenizer that determines which ids a text gets."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return hashlib.sha256(f"{type(tokenizer).__name__} {content}".encode()).hexdigest()


def warn_of_unknown(name: str, share: float, unknown_token: str, has_labels: bool, say: Callable[[str], None]) -> None:
    """Warns where many tokens of a split are [UNK]; raises DataError where too many are.

    Splits without labels are never refused: a text that a user wants labelled may consist of emoji only.
    """
    what = f"{name}: {share:.1%} of the tokens are {unknown_token}"
    if share > UNKNOWN_SHARE_REFUSED and has_labels:
        raise DataError(f"{what}: this tokenizer's vocabulary is not made for these texts")
    if share > UNKNOWN_SHARE_WARNED:
        say(f"warning: {what}; does the tokenizer belong to this language?")
