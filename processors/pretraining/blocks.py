"""Rows of token ids in the memory-mapped Arrow files that `corpus.py` writes: selecting, joining and padding them."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from processors.arrow_files import read_batches
from processors.task import DataError


class Shard:
    """One memory-mapped Arrow file of blocks, in the order of their documents' hashes.

    values, offsets: block i is `values[offsets[i] : offsets[i + 1]]`. documents: `[blocks]`, hashes of their documents,
    ascending. counts: see `Blocks`. Raises DamagedFileError.
    """

    def __init__(self, path: Path):
        schema, (batch,) = read_batches(path)
        column = batch.column("input_ids")
        self.values: np.ndarray = column.values.to_numpy()
        self.offsets: np.ndarray = column.offsets.to_numpy()
        self.documents: np.ndarray = batch.column("document").to_numpy()
        self.counts: Counter[str] = Counter(json.loads(schema.metadata[b"counts"]))

    def __len__(self) -> int:
        return len(self.documents)


@dataclass(frozen=True)
class Stretch:
    """Blocks `start` to `stop` (excluded) of a shard."""

    shard: Shard
    start: int
    stop: int

    @property
    def lengths(self) -> np.ndarray:
        """Tokens in each block, `[stop - start]`."""
        return np.diff(self.shard.offsets[self.start : self.stop + 1])


class Blocks:
    """Rows of token ids, memory-mapped; `len()` is their number.

    lengths: int32 `[rows]`, tokens in each row, special tokens included. content: a hash that identifies all rows, by
    which a resumed run recognises them.
    counts: documents, characters (after cleaning), tokens (without special ones), unknown_tokens, empty_documents,
    short_documents (dropped, as they have fewer than MIN_TOKENS tokens), dropped_tokens (of these, and of documents'
    ends that are as short), and what the readers left out, described in words. They are the whole corpus's, also after
    `split`. damaged: files that were damaged and have been made again.
    """

    def __init__(self, stretches: Sequence[Stretch], content: str, counts: Counter[str], damaged: Sequence[Path] = ()):
        self._stretches = [stretch for stretch in stretches if stretch.stop > stretch.start]
        self._first_rows = [0, *itertools.accumulate(s.stop - s.start for s in self._stretches)]
        self.lengths = np.concatenate([np.zeros(0, np.int32), *(stretch.lengths for stretch in self._stretches)])
        self.content, self.counts, self.damaged = content, counts, damaged

    def __len__(self) -> int:
        return self._first_rows[-1]

    @property
    def unknown_share(self) -> float:
        """[UNK] tokens as a share of all tokens."""
        return self.counts["unknown_tokens"] / max(1, self.counts["tokens"])

    def row(self, index: int) -> np.ndarray:
        """Token ids of one row, `[length]`, as a view of the mapped file."""
        number = bisect.bisect_right(self._first_rows, index) - 1
        stretch = self._stretches[number]
        at = stretch.start + index - self._first_rows[number]
        return stretch.shard.values[stretch.shard.offsets[at] : stretch.shard.offsets[at + 1]]

    def padded(self, rows: np.ndarray, pad_id: int, length: int | None = None) -> dict[str, np.ndarray]:
        """`input_ids` and `attention_mask`, int64 `[B, L]`; L is `length`, or the length of the longest row."""
        lengths = self.lengths[rows]
        ids = np.full((len(rows), length or int(lengths.max())), pad_id, dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : lengths[i]] = self.row(int(row))
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}

    def where(self, kept: np.ndarray, *why: Any) -> Blocks:
        """The rows for which `kept`, bool `[rows]`, is true. why: JSON values that enter the new `content` too."""
        stretches = []
        for number, stretch in enumerate(self._stretches):
            first = self._first_rows[number]
            inside = kept[first : self._first_rows[number + 1]].astype(np.int8)
            edges = np.diff(inside, prepend=np.int8(0), append=np.int8(0))
            starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
            stretches += [
                Stretch(stretch.shard, stretch.start + start, stretch.start + stop)
                for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
            ]
        which = hashlib.sha256(np.packbits(kept).tobytes()).hexdigest()
        return Blocks(stretches, hash_of(self.content, which, *why), self.counts)

    def split(self, held_out_share: float) -> tuple[Blocks, Blocks]:
        """Splits into training and held-out blocks; see `hold_out`."""
        training, held_out = hold_out([self], held_out_share)
        return training[0], held_out

    @classmethod
    def joined(cls, parts: Sequence[Blocks]) -> Blocks:
        """The rows of all parts, one part after another: row i of the second part is row `len(first) + i`."""
        stretches = [stretch for part in parts for stretch in part._stretches]
        return cls(stretches, hash_of(*(part.content for part in parts)), sum((p.counts for p in parts), Counter()))


def hold_out(parts: Sequence[Blocks], share: float) -> tuple[list[Blocks], Blocks]:
    """Splits each part: returns the training blocks of each, and the held-out blocks of all together.

    The hashes of documents decide which are held out: about `share` of the documents, and at least one. A document and
    its copies in any part are on the same side, whatever the tokenizer and `max_seq_length`.
    Raises DataError where any part is left without training blocks, or where no block is held out.
    """
    if not 0 < share < 1:
        raise DataError(f"the held-out share must be between 0 and 1, not {share}")
    smallest = min((int(s.shard.documents[s.start]) for part in parts for s in part._stretches), default=0)
    limit = max(int(share * 2**31), smallest + 1)
    training, held_out = [], []
    for part in parts:
        cuts = [
            stretch.start + int(np.searchsorted(stretch.shard.documents[stretch.start : stretch.stop], limit))
            for stretch in part._stretches
        ]
        below = [Stretch(s.shard, s.start, cut) for s, cut in zip(part._stretches, cuts, strict=True)]
        above = [Stretch(s.shard, cut, s.stop) for s, cut in zip(part._stretches, cuts, strict=True)]
        held_out.append(Blocks(below, hash_of(part.content, "held out", limit), part.counts))
        training.append(Blocks(above, hash_of(part.content, "training", limit), part.counts))
    if not all(map(len, training)) or not any(map(len, held_out)):
        which = "the corpus" if len(parts) == 1 else "one of the corpora"
        raise DataError(f"{which} has too few documents to hold some out: give more text, or --held_out_share 0")
    return training, Blocks.joined(held_out)


def hash_of(*content: Any) -> str:
    """A short hash of values that JSON can write."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
