"""Masks keep to the laws they are drawn from, and to the rules of spans on any rows."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from benchmarks.span_masking_reference import mask_row
from processors.pretraining.span_masking import ORIGINAL, MaskedSpans, SpanMasking, Vocabulary, mask_spans
from training.row_random import RowDraws

PAD, UNK, BOS, EOS, SEP, CLS, MASK = range(7)
SPECIAL = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "[SEP]", "[CLS]", "[MASK]"]
# Tokens 7 to 56 start words, 57 to 106 go on with them.
VOCABULARY = Vocabulary.of_tokens(
    [*SPECIAL, *(f"▁{i}" for i in range(50)), *(f"{i}" for i in range(50))], range(7), MASK, UNK
)
STARTS, GOES_ON = np.arange(7, 57), np.arange(57, 107)
# What is seen may be this many standard deviations from what the law says: by chance it is once in two million times.
DEVIATIONS = 5
SETTINGS = [
    SpanMasking(law=law, overrun=overrun, decision=decision)
    for law in ("geometric", "inverse")
    for overrun in ("cut", "skip")
    for decision in ("span", "token")
]


def rows_of_words(batch: int, length: int, seed: int = 0, mean: float = 2.4) -> tuple[np.ndarray, np.ndarray]:
    """Rows `[CLS] words [SEP]`, full to the end, and their mask."""
    generator = np.random.default_rng(seed)
    starts = generator.random((batch, length)) < 1 / mean
    starts[:, 1] = True
    ids = np.where(starts, generator.choice(STARTS, starts.shape), generator.choice(GOES_ON, starts.shape))
    ids[:, 0], ids[:, -1] = CLS, SEP
    return ids, np.ones_like(ids)


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    length = max(map(len, rows))
    ids = np.array([[*row, *[PAD] * (length - len(row))] for row in rows], dtype=np.int64).reshape(len(rows), length)
    mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows], dtype=np.int64)
    return ids, mask.reshape(ids.shape)


def masked(ids: np.ndarray, mask: np.ndarray, settings: SpanMasking = SpanMasking(), seed: int = 0) -> MaskedSpans:  # noqa: B008
    return mask_spans(ids, mask, VOCABULARY, settings, RowDraws([seed], np.arange(len(ids))))


def span_of(found: MaskedSpans) -> np.ndarray:
    """`[M]`: the number of the span that each masked token is in."""
    return np.cumsum(found.positions == 1) - 1


def words_in_spans(ids: np.ndarray, found: MaskedSpans) -> np.ndarray:
    """`[S]`: how many words each span has."""
    starts = VOCABULARY.starts_word[ids[found.rows, found.columns]]
    return np.bincount(span_of(found), weights=starts).astype(int)


def expect_shares(counts: np.ndarray, probabilities: np.ndarray) -> None:
    """Each count within DEVIATIONS standard deviations, and all together by chi-squared at the same level."""
    total = counts.sum()
    expected = total * probabilities
    assert (np.abs(counts - expected) < DEVIATIONS * np.sqrt(expected * (1 - probabilities))).all()
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, len(counts) - 1) > 5e-7


# ------------------------------------------------------------------------------------------------------- the laws


def test_the_laws():
    inverse, geometric = (SpanMasking(law=law).length_probabilities() for law in ("inverse", "geometric"))
    np.testing.assert_allclose(inverse, [1 / n / 2.9289682539682538 for n in range(1, 11)])
    np.testing.assert_allclose(geometric, [0.2 * 0.8 ** (n - 1) / (1 - 0.8**10) for n in range(1, 11)])
    assert geometric @ np.arange(1, 11) == pytest.approx(3.8, abs=0.01)  # the paper's mean, section 3.1
    np.testing.assert_allclose(SpanMasking(longest=2, p=0.5).length_probabilities(), [2 / 3, 1 / 3])


@pytest.mark.parametrize("law", ["geometric", "inverse"])
def test_lengths_of_spans_keep_to_the_law(law: str):
    # Of a row's spans the budget cuts one; in rows as long as these that is one in 2,000.
    ids, mask = rows_of_words(10, 120_000)
    setting = SpanMasking(law=law)
    found = masked(ids, mask, setting)
    counts = np.bincount(words_in_spans(ids, found), minlength=11)[1:]
    assert counts.sum() > 15_000
    expect_shares(counts, setting.length_probabilities())


def test_skipping_what_overruns_makes_spans_shorter_and_spends_more():
    ids, mask = rows_of_words(400, 512)
    cut, skip = (masked(ids, mask, SpanMasking(law="inverse", overrun=overrun)) for overrun in ("cut", "skip"))
    law_mean = SpanMasking(law="inverse").length_probabilities() @ np.arange(1, 11)
    assert words_in_spans(ids, skip).mean() < words_in_spans(ids, cut).mean() < law_mean
    assert len(skip.rows) > len(cut.rows)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_the_budget_is_spent_but_for_the_last_word(setting: SpanMasking):
    ids, mask = rows_of_words(400, 512)
    share = np.bincount(masked(ids, mask, setting).rows, minlength=400) / 510
    assert share.max() <= round(0.15 * 510) / 510
    assert 0.1425 < share.mean()  # words have 2.4 tokens: one is 0.5 % of a row


def test_every_word_is_masked_as_often_as_any_other():
    ids, mask = padded([[CLS, *STARTS[:40], *STARTS[:40], SEP]] * 20_000)
    found = masked(ids, mask)
    # Near the ends fewer spans have room: these words are left out.
    counts = np.bincount(found.columns, minlength=82)[12:70]
    assert np.abs(counts / counts.mean() - 1).max() < 0.1
    assert counts.mean() / 20_000 > 0.14


@pytest.mark.parametrize("overrun", ["cut", "skip"])
@pytest.mark.parametrize("tokens", [1, 2])
@pytest.mark.parametrize("words", [5, 8, 12, 20, 30])
def test_in_short_rows_too(words: int, tokens: int, overrun: str):
    """Reviews and chat lines: what is drawn and not paid for must not push the rest into the row's first words."""
    ids, mask = padded([[CLS, *([STARTS[0], GOES_ON[0]][:tokens] * words), SEP]] * 20_000)
    found = masked(ids, mask, SpanMasking(overrun=overrun))
    share = np.bincount(found.columns, minlength=ids.shape[1])[1:-1].reshape(words, tokens).mean(axis=1) / 20_000
    # Near the ends fewer spans have room; elsewhere all words are alike, but for what rounding to whole words leaves.
    inner = share[2:-2] if words > 8 else share
    assert np.abs(inner / inner.mean() - 1).max() < 0.25
    assert share.max() < 1.25 * inner.mean()


