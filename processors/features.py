"""From texts to token ids: flat integers in a memory-mapped Arrow file, kept by content.

Texts are tokenized without special tokens, and a row is then put together by arithmetic: what is cut, and how often,
is known exactly, and a text of any length costs no more than its tokens. The file's name is a hash of the texts, the
tokenizer and the settings: an edited file is never mistaken for its earlier self, a copied one is not tokenized twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from processors.task import DataError, Rows

# Part of the key of every cached file: raise it when the rows below come out otherwise than before.
FEATURES_VERSION = 1
ROWS_IN_BATCH = 2048
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
    """What a tokenizer puts before, between and after texts: `prefix a suffix`, or `prefix a middle b suffix`.

    Each part is a list of ids; `types` holds the token types of prefix, a, middle, b, suffix.
    """

    prefix: list[int]
    middle: list[int]
    suffix: list[int]
    types: tuple[int, int, int, int, int]

    @classmethod
    def of(cls, tokenizer, pair: bool) -> SpecialTokens:
        """Read off what the tokenizer makes of two probe texts."""
        probe = ("가", "나") if pair else ("가",)
        encoded = tokenizer(*probe, return_token_type_ids=True, return_special_tokens_mask=True)
        ids, types, special = (encoded[key] for key in ("input_ids", "token_type_ids", "special_tokens_mask"))
        # [CLS] 가 [SEP] 나 [SEP] has the mask 1 0 1 0 1; an empty part (no [CLS], say) is an empty run.
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


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts stay when both together must fit into `room` tokens.

    Tokens go one by one from the end of the longer text, from the second where both are as long, as in the originals
    (today's Rust tokenizers give the odd token to the longer text instead).
    """
    if first + second <= room:
        return first, second
    half = room // 2
    if second <= half:
        return room - second, second
    if first <= room - half:
        return first, room - first
    return room - half, half


