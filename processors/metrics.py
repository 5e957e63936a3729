"""Scores: pure functions of labels and model outputs. scikit-learn and scipy are imported where they are used.

A function with `@metric` above it can be named in a task's `metrics`. It takes labels, `[N]` ids or scores, and
outputs, `[N, C]` logits or `[N, 1]` predicted scores, and returns one number.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]
METRICS: dict[str, Metric] = {}


def metric(function: Metric) -> Metric:
    """Puts a function into `METRICS`, under its own name. Raises ValueError where the name is taken."""
    if METRICS.setdefault(function.__name__, function) is not function:
        raise ValueError(f"two metrics are named {function.__name__}")
    return function


@metric
def accuracy(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Share of the rows whose largest logit is at their label."""
    return float((outputs.argmax(axis=1) == labels).mean())


@metric
def macro_f1(labels: np.ndarray, outputs: np.ndarray) -> float:
    """F1 of each class that occurs among labels or predictions, averaged without weights."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, outputs.argmax(axis=1), average="macro", zero_division=0))


@metric
def f1(labels: np.ndarray, outputs: np.ndarray) -> float:
    """F1 of class 1."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, outputs.argmax(axis=1), zero_division=0))


@metric
def precision(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Precision of class 1."""
    from sklearn.metrics import precision_score

    return float(precision_score(labels, outputs.argmax(axis=1), zero_division=0))


@metric
def recall(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Recall of class 1."""
    from sklearn.metrics import recall_score

    return float(recall_score(labels, outputs.argmax(axis=1), zero_division=0))


@metric
def matthews_correlation(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Matthews' correlation coefficient (Matthews, 1975); 0 where it is not defined."""
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():  # scikit-learn warns about a single class, where the value is 0
        warnings.simplefilter("ignore")
        return float(matthews_corrcoef(labels, outputs.argmax(axis=1)))


@metric
def roc_auc(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Area under the ROC curve of class 1; 0.5 where all labels are the same."""
    from sklearn.metrics import roc_auc_score

    if len(set(labels.tolist())) < 2:
        return 0.5
    return float(roc_auc_score(labels, np.nan_to_num(outputs[:, 1] - outputs[:, 0])))


@metric
def pearson(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Pearson's correlation of scores and predicted scores; 0 where it is not defined."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, labels, outputs)


@metric
def spearman(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Spearman's rank correlation of scores and predicted scores; 0 where it is not defined."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, labels, outputs)


def _correlation(function, labels: np.ndarray, outputs: np.ndarray) -> float:
    """0 where the correlation is undefined (a constant side, a single row), so that a dead run scores like chance."""
    if len(labels) < 2:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(function(labels, outputs[:, 0]).statistic)
    return value if math.isfinite(value) else 0.0


def score(names: tuple[str, ...], labels: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """The metrics `names`. labels: `[N]` ids or scores; outputs: `[N, C]` logits, or `[N, 1]` predicted scores."""
    return {name: METRICS[name](labels, outputs) for name in names}


def at_chance(labels: np.ndarray, outputs: np.ndarray, is_regression: bool) -> bool:
    """Whether the outputs are no better than guessing without the text; ELECTRA runs get stuck there now and then.

    That is where the association of labels and outputs is below two standard errors of no association,
    2 / sqrt(N - 1). The association is the Matthews correlation (0 where one class is always predicted), or Spearman's
    correlation for a regression. Where all labels are the same class, outputs are at chance if most predict a different
    one.
    """
    if not is_regression and len(set(labels.tolist())) == 1:
        return accuracy(labels, outputs) < 0.5
    association = spearman if is_regression else matthews_correlation
    return association(labels, outputs) < 2 / math.sqrt(max(1, len(labels) - 1))


def entity_scores(
    labels: list[list[str]], predicted: list[list[str]], suffix: bool
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Precision, recall and F1 of whole entities (conlleval's rules, computed by seqeval), overall and for each type.

    labels, predicted: label sequences of the sentences, in BIO. suffix: the labels are `PER-B`, not `B-PER`.
    Returns the micro average over all entities, and the scores of each type that occurs in labels or predictions, with
    `support`, the number of entities in `labels`. All scores are 0 where there are no entities.
    """
    from seqeval.metrics import classification_report

    with warnings.catch_warnings():  # without entities, seqeval warns about means over no types
        warnings.simplefilter("ignore")
        report = classification_report(labels, predicted, suffix=suffix, output_dict=True, zero_division=0)
    scores = {
        name: {"f1": float(row["f1-score"]), "precision": float(row["precision"]), "recall": float(row["recall"])}
        | {"support": int(row["support"])}
        for name, row in report.items()
    }
    types = {name: row for name, row in scores.items() if not name.endswith(" avg")}
    return {name: scores["micro avg"][name] for name in ("f1", "precision", "recall")}, types
