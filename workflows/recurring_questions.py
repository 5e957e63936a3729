"""Which rows of a corpus a Splinter can be asked questions about, and the files of n-grams that questions ask for."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import ModelError
from processors.pretraining.blocks import Blocks
from processors.pretraining.ngrams import count_ngrams, keys_of, read_ngrams, write_ngrams
from processors.pretraining.recurring_spans import RecurringSpans, find_clusters, recurs_in
from processors.pretraining.splinter_vocabulary import SplinterVocabulary
from processors.task import DataError
from storage.names import on_disk
from training.results import sha256_of

# torch takes seconds to import: the functions that need it import it, so that --help and mistyped flags answer at once.

ROWS_AT_ONCE = 64  # rows that are searched together when a whole corpus is; with more, searching is no faster


@dataclass(frozen=True)
class QuestionRules:
    """Which spans questions may ask for, and how many questions a row gets.

    left_out: n-grams that are never asked for, as `select_spans` takes them.
    """

    vocabulary: SplinterVocabulary
    spans: RecurringSpans
    left_out: frozenset[bytes] = frozenset()


def splinter_vocabulary(tokenizer, question_id: int) -> SplinterVocabulary:
    """What the search for spans needs to know about the tokenizer.

    question_id: id of [QUESTION]. Raises ModelError where the tokens may be parts of characters.
    """
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = tokenizer.all_special_ids
    try:
        return SplinterVocabulary.of_tokens(
            tokens, special, question_id, tokenizer.pad_token_id, tokenizer.unk_token_id
        )
    except ValueError as error:
        raise ModelError(f"{error}: use a WordPiece or SentencePiece vocabulary, or train one (train_vocab)") from error


def rows_with_questions(runtime, corpora: Sequence[str], parts: Sequence[Blocks], rules: QuestionRules) -> list[Blocks]:
    """The rows of each corpus in which a span recurs, so that a model learns something from every row.

    Says how many rows were skipped. Rows are searched once, before training: whether a span recurs in a row does not
    depend on what is drawn. corpora: path of each corpus. Raises DataError where a corpus has no such row.
    """
    return [_rows_with_questions(runtime, path, blocks, rules) for path, blocks in zip(corpora, parts, strict=True)]


def _rows_with_questions(runtime, path: str, blocks: Blocks, rules: QuestionRules) -> Blocks:
    share = range(runtime.process, math.ceil(len(blocks) / ROWS_AT_ONCE), runtime.processes)
    recurs = np.zeros(len(blocks), dtype=bool)
    for rows, ids, mask in _all_rows(runtime, f"find recurring spans in {path}", blocks, rules, share):
        recurs[rows] = recurs_in(ids, mask, rules.vocabulary, rules.spans, rules.left_out)
    recurs = np.any(runtime.gather(recurs), axis=0)
    if not recurs.any():
        excepted = ", except n-grams of earlier corpora (ngrams_in)" if rules.left_out else ""
        raise DataError(
            f"{path}: no span recurs in any of its {len(blocks):,} rows{excepted}, so there is nothing to ask for: "
            "give longer documents, or longer rows (max_seq_length)"
        )
    if count := int(np.count_nonzero(~recurs)):
        runtime.say(f"{path}: rows skipped because no span recurs in them: {count:,}")
    # The n-grams that are left out decide about the questions in all rows, so they must be the same on resume.
    return blocks.where(recurs, hashlib.sha256(b"\n".join(sorted(rules.left_out))).hexdigest())


def _all_rows(
    runtime, name: str, blocks: Blocks, rules: QuestionRules, parts: range | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All rows, ROWS_AT_ONCE at a time: their numbers `[B]`, token ids and attention mask `[B, L]`. Shows progress.

    parts: which of the groups of ROWS_AT_ONCE rows to go through; by default all.
    """
    from training.progress import Progress

    parts = range(math.ceil(len(blocks) / ROWS_AT_ONCE)) if parts is None else parts
    progress = Progress(runtime, name, min(len(parts) * ROWS_AT_ONCE, len(blocks)), "row")
    for part in parts:
        rows = np.arange(part * ROWS_AT_ONCE, min((part + 1) * ROWS_AT_ONCE, len(blocks)))
        yield rows, *blocks.padded(rows, rules.vocabulary.pad_id).values()
        progress.advance(len(rows))
    progress.close()


# --------------------------------------------------------------------------------------------------------------------
# Files of n-grams
# --------------------------------------------------------------------------------------------------------------------


def read_earlier_ngrams(
    paths: Sequence[str], vocabulary: SplinterVocabulary, say: Callable[[str], None]
) -> tuple[frozenset[bytes], dict[str, str]]:
    """The n-grams that earlier corpora asked for, as `select_spans` leaves them out, and the sha256 of each file.

    Raises DataError where a file cannot be read, or was written with a different vocabulary.
    """
    left_out: frozenset[bytes] = frozenset()
    hashes = {}
    for path in paths:
        file = on_disk(Path(path))
        ngrams = read_ngrams(file)
        keys = keys_of(ngrams, vocabulary)
        if ngrams and not keys:
            raise DataError(f"{path}: none of its {len(ngrams):,} n-grams consists of tokens in this vocabulary")
        lacking = f"; with tokens that this vocabulary lacks: {len(ngrams) - len(keys):,}" * (len(keys) < len(ngrams))
        say(f"{path}: n-grams that are not asked for again: {len(keys):,}{lacking}")
        hashes[path] = sha256_of(file)
        left_out |= keys
    return left_out, hashes


def check_ngrams_out(path: str | None) -> None:
    """Raises DataError where writing n-grams to `path`, if given, would overwrite a file that holds something else."""
    if path and Path(path).exists():
        try:
            read_ngrams(Path(path), needs_header=True)  # without one, it may be anybody's table of words and numbers
        except DataError as error:
            raise DataError(f"ngrams_out would overwrite a file that holds no n-grams: {error}") from error


def write_ngrams_of(path: str, runtime, blocks: Blocks, rules: QuestionRules) -> None:
    """Writes all n-grams that can be asked for in these rows, in any epoch, each with the number of its rows."""
    counts: Counter[str] = Counter()
    for _, ids, mask in _all_rows(runtime, "count n-grams", blocks, rules):
        clusters = find_clusters(ids, mask, rules.vocabulary, rules.spans, rules.left_out)
        counts += count_ngrams(clusters, ids, rules.vocabulary)
    write_ngrams(Path(path), counts)
    runtime.say(f"{path}: n-grams that can be asked for, written with the number of their rows: {len(counts):,}")
