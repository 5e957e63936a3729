"""Scores of extracted answers: KorQuAD's official ones, and SQuAD 2.0's for questions that may have no answer.

Pure functions of texts, in fractions 0..1 (the official scripts print per cent). KorQuAD 1.0: `evaluate-v1.0.py` of
https://korquad.github.io, which is SQuAD 1.1's script with F1 over characters instead of words. Unanswerable questions:
SQuAD 2.0's `evaluate-v2.0.py`, also with F1 over characters. Each function takes a different `normalize` as an
argument, which must map white space alone to the empty string. KorQuAD 2.0, whose answers are HTML, uses
`normalize_korquad_2`.
"""

from __future__ import annotations

import math
import re
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from html import unescape

import numpy as np

# Twelve symbols become a space. The official script replaces them one after the other, but no replacement makes a new
# one, so one pass gives the same. All other punctuation beyond ASCII (“ ” 「 」 『 』 （ ） · …) is part of an answer.
SYMBOLS = re.compile("['\"《》<>〈〉()‘’]")
PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")

# A predicted span may end inside a tag. The official script's parser (lxml) drops such an unfinished tag.
UNFINISHED_TAG = re.compile(r"<[!/a-zA-Z][^<>]*\Z")
# A tag or a declaration. The group `text` matches what only looks like one, up to the next ">": a tag that an open
# quote leaves unfinished, or a comment without an end.
TAG = r"""
    (?> < [a-zA-Z] [^\t\n\r\f />\x00]* [\s/]*
        (?: (?<=['"\s/]) [^\s/>] [^\s/=>]*                                    # an attribute
            (?: \s* =+ \s* (?: '[^']*' | "[^"]*" | (?!['"]) [^>\s]* ) \s* )?  # its value
            (?: \s | /(?!>) )*
        )*
    ) /?>
    | < (?: [/?] | !(?!--) ) [^>]* >
    | (?P<text> < (?: [a-zA-Z] | !-- ) [^>]* > )
"""
MARKUP = re.compile(TAG, re.VERBOSE)
MARKUP_OR_COMMENT = re.compile(rf"<!--.*?--\s*> | {TAG}", re.VERBOSE | re.DOTALL)
COMMENT_END = re.compile(r"--\s*>")

# Sums of scores that differ by less count as equal, because F1s and their sums are rounded.
EQUAL = 1e-9


def normalize(text: str) -> str:
    """`text` as KorQuAD 1.0 compares it: symbols to spaces, lower case, no ASCII punctuation, single spaces.

    The order matters: a quote or bracket separates (`'가'나` is `가 나`, `서울(Seoul)시` is `서울 seoul 시`), while a
    full stop, comma or hyphen joins (`1,000` is `1000`, `가-나` is `가나`), and one between spaces leaves a single
    space (`가 - 나` is `가 나`). White space is as in `str.split`, U+00A0 and U+3000 included. Nothing is composed: a
    syllable and its conjoining jamo (NFD) are different answers.
    """
    return " ".join(PUNCTUATION.sub("", SYMBOLS.sub(" ", text).lower()).split())


def text_of_html(html: str) -> str:
    """The text without tags, comments and declarations, with entities resolved; takes linear time.

    The rules are those of `html.parser` in Python 3.11 (later versions differ): an attribute's value may hold `>`, and
    a tag or comment that is never closed is text up to the next `>`. An unfinished tag at the end is dropped.
    """
    if "<" not in html and "&" not in html:
        return html
    html = UNFINISHED_TAG.sub("", html)
    # Nothing after these positions can be closed. Without them, every "<" there would search the whole rest in vain.
    end = html.rfind(">") + 1
    end_of_comments = max((match.end() for match in COMMENT_END.finditer(html)), default=0)
    texts, start, at = [], 0, html.find("<", 0, end)
    while at >= 0:
        match = (MARKUP_OR_COMMENT if at < end_of_comments else MARKUP).match(html, at)
        if match and not match["text"]:
            texts.append(html[start:at])
            start = match.end()
        at = html.find("<", match.end() if match else at + 1, end)
    texts.append(html[start:])
    return "".join(map(unescape, texts))  # one by one: &am<b>p; is no ampersand


