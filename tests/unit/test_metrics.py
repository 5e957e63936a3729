"""Scores against values computed by hand."""

import math
import random
import warnings

import numpy as np
import pytest

from entity_counts import entities_of, figures
from processors import TASKS, TASKS_OF_SCRIPT
from processors.metrics import (
    METRICS,
    EntityScores,
    at_chance,
    entity_scores,
    loss_published_style,
    row_losses,
    score,
)
from workflows.character_tagging import labels_characters


def logits(predictions: list[int], classes: int) -> np.ndarray:
    """Outputs whose largest value is at the predicted class."""
    return np.eye(classes, dtype=np.float32)[predictions] * 3 - 1


# Class 1: 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
LABELS = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
BINARY = logits([1, 1, 1, 0, 0, 1, 0, 0, 0, 0], 2)


@pytest.mark.parametrize(
    "name, value",
    [
        ("accuracy", 7 / 10),
        ("precision", 3 / 4),
        ("recall", 3 / 5),
        ("f1", 2 * 3 / (2 * 3 + 1 + 2)),
        ("macro_f1", (6 / 9 + 8 / 11) / 2),  # class 0: 2 * 4 / (2 * 4 + 2 + 1)
        ("matthews_correlation", (3 * 4 - 1 * 2) / math.sqrt(4 * 5 * 5 * 6)),
    ],
)
def test_two_classes(name: str, value: float):
    assert METRICS[name](LABELS, BINARY) == pytest.approx(value)


def test_macro_f1_of_three_classes():
    # F1: class 0 has tp 2, fp 1, fn 0: 4/5; class 1 tp 1, fp 0, fn 2: 2/4; class 2 tp 1, fp 1, fn 0: 2/3.
    labels, predictions = np.array([0, 0, 1, 1, 1, 2]), [0, 0, 1, 0, 2, 2]
    assert score(("macro_f1", "accuracy"), labels, logits(predictions, 3)) == pytest.approx(
        {"macro_f1": (4 / 5 + 1 / 2 + 2 / 3) / 3, "accuracy": 4 / 6}
    )
    # Precision 2/3, 1/1, 1/2 and recall 2/2, 1/3, 1/1, as KoELECTRA printed them for hate speech.
    assert score(("macro_precision", "macro_recall"), labels, logits(predictions, 3)) == pytest.approx(
        {"macro_precision": (2 / 3 + 1 + 1 / 2) / 3, "macro_recall": (1 + 1 / 3 + 1) / 3}
    )
    # A class that neither occurs nor is predicted has no say.
    assert METRICS["macro_f1"](np.array([0, 0, 1]), logits([0, 0, 1], 3)) == 1.0


@pytest.mark.filterwarnings("error")
def test_one_class_only():
    labels, outputs = np.zeros(4, dtype=int), logits([0, 0, 0, 0], 2)
    names = ("accuracy", "f1", "precision", "recall", "matthews_correlation", "roc_auc", "macro_f1")
    assert [METRICS[name](labels, outputs) for name in names] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0]
    assert METRICS["roc_auc_published_style"](labels, outputs) == 0.5
    assert METRICS["f1"](np.ones(4, dtype=int), logits([1, 1, 1, 0], 2)) == pytest.approx(6 / 7)


def test_roc_auc():
    # Of the 2 x 3 pairs (positive, negative) four are in order, one is a tie, one is not: 4.5 / 6.
    margins, labels = [2.0, 0.0, 1.0, 0.0, -1.0], np.array([1, 1, 0, 0, 0])
    outputs = np.array([[5.0, 5.0 + margin] for margin in margins])
    assert METRICS["roc_auc"](labels, outputs) == pytest.approx(4.5 / 6)
    assert METRICS["roc_auc"](1 - labels, outputs) == pytest.approx(1.5 / 6)
    assert METRICS["roc_auc"](labels, np.zeros((5, 2))) == 0.5


def test_roc_auc_published_style_sees_classes_only():
    # Predicted 1 are 3 of 5 positives and 1 of 5 negatives: of 25 pairs 3 x 4 are in order, 3 x 1 and 2 x 4 are ties.
    assert METRICS["roc_auc_published_style"](LABELS, BINARY) == pytest.approx((12 + (3 + 8) / 2) / 25)
    surer = BINARY * np.arange(1, 11)[:, None]  # other logits, the same classes
    assert METRICS["roc_auc_published_style"](LABELS, surer) == METRICS["roc_auc_published_style"](LABELS, BINARY)
    assert METRICS["roc_auc"](LABELS, surer) != METRICS["roc_auc"](LABELS, BINARY)


