"""Scores of answers against values computed by hand, and thresholds against all there are."""

import itertools
import math
import random
import string
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from growth import expect_linear
from processors.qa.answer_scores import (
    best,
    best_or_none,
    best_thresholds,
    exact_match,
    f1,
    normalize,
    score,
    score_with_unanswerable,
)

# Few characters, so that texts have some in common; symbols, punctuation, all sorts of white space, and capitals.
TEXTS = st.text(alphabet="가나다A a1\t\n\u3000'\"《》<>〈〉()‘’“”.,-%·ΑΣİ", max_size=12)
NUMBERS = st.one_of(
    st.integers(-3, 3).map(float),  # many ties
    st.floats(allow_nan=False),  # subnormal, infinite, the largest there are
)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("  서울  특별시\n", "서울 특별시"),
        ("《훈민정음》", "훈민정음"),
        ("〈아리랑〉과 <진도>", "아리랑 과 진도"),
        ("'가'나", "가 나"),  # a symbol separates, it does not vanish
        ("‘가’나", "가 나"),
        ('"가"나', "가 나"),
        ("“가”나", "“가”나"),  # curly double quotes are no symbols, nor punctuation of ASCII
        ("「가」『나』·다（라）…", "「가」『나』·다（라）…"),
        ("서울(Seoul)시", "서울 seoul 시"),
        ("1,000.5%", "10005"),  # other punctuation vanishes
        ("가-나", "가나"),
        ("가 - 나", "가 나"),  # and its two spaces become one
        ("가_나[다]{라}/마", "가나다라마"),
        ("it's", "it s"),
        ("KBS 1TV", "kbs 1tv"),
        ("가\u00a0나\u3000다", "가 나 다"),  # no-break and ideographic space
        ("가\u200b나", "가\u200b나"),  # the zero-width one is no white space
        ("'\"《》<>〈〉()‘’", ""),
        (string.punctuation, ""),
        ("", ""),
        # Lower case comes after the symbols and before the punctuation, and Σ looks at its surroundings: an apostrophe
        # would not end the word (σ), the space in its place does (ς); a hyphen ends it before it vanishes.
        ("ΑΣ'Α", "ας α"),
        ("ΑΣ-Α", "αςα"),
    ],
)
def test_normalize(text: str, expected: str):
    assert normalize(text) == expected


def test_each_symbol_separates_and_all_other_ascii_punctuation_joins():
    separating = set("'\"<>()")
    for character in string.punctuation:
        assert normalize(f"가{character}나") == ("가 나" if character in separating else "가나"), character
    for code in (0x300A, 0x300B, 0x3008, 0x3009, 0x2018, 0x2019):
        assert normalize(f"가{chr(code)}나") == "가 나", hex(code)
    for code in (0x201C, 0x201D, 0x2329, 0x232A, 0x300C, 0x300D, 0xFF08, 0xFF1C, 0x00B7):
        assert normalize(f"가{chr(code)}나") == f"가{chr(code)}나", hex(code)


def one_character_after_the_other(text: str) -> str:
    spaced = "".join(" " if character in "'\"《》<>〈〉()‘’" else character for character in text).lower()
    kept = "".join(character for character in spaced if character not in string.punctuation)
    return " ".join(kept.split())


@given(st.one_of(TEXTS, st.text()))
def test_normalize_is_its_specification(text: str):
    assert normalize(text) == one_character_after_the_other(text)


@pytest.mark.parametrize(
    "prediction, gold, em, expected",
    [
        ("서울", "서울", 1, 1),
        ("서울에", "서울", 0, 4 / 5),  # 2 in common: 2 * 2 / (3 + 2)
        ("서울 특별시", "서울특별시", 0, 1),  # the space matters to EM, not to F1
        ("특별시서울", "서울특별시", 0, 1),  # nor does the order
        ("부산", "서울", 0, 0),
        ("대전", "대구", 0, 1 / 2),  # 1: 2 / (2 + 2)
        ("가가가", "가가나", 0, 2 / 3),  # min(3, 2) = 2: 4 / (3 + 3)
        ("가", "가가가가", 0, 2 / 5),  # min(1, 4) = 1: 2 / (1 + 4)
        ("《훈민정음》", "훈민정음", 1, 1),
        ("'훈민정음'은", "훈민정음", 0, 8 / 9),  # 훈민정음 은: 4 in common, 8 / (5 + 4)
        ("1,000명", "1000 명", 0, 1),  # 1000명 and 1000 명
        ("Naver", "NAVER", 1, 1),
        ("1989년 2월", "1989년 2월 15일", 0, 14 / 17),  # 1989년2월 and 1989년2월15일: 7, 14 / (7 + 10)
        ("", "서울", 0, 0),
        ("서울", "", 0, 0),
        ("", "", 1, 0),  # as the official script has it
        ("()", "'", 1, 0),
        (unicodedata.normalize("NFD", "가"), "가", 0, 0),
    ],
)
def test_exact_match_and_f1(prediction: str, gold: str, em: float, expected: float):
    assert exact_match(prediction, gold) == em
    assert f1(prediction, gold) == pytest.approx(expected, abs=1e-15)