def normalize_korquad_2(text: str) -> str:
    """`text` as KorQuAD 2.0 compares it: without HTML, then normalized as in KorQuAD 1.0, then without white space."""
    return normalize(text_of_html(text)).replace(" ", "")


def exact_match(prediction: str, gold: str, normalize: Callable[[str], str] = normalize) -> float:
    """1 if both are the same after normalisation, white space included; else 0. Two empty texts are the same."""
    return float(normalize(prediction) == normalize(gold))


def f1(prediction: str, gold: str, normalize: Callable[[str], str] = normalize) -> float:
    """F1 of the characters (white space aside) of `prediction` against those of `gold`, counted as multisets.

    0 where they have no character in common, as in KorQuAD 1.0; so also for two empty texts, whose exact match is 1.
    """
    return _character_f1(normalize(prediction), normalize(gold))


def _character_f1(prediction: str, gold: str) -> float:
    """`f1` of normalised texts. 2 c / (p + g), which is the harmonic mean of c / p and c / g, rounded once."""
    prediction, gold = "".join(prediction.split()), "".join(gold.split())
    if prediction == gold:
        return float(bool(gold))
    # On answers of a few characters str.count is several times as fast as collections.Counter.
    common = sum(min(prediction.count(character), gold.count(character)) for character in set(prediction))
    return 2 * common / (len(prediction) + len(gold)) if common else 0.0


def best(prediction: str, golds: Sequence[str], normalize: Callable[[str], str] = normalize) -> tuple[float, float]:
    """The largest exact match and the largest F1 over several gold answers, each maximum taken by itself.

    Raises ValueError if there is no gold answer.
    """
    if not golds:
        raise ValueError("no gold answer to compare with")
    return _best_of_normalized(normalize(prediction), [normalize(gold) for gold in golds])


def _best_of_normalized(prediction: str, golds: Sequence[str]) -> tuple[float, float]:
    return float(prediction in golds), max(_character_f1(prediction, gold) for gold in golds)


def best_or_none(
    prediction: str, golds: Sequence[str], normalize: Callable[[str], str] = normalize
) -> tuple[float, float]:
    """`best` by the rules of SQuAD 2.0: a question without an answer has empty `golds`, and "" is the right answer.

    If prediction or golds are empty (after normalisation), both scores are 1 if both are, else 0. Gold answers that
    normalise to nothing are dropped, so an empty prediction never matches one of several.
    """
    prediction = normalize(prediction)
    golds = [gold for gold in map(normalize, golds) if gold]
    if not prediction or not golds:
        return (0.0, 0.0) if prediction or golds else (1.0, 1.0)
    return _best_of_normalized(prediction, golds)


def score(
    predictions: Mapping[str, str],
    golds: Mapping[str, Sequence[str]],
    normalize: Callable[[str], str] = normalize,
) -> dict[str, float]:
    """`{"em", "f1"}`: means of `best` over the questions of `golds`, as KorQuAD 1.0's script computes them.

    predictions: question id -> answer. golds: question id -> its gold answers, at least one. As in the official script,
    a question without a prediction counts 0 (unlike "", which matches a gold answer of symbols only), and predictions
    for questions that are not in `golds` are ignored.
    Raises ValueError where there are no questions or one has no gold answers, TypeError where its answers are a string.
    """
    _check(golds)
    for id, answers in golds.items():
        if not answers:
            raise ValueError(f"question {id!r} has no gold answer: score_with_unanswerable is for such data")
    pairs = {
        id: best(predictions[id], answers, normalize) if id in predictions else (0.0, 0.0)
        for id, answers in golds.items()
    }
    return _means(pairs, list(golds))


