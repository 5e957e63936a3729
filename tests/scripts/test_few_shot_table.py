"""python3 -m pytest tests/scripts/test_few_shot_table.py

KoSplinter's few-shot table from hand-made results; its bootstrap against all resamples there are, and against scipy's.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from conftest import REPOSITORY
from few_shot_runs import QUESTIONS, RIGHT, write_run
from reporting.few_shot_bootstrap import RESAMPLES, p_no_gain

SCRIPT = REPOSITORY / "scripts" / "results_table.py"


def call(*words: str | Path, code: int = 0) -> tuple[str, str]:
    command = [sys.executable, SCRIPT, *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    return done.stdout, done.stderr


def grid(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """(model, metric) -> size -> cell."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    header, _, *rows = lines
    return {(row[0], row[1]): dict(zip(header[2:], row[2:], strict=True)) for row in rows}


def notes(text: str) -> list[str]:
    return [line.removeprefix("- Note: ") for line in text.splitlines() if line.startswith("- Note: ")]


# --------------------------------------------------------------------------------------------------------------------
# The bootstrap
# --------------------------------------------------------------------------------------------------------------------


def test_p_is_the_share_of_all_resamples_without_a_gain():
    """With four questions there are 4^4 = 256 resamples: each is looked at."""
    gains = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, -0.5, 0.0], [-1.0, 0.3, 0.1]])
    resamples = [gains[list(drawn)].mean(axis=0) for drawn in itertools.product(range(4), repeat=4)]
    exact = np.mean(np.array(resamples) <= 1e-12, axis=0)
    assert exact[2] == pytest.approx((3 / 4) ** 4)  # the one question with a gain is in no such resample
    # three standard errors of a share from 10,000 draws: at most 3 * 0.005
    assert p_no_gain(gains) == pytest.approx(exact, abs=0.015)


def test_p_is_that_of_scipys_bootstrap():
    generator = np.random.default_rng(5)
    gains = generator.normal(0.05, 0.5, size=(300, 3))
    for gain, p in zip(gains.T, p_no_gain(gains), strict=True):
        theirs = bootstrap((gain,), np.mean, n_resamples=10_000, batch=500, method="percentile", rng=generator)
        assert p == pytest.approx(np.mean(theirs.bootstrap_distribution <= 0), abs=0.02)


def test_a_clear_win_a_tie_and_noise():
    generator = np.random.default_rng(0)
    noise = generator.permutation(np.repeat([1.0, -1.0, 0.0], 100))
    win, tie, loss, even = p_no_gain(np.stack([np.ones(300), np.zeros(300), -np.ones(300), noise], axis=1))
    assert win == 1 / (RESAMPLES + 1) and tie == loss == 1  # never 0: what was observed counts as a resample
    assert 0.4 < even < 0.6
    # Of models that are equally good, one in twenty is called better: 400 pairs, mean 20, standard deviation 4.4.
    equals = generator.normal(size=(200, 400))
    assert 7 <= np.sum(p_no_gain(equals, resamples=2000) < 0.05) <= 33


def test_means_over_three_samples_tie_however_they_are_rounded():
    gain = 0.1 + 0.2 - 0.3  # 5.6e-17
    assert gain > 0 and p_no_gain(np.full((9, 1), gain))[0] == 1


def test_the_same_p_every_time_and_within_memory():
    gains = np.random.default_rng(1).normal(0.01, 1, size=(5774, 4))
    tracemalloc.start()
    first = p_no_gain(gains)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(first, p_no_gain(gains))
    assert np.array_equal(first[:2], p_no_gain(gains[:, :2]))  # whatever else is compared
    assert peak < 100e6  # all resamples at once would be 460 MB


# --------------------------------------------------------------------------------------------------------------------
# The table
# --------------------------------------------------------------------------------------------------------------------


