"""What recurs is what the plain reference finds, and questions keep to the rules and the laws they are drawn from."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.recurring_spans_reference import clusters_of_row
from growth import expect_linear
from processors.pretraining.blocks import Blocks
from processors.pretraining.ngrams import count_ngrams, keys_of, read_ngrams, write_ngrams
from processors.pretraining.recurring_spans import (
    Clusters,
    RecurringSpans,
    SelectedSpans,
    find_clusters,
    recurs_in,
    select_spans,
)
from processors.pretraining.splinter_vocabulary import SplinterVocabulary, read_stop_words
from processors.task import DataError
from training.row_random import RowDraws

SHARED = Path(__file__).parents[3] / "shared"
CORPUS, KOSPLINTER = SHARED / "data" / "corpus", SHARED / "tokenizers" / "kosplinter"
SPECIAL = ["[QUESTION]", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
QUESTION, PAD, UNK, CLS, SEP, MASK = range(6)
WORDS = ["학교", "서울", "미국", "나무", "1989", "A", "그", "이", "는", ".", "㎞"]
PIECES = ["에", "는", "가", "인", "들", "-"]
FIRST_WORD, FIRST_PIECE = len(SPECIAL), len(SPECIAL) + len(WORDS)
WORDPIECE = [*SPECIAL, *WORDS, *(f"##{piece}" for piece in PIECES)]
SENTENCEPIECE = [*SPECIAL, *(f"▁{word}" for word in WORDS), *PIECES]
VOCABULARIES = {
    name: SplinterVocabulary.of_tokens(tokens, range(6), QUESTION, PAD, UNK)
    for name, tokens in (("wordpiece", WORDPIECE), ("sentencepiece", SENTENCEPIECE))
}
VOCABULARY = VOCABULARIES["wordpiece"]
# What is seen may be this many standard deviations from what the law says: by chance it is once in two million times.
DEVIATIONS = 5

Found = dict[str, list[int]]  # n-gram: columns


def ids_of(text: str) -> list[int]:
    return [WORDPIECE.index(token) for token in text.split()]


def padded(rows: list[list[int]], pad: int = PAD) -> tuple[np.ndarray, np.ndarray]:
    length = max(map(len, rows), default=0)
    ids = np.array([[*row, *[pad] * (length - len(row))] for row in rows], dtype=np.int64).reshape(len(rows), length)
    mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows], dtype=np.int64)
    return ids, mask.reshape(ids.shape)


def clusters_in(text: str, left_out: frozenset[bytes] = frozenset(), **setting) -> Found:
    ids, mask = padded([ids_of(text)])
    (found,) = by_row(find_clusters(ids, mask, VOCABULARY, RecurringSpans(**setting), left_out), ids)
    return {" ".join(WORDPIECE[token] for token in ngram): starts for ngram, starts in found}


def by_row(clusters: Clusters, ids: np.ndarray) -> list[list[tuple[tuple[int, ...], list[int]]]]:
    """What the reference returns, of each row."""
    rows: list[list] = [[] for _ in ids]
    assert all(getattr(clusters, field.name).dtype == np.int64 for field in fields(clusters))
    assert len(clusters.offsets) == len(clusters.rows) + 1 and clusters.offsets[-1] == len(clusters.starts)
    for number, row in enumerate(clusters.rows.tolist()):
        starts = clusters.starts[clusters.offsets[number] : clusters.offsets[number + 1]].tolist()
        ngram = ids[row, starts[0] : starts[0] + clusters.lengths[number]].tolist()
        rows[row].append((tuple(ngram), starts))
    return rows


def expect_reference(
    ids: np.ndarray,
    mask: np.ndarray,
    vocabulary: SplinterVocabulary,
    setting: RecurringSpans,
    left_out: frozenset[tuple[int, ...]] = frozenset(),
) -> list[list[tuple[tuple[int, ...], list[int]]]]:
    """Every row's clusters, which are those of the reference, and so is which rows have any."""
    before, keys = ids.copy(), frozenset(np.array(ngram, dtype=np.int64).tobytes() for ngram in left_out)
    # A column that is hidden is for the reference a token that is nowhere else.
    hidden = ids.shape[1]
    starts_word, usable, stop_word = (
        [*flags.tolist(), *[value] * hidden]
        for flags, value in ((vocabulary.starts_word, True), (vocabulary.usable, False), (vocabulary.stop_word, False))
    )
    expected = []
    for row, real in zip(ids.tolist(), mask.tolist(), strict=True):
        seen = [
            token if is_real else len(vocabulary.tokens) + at
            for at, (token, is_real) in enumerate(zip(row, real, strict=True))
        ]
        expected.append(
            clusters_of_row(seen, starts_word, usable, stop_word, setting.longest, setting.first_member_only, left_out)
        )
    found = by_row(find_clusters(ids, mask, vocabulary, setting, keys), ids)
    assert found == expected
    assert recurs_in(ids, mask, vocabulary, setting, keys).tolist() == [bool(row) for row in expected]
    assert np.array_equal(ids, before)
    return found


