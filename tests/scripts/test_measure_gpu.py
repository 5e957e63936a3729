"""python3 -m pytest tests/scripts/test_measure_gpu.py            (with -m "": the whole rehearsal too)

`scripts/measure_gpu.sh` and the benchmarks that it runs, rehearsed on a CPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, BigBirdConfig, ElectraForSequenceClassification

from benchmarks import bench_gpu, gpu_arms, gpu_cells, measure_gpu
from benchmarks.gpu_arms import ARMS, BASELINE, BIGBIRD_ARMS, CAPTURED, Bench, encoder_operations
from benchmarks.gpu_report import GOALS, REHEARSAL, as_markdown, ratios_of
from benchmarks.measure import koelectra
from benchmarks.measure_gpu import CELLS, TESTS, Part, main
from benchmarks.random_rows import PAD, QUANTILES, UNK, RandomRows, RandomTokenizer, random_lengths
from conftest import REPOSITORY
from models.fast_dropout import Dropout
from processors.pretraining.recurring_spans import RecurringSpans, SplinterVocabulary, select_spans
from training.row_random import RowDraws

RATIOS_OF_THE_ISSUE = [
    "gpu_nsmc_base_vs_longest_bf16",
    "gpu_nsmc_small_vs_longest_bf16",
    "gpu_korquad_base_vs_longest_bf16",
    "gpu_bigbird_step_4096_vs_hf",
    "gpu_spanbert_vs_longest_bf16",
    "gpu_splinter_vs_longest_bf16",
]
FIGURES = {"rows": [{"arm": "captured", "ms_a_step": 8.0}], "device": "a GPU"}


@pytest.fixture(autouse=True)
def rehearsal(monkeypatch) -> None:
    monkeypatch.setenv("REHEARSE_CAPTURE", "1")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, 1, True)


def read(folder: Path) -> tuple[dict, str]:
    found = json.loads((folder / "gpu.json").read_text(encoding="utf-8"))
    return found, (folder / "gpu.md").read_text(encoding="utf-8")


# --------------------------------------------------------------------------------------------------------------------
# Rehearsals
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_rehearsal(tmp_path: Path):
    command = ["bash", str(REPOSITORY / "scripts/measure_gpu.sh"), "--rehearse", "--output", "measured"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    found, tables = read(tmp_path / "measured")
    assert list(found) == [
        *("device", "versions", "commit", "started", "minutes", "seconds", "rehearsal", "tests", "cells", "ratios"),
        *("no_time_for", "failures"),
    ]
    assert found["failures"] == found["no_time_for"] == [] and found["rehearsal"] and found["minutes"] == 9
    assert found["versions"]["torch"] == torch.__version__ and found["versions"]["python"]
    assert set(found["cells"]) == set(CELLS)
    assert set(RATIOS_OF_THE_ISSUE) < set(GOALS) <= set(found["ratios"])
    assert all(found["ratios"][name]["value"] > 0 for name in GOALS)
    assert all(ratio["met"] is None for ratio in found["ratios"].values())
    assert "tests/scripts/test_gpu.py::test_no_memory_left" in found["tests"]["names"]
    assert REHEARSAL in tables and all(f"## {name}\n" in tables for name in CELLS)
    assert all(f"`{name}`" in tables for name in GOALS) and "not measured" not in tables
    assert tables.count("| --- | ---: |") >= len(CELLS) + 1
    said = ended.stderr.splitlines()
    assert len(said) == len(CELLS) + 2 and "failed: 0, no time for: 0" in said[-1]


def test_the_cells_are_those_of_the_benchmark_in_its_order():
    assert list(bench_gpu.CELLS) == CELLS


ARMS_OF_CELLS = {
    "nsmc_base": [f"nsmc, base: {arm}" for arm in ARMS],
    "bigbird_4096": [f"bigbird, {part}: {arm}" for part in ("full rows", "with padding") for arm in BIGBIRD_ARMS],
    "nsmc_small": [f"nsmc, small: {arm}" for arm in ARMS],
    "korquad_base": [f"korquad, base: {arm}" for arm in ARMS],
    "spanbert": [f"spanbert, {part}: {arm}" for part in ("full rows", "mix") for arm in ARMS],
    "splinter": [f"splinter: {arm}" for arm in ARMS],
    "evaluation": [f"evaluation of nsmc, base: {arm}" for arm in ARMS],
    "first_step": ["first step"],
    "end_to_end": [
        f"{shape}: {arm}"
        for shape in ("small", "base")
        for arm in ("batches made before", "batches made meanwhile", "collating alone, one core")
    ],
}


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell(cell: str, tmp_path: Path, capsys):
    file = tmp_path / "out.json"
    assert bench_gpu.main([cell, "--rehearse", "--repeats", "1", "--json", str(file)]) == 0
    content = json.loads(file.read_text(encoding="utf-8"))
    assert [row["arm"] for row in content["rows"]] == ARMS_OF_CELLS[cell]
    for row in content["rows"]:
        if row["arm"].endswith(CAPTURED):
            assert row["graphs"] > 0
        assert all(value >= 0 for name, value in row.items() if name != "arm")
    of_goals = {name for name in content["ratios"] if name in GOALS}
    assert len(of_goals) == (cell not in ("evaluation", "end_to_end"))
    assert all(value > 0 for value in content["ratios"].values())
    assert ARMS_OF_CELLS[cell][0] in capsys.readouterr().out


# --------------------------------------------------------------------------------------------------------------------
# What is compared
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["nsmc", "spanbert", "splinter"])
def test_the_baseline_stays_the_model_of_transformers(cell: str, bench: Bench, monkeypatch):
    trainings = []
    monkeypatch.setattr(gpu_cells, "measure_training", lambda bench, name, ratio, training: trainings.append(training))
    measure = {"spanbert": gpu_cells.measure_spanbert, "splinter": gpu_cells.measure_splinter}
    list(measure[cell](bench)) if cell in measure else trainings.append(gpu_cells.sentences(bench, "base"))
    training = trainings[-1]
    runs = {arm: training.run(bench, settings) for arm, settings in ARMS.items()}
    model = runs[BASELINE][0].model
    assert model.config._attn_implementation == "sdpa"
    assert not any(isinstance(module, Dropout) for module in model.modules())
    assert [runs[arm][0].model.config._attn_implementation for arm in list(ARMS)[1:]] == ["unpadded"] * 2
    # The same rows, in the same order, and the same weights.
    of_arms = [[batch for step in batches for batch in step] for _, batches in runs.values()]
    for batches in zip(*of_arms, strict=True):
        assert len({(batch["rows"], batch["terms"], batch["real_tokens"]) for batch in batches}) == 1
        assert "packing" not in batches[0]["inputs"] and "packing" in batches[1]["inputs"]
        widths = [batch["inputs"]["input_ids"].shape[1] for batch in batches]
        assert widths[0] == widths[1] <= widths[2]
    first, *others = (list(run.model.state_dict().values()) for run, _ in runs.values())
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def test_steps_that_were_not_replayed_are_not_reported_as_captured(bench: Bench, monkeypatch):
    monkeypatch.setattr(gpu_arms, "PASSES", 1)  # ends before the shapes are recorded
    with pytest.raises(
        RuntimeError, match=r"of 8 steps that were to be replayed, \d were, and \d graphs were recorded"
    ):
        list(gpu_cells.measure_sentences(bench, "small"))


@pytest.mark.parametrize("model", ["bert", "electra"])
def test_operations_are_those_that_torch_counts(model: str):
    if model == "bert":
        sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 80}
        encoder = BertModel(BertConfig(vocab_size=50, **sizes), add_pooling_layer=False)
    else:
        encoder = koelectra("tiny", ElectraForSequenceClassification, 50).electra
    encoder.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        for tokens in (7, 20):
            encoder(torch.ones(1, tokens, dtype=torch.long))
    assert counter.get_total_flops() == encoder_operations(encoder.config, 27, 7**2 + 20**2, passes=1)


def test_pairs_of_bigbird():
    config = BigBirdConfig(num_attention_heads=2, block_size=2, num_random_blocks=1, max_position_embeddings=64)
    assert gpu_cells.pairs_seen(config, 5, 14) == 25  # full attention, for up to 14 tokens
    seen = gpu_cells.seen_blocks(0, 2, 10, 1, 2, 32)  # 10 blocks of 2 tokens
    for real in (10, 6):
        blocks = np.zeros((2, real, real), dtype=int)
        for head in range(2):
            for block in range(1, min(real, 9)):
                for other in seen[head, block - 1]:
                    if 0 <= other < real:
                        blocks[head, block, other] += 1
        blocks[:, 0] = 1
        if real == 10:
            blocks[:, 9] = 1
        assert gpu_cells.pairs_seen(config, 2 * real, 20) == blocks.sum() / 2 * 4


# --------------------------------------------------------------------------------------------------------------------
# Random rows
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("law", "mean"), [("nsmc", 20.8), ("korquad", 257.1), ("corpus", 85.4), ("recurring", 358.7)])
def test_rows_are_as_long_as_real_ones(law: str, mean: float):
    lengths = random_lengths(law, 50_000, np.random.default_rng(0))
    assert lengths.mean() == pytest.approx(mean, rel=0.02)
    assert len(QUANTILES[law].split()) == 101 and lengths.min() >= 2


def test_spans_recur_in_rows_as_often_as_in_text():
    tokenizer, rng = RandomTokenizer(8000), np.random.default_rng(0)
    vocabulary = SplinterVocabulary.of_tokens(tokenizer.tokens, tokenizer.all_special_ids, 5, PAD, UNK)
    for length, questions in ((7, 1), (512, 10)):
        rows = RandomRows(np.full(64, length), len(tokenizer), rng)
        rows.repeat_words(tokenizer.words, rng)
        arrays = rows.padded(np.arange(64), PAD).values()
        selected = select_spans(*arrays, vocabulary, RecurringSpans(), RowDraws([1], np.arange(64)))
        assert len(selected.rows) / 64 == pytest.approx(questions, rel=0.1)


# --------------------------------------------------------------------------------------------------------------------
# The driver
# --------------------------------------------------------------------------------------------------------------------


def cell(folder: Path, name: str, then: str = "", ratios: dict | None = None) -> Part:
    """A part that writes figures, and then runs more Python."""
    file = folder / f"{name}.json"
    content = json.dumps(FIGURES | {"ratios": ratios or {}})
    code = f"import os, pathlib, sys, time; pathlib.Path({str(file)!r}).write_text({content!r}); {then}"
    return Part(name, [sys.executable, "-S", "-c", code], file)


def bare(name: str, code: str, **settings) -> Part:
    return Part(name, [sys.executable, "-S", "-c", code], Path("/nowhere.json"), **settings)


@pytest.fixture
def measures(tmp_path: Path, monkeypatch):
    """Runs the driver on parts of the test's own; the exit code, and what is in the files."""

    def run(*parts: Part, minutes: float = 1) -> tuple[int, dict, str]:
        monkeypatch.setattr(measure_gpu, "parts_of", lambda is_rehearsal, folder: parts)
        monkeypatch.setattr(measure_gpu, "AT_ONCE_IN_REHEARSAL", 1)
        output = tmp_path / "a" / "b"
        code = main(["--rehearse", "--minutes", str(minutes), "--output", str(output)])
        return code, *read(output)

    return run