def test_rows_of_models_columns_of_sizes(tmp_path: Path):
    for seed, right in ((42, 20), (43, 22), (44, 24)):
        write_run(tmp_path / "s", "kosplinter", 16, seed, right, head="qass")
        write_run(tmp_path / "s", "kosplinter", "full", seed, 38, head="qass")
        write_run(tmp_path / "k", "koelectra-base-v3", 16, seed, right - 16)
    write_run(tmp_path / "a", "a-bert", 48, 42, 10)
    write_run(tmp_path / "a0", "a-bert", 48, 42, 1, from_scratch=True)
    text, errors = call(tmp_path)
    assert errors == "" and notes(text) == [] and text.startswith("## KoSplinter") and "Other tasks" not in text
    cells = grid(text)
    names = ["KoSplinter", "KoELECTRA-Base-v3", "a-bert", "a-bert, from scratch"]
    assert list(cells) == [(name, metric) for name in names for metric in ("EM", "F1")]
    assert list(cells["KoSplinter", "EM"]) == ["16", "48", "Full"]
    # 20, 22 and 24 of 40: 55 per cent in the mean, deviations of 5; F1 has half a question, 1.25 per cent, more
    assert cells["KoSplinter", "EM"]["16"] == "55.00 ± 5.00ˡ† (33.67)"
    assert cells["KoSplinter", "F1"]["16"] == "56.25 ± 5.00ˡ† (46.22)"
    assert cells["KoSplinter", "F1"]["Full"] == "96.25 ± 0.00ˡ (94.34)"  # no other model to be better than
    assert cells["KoSplinter", "EM"]["48"] == "–"
    assert cells["KoELECTRA-Base-v3", "EM"]["16"] == "15.00 ± 5.00ˡ (10.24)"
    assert cells["a-bert", "EM"]["48"] == "25.00ˡ† n=1" and cells["a-bert, from scratch", "EM"]["48"] == "2.50ˡ n=1"
    for line in (
        "- ± sample standard deviation over 3 samples.",
        "- n= a mean over so few samples, where others have 3.",
        "- Scored on: KorQuAD_v1.0_dev.json, 40 questions, not the published ones.",
    ):
        assert line in text.splitlines()
    theirs = "published score of the model of that name, on the 5,774 questions of KorQuAD_v1.0_dev.json"
    assert f"- ( ) {theirs}; mean over 3 samples; Full: after training on all questions." in text.splitlines()
    borrowed = "KoELECTRA-Base-v3, Full: from the README of KoELECTRA, and the best of several evaluations on that file"
    assert f"- {borrowed}." in text.splitlines() and "KoSplinter, Full: from" not in text
    assert "† better than every other measured model at its size: paired bootstrap over 40 questions" in text
    assert "nothing of how scores vary from sample to sample" in text
    everything = grid(call(tmp_path, "--all_published")[0])
    assert list(everything["KoSplinter", "F1"]) == ["16", "32", "48", "64", "128", "256", "512", "1024", "Full"]
    assert everything["KoSplinter", "F1"]["32"] == "– (63.38)" and everything["KoSplinter", "EM"]["48"] == "–"


def test_the_published_scores_of_all_questions_are_told_from_those_of_samples(tmp_path: Path):
    write_run(tmp_path / "full", "kosplinter", "full", 42, 20, head="qass")
    text, _ = call(tmp_path / "full")
    assert "(86.16)" in text and "mean over 3 samples" not in text and "from the README of KoELECTRA" not in text
    write_run(tmp_path / "few", "koelectra-base-v3", 16, 42, 20)
    text, _ = call(tmp_path / "few")
    assert "mean over 3 samples." in text and "Full:" not in text


def test_only_what_was_run_has_a_column_where_nothing_is_published(tmp_path: Path):
    write_run(tmp_path, "a-bert", 64, 42, 10)
    write_run(tmp_path, "a-bert", 16, 42, 8)
    text, _ = call(tmp_path)
    assert list(grid(text)["a-bert", "EM"]) == ["16", "64"]
    assert "†" not in text and "n=" not in text and "( )" not in text
    everything, _ = call(tmp_path, "--all_published", "--shape", "kosplinter")
    assert grid(everything)["KoELECTRA-Base-v3", "F1"]["Full"] == "– (93.45)"


def test_a_score_that_is_no_number_and_a_folder_in_capital_letters(tmp_path: Path):
    write_run(tmp_path / "a", "KoSplinter", 16, 42, 20)
    folder = write_run(tmp_path / "b", "KoSplinter", 16, 43, 20)
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(results | {"metrics": {"em": float("nan"), "f1": 0.5}}))
    text, _ = call(tmp_path)
    assert grid(text)["KoSplinter", "EM"]["16"] == "50.00ˡ (33.67)"
    write_run(tmp_path / "c", "KoSplinter", 16, 42, 4, from_scratch=True)
    assert grid(call(tmp_path)[0])["KoSplinter, from scratch", "EM"]["16"] == "10.00ˡ"
    reason = "the score of seed 43 is not a finite number and is not in the mean."
    assert notes(text) == [f"KoSplinter, 16: {reason}"]
    assert reason in call(tmp_path / "b")[0]  # with no cell at all


def test_questions_that_are_the_published_ones_in_number(tmp_path: Path):
    scores = {str(number): RIGHT for number in range(5774)}
    write_run(tmp_path, "kosplinter", 16, 42, 0, scores)
    assert "- Scored on: KorQuAD_v1.0_dev.json, 5,774 questions, as published." in call(tmp_path)[0].splitlines()


