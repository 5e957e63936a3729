"""SQuAD's word-level figures against values computed by hand, and against transformers' formulas written anew."""

import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.qa.squad_scores import best_of_several, n_best_figures, squad_figures, words_of

TEXTS = st.lists(
    st.sampled_from(["가", "나", "다", "The", "a", "an", "a형", "1,000", "-", "'가'", "Seoul."]), max_size=4
).map(" ".join)


@pytest.mark.parametrize(
    "text, words",
    [
        ("서울  특별시\n", ["서울", "특별시"]),
        ("《서울》(Seoul)", ["《서울》seoul"]),  # KorQuAD's symbols are none here, and ASCII's vanish without a space
        ("The Beatles", ["beatles"]),
        ("A-ha", ["aha"]),  # the article goes after the punctuation
        ("a형 an the", ["a형"]),
        ("가.the.나", ["가the나"]),
        ("...", []),
    ],
)
def test_words(text: str, words: list[str]):
    assert words_of(text) == words


@pytest.mark.parametrize(
    "texts, golds, expected",
    [
        (["서울 특별시"], ["서울 특별시"], (1, 1)),
        (["서울 특별시"], ["서울특별시"], (0, 0)),  # words count, where KorQuAD's F1 over characters is 1
        (["서울 특별시 종로구"], ["서울 특별시"], (0, 2 * 2 / 5)),
        (["가 가 나"], ["가 나 나"], (0, 2 * 2 / 6)),  # as multisets
        (["다"], ["가", "다"], (1, 1)),
        (["가 나 다", "나"], ["나 다", "나"], (1, 1)),
        (["가 나 다", "나"], ["나 다"], (0, 2 * 2 / 5)),  # the better one of the two
        ([""], [], (1, 1)),
        (["가"], [], (0, 0)),
        ([""], ["가"], (0, 0)),
        (["the"], ["..."], (1, 1)),  # a gold answer without words counts as none
        (["가"], ["...", "가"], (1, 1)),
    ],
)
def test_best_of_several(texts: list[str], golds: list[str], expected: tuple[float, float]):
    assert best_of_several(texts, golds) == pytest.approx(expected)


def test_figures_by_hand():
    golds = {"a": ["서울 특별시"], "b": ["부산"], "c": [], "d": [], "e": ["가 나"]}
    predictions = {"a": "서울 특별시", "b": "서울", "c": "", "d": "부산", "e": "가 다"}
    # exact 1 0 1 0 0, F1 1 0 1 0 1/2. Prefixes begin with the 2 unanswerable ones, and add 1 0 0 -1 and 0 or 1/2.
    assert squad_figures(predictions, golds) == pytest.approx(
        {
            "squad_exact": 2 / 5,
            "squad_f1": 2.5 / 5,
            "squad_has_ans_exact": 1 / 3,
            "squad_has_ans_f1": 1.5 / 3,
            "squad_no_ans_exact": 1 / 2,
            "squad_no_ans_f1": 1 / 2,
            "squad_best_exact": 3 / 5,
            "squad_best_f1": 3 / 5,
        }
    )
    answered = {id: answers for id, answers in golds.items() if answers}
    assert not any("no_ans" in name for name in squad_figures(predictions, answered))
    with pytest.raises(KeyError):
        squad_figures({}, golds)


def test_n_best_by_hand():
    golds = {"a": ["서울 특별시"], "b": ["부산"], "c": ["가"]}
    n_best = {"a": ["서울", "특별시 서울", "서울 특별시"], "b": ["부산"], "c": []}
    assert n_best_figures(n_best, golds, (1, 2, 3)) == pytest.approx(
        {
            "squad_1_best_exact": 1 / 3,
            "squad_1_best_f1": (2 / 3 + 1) / 3,
            "squad_2_best_exact": 1 / 3,
            "squad_2_best_f1": 2 / 3,  # the words in another order are no exact match
            "squad_3_best_exact": 2 / 3,
            "squad_3_best_f1": 2 / 3,
        }
    )


# --------------------------------------------------------------------------------------------------------------------
# transformers' formulas, and KoSplinter's for the n best answers
# --------------------------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def plain_f1(gold: str, text: str) -> float:
    there, found = plain(gold).split(), plain(text).split()
    if not there or not found:
        return float(there == found)
    same = sum((Counter(there) & Counter(found)).values())
    precision, recall = same / len(found), same / len(there)
    return 2 * precision * recall / (precision + recall) if same else 0.0


def plain_scores(texts: list[str], golds: list[str]) -> tuple[float, float]:
    golds = [gold for gold in golds if plain(gold)] or [""]
    exact = max(plain(gold) == plain(text) for gold in golds for text in texts)
    return float(exact), max(plain_f1(gold, text) for gold in golds for text in texts)


def best_threshold(predictions: dict, scores: dict, golds: dict) -> float:
    """`find_best_thresh` with probabilities that are all 0, so that the questions keep their order."""
    best = current = sum(not answers for answers in golds.values())
    for id, answers in golds.items():
        current += scores[id] if answers else -1 if predictions[id] else 0
        best = max(best, current)
    return best / len(golds)


@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=3)), min_size=1, max_size=8))
def test_figures_are_those_of_transformers(questions: list[tuple[str, list[str]]]):
    predictions = {str(i): text for i, (text, _) in enumerate(questions)}
    golds = {str(i): answers for i, (_, answers) in enumerate(questions)}
    scores = {id: plain_scores([predictions[id]], golds[id]) for id in golds}
    expected = {}
    for kind, ids in (
        ("", list(golds)),
        ("has_ans_", [id for id in golds if golds[id]]),
        ("no_ans_", [id for id in golds if not golds[id]]),
    ):
        for i, name in enumerate(("exact", "f1") if ids else ()):
            expected[f"squad_{kind}{name}"] = sum(scores[id][i] for id in ids) / len(ids)
    for i, name in enumerate(("exact", "f1")):
        one = {id: pair[i] for id, pair in scores.items()}
        expected[f"squad_best_{name}"] = best_threshold(predictions, one, golds)
    assert squad_figures(predictions, golds) == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=6), st.lists(TEXTS, max_size=2)), min_size=1, max_size=5)
)
def test_n_best_are_those_of_kosplinter(questions: list[tuple[list[str], list[str]]]):
    n_best = {str(i): texts for i, (texts, _) in enumerate(questions)}
    golds = {str(i): answers for i, (_, answers) in enumerate(questions)}
    expected = {}
    for n in (1, 3, 5):
        scores = [plain_scores(n_best[id][:n], golds[id]) for id in golds]
        for i, name in enumerate(("exact", "f1")):
            expected[f"squad_{n}_best_{name}"] = sum(pair[i] for pair in scores) / len(scores)
    assert n_best_figures(n_best, golds, (1, 3, 5)) == pytest.approx(expected)