@pytest.mark.parametrize("decision", ["span", "token"])
def test_eighty_ten_ten(decision: str):
    ids, mask = rows_of_words(400, 512)
    found = masked(ids, mask, SpanMasking(decision=decision))
    became = found.input_ids[found.rows, found.columns]
    span, first = span_of(found), np.flatnonzero(found.positions == 1)
    is_mask, is_kept = became == MASK, became == found.labels
    if decision == "span":
        assert np.array_equal(is_mask, is_mask[first][span])  # all of a span, or nothing of it
        stays = np.minimum.reduceat(is_kept, first)
        # A random token is the same as before once in 100: spans of one token tell random from kept less sharply.
        longer = np.bincount(span) > 1
        outcomes = np.array([is_mask[first][longer].sum(), stays[longer].sum()])
        total, chance = longer.sum(), np.array([0.8, 0.1])
        assert total > 1000
        assert (np.abs(outcomes - total * chance) < DEVIATIONS * np.sqrt(total * chance * (1 - chance))).all()
        assert not (is_mask | stays[span])[~is_kept & ~is_mask].any()
    else:
        expect_shares(
            np.array([is_mask.sum(), is_kept.sum(), (~is_mask & ~is_kept).sum()]), np.array([0.8, 0.101, 0.099])
        )
        pairs = first[np.bincount(span) > 1]
        both = (is_mask[pairs] & is_mask[pairs + 1]).mean()
        assert abs(both - 0.64) < DEVIATIONS * np.sqrt(0.64 * 0.36 / len(pairs))