# ------------------------------------------------------------------------------------------ the rules, by hand


def test_the_longest_that_two_places_have_in_common():
    assert clusters_in("[CLS] 학교 ##에 서울 . 미국 학교 ##에 나무 [SEP]") == {"학교 ##에": [1, 6]}
    assert clusters_in("[CLS] 학교 서울 미국 나무 [SEP]") == {}
    assert clusters_in("서울 . 서울") == {"서울": [0, 2]}  # up to the row's end, without [SEP]
    # Of three the first two have more in common; the third then has no other like it.
    assert clusters_in("서울 학교 . 서울 학교 ㎞ 서울 나무") == {"서울 학교": [0, 3]}
    assert clusters_in("서울 학교 . 서울 학교 ㎞ 서울 나무 . 서울 A") == {"서울 학교": [0, 3], "서울": [6, 9]}


def test_a_span_does_not_reach_its_partner_and_none_overlap():
    assert clusters_in("서울 서울") == {"서울": [0, 1]}
    assert clusters_in("서울 서울 서울") == {"서울": [0, 1, 2]}
    assert clusters_in("서울 서울 서울 서울") == {"서울 서울": [0, 2]}
    assert clusters_in("서울 나무 서울 나무 서울") == {"서울 나무": [0, 2]}
    # The longest of the ends is taken; 나무 서울 at 1 would overlap with it.
    assert clusters_in("서울 나무 서울 나무 서울 나무") == {"서울 나무": [0, 2, 4]}
    # Pairs of 나무 have what follows them in common, but those places belong to the longer ones.
    assert clusters_in("서울 나무 A . 서울 나무 A ㎞ 나무 학교") == {"서울 나무 A": [0, 4]}


def test_no_longer_than_the_longest():
    row = "서울 나무 A 미국 . 서울 나무 A 미국"
    assert clusters_in(row, longest=4) == {"서울 나무 A 미국": [0, 5]}
    # 나무 A 미국 overlaps with the first; 미국 does not.
    assert clusters_in(row, longest=3) == {"서울 나무 A": [0, 5], "미국": [3, 8]}
    assert clusters_in(row, longest=1) == {"서울": [0, 5], "나무": [1, 6], "미국": [3, 8]}
    ten = " ".join(["서울 나무 A 미국 학교"] * 2)
    assert clusters_in(f"{ten} 1989 . {ten} 1989 ㎞") == {ten: [0, 12], "1989": [10, 22]}


def test_spans_are_of_whole_words():
    assert clusters_in("학교 ##에 서울 . 학교 서울 .") == {}  # 서울 . has a full stop; 학교 is part of a word once
    assert clusters_in("학교 ##에 . 학교 ##는 . 학교 ##들") == {}
    assert clusters_in("학교 ##에 . 학교 서울 . 학교 나무") == {"학교": [3, 6]}
    assert clusters_in("[SEP] ##에 서울 [SEP] ##에 나무") == {}


