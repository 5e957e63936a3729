"""Scores against values computed by hand."""

import math

import numpy as np
import pytest

from processors import TASKS
from training.metrics import METRICS, at_chance, score


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
    # A class that neither occurs nor is predicted has no say.
    assert METRICS["macro_f1"](np.array([0, 0, 1]), logits([0, 0, 1], 3)) == 1.0


@pytest.mark.filterwarnings("error")
def test_one_class_only():
    labels, outputs = np.zeros(4, dtype=int), logits([0, 0, 0, 0], 2)
    names = ("accuracy", "f1", "precision", "recall", "matthews_correlation", "roc_auc", "macro_f1")
    assert [METRICS[name](labels, outputs) for name in names] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0]
    assert METRICS["f1"](np.ones(4, dtype=int), logits([1, 1, 1, 0], 2)) == pytest.approx(6 / 7)


def test_roc_auc():
    # Of the 2 x 3 pairs (positive, negative) four are in order, one is a tie, one is not: 4.5 / 6.
    margins, labels = [2.0, 0.0, 1.0, 0.0, -1.0], np.array([1, 1, 0, 0, 0])
    outputs = np.array([[5.0, 5.0 + margin] for margin in margins])
    assert METRICS["roc_auc"](labels, outputs) == pytest.approx(4.5 / 6)
    assert METRICS["roc_auc"](1 - labels, outputs) == pytest.approx(1.5 / 6)
    assert METRICS["roc_auc"](labels, np.zeros((5, 2))) == 0.5


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
    for task in TASKS.values():
        assert task.main_metric in task.metrics
        assert set(task.metrics) <= set(METRICS)
    assert {task.name: task.main_metric for task in TASKS.values()} == {
        "nsmc": "accuracy",
        "kornli": "accuracy",
        "paws": "accuracy",
        "korsts": "spearman",
        "question-pair": "accuracy",
        "hate-speech": "macro_f1",
        "fake-news": "f1",
        "modu-sentiment": "macro_f1",
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
