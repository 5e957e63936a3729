"""The n best answers against a plain enumeration of all spans, and against the algorithm of BERT's run_squad.py."""

from __future__ import annotations

import gc
import json
import math
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from growth import expect_linear
from processors.qa.decoding import Answer, Decoded, Decoder, Predictions
from processors.qa.windows import Lengths, QuestionFeatures, build_question_features
from small_questions import BERT, WIDE, asked, cut, owned_as_in_bert, windows_of
from small_tokenizers import wordpiece

HUGE = 1e30  # where no logit may matter


@dataclass(frozen=True)
class Case:
    """Questions with their windows, the logits of every window `[W, 2, L]`, and the settings of the decoder."""

    features: QuestionFeatures
    logits: np.ndarray
    max_answer_length: int
    n_best: int
    with_null: bool

    def decoder(self) -> Decoder:
        return Decoder(self.features, self.max_answer_length, self.n_best, self.with_null)

    def decoded(self, *batches: np.ndarray, extra: int = 0) -> list[Decoded]:
        """What is decoded of batches of windows; of all at once by default. extra: columns of padding, beyond which
        the longest row of a batch does not reach.
        """
        decoder = self.decoder()
        for windows in batches or [np.arange(len(self.features))]:
            length = int(self.features.lengths[windows].max())
            logits = self.logits[windows][:, :, :length]
            decoder.add(windows, np.pad(logits, ((0, 0), (0, 0), (0, extra)), constant_values=HUGE))
        return list(decoder.answers())


class SpanTable:
    """In the place of a MappedTable with the characters of each token."""

    def __init__(self, spans: list[list[tuple[int, int]]]):
        self.pairs = [np.array(row, np.int32).reshape(-1, 2) for row in spans]
        self.numbers = {"unknown_tokens": np.zeros(len(spans), np.int32)}

    def lengths(self, column: str) -> np.ndarray:
        return np.array([len(row) for row in self.pairs], np.int32)

    def row(self, column: str, index: int) -> np.ndarray:
        return self.pairs[index][:, ("starts", "ends").index(column)]


def random_case(seed: int, questions: int = 20) -> Case:
    """Contexts of 0 to 16 tokens; a token is one to three characters, which may be, or begin with, white space."""
    rng = np.random.default_rng(seed)
    contexts, spans = [], []
    for _ in range(questions):
        sizes = rng.integers(1, 4, rng.integers(0, 17))
        ends = np.cumsum(sizes)
        spans.append(list(zip((ends - sizes).tolist(), ends.tolist(), strict=True)))
        contexts.append("".join(rng.choice(list("가나다 "), sizes.sum())))
    lengths = Lengths(0, 0, 3)
    room = int(rng.integers(2, 12))
    lengths = Lengths(BERT.count + 3 + room, int(rng.integers(1, room)), 3)
    context_of = rng.permutation(questions)  # questions are not in the order of contexts
    made = asked(contexts, *((int(context), "?") for context in context_of))
    queries = SpanTable([[(0, 1)] * int(size) for size in rng.integers(0, 6, questions)])
    features = QuestionFeatures(made, SpanTable(spans), queries, BERT, lengths)
    shape = (len(features), 2, lengths.max_seq_length)
    if seed % 2:
        logits = rng.integers(-1, 2, shape).astype(np.float32)  # ties everywhere
    else:
        logits = rng.normal(scale=5, size=shape).astype(np.float32)
    with_null = bool(rng.integers(2))
    columns = np.arange(shape[2])
    at = features.context_positions(np.arange(len(features)))[:, None]
    is_context = (columns >= at) & (columns < at + features.length[:, None])
    matters = is_context | ((columns == 0) & with_null)
    logits = np.where(matters[:, None], logits, np.float32(HUGE))
    return Case(features, logits, int(rng.choice([1, 2, 3, 5, 40])), int(rng.choice([1, 2, 3, 7, 20, 200])), with_null)


