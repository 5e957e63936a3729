"""KLUE's scores: hand-computed cases, and random ones against definitions written out here."""

import itertools
import math
import random

import numpy as np
import pytest
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from processors import TASKS
from processors.klue_scores import normalize_klue, rouge_w, tag_scores
from processors.metrics import METRICS
from processors.qa.klue_mrc import score_klue_mrc

LABELS = TASKS["klue-ner"].labels


def logits_of(predicted: list[int], classes: int) -> np.ndarray:
    return np.eye(classes)[predicted]


def f1_of(hits: int, predicted: int, gold: int) -> float:
    return 2 * hits / (predicted + gold) if predicted + gold else 0.0


# Similarity


def test_f1_at_3_counts_a_score_of_3():
    labels, predicted = np.array([3.0, 2.9, 5.0, 0.0]), np.array([[3.0], [3.1], [2.99], [0.0]])
    assert METRICS["f1_at_3"](labels, predicted) == 0.5  # one hit, one predicted in vain, one missed
    assert METRICS["f1_at_3"](labels - 3, predicted - 3) == 0


# Relations


def test_micro_f1_leaves_the_first_class_out():
    labels = np.array([0, 0, 1, 2, 2, 1])
    predicted = [0, 1, 1, 2, 0, 2]  # predicted 1, 1, 2, 2, of which two are right; there are four
    assert METRICS["micro_f1"](labels, logits_of(predicted, 3)) == 0.5
    assert METRICS["micro_f1"](labels * 0, logits_of([0] * 6, 3)) == 0


def test_micro_f1_of_random_rows():
    rng = random.Random(1)
    for _ in range(50):
        labels = [rng.randrange(5) for _ in range(40)]
        predicted = [rng.choice((label, rng.randrange(5))) for label in labels]
        hits = sum(a == b != 0 for a, b in zip(labels, predicted, strict=True))
        expected = f1_of(hits, 40 - predicted.count(0), 40 - labels.count(0))
        assert METRICS["micro_f1"](np.array(labels), logits_of(predicted, 5)) == pytest.approx(expected)


def area_by_hand(is_class: list[bool], scores: list[float]) -> float:
    """The area under the curve through (recall, precision) at each threshold, and (0, 1), by trapezoids."""
    points = [(0.0, 1.0)]
    for threshold in sorted(set(scores), reverse=True):
        chosen = [truth for truth, score in zip(is_class, scores, strict=True) if score >= threshold]
        points.append((sum(chosen) / sum(is_class), sum(chosen) / len(chosen)))
    return sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in itertools.pairwise(points))