def test_beside_other_tasks_and_by_shape(tmp_path: Path):
    write_run(tmp_path / "few", "a-bert", 16, 42, 10)
    other = {"task": "nsmc", "model": "kobert", "main_metric": "accuracy", "metrics": {"accuracy": 0.9}, "seed": 1}
    (tmp_path / "results.json").write_text(json.dumps(other), encoding="utf-8")
    both, _ = call(tmp_path)
    assert [line for line in both.splitlines() if line.startswith("## ")] == [
        *("## KoELECTRA tasks", "## KoSplinter: KorQuAD with few questions")
    ]
    assert "## KoSplinter" not in call(tmp_path, "--shape", "koelectra")[0]
    assert call(tmp_path, "--shape", "kosplinter")[0].startswith("## KoSplinter")
    (tmp_path / "few" / "16" / "seed-42" / "results.json").unlink()
    assert "no results for the kosplinter table" in call(tmp_path, "--shape", "kosplinter", code=2)[1]


def test_csv(tmp_path: Path):
    for seed in (42, 43):
        write_run(tmp_path / "s", "kosplinter", 16, seed, 30, head="qass")
        write_run(tmp_path / "0", "kosplinter", 16, seed, 10, head="qass", from_scratch=True)
    text, _ = call(tmp_path, "--csv")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert list(lines[0].values()) == [
        *("kosplinter", "korquad-few-shot", "em", "75.0", "0.0", "2", "42 43", "33.67", "last", "false", "16", "0.0001")
    ]
    assert [(line["model"], line["metric"], line["published"], line["p"]) for line in lines[1:]] == [
        ("kosplinter", "f1", "46.22", "0.0001"),
        ("kosplinter, from scratch", "em", "", "1.0"),
        ("kosplinter, from scratch", "f1", "", "1.0"),
    ]
    extra = list(csv.DictReader(io.StringIO(call(tmp_path, "--csv", "--all_published")[0])))
    assert len(extra) == 4 + 2 * 7 + 2 * 8 and [line["n"] for line in extra].count("0") == 30


def test_a_run_on_all_questions_without_a_study_is_full(tmp_path: Path):
    write_run(tmp_path, "a-bert", "full", 42, 20)
    write_run(tmp_path / "alone", "a-bert", "full", 43, 22, few_shot=None, samples=1)
    assert grid(call(tmp_path)[0])["a-bert", "EM"] == {"Full": "52.50 ± 3.54ˡ"}


def test_other_settings_stand_in_rows_of_their_own(tmp_path: Path):
    for seed in (42, 43):
        for size in (16, "full"):
            write_run(tmp_path / "main", "a-bert", size, seed, 20)
        write_run(tmp_path / "lr", "a-bert", 16, seed, 22, learning_rate=1e-04)
    write_run(tmp_path / "head", "a-bert", 16, 42, 24, head="qass")
    write_run(tmp_path / "steps", "a-bert", 16, 44, 26, num_train_epochs=20.0)
    text, _ = call(tmp_path)
    scores = {model: (row["16"], row["Full"]) for (model, metric), row in grid(text).items() if metric == "EM"}
    assert scores == {
        "a-bert": ("50.00 ± 0.00ˡ", "50.00 ± 0.00ˡ"),
        "a-bert [2]": ("65.00ˡ n=1", "–"),
        "a-bert [3]": ("55.00 ± 0.00ˡ", "–"),
        "a-bert [4]": ("60.00ˡ n=1", "–"),
    }
    assert notes(text) == [
        "a-bert [2], 16: a row of its own: num_train_epochs 20.0, not 10.0.",
        "a-bert [3]: a row of its own: learning_rate 0.0001, not 3e-05.",
        "a-bert [4]: a row of its own: head qass, not linear.",
    ]


def test_the_published_score_stands_beside_its_own_head(tmp_path: Path):
    write_run(tmp_path / "qass", "kosplinter", 16, 42, 30, head="qass")
    for seed in (42, 43):
        write_run(tmp_path / "linear", "kosplinter", 16, seed, 10, head="linear")
    cells = grid(call(tmp_path)[0])
    assert cells["KoSplinter", "EM"]["16"] == "75.00ˡ n=1 (33.67)"
    assert cells["KoSplinter [2]", "EM"]["16"] == "25.00 ± 0.00ˡ"