def test_row_losses():
    outputs = np.array([[0.0, math.log(3)], [math.log(9), 0.0], [1000.0, 0.0]], dtype=np.float32)
    expected = [-math.log(3 / 4), -math.log(1 / 10), 1000.0]
    assert row_losses(np.array([1, 1, 1]), outputs, is_regression=False) == pytest.approx(expected, rel=1e-6)
    assert row_losses(np.array([1.0, 4.0]), np.array([[1.5], [2.0]]), is_regression=True) == pytest.approx([0.25, 4])


def test_the_published_loss_is_the_mean_of_the_batches_means():
    # Batches of two texts: (1 + 3) / 2, (2 + 2) / 2 and, alone in its batch, 9.
    assert loss_published_style(np.array([1.0, 3, 2, 2, 9]), np.ones(5), 2) == pytest.approx((2 + 2 + 9) / 3)
    # Sentences of 4, 1, 0 and 0 scored words: 10 / 5; the second batch has none.
    assert loss_published_style(np.array([6.0, 4, 0, 0]), np.array([4, 1, 0, 0]), 2) == pytest.approx(2)
    assert loss_published_style(np.zeros(3), np.zeros(3), 2) == 0


def test_correlations():
    labels, outputs = np.array([1.0, 2.0, 3.0, 4.0]), np.array([[1.0], [4.0], [9.0], [16.0]])
    assert METRICS["spearman"](labels, outputs) == pytest.approx(1.0)
    # Deviations -1.5 -0.5 0.5 1.5 and -6.5 -3.5 1.5 8.5: 25 / sqrt(5 * 129).
    assert METRICS["pearson"](labels, outputs) == pytest.approx(25 / math.sqrt(5 * 129))
    assert METRICS["pearson"](labels, 3 - 2 * labels[:, None]) == pytest.approx(-1.0)