def score_with_unanswerable(
    predictions: Mapping[str, str],
    golds: Mapping[str, Sequence[str]],
    null_odds: Mapping[str, float] | None = None,
    answers_if_any: Mapping[str, str] | None = None,
    normalize: Callable[[str], str] = normalize,
) -> dict[str, float]:
    """Means of `best_or_none` over all questions, and over those with and without an answer, as in SQuAD 2.0.

    predictions: question id -> answer, "" for "there is none". golds: question id -> its gold answers, `[]` where there
    are none. Returns `em`, `f1`, `has_ans_em`, `has_ans_f1`, `no_ans_em` and `no_ans_f1`; where there are no questions
    of a kind, its two scores are absent. With `null_odds` and `answers_if_any`, the result of `best_thresholds` is
    added. A question without a prediction counts 0, even an unanswerable one (SQuAD's script leaves it out of the
    mean).
    Raises ValueError where there are no questions, where only one of `null_odds` and `answers_if_any` is given, or
    where `best_thresholds` does; TypeError where the gold answers are one string.
    """
    _check(golds)
    if (null_odds is None) != (answers_if_any is None):
        raise ValueError("null_odds and answers_if_any are only used together: give both or neither")
    pairs = {
        id: best_or_none(predictions[id], answers, normalize) if id in predictions else (0.0, 0.0)
        for id, answers in golds.items()
    }
    scores = _means(pairs, list(golds))
    for kind, ids in (
        ("has_ans", [id for id, answers in golds.items() if answers]),
        ("no_ans", [id for id, answers in golds.items() if not answers]),
    ):
        if ids:
            scores |= {f"{kind}_{name}": value for name, value in _means(pairs, ids).items()}
    if null_odds is not None and answers_if_any is not None:
        scores |= best_thresholds(answers_if_any, null_odds, golds, normalize)
    return scores


