"""The measured results: the runs behind them, on the sample, and that the pages in docs/ show what the files hold."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import ElectraConfig, ElectraModel

import measure_tasks
import results_page
from conftest import User
from reporting import made_parts


def task(name: str, derived: bool, pretrained: list[float], scratch: list[float]) -> dict[str, Any]:
    def runs(scores: list[float]) -> list[dict[str, Any]]:
        lines = enumerate(scores, start=42)
        return [{"seed": seed, "metrics": {"f1": s}, "steps": 9, "epochs": 1.5, "seconds": 61} for seed, s in lines]

    arms = {
        "pretrained": {"grid": {"0.0001": 0.5, "0.0002": 0.75}, "learning_rate": 0.0002, "runs": runs(pretrained)},
        "from scratch": {"grid": {"0.0001": 0.3, "0.0002": 0.2}, "learning_rate": 0.0001, "runs": runs(scratch)},
    }
    return {
        "task": name, "folder": name, "derived": derived, "full": False, "command": f"python3 x.py --task {name}",
        "shape": {"num_hidden_layers": 12, "hidden_size": 384}, "pretraining": {"tokens": 285_160_632},
        "main_metric": "f1", "rows": {"train": 3400, "test": 600}, "arms": arms,
        "hardware": {"name": "Some CPU", "threads": 1, "precision": "bf16"},
    }  # fmt: skip


def cells(text: str, first: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] == first]


def test_figures_stand_in_their_columns() -> None:
    english = results_page.LANGUAGES[0]
    measured = [task("ner", True, [0.5, 0.75], [0.25, 0.25]), task("sts", False, [0.5], [0.25])]
    text = results_page.scores(measured, english)
    assert cells(text, "ner †") == [["ner †", "3,400", "f1", "62.50 ± 17.68", "25.00 ± 0.00", "9", "1.5", "1:01"]]
    assert cells(text, "sts") == [["sts", "3,400", "f1", "50.00", "25.00", "9", "1.5", "1:01"]]
    assert text.endswith("Measured on: Some CPU (1 thread), bf16.")
    assert cells(results_page.rates(measured, english), "ner") == [
        ["ner", "pretrained", "50.00", "**75.00**"],
        ["ner", "from scratch", "**30.00**", "20.00"],
    ]
    assert "python3 x.py --task ner\npython3 x.py --task sts\n" in results_page.commands(measured)


@pytest.mark.parametrize(
    "name, text, held_back",
    [
        ("train.tsv", "a\tb\tc\n" + "".join(f"{i}\tx\ty\n" for i in range(25)), "a\tb\tc\n9\tx\ty\n19\tx\ty\n"),
        ("words.tsv", "".join(f"{i}\tO\n" for i in range(12)), "9\tO\n"),
        ("rows.jsonl", "".join(f'{{"id": {i}}}\n' for i in range(10)), '{"id": 9}\n'),
        ("squad.json", json.dumps({"data": list(range(11))}), '{"version": "1.0", "data": [9]}'),
    ],
)
def test_each_tenth_part_is_held_back(tmp_path: Path, name: str, text: str, held_back: str) -> None:
    whole, rest, held = (tmp_path / part for part in (name, f"rest-{name}", f"held-back-{name}"))
    whole.write_text(text, encoding="utf-8")
    measure_tasks.hold_back(whole, rest, held)
    assert held.read_text(encoding="utf-8") == held_back
    parts = measure_tasks.parts_of(whole)
    assert sorted(map(str, measure_tasks.parts_of(rest) + measure_tasks.parts_of(held))) == sorted(
        [*map(str, parts), *([parts[0]] if "\t" in text and text.startswith("a") else [])]
    )


@pytest.mark.slow
def test_tasks_are_measured_on_the_sample(user: User) -> None:
    """The best rate of each arm is taken, weights are not kept, and a second call repeats nothing."""
    tiny = user.folder / "sample_data" / "tiny-electra"
    shutil.copytree(tiny, user.folder / "some-electra")
    ElectraModel(ElectraConfig.from_pretrained(tiny)).save_pretrained(user.folder / "some-electra")
    tasks = ("question-pair", "korquad")
    words = ["--data_dir", "sample_data", "--model", "some-electra", "--tasks", *tasks, "--seeds", "43"]
    words += ["--rates", "1e-4", "5e-4", "--ckpt_dir", "measured", "--output", "results", "--steps"]
    out = user.types(*words, 2, script="scripts/measure_tasks.py").out
    assert out.count("$ python3 run_") == len(tasks) * 2 * (2 + 1)
    for name in tasks:
        found = json.loads((user.folder / "results" / f"{name}.json").read_text(encoding="utf-8"))
        assert found["task"] == name and found["shape"]["num_hidden_layers"] == 2
        for arm in found["arms"].values():
            assert arm["grid"][f"{arm['learning_rate']:g}"] == max(arm["grid"].values())
            assert [(run["seed"], run["steps"]) for run in arm["runs"]] == [(43, 2)]
            assert 0 < arm["held_back_rows"] < found["rows"]["train"] / 4
    assert not list((user.folder / "measured").rglob("checkpoint-*"))
    assert "$ python3 run_" not in user.types(*words, 2, script="scripts/measure_tasks.py").out
    assert "--steps 2, not 3" in user.is_refused(*words, 3, script="scripts/measure_tasks.py")
    assert "no model in nowhere" in user.is_refused("--model", "nowhere", script="scripts/measure_tasks.py")


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages with nothing between their comments yet, and the results of one task."""
    parts = "".join(
        f"<!-- {said} scripts/results_page.py{made} ({part}) -->\n"
        for part in ("scores", "rates", "commands")
        for said, made in (("made by", ""), ("end of what", " makes"))
    )
    (tmp_path / "docs").mkdir()
    for words in results_page.LANGUAGES:
        (tmp_path / "docs" / words.page).write_text(f"# Results\n\n{parts}", encoding="utf-8")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "sts.json").write_text(json.dumps(task("sts", False, [0.5], [0.25])), encoding="utf-8")
    monkeypatch.setattr(results_page, "TASKS", tmp_path / "tasks")
    monkeypatch.setattr(made_parts, "REPOSITORY", tmp_path)
    return tmp_path


def types(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["results_page.py", *words])
    results_page.main()


def test_the_parts_of_a_page_are_made_and_checked(pages: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with pytest.raises(SystemExit):
        types(monkeypatch, "--check")
    assert "docs/results.md is not as scripts/results_page.py would write it" in capsys.readouterr().err
    types(monkeypatch)
    types(monkeypatch, "--check")
    korean = (pages / "docs" / "results_ko.md").read_text(encoding="utf-8")
    assert korean.startswith("# Results\n") and "| 처음부터 |" in korean.replace("  ", "") and "측정한 장치" in korean


def test_a_page_without_the_comments_is_refused(pages: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (pages / "docs" / "results_ko.md").write_text("# Results\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        types(monkeypatch)
    assert (
        "docs/results_ko.md lacks the comments <!-- made by scripts/results_page.py (scores)" in capsys.readouterr().err
    )


def test_without_results_it_is_said_how_to_measure(pages: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (pages / "tasks" / "sts.json").unlink()
    with pytest.raises(SystemExit):
        types(monkeypatch)
    assert "run scripts/measure_tasks.py" in capsys.readouterr().err
