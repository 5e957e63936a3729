"""KLUE's scores beside those that `metrics.py` has anyway, as KLUE-baseline computes them, in fractions."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np

from processors.metrics import metric, softmax
from processors.qa.answer_scores import PUNCTUATION

SIMILAR = 3  # KLUE-STS calls two sentences paraphrases whose score is at least this


@metric(labels="scores")
def f1_at_3(labels: np.ndarray, outputs: np.ndarray) -> float:
    """F1 of the rows whose score is at least 3, for scores and predicted scores; 0 where there are none in either."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels >= SIMILAR, outputs[:, 0] >= SIMILAR, zero_division=0))


@metric(labels="no_relation first")
def micro_f1(labels: np.ndarray, outputs: np.ndarray) -> float:
    """F1 of all classes together but the first, `no_relation`. With it, the value would be the accuracy."""
    from sklearn.metrics import f1_score

    classes = list(range(1, outputs.shape[1]))
    return float(f1_score(labels, outputs.argmax(axis=1), labels=classes, average="micro", zero_division=0))


@metric(needs_logits=True)
def auprc(labels: np.ndarray, outputs: np.ndarray) -> float:
    """The area under the precision-recall curve of each class, by trapezoids, averaged over the classes.

    Classes that no row has are left out: their recall is not defined. The official file has rows of each. 0 where an
    output is not a number.
    """
    from sklearn.metrics import auc, precision_recall_curve

    if not np.isfinite(outputs).all():
        return 0.0
    probabilities = softmax(outputs)
    areas = []
    for number in np.unique(labels):
        precision, recall, _ = precision_recall_curve(labels == number, probabilities[:, number])
        areas.append(auc(recall, precision))
    return float(np.mean(areas))


def tag_scores(labels: Sequence[str], golds: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """`entity_macro_f1` and `character_macro_f1` of the characters of all sentences, one after the other.

    labels: the names of the label ids, in the form `B-PS`. golds, predicted: `[characters]` label ids.
    Entities are those of the scheme IOB2, strictly: `I-` without a `B-` before it is none. Their F1 is averaged over
    the types that occur. The F1 of characters is averaged over all labels, O included; that of a label which occurs
    nowhere is 1.
    """
    from sklearn.metrics import f1_score

    golds, predicted = np.asarray(golds), np.asarray(predicted)
    characters = f1_score(golds, predicted, labels=range(len(labels)), average="macro", zero_division=1.0)
    entities = _entity_macro_f1(_entities(labels, golds), _entities(labels, predicted))
    return {"entity_macro_f1": entities, "character_macro_f1": float(characters)}


def _entities(labels: Sequence[str], ids: np.ndarray) -> np.ndarray:
    """`[entities, 3]`: type, start and end of each `B-` with the `I-` of its type that follow.

    seqeval finds the same, and takes half a minute for the development file of KLUE-NER.
    """
    types = sorted({label[2:] for label in labels if label != "O"})
    type_of = np.array([types.index(label[2:]) if label != "O" else -1 for label in labels])[ids]
    begins, goes_on = (np.array([label.startswith(part) for label in labels])[ids] for part in ("B-", "I-"))
    same_type = np.concatenate([[False], type_of[1:] == type_of[:-1]])
    starts = np.flatnonzero(~(goes_on & same_type))  # of entities, and of everything else
    ends = np.append(starts[1:], len(ids))
    is_entity = begins[starts]
    return np.stack([type_of[starts], starts, ends], axis=1)[is_entity]


def _entity_macro_f1(golds: np.ndarray, predicted: np.ndarray) -> float:
    """The F1 of each type that occurs among the entities, averaged; 0 where there are none."""
    scores = []
    for number in sorted({*golds[:, 0].tolist(), *predicted[:, 0].tolist()}):
        gold, found = (set(map(tuple, side[side[:, 0] == number].tolist())) for side in (golds, predicted))
        scores.append(2 * len(gold & found) / (len(gold) + len(found)))
    return float(np.mean(scores)) if scores else 0.0


def normalize_klue(text: str) -> str:
    """`text` as KLUE-MRC compares it: lower case, without ASCII punctuation, single spaces.

    KLUE-baseline means to drop 《》 and other brackets too, but its pattern matches only a sequence that no answer has.
    """
    return " ".join(PUNCTUATION.sub("", text.lower()).split())


def rouge_w(prediction: str, gold: str) -> float:
    """KLUE's ROUGE-W of two normalised answers: the F1 of their longest common run of characters.

    An empty gold answer, of a question without one, has 1 for an empty prediction, else 0.
    """
    if not gold:
        return float(not prediction)
    # SequenceMatcher leaves characters out that make up more than 1 % of a gold answer of 200 characters or more. So it
    # finds shorter runs there, and so do KLUE's scores.
    run = SequenceMatcher(None, prediction, gold).find_longest_match(0, len(prediction), 0, len(gold)).size
    return 2 * run / (len(prediction) + len(gold))