def test_goes_on_after_failures(measures, tmp_path: Path):
    code, found, tables = measures(
        bare("broken", "import sys; print('an illegal address'); sys.exit(3)"),
        bare("crashed", "import os; os.kill(os.getpid(), 11)"),
        bare("silent", ""),
        bare("hanging", "import time; print('waiting', flush=True); time.sleep(60)", share=0.001, least=1),
        cell(tmp_path, "half", "sys.exit('in the second part')", {"gpu_nsmc_base_vs_longest_bf16": 4.5}),
        cell(tmp_path, "whole", ratios={"gpu_nsmc_small_vs_longest_bf16": 5.5, "gpu_first_step_seconds": 3.0}),
    )
    assert code == 1
    why = {failure["what"]: failure["why"] for failure in found["failures"]}
    assert why == {
        "broken": "exit code 3\nan illegal address",
        "crashed": "signal 11",
        "silent": "it ended without figures",
        "hanging": "stopped after 1 s, its share of the time\nwaiting",
        "half": "exit code 1\nin the second part",
    }
    assert list(found["cells"]) == ["half", "whole"] and found["no_time_for"] == []
    assert found["ratios"]["gpu_nsmc_base_vs_longest_bf16"] == {"value": 4.5, "goal": 4, "met": None}
    assert found["ratios"]["gpu_splinter_vs_longest_bf16"] == {"value": None, "goal": 3, "met": None}
    assert "## Failures" in tables and "an illegal address" in tables and "| captured | 8.00 |" in tables
    assert tables.count("not measured") == len(GOALS) - 3


