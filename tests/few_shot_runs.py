"""The result files of few-shot runs on KorQuAD, written by hand for the tests of their table and figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

QUESTIONS = 40
RIGHT, HALF, WRONG = [1.0, 1.0], [0.0, 0.5], [0.0, 0.0]  # em, f1


def write_run(
    folder: Path,
    model: str,
    size: int | str,
    seed: int,
    right: int,
    scores: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """A run that answers the first `right` of 40 questions, and half of the next one; returns its folder.

    scores: em and f1 by question, instead of those. config: settings that differ from the defaults below.
    """
    answers = [RIGHT] * right + [HALF] + [WRONG] * (QUESTIONS - right - 1)
    scores = {f"q{number}": pair for number, pair in enumerate(answers)} if scores is None else scores
    means = np.mean(list(scores.values()), axis=0)
    results = {
        **{"task": "korquad-few-shot", "model": model, "seed": seed, "split": "test", "main_metric": "f1"},
        "metrics": dict(zip(("em", "f1"), means.tolist(), strict=True)),
        **{"selection": "last", "at_chance": False, "rows": {"train": 16, "test": len(scores)}},
        "data": {"data/korquad/KorQuAD_v1.0_train.json": "aa", "data/korquad/KorQuAD_v1.0_dev.json": "bb"},
        "config": {
            **{"few_shot": [size], "samples": None, "head": "linear", "from_scratch": False, "learning_rate": 3e-05},
            **{"seed": seed, "predict_file": "KorQuAD_v1.0_dev.json"},
            # what the script derives from the size
            **{"num_train_epochs": 2.0 if size == "full" else 10.0},
            **config,
        },
    }
    folder = folder / str(size) / f"seed-{seed}"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (folder / "question_scores.json").write_text(json.dumps(scores), encoding="utf-8")
    return folder
