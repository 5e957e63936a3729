"""Scores: pure functions of labels and model outputs. scikit-learn and scipy are imported where they are used.

A function with `@metric` above it can be named in a task's `metrics`. It takes labels, `[N]` ids or scores, and
outputs, `[N, C]` logits or `[N, 1]` predicted scores, and returns one number. For words, whose logits are not kept,
outputs are 1 at the predicted label and 0 elsewhere.
"""

from __future__ import annotations

import functools
import math
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray], float]
# The labels that a metric is computed from; "scores" are those of a regression. "no_relation first": classes, the first
# of which is called so and is left out.
LabelKind = Literal["classes", "two classes", "no_relation first", "scores"]
METRICS: dict[str, Metric] = {}
# The scores of whole entities (`entity_scores`). In a task of words these names mean entities, not classes.
ENTITY_METRICS = {"f1", "precision", "recall"}
# The scores of labels of characters (`klue_scores.py`), as KLUE counts them, and with each character at its own token.
CHARACTER_METRICS = ("character_macro_f1", "entity_macro_f1", "aligned_character_macro_f1", "aligned_entity_macro_f1")


@dataclass(frozen=True)
class MetricFacts:
    """Which labels a metric is for, whether more of it is better, and whether it needs logits, which words have not."""

    labels: LabelKind
    greater_is_better: bool
    needs_logits: bool


METRIC_FACTS: dict[str, MetricFacts] = {}


