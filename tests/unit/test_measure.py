"""What the benchmarks write: figures with what it takes to measure them again, whole or not at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.measure import report, write_figures
from storage import whole

FIGURES = [{"arm": "a", "seconds": 1.5}], {"a_vs_b": 2.0}


def test_a_report_says_how_to_measure_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The command is as it was typed, in a form that a shell reads."""
    file = tmp_path / "results" / "qa.json"
    monkeypatch.setattr(sys, "argv", ["/some/where/benchmarks/bench_qa.py", "--data_file", "my data.json"])
    report("Some CPU", *FIGURES, str(file))
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["command"] == "python3 benchmarks/bench_qa.py --data_file 'my data.json'"
    assert (found["device"], found["threads"]) == ("Some CPU", torch.get_num_threads())
    assert found["versions"].keys() >= {"python", "torch", "transformers"}
    assert len(found["date"]) == len("2026-01-02") and "commit" in found
    assert (found["rows"], found["ratios"]) == FIGURES


def test_figures_that_the_disk_does_not_take_leave_the_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "qa.json"
    write_figures(file, "earlier")

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole, "flush", full)
    monkeypatch.setattr(sys, "argv", ["bench_qa.py"])
    with pytest.raises(SystemExit) as ended:
        write_figures(file, "later")
    assert ended.value.code == f"bench_qa.py: {file} could not be written: No space left on device"
    assert file.read_text() == "earlier" and list(tmp_path.iterdir()) == [file]
