"""Which model of a few-shot table is better than the others: a paired bootstrap over the questions they were scored on.

Two models are compared on the same resampled questions (Koehn 2004, "Statistical Significance Tests for Machine
Translation Evaluation"). Scores are averaged over a model's samples first: the test is about different questions of
this kind, not about different samples of training questions.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from reporting.few_shot_cells import METRICS, FewShotRow, Size, size_title
from reporting.results_reading import Run, read_object

QUESTION_SCORES = "question_scores.json"  # beside results.json (training/results.py): {"<question id>": [em, f1], ...}
RESAMPLES = 10_000
SEED = 0
LEVEL = 0.05
RESAMPLES_AT_ONCE = 256  # times 5,774 questions of 8 bytes: 12 MB
NOTHING = 1e-9  # a smaller gain, summed over all questions, comes from rounding and counts as none

QuestionScores = tuple[tuple[str, ...], np.ndarray]  # ids [Q] in order, their scores [Q, len(METRICS)]
Cell = tuple[str, Size, str]  # row's label, size, metric


@dataclass
class Comparison:
    """The result of the comparisons.

    p: for each cell, the largest p over all other models of "this model is no better than that one". questions: on how
    many questions the cells of each compared size were scored. notes: what could not be compared, and why.
    """

    p: dict[Cell, float] = field(default_factory=dict)
    questions: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def is_better(self, cell: Cell) -> bool:
        return self.p.get(cell, 1.0) < LEVEL


def p_no_gain(gains: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """One-sided p of "the mean gain is not above 0", by resampling questions.

    gains: `[Q, K]`, for K pairs of models, the one's score on each question minus the other's. All pairs use the same
    resamples. Returns `[K]`: the share of resamples without a gain. The observed scores count as one such resample, so
    that p is never 0.
    """
    generator = np.random.default_rng(seed)
    questions = len(gains)
    without = np.zeros(gains.shape[1])
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        rows = min(RESAMPLES_AT_ONCE, resamples - start)
        drawn = generator.integers(questions, size=(rows, questions)) + questions * np.arange(rows)[:, None]
        how_often = np.bincount(drawn.ravel(), minlength=rows * questions).reshape(rows, questions)
        without += (how_often.astype(np.float64) @ gains <= NOTHING).sum(axis=0)
    return (without + 1) / (resamples + 1)


def p_no_better(ours: QuestionScores, theirs: QuestionScores) -> dict[str, float]:
    """For EM and F1: one-sided p of "our model is no better than theirs".

    Raises ValueError where they were scored on different questions.
    """
    (our_ids, our_scores), (their_ids, their_scores) = ours, theirs
    if our_ids != their_ids:
        raise ValueError("they were not scored on the same questions")
    return dict(zip(METRICS, p_no_gain(our_scores - their_scores).tolist(), strict=True))


def read_question_scores(run: Run) -> QuestionScores:
    """The question scores of one run. Raises ValueError where there are none, or their mean is not the run's score."""
    path = run.path.with_name(QUESTION_SCORES)
    if not path.is_file():
        raise ValueError(f"there is no {path}")
    try:
        scores = read_object(path)
    except ValueError as error:
        raise ValueError(f"{path} is {error}") from None
    for id, pair in scores.items():
        shares = isinstance(pair, list) and len(pair) == len(METRICS) and all(map(is_share, pair))
        if not shares:
            raise ValueError(f"{path} has {json.dumps(pair)} for {id!r}, not [{', '.join(METRICS)}] as fractions")
    if not scores:
        raise ValueError(f"{path} has no questions")
    ids = tuple(sorted(scores))
    values = np.array([scores[id] for id in ids], dtype=np.float64)
    for name, mean in zip(METRICS, values.mean(axis=0), strict=True):
        if abs(mean - run.metrics[name]) > 0.001:
            raise ValueError(f"{path} has {name} {mean:.4f} on average, and results.json {run.metrics[name]:.4f}")
    return ids, values


def is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1


def mean_over_samples(runs: Sequence[Run]) -> QuestionScores:
    """Question scores, averaged over the samples. Raises ValueError where scores are missing or questions differ."""
    samples = [read_question_scores(run) for run in runs]
    for (ids, _), run in zip(samples, runs, strict=True):
        if ids != samples[0][0]:
            path = run.path.with_name(QUESTION_SCORES)
            raise ValueError(f"{path} has other questions than that of seed {runs[0].seed}")
    return samples[0][0], np.mean([values for _, values in samples], axis=0)


def compare(rows: Sequence[FewShotRow], sizes: Sequence[Size]) -> Comparison:
    """Compares each cell with the cells of all other models at the same size."""
    found = Comparison()
    pairs: dict[tuple[str, ...], list[tuple[FewShotRow, FewShotRow, Size, np.ndarray]]] = defaultdict(list)
    for size in sizes:
        measured = [row for row in rows if size in row.cells]
        if len({row.contender for row in measured}) < 2:
            continue
        scores = read_cells(measured, size, found.notes)
        if scores is None:
            continue
        ids = scores[measured[0].label][0]
        found.questions.add(len(ids))
        for ours in measured:
            for theirs in measured:
                if ours.contender != theirs.contender:
                    gains = scores[ours.label][1] - scores[theirs.label][1]
                    pairs[ids].append((ours, theirs, size, gains))
    for of_questions in pairs.values():
        chances = p_no_gain(np.concatenate([gains for *_, gains in of_questions], axis=1))
        for (ours, _, size, _), values in zip(of_questions, chances.reshape(-1, len(METRICS)), strict=True):
            for metric, p in zip(METRICS, values, strict=True):
                cell = (ours.label, size, metric)
                found.p[cell] = max(found.p.get(cell, 0.0), float(p))
    return found


def read_cells(measured: Sequence[FewShotRow], size: Size, notes: list[str]) -> Mapping[str, QuestionScores] | None:
    """The question scores of a column's rows by label; None, with a note, where they cannot be compared."""
    scores: dict[str, QuestionScores] = {}
    problems = []
    for row in measured:
        try:
            scores[row.label] = mean_over_samples(row.cells[size])
        except ValueError as error:
            problems.append(f"{row.label}: {error}")
    title = size_title(size)
    seeds = {row.label: [run.seed for run in row.cells[size]] for row in measured}
    if len(set(map(tuple, seeds.values()))) > 1:
        told = "; ".join(f"{label}: {', '.join(map(str, own))}" for label, own in seeds.items())
        notes.append(f"{title}: models are not compared, as they have not the same samples (seeds of {told})")
        return None
    if problems:
        notes.append(f"{title}: models could not be compared ({'; '.join(problems)})")
        return None
    if any(one[0] != other[0] for one, other in pairwise(scores.values())):
        notes.append(f"{title}: models could not be compared: they were not scored on the same questions")
        return None
    return scores