def score_korquad_2(
    predictions: Mapping[str, str],
    golds: Mapping[str, Sequence[str]],
    null_odds: Mapping[str, float] | None = None,
    answers_if_any: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """`score_with_unanswerable` with KorQuAD 2.0's normalisation, together with `published_style`.

    KoBigBird scores its long documents like this. `predictions` are the answers at the reported no-answer threshold
    (0 by default). KorQuAD 2.0's script knows no unanswerable questions; here an empty answer to one has F1 1.
    Raises the errors of `score_with_unanswerable`.
    """
    scores = score_with_unanswerable(predictions, golds, null_odds, answers_if_any, normalize_korquad_2)
    return scores | published_style(predictions, golds, normalize_korquad_2)


def published_style(
    predictions: Mapping[str, str],
    golds: Mapping[str, Sequence[str]],
    normalize: Callable[[str], str] = normalize,
) -> dict[str, float]:
    """`{"published_style_em", "published_style_f1"}`: `best_exact` and `best_f1` as KoBigBird published them.

    KoBigBird searches the best no-answer threshold, but over probabilities that are all 0, so that the questions keep
    their order (here that of `golds`). Its score is therefore the best over all k of answering the first k questions
    and leaving the others without an answer. An unanswerable question counts 1, but 0 if it is among the first k and
    was answered. Without unanswerable questions this is the plain mean; otherwise it is at least that and says less, so
    compare it with published numbers only. A question without a prediction counts as not answered.
    Raises ValueError where there are no questions, TypeError where the gold answers are one string.
    """
    _check(golds)
    gains = []  # by how much answering a question raises its EM and F1 above not answering it
    for id, answers in golds.items():
        prediction = predictions.get(id, "")
        if answers:
            kept = [answer for answer in answers if normalize(answer)] or [""]
            gains.append(best(prediction, kept, normalize) if id in predictions else (0.0, 0.0))
        else:
            gains.append((-1.0, -1.0) if prediction else (0.0, 0.0))
    em, f1 = best_of_prefixes(gains, sum(not answers for answers in golds.values()))
    return {"published_style_em": em, "published_style_f1": f1}


def best_of_prefixes(gains: Sequence[tuple[float, float]], unanswerable: int) -> tuple[float, float]:
    """The best EM and the best F1, over all k, of answering the first k questions and none of the others.

    gains: by how much answering a question raises its EM and its F1 above not answering it. unanswerable: the number of
    questions without an answer, which count 1 where they are not answered.
    """
    best_gains = np.maximum(np.cumsum(gains, axis=0).max(axis=0), 0.0)  # no question at all may be answered
    em, f1 = ((unanswerable + best_gains) / len(gains)).tolist()
    return em, f1


def best_thresholds(
    best_answers: Mapping[str, str],
    null_odds: Mapping[str, float],
    golds: Mapping[str, Sequence[str]],
    normalize: Callable[[str], str] = normalize,
) -> dict[str, float]:
    """`{"best_em", "best_em_threshold", "best_f1", "best_f1_threshold"}`: the best scores of any no-answer threshold.

    A threshold t answers a question with "" where `null_odds[id] > t`, else with `best_answers[id]`. best_answers:
    question id -> the best answer that is not "none". null_odds: question id -> score of "none" minus the score of that
    answer, compared in double precision; +inf and -inf are above and below every threshold.
    With the answers at a returned threshold, `score_with_unanswerable` gives exactly `best_em` (or `best_f1`).

    All t between two neighbouring odds give the same answers. Of the best intervals (scores whose sums differ by less
    than 1e-9 are equal) the one nearest to 0 is chosen, the upper one of two equally near. In that interval, t is 0 if
    possible, else the middle, rounded to as few decimals as keep it inside; below the lowest or above the highest odds
    it is about 1 away from them. So t is always finite, and never equal to a question's odds, where SQuAD's script puts
    it and where a rounding error changes that question's answer.

    Takes O(N log N). A question in neither mapping counts 0, as in the other scores.
    Raises ValueError where there are no questions, where one is in only one of the mappings, or where its odds are NaN;
    TypeError where the gold answers are one string.
    """
    _check(golds)
    for id in golds:
        if (id in best_answers) != (id in null_odds):
            where = "best_answers" if id in best_answers else "null_odds"
            raise ValueError(f"question {id!r} is in {where} only: its answer and its odds are both needed")
    ids = [id for id in golds if id in null_odds]
    odds = np.array([null_odds[id] for id in ids], dtype=np.float64)
    if np.isnan(odds).any():
        raise ValueError(f"null_odds of question {ids[int(np.isnan(odds).argmax())]!r} are not a number")
    # [N, 2]: EM and F1 of each question, once answered and once not.
    answered = np.array([best_or_none(best_answers[id], golds[id], normalize) for id in ids]).reshape(-1, 2)
    unanswered = np.array([best_or_none("", golds[id], normalize) for id in ids]).reshape(-1, 2)

    result = {}
    for column, name in enumerate(("em", "f1")):
        threshold = _best_threshold(odds, answered[:, column] - unanswered[:, column])
        chosen = np.where(odds > threshold, unanswered[:, column], answered[:, column])
        result |= {f"best_{name}": math.fsum(chosen) / len(golds), f"best_{name}_threshold": threshold}
    return result


def _best_threshold(odds: np.ndarray, gains: np.ndarray) -> float:
    """The t with the largest sum of `gains` where `odds <= t` (both `[N]`); for ties see `best_thresholds`."""
    order = odds.argsort(kind="stable")
    # In interval i, that is lows[i] <= t < highs[i], the first i questions are answered. Between equal odds the
    # interval is empty, so these are answered together or not at all. The lowest interval may contain no finite t.
    lows, highs = np.append(-np.inf, odds[order]), np.append(odds[order], np.inf)
    sums = np.append(0.0, gains[order].cumsum())
    usable = (lows < highs) & (highs > -sys.float_info.max)
    lows, highs, sums = lows[usable], highs[usable], sums[usable]

    distance = np.maximum(0, np.maximum(lows, -highs))
    distance[sums < sums.max() - EQUAL] = np.inf
    nearest = np.flatnonzero(distance == distance.min())[-1]  # the last one: of [-1, 0) and [0, 1) the one with 0 in it
    return _number_between(float(lows[nearest]), float(highs[nearest]))


def _number_between(low: float, high: float) -> float:
    """A finite t with low <= t < high, with few digits, as people copy it into commands."""
    if low <= 0 < high:
        return 0.0
    if low == -math.inf:
        middle = high - 1
    elif high == math.inf:
        middle = low + 1
    else:
        middle = low / 2 + high / 2
    for digits in range(18):
        if low < (number := round(middle, digits)) < high:
            return number
    return low if low > -math.inf else math.nextafter(high, -math.inf)


def _check(golds: Mapping[str, Sequence[str]]) -> None:
    if not golds:
        raise ValueError("no questions to score")
    for id, answers in golds.items():
        if isinstance(answers, str):
            raise TypeError(f"gold answers of question {id!r} are one string, {answers!r}: give a list of answers")


def _means(pairs: Mapping[str, tuple[float, float]], ids: Sequence[str]) -> dict[str, float]:
    """Means of (EM, F1), from exact sums, so that they do not depend on the order of the questions."""
    return {name: math.fsum(pairs[id][i] for id in ids) / len(ids) for i, name in enumerate(("em", "f1"))}
