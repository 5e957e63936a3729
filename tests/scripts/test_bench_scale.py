"""`benchmarks/bench_scale.py --quick` on the sample data, and what becomes of it in tables and figure."""

from __future__ import annotations

import json
import signal
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
    assert found["inputs"]["quick"] and {cell["commit"] for cell in found["cells"]} == {found["commit"]}
    again = measure("--series", "document")
    cells = {name: [cell for cell in one["cells"] if cell["series"] == "rows"] for name, one in
             (("before", found), ("after", again))}  # fmt: skip
    assert cells["before"] == cells["after"]
    assert [cell["stage"] for cell in again["cells"]] == [stage for _, stage, _ in expected]
    words = ["--data_dir", "sample_data/few_shot/..", "--json", file]
    assert 'was measured with data_dir "sample_data", and this' in user.is_refused("--quick", *words, script=SCRIPT)
    scale_page.write_figure(again, tmp_path / "scale.svg")
    assert scale_page.hash_of(again) in (tmp_path / "scale.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--data_dir", "nowhere"], "nowhere/nsmc/ratings_train.txt: no such file"),
        (["--repeats", "0"], "repeats must be at least 1"),
        (["--work_dir", "nowhere"], "nowhere: no such folder"),
        (["--json", "half.json", "--missing"], "half.json is not a file of bench_scale.py: delete it"),
        (["--json", "undated.json"], "undated.json is not a file of bench_scale.py: delete it"),
        (
            ["--json", "elsewhere.json"],
            'elsewhere.json was measured with device "Another CPU", and this would be with ',
        ),
        (["--json", "other.json"], "other.json is not a file of bench_scale.py: delete it"),
        (["--data_dir", "broken"], "broken/nsmc/ratings_train.txt:3: 2 columns instead of 3"),
        (["--corpus", "empty"], "empty: there is no file in the folder"),
        (["--tokenizer", "empty"], "no tokenizer in empty"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(user: User, words: list[str], error: str):
    (user.folder / "half.json").write_text('{"cells": [', encoding="utf-8")
    cell = {"series": "rows", "stage": "sleep", "size": 1, "date": "2026-01-02", "commit": "c"}
    header = {"device": "Another CPU", "threads": 1, "versions": {}, "inputs": {}}
    known = cell | {"stage": "open"}
    undated = {key: value for key, value in known.items() if key != "date"}
    for name, own in (("other", cell), ("undated", undated), ("elsewhere", known)):
        (user.folder / f"{name}.json").write_text(json.dumps(header | {"cells": [own]}), encoding="utf-8")
    (user.folder / "empty").mkdir(exist_ok=True)
    (user.folder / "broken" / "nsmc").mkdir(parents=True, exist_ok=True)
    rows = user.folder / "broken" / "nsmc" / "ratings_train.txt"
    rows.write_text("id\tdocument\tlabel\n1\t글\t0\n2\t글\n", encoding="utf-8")
    assert f"bench_scale.py: error: {error}" in user.is_refused(*words, script=SCRIPT)


@pytest.mark.slow
def test_ctrl_c_is_answered_in_a_line_and_leaves_nothing(user: User, tmp_path: Path):
    with user.starts("--quick", "--series", "steps", "--work_dir", tmp_path, script=SCRIPT) as process:
        process.stdout.readline()  # the header, after which stages are measured
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 130 and said == "\nbench_scale.py: interrupted\n"
    assert list(tmp_path.iterdir()) == []
