"""What `soak.py` calls a difference and a leak."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from killed_runs import content_of, differences
from soak import Kind, closing_table, growth_in, growth_of_rounds

LOSSES = [{"event": "train", "step": step, "loss": 0.5 / step} for step in (1, 2, 3)]
LEFT = {"ckpt/run": None, "ckpt/run/metrics.jsonl": LOSSES, "ckpt/run/results.json": {"metrics": {"accuracy": 0.75}}}


def test_equal_folders_have_no_differences():
    assert differences(LEFT, dict(LEFT)) == []


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (LEFT | {"tmp/x": b""}, "tmp/x: left over"),
        ({"ckpt/run": None, "ckpt/run/metrics.jsonl": LOSSES}, "ckpt/run/results.json: missing"),
        (
            LEFT | {"ckpt/run/metrics.jsonl": [*LOSSES[:2], LOSSES[2] | {"loss": 0.25}]},
            f"ckpt/run/metrics.jsonl[2]['loss']: 0.25 instead of {0.5 / 3}",
        ),
        (
            LEFT | {"ckpt/run/results.json": {"metrics": {"accuracy": 0.5}}},
            "ckpt/run/results.json['metrics']['accuracy']: 0.5 instead of 0.75",
        ),
    ],
)
def test_a_difference_is_told_with_its_place(found: dict, line: str):
    assert differences(LEFT, found) == [line]


def test_what_runs_of_the_same_outcome_differ_in_is_not_compared(tmp_path: Path):
    for name, text in (
        ("results.json", '{"git_commit": "a", "config": {"resume": true}, "training": {"seconds": 1.5, "steps": 3}}'),
        ("metrics.jsonl", '{"event": "train", "loss": 0.5, "tokens_per_second": 7}\n'),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert content_of(tmp_path / "results.json") == {"config": {}, "training": {"steps": 3}}
    assert content_of(tmp_path / "metrics.jsonl") == [{"event": "train", "loss": 0.5}]


def test_a_line_too_many_is_a_difference():
    (line,) = differences(LEFT, LEFT | {"ckpt/run/metrics.jsonl": [*LOSSES, LOSSES[0]]})
    assert line.startswith("ckpt/run/metrics.jsonl: ")


def samples(mib: float = 400.0, files: int = 9, grows: float = 0.0, opens: int = 0) -> list[tuple[int, float, int]]:
    """A hundred, of a run that grows for its first thirty; `grows` MiB and `opens` files more each from there on."""
    return [(5 * n, mib + min(n, 30) + grows * max(0, n - 30), files + opens * max(0, n - 30)) for n in range(100)]


def test_a_run_that_grows_in_its_warm_up_alone_is_flat():
    line, problems = growth_in(samples())
    assert problems == []
    assert line == "495 steps; from step 200 on 430 MiB, at the end 430; files open 9, at the end 9"


def test_a_leak_of_memory_or_files_is_found():
    assert growth_in(samples(grows=1))[1] == ["memory grew from 449.5 to 489.5 MiB"]
    assert growth_in(samples(opens=1))[1] == ["open files grew from 38 to 78"]


def test_a_run_that_is_too_short_says_nothing_about_memory():
    assert growth_in(samples()[:9])[1] == ["only 9 samples of memory"]


def test_growth_over_rounds():
    assert growth_of_rounds([400, 420, 410, 405, 400, 430], [9] * 6) == []
    assert growth_of_rounds([400, 400, 430, 450, 480, 490], [9] * 6) == [
        "the peak of memory grew from 400 to 485 MiB over 6 rounds"
    ]
    assert growth_of_rounds([400, 900], [9, 10]) == ["open files grew from 9 to 10 over 2 rounds"]


def test_the_closing_table_has_a_row_for_each_kind():
    kind = Kind("pretraining", [], starts=7, peaks=[400.0, 420.4], open_files=[9, 9], long_run="flat")
    kind.kills.update(how.name for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGINT))
    header, row = closing_table([kind]).splitlines()
    assert header.split()[:3] == ["run", "rounds", "starts"]
    assert row.split() == ["pretraining", "2", "7", "2", "0", "1", "400-420", "9-9", "flat"]
