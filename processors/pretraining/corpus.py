"""From raw text to blocks of token ids for pretraining: memory-mapped Arrow files, cached by content.

    corpus = open_corpus([Path("wiki")])                              # processors/pretraining/corpus_readers.py
    blocks = build_blocks(corpus, tokenizer, Path("cache"), max_seq_length=512, processes=8)
    training, held_out = blocks.split(0.01)
    batch = training.padded(np.array([3, 1, 4]), tokenizer.pad_token_id)

A block is `[CLS] sentences [SEP]` from one document, with at most `max_seq_length` tokens. The text is processed in
shards of some 20 MB, each written to an Arrow file of its own, so that memory does not grow with the corpus. An
interrupted build keeps its finished shards, and the next build makes the missing ones. The folder's name is a hash of
the files, the tokenizer and the settings, so that blocks made with a different vocabulary are never mistaken for these.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from processors.arrow_files import DamagedFileError, write_batches
from processors.features import SpecialTokens, token_ids, tokenizer_fingerprint
from processors.pretraining.blocks import Blocks, Shard, Stretch, hash_of
from processors.pretraining.corpus_files import state_of
from processors.pretraining.corpus_readers import Corpus, Part, clean, cut_at_spaces
from processors.pretraining.word_starts import mark_of_words, start_words
from processors.task import DataError
from processors.workers import WorkerContext, begin_worker
from storage.whole import remove_abandoned, write_whole

# Part of the key of every cached folder. Raise it whenever a change in this file changes the blocks.
BLOCKS_VERSION = 3
SHARD_CHARACTERS = 8_000_000  # some 20 MB of Korean in UTF-8
PART_OVERHEAD = 50  # characters added to each document's own; else a shard could hold a million chat lines
CHARACTERS_IN_BATCH = 100_000  # the tokenizer's output takes hundreds of bytes for each character
SENTENCE_CHARACTERS = 10_000  # longer sentences are cut at a space
# 15 % of fewer tokens rounds to 0, so that nothing would be masked in such a block.
MIN_TOKENS = 4
MANIFEST = "manifest.json"

_SENTENCE_END = re.compile(r"""(?<=[.?!…。]) | (?<=[.?!…。]["'”’)\]]) """)


def word_starts(tokenizer) -> np.ndarray:
    """bool `[vocab]`: whether the token with each id starts a word. Special tokens do not."""
    starts = start_words(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    starts[tokenizer.all_special_ids] = False
    return starts


# --------------------------------------------------------------------------------------------------------------------
# Building them
# --------------------------------------------------------------------------------------------------------------------


def build_blocks(
    corpus: Corpus,
    tokenizer,
    cache_dir: Path,
    max_seq_length: int = 512,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Blocks:
    """Tokenizes a corpus, or takes its blocks from `cache_dir`; continues a build that was interrupted.

    All files are read once before tokenizing starts, so that malformed text is reported in minutes, not after hours.
    processes: how many processes tokenize, each a shard at a time. With 1 it is this process; a Rust tokenizer then
    uses all cores, though several processes use them better. progress: called after each shard with the number of
    characters done and their total.

    Raises DataError where the corpus has no text or is malformed, where the tokenizer puts no tokens around a text or
    `max_seq_length` leaves no room beside them, where no document is long enough, where a file changes during the
    build, and where the cache cannot be written. Finished shards are kept.
    """
    encoder = _ShardEncoder.of(tokenizer, max_seq_length, corpus.lower_case)
    folder = cache_dir / f"corpus-{_key_of(corpus, tokenizer, max_seq_length)}"
    remove_abandoned(folder)
    if (blocks := _finished(folder)) is not None:
        return blocks
    characters, counts = corpus.checked()
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    done, names = 0, []
    damaged: list[Path] = []

    def missing() -> Iterator[tuple[Path, list[Part]]]:
        nonlocal done
        for parts in _shards_of(corpus.parts(Counter())):
            path = folder / f"shard-{len(names):05}.arrow"
            names.append(path.name)
            if _intact(path) is None:
                if path.is_file():
                    damaged.append(path)
                yield path, parts
            else:
                done += _characters_of(parts)

    with _at_rest(corpus, folder), contextlib.closing(_written(encoder, missing(), processes)) as written:
        for finished in written:
            done += finished
            if progress is not None:
                progress(done, characters)
    shards = [Shard(folder / name) for name in names]
    if not sum(map(len, shards)):
        raise DataError(f"{corpus.names}: no document has {MIN_TOKENS} tokens or more: there is nothing to learn from")
    manifest = {"shards": {name: len(shard) for name, shard in zip(names, shards, strict=True)}, "left_out": counts}
    with _explained(folder / MANIFEST):
        write_whole(folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1))
    return _blocks_of(folder, shards, counts, damaged)


def _key_of(corpus: Corpus, tokenizer, max_seq_length: int) -> str:
    settings = [corpus.forms, corpus.text_field, corpus.encoding, corpus.skip_bad_rows, corpus.lower_case]
    files = list(corpus.hashes.values())
    return hash_of(BLOCKS_VERSION, tokenizer_fingerprint(tokenizer), max_seq_length, settings, files)


@contextlib.contextmanager
def _at_rest(corpus: Corpus, folder: Path) -> Iterator[None]:
    """Deletes the folder if a file of the corpus changes meanwhile, as the hash in its name would be wrong."""
    try:
        yield
    finally:
        for path, state in zip(corpus.files, corpus.states, strict=True):
            if state_of(path) != state:
                shutil.rmtree(folder, ignore_errors=True)
                raise DataError(f"{path} was changed while it was read: start again when it is at rest")


def _finished(folder: Path) -> Blocks | None:
    """The blocks of a folder whose build was finished and whose files are all intact; else None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sizes, left_out = dict(manifest["shards"]), Counter(manifest["left_out"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    shards = [_intact(folder / name) for name in sizes]
    if not shards or [None if shard is None else len(shard) for shard in shards] != list(sizes.values()):
        return None
    return _blocks_of(folder, shards, left_out)


def _intact(path: Path) -> Shard | None:
    """The shard, or None if it is missing or damaged (by a power failure, say) and has to be made again."""
    if path.is_file():
        with contextlib.suppress(DamagedFileError, OSError):
            return Shard(path)
    return None


def _blocks_of(folder: Path, shards: Sequence[Shard], left_out: Counter[str], damaged: Sequence[Path] = ()) -> Blocks:
    counts = sum((shard.counts for shard in shards), Counter(left_out))
    return Blocks([Stretch(shard, 0, len(shard)) for shard in shards], folder.name, counts, damaged)


def _shards_of(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Groups parts into shards of at least one part; the same corpus always gives the same shards."""
    held: list[Part] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part.text) + PART_OVERHEAD
        if size >= SHARD_CHARACTERS:
            yield held
            held, size = [], 0
    if held:
        yield held


def _characters_of(parts: Sequence[Part]) -> int:
    return sum(len(part.text) for part in parts)


def _written(encoder: _ShardEncoder, jobs: Iterator[tuple[Path, list[Part]]], processes: int) -> Iterator[int]:
    """Writes the shards, and yields the number of characters in each once it is written.

    Texts are read ahead only for as many shards as there are processes; else all of them would be in memory.
    """
    if processes == 1:
        for path, parts in jobs:
            _write_shard(encoder, path, parts)
            yield _characters_of(parts)
        return
    with ProcessPoolExecutor(processes, WorkerContext(), initializer=_start_worker, initargs=(encoder,)) as pool:
        running: deque[tuple[Future, int]] = deque()
        try:
            for path, parts in jobs:
                running.append((pool.submit(_write_in_worker, path, parts), _characters_of(parts)))
                if len(running) > processes:
                    yield _result_of(*running.popleft())
            while running:
                yield _result_of(*running.popleft())
        finally:  # after an error or Ctrl-C, shards in progress are finished, and no others are started
            pool.shutdown(wait=True, cancel_futures=True)


def _result_of(future: Future, characters: int) -> int:
    try:
        future.result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process that tokenized the corpus died, of a full memory perhaps: try again with fewer processes; the "
            "shards that are there stay"
        ) from error
    return characters