@given(TEXTS, TEXTS)
def test_f1_is_bounded_symmetric_and_1_for_an_exact_match(a: str, b: str):
    assert 0 <= f1(a, b) <= 1
    assert f1(a, b) == f1(b, a)
    assert (f1(a, b) == 1) == (sorted(normalize(a).replace(" ", "")) == sorted(normalize(b).replace(" ", "")) != [])
    if exact_match(a, b):
        assert f1(a, b) == (1 if normalize(a) else 0)


@given(TEXTS, TEXTS)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(a: str, b: str):
    predicted, rest = list(normalize(a).replace(" ", "")), list(normalize(b).replace(" ", ""))
    gold_length, common = len(rest), 0
    for character in predicted:
        if character in rest:
            rest.remove(character)
            common += 1
    if common:
        precision, recall = common / len(predicted), common / gold_length
        assert f1(a, b) == pytest.approx(2 * precision * recall / (precision + recall))
    else:
        assert f1(a, b) == 0


def test_best_over_several_gold_answers():
    # EM: the second; F1 over 서울, 서울특별시, 한양: 2 * 2 / 7, 1, 0.
    assert best("서울특별시", ["서울", "서울특별시", "한양"]) == (1, 1)
    assert best("서울시", ["서울", "한양", "서울 특별시"]) == (0, pytest.approx(4 / 5))  # 4/5, 0, 6/8
    # Each by itself: EM from the one that is empty, F1 from the other.
    assert best("", ["()", "서울"]) == (1, 0)
    with pytest.raises(ValueError, match="no gold answer"):
        best("서울", [])


@pytest.mark.parametrize(
    "prediction, golds, expected",
    [
        ("", [], (1, 1)),
        ("()", [], (1, 1)),  # empty after normalisation
        ("서울", [], (0, 0)),
        ("", ["서울"], (0, 0)),
        ("", ["()"], (1, 1)),  # there is nothing else to answer
        ("", ["()", "서울"], (0, 0)),  # where "()" is dropped
        ("서울", ["()", "서울"], (1, 1)),
        ("서울에", ["부산", "서울"], (0, 4 / 5)),
    ],
)
def test_best_or_none(prediction: str, golds: list[str], expected: tuple[float, float]):
    assert best_or_none(prediction, golds) == pytest.approx(expected)


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_an_exact_match_has_f1_1_where_no_answer_counts(prediction: str, golds: list[str]):
    em, characters = best_or_none(prediction, golds)
    assert em in (0, 1) and 0 <= characters <= 1
    assert not em or characters == 1
    if normalize(prediction) and any(normalize(gold) for gold in golds):
        assert (em, characters) == best(prediction, golds)


def test_score():
    golds = {"a": ["서울", "서울특별시"], "b": ["대구"], "c": ["가가나"], "d": ("()",)}
    predictions = {"a": "서울", "b": "대전", "c": "가가가", "d": "", "unknown": "서울"}
    # EM 1, 0, 0, 1; F1 1, 1/2, 2/3, 0.
    assert score(predictions, golds) == pytest.approx({"em": 2 / 4, "f1": (1 + 1 / 2 + 2 / 3) / 4})
    # Without a prediction 0, which "" is not for d.
    del predictions["d"]
    assert score(predictions, golds) == pytest.approx({"em": 1 / 4, "f1": (1 + 1 / 2 + 2 / 3) / 4})
    assert score({}, golds) == {"em": 0, "f1": 0}


