"""Killed with SIGKILL at ten seeded moments and resumed, a run is bit for bit the run that was never killed."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from killed_runs import ROOT, start

STEPS, ACCUMULATION = 22, 2
COMMAND = [
    "run_seq_cls.py", "--task", "nsmc", "--config_file", "sample.json", "--max_steps", str(STEPS),
    "--train_batch_size", "4", "--gradient_accumulation_steps", str(ACCUMULATION), "--logging_steps", "1",
    "--eval_steps", "6", "--save_steps", "4", "--save_total_limit", "2", "--max_seq_len", "48",
    "--eval_all_checkpoints", "false",
]  # fmt: skip


def logged(folder: Path) -> list[tuple]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(x["event"], x["step"], x.get("loss"), x.get("learning_rate"), x.get("metrics")) for x in lines]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Path, dict[str, int]]:
    """The folder of sample data and of a run that was never killed, and how many moments of each kind it had."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(ROOT / "scripts" / "make_sample_data.py"), "--rows", "150", "--tasks", "nsmc"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    # The first run fills the cache, so that the others change as many files as the one that is counted.
    for name in ("first", "whole"):
        assert start(folder, [*COMMAND, "--output_dir", name], counted=str(folder / "counts.json")) == 0
    return folder, json.loads((folder / "counts.json").read_text())


def moments() -> list[tuple[str, float]]:
    """Ten seeded moments, as kind and share of the run: five at micro-batches, five at file operations of saving."""
    generator = random.Random(20261121)
    return [("micro-batch", generator.random()) for _ in range(5)] + [("file", generator.random()) for _ in range(5)]


@pytest.mark.parametrize(("kind", "share"), moments())
def test_killed_and_resumed_it_is_the_run_that_was_never_killed(uninterrupted, kind, share):
    folder, counts = uninterrupted
    moment = 1 + int(share * counts[kind])
    if kind == "micro-batch" and share < 0.5:
        moment += moment % ACCUMULATION  # the second micro-batch of a step: the first one's gradients are lost
    name = f"{kind}-{share:.6f}"
    assert start(folder, [*COMMAND, "--output_dir", name], kind, moment) == -signal.SIGKILL
    assert start(folder, [*COMMAND, "--output_dir", name, "--resume"]) == 0

    whole, resumed = folder / "ckpt" / "whole", folder / "ckpt" / name
    assert logged(resumed) == logged(whole)
    assert [step for event, step, *_ in logged(resumed) if event == "train"] == list(range(1, STEPS + 1))
    checkpoints = sorted(path.name for path in whole.glob("checkpoint-*"))
    assert sorted(path.name for path in resumed.glob("*checkpoint-*")) == checkpoints
    for checkpoint in checkpoints:
        expected = load_file(whole / checkpoint / "model.safetensors")
        found = load_file(resumed / checkpoint / "model.safetensors")
        assert expected.keys() == found.keys()
        assert all(expected[key].equal(found[key]) for key in expected)
    results = [json.loads((run / "results.json").read_text()) for run in (whole, resumed)]
    assert results[0]["metrics"] == results[1]["metrics"] and results[0]["checkpoint"] == results[1]["checkpoint"]