def test_the_first_member_only_as_the_original():
    inside_last = "학교 서울 . 학교 ##에 나무"
    assert clusters_in(inside_last) == {}
    assert clusters_in(inside_last, first_member_only=True) == {"학교": [0, 3]}
    inside_first = "학교 ##에 나무 . 학교 서울 ㎞ 학교 미국"
    assert clusters_in(inside_first) == {"학교": [4, 7]}
    assert clusters_in(inside_first, first_member_only=True) == {}


def test_letters_and_digits_only():
    assert clusters_in("서울 . A 서울 . 미국") == {}  # the longest match has a full stop
    assert clusters_in(". ㎞ .") == {}
    assert clusters_in("A ##- 서울 A ##- 나무") == {}
    assert clusters_in("1989 ㎞ 서울 1989 . 서울") == {"1989": [0, 3], "서울": [2, 5]}


def test_stop_words_alone_are_no_span():
    assert clusters_in("그 ##는 서울 . 그 ##는 나무") == {}
    assert clusters_in("그 서울 . 그 나무") == {}
    assert clusters_in("는 서울 . 는 나무") == {}  # a particle by itself
    assert clusters_in("그 학교 ##는 서울 . 그 학교 ##는 나무") == {"그 학교 ##는": [0, 5]}
    assert clusters_in("그 ##에 ##가 . 그 ##에 ##가") == {}


def test_never_special_nor_unknown():
    assert clusters_in("[UNK] . [UNK]") == {}
    assert clusters_in("[MASK] 서울 [MASK] 서울") == {"서울": [1, 3]}
    assert clusters_in("서울 [UNK] A 서울 [UNK] 나무") == {}
    assert clusters_in("[QUESTION] A . [QUESTION] 서울") == {}


def test_in_sentencepiece_an_unknown_token_may_go_on_with_a_word():
    ids, mask = padded([ids_of("학교 [UNK] 학교 서울 학교 나무")])
    assert by_row(find_clusters(ids, mask, VOCABULARIES["wordpiece"], RecurringSpans()), ids)[0][0][1] == [0, 2, 4]
    assert by_row(find_clusters(ids, mask, VOCABULARIES["sentencepiece"], RecurringSpans()), ids)[0][0][1] == [2, 4]


def test_ngrams_that_are_left_out():
    row = "서울 ##에 . 서울 ##에 나무 ㎞ 나무"
    assert clusters_in(row) == {"서울 ##에": [0, 3], "나무": [5, 7]}
    assert clusters_in(row, keys_of(["서울 ##에", "서울", "없는 토큰"], VOCABULARY)) == {"나무": [5, 7]}
    assert clusters_in(row, keys_of(["서울 ##에", "나무"], VOCABULARY)) == {}
    # All that is left is 서울 서울 at 0 and at 1, which overlap: no cluster, and none is promised.
    ids, mask = padded([ids_of("서울 서울 서울 나무 . 서울 서울 ##에")])
    assert expect_reference(ids, mask, VOCABULARY, RecurringSpans(), frozenset([(WORDPIECE.index("서울"),)])) == [[]]
    # The end of one is an n-gram of its own.
    assert clusters_in("서울 학교 . 서울 학교 A", keys_of(["서울 학교"], VOCABULARY)) == {"학교": [1, 4]}


# ------------------------------------------------------------------------------------------ as the reference

ADVERSARIAL = {
    "all one token": [CLS, *[FIRST_WORD] * 60, SEP],
    "all one word": [CLS, FIRST_WORD, *[FIRST_PIECE] * 40, SEP],
    "all one piece": [FIRST_PIECE] * 40,
    "alternating": [CLS, *[FIRST_WORD, FIRST_WORD + 1] * 30, SEP],
    "alternating pieces": [CLS, *[FIRST_WORD, FIRST_PIECE] * 30, SEP],
    "by threes": [*[FIRST_WORD, FIRST_WORD + 1, FIRST_WORD + 2] * 20, FIRST_WORD],
    "by elevens": [FIRST_WORD, *[FIRST_PIECE] * 10] * 5,
    "no recurrence": [CLS, *range(FIRST_WORD, len(WORDPIECE)), SEP],
    "three tokens": [CLS, FIRST_WORD, SEP],
    "twice": [FIRST_WORD, FIRST_WORD],
    "all [UNK]": [CLS, *[UNK] * 40, SEP],
    "every second [UNK]": [CLS, *[FIRST_WORD, UNK] * 20, SEP],
    "stop-words": [WORDPIECE.index("그"), WORDPIECE.index("##는")] * 20,
    "one token": [FIRST_WORD],
    "nothing": [],
    "runs that grow": [token for n in range(1, 12) for token in [SEP, *[FIRST_WORD] * n]],
    "the same twice, across": [*[FIRST_WORD, FIRST_WORD + 1] * 6, SEP, *[FIRST_WORD, FIRST_WORD + 1] * 6],
}
SETTINGS = [RecurringSpans(), RecurringSpans(first_member_only=True), RecurringSpans(longest=1), RecurringSpans(3)]