def metric(
    function: Metric | None = None,
    *,
    labels: LabelKind = "classes",
    greater_is_better: bool = True,
    needs_logits: bool = False,
) -> Any:
    """Puts a function into `METRICS`, under its own name: `@metric`, or `@metric(labels="scores")`.

    labels: what it is computed from; "scores" are those of a regression. A task is refused whose labels are different.
    needs_logits: the likeliest class of each row is not enough. A task of words, whose logits are not kept, is refused.
    Raises ValueError where the name is taken, and where `labels` is something else.
    """
    if function is None:
        return functools.partial(metric, labels=labels, greater_is_better=greater_is_better, needs_logits=needs_logits)
    if labels not in (known := get_args(LabelKind)):
        raise ValueError(
            f"{function.__name__}: labels: one of {', '.join(map(repr, known))} is expected, not {labels!r}"
        )
    if METRICS.setdefault(function.__name__, function) is not function:
        raise ValueError(f"two metrics are named {function.__name__}")
    METRIC_FACTS[function.__name__] = MetricFacts(labels, greater_is_better, needs_logits)
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
def macro_precision(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Precision of each class that occurs among labels or predictions, averaged without weights."""
    from sklearn.metrics import precision_score

    return float(precision_score(labels, outputs.argmax(axis=1), average="macro", zero_division=0))


@metric
def macro_recall(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Recall of each class that occurs among labels or predictions, averaged without weights."""
    from sklearn.metrics import recall_score

    return float(recall_score(labels, outputs.argmax(axis=1), average="macro", zero_division=0))


@metric(labels="two classes")
def f1(labels: np.ndarray, outputs: np.ndarray) -> float:
    """F1 of class 1."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, outputs.argmax(axis=1), zero_division=0))


@metric(labels="two classes")
def precision(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Precision of class 1."""
    from sklearn.metrics import precision_score

    return float(precision_score(labels, outputs.argmax(axis=1), zero_division=0))


@metric(labels="two classes")
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


@metric(labels="two classes", needs_logits=True)
def roc_auc(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Area under the ROC curve of class 1, whose rows are ranked by their logits; 0.5 where all labels are the same."""
    return _roc_auc(labels, np.nan_to_num(outputs[:, 1] - outputs[:, 0]))


@metric(labels="two classes")
def roc_auc_published_style(labels: np.ndarray, outputs: np.ndarray) -> float:
    """`roc_auc` as KoBigBird published it: of the predicted classes, not of the logits.

    The curve then has a single corner, and its area is the mean of the two classes' recalls.
    """
    return _roc_auc(labels, outputs.argmax(axis=1))


def _roc_auc(labels: np.ndarray, ranks: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, ranks)) if len(set(labels.tolist())) > 1 else 0.5


@metric(labels="scores")
def pearson(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Pearson's correlation of scores and predicted scores; 0 where it is not defined."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, labels, outputs)


@metric(labels="scores")
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


def softmax(logits: np.ndarray) -> np.ndarray:
    """`[N, C]` logits to probabilities."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def row_losses(labels: np.ndarray, outputs: np.ndarray, is_regression: bool) -> np.ndarray:
    """`[N]`: the cross entropy of each row, or its squared error for a regression; arguments as in `score`."""
    outputs = outputs.astype(np.float64)
    if is_regression:
        return (outputs[:, 0] - labels) ** 2
    outputs = outputs - outputs.max(axis=1, keepdims=True)
    return np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(len(labels)), labels]


def loss_published_style(losses: np.ndarray, terms: np.ndarray, batch_size: int) -> float:
    """The evaluation loss as KoELECTRA logged it: the mean over its batches of each batch's mean.

    losses, terms: `[N]`, the sum of the losses of each row, in the order of the file, and their number (1 for a text,
    the scored words of a sentence). A batch whose rows have no terms is left out.
    Its last batch counts as much as the others, though it may have fewer rows: so this depends on the batch size.
    """
    starts = np.arange(0, len(losses), batch_size)
    sums, counts = (np.add.reduceat(values, starts) for values in (losses, terms))
    return float((sums[counts > 0] / counts[counts > 0]).mean()) if counts.any() else 0.0


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


def bio_form(labels: Iterable[str]) -> Literal["prefix", "suffix"] | None:
    """The form of BIO labels: "prefix" (`B-PER`) or "suffix" (`PER-B`); None where they are not all in one form."""
    names = [label for label in labels if label != "O"]
    if all(re.fullmatch(r"[BI]-.+", name) for name in names):
        return "prefix"
    return "suffix" if all(re.fullmatch(r".+-[BI]", name) for name in names) else None


@dataclass(frozen=True)
class EntityScores:
    """Precision, recall and F1 of whole entities, the rows of seqeval's report.

    metrics: `f1`, `precision`, `recall` over all entities, which are the micro average. averages: `micro`, `macro` (of
    the types, without weights) and `weighted` (by the number of entities in the labels). types: each type that occurs
    in labels or predictions. A row of `averages` or `types` has `f1`, `precision`, `recall` and `support`, the number
    of its entities in the labels.
    """

    metrics: dict[str, float]
    averages: dict[str, dict[str, float]]
    types: dict[str, dict[str, float]]


def entity_scores(labels: list[list[str]], predicted: list[list[str]], suffix: bool) -> EntityScores:
    """Scores of whole entities by conlleval's rules, computed by seqeval; all are 0 where there are no entities.

    labels, predicted: label sequences of the sentences, in BIO. suffix: the labels are `PER-B`, not `B-PER`.
    """
    from seqeval.metrics.sequence_labeling import get_entities

    # seqeval's report finds the entities ten times, which on thousands of sentences takes as long as their predictions.
    there, found = defaultdict(set), defaultdict(set)
    for side, spans in ((labels, there), (predicted, found)):
        for kind, start, end in get_entities(side, suffix):
            spans[kind].add((start, end))
    kinds, keys = sorted(there.keys() | found.keys()), ("f1", "precision", "recall")
    right = [len(there[kind] & found[kind]) for kind in kinds]
    positive, support = [len(found[kind]) for kind in kinds], [len(there[kind]) for kind in kinds]
    types = {kind: _entity_row(*counts) for kind, *counts in zip(kinds, right, positive, support, strict=True)}
    micro = _entity_row(sum(right), sum(positive), sum(support))

    def mean(weights: list[int]) -> dict[str, float]:
        rows = [[row[key] for key in keys] for row in types.values()]
        means = np.average(rows, axis=0, weights=weights) if sum(weights) else np.zeros(len(keys))
        return dict(zip(keys, map(float, means), strict=True)) | {"support": sum(support)}

    averages = {"micro": micro, "macro": mean([1] * len(kinds)), "weighted": mean(support)}
    return EntityScores({key: micro[key] for key in keys}, averages, types)


def _entity_row(right: int, positive: int, support: int) -> dict[str, float]:
    """Scores from numbers of entities: predicted rightly, predicted, in the labels."""
    precision, recall = right / max(positive, 1), right / max(support, 1)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"f1": f1, "precision": precision, "recall": recall, "support": support}
