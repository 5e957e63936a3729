"""Questions as windows, rows, owned tokens and gold spans, against plain references; each text is tokenized once."""

from __future__ import annotations

import functools
import random
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers
from transformers import PreTrainedTokenizer

from growth import expect_linear
from models.hanbert import build_hanbert_tokenizer
from models.kobert import build_kobert_tokenizer
from processors.qa import windows as qa_features
from processors.qa.answer_scores import normalize
from processors.qa.questions import words_at
from processors.qa.windows import (
    CHARACTERS_IN_BATCH,
    GoldSpans,
    Lengths,
    QuestionFeatures,
    _slices,
    _TextEncoder,
    build_question_features,
)
from processors.task import DataError
from small_questions import BERT, WIDE, asked, cut, owned_as_in_bert, windows_of
from small_tokenizers import (
    REAL,
    SYLLABLES,
    VOCABULARY,
    WORDS,
    compile_stand_in,
    kobert,
    needs_moran,
    roberta,
    sentences,
    texts,
    wordpiece,
    write_kobert,
)

pytestmark = pytest.mark.filterwarnings("ignore:Moran's dictionary")


def xlmr(splits_words_first: bool):
    """XLM-R's normalizer in small; its words keep the space before them as `▁`, or are split off first."""
    tokenizer = roberta()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    if splits_words_first:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        )
    return tokenizer


NATIVE = {
    "wordpiece": wordpiece,
    "roberta": roberta,
    "kobert's form": kobert,
    "xlm-r, spaces": lambda: xlmr(False),
    "xlm-r, words": lambda: xlmr(True),
}


