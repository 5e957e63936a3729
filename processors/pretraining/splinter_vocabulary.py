"""What recurring span selection has to know of a vocabulary: word starts, usable tokens, stop-words, special ids."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from processors.pretraining.word_starts import mark_of_words, start_words

STOP_WORDS_FILE = Path(__file__).with_name("stopwords_ko.txt")
PARTICLE = "##"  # before a stop-word that is also one as the rest of a word; in the file, whatever the vocabulary


@dataclass(frozen=True)
class SplinterVocabulary:
    """What finding spans has to know of a vocabulary of V tokens.

    starts_word: bool `[V]`. A word is a token that starts one, and all after it that do not.
    usable: bool `[V]`. Spans are of these only: letters and digits, neither special nor [UNK].
    stop_word: bool `[V]`. No span is of these only.
    question_id, pad_id: of [QUESTION] and [PAD]. tokens: `[V]`, as they are written in files of n-grams.
    """

    starts_word: np.ndarray
    usable: np.ndarray
    stop_word: np.ndarray
    question_id: int
    pad_id: int
    tokens: tuple[str, ...]

    @classmethod
    def of_tokens(
        cls,
        tokens: Sequence[str],
        special_ids: Iterable[int],
        question_id: int,
        pad_id: int,
        unk_id: int | None = None,
        stop_words: Set[str] | None = None,
    ) -> SplinterVocabulary:
        """The vocabulary whose token i is `tokens[i]`: SentencePiece's, which marks where words start (`▁학교 에서`),
        or WordPiece's, which marks where they go on (`학교 ##에서`; HanBERT: `학교 ~~에서`).

        stop_words: as `read_stop_words` has them, which are the default.

        Raises ValueError where [QUESTION] or [PAD] is not in the vocabulary, and where it is byte-level BPE's, whose
        tokens may be parts of characters.
        """
        for name, token_id in (("[QUESTION]", question_id), ("[PAD]", pad_id)):
            if not 0 <= token_id < len(tokens):
                raise ValueError(f"{name} has the id {token_id}, and the vocabulary {len(tokens)} tokens")
        mark = mark_of_words(tokens)
        if mark == "Ġ":
            raise ValueError("recurring spans need tokens of whole characters, and this vocabulary is of bytes")
        stop_words = read_stop_words() if stop_words is None else stop_words
        starts_word = start_words(tokens)
        surfaces = [_surface(token, starts, mark) for token, starts in zip(tokens, starts_word.tolist(), strict=True)]
        usable = np.array([_is_alphanumeric(surface) for surface in surfaces], dtype=bool)
        stop_word = np.array(
            [
                # SentencePiece's bare ▁, where a word begins whose first characters are no piece with it, says nothing.
                not surface or PARTICLE + surface in stop_words or (starts and surface in stop_words)
                for surface, starts in zip(map(str.lower, surfaces), starts_word.tolist(), strict=True)
            ],
            dtype=bool,
        )
        special = [*special_ids, question_id, pad_id]
        starts_word[special] = True
        usable[special] = False
        if unk_id is not None:
            usable[unk_id] = False
            starts_word[unk_id] = not mark  # stands for some characters of a word; WordPiece's for a whole word
        return cls(starts_word, usable, stop_word, question_id, pad_id, tuple(tokens))


def _surface(token: str, starts_word: bool, mark: str | None) -> str:
    """A token without what marks it as the start or the rest of a word; one that is such a mark only, as it is."""
    if mark:
        return token.removeprefix(mark)
    if starts_word:
        return token
    return (token[2:] if token.startswith("##") else token.lstrip("~")) or token


def _is_alphanumeric(text: str) -> bool:
    """Whether all characters are letters or numbers by their Unicode category: 가, ㄱ, A, 漢, 1; ㎞ is a symbol.

    So is nothing: SentencePiece's ▁, by itself the start of a word.
    """
    return all(unicodedata.category(character)[0] in "LN" for character in text)


def read_stop_words(path: Path = STOP_WORDS_FILE) -> frozenset[str]:
    """Stop-words; `##` before one says that it is also one as the rest of a word. `# ` begins a line of comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("# ") for word in line.split())