def decoded_plainly(case: Case) -> Iterator[tuple[list[Answer], float | None]]:
    """The n best answers of each question and its odds: all spans that satisfy the rules, one by one."""
    features = case.features
    for question in range(len(features.questions)):
        context = features.questions.contexts[features.questions.context_of[question]]
        pairs = features.contexts.pairs[features.questions.context_of[question]].tolist()
        windows = windows_of(features, question)
        first_window = int(np.flatnonzero(features.question == question)[0])
        before = 1 + int(features.query_lengths[question]) + 1
        spans, nulls = [], []
        for number, (owned, (start, length)) in enumerate(
            zip(owned_as_in_bert(windows, len(pairs)), windows, strict=True)
        ):
            starts, ends = case.logits[first_window + number].astype(float).tolist()
            nulls.append((starts[0] + ends[0], starts[0], ends[0]))
            for a in owned:
                for b in range(a, min(start + length, a + case.max_answer_length)):
                    s, e = starts[before + a - start], ends[before + b - start]
                    spans.append((-(s + e), a, b, s, e))
        found = {}
        for negative, a, b, s, e in sorted(spans)[: case.n_best]:
            text = context[pairs[a][0] : pairs[b][1]].strip()
            if text and text not in found:
                found[text] = (-negative, s, e)
        null_odds = None
        if case.with_null:
            null = min(nulls)
            best = max([score for score, _, _ in found.values()], default=-math.inf)
            null_odds = min(null[0] - best, sys.float_info.max)
            found[""] = null
        ranked = sorted(found.items(), key=lambda item: (-item[1][0], item[0] == ""))
        whole = math.fsum(math.exp(figures[0] - ranked[0][1][0]) for _, figures in ranked)
        best = [Answer(text, *figures, math.exp(figures[0] - ranked[0][1][0]) / whole) for text, figures in ranked]
        yield best, null_odds


def same(got: list[Decoded], expected: list[tuple[list[Answer], float | None]]) -> None:
    for one, (best, null_odds) in zip(got, expected, strict=True):
        assert [(a.text, a.score, a.start_logit) for a in one.best] == [(a.text, a.score, a.start_logit) for a in best]
        for answer, other in zip(one.best, best, strict=True):
            assert answer.end_logit == pytest.approx(other.end_logit, rel=1e-9, abs=1e-9)
            assert answer.probability == pytest.approx(other.probability, rel=1e-9)
        assert one.null_odds == null_odds


# --------------------------------------------------------------------------------------------------------------------
# Against plain references
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_the_best_answers_are_those_of_a_plain_enumeration(first: int):
    """20 questions each, 2,400 in all."""
    empty = several = 0
    for case in map(random_case, range(first, first + 20)):
        expected = list(decoded_plainly(case))
        got = case.decoded()
        same(got, expected)
        for one in got:
            if one.best:
                assert math.fsum(answer.probability for answer in one.best) == pytest.approx(1)
            assert all(answer.score == pytest.approx(answer.start_logit + answer.end_logit) for answer in one.best)
            assert (one.null_odds is None) == (not case.with_null)
        for question, one in enumerate(got):
            context = case.features.questions.contexts[case.features.questions.context_of[question]]
            assert all(a.text in context and a.text == a.text.strip() for a in one.best)
        empty += sum(not any(answer.text for answer in one.best) for one in got)
        several += sum(np.bincount(case.features.question) > 1)
    assert empty > 10 and several > 100


@pytest.mark.parametrize("seed", range(40))
def test_batches_and_their_order_do_not_matter(seed: int):
    case, rng = random_case(1000 + seed), np.random.default_rng(seed)
    expected = case.decoded()
    count = len(case.features)
    assert case.decoded(*np.split(np.arange(count), count)) == expected
    assert case.decoded(np.arange(count)[::-1], extra=5) == expected
    for _ in range(2):
        order = rng.permutation(count)
        cuts = np.sort(rng.choice(np.arange(1, count), size=min(7, count - 1), replace=False))
        assert case.decoded(*np.split(order, cuts), extra=int(rng.integers(0, 9))) == expected