def test_another_normalisation_is_used_throughout():
    def without_spaces(text: str) -> str:
        return "".join(text.split())

    assert exact_match("서울 시", "서울시", without_spaces) == 1 > exact_match("서울 시", "서울시")
    assert f1("'가'", "가", without_spaces) == 2 / 4 < f1("'가'", "가")
    assert best("서울 시", ["서울시"], without_spaces) == (1, 1)
    assert best_or_none("()", [], without_spaces) == (0, 0)
    predictions, golds = {"a": "서울 시", "b": "()"}, {"a": ["서울시"], "b": []}
    assert score(predictions, {"a": ["서울시"]}, without_spaces) == {"em": 1, "f1": 1}
    scores = score_with_unanswerable(predictions, golds, {"a": -1, "b": 1}, predictions, without_spaces)
    assert (scores["has_ans_em"], scores["no_ans_em"], scores["best_em"]) == (1, 0, 1)


def test_score_with_unanswerable():
    golds = {"a": ["서울"], "b": ["대구"], "c": ["제주"], "x": [], "y": []}
    predictions = {"a": "서울에", "b": "대구", "c": "", "x": "", "y": "부산"}
    # EM 0, 1, 0 and 1, 0; F1 4/5, 1, 0 and 1, 0.
    assert score_with_unanswerable(predictions, golds) == pytest.approx(
        {
            "em": 2 / 5,
            "f1": (4 / 5 + 1 + 1) / 5,
            "has_ans_em": 1 / 3,
            "has_ans_f1": (4 / 5 + 1) / 3,
            "no_ans_em": 1 / 2,
            "no_ans_f1": 1 / 2,
        }
    )
    del predictions["x"]  # no prediction is not the prediction that there is no answer
    assert score_with_unanswerable(predictions, golds)["no_ans_em"] == 0


def test_a_kind_of_question_that_does_not_occur_has_no_score():
    assert score_with_unanswerable({"a": "서울"}, {"a": ["서울"]}) == {
        "em": 1,
        "f1": 1,
        "has_ans_em": 1,
        "has_ans_f1": 1,
    }
    assert score_with_unanswerable({"x": "서울"}, {"x": []}) == {"em": 0, "f1": 0, "no_ans_em": 0, "no_ans_f1": 0}


def test_where_all_questions_have_answers_both_scores_agree():
    golds = {"a": ["서울"], "b": ["대구", "대전"]}
    predictions = {"a": "서울에", "b": "대전"}
    v2 = score_with_unanswerable(predictions, golds)
    assert {name: v2[name] for name in ("em", "f1")} == score(predictions, golds)


def test_best_thresholds():
    golds = {"a": ["서울"], "b": ["대구"], "c": ["제주도"], "x": [], "y": []}
    answers = {"a": "서울", "b": "대전", "c": "제주", "x": "부산", "y": "광주"}
    odds = {"a": -4.0, "b": 2.0, "x": 3.0, "c": 5.0, "y": 6.0}
    # Answered up to:  none  a  b    x    c    y
    # EM (of 5)         2    3  3    2    2    1   so -4 <= t < 3: 0 is among them
    # F1 (of 5)         2    3  3.5  2.5  3.3  2.3 so 2 <= t < 3; c has F1 2 * 2 / (2 + 3)
    assert best_thresholds(answers, odds, golds) == pytest.approx(
        {"best_em": 3 / 5, "best_em_threshold": 0.0, "best_f1": 3.5 / 5, "best_f1_threshold": 2.5}
    )
    # A better c brings F1 to 3.5 - 1 + 1 = 3.5 again, with t from 5 to 6: the one nearest 0 stays.
    assert best_thresholds(answers | {"c": "도제주"}, odds, golds)["best_f1_threshold"] == 2.5


