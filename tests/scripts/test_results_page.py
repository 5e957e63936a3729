"""The pages of measured results in docs/ show what the files hold."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import results_page
from reporting import made_parts


def task(name: str, derived: bool, pretrained: list[float], scratch: list[float]) -> dict[str, Any]:
    def runs(scores: list[float]) -> list[dict[str, Any]]:
        rest = {"at_chance": False, "rows_per_step": 8, "steps": 9, "epochs": 1.5, "seconds": 61}
        return [{"seed": seed, "metrics": {"f1": score}} | rest for seed, score in enumerate(scores, start=42)]

    arms = {
        "pretrained": {"grid": {"0.0001": 0.5, "0.0002": 0.75}, "learning_rate": 0.0002, "runs": runs(pretrained)},
        "from scratch": {"grid": {"0.0001": 0.3, "0.0002": 0.2}, "learning_rate": 0.0001, "runs": runs(scratch)},
    }
    return {
        "task": name, "folder": name, "derived": derived, "full": False, "model": "spanbert",
        "command": f"python3 x.py --task {name}", "measured_by": f"python3 y.py --tasks {name}",
        "shape": {"num_hidden_layers": 12, "hidden_size": 384}, "pretraining": {"tokens": 285_160_632},
        "main_metric": "f1", "rows": {"train": 3400, "test": 600}, "arms": arms,
        "files": {"train.tsv": "0123456789abcdef" * 4, "test.tsv": "fedcba9876543210" * 4},
        "hardware": {"name": "Some CPU", "threads": 1, "precision": "bf16"},
    }  # fmt: skip


def few_shot() -> dict[str, Any]:
    def arm(name: str, scores: dict[str, list[float]]) -> dict[str, Any]:
        sizes = {
            size: [
                {
                    "seed": 42,
                    "metrics": {"em": score / 2, "f1": score},
                    "at_chance": False,
                    "rows_per_step": 6,
                    "steps": 9,
                    "epochs": 75.25,
                    "seconds": 59,
                }
                for score in of_size
            ]
            for size, of_size in scores.items()
        }
        return {
            "grid": {"0.0001": 0.5, "0.0003": 0.25},
            "learning_rate": 0.0001,
            "command": f"x.py {name}",
            "sizes": sizes,
        }

    arms = {
        "Splinter": arm("splinter", {"16": [0.5, 0.75], "64": [0.5]}),
        "linear head": arm("linear", {"16": [0.25, 0.25], "64": [0.5]}),
    }
    p = {
        "16": {"Splinter": {"em": 0.2, "f1": 0.0001}, "linear head": {"em": 0.8, "f1": 0.9999}},
        "64": {"Splinter": {"em": 0.5, "f1": 0.99}, "linear head": {"em": 0.5, "f1": 0.0123}},
    }
    hardware = {"name": "Some CPU", "threads": 1, "precision": "bf16"}
    held_out = {"100": {"span_em": 0.125, "span_em_1": 0.25}, "1200": {"span_em": 0.5, "span_em_1": 0.75}}
    held_out["1200"]["span_em_4_or_more"] = 0.0625
    measured_by = "python3 y.py --few_shot 16 64"
    told = {"hardware": hardware, "measured_by": measured_by, "resamples": 10_000}
    return told | {"held_out": held_out, "arms": arms, "p": p}


def few_shot_with(**changed: Any) -> dict[str, Any]:
    """Both arms; the Splinter's first run with 16 questions is changed."""
    arms = few_shot()["arms"]
    arms["Splinter"]["sizes"]["16"][0] |= changed
    return arms


def task_with_rate(rate: object) -> dict[str, Any]:
    """A task; the pretrained model was trained with this rate."""
    content = task("sts", False, [0.5], [0.5])
    content["arms"]["pretrained"]["learning_rate"] = rate
    return content


def task_with(**changed: Any) -> dict[str, Any]:
    """A task; the pretrained model's run is changed."""
    content = task("sts", False, [0.5], [0.5])
    content["arms"]["pretrained"]["runs"][0] |= changed
    return content


def read(*tasks: dict[str, Any]) -> list[results_page.MeasuredTask]:
    return [results_page.MeasuredTask(**task) for task in tasks]


FEW_SHOT_PARTS = ("few shot", "few-shot rates", "few-shot measuring", "few-shot commands", "pretraining")
WIDER_PARTS = ("wider scores", "wider rates", "wider measuring")
PARTS = ("data", "scores", "rates", "measuring", "commands", *WIDER_PARTS, *FEW_SHOT_PARTS)


