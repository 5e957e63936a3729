"""The figures of the README and of docs/benchmarks.md are those of benchmarks/results/, and none is written by hand."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import benchmarks_page
from benchmarks_page import Figures, excerpt, quick_start, step_table, summary, two_digits
from documentation_pages import ROOT, blocks
from reporting import made_parts
from reporting.benchmark_words import ENGLISH, KOREAN, LANGUAGES, Words

MADE = re.compile(r"<!-- made by (\S+ (?:\([^)]+\) )?)-->.*?<!-- end of what (\S+) makes", re.DOTALL)
NUMBER = r"(?:\d[\d,.]*|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|half an?|a quarter of an?)"
UNIT = r"(?:(?:times|seconds?|minutes?|hours?|rows/s|tokens/s|[KMG]i?B|%)(?!\w)|배|초(?!과)|분(?!할)|시간)"
SCORE = r"(?:EM|F1|accuracy|exact match|Spearman|정확도)[^\n|]{0,20}\b\d{0,2}\.\d"
MEASUREMENT = re.compile(rf"\b{NUMBER}\s?{UNIT}|{SCORE}|\d ± \d|\bp [=<] ?0?\.\d", re.IGNORECASE)


def by_language(words: Words) -> str:
    return words.language


def types(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks_page.py", *words])
    benchmarks_page.main()


def refused(capsys: pytest.CaptureFixture[str], act) -> str:
    with pytest.raises(SystemExit) as ended:
        act()
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the pages."""
    (tmp_path / "docs").mkdir()
    for name in [name for words in LANGUAGES for name in (words.readme, words.page)]:
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(made_parts, "REPOSITORY", tmp_path)
    return tmp_path


def test_the_pages_have_the_figures_of_the_files(monkeypatch: pytest.MonkeyPatch):
    types(monkeypatch, "--check")


@pytest.mark.parametrize("name", [name for words in LANGUAGES for name in (words.readme, words.page)])
def test_a_changed_figure_is_found(pages: Path, monkeypatch: pytest.MonkeyPatch, capsys, name: str):
    right = (pages / name).read_text(encoding="utf-8")
    ours = [made for made in MADE.finditer(right) if "benchmarks_page.py" in made[1]]
    digit = ours[-1].end() - 1 - re.search(r"\d", ours[-1][0][::-1]).start()
    wrong = f"{right[:digit]}{(int(right[digit]) + 1) % 10}{right[digit + 1 :]}"
    (pages / name).write_text(wrong, encoding="utf-8")
    message = refused(capsys, lambda: types(monkeypatch, "--check"))
    assert f"{name} is not as scripts/benchmarks_page.py would write it" in message
    types(monkeypatch)
    assert (pages / name).read_text(encoding="utf-8") == right


@pytest.mark.parametrize("words", LANGUAGES, ids=by_language)
def test_no_figure_of_the_readme_is_written_by_hand(words: Words):
    page = (ROOT / words.readme).read_text(encoding="utf-8")
    by_hand = MADE.sub("", page)
    assert len(MADE.findall(page)) == 4 and MEASUREMENT.search(page)
    assert [found[0] for found in MEASUREMENT.finditer(by_hand)] == []


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("a step is 8.6 times as fast", True),
        ("takes about ten seconds", True),
        ("half a minute (F1 over 0.8)", True),
        ("exact match\nabout 0.7", False),  # a sentence goes on: the next case
        ("(exact match about 0.7)", True),
        ("macro_f1 38.11 against 38.02", True),
        ("| nsmc † | accuracy | 76.90 ± 0.40 |", True),
        ("better with p = 0.0001", True),
        ("rows take 1,607 MiB", True),
        ("8.6배 빠릅니다", True),
        ("10초쯤 걸립니다", True),
        ("several times faster, some gigabytes", False),
        ("16 to 1,024 questions, 4,096 tokens", False),
        ("torch==2.13.0 on Python 3.11", False),
    ],
)
def test_what_counts_as_a_figure(text: str, is_one: bool):
    assert bool(MEASUREMENT.search(text)) == is_one


def test_the_files_were_written_by_the_commands_of_the_page():
    """Words after those of the page, such as --repeats, may be there. No command names a folder of a machine."""
    commands = [str(command) for block in blocks(ROOT / ENGLISH.page) for command in block.commands()]
    for name in (*benchmarks_page.BENCHMARKS, "quickstart"):
        command = benchmarks_page.read_figures(name)["command"]
        documented = [one for one in commands if one.endswith(f"--json benchmarks/results/{name}.json")]
        assert len(documented) == 1 and f"{command} ".startswith(f"{documented[0]} "), name


# --------------------------------------------------------------------------------------------------------------------
# What becomes of a file
# --------------------------------------------------------------------------------------------------------------------

ORIGIN = {"date": "2026-01-02", "device": "Some CPU", "threads": 2, "versions": {"torch": "2"}}