@pytest.mark.parametrize(
    "answered, unanswerable, expected",
    [
        # odds of questions that should be answered, of those that should not, threshold
        ([], [-2.2], -3.0),  # -3.2 rounded
        ([], [-2.2, 5.0], -3.0),
        ([3.7], [], 5.0),  # 4.7 rounded
        ([-5.0], [3.0], 0.0),
        ([-5.0, 0.0], [3.0], 0.0),  # 0 > 0 is false: it is answered
        ([-5.0], [0.0], -2.0),  # 0 itself will not do; -2.5 rounds to even
        ([1.25], [1.5], 1.4),  # 1.375 rounded
        ([-1.001], [-1.0], -1.0005),
        ([1.0], [math.nextafter(1, 2)], 1.0),  # there is nothing in between, and 1 > 1 is false
        ([], [math.inf], 0.0),
        ([-math.inf], [math.inf], 0.0),
        ([-math.inf], [-7.0], -8.0),
        ([1e308], [math.inf], 1e308),
        ([], [-1e308], math.nextafter(-1e308, -math.inf)),
    ],
)
def test_which_threshold_it_is(answered: list[float], unanswerable: list[float], expected: float):
    golds = {f"a{i}": ["서울"] for i in range(len(answered))} | {f"x{i}": [] for i in range(len(unanswerable))}
    odds = dict(zip(golds, answered + unanswerable, strict=True))
    result = best_thresholds(dict.fromkeys(golds, "서울"), odds, golds)
    assert result == {"best_em": 1, "best_em_threshold": expected, "best_f1": 1, "best_f1_threshold": expected}


@pytest.mark.parametrize("odds", [-math.inf, -sys.float_info.max])
def test_what_no_finite_threshold_reaches_is_not_promised(odds: float):
    result = best_thresholds({"x": "서울"}, {"x": odds}, {"x": []})
    assert result == {"best_em": 0, "best_em_threshold": 0, "best_f1": 0, "best_f1_threshold": 0}


def test_equal_odds_are_answered_together():
    golds, odds = {"a": ["서울"], "b": ["대구"], "x": []}, {"a": 1.0, "b": 1.0, "x": 1.0}
    # Apart, all three could be right. As it is: t < 1 gets x (1/3), t >= 1 gets a and b (2/3).
    result = best_thresholds({"a": "서울", "b": "대구", "x": "부산"}, odds, golds)
    assert result == pytest.approx(
        {"best_em": 2 / 3, "best_em_threshold": 2.0, "best_f1": 2 / 3, "best_f1_threshold": 2.0}
    )


def test_of_two_equally_near_thresholds_the_upper_one():
    # Answered up to: none 1, a 2, x 1, b 2, y 1. Best for -2 <= t < -1 and for 1 <= t < 2.
    golds = {"a": ["서울"], "x": [], "b": ["대구"], "y": []}
    odds = dict(zip(golds, (-2.0, -1.0, 1.0, 2.0), strict=True))
    result = best_thresholds({"a": "서울", "x": "부산", "b": "대구", "y": "광주"}, odds, golds)
    assert (result["best_em"], result["best_em_threshold"]) == (3 / 4, 1.5)