def test_no_time_left(measures, tmp_path: Path, capsys):
    code, found, tables = measures(cell(tmp_path, "first"), cell(tmp_path, "second"), minutes=0.01)
    assert code == 0 and found["no_time_for"] == ["first", "second"] and found["cells"] == {}
    assert "## Not measured, as the time was up\n\nfirst, second" in tables
    assert "failed: 0, no time for: 2" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_interrupted_it_writes_what_there_is(measures, tmp_path: Path, number: str):
    started = time.monotonic()
    interrupt = f"import os, signal, time; os.kill(os.getppid(), signal.{number}); time.sleep(60)"
    code, found, _ = measures(cell(tmp_path, "first"), bare("second", interrupt), cell(tmp_path, "third"))
    assert code == 1 and list(found["cells"]) == ["first"] and time.monotonic() - started < 30
    assert found["failures"] == [{"what": "interrupted", "why": "without: second, third"}]


def test_outcomes_of_tests_are_read_off_pytest(tmp_path: Path, monkeypatch):
    said = "tests/scripts/test_gpu.py::test_a[x y.py] PASSED [ 33%]\ntests/scripts/test_gpu.py::test_b FAILED [ 66%]\n"
    said += "tests/scripts/test_gpu.py::test_c \nFAILED tests/scripts/test_gpu.py::test_b - assert 1 == 2\n"
    monkeypatch.setattr(measure_gpu, "machine", lambda is_rehearsal: {"device": "a GPU", "versions": {}})
    measurement = measure_gpu.Measurement(tmp_path, 1, False, time.monotonic())
    measurement.run([Part(TESTS, [sys.executable, "-S", "-c", f"print({said!r}); exit(1)"])])
    found, tables = read(tmp_path)
    names = {"tests/scripts/test_gpu.py::test_a[x y.py]": "PASSED", "tests/scripts/test_gpu.py::test_b": "FAILED"}
    assert found["tests"] == {"passed": 1, "failed": 1, "names": names}
    assert "passed: 1, failed: 1, neither: 0\n- failed: `tests/scripts/test_gpu.py::test_b`" in tables
    assert found["failures"][0]["what"] == TESTS and "assert 1 == 2" in found["failures"][0]["why"]


