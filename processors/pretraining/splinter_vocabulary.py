"""The vocabulary as recurring span selection sees it: word starts, usable tokens, stop words and special ids."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from processors.pretraining.word_starts import mark_of_words, start_words

STOP_WORDS_FILE = Path(__file__).with_name("stopwords_ko.txt")
PARTICLE = "##"  # in the file of stop words, for any vocabulary: the word is also one where it continues another word


@dataclass(frozen=True)
class SplinterVocabulary:
    """A vocabulary of V tokens, with the properties by which spans are found.

    starts_word: bool `[V]`. A word is a token that starts a word and all following tokens that do not.
    usable: bool `[V]`. Spans consist of usable tokens only: letters and digits, no special tokens, not [UNK].
    stop_word: bool `[V]`. A span needs at least one token that is no stop word.
    question_id, pad_id: the ids of [QUESTION] and [PAD]. tokens: the V tokens, as files of n-grams have them.
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
        """Makes it from the tokens in the order of their ids.

        The vocabulary may be SentencePiece's, which marks the first token of words (`▁학교 에서`), or WordPiece's,
        which marks the others (`학교 ##에서`; HanBERT: `학교 ~~에서`). stop_words: in the form of `read_stop_words`,
        whose list is the default.

        Raises ValueError where [QUESTION] or [PAD] is not in the vocabulary, and for byte-level BPE, whose tokens may
        be parts of characters.
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
                # SentencePiece's bare ▁, which starts words whose first piece has no variant with it, means nothing.
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
            starts_word[unk_id] = not mark  # SentencePiece's [UNK] is a part of a word, WordPiece's a whole word
        return cls(starts_word, usable, stop_word, question_id, pad_id, tuple(tokens))


def _surface(token: str, starts_word: bool, mark: str | None) -> str:
    """A token without its mark for the start or the rest of a word; a WordPiece token that is only a mark stays."""
    if mark:
        return token.removeprefix(mark)
    if starts_word:
        return token
    return (token[2:] if token.startswith("##") else token.lstrip("~")) or token


def _is_alphanumeric(text: str) -> bool:
    """Whether all characters are letters or numbers by their Unicode category: 가, ㄱ, A, 漢, 1; but ㎞ is a symbol.

    True for the empty text: SentencePiece's bare ▁ is a usable token.
    """
    return all(unicodedata.category(character)[0] in "LN" for character in text)


def read_stop_words(path: Path = STOP_WORDS_FILE) -> frozenset[str]:
    """Reads stop words. `##` before a word: it is also one where it continues a word. `# ` begins a comment line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("# ") for word in line.split())