def cells(text: str, first: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] == first]


def test_figures_stand_in_their_columns() -> None:
    english = results_page.LANGUAGES[0]
    measured = read(task("ner", True, [0.5, 0.75], [0.25, 0.25]), task("sts", False, [0.5], [0.25]))
    measured[0].arms["pretrained"].runs[0].metrics["best_f1_threshold"] = 14.2  # no score, and not shown
    text = results_page.scores(measured, english)
    length = ["9 × 8", "1.5", "1:01, 1:01"]
    assert cells(text, "ner †") == [["ner †", "f1", "62.50 ± 17.68", "25.00 ± 0.00", *length]]
    assert cells(text, "sts") == [["sts", "f1", "50.00", "25.00", *length]]
    assert text.endswith("Seeds 42, 43. Measured on: Some CPU (1 thread), bf16.")
    assert cells(results_page.rates(measured, english), "ner") == [
        ["ner", "pretrained", "50.00", "**75.00** ‡"],
        ["ner", "from scratch", "**30.00** ‡", "20.00"],
    ]
    assert cells(results_page.data_files(measured, english), "ner") == [
        ["ner", "train.tsv", "3,400", "`0123456789abcdef`"],
        ["ner", "test.tsv", "600", "`fedcba9876543210`"],
    ]
    commands = results_page.commands(task.command for task in measured)
    assert "python3 x.py --task ner\npython3 x.py --task sts\n" in commands


def test_a_best_rate_at_the_edge_of_the_grid_is_marked() -> None:
    english, edge = results_page.LANGUAGES[0], "‡ the best rate is the smallest or the largest that was tried."
    content = task("ner", True, [0.5], [0.25])
    assert results_page.rates(read(content), english).endswith(f"\n\n{edge}")
    for arm in content["arms"].values():
        arm |= {"grid": {"0.0001": 0.5, "0.0002": 0.75, "0.0004": 0.5}, "learning_rate": 0.0002}
    assert "‡" not in results_page.rates(read(content), english)
    for arm in content["arms"].values():
        arm |= {"grid": {"0.0001": 0.25, "0.0002": 0.75, "0.0004": 0.75}}
    assert "**75.00** | 75.00" in results_page.rates(read(content), english)  # of equal ones, the first was taken
    for arm in content["arms"].values():
        arm |= {"grid": {"0.0002": 0.75}}
    assert "‡" not in results_page.rates(read(content), english)


def test_runs_at_chance_and_further_devices_are_told() -> None:
    english, korean = results_page.LANGUAGES
    at_chance = task("paws", False, [0.5, 0.75], [0.25, 0.25])
    at_chance["arms"]["from scratch"]["runs"][1]["at_chance"] = True
    at_chance["other_hardware"] = [{"name": "Some GPU", "precision": "bf16"}]
    measured = read(at_chance, task("sts", False, [0.5], [0.25]))
    text = results_page.scores(measured, english)
    assert cells(text, "paws")[0][2:4] == ["62.50 ± 17.68", "25.00 ± 0.00 ⚠ 1/2"]
    told = "⚠ k/n: k of the cell's n runs ended at chance level; their scores are in the mean all the same."
    one_by_one = "The scores of such a cell, one by one: paws, from scratch: 25.00, 25.00 ⚠."
    assert f"\n\n{told} {one_by_one}\n\n" in text
    assert text.endswith("Measured on: Some CPU (1 thread), bf16; Some GPU, bf16.")
    assert "⚠ k/n: 이 칸의 실행 n개" in results_page.scores(measured, korean)
    assert "⚠" not in results_page.scores(measured[1:], english)


def test_rates_of_all_grids_are_columns_in_their_order() -> None:
    other = task("sts", False, [0.5], [0.25])
    other["arms"]["from scratch"] |= {"grid": {"5e-05": 0.1, "0.0004": 0.2}, "learning_rate": 0.0004}
    text = results_page.rates(read(task("ner", True, [0.5], [0.25]), other), results_page.LANGUAGES[0])
    assert cells(text, "folder") == [["folder", "model", "5e-05", "0.0001", "0.0002", "0.0004"]]
    assert cells(text, "sts")[1] == ["sts", "from scratch", "10.00", "", "", "**20.00** ‡"]