@pytest.mark.parametrize("count", [5, 10, 15, 20])
def test_rounding_does_not_decide_between_equal_scores(count: int):
    # So many F1s of 2 * 1 / (4 + 6) = 1/5 are worth as much as the count / 5 unanswerable questions given up for them,
    # but added up in floating point some of these sums come out a little smaller.
    golds = {f"a{i}": ["가나다라"] for i in range(count)} | {f"x{i}": [] for i in range(count // 5)}
    odds = {id: -20.0 - (10 if id.startswith("x") else 0) for id in golds}
    result = best_thresholds(dict.fromkeys(golds, "가마바사아자"), odds, golds)
    assert result["best_f1"] == pytest.approx(count / 5 / len(golds))
    assert result["best_f1_threshold"] == 0.0  # all answered; none would be at -31


QUESTIONS = st.lists(
    st.tuples(st.lists(st.sampled_from(["서울", "서울시", "()", "가나"]), max_size=2), TEXTS, NUMBERS),
    min_size=1,
    max_size=8,
)


@given(QUESTIONS)
def test_best_thresholds_are_the_best_of_all(questions: list[tuple[list[str], str, float]]):
    golds = {str(i): question[0] for i, question in enumerate(questions)}
    answers = {str(i): question[1] for i, question in enumerate(questions)}
    odds = {str(i): question[2] for i, question in enumerate(questions)}

    def scores_at(threshold: float) -> dict[str, float]:
        return score_with_unanswerable(
            {id: "" if odds[id] > threshold else answers[id] for id in golds}, golds, normalize=normalize
        )

    result = best_thresholds(answers, odds, golds)
    every = {0.0, *(neighbour for o in odds.values() for neighbour in (o, math.nextafter(o, -math.inf)))}
    at = {threshold: scores_at(threshold) for threshold in every if math.isfinite(threshold)}
    for name in ("em", "f1"):
        threshold = result[f"best_{name}_threshold"]
        assert math.isfinite(threshold)
        assert threshold == float(repr(threshold))
        assert scores_at(threshold)[name] == result[f"best_{name}"]  # that very score
        highest = max(scores[name] for scores in at.values())
        assert result[f"best_{name}"] == pytest.approx(highest, abs=1e-12)
        # If 0 will do, it is 0; else nothing as good lies on the way from 0 to the interval that was chosen.
        if at[0.0][name] >= highest - 1e-12:
            assert threshold == 0.0
        reachable = [t for t, scores in at.items() if scores[name] >= highest - 1e-12]
        same = [t for t in reachable if {i for i in odds if odds[i] > t} == {i for i in odds if odds[i] > threshold}]
        assert min(map(abs, same)) == min(map(abs, reachable))

    # What comes first has no say, not even in the last digit.
    for order in itertools.islice(itertools.permutations(golds), 1, 4):
        assert best_thresholds(answers, odds, {id: golds[id] for id in order}) == result
    everything = score_with_unanswerable(answers, golds, odds, answers)
    assert {name: everything[name] for name in result} == result


@given(st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=2), TEXTS), min_size=1, max_size=8), st.randoms())
def test_the_order_of_questions_changes_no_digit(questions: list[tuple[list[str], str]], shuffle: random.Random):
    golds = {str(i): question[0] for i, question in enumerate(questions)}
    predictions = {str(i): question[1] for i, question in enumerate(questions)}
    shuffled = list(golds)
    shuffle.shuffle(shuffled)
    golds_shuffled = {id: golds[id][::-1] for id in shuffled}
    assert score(predictions, golds) == score(predictions, golds_shuffled)
    assert score_with_unanswerable(predictions, golds) == score_with_unanswerable(predictions, golds_shuffled)
    assert all(0 <= value <= 1 for value in score(predictions, golds).values())


def test_questions_without_a_prediction_count_at_no_threshold():
    golds = {"a": ["서울"], "x": [], "missing": [], "missing too": ["대구"]}
    result = best_thresholds({"a": "서울", "x": "부산"}, {"a": -1.0, "x": 1.0, "unknown": 0.0}, golds)
    assert result == {"best_em": 2 / 4, "best_em_threshold": 0.0, "best_f1": 2 / 4, "best_f1_threshold": 0.0}
    assert set(best_thresholds({}, {}, golds).values()) == {0.0}


@pytest.mark.parametrize("function", [score, score_with_unanswerable, lambda p, g: best_thresholds(p, {}, g)])
def test_what_cannot_be_scored(function):
    with pytest.raises(ValueError, match="no questions"):
        function({}, {})
    with pytest.raises(TypeError, match="'q1' are one string, '서울': give a list"):
        function({}, {"q1": "서울"})


def test_contradictions():
    golds = {"q1": ["서울"]}
    with pytest.raises(ValueError, match="'q2' has no gold answer: score_with_unanswerable"):
        score({"q2": ""}, {"q2": []})
    with pytest.raises(ValueError, match="null_odds and answers_if_any"):
        score_with_unanswerable({}, golds, null_odds={})
    with pytest.raises(ValueError, match="null_odds and answers_if_any"):
        score_with_unanswerable({}, golds, answers_if_any={})
    with pytest.raises(ValueError, match="'q1' is in best_answers only"):
        best_thresholds({"q1": "서울"}, {}, golds)
    with pytest.raises(ValueError, match="'q1' is in null_odds only"):
        best_thresholds({}, {"q1": 0.0}, golds)
    with pytest.raises(ValueError, match="null_odds of question 'q2' are not a number"):
        best_thresholds(
            {"q1": "서울", "q2": "부산"}, {"q1": 0.0, "q2": math.nan, "q3": math.nan}, golds | {"q2": ["부산"]}
        )


@pytest.mark.seconds
def test_time_grows_with_the_number_of_questions_only():
    def work(size: int) -> None:
        golds = {str(i): [f"{i}년 {i % 12}월"] if i % 3 else [] for i in range(size)}
        predictions = {id: f"{id}년" for id in golds}
        odds = {id: float(int(id) * 7919 % 1000) for id in golds}
        score_with_unanswerable(predictions, golds, odds, predictions)

    expect_linear(work, 3_000)
