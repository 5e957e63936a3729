"""python3 -m pytest tests/scripts/test_spanbert_table.py

The table of the Korean SpanBERT's study, and its caption, from hand-made results.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"


def write_run(
    folder: Path,
    epochs: int,
    pooling: str,
    accuracy: float,
    step: int,
    seed: int = 42,
    known: dict[str, Any] | None = None,
    **changes: Any,
):
    """Three epochs of 10 steps, logged twice each; the mean losses of the epochs are 0.35, 0.25 and 0.15.

    known: what else is recorded about pretraining.
    """
    results = {
        **{"task": "nsmc", "model": f"checkpoint-{epochs}", "seed": seed, "split": "test", "main_metric": "accuracy"},
        **{"metrics": {"accuracy": accuracy}, "selection": "test", "at_chance": False, "step": step},
        "training": {"steps": 30, "epochs": 3.0},
        "config": {"pooling": pooling, "seed": seed, "from_scratch": not epochs, **changes},
        "pretraining": {"objective": "spanbert", "epochs": float(epochs)} | (known or {}) if epochs else None,
    }
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))
    losses = {5: 0.4, 10: 0.3, 15: 0.3, 20: 0.2, 25: 0.2, 30: 0.1}
    events = [{"event": "train", "step": step, "epoch": step / 10, "loss": loss} for step, loss in losses.items()]
    events.append({"event": "evaluation", "step": 30, "epoch": 3.0, "metrics": {"accuracy": 0.5}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def table(*words: str | Path, code: int = 0) -> tuple[list[list[str]], list[str], str]:
    """Rows of the table, lines below it, standard error."""
    command = [sys.executable, SCRIPTS / "spanbert_table.py", *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == code, done.stderr
    lines = done.stdout.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return (
        [row for row in rows if not row[0].startswith(":-")],
        [line for line in lines if line[:2] == "- "],
        done.stderr,
    )


def test_the_published_rows_with_what_was_measured(tmp_path: Path):
    write_run(tmp_path / "a", 0, "cls", 0.81, step=20)
    write_run(tmp_path / "b" / "seed-1", 5, "mean", 0.82, step=30, seed=1)
    write_run(tmp_path / "b" / "seed-2", 5, "mean", 0.84, step=20, seed=2)
    write_run(tmp_path / "c", 5, "max", 0.83, step=30, learning_rate=0.5)
    write_run(tmp_path / "d", 5, "max", 0.70, step=30, learning_rate=1.0)
    write_run(tmp_path / "e", 3, "cls", 0.80, step=10)
    rows, below, _ = table(tmp_path)
    assert rows == [
        ["ITEM", "Pretrain", "logit", "epoch", "loss", "accuracy"],
        ["spanbert-pre:0-cls", "0", "cls", "2 (9)", "0.250 (0.22)", "0.8100ᵗ (0.825)"],
        ["spanbert-pre:5-cls", "5", "cls", "– (9)", "– (0.201)", "– (0.826)"],
        ["spanbert-pre:5-mean", "5", "mean", "2.5 ± 0.7 (9)", "0.200 ± 0.071 (0.178)", "0.8300 ± 0.0141ᵗ (0.826)"],
        ["spanbert-pre:5-max", "5", "max", "3 (9)", "0.150 (0.184)", "0.8300ᵗ (0.827)"],
        ["spanbert-pre:5-max [2]", "5", "max", "3", "0.150", "0.7000ᵗ"],
        ["spanbert-pre:10-max", "10", "max", "– (5)", "– (0.254)", "– (0.827)"],
        ["spanbert-pre:3-cls", "3", "cls", "1", "0.350", "0.8000ᵗ"],
    ]
    assert any(line.startswith("- ± sample standard deviation over 2 seeds") for line in below)
    assert any("[2]: a row of its own: learning_rate 1.0, not 0.5" in line for line in below)


PAPERS = {"span_law": "geometric", "span_overrun": "cut", "mask_decision": "span", "mask_once": False, "sbo": "paper",
          "mlm_head": "bert", "max_grad_norm": 1.0, "lr_scheduler": "linear", "lower_case": True,
          "held_out_share": 0.01}  # fmt: skip
ORIGINALS = {"span_law": "inverse", "span_overrun": "skip", "mask_decision": "token", "mask_once": True,
             "sbo": "original", "mlm_head": "tied", "max_grad_norm": 0.0, "lr_scheduler": "linear",
             "lower_case": "corpus", "held_out_share": 0.0}  # fmt: skip


def caption_of(folder: Path) -> str:
    """The line above the table."""
    command = [sys.executable, SCRIPTS / "spanbert_table.py", folder]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.split("\n")[0]


def test_the_caption_says_whose_recipe_it_was(tmp_path: Path):
    """From what the checkpoints record, and not from how the table was called."""
    write_run(tmp_path / "paper" / "a", 5, "max", 0.8, 30, known={"planned_epochs": 10.0, "recipe": PAPERS})
    write_run(tmp_path / "paper" / "b", 10, "max", 0.8, 30, known={"planned_epochs": 10.0, "recipe": PAPERS})
    write_run(tmp_path / "paper" / "c", 0, "cls", 0.8, 30)
    papers = "Pretrained by the SpanBERT paper's recipe, which is not the Korean original's (that is --as_published)"
    assert caption_of(tmp_path / "paper") == (
        f"{papers}, up to the middle of a run of 10 epochs: spanbert-pre:5-max. "
        f"{papers}, in a whole run, whose learning rate ends at 0: spanbert-pre:10-max."
    )
    for epochs, pooling in ((5, "cls"), (5, "max"), (10, "max")):
        known = {"planned_epochs": float(epochs), "recipe": ORIGINALS}
        write_run(tmp_path / "original" / f"{epochs}-{pooling}", epochs, pooling, 0.8, 30, known=known)
    originals = "Pretrained with the Korean original's settings (--as_published)"
    assert caption_of(tmp_path / "original") == (
        f"{originals}, in a whole run, whose learning rate ends at 0: spanbert-pre:5-cls, spanbert-pre:5-max, "
        "spanbert-pre:10-max."
    )
    known = {"planned_epochs": 10.0, "recipe": ORIGINALS}
    write_run(tmp_path / "middle", 5, "max", 0.8, 30, known=known)
    assert caption_of(tmp_path / "middle").startswith(f"{originals}, up to the middle of a run of 10 epochs: ")


@pytest.mark.parametrize("key", ORIGINALS)
def test_one_other_setting_makes_it_neither_recipe(key: str, tmp_path: Path):
    other = "cosine" if key == "lr_scheduler" else PAPERS[key]
    known = {"planned_epochs": 5.0, "recipe": ORIGINALS | {key: other}}
    write_run(tmp_path / "a", 5, "max", 0.8, 30, known=known)
    told = caption_of(tmp_path)
    assert "neither the SpanBERT paper's nor the Korean original's" in told and f"{key} {other}" in told


def test_a_recipe_that_is_not_recorded(tmp_path: Path):
    write_run(tmp_path / "older", 5, "max", 0.8, 30)
    assert caption_of(tmp_path) == "Pretrained with settings that its checkpoint does not record: spanbert-pre:5-max."
    write_run(tmp_path / "none" / "scratch", 0, "cls", 0.8, 30)
    assert caption_of(tmp_path / "none") == "Nothing was pretrained."


def test_a_log_that_broke_off(tmp_path: Path):
    write_run(tmp_path / "a", 0, "cls", 0.81, step=20)
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write('{"event": "train", "ep')
    rows, _, said = table(tmp_path)
    assert rows[1][4] == "0.250 (0.22)" and "metrics.jsonl:8: not a JSON object; left out" in said


def test_a_score_that_is_no_number_and_a_selection_that_is_not_known(tmp_path: Path):
    write_run(tmp_path / "a", 0, "cls", float("nan"), step=20)
    write_run(tmp_path / "b", 5, "cls", 0.8, step=20)
    path = tmp_path / "b" / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"selection": None}))
    rows, below, _ = table(tmp_path)
    assert rows[1] == ["spanbert-pre:0-cls", "0", "cls", "– (9)", "– (0.22)", "– (0.825)"]
    assert rows[2][5] == "0.8000ˀ (0.826)" and "- ˀ how the checkpoint was selected is not recorded." in below
    assert any("the score of seed 42 is not a finite number" in line for line in below)


def test_what_the_table_refuses(tmp_path: Path):
    assert "no such folder" in table(tmp_path / "none", code=2)[2]
    assert "no SpanBERT's results of nsmc" in table(tmp_path, code=2)[2]
    write_run(tmp_path / "electra", 0, "cls", 0.9, step=30, from_scratch=False)
    said = table(tmp_path, code=2)[2]
    assert "checkpoint-0 is no SpanBERT of this suite; left out" in said
    write_run(tmp_path / "tiny-electra", 0, "cls", 0.9, step=30)
    path = tmp_path / "tiny-electra" / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "tiny-electra"}))
    assert "tiny-electra is no SpanBERT of this suite; left out" in table(tmp_path, code=2)[2]
    (tmp_path / "electra" / "results.json").write_text('{"task": "nsmc", "hardware": "x"}')
    assert "hardware" in table(tmp_path, code=2)[2]
