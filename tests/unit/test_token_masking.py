"""Masking single tokens beside questions: which, how many, and what they become, against the original's rules."""

from __future__ import annotations

import numpy as np
import pytest

from processors.pretraining.recurring_spans import CLUSTERS, SPANS
from processors.pretraining.token_masking import DECISIONS, ORDER, RANDOM_TOKENS, TokenMasking, mask_tokens
from training.row_random import RowDraws

QUESTION, PAD, UNK, CLS, SEP, MASK = range(6)
SIZE = 50
MASKING = TokenMasking.of_tokens(SIZE, range(6), QUESTION, MASK, 0.15, 80)
# What is seen may be this many standard deviations from what the law says: by chance it is once in two million times.
DEVIATIONS = 5


def rows_of(number: int, length: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows with special tokens at their ends, [UNK] and [QUESTION] inside, hidden padding inside and at the end."""
    ids = np.random.default_rng(seed).integers(6, SIZE, (number, length))
    ids[:, [0, 5, 9, length - 4]] = CLS, UNK, QUESTION, SEP
    mask = np.ones_like(ids)
    ids[:, [10, 11, *range(length - 3, length)]] = PAD
    mask[ids == PAD] = 0
    return ids, mask


def test_which_tokens_may_be_masked():
    """All that are seen but [PAD], [UNK], [CLS], [SEP] and [MASK]; [QUESTION] too, as in the original."""
    ids, mask = rows_of(4)
    ids[1, 20] = MASK
    mask[2, 21] = 0  # hidden, though it is an ordinary token
    masked = mask_tokens(ids, mask, np.full(4, 99), MASKING, RowDraws([0], np.arange(4)))
    found = set(zip(masked.rows.tolist(), masked.columns.tolist(), strict=True))
    expected = {
        (row, column)
        for row in range(4)
        for column in range(40)
        if mask[row, column] and ids[row, column] not in (PAD, UNK, CLS, SEP, MASK)
    }
    assert found == expected and (0, 9) in found and (1, 20) not in found and (2, 21) not in found
    assert masked.labels.tolist() == [ids[place] for place in sorted(found)]


@pytest.mark.parametrize(
    ("tokens", "expected"), [(2, 1), (10, 2), (128, 19), (512, 77), (10_000, 80), (3, 1), (30, 4), (50, 8)]
)
def test_how_many_predictions_a_row_has(tokens: int, expected: int):
    """min(80, max(1, int(round(0.15 n)))), as Python rounds."""
    assert MASKING.predictions_in(tokens) == expected == min(80, max(1, round(tokens * 0.15)))


def test_each_row_gets_its_count_and_any_of_its_tokens():
    ids, mask = rows_of(300)
    counts = np.arange(300) % 8
    masked = mask_tokens(ids, mask, counts, MASKING, RowDraws([1], np.arange(300)))
    assert np.array_equal(np.bincount(masked.rows, minlength=300), counts)
    places = masked.rows * 40 + masked.columns
    assert (np.diff(places) > 0).all() and np.array_equal(ids.reshape(-1)[places], masked.labels)
    untouched = np.ones(ids.size, dtype=bool)
    untouched[places] = False
    assert np.array_equal(masked.input_ids.reshape(-1)[untouched], ids.reshape(-1)[untouched])
    seen = np.bincount(masked.columns, minlength=40)
    candidates = [column for column in range(40) if seen[column]]
    assert len(candidates) == 32  # 40 without [CLS], [UNK], [SEP] and five of padding
    mean = counts.sum() / 32
    assert (np.abs(seen[candidates] - mean) < DEVIATIONS * np.sqrt(mean)).all()
    negative = mask_tokens(ids[:2], mask[:2], np.array([-3, 0]), MASKING, RowDraws([1], np.arange(2)))
    assert not len(negative.labels) and np.array_equal(negative.input_ids, ids[:2])


def test_eight_in_ten_become_mask_and_one_any_token_of_the_vocabulary():
    ids, mask = rows_of(3000)
    masked = mask_tokens(ids, mask, np.full(3000, 10), MASKING, RowDraws([2], np.arange(3000)))
    new, total = masked.input_ids[masked.rows, masked.columns], len(masked.labels)
    is_mask, is_same = new == MASK, new == masked.labels
    for share, expected in ((is_mask.mean(), 0.8 + 0.1 / SIZE), (is_same.mean(), 0.1 + 0.1 / SIZE)):
        assert abs(share - expected) < DEVIATIONS * np.sqrt(expected * (1 - expected) / total)
    random = np.bincount(new[~is_mask & ~is_same], minlength=SIZE)
    assert (np.delete(random, MASK) > 0).all()  # the special ones too, as in the original


def test_the_other_rows_of_a_batch_change_nothing():
    ids, mask = rows_of(12)
    together = mask_tokens(ids, mask, np.full(12, 5), MASKING, RowDraws([3], np.arange(12)))
    alone = mask_tokens(ids[[7]], mask[[7]], np.array([5]), MASKING, RowDraws([3], np.array([7])))
    assert np.array_equal(together.input_ids[7], alone.input_ids[0])
    wider = [np.pad(array[[7]], ((0, 0), (0, 9)), constant_values=fill) for array, fill in ((ids, PAD), (mask, 0))]
    padded = mask_tokens(*wider, np.array([5]), MASKING, RowDraws([3], np.array([7])))
    assert np.array_equal(padded.input_ids[0, :40], alone.input_ids[0])
    assert not np.array_equal(ids[7], alone.input_ids[0])


def test_their_random_numbers_are_not_those_of_the_questions():
    assert len({CLUSTERS, SPANS, ORDER, DECISIONS, RANDOM_TOKENS}) == 5