@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_adversarial_rows(name: str, setting: RecurringSpans):
    together = expect_reference(*padded(list(ADVERSARIAL.values())), VOCABULARIES[name], setting)
    for row, found in zip(ADVERSARIAL.values(), together, strict=True):  # alone, too: without padding beside it
        assert expect_reference(*padded([row]), VOCABULARIES[name], setting) == [found]


def test_no_rows():
    ids = np.zeros((0, 7), dtype=np.int64)
    assert expect_reference(ids, ids, VOCABULARY, RecurringSpans()) == []


TOKEN = st.sampled_from([*range(FIRST_WORD, FIRST_WORD + 3), *range(FIRST_PIECE, FIRST_PIECE + 2)])
ANY_TOKEN = st.integers(0, len(WORDPIECE) - 1)
ROW = st.one_of(st.lists(TOKEN, max_size=60), st.lists(ANY_TOKEN, max_size=80))
# Rows of phrases that come again: longer matches than by chance.
PHRASES = st.lists(st.lists(TOKEN, min_size=1, max_size=14), min_size=1, max_size=4).flatmap(
    lambda phrases: st.lists(st.sampled_from(phrases), max_size=8).map(
        lambda chosen: [token for phrase in chosen for token in phrase]
    )
)


@pytest.mark.seconds
@settings(max_examples=400, deadline=None)
@given(
    rows=st.lists(st.one_of(ROW, PHRASES), min_size=1, max_size=4),
    longest=st.sampled_from([1, 2, 3, 10]),
    first_member_only=st.booleans(),
    name=st.sampled_from(sorted(VOCABULARIES)),
    seed=st.integers(0, 100),
)
def test_random_rows(rows: list[list[int]], longest: int, first_member_only: bool, name: str, seed: int):
    setting, vocabulary = RecurringSpans(longest, first_member_only), VOCABULARIES[name]
    found = expect_reference(*padded(rows), vocabulary, setting)
    assert expect_reference(*padded(rows, pad=FIRST_WORD), vocabulary, setting) == found
    ngrams = sorted({ngram for row in found for ngram, _ in row})
    generator = np.random.default_rng(seed)
    left_out = frozenset(ngram for ngram in ngrams if generator.random() < 0.5)
    ids, mask = padded(rows)
    expect_reference(ids, mask, vocabulary, setting, left_out)
    expect_reference(ids, mask * (generator.random(mask.shape) < 0.9), vocabulary, setting)  # with holes in the mask
    check(ids, mask, vocabulary, setting, seed)


@functools.cache
def real_blocks(folder: Path) -> tuple[Blocks, SplinterVocabulary]:
    from transformers import BertTokenizer

    from processors.pretraining.corpus import build_blocks
    from processors.pretraining.corpus_readers import open_corpus

    tokenizer = BertTokenizer(vocab=str(KOSPLINTER / "vocab.txt"), do_lower_case=False)
    blocks = build_blocks(open_corpus([CORPUS / "wiki_sample.txt"]), tokenizer, folder)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    ids = tokens.index("[QUESTION]"), tokenizer.pad_token_id, tokenizer.unk_token_id
    return blocks, SplinterVocabulary.of_tokens(tokens, tokenizer.all_special_ids, *ids)


