"""Rows of random tokens that are as long as real rows, for benchmarks on machines without data.

The time of a step depends on how many tokens its rows have, not on which tokens these are. But pretraining objectives
choose by the tokens what they ask for. So the rows are like Korean text in what matters there: how frequent tokens are,
how many of them a word has, and how many spans recur in a row.
"""

from __future__ import annotations

import numpy as np

# Lengths of rows in tokens, special tokens included, at the quantiles 0, 1, 2, ... 99 % and 99.9 %.
QUANTILES = {
    # The 150,000 training reviews of NSMC, koelectra-base's vocabulary; mean 20.8.
    "nsmc": """
        2 5 6 6 7 7 7 8 8 8 8 9 9 9 9 9 10 10 10 10 10 10 11 11 11 11 11 11 12 12 12 12 12 13 13 13 13 13 14 14 14 14 15
        15 15 15 15 16 16 16 16 17 17 17 17 18 18 18 19 19 19 20 20 20 20 21 21 21 22 22 23 23 23 24 24 25 25 26 26 27
        28 28 29 30 31 32 33 35 36 38 40 43 45 48 52 55 59 63 67 72 90
    """,
    # 4,457 training windows of KorQuAD 1.0, up to 512 tokens, 128 apart, koelectra-base's vocabulary; mean 257.
    "korquad": """
        136 150 156 159 161 163 165 166 167 168 169 171 172 173 174 175 177 178 179 180 181 183 184 185 186 187 188 190
        191 192 193 195 196 197 198 199 200 202 203 204 206 207 209 210 211 213 215 217 219 220 222 224 226 228 229 232
        234 236 238 241 244 246 249 252 254 257 259 261 263 265 269 273 277 281 284 287 292 299 302 306 311 316 324 331
        341 360 375 389 399 407 424 444 474 509 512 512 512 512 512 512 512
    """,
    # 15,968 blocks of up to 512 tokens: Wikipedia, news, comments, sentences; SentencePiece of 8,000; mean 85.
    "corpus": """
        6 8 9 9 10 10 10 10 11 11 11 11 11 12 12 12 12 12 12 12 13 13 13 13 13 13 13 13 14 14 14 14 14 14 14 15 15 15 15
        15 15 15 15 16 16 16 16 16 16 17 17 17 17 17 17 18 18 18 18 19 19 19 19 20 20 20 21 21 21 22 22 23 23 24 24 25
        26 27 28 28 30 31 33 36 119 211 297 374 440 469 479 486 491 495 499 502 505 507 509 511 512
    """,
    # The 3,158 of these blocks in which a span recurs; mean 359.
    "recurring": """
        7 11 12 13 13 14 14 15 16 16 17 17 18 19 20 21 22 23 25 27 40 115 148 166 188 206 225 242 260 284 301 316 329
        357 370 382 398 413 426 436 449 454 459 463 467 470 472 474 476 478 480 481 483 484 485 487 488 489 490 491 492
        493 493 494 495 496 497 497 498 499 499 500 501 502 502 503 503 504 504 505 505 506 506 506 507 507 507 508 508
        509 509 509 510 510 510 511 511 511 512 512 512
    """,
}
PAD, UNK, CLS, SEP, MASK, QUESTION = range(6)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[QUESTION]")
# The share of the tokens that begin a word, in Korean text tokenized by a SentencePiece vocabulary of 8,000.
STARTS_OF_WORDS = 0.44
# Particles and punctuation are the most frequent tokens of a text, and Splinter does not ask for them. Here: signs.
SIGNS = 200
# `repeat_words` puts one word for every 40 tokens into a row, and each word 3.4 times on average. Splinter then asks
# about 10 questions in a row of 512 tokens, as it does in Korean Wikipedia and news.
MENTIONS, MENTIONS_OF_A_WORD = 1 / 40, 3.4
# The n-th most frequent token is drawn in proportion to (n + ZIPF_SHIFT) ** -ZIPF_POWER.
ZIPF_SHIFT, ZIPF_POWER = 2.0, 0.85
FIRST_SYLLABLE, FIRST_SIGN = ord("가"), ord("∀")