def test_spearman_with_ties():
    # Equal values share the mean of their ranks: 1, 2.5, 2.5, 4 against 1.5, 1.5, 3, 4.
    labels, outputs = np.array([0.0, 2.5, 2.5, 5.0]), np.array([[1.0], [1.0], [2.0], [9.0]])
    deviations = (-1.5, 0, 0, 1.5), (-1, -1, 0.5, 1.5)
    covariance = sum(a * b for a, b in zip(*deviations, strict=True))
    norms = [sum(d * d for d in side) for side in deviations]
    assert METRICS["spearman"](labels, outputs) == pytest.approx(covariance / math.sqrt(norms[0] * norms[1]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize(
    "labels, outputs", [([1, 2, 3], [2, 2, 2]), ([2, 2, 2], [1, 2, 3]), ([1], [1]), ([1, 2, 3], [1, math.nan, 2])]
)
def test_a_correlation_that_is_not_defined_is_none(name: str, labels: list, outputs: list):
    assert METRICS[name](np.array(labels, dtype=float), np.array(outputs, dtype=float)[:, None]) == 0.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", [name for name in METRICS if name not in ("pearson", "spearman")])
def test_outputs_that_are_not_numbers_still_score(name: str):
    assert 0 <= METRICS[name](LABELS, np.full((10, 2), math.nan)) <= 0.5


def test_every_task_has_its_metrics():
    assert all(task.main_metric in task.metrics for task in TASKS.values())
    assert all(set(task.metrics) <= set(METRICS) for task in TASKS_OF_SCRIPT["run_seq_cls.py"])
    entity_metrics = entity_scores([["O"]], [["O"]], suffix=True).metrics
    of_words = [task for task in TASKS_OF_SCRIPT["run_ner.py"] if not labels_characters(task)]
    assert of_words and all(set(task.metrics) == set(entity_metrics) for task in of_words)


def test_main_metrics_are_the_originals():
    names = "nsmc kornli paws korsts question-pair hate-speech fake-news modu-sentiment naver-ner".split()
    assert {name: TASKS[name].main_metric for name in names} == {
        "nsmc": "accuracy",
        "kornli": "accuracy",
        "paws": "accuracy",
        "korsts": "spearman",
        "question-pair": "accuracy",
        "hate-speech": "macro_f1",
        "fake-news": "f1",
        "modu-sentiment": "macro_f1",
        "naver-ner": "f1",
    }


def rows(ones: int, of: int) -> np.ndarray:
    return np.array([1] * ones + [0] * (of - ones))


@pytest.mark.parametrize(
    "labels, predictions, expected",
    [
        (rows(50, 100), rows(100, 100), True),  # one class throughout
        (rows(50, 100), 1 - rows(50, 100), True),  # everything wrong
        (rows(50, 100), np.roll(rows(50, 100), 21), True),  # Matthews correlation 0.16: below 2 / sqrt(99) = 0.201
        (rows(50, 100), np.roll(rows(50, 100), 19), False),  # 0.24
        (rows(10, 100), np.roll(rows(10, 100), 3), False),  # 0.67, though accuracy is 0.94 where all zeros give 0.9
        (rows(10, 100), np.roll(rows(10, 100), 9), True),  # 0.0
        (rows(5000, 10_000), np.roll(rows(5000, 10_000), 2400), False),  # 0.04: above 0.02
        (rows(5000, 10_000), np.roll(rows(5000, 10_000), 2470), True),  # 0.012
        (rows(0, 10), rows(0, 10), False),  # there is nothing to be told apart
        (rows(0, 10), rows(10, 10), True),
    ],
)
def test_classes_at_chance(labels: np.ndarray, predictions: np.ndarray, expected: bool):
    assert at_chance(labels, logits(list(predictions), 2), is_regression=False) is expected


@pytest.mark.parametrize(
    "outputs, expected",
    [
        (np.zeros(101), True),
        (-np.arange(101), True),
        (np.arange(101), False),
        # Even rows before odd ones: squared distances sum to 85,850, and 1 - 6 * 85850 / (101^3 - 101) = 0.5.
        (np.arange(101) + 1000.0 * (np.arange(101) % 2), False),
        (np.tile([0.0, 1.0], 51)[:101], True),  # the same pair over and over
    ],
)
def test_scores_at_chance(outputs: np.ndarray, expected: bool):
    """Two standard errors of 101 rows are 2 / sqrt(100) = 0.2."""
    assert at_chance(np.arange(101.0), outputs[:, None].astype(float), is_regression=True) is expected


# --------------------------------------------------------------------------------------------------------------------
# Entities
# --------------------------------------------------------------------------------------------------------------------


def in_prefix_form(sentences: list[list[str]]) -> list[list[str]]:
    """`PER-B` to `B-PER`."""
    return [["-".join(reversed(label.split("-"))) for label in labels] for labels in sentences]


@pytest.mark.parametrize(
    "labels, predicted, right, found, there",
    [
        ("PER-B PER-I O LOC-B", "PER-B PER-I O LOC-B", 2, 2, 2),
        ("PER-B PER-I O LOC-B", "PER-B PER-B O LOC-B", 1, 3, 2),  # an entity of two words is not two of one
        ("PER-B PER-I O", "PER-B O O", 0, 1, 1),  # nor its first word
        ("PER-B O", "LOC-B O", 0, 1, 1),
        ("PER-B PER-I O", "PER-I PER-I O", 1, 1, 1),  # conlleval: an I without a B before it begins an entity
        ("PER-B LOC-B O", "PER-B LOC-I O", 2, 2, 2),  # and so does one of another type
        ("PER-B PER-I PER-I", "PER-B PER-I PER-B", 0, 2, 1),
        ("O O", "PER-B O", 0, 1, 0),
        ("PER-B O", "O O", 0, 0, 1),
        ("O O", "O O", 0, 0, 0),
        ("PER-B | PER-I", "PER-B | PER-I", 2, 2, 2),  # an entity ends with its sentence
        ("O PER-B | PER-I", "O PER-B | O", 1, 1, 2),
    ],
)
@pytest.mark.filterwarnings("error")
def test_entities(labels: str, predicted: str, right: int, found: int, there: int):
    sides = [[sentence.split() for sentence in side.split("|")] for side in (labels, predicted)]
    assert entity_scores(*sides, suffix=True).metrics == figures(right, found, there)
    assert entity_scores(*map(in_prefix_form, sides), suffix=False).metrics == figures(right, found, there)


@pytest.mark.filterwarnings("error")
def test_entities_of_each_type():
    labels = [["PER-B", "PER-I", "O", "LOC-B"], ["PER-B", "PER-B"], ["O", "DAT-B"]]
    predicted = [["PER-B", "PER-I", "O", "PER-B"], ["PER-B", "PER-I"], ["NUM-B", "DAT-B"]]
    scores = entity_scores(labels, predicted, suffix=True)
    assert scores.metrics == figures(2, 5, 5)
    types = scores.types
    assert types == {
        "DAT": figures(1, 1, 1) | {"support": 1},
        "LOC": figures(0, 0, 1) | {"support": 1},
        "NUM": figures(0, 1, 0) | {"support": 0},
        "PER": figures(1, 3, 3) | {"support": 3},
    }
    assert all(type(row["support"]) is int and type(row["f1"]) is float for row in types.values())
    assert entity_scores(in_prefix_form(labels), in_prefix_form(predicted), suffix=False) == scores
    assert list(scores.metrics) == ["f1", "precision", "recall"]
    assert scores.averages["micro"] == figures(2, 5, 5) | {"support": 5}
    # Means of the four types above, without weights; and weighted by 1, 1, 0 and 3 of the five entities.
    parts = {"precision": (1, 0, 0, 1 / 3), "recall": (1, 0, 0, 1 / 3), "f1": (1, 0, 0, 1 / 3)}
    macro = {key: sum(values) / 4 for key, values in parts.items()}
    weighted = {key: (values[0] + values[1] + 3 * values[3]) / 5 for key, values in parts.items()}
    assert scores.averages["macro"] == pytest.approx(macro | {"support": 5})
    assert scores.averages["weighted"] == pytest.approx(weighted | {"support": 5})


@pytest.mark.filterwarnings("error")
def test_nothing_to_be_found():
    for labels in ([["O", "O"], ["O"]], [["O"]], [[]], [[], ["O"]]):
        scores = entity_scores(labels, labels, suffix=True)
        nothing = {"f1": 0, "precision": 0, "recall": 0}
        assert (scores.metrics, scores.types) == (nothing, {})
        assert scores.averages == {name: nothing | {"support": 0} for name in ("micro", "macro", "weighted")}


@pytest.mark.parametrize("seed", range(30))
def test_entity_scores_are_those_of_seqeval_and_of_a_plain_count(seed: int):
    from seqeval.metrics import f1_score, precision_score, recall_score

    rng = random.Random(seed)
    names = ["O"] * rng.choice([1, 5, 20]) + [f"{name}-{part}" for name in ("PER", "LOC", "DAT") for part in "BI"]
    lengths = [rng.randrange(1, 12) for _ in range(rng.choice([1, 3, 40]))]
    labels = [rng.choices(names, k=length) for length in lengths]
    predicted = [[rng.choice([label, label, rng.choice(names)]) for label in one] for one in labels]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = entity_scores(labels, predicted, suffix=True)
    sides = [[entities_of(one) for one in side] for side in (labels, predicted)]

    def counted(name: str | None) -> tuple[int, int, int]:
        there, found = ([{e for e in one if name in (None, e[0])} for one in side] for side in sides)
        right = sum(len(a & b) for a, b in zip(there, found, strict=True))
        return right, sum(map(len, found)), sum(map(len, there))

    assert scores.metrics == figures(*counted(None))
    assert set(scores.types) == {name for side in sides for one in side for name, _, _ in one}
    for name, row in scores.types.items():
        assert row == figures(*counted(name)) | {"support": counted(name)[2]}
    expected = {
        name: function(labels, predicted, suffix=True, zero_division=0)
        for name, function in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score))
    }
    assert scores.metrics == pytest.approx(expected)
    assert_averages(scores)
    assert entity_scores(in_prefix_form(labels), in_prefix_form(predicted), suffix=False) == scores


def assert_averages(scores: EntityScores) -> None:
    """That the averages are the means of the types' rows: the macro one without weights, the other by support."""
    rows, total = scores.types.values(), sum(row["support"] for row in scores.types.values())
    for key in ("f1", "precision", "recall"):
        macro = sum(row[key] for row in rows) / len(rows) if rows else 0
        weighted = sum(row[key] * row["support"] for row in rows) / total if total else 0
        assert scores.averages["macro"][key] == pytest.approx(macro)
        assert scores.averages["weighted"][key] == pytest.approx(weighted)
    assert [row["support"] for row in scores.averages.values()] == [total] * 3
