"""The n-grams that recurring spans ask for, with counts, and files of them: KoSplinter asks for none in two corpora."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from processors.pretraining.recurring_spans import Clusters
from processors.pretraining.splinter_vocabulary import SplinterVocabulary
from processors.task import DataError, tab_separated
from storage.whole import write_whole

NGRAM_COLUMNS = ("ngram", "rows")


def count_ngrams(clusters: Clusters, input_ids: np.ndarray, vocabulary: SplinterVocabulary) -> Counter[str]:
    """In how many rows each n-gram has a cluster; an n-gram is the tokens as written, between spaces: `독립 ##운동`.

    input_ids: `[B, L]`, of the rows that the clusters were found in. These are all that can be asked for: what is drawn
    in one epoch is left for another in the next.
    """
    first = clusters.starts[clusters.offsets[:-1]]
    counts: Counter[str] = Counter()
    for row, start, length in zip(clusters.rows.tolist(), first.tolist(), clusters.lengths.tolist(), strict=True):
        counts[" ".join(vocabulary.tokens[i] for i in input_ids[row, start : start + length].tolist())] += 1
    return counts


def keys_of(ngrams: Iterable[str], vocabulary: SplinterVocabulary) -> frozenset[bytes]:
    """N-grams as `left_out` takes them; those with tokens that are not in this vocabulary cannot occur, and are not."""
    ids = {token: i for i, token in enumerate(vocabulary.tokens)}
    found = ([ids.get(token) for token in ngram.split(" ")] for ngram in ngrams)
    return frozenset(np.array(ngram, dtype=np.int64).tobytes() for ngram in found if None not in ngram)


def write_ngrams(path: Path, counts: Mapping[str, int]) -> None:
    """Writes n-grams and in how many rows they were, the most frequent first; the file is there whole or not at all.

    Raises DataError where it cannot be written.
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = ["\t".join(NGRAM_COLUMNS), *(f"{ngram}\t{count}" for ngram, count in ordered), ""]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "\n".join(lines))
    except OSError as error:
        raise DataError(f"{path} could not be written: {error.strerror or error}") from error


def read_ngrams(path: Path) -> Counter[str]:
    """What `write_ngrams` wrote. Raises DataError with file and line where the file is missing or malformed."""
    counts: Counter[str] = Counter()
    for record in tab_separated(path, NGRAM_COLUMNS, "utf-8"):
        match record.values:
            case [ngram, count] if all(ngram.split(" ")) and count.isascii() and count.isdigit():
                counts[ngram] += int(count)
            case _:
                raise DataError(f"{path}:{record.line}: expected an n-gram, a tab, and a whole number of rows")
    return counts