def row(arm: str, rows: float, padding: float) -> dict[str, Any]:
    return {"arm": arm, "rows_per_second": rows, "real_tokens_per_second": 19.2 * rows, "padding_ratio": padding,
            "of_matmul": 0.08, "peak_mib": 1607.4}  # fmt: skip


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files of three benchmarks, all of whose figures are told apart."""
    contents = {
        "seq_cls": {
            "rows": [row("original_fp32", 13.04, 0.85), row("ours_bf16", 114.2, 0.0), {"arm": "matmul", "gflops": 9.0}],
            "ratios": {"vs_original_padding_fp32": 8.64, "vs_longest_padding_same_precision": 2.36},
        },
        "qa": {"threads": 1, "rows": [], "ratios": {"training_vs_original": 3.44, "training_vs_longest": 1.77}},
        "pretrain": {"rows": [], "ratios": {"spanbert_step_vs_original": 17.6}},
    }
    monkeypatch.setattr(benchmarks_page, "RESULTS", tmp_path)
    for name, content in contents.items():
        command = f"python3 benchmarks/bench_{name}.py --file data/some"
        (tmp_path / f"{name}.json").write_text(json.dumps(ORIGIN | {"command": command} | content), encoding="utf-8")
    return tmp_path


def cells(table: str) -> list[list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [lines[0], *lines[2:]]


def test_what_a_file_lacks_is_left_out_of_the_summary(results: Path):
    """Here features with the code that KoELECTRA ran, and Splinter."""
    figures = {name: Figures(name) for name in ("seq_cls", "qa", "pretrain")}
    header, *lines = cells(summary(figures, ENGLISH))
    assert header[0] == "measured on Some CPU (2 threads)"
    assert lines == [
        [ENGLISH.summary[0], "8.6 times as fast", "2.4 times as fast", "`benchmarks/bench_seq_cls.py`"],
        [f"{ENGLISH.summary[2]} (1 thread)", "3.4 times as fast", "1.8 times as fast", "`benchmarks/bench_qa.py`"],
        [ENGLISH.summary[3], "18 times as fast", "", "`benchmarks/bench_pretrain.py`"],
    ]
    assert [line[1] for line in cells(summary(figures, KOREAN))[1:]] == ["8.6배", "3.4배", "18배"]


def test_steps_stand_with_their_units_and_ratios(results: Path):
    header, *lines = cells(step_table(Figures("seq_cls"), "classification", "", ENGLISH))
    assert header[0] == "19 tokens a row" and header[-1] == ENGLISH.faster
    assert lines == [
        [ENGLISH.arms["original_fp32"], "13", "250", "85 %", "8 %", "1,607 MiB", "8.6 (bf16)"],
        [ENGLISH.arms["ours_bf16"], "114", "2,193", "0 %", "8 %", "1,607 MiB", ""],
    ]


@pytest.mark.parametrize(
    "command", ["python3 x.py --json y.json", "python3 x.py --file sample_data/z", "python3 x.py --file /home/data/z"]
)
def test_a_trial_is_not_taken_for_a_measurement(results: Path, capsys, command: str):
    content = ORIGIN | {"command": command, "rows": [], "ratios": {}}
    (results / "qa.json").write_text(json.dumps(content), encoding="utf-8")
    message = refused(capsys, lambda: Figures("qa"))
    assert f"qa.json was not measured on files of data/, but by: {command}" in message


@pytest.mark.parametrize(
    "text, problem", [(None, "No such file"), ("{", "cannot be read"), ("{}", "lacks command, da")]
)
def test_a_file_that_is_not_whole_is_named(results: Path, capsys, text: str | None, problem: str):
    (results / "qa.json").unlink()
    if text is not None:
        (results / "qa.json").write_text(text, encoding="utf-8")
    message = refused(capsys, lambda: Figures("qa"))
    assert "qa.json" in message and problem in message and message.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.846, "0.85"), (0.996, "1.0"), (2.96, "3.0"), (9.97, "10"), (17.6, "18"), (123.4, "120")],
)
def test_two_digits(value: float, text: str):
    assert two_digits(value) == text


def test_the_quick_start_is_shortened():
    steps = [f"train {step}/3 steps" for step in (1, 2, 3)]
    said = ["begin", *steps, "step 1  a", "step 2  b", "train 3/3 steps", "step 3  c", "end"]
    assert excerpt(said) == ["begin", "train 1/3 steps", "...", "step 1  a", "...", "step 3  c", "end"]
    assert excerpt(["0\ta", "1\tb", "0\tc", "1\td", "1\te"]) == ["0\ta", "1\tb", "0\tc", "..."]
    found = ORIGIN | {"commands": [{"command": "a b", "seconds": 2.5, "said": ["x"]}, {"command": "c", "seconds": 7,
                                                                                       "said": []}]}  # fmt: skip
    text = quick_start(found, ENGLISH)
    assert "in 9.5 seconds on Some CPU (2 threads)" in text
    assert text.endswith("\n\n```console\n$ a b\nx\n\n$ c\n```")
