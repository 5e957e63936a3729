"""The tables of docs/benchmarks.md are those of benchmarks/results/scale.json; exponents are fitted as they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scale_page import (
    FIGURE,
    LANGUAGES,
    MEASURED,
    Curve,
    curves_of,
    hash_of,
    process_rows,
    read_results,
    short,
    tables,
    too_fast,
)


def measured() -> dict:
    return json.loads(MEASURED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("words", LANGUAGES, ids=lambda words: words.page)
def test_the_page_has_the_figures_of_the_file(words):
    page = (FIGURE.parent / words.page).read_text(encoding="utf-8")
    made = tables(measured(), words)
    assert f"<!-- made by scripts/scale_page.py -->\n\n{made}\n\n<!-- end" in page, "run python3 scripts/scale_page.py"
    assert f"\n{measured()['command']}\n" in page  # beside the one in the part that is made


def test_the_figure_was_drawn_from_the_file():
    assert hash_of(measured()) in FIGURE.read_text(encoding="utf-8"), "run python3 scripts/scale_page.py"


def test_nothing_measured_names_a_folder_of_the_machine():
    assert "/" not in measured()["command"].replace("benchmarks/", "").replace("data/", "").replace("results/", "")


def test_nothing_measured_grows_faster_than_it_should():
    assert too_fast(measured()) == []


def curve(seconds: list[float], added: list[float], series: str = "rows", stage: str = "prepare") -> Curve:
    return Curve(series, stage, [1.0, 10.0, 100.0, 1000.0], seconds, added)


def test_exponents_are_slopes_of_the_three_largest_sizes():
    """What a start costs at the smallest size is not fitted."""
    time, memory = curve([5.0, 1.0, 10.0, 100.0], [7.0, 1.0, 100.0, 10_000.0]).exponents
    assert time == pytest.approx(1) and memory == pytest.approx(2)
    time, _ = curve([1.0, 2.0, 20.0, 2000.0], [1.0] * 4).exponents
    assert time == pytest.approx(1.5)  # the middle one moves no slope


def test_memory_that_hardly_changes_is_flat():
    assert curve([1.0] * 4, [10.0, 100.0, 105.0, 109.0]).exponents == (pytest.approx(0), None)
    assert curve([1.0] * 4, [10.0, 100.0, 105.0, 111.0]).exponents[1] is not None


def test_what_grows_too_fast_is_told_by_what_is_right_for_the_stage():
    linear, square, steady = [1.0, 10.0, 100.0, 1000.0], [1.0, 100.0, 10_000.0, 1_000_000.0], [1.0] * 4
    assert curve(linear, linear).too_fast == []
    assert curve(square, linear).too_fast == ["rows, prepare: time grows with the exponent 2.00, where 1 is right"]
    assert curve(linear, square).too_fast == ["rows, prepare: memory grows with the exponent 2.00, where 1 is right"]
    assert len(curve(linear, steady, "rows", "train").too_fast) == 1  # a fixed number of steps
    assert curve(square, square, "tokens", "full").too_fast == []


def test_medians_of_repeats_make_a_curve():
    cells = [
        {"series": "rows", "stage": "open", "size": size, "cpu_seconds": [3.0 * size, size, 2.0 * size],
         "peak_mib": [500.0] * 3, "added_mib": [9.0, 1.0, 5.0]}
        for size in (1, 10, 100)
    ]  # fmt: skip
    (found,) = curves_of({"cells": cells})
    assert found == Curve("rows", "open", [1, 10, 100], [2.0, 20.0, 200.0], [5.0, 5.0, 5.0])


def test_processes_are_compared_and_not_fitted():
    cells = [
        {"series": "processes", "stage": "train", "size": size, "cpu_seconds": [4.0 / size], "peak_mib": [600.0],
         "added_mib": [100.0]}
        for size in (1, 2)
    ]  # fmt: skip
    found = {"cells": cells}
    assert curves_of(found) == []
    assert process_rows(found, LANGUAGES[0]) == [["train", "4.00 s", "2.00 s", "0.50", "600, 600 MiB"]]
    cells[0] |= {"date": "2026-01-02"}
    cells[1] |= {"date": "2026-01-04"}
    facts = {"date": "2026-01-04", "device": "a CPU", "threads": 1, "command": "c", "versions": {"torch": "2"}}
    made = tables(found | facts, LANGUAGES[0])
    assert "| train | 4.00 s" in made and ", 2026-01-02 – 2026-01-04, a CPU" in made
    # Where the measurement was cut short, or more processes were measured.
    assert process_rows({"cells": cells[1:]}, LANGUAGES[0]) == []
    assert process_rows({"cells": [*cells, cells[1] | {"size": 4}]}, LANGUAGES[0]) == process_rows(found, LANGUAGES[0])


def test_times_and_memory_too_small_to_be_told_apart_have_a_slope_of_0():
    assert curve([0.0, 0.0, 0.0005, 0.0009], [1.0] * 4).exponents[0] == pytest.approx(0)


CELL = {"series": "rows", "stage": "open", "size": 1, "cpu_seconds": [1.0], "peak_mib": [1.0], "added_mib": [1.0]}
CELL |= {"date": "2026-01-02", "commit": "c"}


def whole(cells: object, quick: bool = False) -> str:
    """A file with these cells."""
    header = {"device": "", "date": "", "command": "", "versions": {"torch": "2"}, "inputs": {"quick": quick}}
    return json.dumps({"cells": cells} | header)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"cells": [', "scale.json: not valid JSON (line 1): measure it again with benchmarks/bench_scale.py"),
        ('{"cells": []}', "scale.json: not a file of benchmarks/bench_scale.py: cells: List should have at least 1"),
        (whole([CELL], quick=True), "scale.json was measured with --quick, on small sizes: delete it, and measure"),
        (whole([CELL]).replace("torch", "numpy"), "versions.torch: Field required"),
        (whole(5), "cells: Input should be a valid list"),
        (whole([{"series": "rows"}]), "cells.0.stage: Field required"),
        (whole([CELL | {"cpu_seconds": []}]), "cells.0.cpu_seconds: List should have at least 1 item"),
        (whole([CELL | {"series": "naps"}]), "has series that this script does not know: naps"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, error: str, capsys):
    path = tmp_path / "scale.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        read_results(path)
    assert end.value.code == 2 and error in capsys.readouterr().err


def test_numbers_on_the_axes_are_short():
    shown = {0.05: "0.05", 20: "20", 4096: "4,096", 10_000: "10k", 500_000: "500k", 1e6: "1M"}
    assert {value: short(value) for value in shown} == shown