def test_few_shot_figures_stand_in_their_columns() -> None:
    english = results_page.LANGUAGES[0]
    measured = results_page.MeasuredFewShot(**few_shot())
    text = results_page.few_shot_scores(measured, english)
    assert cells(text, "16") == [
        ["16", "em", "31.25 ± 8.84", "12.50 ± 0.00", "0.2000", "75", "0:59, 0:59"],
        ["16", "f1", "**62.50 ± 17.68**", "25.00 ± 0.00", "≤ 0.0001", "75", "0:59, 0:59"],
    ]
    assert cells(text, "64")[1] == ["64", "f1", "50.00", "**50.00**", "0.9900", "75", "0:59, 0:59"]
    told = "Bold: better than the other with p < 0.05 by the paired bootstrap, 10,000 resamples of the test questions."
    assert told in text
    assert "부트스트랩(10,000회)에서 다른 모델보다 유의하게 높음(p < 0.05)." in results_page.few_shot_in_short(
        measured, results_page.LANGUAGES[1]
    )
    assert text.endswith(" Measured on: Some CPU (1 thread), bf16.")
    rates = results_page.few_shot_rates(measured, english)
    assert cells(rates, "linear head") == [["linear head", "**50.00** ‡", "25.00"]]
    curve = results_page.curve(measured, english)
    assert cells(curve, "step") == [["step", "span_em", "span_em_1", "span_em_4_or_more"]]
    assert cells(curve, "1,200") == [["1,200", "50.00", "75.00", "6.25"]]
    assert cells(curve, "100") == [["100", "12.50", "25.00", ""]]  # where no answer is as long


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"arms": {}}, "Value error, arms has no 'Splinter'"),
        ({"p": {}}, "Value error, the sizes of 'Splinter' are not those of p"),
        ({"p": {"16": {"Splinter": {"em": 1}}, "64": {}}}, "Value error, p of size 16 has no 'linear head'"),
        (
            {"p": {size: {"Splinter": {"em": 1}, "linear head": {}} for size in ("16", "64")}},
            "Value error, p of size 16, Splinter has no 'f1'",
        ),
        ({"arms": few_shot_with(metrics={"f1": 0.5})}, "Value error, metrics of seed 42 has no 'em'"),
        (
            {"arms": few_shot_with(metrics={"em": 31.25, "f1": 0.5})},
            "Value error, em of seed 42 is 31.25: scores are fractions",
        ),
        ({"p": {"full": {}}}, "p.full.[key]: Input should be a valid integer"),
        (
            {"p": {size: {name: {"em": 7, "f1": 0} for name in few_shot()["arms"]} for size in ("16", "64")}},
            "p.16.Splinter.em: Input should be less than or equal to 1",
        ),
        ({"resamples": 0}, "resamples: Input should be greater than or equal to 1"),
        ({"held_out": {"last": {}}}, "held_out.last.[key]: Input should be a valid integer"),
        ({"arms": few_shot_with(seed=43)}, "Value error, the two models were trained with different seeds"),
    ],
)
def test_few_shot_figures_that_lack_a_part_are_refused(
    pages: Path, monkeypatch: pytest.MonkeyPatch, capsys, change: dict[str, Any], error: str
) -> None:
    (pages / "few_shot.json").write_text(json.dumps(few_shot() | change), encoding="utf-8")
    with pytest.raises(SystemExit):
        types(monkeypatch)
    assert f"few_shot.json: not a file of scripts/measure_few_shot.py: {error}" in capsys.readouterr().err