def random_lengths(law: str, rows: int, rng: np.random.Generator) -> np.ndarray:
    """int64 `[rows]`: tokens a row, distributed as `QUANTILES[law]`."""
    quantiles = np.array(QUANTILES[law].split(), dtype=np.int64)
    at = rng.random(rows) * (len(quantiles) - 1)
    return np.rint(np.interp(at, np.arange(len(quantiles)), quantiles)).astype(np.int64)


class RandomTokenizer:
    """A made-up vocabulary of `size` tokens, with what pretraining objectives use of a tokenizer's interface."""

    pad_token_id, unk_token_id, sep_token_id, mask_token_id = PAD, UNK, SEP, MASK
    all_special_ids = tuple(range(len(SPECIAL)))

    def __init__(self, size: int):
        rng = np.random.default_rng(0)
        starts_word = rng.random(size) < STARTS_OF_WORDS
        ordinary = [
            chr(FIRST_SIGN + n) if n < SIGNS else chr(FIRST_SYLLABLE + n) + "뷁" for n in range(size - len(SPECIAL))
        ]
        marked = ["▁" * bool(starts) + text for starts, text in zip(starts_word, ordinary, strict=False)]
        self.tokens = [*SPECIAL, *marked]
        # Ids of tokens that begin a word and are none of the signs.
        self.words = len(SPECIAL) + SIGNS + np.flatnonzero(starts_word[SIGNS : len(ordinary)])

    def __len__(self) -> int:
        return len(self.tokens)

    def convert_ids_to_tokens(self, ids: range) -> list[str]:
        return [self.tokens[number] for number in ids]


class RandomRows:
    """Rows of token ids: `lengths`, `len()` and `padded`, as those of `processors/pretraining/blocks.py`.

    lengths: int64 `[rows]`, tokens a row, [CLS] and [SEP] included. vocabulary: how many ids there are.
    """

    def __init__(self, lengths: np.ndarray, vocabulary: int, rng: np.random.Generator):
        self.lengths = lengths
        frequency = (np.arange(vocabulary - len(SPECIAL)) + ZIPF_SHIFT) ** -ZIPF_POWER
        ranks = np.searchsorted(np.cumsum(frequency / frequency.sum())[:-1], rng.random(int(lengths.sum())))
        self._rows = np.split(ranks + len(SPECIAL), np.cumsum(lengths)[:-1])
        for row in self._rows:
            row[0], row[-1] = CLS, SEP

    def __len__(self) -> int:
        return len(self.lengths)

    def plant(self, column: int, token: int) -> None:
        """Puts a token into one column of all rows, such as the [SEP] after a question."""
        for row in self._rows:
            row[column] = token

    def repeat_words(self, words: np.ndarray, rng: np.random.Generator) -> None:
        """Puts a few words into each row several times, at least twice, so that spans recur in it.

        words: int64, ids of tokens that begin a word.
        """
        for row in self._rows:
            mentions = max(2, round(MENTIONS * len(row)))
            of_row = rng.choice(words, max(1, round(mentions / MENTIONS_OF_A_WORD)))
            columns = rng.permutation(np.arange(1, len(row) - 2, 2))[:mentions]
            row[columns] = np.resize(of_row, len(columns))
            row[columns + 1] = rng.choice(words, len(columns))  # the word behind it, so that it is a whole word

    def padded(self, rows: np.ndarray, pad_id: int, length: int | None = None) -> dict[str, np.ndarray]:
        """`input_ids` and `attention_mask`, int64 `[B, L]`; L is the longest of the rows, or `length`."""
        lengths = self.lengths[rows]
        ids = np.full((len(rows), length or int(lengths.max())), pad_id, dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : lengths[i]] = self._rows[int(row)]
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