def test_the_published_score_stands_beside_the_code_that_made_it(tmp_path: Path):
    """KoSplinter's was made with kosplinter_compat; where no run has it, the legend says so."""
    for seed in (42, 43):
        write_run(tmp_path / "right", "kosplinter", 16, seed, 10, head="qass", kosplinter_compat=False)
    text, _ = call(tmp_path)
    told = "- KoSplinter: published with kosplinter_compat true, measured here with kosplinter_compat false."
    assert told in text.splitlines()
    assert grid(text)["KoSplinter", "EM"]["16"] == "25.00 ± 0.00ˡ (33.67)"
    write_run(tmp_path / "theirs", "kosplinter", 16, 42, 30, head="qass", kosplinter_compat=True)
    text, _ = call(tmp_path)
    assert grid(text)["KoSplinter", "EM"]["16"] == "75.00ˡ n=1 (33.67)" and "published with" not in text
    assert grid(text)["KoSplinter [2]", "EM"]["16"] == "25.00 ± 0.00ˡ"


def test_better_means_than_every_other_model(tmp_path: Path):
    """C is far better than A but as good as B; A's further setting is no other model."""
    write_run(tmp_path / "a", "a", 16, 42, 4)
    write_run(tmp_path / "a2", "a", 16, 42, 5, learning_rate=1.0)
    write_run(tmp_path / "b", "b", 16, 42, 30)
    write_run(tmp_path / "c", "c", 16, 42, 30)
    write_run(tmp_path / "a", "a", 64, 42, 38)
    write_run(tmp_path / "a2", "a", 64, 42, 39 - 1, learning_rate=1.0)
    write_run(tmp_path / "b", "b", 64, 42, 30)
    cells = grid(call(tmp_path)[0])
    assert not any("†" in row["16"] for row in cells.values())
    assert [model for (model, metric), row in cells.items() if "†" in row["64"] and metric == "EM"] == ["a", "a [2]"]


def test_a_small_gain_on_a_few_questions_is_not_better(tmp_path: Path):
    write_run(tmp_path / "a", "a", 16, 42, 20)
    write_run(tmp_path / "b", "b", 16, 42, 21)
    text, _ = call(tmp_path)
    assert "†" not in "".join(cell for row in grid(text).values() for cell in row.values())
    assert "- No model is better than every other measured model at its size" in text  # compared it was


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no "),
        ("{", "not valid JSON (line 1)"),
        ("[1]", "no JSON object"),
        ("{}", "has no questions"),
        ('{"q": 0.5}', "has 0.5 for 'q', not [em, f1] as fractions"),
        ('{"q": [0, 90.0]}', "has [0, 90.0] for 'q'"),
        ('{"q": [0, NaN]}', "has [0, NaN] for 'q'"),
        ('{"q": [1, 1]}', "has em 1.0000 on average, and results.json 0.5000"),
    ],
)
def test_question_scores_that_cannot_be_used_cost_a_note(tmp_path: Path, content: str | None, reason: str):
    folder = write_run(tmp_path / "a", "a", 16, 42, 20)
    write_run(tmp_path / "b", "b", 16, 42, 30)
    (folder / "question_scores.json").unlink()
    if content is not None:
        (folder / "question_scores.json").write_text(content, encoding="utf-8")
    text, errors = call(tmp_path)
    (note,) = notes(text)
    assert note.startswith("16: models could not be compared (a: ") and reason in note and errors == ""
    assert f"{folder}/question_scores.json" in note and grid(text)["b", "EM"]["16"] == "75.00ˡ" and "†" not in text


def test_models_and_samples_that_were_scored_on_other_questions(tmp_path: Path):
    others = {f"other{number}": RIGHT for number in range(QUESTIONS)}
    write_run(tmp_path / "a", "a", 16, 42, 20)
    write_run(tmp_path / "b", "b", 16, 42, 0, others)
    write_run(tmp_path / "a", "a", 32, 42, 20)
    write_run(tmp_path / "a", "a", 32, 43, 0, others)
    write_run(tmp_path / "b", "b", 32, 42, 20)
    write_run(tmp_path / "b", "b", 32, 43, 20)
    write_run(tmp_path / "a", "a", 64, 42, 20)
    write_run(tmp_path / "b", "b", 64, 43, 20)
    first, second, third = notes(call(tmp_path)[0])
    assert first.startswith("16: ") and "same questions" in first
    assert "question_scores.json has other questions than that of seed 42" in second
    assert third.startswith("64: ") and "a: 42; b: 43" in third


@pytest.mark.parametrize("few_shot", [[16, 32], [0], ["all"], [True], 16])
def test_a_run_without_a_size_costs_a_warning(tmp_path: Path, few_shot: Any):
    write_run(tmp_path / "good", "a", 16, 42, 20)
    write_run(tmp_path / "bad", "a", 16, 43, 20, few_shot=few_shot)
    text, errors = call(tmp_path)
    assert grid(text)["a", "EM"]["16"] == "50.00ˡ"
    assert errors.count("\n") == 1 and "bad/16/seed-43/results.json: few_shot is " in errors