@pytest.mark.parametrize("decision", ["span", "token"])
def test_random_replacements_are_any_ordinary_token(decision: str):
    ids, mask = rows_of_words(1000, 512)
    found = masked(ids, mask, SpanMasking(decision=decision))
    became = found.input_ids[found.rows, found.columns]
    is_random = (became != MASK) & (became != found.labels)
    counts = np.bincount(became[is_random], minlength=107)
    assert not counts[:7].any() and counts.sum() > 5000
    expect_shares(counts[7:], np.full(100, 1 / 100))


# ------------------------------------------------------------------------------------------------------ the rules


def maskable_words(ids: list[int], mask: list[int]) -> list[tuple[int, int]]:
    """First token and token after the last of each word of a row that may be masked."""
    words: list[list[int]] = []
    for column, token in enumerate(ids):
        if column == 0 or not mask[column] or VOCABULARY.starts_word[token]:
            words.append([])
        words[-1].append(column)
    ordinary = [bool(real) and token not in range(7) for token, real in zip(ids, mask, strict=True)]
    longest = max(1, sum(ordinary) // 2)
    return [
        (word[0], word[-1] + 1)
        for word in words
        if all(ordinary[column] for column in word)
        and (word[0] > 0 and mask[word[0] - 1] and word[-1] + 1 < len(ids) and mask[word[-1] + 1])
        and len(word) <= longest
    ]


def check_row(ids: list[int], mask: list[int], columns: dict[int, tuple[int, int, int, int]], setting: SpanMasking):
    """columns: of each masked token label, left and right boundary, and position in the span."""
    words = maskable_words(ids, mask)
    ordinary = sum(bool(real) and token not in range(7) for token, real in zip(ids, mask, strict=True))
    if words:
        assert columns
    spans = {(left, right) for _, left, right, _ in columns.values()}
    assert sum(right - left - 1 for left, right in spans) == len(columns)
    number_of_words = 0
    for left, right in spans:
        assert left >= 0 and right < len(ids) and mask[left] and mask[right]
        assert left not in columns and right not in columns
        inside = [word for word in words if left < word[0] and word[1] <= right]
        assert 1 <= len(inside) <= setting.longest
        assert inside[0][0] == left + 1 and inside[-1][1] == right
        assert all(before[1] == after[0] for before, after in itertools.pairwise(inside))
        for column in range(left + 1, right):
            assert columns[column] == (ids[column], left, right, column - left)
        number_of_words += len(inside)
    assert len(columns) <= max(1, np.rint(setting.budget * ordinary)) or number_of_words == 1


def check(ids: np.ndarray, mask: np.ndarray, found: MaskedSpans, setting: SpanMasking) -> None:
    before = ids.copy()
    for field in fields(found):
        assert getattr(found, field.name).dtype == np.int64
    assert np.array_equal(ids, before) and found.input_ids.shape == ids.shape
    flat = found.rows * ids.shape[1] + found.columns
    assert (np.diff(flat) > 0).all()
    untouched = np.ones(ids.shape, dtype=bool)
    untouched[found.rows, found.columns] = False
    assert np.array_equal(found.input_ids[untouched], ids[untouched])
    became = found.input_ids[found.rows, found.columns]
    assert ((became == MASK) | (became > MASK)).all()
    for row in range(len(ids)):
        of_row = found.rows == row
        targets = (found.columns, found.labels, found.left_boundaries, found.right_boundaries, found.positions)
        columns = {column: tuple(rest) for column, *rest in zip(*(a[of_row].tolist() for a in targets), strict=True)}
        check_row(ids[row].tolist(), mask[row].tolist(), columns, setting)


ADVERSARIAL = {
    "all one word": [CLS, 7, *[60] * 40, SEP],
    "no word start at all": [CLS, *[60] * 40, SEP],
    "three tokens": [CLS, 7, SEP],
    "three words": [CLS, 7, 8, 9, SEP],
    "one word of three tokens": [CLS, 7, 60, 61, SEP],
    "two words, one of half of the row": [CLS, 7, 60, 8, 60, SEP],
    "all [UNK]": [CLS, *[UNK] * 30, SEP],
    "[UNK] in every word": [CLS, *[7, UNK] * 20, SEP],
    "a single token, which is special": [CLS],
    "a single token, which is not": [7],
    "[CLS] and [SEP] alone": [CLS, SEP],
    "no special tokens": [7, 8, 60, 9, 61, 10],
    "nothing": [],
    "[SEP] between all words": [CLS, *[7, 60, SEP] * 15, SEP],
    "[MASK] already": [CLS, *[7, 8, MASK, 60] * 8, SEP],
    "a word that started before": [CLS, 60, 61, 7, 8, 9, 10, SEP],
    "one long word among short ones": [CLS, *STARTS, 7, *[60] * 30, *STARTS, SEP],
    "every second word too long": [CLS, *[7, 8, *[60] * 9] * 2, SEP],
}


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_adversarial_rows(setting: SpanMasking):
    ids, mask = padded(list(ADVERSARIAL.values()))
    for seed in range(50):
        check(ids, mask, masked(ids, mask, setting, seed), setting)
    for row in ADVERSARIAL.values():  # alone, too: without padding beside it
        check(*padded([row]), masked(*padded([row]), setting), setting)


def test_which_adversarial_rows_have_something_to_learn():
    ids, mask = padded(list(ADVERSARIAL.values()))
    learned = {name for row, name in enumerate(ADVERSARIAL) if row in masked(ids, mask).rows}
    assert learned == {
        "no special tokens", "three tokens", "three words", "two words, one of half of the row", "[MASK] already",
        "[SEP] between all words", "a word that started before", "one long word among short ones",
        "every second word too long",
    }  # fmt: skip


@pytest.mark.parametrize("shape", [(0, 0), (0, 8), (3, 0), (3, 1)])
def test_batches_of_nothing(shape: tuple[int, int]):
    ids = np.zeros(shape, dtype=np.int64)
    found = masked(ids, ids)
    assert found.input_ids.shape == shape and len(found.rows) == len(found.labels) == 0


@st.composite
def batches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Batches of any tokens, mostly in words, with padding behind rows and holes in them."""
    batch, length = draw(st.integers(1, 6)), draw(st.integers(1, 80))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    ids, _ = rows_of_words(
        batch, max(length, 2), int(generator.integers(2**32)), draw(st.sampled_from([1.0, 2.0, 8.0]))
    )
    ids = ids[:, :length]
    of_any_kind = generator.random(ids.shape) < draw(st.sampled_from([0, 0.05, 0.3]))
    ids[of_any_kind] = generator.integers(0, 107, of_any_kind.sum())
    mask = np.arange(length) < generator.integers(0, length + 1, batch)[:, None]
    mask &= generator.random(ids.shape) >= draw(st.sampled_from([0, 0.05, 0.3]))
    return ids, mask.astype(np.int64)


@given(batches(), st.sampled_from(SETTINGS), st.integers(0, 2**32), st.sampled_from([0.01, 0.15, 0.45]))
@settings(max_examples=300, deadline=None)
def test_the_rules_on_any_rows(batch: tuple[np.ndarray, np.ndarray], setting: SpanMasking, seed: int, budget: float):
    setting = SpanMasking(setting.law, budget=budget, overrun=setting.overrun, decision=setting.decision)
    check(*batch, masked(*batch, setting, seed), setting)


def test_by_hand():
    # Of the two words, one has half of the tokens: no more may be masked, and each is masked now and then.
    ids, mask = padded([[CLS, 7, 60, 8, 61, SEP]])
    seen = set()
    for seed in range(30):
        found = masked(ids, mask, seed=seed)
        seen.add((*found.columns, *found.labels, *found.left_boundaries, *found.right_boundaries, *found.positions))
    assert seen == {(1, 2, 7, 60, 0, 0, 3, 3, 1, 2), (3, 4, 8, 61, 2, 2, 5, 5, 1, 2)}


def test_a_row_is_masked_alike_whatever_stands_beside_it():
    """However a batch is cut, and however long the rows beside one are."""
    ids, mask = rows_of_words(24, 128)
    mask = (np.arange(128) < np.random.default_rng(0).integers(5, 128, 24)[:, None]).astype(np.int64)
    for setting in (SpanMasking(), ORIGINAL, SpanMasking(decision="token")):
        together = masked(ids, mask, setting)
        for rows in (slice(0, 1), slice(1, 5), slice(5, 24)):
            numbers, length = np.arange(24)[rows], int(mask[rows].sum(axis=1).max())
            draws = RowDraws([0], numbers)
            apart = mask_spans(ids[rows, :length], mask[rows, :length], VOCABULARY, setting, draws)
            assert np.array_equal(apart.input_ids, together.input_ids[rows, :length])
            of_rows = np.isin(together.rows, numbers)
            for name in ("columns", "labels", "left_boundaries", "right_boundaries", "positions"):
                assert np.array_equal(getattr(apart, name), getattr(together, name)[of_rows])
        assert not np.array_equal(together.input_ids, masked(ids, mask, setting, seed=1).input_ids)


# ------------------------------------------------------------------------------------- vocabularies and settings


def test_word_starts_of_sentencepiece_and_of_wordpiece():
    sentencepiece = Vocabulary.of_tokens(["[PAD]", "<unk>", "[MASK]", "▁", "▁학교", "에서"], [0, 1, 2], 2, 1)
    assert sentencepiece.starts_word.tolist() == [True, False, True, True, True, False]
    wordpiece = Vocabulary.of_tokens(["[PAD]", "[UNK]", "[MASK]", "▁", "학교", "##에서", "##", "~"], [0, 1, 2], 2, 1)
    assert wordpiece.starts_word.tolist() == [True, True, True, True, True, False, False, True]
    hanbert = Vocabulary.of_tokens(["[PAD]", "[UNK]", "[MASK]", "학교", "~~에서", "##서", "~를"], [0, 1, 2], 2, 1)
    assert hanbert.starts_word.tolist() == [True, True, True, True, False, False, False]
    byte_level = Vocabulary.of_tokens(["<pad>", "<mask>", "Ġthe", "re"], [0], 1)
    assert byte_level.starts_word.tolist() == [True, True, True, False]
    assert byte_level.special.tolist() == [True, True, False, False]
    assert byte_level.ordinary_ids.tolist() == [2, 3]


def test_vocabularies_that_cannot_be_masked_with():
    with pytest.raises(ValueError, match=r"\[MASK\] has the id 9, and the vocabulary 2 tokens"):
        Vocabulary.of_tokens(["[PAD]", "가"], [0], 9)
    with pytest.raises(ValueError, match="special tokens only"):
        Vocabulary.of_tokens(["[PAD]", "[MASK]"], [0], 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"law": "poisson"}, "law is geometric or inverse, not 'poisson'"),
        ({"overrun": "keep"}, "overrun is cut or skip, not 'keep'"),
        ({"decision": "row"}, "decision is span or token, not 'row'"),
        ({"p": 1.0}, "p lies between 0 and 1"),
        ({"longest": 0}, "longest is at least 1"),
        ({"budget": 0.5}, "budget lies between 0 and 0.5"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SpanMasking(**wrong)


# ------------------------------------------------------------------------------------------ the original's masking


def test_the_reference_masks_as_the_original_and_ours_nearly_so():
    ids, mask = rows_of_words(300, 512)
    tables = VOCABULARY.starts_word.tolist(), VOCABULARY.special.tolist(), MASK, VOCABULARY.ordinary_ids.tolist()
    generator = random.Random(0)
    rows = [mask_row(row, *tables, 0.15, generator) for row in ids.tolist()]
    for before, row in zip(ids.tolist(), rows, strict=True):
        spans = set(zip(row.left_boundaries, row.right_boundaries, strict=True))
        assert sum(right - left - 1 for left, right in spans) == len(row.columns) <= int(0.15 * 510)
        assert row.labels == [before[column] for column in row.columns]
        assert not {column for span in spans for column in span} & set(row.columns)
        assert all(
            VOCABULARY.starts_word[before[left + 1]] and VOCABULARY.starts_word[before[right]] for left, right in spans
        )
    tokens = sum(len(row.columns) for row in rows)
    spans = sum(len(set(row.left_boundaries)) for row in rows)
    ours = masked(ids, mask, ORIGINAL)
    assert tokens / (300 * 510) == pytest.approx(0.15, abs=0.002)
    assert len(ours.rows) / tokens == pytest.approx(1, abs=0.02)
    # Ours are a little longer: theirs leaves out spans that meet others, which long ones do more often.
    assert 1 <= (len(ours.rows) / (ours.positions == 1).sum()) / (tokens / spans) < 1.15