@pytest.fixture(scope="module", autouse=True)
def one_fingerprint_a_tokenizer():
    """HanBERT's takes half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qa_features, "tokenizer_fingerprint", functools.cache(qa_features.tokenizer_fingerprint))
        yield


@pytest.fixture(scope="module")
def bert():
    return wordpiece()


@pytest.fixture(scope="module", params=[*NATIVE, "kobert", "stand-in", pytest.param("moran", marks=needs_moran)])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    if request.param in NATIVE:
        return NATIVE[request.param]()
    return of_python_or_kobert(request.param, tmp_path_factory.mktemp(request.param))


def of_python_or_kobert(name: str, folder: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HANBERT_MORAN", raising=False)
        if name == "kobert":
            write_kobert(folder, sentences(2000), 400)
            return build_kobert_tokenizer(folder)
        if name == "moran":
            return build_hanbert_tokenizer(REAL, REAL)
        compile_stand_in(folder)
        (folder / "vocab_54k.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
        return build_hanbert_tokenizer(folder, folder)


def plain(tokenizer, text: str) -> list[int]:
    return tokenizer([text], add_special_tokens=False, verbose=False)["input_ids"][0]


def words(count: int, seed: int) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choices([*WORDS, "?", "가나다라마", "친구를", "나는", "했다"], k=count))


@st.composite
def many_cuts(draw: st.DrawFn) -> tuple[QuestionFeatures, Lengths]:
    """Windows of any lengths that `Lengths.check` takes; each question has an answer of any characters."""
    max_query, room = draw(st.integers(1, 8)), draw(st.integers(2, 14))
    lengths = Lengths(room + max_query + BERT.count, draw(st.integers(1, room - 1)), max_query)
    lengths.check(BERT.count)
    contexts = draw(st.lists(st.integers(0, 60), min_size=1, max_size=3))
    query = st.tuples(st.integers(0, len(contexts) - 1), st.integers(0, 12))
    features = cut(contexts, draw(st.lists(query, min_size=1, max_size=4)), lengths)
    for question, context in enumerate(features.questions.context_of):
        if contexts[context] and draw(st.booleans()):
            start = draw(st.integers(0, 2 * contexts[context] - 1))
            answer = "가" * draw(st.integers(1, min(8, 2 * contexts[context] - start)))
            features.questions.spans[question] = (start, start + len(answer))
            features.questions.answers[question] = (answer,)
    return features, lengths


# --------------------------------------------------------------------------------------------------------------------
# Windows
# --------------------------------------------------------------------------------------------------------------------


def windows_of_the_original(tokens: int, query: int, lengths: Lengths) -> list[tuple[int, int]]:
    """Start and length of each, as squad_convert_example_to_features of transformers 2 goes about it: what a window
    does not hold, and the overlap before it, is handed on to the next one.
    """
    windows: list[tuple[int, int]] = []
    rest = list(range(tokens))
    room = lengths.max_seq_length - min(query, lengths.max_query_length) - BERT.count
    while len(windows) * lengths.doc_stride < tokens:
        windows.append((rest[0], min(len(rest), room)))
        removed = len(rest) - room
        if removed <= 0:
            break
        rest = rest[-(room - lengths.doc_stride + removed) :]
    return windows or [(0, 0)]  # of a context without tokens the original has none


@settings(max_examples=300, deadline=None)
@given(drawn=many_cuts())
def test_windows_are_those_of_the_original(drawn: tuple[QuestionFeatures, Lengths]):
    features, lengths = drawn
    expected = []
    for question, context in enumerate(features.questions.context_of):
        tokens, query = features.contexts.counts[context], features.queries.counts[question]
        windows = windows_of_the_original(tokens, query, lengths)
        assert windows_of(features, question) == windows
        assert {token for start, length in windows for token in range(start, start + length)} == set(range(tokens))
        expected += [(question, BERT.count + min(query, lengths.max_query_length) + length) for _, length in windows]
    assert list(zip(features.question.tolist(), features.lengths.tolist(), strict=True)) == expected
    assert max(features.lengths) <= lengths.max_seq_length and len(features) == len(expected)
    assert features.cut_questions == sum(size > lengths.max_query_length for size in features.queries.counts)


def test_windows_by_hand():
    # 20 tokens a row, 3 of them special; questions of 4 and of 9, cut to 5: 13 and 12 are left for the context.
    features = cut([30, 13, 0], [(0, 4), (0, 9), (1, 4), (1, 5), (2, 1)], Lengths(20, 8, 5))
    assert windows_of(features, 0) == [(0, 13), (8, 13), (16, 13), (24, 6)]
    assert windows_of(features, 1) == [(0, 12), (8, 12), (16, 12), (24, 6)]
    assert windows_of(features, 2) == [(0, 13)]
    assert windows_of(features, 3) == [(0, 12), (8, 5)]
    assert windows_of(features, 4) == [(0, 0)]
    assert features.lengths.tolist() == [20, 20, 20, 13, 20, 20, 20, 14, 20, 20, 13, 4]
    assert (features.query_lengths.tolist(), features.cut_questions) == ([4, 5, 4, 5, 1], 1)


@pytest.mark.parametrize(
    "lengths, what",
    [
        (Lengths(27, 1, 24), "max_seq_length 27 leaves no room for a context beside max_query_length 24 and 3 special"),
        (Lengths(5, 1, 24), "max_seq_length 5 leaves no room for a context beside max_query_length 24 and 3 special"),
        (
            Lengths(64, 37, 24),
            "doc_stride 37 must be smaller than the 37 tokens that max_seq_length 64 leaves for a context beside "
            "max_query_length 24: an answer between two windows would be in neither",
        ),
        (Lengths(64, 38, 24), "doc_stride 38 must be smaller than the 37 tokens"),
        (Lengths(28, 1, 24), "doc_stride 1 must be smaller than the 1 tokens"),
    ],
)
def test_lengths_that_do_not_go_together(lengths: Lengths, what: str, bert, tmp_path: Path):
    with pytest.raises(DataError) as error:
        build_question_features(asked(["가"], (0, "나")), bert, lengths, tmp_path)
    assert str(error.value).startswith(what) and list(tmp_path.iterdir()) == []  # before anything is tokenized


def test_lengths_that_just_go_together(bert, tmp_path: Path):
    questions = asked([" ".join("가" * 75)], (0, " ".join("나" * 30)))
    features = build_question_features(questions, bert, Lengths(64, 36, 24), tmp_path)
    assert windows_of(features, 0) == [(0, 37), (36, 37), (72, 3)]
    features = build_question_features(questions, bert, Lengths(29, 1, 24), tmp_path)
    assert windows_of(features, 0) == [(start, 2) for start in range(74)]


# --------------------------------------------------------------------------------------------------------------------
# Rows
# --------------------------------------------------------------------------------------------------------------------


def rows_of(features: QuestionFeatures) -> list[tuple[list[int], list[int]]]:
    """Ids and token types of every window, after a look at the padding."""
    batch = features.padded(np.arange(len(features)), pad_id=-7)
    assert batch["input_ids"].shape == (len(features), max(features.lengths))
    inside = np.arange(max(features.lengths)) < features.lengths[:, None]
    assert (batch["attention_mask"] == inside).all()
    assert (batch["input_ids"][~inside] == -7).all() and (batch["token_type_ids"][~inside] == 0).all()
    return [
        (ids[:length].tolist(), types[:length].tolist())
        for ids, types, length in zip(batch["input_ids"], batch["token_type_ids"], features.lengths, strict=True)
    ]


def test_a_pair_that_fits_is_what_the_tokenizer_makes_of_it(tokenizer, tmp_path: Path):
    contexts = ["가나 다라 ? 마바사", "나", "친구를 2가 [SEP] 했다", "\u200b", " 가가  다다\t\n나 ", "😀 中abcd."]
    questions = asked(contexts, *((i % 6, words(i % 5, seed=i) or "?") for i in range(30)))
    features = build_question_features(questions, tokenizer, Lengths(300, 64, 100), tmp_path)
    pairs = [questions.texts, [contexts[context] for context in questions.context_of]]
    expected = tokenizer(*pairs, return_token_type_ids=True)
    assert rows_of(features) == list(zip(expected["input_ids"], expected["token_type_ids"], strict=True))


@pytest.mark.parametrize("name", NATIVE)
def test_windows_are_those_of_transformers(name: str, tmp_path: Path):
    """Today's tokenizers cut windows, too; their `stride` is the overlap of two."""
    tokenizer, special = NATIVE[name](), 3 if name in ("wordpiece", "kobert's form") else 4
    contexts = [words(count, seed=count) for count in (1, 30, 31, 80)]
    questions = asked(contexts, *((i % 4, words(1 + i // 4, seed=i)) for i in range(12)))
    features = build_question_features(questions, tokenizer, WIDE, tmp_path)
    assert features.cut_questions == 0 and len(features) > 25
    expected = []
    for text, context in zip(questions.texts, questions.context_of, strict=True):
        room = WIDE.max_seq_length - special - len(plain(tokenizer, text))
        made = tokenizer(
            [text],
            [contexts[context]],
            truncation="only_second",
            max_length=WIDE.max_seq_length,
            stride=room - WIDE.doc_stride,
            return_overflowing_tokens=True,
        )
        expected += made["input_ids"]
    assert [ids for ids, _ in rows_of(features)] == expected


def test_rows_are_slices_between_special_tokens(tokenizer, tmp_path: Path):
    contexts = [words(count, seed=count) for count in (1, 40, 3)]
    questions = asked(contexts, *((i % 3, words(1 + 4 * i, seed=i)) for i in range(9)))
    features = build_question_features(questions, tokenizer, WIDE, tmp_path)
    assert features.cut_questions > 2
    cls, sep = [tokenizer.cls_token_id], [tokenizer.sep_token_id]
    is_roberta = tokenizer.cls_token == "<s>"
    expected = []
    for window, question in enumerate(features.question):
        query = plain(tokenizer, questions.texts[question])[: WIDE.max_query_length]
        start = features.start[window]
        context = plain(tokenizer, contexts[questions.context_of[question]])[start : start + features.length[window]]
        ids = [*cls, *query, *(sep * 2 if is_roberta else sep), *context, *sep]
        second = 0 if is_roberta else len(context) + 1
        expected.append((ids, [0] * (len(ids) - second) + [1] * second))
        assert features.context_positions(np.array([window]))[0] == len(ids) - 1 - len(context)
    assert rows_of(features) == expected
    assert len(features) == len(expected) > 9


def test_padded_by_hand(bert, tmp_path: Path):
    """가 is 5, 나 6, 다 7, 라 8, 마 9."""
    questions = asked(["가 나 다 라 마", "나"], (0, "다 ?"), (1, "마"))
    features = build_question_features(questions, bert, Lengths(8, 2, 2), tmp_path)
    batch = features.padded(np.array([1, 2]), pad_id=0)
    assert {name: array.tolist() for name, array in batch.items()} == {
        "input_ids": [[2, 7, 1, 3, 7, 8, 9, 3], [2, 9, 3, 6, 3, 0, 0, 0]],
        "attention_mask": [[1] * 8, [1] * 5 + [0] * 3],
        "token_type_ids": [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0]],
    }
    assert all(array.dtype == np.int64 for array in batch.values())
    assert features.context_positions(np.array([1, 2, 0])).tolist() == [4, 3, 4]
    fixed = features.padded(np.array([2]), pad_id=9, length=7)
    assert fixed["input_ids"].tolist() == [[2, 9, 3, 6, 3, 9, 9]]
    assert fixed["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0, 0]]


def test_unknown_tokens_are_counted(bert, tmp_path: Path):
    questions = asked(["가 ? 나", "?"], (0, "? 가"), (0, "나"), (1, "다"))
    features = build_question_features(questions, bert, WIDE, tmp_path)
    assert features.unknown_share == 3 / (3 + 1 + 2 + 1 + 1)  # each context once


# --------------------------------------------------------------------------------------------------------------------
# Tokens and the windows that own them
# --------------------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(drawn=many_cuts(), seed=st.integers(0, 99))
def test_each_token_is_owned_by_the_window_with_most_context(drawn: tuple[QuestionFeatures, Lengths], seed: int):
    features, _ = drawn
    owned = []
    for question, context in enumerate(features.questions.context_of):
        owned += owned_as_in_bert(windows_of(features, question), features.contexts.counts[context])
    for windows in (np.arange(len(features)), np.random.default_rng(seed).permutation(len(features))[:5]):
        first, end = features.owned(windows)
        start = features.start[windows]
        got = [list(range(*part)) for part in zip(start + first, start + end, strict=True)]
        assert got == [owned[window] for window in windows]
        assert (0 <= first).all() and (end <= features.length[windows]).all()


@pytest.mark.parametrize("seed", range(12))
def test_owned_tokens_of_long_windows(seed: int):
    """A hundredth of its length is worth several tokens to a long window against a short last one."""
    rng = np.random.default_rng(seed)
    room, tokens = int(rng.integers(150, 450)), int(rng.integers(500, 2000))
    features = cut([tokens], [(0, 8)], Lengths(room + 8 + BERT.count, int(rng.integers(30, room)), 8))
    first, end = features.owned(np.arange(len(features)))
    got = [list(range(*part)) for part in zip(features.start + first, features.start + end, strict=True)]
    assert got == owned_as_in_bert(windows_of(features, 0), tokens)


def test_owned_tokens_by_hand():
    # Windows [0, 13), [8, 21), [16, 29), [24, 30): token 10 has 2 neighbours in both of the first; the first has it.
    # Token 26 has 2 in the third (13 long) and 2 in the fourth (6 long): the longer has it; 27 has 1 and 2.
    features = cut([30], [(0, 4)], Lengths(20, 8, 5))
    first, end = features.owned(np.arange(4))
    assert (features.start + first).tolist() == [0, 11, 19, 27]
    assert (features.start + end).tolist() == [11, 19, 27, 30]


def test_windows_of_other_questions_own_nothing():
    features = cut([5, 5], [(0, 1), (1, 1), (0, 2)], Lengths(20, 3, 5))
    assert [part.tolist() for part in features.owned(np.array([2, 0, 1]))] == [[0, 0, 0], [5, 5, 5]]


def test_a_batch_of_a_long_context_costs_no_more_than_its_windows():
    def owned(features: QuestionFeatures) -> list[tuple[np.ndarray, np.ndarray]]:
        return [features.owned(np.arange(at, min(at + 32, len(features)))) for at in range(0, len(features), 32)]

    of_size = {size: cut([size], [(0, 10)], Lengths(512, 128, 64)) for size in (50_000, 1_000_000)}
    expect_linear(lambda size: owned(of_size[size]), 50_000)
    features = of_size[1_000_000]
    parts = owned(features)
    first, end = (features.start + np.concatenate(part) for part in zip(*parts, strict=True))
    assert (first[0], end[-1]) == (0, 1_000_000) and (first[1:] == end[:-1]).all()


# --------------------------------------------------------------------------------------------------------------------
# Answers in tokens
# --------------------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(drawn=many_cuts())
def test_gold_spans_and_their_positions(drawn: tuple[QuestionFeatures, Lengths]):
    """Each token stands for two characters, so half of the spans cut through one."""
    features, _ = drawn
    gold = GoldSpans.of(features)
    inexact = []
    for question, (start, end) in enumerate(features.questions.spans):
        if start < 0:
            assert (gold.first[question], gold.last[question]) == (-1, -1)
            continue
        if start % 2 or end % 2:
            inexact.append(f"'q{question}'")
            start, end = words_at(features.questions.contexts[features.context_of[question]], start, end)
        assert (gold.first[question], gold.last[question]) == (start // 2, (end - 1) // 2)
    assert [message.split(":")[0] for message in gold.inexact] == inexact
    windows = np.random.default_rng(len(features)).permutation(len(features))
    expected = []
    for window in windows:
        question, start = features.question[window], features.start[window]
        held = range(start, start + features.length[window])
        first, last = gold.first[question], gold.last[question]
        before = 1 + features.query_lengths[question] + 1 - start
        expected.append([first + before, last + before] if first in held and last in held else [0, 0])
    assert gold.positions(features, windows).tolist() == expected


def test_positions_by_hand(bert, tmp_path: Path):
    context = "가 나 다 라 마 바"
    questions = asked([context], (0, "사", 4, "다 라"), (0, "사", 10, "바"), (0, "사"), (0, "사", 0, "가 나 다 라 마"))
    features = build_question_features(questions, bert, Lengths(8, 2, 1), tmp_path)
    assert windows_of(features, 0) == [(0, 4), (2, 4)]
    gold = GoldSpans.of(features)
    assert (gold.first.tolist(), gold.last.tolist(), gold.inexact) == ([2, 5, -1, 0], [3, 5, -1, 4], [])
    assert gold.in_no_window(features) == 1  # the last one: five tokens, in windows of four
    # [CLS] 사 [SEP] and then the window; [CLS] where an answer is not in it, or not all of it.
    positions = gold.positions(features, np.arange(8)).tolist()
    assert positions == [[5, 6], [3, 4], [0, 0], [6, 6], [0, 0], [0, 0], [0, 0], [0, 0]]
    assert gold.report() == ""


def test_answers_that_tokens_do_not_hold_exactly(bert, tmp_path: Path):
    """가라 and 가사 are words of the vocabulary."""
    assert bert.tokenize("가라 가사 가나 \u200b") == ["가라", "가사", "가", "##나"]
    questions = asked(
        ["가라 '가' 가나.", "\u200b 가"],
        (0, "?", 0, "가"), (0, "?", 0, "가라 '가'"), (0, "?", 1, "라 '가"), (0, "?", 8, "나"), (0, "?", 4, "가"),
        (1, "?", 0, "\u200b"), (1, "?", 0, "\u200b 가"),
    )  # fmt: skip
    gold = GoldSpans.of(build_question_features(questions, bert, WIDE, tmp_path))
    assert gold.inexact == [
        "'q0': '가라' for '가'",
        "'q2': \"가라 '가'\" for \"라 '가\"",
        "'q5': '' for '\\u200b'",
        "'q6': '가' for '\\u200b 가'",
    ]
    assert gold.report() == f"answers that tokens do not hold exactly: 4 ({'; '.join(gold.inexact)})"
    assert gold.first.tolist() == [0, 0, 0, 5, 2, -1, 0]  # 가라 ' 가 ' 가 ##나 .: the quotes are unknown, but there
    assert gold.last.tolist() == [0, 3, 3, 5, 2, -1, 0]
    many = GoldSpans(gold.first, gold.last, [f"'{i}'" for i in range(6)])
    assert many.report() == "answers that tokens do not hold exactly: 6 ('0'; '1'; '2'; '3'; '4', ...)"


def test_what_the_score_does_not_see_is_held_exactly(tmp_path: Path):
    """Unknown characters are one token, and question marks nothing to the score."""
    tokenizer = roberta()
    assert tokenizer.tokenize("가??나") == ["▁", "가", "??", "나"]
    questions = asked(["가??나"], (0, "?", 0, "가?"), (0, "?", 1, "?"), (0, "?", 2, "?나"))
    gold = GoldSpans.of(build_question_features(questions, tokenizer, WIDE, tmp_path))
    assert (gold.first.tolist(), gold.last.tolist(), gold.inexact) == ([0, 2, 2], [2, 2, 3], [])


def sharing_with(a: int, b: int, starts: list[int], ends: list[int]) -> list[int]:
    """The tokens that share a character with [a, b)."""
    return [i for i, (start, end) in enumerate(zip(starts, ends, strict=True)) if max(a, start) < min(b, end)]


@settings(max_examples=60, deadline=None)
@given(contexts=st.lists(texts.filter(str.strip), min_size=1, max_size=6), data=st.data())
def test_gold_tokens_share_a_character_with_the_answer_or_else_its_words(
    tokenizer, folder, contexts: list[str], data: st.DataObject
):
    spans = []
    for context in contexts:
        start = data.draw(st.integers(0, len(context) - 1))
        spans.append((start, data.draw(st.integers(start + 1, len(context)))))
    questions = asked(contexts, *((i, "?", a, contexts[i][a:b]) for i, (a, b) in enumerate(spans)))
    features = build_question_features(questions, tokenizer, WIDE, folder)
    gold = GoldSpans.of(features)
    for i, (context, (a, b)) in enumerate(zip(contexts, spans, strict=True)):
        ids, starts, ends = (features.contexts.row(name, i).tolist() for name in ("input_ids", "starts", "ends"))
        assert ids == plain(tokenizer, context)
        assert starts == sorted(starts) and ends == sorted(ends)  # what looking answers up relies on
        assert all(0 <= start <= end <= len(context) for start, end in zip(starts, ends, strict=True))
        sharing = sharing_with(a, b, starts, ends)
        held = context[starts[sharing[0]] : ends[sharing[-1]]] if sharing else ""
        if normalize(held) != normalize(context[a:b]):
            sharing = sharing_with(*words_at(context, a, b), starts, ends)
        assert (gold.first[i], gold.last[i]) == ((sharing[0], sharing[-1]) if sharing else (-1, -1))
        if sharing:
            assert features.text(i, sharing[0], sharing[-1]) == context[starts[sharing[0]] : ends[sharing[-1]]].strip()
        if tokenizer.is_fast and unicodedata.is_normalized("NFC", context):
            offsets = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
            assert offsets == list(zip(starts, ends, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_tokens_that_carry_the_space_before_them(tmp_path: Path):
    tokenizer = xlmr(False)
    context = "나 가다 라\n가다"
    assert tokenizer.tokenize(context) == ["▁", "나", "▁가다", "▁", "라", "\n", "가", "다"]
    questions = asked([context], (0, "?", 0, "나"), (0, "?", 2, "가다"), (0, "?", 5, "라"), (0, "?", 7, "가다"))
    features = build_question_features(questions, tokenizer, WIDE, tmp_path)
    assert features.contexts.row("starts", 0).tolist() == [0, 0, 1, 4, 5, 6, 7, 8]
    gold = GoldSpans.of(features)
    assert list(zip(gold.first.tolist(), gold.last.tolist(), strict=True)) == [(0, 1), (2, 2), (4, 4), (6, 7)]
    assert gold.inexact == []
    assert [features.text(0, *span) for span in ((2, 2), (1, 2), (3, 4), (4, 7), (3, 3))] == [
        "가다", "나 가다", "라", "라\n가다", "",
    ]  # fmt: skip


COMPOSING = ["xlm-r, spaces", "xlm-r, words", "kobert"]


@pytest.mark.parametrize("name", COMPOSING)
def test_decomposed_syllables_are_taken_whole(name: str, tmp_path: Path):
    """`tokenizers` would let a token of them end after the initial of its last one."""
    tokenizer = NATIVE[name]() if name in NATIVE else of_python_or_kobert(name, tmp_path / "model")
    composed = "나는 가나다라 친구를, 각각 영화를 봤다"
    context = unicodedata.normalize("NFD", composed)
    features = build_question_features(asked([context, composed], (0, "?"), (1, "?")), tokenizer, WIDE, tmp_path)
    ids = features.contexts.row("input_ids", 0).tolist()
    assert ids == plain(tokenizer, composed)
    for first in range(len(ids)):
        for last in range(first, len(ids)):
            whole = features.text(1, first, last)
            if tokenizer.convert_ids_to_tokens(ids[last]) != "▁":  # which is said to be the initial after it
                assert features.text(0, first, last) == unicodedata.normalize("NFD", whole)


@pytest.mark.parametrize("name", COMPOSING)
def test_decomposed_answers_are_held_exactly(name: str, tmp_path: Path):
    tokenizer = NATIVE[name]() if name in NATIVE else of_python_or_kobert(name, tmp_path / "model")
    parts = [unicodedata.normalize("NFD", word) for word in ("나는", "영화를", "봤다")]
    context = " ".join(parts)
    questions = asked([context], *((0, "?", context.index(part), part) for part in parts))
    features = build_question_features(questions, tokenizer, WIDE, tmp_path)
    gold = GoldSpans.of(features)
    assert gold.inexact == [] and (gold.first >= 0).all()
    assert [features.text(0, first, last) for first, last in zip(gold.first, gold.last, strict=True)] == parts


# --------------------------------------------------------------------------------------------------------------------
# Once only
# --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tokenized_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All texts that are given to a tokenizer, as they come."""
    seen: list[str] = []
    call = _TextEncoder.__call__

    def recording(self, texts: list[str]):
        seen.extend(texts)
        return call(self, texts)

    monkeypatch.setattr(_TextEncoder, "__call__", recording)
    return seen


def test_each_context_is_tokenized_once(tokenized_texts: list[str], bert, tmp_path: Path):
    contexts = [words(60, seed=1), words(90, seed=2)]
    rows = [(i % 2, f"{SYLLABLES[i]} ?") for i in range(8)]
    built = build_question_features(asked(contexts, *rows), bert, WIDE, tmp_path)
    assert len(built) > 20 and tokenized_texts == [*contexts, *(text for _, text in rows)]
    tokenized_texts.clear()
    for lengths in (WIDE, Lengths(100, 16, 24), Lengths(64, 30, 24), Lengths(64, 16, 12)):
        again = build_question_features(asked(contexts, *rows), wordpiece(), lengths, tmp_path)
        assert again.contexts.was_cached and again.queries.was_cached
        assert again.content == built.content
    # The answers are no part of it, nor which context a question is about.
    other = asked(contexts, *((0, text, 0, contexts[0][:2]) for _, text in rows))
    assert build_question_features(other, bert, WIDE, tmp_path).content == built.content
    assert tokenized_texts == []
    new = build_question_features(asked(contexts, (0, "새 질문")), bert, WIDE, tmp_path)
    assert tokenized_texts == ["새 질문"] and new.contexts.path == built.contexts.path
    assert len(list(tmp_path.iterdir())) == 3


def test_other_content_is_another_file(bert, tmp_path: Path):
    lower = wordpiece()
    lower.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    built = [
        build_question_features(questions, tokenizer, WIDE, tmp_path)
        for questions, tokenizer in (
            (asked(["가 나", "다"], (0, "라")), bert),
            (asked(["가 나", "다 "], (0, "라 ")), bert),
            (asked(["다", "가 나"], (0, "마")), bert),
            (asked(["라"], (0, "가 나"), (0, "다")), bert),  # contexts of one are questions of the other
            (asked(["가 나", "다"], (0, "라")), lower),
            (asked(["가 나", "다"], (0, "라")), kobert()),
        )
    ]
    tables = [table for features in built for table in (features.contexts, features.queries)]
    assert not any(table.was_cached for table in tables)
    assert len({table.path for table in tables}) == len(tables) == len(list(tmp_path.iterdir()))
    assert len({features.content for features in built}) == len(built)


@pytest.mark.seconds
def test_many_contexts_and_two_processes(tmp_path: Path):
    tokenizer = of_python_or_kobert("stand-in", tmp_path)
    count = 3 * CHARACTERS_IN_BATCH // 1000
    contexts = [f"친구를 2가 {'나는 ' * (i % 7)}{i}" + " 나" * (i % 1000) for i in range(count)]
    questions = asked(contexts, *((i, f"{'나 ' * (i % 3)}했다?") for i in range(len(contexts))))
    one = build_question_features(questions, tokenizer, WIDE, tmp_path / "one")
    two = build_question_features(questions, tokenizer, WIDE, tmp_path / "two", threads=2)
    for a, b in ((one.contexts, two.contexts), (one.queries, two.queries)):
        assert a.path.name == b.path.name and a.path.read_bytes() == b.path.read_bytes()
    assert len(one.contexts) == len(contexts)
    for i, context in enumerate(contexts):
        tokens, spans = tokenizer.tokenize_with_offsets(context)
        assert one.contexts.row("input_ids", i).tolist() == tokenizer.convert_tokens_to_ids(tokens)
        pairs = zip(one.contexts.row("starts", i).tolist(), one.contexts.row("ends", i).tolist(), strict=True)
        assert list(pairs) == spans


def test_texts_are_tokenized_some_characters_at_a_time():
    long = "가" * CHARACTERS_IN_BATCH
    half = "나" * (CHARACTERS_IN_BATCH // 2)
    texts = ["가", long, half, half, "다", "", "라"]
    assert list(_slices(texts)) == [["가"], [long], [half, half], ["다", "", "라"]]
    assert list(_slices([])) == [] and list(_slices([""])) == [[""]]


def test_a_tokenizer_that_cannot_tell_the_characters(tmp_path: Path):
    class Plain(PreTrainedTokenizer):
        vocab_size = 4

        def get_vocab(self) -> dict[str, int]:
            return {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "가": 3}

        def _tokenize(self, text: str, **kwargs) -> list[str]:
            return list(text)

        def _convert_token_to_id(self, token: str) -> int:
            return self.get_vocab().get(token, 0)

    tokenizer = Plain(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", special_tokens_pattern="cls_sep")
    with pytest.raises(
        DataError, match=r"^Plain cannot tell which characters a token stands for, and answers are found by them$"
    ):
        build_question_features(asked(["가"], (0, "가")), tokenizer, WIDE, tmp_path)
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------------------------
# The smallest and the longest
# --------------------------------------------------------------------------------------------------------------------


def test_a_context_without_tokens(bert, tmp_path: Path):
    questions = asked(["\u200b\x00", "가"], (0, "나 ?", 0, "\u200b"), (1, "\u200b", 0, "가"), (0, "\u200b"))
    features = build_question_features(questions, bert, WIDE, tmp_path)
    assert rows_of(features) == [
        ([2, 6, 1, 3, 3], [0, 0, 0, 0, 1]),
        ([2, 3, 5, 3], [0, 0, 1, 1]),
        ([2, 3, 3], [0, 0, 1]),
    ]
    everything = np.arange(3)
    assert [part.tolist() for part in features.owned(everything)] == [[0, 0, 0], [0, 1, 0]]
    assert [part.tolist() for part in features.owned(np.array([2, 0]))] == [[0, 0], [0, 0]]
    gold = GoldSpans.of(features)
    assert (gold.first.tolist(), gold.last.tolist()) == ([-1, 0, -1], [-1, 0, -1])
    assert gold.positions(features, everything).tolist() == [[0, 0], [2, 2], [0, 0]]
    alone = build_question_features(asked(["\u200b"], (0, "\u200b")), bert, WIDE, tmp_path)
    assert alone.unknown_share == 0 and len(alone) == 1  # no token at all


def test_a_context_of_one_character(tokenizer, tmp_path: Path):
    questions = asked(["나"], (0, "나", 0, "나"))
    features = build_question_features(questions, tokenizer, WIDE, tmp_path)
    gold = GoldSpans.of(features)
    assert gold.inexact == [] and features.text(0, gold.first[0], gold.last[0]) == "나"
    positions = gold.positions(features, np.array([0]))[0]
    ids = rows_of(features)[0][0]
    assert ids[positions[0] : positions[1] + 1] == plain(tokenizer, "나")


@pytest.mark.seconds
def test_a_context_of_a_million_characters(bert, tmp_path: Path):
    """333,333 times 가 ##나, and 다."""

    def build(words: int) -> tuple[QuestionFeatures, GoldSpans]:
        middle = round(words * 0.6) * 3
        context = "가나 " * words + "다"
        questions = asked([context], (0, "가", 3 * words, "다"), (0, "나 나", middle, "가나"))
        folder = Path(tempfile.mkdtemp(dir=tmp_path))  # nothing is found again
        features = build_question_features(questions, bert, Lengths(512, 128, 64), folder)
        gold = GoldSpans.of(features)
        windows = np.arange(0, len(features), 100)
        features.padded(windows, pad_id=0)
        features.owned(windows)
        return features, gold

    expect_linear(build, 16_667)
    features, gold = build(333_333)
    # 512 - 3 - 1 tokens in a window, or one less: 1 + (666,667 - 508) / 128, rounded up
    assert np.bincount(features.question).tolist() == [1 + 5205, 1 + 5205]
    assert (gold.first.tolist(), gold.last.tolist(), gold.inexact) == ([666_666, 400_000], [666_666, 400_001], [])
    last = int(features.first_window[1]) - 1
    assert features.start[last] == 5205 * 128 and features.length[last] == 666_667 - 5205 * 128
    assert gold.positions(features, np.array([last])).tolist() == [[3 + 666_666 - 5205 * 128] * 2]