@pytest.fixture
def real(tmp_path_factory) -> tuple[Blocks, SplinterVocabulary]:
    if not (CORPUS.is_dir() and KOSPLINTER.is_dir()):
        pytest.skip("../shared/data is not there")
    return real_blocks(tmp_path_factory.getbasetemp() / "recurring-spans")


@pytest.mark.parametrize("first_member_only", [False, True])
def test_real_text(real, first_member_only: bool):
    blocks, vocabulary = real
    setting = RecurringSpans(first_member_only=first_member_only)
    kinds = Counter()
    for first in range(0, min(192, len(blocks)), 64):
        arrays = blocks.padded(np.arange(first, min(first + 64, len(blocks))), PAD)
        for row in expect_reference(arrays["input_ids"], arrays["attention_mask"], vocabulary, setting):
            kinds.update(len(ngram) for ngram, _ in row)
        check(arrays["input_ids"], arrays["attention_mask"], vocabulary, setting, first)
    assert set(range(1, 8)) <= set(kinds) and max(kinds) <= 10
    assert sum(kinds.values()) > 500


def test_real_vocabulary_in_both_notations(real):
    """The same vocabulary as SentencePiece would write it: the same flags."""
    _, vocabulary = real
    special = [i for i, token in enumerate(vocabulary.tokens[:6])]
    respelled = [
        token if i in special else token[2:] if token.startswith("##") and len(token) > 2 else f"▁{token}"
        for i, token in enumerate(vocabulary.tokens)
    ]
    other = SplinterVocabulary.of_tokens(respelled, special, QUESTION, PAD, UNK)
    ordinary = np.ones(len(respelled), dtype=bool)
    ordinary[special] = False
    for name in ("starts_word", "usable", "stop_word"):
        ours, theirs = getattr(vocabulary, name)[ordinary], getattr(other, name)[ordinary]
        assert np.array_equal(ours, theirs) and ours.any() and not ours.all()


def test_a_row_of_one_token_costs_no_more_than_any_other():
    def clusters_of(length: int) -> Clusters:
        ids = np.full((32, length), FIRST_WORD)
        return find_clusters(ids, np.ones_like(ids), VOCABULARY, RecurringSpans())

    # In pairs, that is 131,000 of each row of 512, ten tokens each: half a minute. Ours takes 0.05 seconds.
    expect_linear(clusters_of, 64, times=8)
    ids, clusters = np.full((32, 512), FIRST_WORD), clusters_of(512)
    assert by_row(clusters, ids) == [[((FIRST_WORD,) * 10, list(range(0, 510, 10))), ((FIRST_WORD,), [510, 511])]] * 32


# ------------------------------------------------------------------------------------------ questions


def select(
    rows: list[list[int]],
    seed: int = 0,
    setting: RecurringSpans = RecurringSpans(),  # noqa: B008
    **options,
) -> SelectedSpans:
    draws = RowDraws([seed], np.arange(len(rows)))
    return select_spans(*padded(rows), VOCABULARY, setting, draws, **options)