def _start_worker(encoder: _ShardEncoder) -> None:
    """Runs once in every worker, so that the tokenizer, which is large, is not sent with every shard."""
    global _encoder
    _encoder = encoder
    begin_worker()


def _write_in_worker(path: Path, parts: list[Part]) -> None:
    _write_shard(_encoder, path, parts)


def _write_shard(encoder: _ShardEncoder, path: Path, parts: list[Part]) -> None:
    batch = encoder(parts)
    sink = pa.BufferOutputStream()
    write_batches(sink, batch.schema, [batch])
    with _explained(path):
        write_whole(path, memoryview(sink.getvalue()))


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} could not be written: {error.strerror or error}; with room for it, the same command goes on from "
            "here, and --cache_dir takes another folder"
        ) from error


@dataclass(frozen=True)
class _ShardEncoder:
    """Turns parts of documents into blocks. It is pickled and sent to worker processes.

    room: tokens of text in a block. unknown: the id of [UNK]. starts: see `word_starts`. lead: put before each sentence
    so that its first word is tokenized like the others.
    """

    tokenizer: Any
    special: SpecialTokens
    room: int
    lower_case: bool
    unknown: int
    starts: np.ndarray
    lead: str

    @classmethod
    def of(cls, tokenizer, max_seq_length: int, lower_case: bool) -> _ShardEncoder:
        special = SpecialTokens.of(tokenizer, pair=False)
        if not (special.prefix and special.suffix):
            raise DataError(
                f"{type(tokenizer).__name__} puts no tokens before and after a text, such as [CLS] and [SEP], which "
                "spans need as boundaries"
            )
        room = special.room(max_seq_length, "max_seq_length")
        if room < MIN_TOKENS:
            raise DataError(f"max_seq_length {max_seq_length} leaves room for {room} tokens, fewer than {MIN_TOKENS}")
        # In byte-level BPE the space belongs to the word: without it, a line's first word would be different tokens.
        bare, spaced = token_ids(tokenizer, ["가", " 가"])
        lead = " " if bare != spaced and mark_of_words(tokenizer.get_vocab()) == "Ġ" else ""
        return cls(tokenizer, special, room, lower_case, tokenizer.unk_token_id, word_starts(tokenizer), lead)

    def __call__(self, parts: list[Part]) -> pa.RecordBatch:
        """The `input_ids` and the `document` hash of each block, with the counts in the schema's metadata."""
        values = array("H" if len(self.starts) <= 2**16 else "i")
        offsets, documents = array("i", [0]), array("i")
        counts: Counter[str] = Counter()
        for part, lines, sentences in self._tokenized(parts):
            tokens = sum(map(len, sentences))
            blocks = len(documents)
            for ids in self._packed(sentences):
                if len(ids) < MIN_TOKENS:
                    counts["dropped_tokens"] += len(ids)
                    continue
                values.extend([*self.special.prefix, *ids, *self.special.suffix])
                offsets.append(len(values))
                documents.append(part.document)
            counts["characters"] += sum(map(len, lines))
            counts["tokens"] += tokens
            counts["unknown_tokens"] += sum(ids.count(self.unknown) for ids in sentences)
            if part.is_first:
                counts["documents"] += 1
                counts["empty_documents"] += tokens == 0
                counts["short_documents"] += tokens > 0 and len(documents) == blocks
        rows = pa.ListArray.from_arrays(pa.array(np.asarray(offsets)), pa.array(np.asarray(values)))
        batch = pa.RecordBatch.from_arrays([rows, pa.array(np.asarray(documents))], ["input_ids", "document"])
        batch = batch.take(pa.array(np.argsort(documents, kind="stable")))
        return batch.replace_schema_metadata({"counts": json.dumps(counts)})

    def _tokenized(self, parts: list[Part]) -> Iterator[tuple[Part, list[str], list[list[int]]]]:
        """Each part with its cleaned lines and the token ids of its sentences."""
        lines = [clean(part.text, self.lower_case) for part in parts]
        sentences = [[s for line in of_part for s in _sentences_of(line)] for of_part in lines]
        encoded = self._encoded(itertools.chain.from_iterable(sentences))
        for part, of_part, texts in zip(parts, lines, sentences, strict=True):
            yield part, of_part, list(itertools.islice(encoded, len(texts)))

    def _encoded(self, texts: Iterable[str]) -> Iterator[list[int]]:
        held: list[str] = []
        size = 0
        for text in texts:
            held.append(self.lead + text)
            size += len(text)
            if size >= CHARACTERS_IN_BATCH:
                yield from token_ids(self.tokenizer, held)
                held, size = [], 0
        if held:
            yield from token_ids(self.tokenizer, held)

    def _packed(self, sentences: Iterable[list[int]]) -> Iterator[list[int]]:
        """Fills each block with as many whole sentences as fit; a sentence that is too long for one block is cut."""
        block: list[int] = []
        for ids in sentences:
            if len(block) + len(ids) > self.room:
                if block:
                    yield block
                block = []
                while len(ids) > self.room:
                    end = self._before_a_word(ids)
                    yield ids[:end]
                    ids = ids[end:]
            block += ids
        if block:
            yield block

    def _before_a_word(self, ids: list[int]) -> int:
        """Where to cut a sentence that is too long: before the last word that starts within the room."""
        return next((end for end in range(self.room, 0, -1) if self.starts[ids[end]]), self.room)


def _sentences_of(line: str) -> Iterator[str]:
    for sentence in _SENTENCE_END.split(line):
        if len(sentence) <= SENTENCE_CHARACTERS:
            yield sentence
        else:
            yield from cut_at_spaces(sentence, SENTENCE_CHARACTERS)