def test_auprc_by_hand():
    # Class 1 has the rows with the probabilities 0.9 (its own), 0.8 (not) and 0.7 (its own).
    logits = np.log([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    area_1 = 0.5 * 1 + 0.5 * (1 / 2 + 2 / 3) / 2
    area_0 = 0.0 + 1.0 * (0 + 1 / 2) / 2 + 0.0  # its row comes second of three
    expected = (area_1 + area_by_hand([False, True, False], [0.1, 0.2, 0.3])) / 2
    assert area_by_hand([True, False, True], [0.9, 0.8, 0.7]) == pytest.approx(area_1)
    assert area_by_hand([False, True, False], [0.1, 0.2, 0.3]) == pytest.approx(area_0)
    assert METRICS["auprc"](np.array([1, 0, 1]), logits) == pytest.approx(expected)


def test_auprc_of_random_rows_is_the_mean_over_the_classes_that_occur():
    rng = np.random.default_rng(2)
    for _ in range(20):
        labels, logits = rng.integers(0, 6, 50), rng.normal(size=(50, 7)).round(1)
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        areas = [area_by_hand((labels == c).tolist(), chances[:, c].tolist()) for c in sorted(set(labels.tolist()))]
        assert METRICS["auprc"](labels, logits) == pytest.approx(sum(areas) / len(areas))


# Entities


def ids_of(labels: str) -> list[int]:
    return [LABELS.index(label) for label in labels.split()]


def entities_of(ids: list[int]) -> set[tuple[str, int, int]]:
    """Type, start and end of each B- with the I- of its type that follow."""
    names = [LABELS[id] for id in ids]
    found = set()
    for start, name in enumerate(names):
        if name.startswith("B-"):
            end = start + 1
            while end < len(names) and names[end] == f"I-{name[2:]}":
                end += 1
            found.add((name[2:], start, end))
    return found


def expected_tag_scores(golds: list[int], predicted: list[int]) -> tuple[float, float]:
    gold, found = entities_of(golds), entities_of(predicted)
    types = sorted({kind for kind, *_ in gold | found})
    of = {t: [{e for e in side if e[0] == t} for side in (gold, found)] for t in types}
    entities = [f1_of(len(a & b), len(b), len(a)) for a, b in of.values()]
    characters = []
    for id in range(len(LABELS)):
        hits = sum(a == b == id for a, b in zip(golds, predicted, strict=True))
        sizes = predicted.count(id), golds.count(id)
        characters.append(f1_of(hits, *sizes) if sum(sizes) else 1.0)
    return sum(entities) / len(entities) if entities else 0.0, sum(characters) / len(characters)


def test_tag_scores_by_hand():
    golds = ids_of("B-PS I-PS O B-LC I-LC O B-OG")
    predicted = ids_of("B-PS I-PS O B-LC O O I-OG")  # an I-OG without a B-OG is no entity
    scores = tag_scores(LABELS, golds, predicted)
    assert scores["entity_macro_f1"] == pytest.approx((1 + 0 + 0) / 3)
    # B-PS, I-PS, B-LC: 1; I-LC, B-OG, I-OG: 0; O: 2 of 3 predicted and 2 there; the six others occur nowhere.
    assert scores["character_macro_f1"] == pytest.approx((3 + 0 + 2 * 2 / (3 + 2) + 6) / 13)


def test_tag_scores_without_entities():
    assert tag_scores(LABELS, ids_of("O O"), ids_of("O O")) == {"entity_macro_f1": 0.0, "character_macro_f1": 1.0}


def test_tag_scores_of_random_characters():
    rng = random.Random(3)
    for _ in range(40):
        golds = [id for _ in range(12) for id in [rng.randrange(13)] * rng.randint(1, 3)]
        predicted = [id if rng.random() < 0.7 else rng.randrange(13) for id in golds]
        scores = tag_scores(LABELS, golds, predicted)
        assert tuple(scores.values()) == pytest.approx(expected_tag_scores(golds, predicted))
        # The call of KLUE-baseline.
        names = [[[LABELS[id] for id in ids]] for ids in (golds, predicted)]
        assert scores["entity_macro_f1"] == pytest.approx(
            f1_score(*names, average="macro", mode="strict", scheme=IOB2, zero_division=0)
        )


# Answers


def longest_common_run(a: str, b: str) -> int:
    return max((n for n in range(len(a) + 1) for i in range(len(a) - n + 1) if a[i : i + n] in b), default=0)


@pytest.mark.parametrize(
    "text, normalized",
    [("  서울 (Seoul),  시.", "서울 seoul 시"), ("1,000-가", "1000가"), ("《별》 ‘달’", "《별》 ‘달’"), ("...", "")],
)
def test_normalize(text: str, normalized: str):
    assert normalize_klue(text) == normalized


@pytest.mark.parametrize(
    "prediction, gold, score",
    [
        ("서울시", "서울", 2 * 2 / 5), ("부산", "서울", 0), ("", "서울", 0), ("", "", 1), ("가", "", 0),
        ("가나 다라", "나 다", 2 * 3 / 8), ("abcxabcd", "abcd", 2 * 4 / 12),
    ],
)  # fmt: skip
def test_rouge_w_by_hand(prediction: str, gold: str, score: float):
    assert rouge_w(prediction, gold) == pytest.approx(score)


def test_rouge_w_of_random_answers():
    rng = random.Random(4)
    for _ in range(300):
        a, b = ("".join(rng.choice("가나다 ") for _ in range(rng.randint(0, 12))) for _ in "ab")
        expected = float(not a) if not b else f1_of(longest_common_run(a, b), len(a), len(b))
        assert rouge_w(a, b) == pytest.approx(expected)


def test_frequent_characters_of_a_long_gold_answer_find_no_run():
    gold = "가나" * 100  # each of the two makes up more than 1 % of 200 characters
    assert rouge_w("나가나가", gold) == 0  # as in KLUE-baseline
    assert rouge_w("나가나가", gold[:-1]) == f1_of(4, 4, 199)


def test_scores_of_questions():
    golds = {"a": ("서울", "서울시"), "b": (), "c": (), "d": ("가 나.",)}
    predictions = {"a": "서울시는", "b": "", "c": "부산", "d": "가 나"}
    scores = score_klue_mrc(predictions, golds)
    assert scores["em"] == 0.5
    assert scores["rouge_w"] == pytest.approx((2 * 3 / 7 + 1 + 0 + 1) / 4)
    assert (scores["has_ans_em"], scores["no_ans_em"]) == (0.5, 0.5)
    assert math.isclose(score_klue_mrc({}, golds)["em"], 0.5)  # not answered is right twice


def test_an_answer_of_punctuation_only_is_none():
    assert score_klue_mrc({"a": "..."}, {"a": ()})["em"] == 1
    assert score_klue_mrc({"a": "", "b": "가"}, {"a": ("?",), "b": ("?",)})["em"] == 0.5


def test_klues_tasks_name_their_scores():
    names = {task.name: task.metrics for task in TASKS.values() if task.name.startswith("klue-")}
    assert names["klue-tc"] == ("macro_f1",) and names["klue-sts"] == ("pearson", "f1_at_3")
    assert names["klue-nli"] == ("accuracy",) and names["klue-re"] == ("micro_f1", "auprc")
    assert names["klue-mrc"] == ("em", "rouge_w", "f1")
    assert names["klue-ner"][:2] == ("character_macro_f1", "entity_macro_f1") and len(names) == 6
