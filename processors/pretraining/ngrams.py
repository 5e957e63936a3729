"""Counts the n-grams that recur, and writes and reads them as files.

KoSplinter asks for no n-gram in two corpora. A file of the n-grams of one corpus lets the next leave them out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from processors.delimited import tab_separated
from processors.pretraining.recurring_spans import Clusters
from processors.pretraining.splinter_vocabulary import SplinterVocabulary
from processors.task import DataError
from storage.whole import write_whole

NGRAM_COLUMNS = ("ngram", "rows")


def count_ngrams(clusters: Clusters, input_ids: np.ndarray, vocabulary: SplinterVocabulary) -> Counter[str]:
    """The number of rows in which each n-gram has a cluster; an n-gram is its tokens joined by spaces: `독립 ##운동`.

    input_ids: `[B, L]`, the rows in which the clusters were found. All clusters count, not only those that are drawn as
    questions, because each epoch draws anew.
    """
    first = clusters.starts[clusters.offsets[:-1]]
    counts: Counter[str] = Counter()
    for row, start, length in zip(clusters.rows.tolist(), first.tolist(), clusters.lengths.tolist(), strict=True):
        counts[" ".join(vocabulary.tokens[i] for i in input_ids[row, start : start + length].tolist())] += 1
    return counts


def keys_of(ngrams: Iterable[str], vocabulary: SplinterVocabulary) -> frozenset[bytes]:
    """N-grams in the form of `left_out`, without those that have a token which is not in this vocabulary."""
    ids = {token: i for i, token in enumerate(vocabulary.tokens)}
    found = ([ids.get(token) for token in ngram.split(" ")] for ngram in ngrams)
    return frozenset(np.array(ngram, dtype=np.int64).tobytes() for ngram in found if None not in ngram)


def write_ngrams(path: Path, counts: Mapping[str, int]) -> None:
    """Writes n-grams with their number of rows, the most frequent first. An interrupted write leaves no partial file.

    Raises DataError where the file cannot be written.
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = ["\t".join(NGRAM_COLUMNS), *(f"{ngram}\t{count}" for ngram, count in ordered), ""]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "\n".join(lines))
    except OSError as error:
        raise DataError(f"{path} could not be written: {error.strerror or error}") from error


def read_ngrams(path: Path, needs_header: bool = False) -> Counter[str]:
    """Reads a file of `write_ngrams`, or Splinter's own `ngrams.txt`, which has the same lines without a header.

    needs_header: whether a file without a header is malformed. Raises DataError with file and line where it is missing
    or malformed.
    """
    counts: Counter[str] = Counter()
    for record in tab_separated(path, NGRAM_COLUMNS, "utf-8", header_is_optional=not needs_header):
        match record.values:
            case [ngram, count] if all(ngram.split(" ")) and count.isascii() and count.isdigit():
                counts[ngram] += int(count)
            case _:
                raise DataError(f"{path}:{record.line}: expected an n-gram, a tab, and a whole number of rows")
    return counts