class Features:
    """The token ids of all rows, memory-mapped: `[rows]` lists of `[length]` ids.

    lengths: int32 `[rows]`, tokens a row. unknown_share: [UNK] tokens of all tokens. cut_rows, cut_tokens: what did not
    fit into `max_seq_len`. path: the cache file; was_cached: whether it was there before.
    """

    def __init__(self, path: Path, was_cached: bool):
        self.path, self.was_cached = path, was_cached
        table = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = [table.get_batch(i) for i in range(table.num_record_batches)]
        for batch in batches:
            batch.validate(full=True)
        self._ids = [_flat(batch.column("input_ids")) for batch in batches]
        self._types = [_flat(batch.column("token_type_ids")) for batch in batches]
        self.lengths = np.concatenate([np.diff(offsets) for _, offsets in self._ids])
        cut = np.concatenate([batch.column("cut_tokens").to_numpy() for batch in batches])
        unknown = sum(int(batch.column("unknown_tokens").to_numpy().sum()) for batch in batches)
        self.cut_rows, self.cut_tokens = int((cut > 0).sum()), int(cut.sum())
        self.unknown_share = unknown / max(1, int(self.lengths.sum()))

    def __len__(self) -> int:
        return len(self.lengths)

    def row(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and token types of one row, `[length]` each, without copying."""
        batch, at = divmod(int(index), ROWS_IN_BATCH)
        ids, offsets = self._ids[batch]
        start, end = offsets[at], offsets[at + 1]
        return ids[start:end], self._types[batch][0][start:end]

    def padded(self, rows: np.ndarray, pad_id: int, length: int | None = None) -> dict[str, np.ndarray]:
        """`input_ids`, `attention_mask` and `token_type_ids`, int64 `[B, L]`.

        L is the longest of the rows, or `length` where the batch must have a fixed shape.
        """
        shape = (len(rows), length or int(self.lengths[rows].max()))
        batch = {
            "input_ids": np.full(shape, pad_id, dtype=np.int64),
            "attention_mask": np.zeros(shape, dtype=np.int64),
            "token_type_ids": np.zeros(shape, dtype=np.int64),
        }
        for i, row in enumerate(rows):
            ids, types = self.row(row)
            batch["input_ids"][i, : len(ids)] = ids
            batch["attention_mask"][i, : len(ids)] = 1
            batch["token_type_ids"][i, : len(ids)] = types
        return batch


def build_features(rows: Rows, tokenizer, max_seq_len: int, cache_dir: Path, threads: int = 1) -> Features:
    """Tokenizes `rows`, or finds them in `cache_dir`.

    threads: worker processes; Rust tokenizers already use all cores in one.
    Raises DataError where `max_seq_len` leaves no room for text.
    """
    special = SpecialTokens.of(tokenizer, pair=rows.second is not None)
    if max_seq_len <= special.count:
        raise DataError(f"max_seq_len {max_seq_len} leaves no room for text beside {special.count} special tokens")
    path = cache_dir / f"features-{_content_key(rows, tokenizer, max_seq_len)}.arrow"
    if path.is_file():
        # What a full disk or a power cut left behind is not read, but made anew.
        with contextlib.suppress(pa.ArrowException, OSError, KeyError, ValueError):
            cached = Features(path, was_cached=True)
            if len(cached) == len(rows):
                with contextlib.suppress(OSError):
                    os.utime(path)  # so that a clean-up by age keeps what is in use
                return cached
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            for batch in _encoded_batches(_Encoder(tokenizer, special, max_seq_len), rows, threads):
                writer.write_batch(batch)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # or a power cut could leave the name without the content
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path} could not be written: {error}; --cache_dir takes another folder") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return Features(path, was_cached=False)


@dataclass(frozen=True)
class _Encoder:
    """Tokenizes a slice of rows; sent to worker processes."""

    tokenizer: object
    special: SpecialTokens
    max_seq_len: int

    def __call__(self, texts: tuple[list[str], list[str] | None]) -> pa.RecordBatch:
        first = self._tokens(texts[0])
        second = [None] * len(first) if texts[1] is None else self._tokens(texts[1])
        room = self.max_seq_len - self.special.count
        columns: dict[str, list] = {name: [] for name in SCHEMA.names}
        for a, b in zip(first, second, strict=True):
            before = len(a) + len(b or ())
            keep_a, keep_b = longest_first(len(a), len(b or ()), room)
            a, b = a[:keep_a], None if b is None else b[:keep_b]
            ids, types = self.special.join(a, b)
            columns["input_ids"].append(ids)
            columns["token_type_ids"].append(types)
            columns["unknown_tokens"].append(ids.count(self.tokenizer.unk_token_id))
            columns["cut_tokens"].append(before - keep_a - keep_b)
        return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
        )["input_ids"]


def _encoded_batches(encoder: _Encoder, rows: Rows, threads: int) -> Iterator[pa.RecordBatch]:
    slices = (
        (rows.first[at : at + ROWS_IN_BATCH], None if rows.second is None else rows.second[at : at + ROWS_IN_BATCH])
        for at in range(0, len(rows), ROWS_IN_BATCH)
    )
    if threads == 1:
        yield from map(encoder, slices)
        return
    # spawn: a forked child would inherit torch's and tokenizers' threads in an unknown state.
    with multiprocessing.get_context("spawn").Pool(threads) as pool:
        yield from pool.imap(encoder, slices)


def _content_key(rows: Rows, tokenizer, max_seq_len: int) -> str:
    digest = hashlib.sha256(json.dumps([FEATURES_VERSION, max_seq_len, tokenizer_fingerprint(tokenizer)]).encode())
    for texts in (rows.first, rows.second):
        digest.update(b"\0none" if texts is None else json.dumps(texts).encode())
    return digest.hexdigest()[:32]


def tokenizer_fingerprint(tokenizer) -> str:
    """A hash of all that decides which ids a text gets."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return hashlib.sha256(f"{type(tokenizer).__name__} {content}".encode()).hexdigest()


def _flat(column: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    """Values and offsets of a list column, as views of the mapped file."""
    return column.values.to_numpy(zero_copy_only=True), column.offsets.to_numpy(zero_copy_only=True)
