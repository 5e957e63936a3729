"""Masks single tokens in rows that also have questions: Splinter's joint objective, as its code has it.

`create_masked_lm_predictions` in https://github.com/oriram/splinter (`pretraining/masking.py`). Unlike SpanBERT's
masking (`span_masking.py`), it takes tokens one by one, wherever they are in a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from processors.pretraining.draws import Draws
from processors.pretraining.span_masking import MASKED_SHARE, RANDOM_SHARE

# Kinds of random numbers, after those of `recurring_spans.py`, whose draws are for the same rows.
ORDER, DECISIONS, RANDOM_TOKENS = range(2, 5)


@dataclass(frozen=True)
class TokenMasking:
    """Which tokens may be masked, and how many predictions a row gets; the defaults are the original's.

    maskable: bool `[V]`, false for special tokens. [QUESTION] is maskable, as in the original.
    mask_id: the id of [MASK].
    budget: questions and masked tokens of a row together as a share of its tokens, rounded, and at least one.
    most: the largest number of questions and masked tokens together in a row of any length.
    """

    maskable: np.ndarray
    mask_id: int
    budget: float = 0.15
    most: int = 80

    @classmethod
    def of_tokens(
        cls, size: int, special_ids: Iterable[int], question_id: int, mask_id: int, budget: float, most: int
    ) -> TokenMasking:
        """For a vocabulary of `size` tokens. special_ids: of the special tokens, [QUESTION] perhaps among them."""
        maskable = np.ones(size, dtype=bool)
        maskable[[*special_ids, mask_id]] = False
        maskable[question_id] = True
        return cls(maskable, mask_id, budget, most)

    def predictions_in(self, tokens: np.ndarray | int) -> np.ndarray:
        """The number of predictions in rows of so many tokens, questions included: int64, shaped like `tokens`."""
        return np.minimum(self.most, np.maximum(1, np.rint(self.budget * tokens))).astype(np.int64)


@dataclass(frozen=True)
class MaskedTokens:
    """A masked batch, and the M tokens to predict, in the order of rows and columns.

    input_ids: int64 `[B, L]`. rows, columns: int64 `[M]`, the place of each token. labels: int64 `[M]`, its id before
    masking.
    """

    input_ids: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    labels: np.ndarray


def mask_tokens(
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    counts: np.ndarray,
    masking: TokenMasking,
    draws: Draws,
) -> MaskedTokens:
    """Masks `counts`, `[B]`, tokens of each row, or as many as it has, among those that are visible and maskable.

    Each becomes [MASK] (80 %), any token of the vocabulary (10 %), or stays as it is (10 %).
    input_ids, attention_mask: int64 `[B, L]`; places where the mask is 0 are never masked.

    For the same draws, a row's masks do not depend on the other rows of the batch.
    """
    batch, length = input_ids.shape
    may_be_masked = (attention_mask != 0) & masking.maskable[input_ids]
    order = draws.uniform(ORDER, np.arange(batch)[:, None], np.arange(length))
    ranks = np.argsort(np.argsort(np.where(may_be_masked, order, 2.0), axis=1, kind="stable"), axis=1, kind="stable")
    rows, columns = np.nonzero(may_be_masked & (ranks < counts[:, None]))
    labels = input_ids[rows, columns]
    decision = draws.uniform(DECISIONS, rows, columns)
    random = (draws.uniform(RANDOM_TOKENS, rows, columns) * len(masking.maskable)).astype(np.int64)
    becomes_random = decision < MASKED_SHARE + RANDOM_SHARE
    masked = input_ids.copy()
    masked[rows, columns] = np.where(decision < MASKED_SHARE, masking.mask_id, np.where(becomes_random, random, labels))
    return MaskedTokens(masked, rows, columns, labels)
