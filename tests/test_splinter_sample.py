"""python3 -m pytest -m slow tests/test_splinter_sample.py

What Splinter's pretraining is worth on the sample: the quick start's commands, and the same sizes from scratch.
"""

from __future__ import annotations

import pytest
from conftest import User

SIZES = (16, 64)
SAMPLES = 3
LEAST = 0.1  # F1 that pretraining is worth at each size, on average over the samples


@pytest.mark.slow
def test_pretraining_helps_with_few_questions(user: User) -> None:
    user.types("--config_file", "sample.json", "--no_cuda", script="pretrain_splinter.py", timeout=1800)
    step = user.results("sample-splinter")["step"]
    model = f"ckpt/sample-splinter/checkpoint-{step}"
    scores = {}
    for name, flags in (("pretrained", []), ("scratch", ["--from_scratch"])):
        user.types(
            *("--task", "korquad-few-shot", "--config_file", "sample.json", "--model_name_or_path", model, *flags),
            *("--few_shot", *SIZES, "--samples", SAMPLES, "--output_dir", f"few-shot-{name}", "--no_cuda"),
            script="run_splinter_qa.py",
            timeout=1800,
        )
        for size in SIZES:
            runs = [user.results(f"few-shot-{name}/{size}/seed-{seed}") for seed in range(42, 42 + SAMPLES)]
            scores[name, size] = [run["metrics"]["f1"] for run in runs]
    for size in SIZES:
        gain = (sum(scores["pretrained", size]) - sum(scores["scratch", size])) / SAMPLES
        assert gain >= LEAST, f"{size} questions: {scores}"