def best_as_in_bert(case: Case, question: int) -> float | None:
    """The score of the best answer of BERT's run_squad.py: pairs of a window's n best starts and n best ends."""
    features, best = case.features, None
    windows = windows_of(features, question)
    pairs = features.contexts.pairs[features.questions.context_of[question]]
    first_window = int(np.flatnonzero(features.question == question)[0])
    before = 1 + int(features.query_lengths[question]) + 1
    owned_of = owned_as_in_bert(windows, len(pairs))
    for number, (start, length) in enumerate(windows):
        logits = case.logits[first_window + number, :, : features.lengths[first_window + number]].astype(float)
        indexes = [
            sorted(range(len(row)), key=lambda i, row=row: row[i], reverse=True)[: case.n_best]
            for row in logits.tolist()
        ]
        for a in indexes[0]:
            for b in indexes[1]:
                if not before <= a < before + length or not before <= b < before + length:
                    continue
                if a - before + start not in owned_of[number]:
                    continue
                if b < a or b - a + 1 > case.max_answer_length:
                    continue
                score = logits[0, a] + logits[1, b]
                best = score if best is None else max(best, score)
    return best


def test_no_answer_is_worse_than_that_of_bert():
    """Among 600 questions there are some where the n best starts and ends miss the best pair, or have none at all."""
    better = missed = equal = 0
    for seed in range(0, 60, 2):
        case = random_case(seed)
        noise = np.random.default_rng(seed).normal(scale=5, size=case.logits.shape).astype(np.float32)
        case = Case(case.features, np.where(case.logits == np.float32(HUGE), noise, case.logits), 3, 3, False)
        decoder = case.decoder()
        decoder.add(np.arange(len(case.features)), case.logits)
        for question, score in enumerate(decoder.best.scores[:, 0]):
            theirs = best_as_in_bert(case, question)
            assert theirs is None or score >= theirs
            missed += theirs is None and score > -np.inf
            better += theirs is not None and score > theirs
            equal += theirs == score
    assert missed > 5 and better > 5 and equal > 300


def test_with_all_starts_and_ends_both_find_the_same():
    for seed in range(0, 20, 2):
        case = random_case(seed)
        case = Case(case.features, case.logits, case.max_answer_length, 10_000, False)
        decoder = case.decoder()
        decoder.add(np.arange(len(case.features)), case.logits)
        theirs = [best_as_in_bert(case, question) for question in range(len(case.features.questions))]
        assert decoder.best.scores[:, 0].tolist() == [-np.inf if score is None else score for score in theirs]


# --------------------------------------------------------------------------------------------------------------------
# By hand
# --------------------------------------------------------------------------------------------------------------------