def check(
    ids: np.ndarray, mask: np.ndarray, vocabulary: SplinterVocabulary, setting: RecurringSpans, seed: int
) -> SelectedSpans:
    """Draws questions, and checks that they keep to the rules."""
    before, mask_before = ids.copy(), mask.copy()
    selected = select_spans(ids, mask, vocabulary, setting, RowDraws([seed], np.arange(len(ids))))
    assert np.array_equal(ids, before) and np.array_equal(mask, mask_before)
    assert selected.input_ids.shape == selected.attention_mask.shape == ids.shape
    for field in fields(selected):
        assert getattr(selected, field.name).dtype == np.int64
    assert (np.diff(selected.rows * ids.shape[1] + selected.columns) > 0).all()
    found = by_row(find_clusters(ids, mask, vocabulary, setting), ids)
    for row, clusters in enumerate(found):
        of_row = selected.rows == row
        columns, starts, ends = (
            a[of_row].tolist() for a in (selected.columns, selected.starts, selected.ends)
        )  # of each question
        number_of = {start: number for number, (_, members) in enumerate(clusters) for start in members}
        budget = min(setting.most_questions, max(1, round(setting.budget * int(mask[row].sum()))))
        assert len(columns) == min(budget, sum(len(members) - 1 for _, members in clusters))
        expected_ids, expected_mask = ids[row].copy(), mask[row].copy()
        answers: dict[int, int] = {}
        masked: set[int] = set()
        for column, start, end in zip(columns, starts, ends, strict=True):
            ngram, _ = clusters[number_of[column]]
            assert number_of[start] == number_of[column] and end - start + 1 == len(ngram)
            assert answers.setdefault(number_of[column], start) == start != column  # one answer for all of a cluster
            masked.update(range(column, column + len(ngram)))
            expected_ids[column : column + len(ngram)] = [QUESTION, *[PAD] * (len(ngram) - 1)]
            expected_mask[column : column + len(ngram)] = [1, *[0] * (len(ngram) - 1)]
            assert ids[row, start : end + 1].tolist() == list(ngram)
        assert all(masked.isdisjoint(range(start, end + 1)) for start, end in zip(starts, ends, strict=True))
        assert np.array_equal(selected.input_ids[row], expected_ids)
        assert np.array_equal(selected.attention_mask[row], expected_mask)
        # At most one cluster has spans left besides its answer: the last, when nothing is left of the budget.
        asked = Counter(number_of[column] for column in columns)
        assert sum(count < len(clusters[number][1]) - 1 for number, count in asked.items()) <= 1
    return selected


def test_questions_by_hand():
    row = ids_of("[CLS] 학교 ##에 서울 . 미국 학교 ##에 나무 [SEP]")
    seen = set()
    for seed in range(20):
        selected = select([row, ids_of("[CLS] 서울 [SEP]")], seed)
        stays, goes = (1, 6) if selected.starts.tolist() == [1] else (6, 1)
        seen.add(stays)
        expected = list(row)
        expected[goes : goes + 2] = [QUESTION, PAD]
        assert selected.input_ids.tolist() == [expected, [*ids_of("[CLS] 서울 [SEP]"), *[PAD] * 7]]
        assert selected.attention_mask[0].tolist() == [int(column != goes + 1) for column in range(10)]
        assert selected.attention_mask[1].tolist() == [1] * 3 + [0] * 7
        assert [selected.rows.tolist(), selected.columns.tolist()] == [[0], [goes]]
        assert [selected.starts.tolist(), selected.ends.tolist()] == [[stays], [stays + 1]]
    assert seen == {1, 6}


@pytest.mark.parametrize("setting", [*SETTINGS, RecurringSpans(budget=0.9), RecurringSpans(most_questions=2)], ids=str)
def test_questions_of_adversarial_rows(setting: RecurringSpans):
    for seed in range(30):
        check(*padded(list(ADVERSARIAL.values())), VOCABULARY, setting, seed)


def test_rows_without_recurrence_come_back_as_they_are():
    rows = [ADVERSARIAL[name] for name in ("no recurrence", "three tokens", "all [UNK]", "stop-words", "nothing")]
    ids, mask = padded(rows)
    selected = select(rows)
    assert np.array_equal(selected.input_ids, ids) and np.array_equal(selected.attention_mask, mask)
    assert not len(selected.rows) and not recurs_in(ids, mask, VOCABULARY, RecurringSpans()).any()


def test_the_budget():
    def questions(*words: int, **setting) -> list[int]:
        rows = [[FIRST_WORD, SEP] * count for count in words]
        return np.bincount(select(rows, setting=RecurringSpans(longest=1, **setting)).rows).tolist()

    assert [questions(words) for words in (2, 6, 7, 50, 103, 250)] == [[1], [2], [2], [15], [30], [30]]
    assert questions(50, budget=0.3, most_questions=20) == [20]
    assert questions(50, budget=0.05) == [5]
    assert questions(6, 50) == [2, 15]  # padding pays for nothing