def test_on_a_gpu_tests_come_first_and_those_of_compile_last(tmp_path: Path):
    parts = list(measure_gpu.parts_of(False, tmp_path))
    assert [part.name for part in parts] == [TESTS, *CELLS, measure_gpu.COMPILED_TESTS]
    for part in parts[1:-1]:
        assert part.command[1:] == [str(REPOSITORY / "benchmarks/bench_gpu.py"), part.name, "--json", str(part.json)]
    assert (parts[0].share, parts[0].least) == (1 / 3, 0)


def test_goals_that_are_met():
    cells = {"x": {"ratios": {"gpu_splinter_vs_longest_bf16": 2.9, "gpu_first_step_seconds": 4.0, "other": 1.5}}}
    ratios = ratios_of(cells, False)
    assert ratios["gpu_splinter_vs_longest_bf16"] == {"value": 2.9, "goal": 3, "met": False}
    assert ratios["gpu_first_step_seconds"]["met"] and ratios["other"] == {"value": 1.5, "goal": None, "met": None}
    found = {"device": "d", "versions": {"torch": "2.11", "driver": None}, "commit": "c", "started": "s", "minutes": 9}
    found |= {"seconds": 90, "rehearsal": False, "tests": {"passed": 0, "failed": 0, "names": {}}, "cells": {}}
    tables = as_markdown(found | {"ratios": ratios, "no_time_for": [], "failures": []})
    assert "| `other` | 1.50 |  |  |" in tables and "Splinter step | 2.90 | at least 3 | no |" in tables
    assert "| 4.00 | at most 5 | yes |" in tables and "torch 2.11; commit c; s; 1.5 of 9 minutes." in tables
    assert REHEARSAL not in tables


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_a_line(tmp_path: Path, capsys):
    assert main(["--output", str(tmp_path / "measured")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1 and "there is no GPU that torch" in said.err
    assert not (tmp_path / "measured").exists()
    assert bench_gpu.main(["nsmc_base"]) == 2
    assert "there is no GPU" in capsys.readouterr().err


def test_an_older_torch_is_refused(monkeypatch, capsys):
    for version, code in (("2.10.1+cu128", 2), ("1.13.0", 2)):
        monkeypatch.setattr(torch, "__version__", version)
        assert main(["--rehearse"]) == code
        assert capsys.readouterr().err == f"measure_gpu: torch {version} is too old: 2.11 or newer is needed\n"
    monkeypatch.setattr(torch, "__version__", "2.11.0a0+git1")
    assert measure_gpu.why_not(True) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minuets", "9"], "unrecognized arguments: --minuets"),
        (["--minutes", "0"], "minutes must be above 0, not 0"),
        (["--minutes", "nine"], "invalid float value"),
    ],
)
def test_a_wrong_flag(words: list[str], message: str, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_an_output_that_is_a_file(tmp_path: Path, capsys):
    (tmp_path / "file").touch()
    assert main(["--rehearse", "--output", str(tmp_path / "file")]) == 2
    assert "cannot be made" in capsys.readouterr().err
