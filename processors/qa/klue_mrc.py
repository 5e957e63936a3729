"""KLUE-MRC: SQuAD's format with unanswerable questions, scored by exact match and ROUGE-W."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from processors.klue_scores import normalize_klue, rouge_w
from processors.qa.answer_scores import score_with_unanswerable


def score_klue_mrc(
    predictions: Mapping[str, str],
    golds: Mapping[str, Sequence[str]],
    null_odds: Mapping[str, float] | None = None,
    answers_if_any: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """`score_with_unanswerable` with KLUE's normalisation, together with `rouge_w`, the best over a question's answers.

    `em` is KLUE's: an answer of punctuation only is the same as none. A question without a prediction counts as not
    answered. Raises the errors of `score_with_unanswerable`.
    """
    scores = score_with_unanswerable(predictions, golds, null_odds, answers_if_any, normalize_klue)
    pairs = []
    for id, answers in golds.items():
        found = normalize_klue(predictions.get(id, ""))
        normalized = [normalize_klue(answer) for answer in answers or [""]]
        pairs.append((float(found in normalized), max(rouge_w(found, answer) for answer in normalized)))
    em, rouge = (math.fsum(values) / len(pairs) for values in zip(*pairs, strict=True))
    return {"em": em, "rouge_w": rouge} | scores | {"em": em}
