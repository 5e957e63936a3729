"""`benchmarks/bench_scale.py --quick` on the sample data, and what becomes of it in tables and figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import scale_page
from benchmarks.bench_scale import QUICK_SIZES, SIZES
from benchmarks.scale_stages import STAGES
from conftest import User

SCRIPT = "benchmarks/bench_scale.py"


@pytest.mark.slow
def test_every_stage_of_every_series_is_measured(user: User, tmp_path: Path):
    """And series that are measured again replace their figures alone."""
    file = tmp_path / "results" / "scale.json"

    def measure(*words: str) -> dict:
        user.types("--quick", "--json", file, *words, script=SCRIPT, timeout=1200, fresh=True)
        return json.loads(file.read_text(encoding="utf-8"))

    found = measure()
    expected = [(series, stage, size) for series in SIZES for stage in STAGES[series] for size in QUICK_SIZES[series]]
    assert [(cell["series"], cell["stage"], cell["size"]) for cell in found["cells"]] == expected
    for cell in found["cells"]:
        assert len(cell["seconds"]) == 1 and cell["seconds"][0] > 0 < cell["cpu_seconds"][0], cell
        assert cell["peak_mib"][0] > cell["added_mib"][0] >= 0, cell
    assert found["command"].startswith("python3 benchmarks/bench_scale.py --quick") and found["versions"]["torch"]
    again = measure("--series", "document")
    cells = {name: [cell for cell in one["cells"] if cell["series"] == "rows"] for name, one in
             (("before", found), ("after", again))}  # fmt: skip
    assert cells["before"] == cells["after"]
    assert [cell["stage"] for cell in again["cells"]] == [stage for _, stage, _ in expected]
    scale_page.write_figure(again, tmp_path / "scale.svg")
    assert scale_page.hash_of(again) in (tmp_path / "scale.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--data_dir", "nowhere"], "nowhere/nsmc/ratings_train.txt: no such file"),
        (["--repeats", "0"], "repeats must be at least 1"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(user: User, words: list[str], error: str):
    assert f"bench_scale.py: error: {error}" in user.is_refused(*words, script=SCRIPT)