def test_every_member_is_the_answer_as_often_as_any_other():
    row = [FIRST_WORD, SEP] * 5
    for budget in (0.1, 0.9):  # one question, and all four
        selected = select([row] * 20_000, setting=RecurringSpans(longest=1, budget=budget))
        answers = selected.starts[np.append(True, np.diff(selected.rows) > 0)]
        asked = selected.columns
        for columns in (answers, asked):
            counts = np.bincount(columns, minlength=10)[::2]
            chance = len(columns) / 20_000 / 5
            assert counts.sum() == len(columns)
            assert (np.abs(counts - 20_000 * chance) < DEVIATIONS * np.sqrt(20_000 * chance * (1 - chance))).all()


def test_every_cluster_is_asked_for_as_often_as_any_other():
    words = [*range(FIRST_WORD, FIRST_WORD + 5)]
    row = [token for word in words * 2 for token in (word, SEP)]
    selected = select([row] * 20_000, setting=RecurringSpans(1, budget=0.1))  # two questions of five clusters
    counts = np.bincount(selected.columns % 10 // 2, minlength=5)
    assert counts.sum() == 40_000
    assert (np.abs(counts - 8000) < DEVIATIONS * np.sqrt(20_000 * 0.4 * 0.6)).all()


def test_a_row_is_asked_alike_whatever_stands_beside_it():
    rows = list(ADVERSARIAL.values())
    together, again, other = select(rows, 1), select(rows, 1), select(rows, 2)
    assert all(np.array_equal(a, b) for a, b in zip(vars(together).values(), vars(again).values(), strict=True))
    assert not np.array_equal(together.starts, other.starts)
    for number, row in enumerate(rows):
        draws = RowDraws([1], np.array([number]))
        apart = select_spans(*padded([row]), VOCABULARY, RecurringSpans(), draws)
        assert np.array_equal(apart.input_ids[0], together.input_ids[number, : len(row)])
        for name in ("columns", "starts", "ends"):
            assert np.array_equal(getattr(apart, name), getattr(together, name)[together.rows == number])


def test_what_is_left_out_is_not_asked_for():
    row = ids_of("서울 ##에 . 서울 ##에 나무 ㎞ 나무")
    selected = select([row], left_out=keys_of(["서울 ##에"], VOCABULARY))
    assert {*selected.columns.tolist(), *selected.starts.tolist()} == {5, 7}


# ------------------------------------------------------------------------------------------ vocabularies


def test_what_is_known_of_a_vocabulary():
    for vocabulary in VOCABULARIES.values():
        assert vocabulary.starts_word[FIRST_WORD:].tolist() == [True] * len(WORDS) + [False] * len(PIECES)
        unusable = {*range(FIRST_WORD), *(WORDPIECE.index(token) for token in (".", "㎞", "##-"))}
        assert set(np.flatnonzero(~vocabulary.usable).tolist()) == unusable
        stop_words = [WORDPIECE[i] for i in np.flatnonzero(vocabulary.stop_word)]
        assert stop_words == ["A", "그", "이", "는", "##에", "##는", "##가", "##인", "##들"]


def test_marks_are_no_characters_of_a_token():
    stop_words = frozenset(["##는", "the"])
    hanbert = SplinterVocabulary.of_tokens(["[PAD]", "[Q]", "나", "~~는", "~는", "~", "~~", "##"], [0, 1], 1, 0)
    assert hanbert.starts_word.tolist() == [True, True, True, False, False, True, False, False]
    assert hanbert.usable.tolist() == [False, False, True, True, True, False, False, False]
    assert hanbert.stop_word.tolist() == [False, False, True, True, True, False, False, False]
    sentencepiece = ["[PAD]", "[Q]", "▁", "▁한글", "는", "▁는", "▁The", "the", "<0xEC>", "é", "한.", "Ⅳ"]
    vocabulary = SplinterVocabulary.of_tokens(sentencepiece, [0, 1], 1, 0, stop_words=stop_words)
    assert vocabulary.starts_word.tolist() == [True] * 4 + [False, True, True] + [False] * 5
    assert vocabulary.usable.tolist() == [False] * 2 + [True] * 6 + [False, True, False, True]
    assert vocabulary.stop_word.tolist() == [False] * 2 + [True, False, True, True, True] + [False] * 5


def test_vocabularies_that_spans_cannot_be_found_with():
    with pytest.raises(ValueError, match=r"\[QUESTION\] has the id 9, and the vocabulary 2 tokens"):
        SplinterVocabulary.of_tokens(["[PAD]", "가"], [0], 9, 0)
    with pytest.raises(ValueError, match=r"\[PAD\] has the id -1, and the vocabulary 2 tokens"):
        SplinterVocabulary.of_tokens(["[QUESTION]", "가"], [0], 0, -1)
    with pytest.raises(ValueError, match="this vocabulary is of bytes"):
        SplinterVocabulary.of_tokens(["<pad>", "[QUESTION]", "Ġthe", "Ġre"], [0, 1], 1, 0)


@pytest.mark.parametrize("wrong", [{"longest": 0}, {"most_questions": 0}, {"budget": 0.0}, {"budget": 1.0}], ids=str)
def test_settings_that_make_no_sense(wrong: dict):
    with pytest.raises(ValueError, match="longest and most_questions are at least 1, budget lies between 0 and 1"):
        RecurringSpans(**wrong)


def test_stop_words():
    stop_words = read_stop_words()
    assert {"그리고", "##는", "##에서", "것", "the"} <= stop_words and not {"#", "##", "서울", "한국"} & stop_words
    assert all(word.removeprefix("##").isalnum() for word in stop_words)


# ------------------------------------------------------------------------------------------ n-grams of other corpora


def test_ngrams_are_counted_written_and_read(tmp_path: Path):
    rows = [ids_of("서울 ##에 . 서울 ##에 나무 ㎞ 나무"), ids_of("나무 . A 나무 ㎞ 나무"), ids_of("서울 .")]
    ids, mask = padded(rows)
    clusters = find_clusters(ids, mask, VOCABULARY, RecurringSpans())
    counts = count_ngrams(clusters, ids, VOCABULARY)
    assert counts == {"나무": 2, "서울 ##에": 1}
    path = tmp_path / "new" / "ngrams.tsv"
    write_ngrams(path, counts)
    assert path.read_text(encoding="utf-8") == "ngram\trows\n나무\t2\n서울 ##에\t1\n"
    assert read_ngrams(path) == counts
    assert list(path.parent.iterdir()) == [path]
    # What was used is not used again: nothing is left of the same corpus.
    left_out = keys_of(read_ngrams(path), VOCABULARY)
    assert not recurs_in(ids, mask, VOCABULARY, RecurringSpans(), left_out).any()
    # By the text of the tokens: in a vocabulary with other ids, too.
    order = [*range(6), *range(len(WORDPIECE) - 1, 5, -1)]
    other = SplinterVocabulary.of_tokens([WORDPIECE[i] for i in order], range(6), QUESTION, PAD, UNK)
    other_ids = np.argsort(order)[ids]
    assert recurs_in(other_ids, mask, other, RecurringSpans()).tolist() == [True, True, False]
    assert not recurs_in(other_ids, mask, other, RecurringSpans(), keys_of(counts, other)).any()


def test_a_corpus_without_recurrence_has_a_file_without_ngrams(tmp_path: Path):
    write_ngrams(tmp_path / "none.tsv", Counter())
    assert read_ngrams(tmp_path / "none.tsv") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("서울 학교\n", r":1: expected an n-gram, a tab, and a whole number of rows"),
        ("ngram\trows\n서울\t1\n서울 학교\n", r":3: expected an n-gram, a tab, and a whole number of rows"),
        ("ngram\trows\n서울\tmany\n", r":2: expected an n-gram"),
        ("ngram\trows\n서울  학교\t1\n", r":2: expected an n-gram"),
        ("", "there is nothing in it"),
    ],
)
def test_files_that_are_no_ngrams(tmp_path: Path, content: str, message: str):
    path = tmp_path / "ngrams.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_ngrams(path)


def test_files_of_ngrams_that_cannot_be_read_or_written(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        read_ngrams(tmp_path / "missing.tsv")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be written"):
        write_ngrams(tmp_path / "file" / "ngrams.tsv", Counter())