def test_few_shot_runs_at_chance_and_a_device_without_a_name(
    pages: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    content = few_shot() | {"arms": few_shot_with(at_chance=True)}
    text = results_page.few_shot_scores(results_page.MeasuredFewShot(**content), results_page.LANGUAGES[0])
    assert cells(text, "16")[0][2:4] == ["31.25 ± 8.84 ⚠ 1/2", "12.50 ± 0.00"]
    assert "\n\n⚠ k/n: k of the cell's n runs" in text
    (pages / "few_shot.json").write_text(json.dumps(few_shot() | {"hardware": {"precision": "fp32"}}), encoding="utf-8")
    with pytest.raises(SystemExit):
        types(monkeypatch)
    assert "not a file of scripts/measure_few_shot.py: hardware.name: Field required" in capsys.readouterr().err


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages with nothing between their comments yet, and the results of one task, with a wider grid too."""
    (tmp_path / "docs").mkdir()
    for words in results_page.LANGUAGES:
        for page, parts in ((words.page, PARTS), (words.readme, ["real data", "few questions"])):
            comments = "".join(
                f"<!-- {said} scripts/results_page.py{made} ({part}) -->\n"
                for part in parts
                for said, made in (("made by", ""), ("end of what", " makes"))
            )
            (tmp_path / page).write_text(f"# Results\n\n{comments}", encoding="utf-8")
    for folder, scratch in (("tasks", 0.25), ("wider_grid", 0.125)):
        (tmp_path / folder).mkdir()
        measured = json.dumps(task("sts", False, [0.5], [scratch]))
        (tmp_path / folder / "sts.json").write_text(measured, encoding="utf-8")
    monkeypatch.setattr(results_page, "TASKS", tmp_path / "tasks")
    monkeypatch.setattr(results_page, "WIDER_GRID", tmp_path / "wider_grid")
    monkeypatch.setattr(results_page, "REPOSITORY", tmp_path)
    monkeypatch.setattr(results_page, "FEW_SHOT", tmp_path / "few_shot.json")
    monkeypatch.setattr(made_parts, "REPOSITORY", tmp_path)
    return tmp_path


def types(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["results_page.py", *words])
    results_page.main()


def test_the_parts_of_a_page_are_made_and_checked(pages: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (pages / "few_shot.json").write_text(json.dumps(few_shot()), encoding="utf-8")
    with pytest.raises(SystemExit):
        types(monkeypatch, "--check")
    assert "docs/results.md is not as scripts/results_page.py would write it" in capsys.readouterr().err
    types(monkeypatch)
    types(monkeypatch, "--check")
    korean = (pages / "docs" / "results_ko.md").read_text(encoding="utf-8")
    assert cells((pages / "README.md").read_text(encoding="utf-8"), "sts") == [["sts", "f1", "50.00", "25.00"]]
    page = (pages / "docs" / "results.md").read_text(encoding="utf-8")
    scores = [row[1:4] for row in cells(page, "sts") if len(row) == 7]
    assert scores == [["f1", "50.00", "25.00"], ["f1", "50.00", "12.50"]]
    for folder in ("tasks", "wider_grid"):
        assert f"python3 y.py --tasks sts --output {folder}\n" in page
    assert korean.startswith("# Results\n") and "| 처음부터 학습 |" in korean and "측정한 장치" in korean


def test_pages_are_not_checked_without_one_of_their_sources(
    pages: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (pages / "few_shot.json").write_text(json.dumps(few_shot()), encoding="utf-8")
    types(monkeypatch)
    tasks, wider = (pages / folder / "sts.json" for folder in ("tasks", "wider_grid"))
    for path, source in ((pages / "few_shot.json", "few_shot.json"), (tasks, "tasks"), (wider, "wider_grid")):
        text = path.read_text(encoding="utf-8")
        path.unlink()
        with pytest.raises(SystemExit):
            types(monkeypatch, "--check")
        assert f"{source}: there is nothing; the pages have parts that were made from it" in capsys.readouterr().err
        path.write_text(text, encoding="utf-8")


def test_the_pages_of_the_repository_have_the_figures_of_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    types(monkeypatch, "--check")


@pytest.mark.parametrize("words", results_page.LANGUAGES, ids=lambda words: words.page)
def test_scores_in_the_sentences_of_a_page_are_in_its_tables(words: results_page.Words) -> None:
    page = (results_page.REPOSITORY / words.page).read_text(encoding="utf-8")
    made = re.findall(r"<!-- made by .*?<!-- end of what", page, re.DOTALL)
    by_hand = page
    for part in made:
        by_hand = by_hand.replace(part, "")
    scores = re.findall(r"(?<![\d.])\d+\.\d\d(?!\d|\.\d)", re.sub(r"```.*?```", "", by_hand, flags=re.DOTALL))
    tables = [part for part in made if re.match(r"<!-- made by \S+ \((scores|rates|few shot)\)", part)]
    cells = [cell for part in tables for cell in re.findall(r"(?<=\| )[\d.]+(?= ±)", part)]
    assert scores and set(scores) <= set(cells)


def test_either_measurement_makes_its_own_parts(pages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    types(monkeypatch)
    assert "x.py splinter" not in (pages / "docs" / "results.md").read_text(encoding="utf-8")
    (pages / "few_shot.json").write_text(json.dumps(few_shot()), encoding="utf-8")
    (pages / "tasks" / "sts.json").unlink()
    (pages / "wider_grid" / "sts.json").unlink()
    types(monkeypatch)
    page = (pages / "docs" / "results.md").read_text(encoding="utf-8")
    assert "x.py splinter\nx.py linear\n" in page and "--task sts" in page
    assert "선형 QA 헤드" in (pages / "docs" / "results_ko.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("change", [{"model": "another"}, {"pretraining": {"tokens": 1}}, {"shape": {}}])
def test_tasks_of_different_models_are_refused(
    pages: Path, monkeypatch: pytest.MonkeyPatch, capsys, change: dict[str, Any]
) -> None:
    (pages / "tasks" / "ner.json").write_text(json.dumps(task("ner", True, [0.5], [0.5]) | change), encoding="utf-8")
    with pytest.raises(SystemExit):
        types(monkeypatch)
    said = capsys.readouterr().err
    assert f"ner.json and {pages}/tasks/sts.json were not measured with the same model: measure them alike" in said


def test_short_runs_and_whole_ones_are_not_mixed(pages: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    content = task("ner", True, [0.5], [0.5]) | {"full": True}
    (pages / "tasks" / "ner.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SystemExit):
        types(monkeypatch)
    assert "were not measured with the same length of runs (--full)" in capsys.readouterr().err


def test_tasks_of_different_seeds_are_refused(pages: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    content = task("ner", True, [0.5, 0.5], [0.5, 0.5])
    (pages / "tasks" / "ner.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SystemExit):
        types(monkeypatch)
    assert "were not measured with the same seeds" in capsys.readouterr().err


def test_a_page_without_the_comments_is_refused(pages: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (pages / "docs" / "results_ko.md").write_text("# Results\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        types(monkeypatch)
    said = capsys.readouterr().err
    assert "docs/results_ko.md lacks the comments <!-- made by scripts/results_page.py (data)" in said


def test_a_broken_file_of_the_wider_grid_is_measured_into_its_own_folder(
    pages: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (pages / "wider_grid" / "sts.json").write_text("[]", encoding="utf-8")
    with pytest.raises(SystemExit):
        types(monkeypatch)
    assert "measure it again with scripts/measure_tasks.py --output wider_grid\n" in capsys.readouterr().err


def test_without_results_it_is_said_how_to_measure(pages: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (pages / "tasks" / "sts.json").unlink()
    (pages / "wider_grid" / "sts.json").unlink()
    with pytest.raises(SystemExit):
        types(monkeypatch)
    told = "run scripts/measure_tasks.py --output tasks or scripts/measure_few_shot.py --output .\n"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"task": "sts",', "not valid JSON (line 1): measure it again with scripts/measure_tasks.py"),
        ("[]", "not a results file (no JSON object): measure it again"),
        ("{}", "not a file of scripts/measure_tasks.py: folder: Field required"),
        (task("sts", False, [0.5], []), "arms.from scratch.runs: List should have at least 1 item"),
        (task("sts", False, [0.5, 0.5], [0.5]), "the two models were trained with different seeds"),
        (task("sts", False, [0.5], [0.5]) | {"main_metric": "spearman"}, "metrics of seed 42 has no 'spearman'"),
        (task("sts", False, [0.5], [0.5]) | {"rows": {}}, "rows has no 'train'"),
        (task("sts", False, [0.5], [0.5]) | {"arms": {}}, "arms has no 'pretrained'"),
        (task("sts", False, [float("nan")], [0.5]), "f1 of seed 42 is nan: scores are fractions"),
        (task("sts", False, [0.5], [0.5]) | {"files": {"a": "0"}}, "files must be the training file and the test"),
        (task_with(seconds=float("nan")), "arms.pretrained.runs.0.seconds: Input should be a finite number"),
        (task_with(epochs=-1), "arms.pretrained.runs.0.epochs: Input should be greater than or equal to 0"),
        (task_with_rate(0.5), "learning_rate 0.5 is not in the grid"),
        (task_with_rate("best"), "arms.pretrained.learning_rate: Input should be a valid number"),
    ],
)
def test_a_broken_file_is_named(pages: Path, monkeypatch: pytest.MonkeyPatch, capsys, text: Any, error: str) -> None:
    path = pages / "tasks" / "sts.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        types(monkeypatch)
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith(f"results_page.py: {path}: ") and error in said
