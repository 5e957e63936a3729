"""The figures of transformers' `squad_metrics.py`, which KoELECTRA and KoSplinter printed beside KorQuAD's scores.

They are SQuAD's: exact match and F1 over words (KorQuAD counts characters), after a normalisation that drops ASCII
punctuation and English articles. They serve for comparisons with those projects' logs, and no checkpoint is selected
by them. A figure's name is `squad_` and transformers' name for it in small letters: `HasAns_exact` is
`squad_has_ans_exact`, and KoSplinter's `3_best_f1` is `squad_3_best_f1`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from processors.qa.answer_scores import PUNCTUATION, best_of_prefixes

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
Golds = Mapping[str, Sequence[str]]


def words_of(text: str) -> list[str]:
    """The words of `text` as SQuAD compares them: lower case, without ASCII punctuation, then without articles."""
    return ARTICLES.sub(" ", PUNCTUATION.sub("", text.lower())).split()


def word_scores(prediction: Sequence[str], gold: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of the words of a prediction against those of a gold answer, counted as multisets.

    Where one of them has no words, both scores are 1 if neither has, else 0.
    """
    if prediction == gold or not prediction or not gold:
        return (1.0, 1.0) if prediction == gold else (0.0, 0.0)
    common = sum(min(prediction.count(word), gold.count(word)) for word in set(prediction))
    return 0.0, 2 * common / (len(prediction) + len(gold))


def squad_figures(predictions: Mapping[str, str], golds: Golds) -> dict[str, float]:
    """`squad_exact` and `squad_f1` over all questions, over those with (`has_ans`) and without an answer (`no_ans`).

    predictions: question id -> answer, "" for "there is none". golds: question id -> its gold answers, `[]` where there
    are none. `squad_best_exact` and `squad_best_f1` are what transformers calls the best over all no-answer thresholds;
    as the probabilities there are all 0, they are the best over all prefixes of the file (`best_of_prefixes`).
    Raises KeyError where a question has no prediction.
    """
    scores = {id: best_of_several([predictions[id]], answers) for id, answers in golds.items()}
    figures = _means(list(scores.values()))
    for kind, has_answer in (("has_ans_", True), ("no_ans_", False)):
        of_kind = [scores[id] for id, answers in golds.items() if bool(answers) is has_answer]
        figures |= _means(of_kind, kind) if of_kind else {}
    gains = [scores[id] if answers else (-float(bool(predictions[id])),) * 2 for id, answers in golds.items()]
    exact, f1 = best_of_prefixes(gains, sum(not answers for answers in golds.values()))
    return figures | {"squad_best_exact": exact, "squad_best_f1": f1}


def n_best_figures(n_best: Mapping[str, Sequence[str]], golds: Golds, numbers: Sequence[int]) -> dict[str, float]:
    """`squad_<n>_best_exact` and `squad_<n>_best_f1`: the means of the best scores among a question's n best answers.

    n_best: question id -> its answers, the best first. numbers: the values of n. Raises KeyError as `squad_figures`.
    """
    figures = {}
    normalized = {id: [words_of(text) for text in n_best[id][: max(numbers)]] or [[]] for id in golds}
    for n in numbers:
        pairs = [_best(normalized[id][:n], answers) for id, answers in golds.items()]
        figures |= _means(pairs, f"{n}_best_")
    return figures


def best_of_several(texts: Sequence[str], golds: Sequence[str]) -> tuple[float, float]:
    """The largest exact match and the largest F1 of any text against any gold answer, each maximum taken by itself."""
    return _best([words_of(text) for text in texts], golds)


def _best(texts: Sequence[Sequence[str]], golds: Sequence[str]) -> tuple[float, float]:
    """`best_of_several` of texts that are split into words already. Gold answers without words do not count."""
    answers = [words for words in map(words_of, golds) if words] or [[]]
    scores = [word_scores(text, answer) for answer in answers for text in texts]
    return max(exact for exact, _ in scores), max(f1 for _, f1 in scores)


def _means(scores: Sequence[tuple[float, float]], kind: str = "") -> dict[str, float]:
    exact, f1 = np.mean(scores, axis=0).tolist()
    return {f"squad_{kind}exact": exact, f"squad_{kind}f1": f1}