def one_window(context: str, starts: list[float], ends: list[float], **settings) -> Decoded:
    """A question of one token, about words that are one token each. The logits: of [CLS], and of the words."""
    words, spans, at = context.split(" "), [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    features = QuestionFeatures(asked([context], (0, "?")), SpanTable([spans]), SpanTable([[(0, 1)]]), BERT, WIDE)
    rows = [[row[0], HUGE, HUGE, *row[1:], HUGE] for row in (starts, ends)]  # [CLS] ? [SEP] words [SEP]
    settings = {"max_answer_length": 30, "n_best": 20, "with_null": False} | settings
    (one,) = Case(features, np.array([rows], np.float32), **settings).decoded()
    return one


def texts(decoded: Decoded) -> list[tuple[str, float]]:
    return [(answer.text, answer.score) for answer in decoded.best]


def test_all_spans_of_three_words():
    one = one_window("서울 부산 서울", [9, 1, 3, 2], [9, 10, 20, 40])
    assert texts(one) == [
        ("부산 서울", 43.0), ("서울", 42.0), ("서울 부산 서울", 41.0), ("부산", 23.0), ("서울 부산", 21.0),
    ]  # fmt: skip
    # 서울 of the third word, not of the first: 1 + 10
    assert (one.best[1].start_logit, one.best[1].end_logit) == (2.0, 40.0)
    weights = [math.exp(score) for score in (43, 42, 41, 23, 21)]
    assert [answer.probability for answer in one.best] == pytest.approx([w / sum(weights) for w in weights])
    assert (one.null_odds, one.answer_if_any, one.answer(-99.0)) == (None, "부산 서울", "부산 서울")


def test_of_equals_the_earlier_start_and_then_the_earlier_end_comes_first():
    zeros = [0.0] * 4
    assert [text for text, _ in texts(one_window("가 나 다", zeros, zeros))] == [
        "가", "가 나", "가 나 다", "나", "나 다", "다",
    ]  # fmt: skip
    assert [text for text, _ in texts(one_window("가 나 다", zeros, zeros, n_best=4))] == [
        "가",
        "가 나",
        "가 나 다",
        "나",
    ]
    assert texts(one_window("가 나 다", zeros, zeros, with_null=True))[-1] == ("", 0.0)
    assert [text for text, _ in texts(one_window("가 나 다", zeros, zeros, with_null=True, n_best=1))] == ["가", ""]


def test_lengths_of_answers():
    starts, ends = [0, 5, 0, 0], [0, 0, 0, 5]
    assert texts(one_window("가 나 다", starts, ends, max_answer_length=1)) == [("가", 5.0), ("다", 5.0), ("나", 0.0)]
    assert texts(one_window("가 나 다", starts, ends, max_answer_length=2))[0] == ("가", 5.0)
    for longer in (3, 4, 10_000):
        assert texts(one_window("가 나 다", starts, ends, max_answer_length=longer))[0] == ("가 나 다", 10.0)


def test_more_answers_wanted_than_there_are():
    assert texts(one_window("가", [0, 1], [0, 2], n_best=100)) == [("가", 3.0)]
    assert one_window("가", [0, 1], [0, 2], n_best=100).best[0].probability == 1.0


def test_equal_texts_are_one_answer_and_take_a_place_each():
    decoded = one_window("가 가 나", [0, 3, 2, 1], [0, 3, 2, 1], n_best=2, max_answer_length=1)
    assert texts(decoded) == [("가", 6.0)]  # its second place was the other 가


def test_no_answer_is_one_of_the_answers():
    one = one_window("가 나", [2, 1, 0], [3, 2, 0], with_null=True)
    assert texts(one) == [("", 5.0), ("가", 3.0), ("가 나", 1.0), ("나", 0.0)]
    assert (one.best[0].start_logit, one.best[0].end_logit, one.null_odds) == (2.0, 3.0, 2.0)
    assert one.answer_if_any == "가"
    assert [one.answer(threshold) for threshold in (-1e9, 1.999, 2.0, 2.001, math.inf)] == ["", "", "가", "가", "가"]


def test_no_answer_has_the_score_of_the_window_where_it_is_lowest():
    """Three windows; in the second the sum is lowest, in the third the start, in the first the end."""
    features = cut([9], [(0, 1)], Lengths(9, 3, 1))
    assert windows_of(features, 0) == [(0, 5), (3, 5), (6, 3)]
    logits = np.zeros((3, 2, 9), np.float32)
    logits[:, :, 0] = [[9, 1], [2, 3], [1, 8]]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        case = Case(features, logits, 30, 20, True)
        (one,) = case.decoded(*np.array(order)[:, None])
        null = next(answer for answer in one.best if not answer.text)
        assert (null.score, null.start_logit, null.end_logit, one.null_odds) == (5.0, 2.0, 3.0, 5.0)
    logits[:, :, 0] = [[3, 2], [2, 3], [9, 9]]  # of equal sums the lower start, whatever the order
    for order in ([0, 1, 2], [1, 2, 0]):
        (one,) = Case(features, logits, 30, 20, True).decoded(*np.array(order)[:, None])
        assert [(a.start_logit, a.end_logit) for a in one.best if not a.text] == [(2.0, 3.0)]


def test_a_span_counts_in_the_window_that_owns_its_start():
    """Windows [0, 5), [3, 8), [6, 9): 3 is the first's (1 and 0 neighbours), 4 the second's (0 and 1)."""
    features = cut([9], [(0, 1)], Lengths(9, 3, 1))
    assert [part.tolist() for part in features.owned(np.arange(3))] == [[0, 1, 1], [4, 4, 3]]
    logits = np.full((3, 2, 9), -500, np.float32)
    logits[0, 0, 3 + 4] = logits[0, 1, 3 + 4] = 100  # token 4, which is not the first window's
    logits[1, 0, 3 + 1] = 7  # token 4
    logits[1, 1, 3 + 4] = 6  # token 7
    logits[0, 0, 3 + 3] = 3  # token 3 starts in the first window, and may end with any token of that
    (one,) = Case(features, logits, 30, 2, False).decoded()
    # Token i is the characters 2i and 2i + 1, all 가: 4..7 are eight characters, 3..4 four.
    assert texts(one) == [("가" * 4, 103.0), ("가" * 8, 13.0)]


def test_contexts_without_tokens():
    features = cut([0, 2], [(0, 1), (1, 1), (0, 1)], WIDE)
    logits = np.full((3, 2, 6), HUGE, np.float32)
    logits[:, :, 0] = 1
    logits[1, :, 3:5] = 0
    for batches in ([[0, 1, 2]], [[0], [1], [2]], [[0, 2], [1]]):
        windows = [np.array(batch) for batch in batches]
        nothing, something, again = Case(features, logits, 30, 20, False).decoded(*windows)
        assert nothing == again and (nothing.best, nothing.null_odds) == ([], None)
        assert nothing.answer(0.0) == nothing.answer_if_any == ""
        assert something.answer_if_any == "가가"
        nothing, something, again = Case(features, logits, 30, 20, True).decoded(*windows)
        assert nothing == again
        assert (nothing.best, nothing.null_odds) == ([Answer("", 2.0, 1.0, 1.0, 1.0)], sys.float_info.max)
        assert [one.answer(math.inf) for one in (nothing, something)] == ["", "가가"]
        assert something.null_odds == 2.0 and something.answer(0.0) == ""


def test_answers_that_are_white_space_are_none():
    features = QuestionFeatures(
        asked(["가 나"], (0, "?")), SpanTable([[(0, 1), (1, 2), (2, 3)]]), SpanTable([[(0, 1)]]), BERT, WIDE
    )
    logits = np.zeros((1, 2, 7), np.float32)
    logits[0, :, 4] = 9  # the space
    (one,) = Case(features, logits, 30, 20, True).decoded()
    assert texts(one) == [("가", 9.0), ("나", 9.0), ("가 나", 0.0), ("", 0.0)]
    assert one.null_odds == -9.0


def test_answers_of_a_tokenizer(tmp_path: Path):
    """Real tokens: a piece of a word is sliced out of the context, and a space within stays as it is."""
    context = "《가나》는\u3000 다라 ?"
    questions = asked([context], (0, "마 ?"))
    tokenizer = wordpiece()
    features = build_question_features(questions, tokenizer, WIDE, tmp_path)
    tokens = tokenizer.convert_ids_to_tokens(features.contexts.row("input_ids", 0))
    assert len(features) == 1 and tokens[1:3] == ["가", "##나"]
    logits = np.zeros((1, 2, features.lengths[0]), np.float32)
    at = int(features.context_positions(np.array([0]))[0])
    logits[0, 0, at + 2], logits[0, 1, at + len(tokens) - 2] = 5, 5
    (one,) = Case(features, logits, 30, 20, False).decoded()
    assert one.answer_if_any == context[2 : context.index("라") + 1]


# --------------------------------------------------------------------------------------------------------------------
# Memory and time
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.seconds
def test_memory_does_not_grow_with_the_windows():
    """What stays of 1,573 windows is what stays of one: 20 spans."""
    logits = np.random.default_rng(0).normal(size=(32, 2, 512)).astype(np.float32)
    kept, sizes = [], []
    for tokens, windows in ((10, 1), (200_000, 1_573)):
        features = cut([tokens], [(0, 60)], Lengths(512, 127, 64))
        assert len(features) == windows
        decoder = Decoder(features, 30, 20, True)
        batches = [np.arange(at, min(at + 32, windows)) for at in range(0, windows, 32)]
        decoder.add(batches[-1], logits[: len(batches[-1])])
        tracemalloc.start()
        for batch in batches[:-1]:
            decoder.add(batch, logits)
        gc.collect()
        kept.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        sizes.append(decoder.null.nbytes + sum(array.nbytes for array in vars(decoder.best).values()))
    assert kept[1] < 20_000  # a byte for every ten tokens would be as much
    assert sizes[0] == sizes[1] < 2_000


@pytest.mark.seconds
def test_a_context_of_a_million_tokens():
    logits = np.random.default_rng(0).normal(size=(32, 2, 512)).astype(np.float32)
    logits[:, :, 0] = 99
    of_size = {size: cut([size], [(0, 60)], Lengths(512, 127, 64)) for size in (50_000, 1_000_000)}

    def decoded(size: int) -> Decoded:
        features = of_size[size]
        decoder = Decoder(features, 30, 20, True)
        for at in range(0, len(features), 32):
            decoder.add(np.arange(at, min(at + 32, len(features))), logits[: len(features) - at])
        (one,) = decoder.answers()
        return one

    expect_linear(decoded, 50_000)
    one = decoded(1_000_000)
    assert one.best[0] == Answer("", 198.0, 99.0, 99.0, 1.0) and one.answer_if_any


# --------------------------------------------------------------------------------------------------------------------
# What is written
# --------------------------------------------------------------------------------------------------------------------


def predictions(threshold: float, with_null: bool = True) -> Predictions:
    """Of three questions about a word. "None" scores 2.5, the word 3, 1.75 and -6.5."""
    starts, settings = (1, -0.25, -8.5), {"with_null": with_null, "max_answer_length": 1}
    decoded = [one_window("서울'", [2, start], [0.5, 2], **settings) for start in starts]
    return Predictions(["가-0", "가-1", "가-2"], decoded, threshold)


@pytest.mark.parametrize(
    "threshold, answered",
    [(0.0, 1), (-0.5, 1), (-0.51, 0), (0.74, 1), (0.75, 2), (9.0, 3), (math.inf, 3), (-math.inf, 0)],
)
def test_thresholds(threshold: float, answered: int):
    """ "None" is the answer where its odds are above the threshold."""
    made = predictions(threshold)
    assert made.answers == dict(zip(made.ids, ["서울'"] * answered + [""] * (3 - answered), strict=True))
    assert made.answers_if_any == dict.fromkeys(made.ids, "서울'")
    assert made.null_odds == {"가-0": -0.5, "가-1": 0.75, "가-2": 9.0}


def test_files():
    files = predictions(0.0).files()
    content = {name: json.loads(text) for name, text in files.items()}
    assert list(content) == ["predictions.json", "nbest_predictions.json", "null_odds.json"]
    assert content["predictions.json"] == {"가-0": "서울'", "가-1": "", "가-2": ""}
    assert content["null_odds.json"] == {"가-0": -0.5, "가-1": 0.75, "가-2": 9.0}
    word, none = content["nbest_predictions.json"]["가-0"]
    share = 1 / (1 + math.exp(-0.5))
    assert word == {
        "text": "서울'", "score": 3.0, "start_logit": 1.0, "end_logit": 2.0, "probability": pytest.approx(share),
    }  # fmt: skip
    assert none == {
        "text": "", "score": 2.5, "start_logit": 2.0, "end_logit": 0.5, "probability": pytest.approx(1 - share),
    }  # fmt: skip
    assert [answer["text"] for answer in content["nbest_predictions.json"]["가-1"]] == ["", "서울'"]
    assert files["predictions.json"] == '{\n  "가-0": "서울\'",\n  "가-1": "",\n  "가-2": ""\n}\n'


def test_files_where_every_question_has_an_answer():
    made = predictions(0.0, with_null=False)
    assert list(made.files()) == ["predictions.json", "nbest_predictions.json"]
    assert made.answers == made.answers_if_any == json.loads(made.files()["predictions.json"])
    assert made.null_odds == {}
