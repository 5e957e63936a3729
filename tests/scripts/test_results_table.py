"""python3 -m pytest tests/scripts/test_results_table.py

Hand-made results.json files, the script as a subprocess; expected numbers are computed by hand.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "results_table.py"
SCORES = REPOSITORY / "scripts" / "reporting" / "published_scores.json"
PUBLISHED = REPOSITORY.parent / "shared" / "published" / "results.json"
METRICS = {"korsts": "spearman", "korquad": "f1", "hate-speech": "macro_f1", "fake-news": "f1", "naver-ner": "f1"}


def write_run(folder: Path, task: str = "nsmc", model: str = "koelectra-base", seed: int = 42, **changes: Any) -> Path:
    """One results.json; `score` is the main metric, `config` adds settings, other keywords replace whole keys."""
    metric = METRICS.get(task, "accuracy")
    run = {
        "task": task,
        "model": model,
        "model_name_or_path": f"monologg/{model}-discriminator",
        "seed": seed,
        "split": "test",
        "main_metric": metric,
        "metrics": {metric: changes.pop("score", 0.9), "loss": 0.27},
        "selection": "dev",
        "at_chance": False,
        "data": {f"data/{task}/train.tsv": "aaaa", f"data/{task}/test.tsv": "bbbb"},
        "config": {"seed": seed, "output_dir": str(folder), "learning_rate": 5e-05, **changes.pop("config", {})},
    }
    folder.mkdir(parents=True)
    path = folder / "results.json"
    path.write_text(json.dumps({**run, **changes}, ensure_ascii=False), encoding="utf-8")
    return path


def call(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
    result = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout, result.stderr


def grid(text: str) -> list[dict[str, str]]:
    """The rows of all Markdown tables in `text`; the model's name is under ''."""
    rows, header = [], None
    for line in text.splitlines():
        if not line.startswith("|"):
            header = None
            continue
        fields = [field.strip() for field in line.strip("|").split(" | ")]
        if header is None:
            header = fields
        elif not fields[0].startswith(":-"):
            rows.append(dict(zip(header, fields, strict=True)))
    return rows


def test_mean_and_sample_deviation_beside_the_published_score(tmp_path: Path) -> None:
    for seed, score in ((42, 0.90), (43, 0.91), (44, 0.92)):
        write_run(tmp_path / f"base/seed-{seed}", seed=seed, score=score)
    (tmp_path / "base/seeds.json").write_text("[]", encoding="utf-8")
    write_run(tmp_path / "one", task="korsts", score=0.8321, metrics={"pearson": 0.9, "spearman": 0.8321},
              config={"test_file": "/data/sts-test.tsv"}, rows={"train": 5749, "test": 1379})  # fmt: skip
    text, errors = call(tmp_path)
    (row,) = grid(text)
    # mean 91, deviations -1, 0, 1: sample variance (1 + 0 + 1) / 2 = 1
    assert row["NSMC (acc)"] == "91.00 ± 1.00ᵈ (90.21)"
    assert row["KorSTS (spearman)"] == "83.21ᵈ (83.21)"
    assert row["PAWS (acc)"] == "– (81.90)"
    assert row["KorQuAD (Dev) (EM/F1)"] == "– (61.10 / 89.59)"
    assert (row[""], row["Size"]) == ("KoELECTRA-Base", "423M")
    assert "Hate Speech (macro F1)" not in row  # neither measured nor published for this row
    assert "over 3 seeds" in text and "checkpoint selected" in text
    assert "Scored on: NSMC test; KorSTS sts-test.tsv (1,379 rows)." in text
    assert "last checkpoint" not in text  # only the marks that occur are explained
    assert errors == ""


def test_rows_come_in_the_published_order_and_pairs_in_one_cell(tmp_path: Path) -> None:
    write_run(tmp_path / "a", model="my-electra", selection="last", score=0.5)
    write_run(tmp_path / "b", model="koelectra-small-v3", selection="test", score=0.8)
    write_run(tmp_path / "c", model="koelectra-base", score=0.9)
    write_run(tmp_path / "d", model="kobert", score=0.9)
    for seed, em, f1 in ((1, 0.60, 0.80), (2, 0.62, 0.80)):
        write_run(tmp_path / f"q{seed}", "korquad", "kobert", seed, metrics={"em": em, "f1": f1}, split="dev")
    text, _ = call(tmp_path)
    assert [line for line in text.splitlines() if line.startswith("### ")] == [
        "### Base Model", "### Small Model", "### Other Models",
    ]  # fmt: skip
    rows = {row[""]: row for row in grid(text)}
    assert list(rows) == ["KoBERT", "KoELECTRA-Base", "KoELECTRA-Small-v3", "my-electra"]
    # deviations -1 and 1 around 61: sample variance 2 / 1, root 1.414
    assert rows["KoBERT"]["KorQuAD (Dev) (EM/F1)"] == "61.00 ± 1.41 / 80.00 ± 0.00ᵈ (52.81 / 80.27)"
    assert rows["my-electra"]["NSMC (acc)"] == "50.00ˡ"
    assert rows["my-electra"]["PAWS (acc)"] == "–"
    assert rows["KoELECTRA-Small-v3"]["NSMC (acc)"] == "80.00ᵗ (89.36)"
    assert rows["KoELECTRA-Small-v3"]["Hate Speech (macro F1)"] == "– (63.07)"
    assert "KorQuAD (Dev) dev" in text and "last checkpoint" in text and "best on test" in text
    everything, _ = call(tmp_path, "--all_published")
    koelectra = json.loads(SCORES.read_text(encoding="utf-8"))["tables"]["koelectra"]
    published = [row for group in koelectra["groups"] for row in group["rows"]]
    assert len(grid(everything)) == len(published) + 1  # my-electra
    assert grid(everything)[1]["NSMC (acc)"] == "– (89.49)"


def test_runs_in_other_settings_are_never_averaged(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / f"main-{seed}", seed=seed, score=0.90, config={"threads": seed, "data_dir": f"d{seed}"})
    write_run(tmp_path / "lr", seed=3, score=0.80, config={"learning_rate": 3e-05})
    write_run(tmp_path / "data", seed=4, score=0.70, data={"data/nsmc/train.tsv": "cccc", "data/nsmc/test.tsv": "bbbb"})
    write_run(tmp_path / "how", seed=5, score=0.60, selection="last")
    write_run(tmp_path / "split", seed=6, score=0.50, split="dev")
    text, _ = call(tmp_path)
    rows = {row[""]: row["NSMC (acc)"] for row in grid(text)}
    assert rows.pop("KoELECTRA-Base") == "90.00 ± 0.00ᵈ (90.21)"
    assert sorted(rows) == [f"KoELECTRA-Base [{number}]" for number in (2, 3, 4, 5)]
    assert sorted(rows.values()) == [f"{score}.00{mark} (90.21)" for score, mark in
                                     ((50, "ᵈ"), (60, "ˡ"), (70, "ᵈ"), (80, "ᵈ"))]  # fmt: skip
    notes = [line for line in text.splitlines() if line.startswith("- Note: ")]
    assert len(notes) == 4
    for reason in ("learning_rate 3e-05, not 5e-05", "other data (train.tsv)", "selection 'last', not 'dev'",
                   "split 'dev', not 'test'"):  # fmt: skip
        assert sum(reason in note for note in notes) == 1
    assert "Scored on: NSMC dev and test." in text


def test_a_model_from_scratch_does_not_stand_beside_published_scores(tmp_path: Path) -> None:
    write_run(tmp_path / "scratch", score=0.7, config={"from_scratch": True})
    (row,) = grid(call(tmp_path)[0])
    assert (row[""], row["NSMC (acc)"]) == ("koelectra-base, from scratch", "70.00ᵈ")
    write_run(tmp_path / "pretrained", config={"from_scratch": False})
    rows = {row[""]: row["NSMC (acc)"] for row in grid(call(tmp_path)[0])}
    assert rows == {"KoELECTRA-Base": "90.00ᵈ (90.21)", "koelectra-base, from scratch": "70.00ᵈ"}


def test_what_the_published_scores_of_klue_are_of_is_said(tmp_path: Path) -> None:
    """KLUE publishes scores of its hidden test files, and its development files are what there is to score on."""
    config = {"test_file": "ynat-v1.1_dev.json"}
    write_run(tmp_path / "tc", "klue-tc", "klue-roberta-base", main_metric="macro_f1", metrics={"macro_f1": 0.86},
              config=config, rows={"train": 45678, "test": 9107})  # fmt: skip
    lines = call(tmp_path, "--shape", "klue")[0].splitlines()
    assert "- Scored on: KLUE-TC ynat-v1.1_dev.json (9,107 rows)." in lines
    published = next(line for line in lines if line.startswith("- ( ) published score"))
    assert "on KLUE's official test files" in published and "not to be compared" in published
    assert "best on dev in KLUE-TC" in published


def test_the_newest_of_a_repeated_seed_counts_and_a_file_only_once(tmp_path: Path) -> None:
    for name, score, written in (("new", 0.92, 2000), ("old", 0.50, 1000)):
        os.utime(write_run(tmp_path / name, score=score), (written, written))
    write_run(tmp_path / "other", seed=43, score=0.90)
    text, _ = call(tmp_path, tmp_path / "new")
    assert grid(text)[0]["NSMC (acc)"] == "91.00 ± 1.41ᵈ (90.21)"
    assert f"KoELECTRA-Base, NSMC: seed 42 was found 2 times; the newest counts ({tmp_path}/new/results.json)" in text


def test_chance_and_scores_that_are_no_number_are_said(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=1, score=0.90)
    write_run(tmp_path / "b", seed=2, score=0.50, at_chance=True)
    write_run(tmp_path / "c", seed=3, score=float("nan"))
    text, _ = call(tmp_path)
    assert grid(text)[0]["NSMC (acc)"] == "70.00 ± 28.28ᵈ⚠ (90.21)"
    assert "1 of 2 at chance (seed 2)" in text and "ended at chance level" in text
    assert "the score of seed 3 is not a finite number and is not in the mean" in text


def test_a_model_that_was_scored_by_its_name_has_no_seed(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_run(tmp_path / folder, seed=None, selection=None, score=0.50, at_chance=True)
    text, _ = call(tmp_path)
    assert "NSMC: 1 of 1 at chance.\n" in text and "NSMC: a run of unknown seed was found 2 times" in text
    write_run(tmp_path / "c", seed=42, score=0.90)
    both, _ = call(tmp_path)
    assert "a row of its own: its training is recorded, the first row's is not.\n" in both
    assert "None" not in text + both and "None" not in call(tmp_path, "--csv")[0]


def test_kobigbird_table_and_tasks_of_no_table(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "fake-news", "kobigbird-bert-base", score=0.98, selection="test")
    write_run(tmp_path / "b", "my-task", "kobigbird-bert-base", score=0.5)
    text, _ = call(tmp_path)
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## KoBigBird tasks", "## Other tasks"]
    long, other = grid(text)
    assert long["Fake News (f1)"] == "98.00ᵗ (98.85)" and long["TyDi QA (em/f1)"] == "– (79.13 / 81.30)"
    assert "Size" not in long
    assert other["my-task (accuracy)"] == "50.00ᵈ"
    only, _ = call(tmp_path, "--shape", "kobigbird")
    assert "my-task" not in only
    _, error = call(tmp_path, "--shape", "koelectra", code=2)
    assert error.count("\n") == 1 and "no results for the koelectra table" in error


def test_csv(tmp_path: Path) -> None:
    for seed, score in ((42, 0.90), (43, 0.91), (44, 0.92)):
        write_run(tmp_path / f"seed-{seed}", seed=seed, score=score)
    write_run(tmp_path / "q", "korquad", metrics={"em": 0.5, "f1": 0.75}, at_chance=True)
    write_run(tmp_path / "lr", score=0.8, config={"learning_rate": 1e-05})
    text, errors = call(tmp_path, "--csv")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert list(lines[0]) == "model task metric mean std n seeds published selection at_chance size p".split()
    assert list(lines[0].values()) == [
        "koelectra-base", "nsmc", "accuracy", "91.0", "1.0", "3", "42 43 44", "90.21", "dev", "false", "", "",
    ]  # fmt: skip
    assert [(line["model"], line["metric"], line["mean"], line["std"], line["published"]) for line in lines[1:]] == [
        ("koelectra-base", "em", "50.0", "", "61.1"),
        ("koelectra-base", "f1", "75.0", "", "89.59"),
        ("koelectra-base [2]", "accuracy", "80.0", "", "90.21"),
    ]
    assert lines[1]["at_chance"] == "true"
    assert "learning_rate 1e-05, not 5e-05" in errors
    everything, _ = call(tmp_path, "--csv", "--all_published")
    extra = [line for line in csv.DictReader(io.StringIO(everything)) if line["model"] == "kobert"]
    assert all(line["n"] == "0" and line["mean"] == "" and line["published"] for line in extra)
    published = {(line["task"], line["metric"]): line["published"] for line in extra}
    expected = {("nsmc", "accuracy"): "89.63", ("korquad", "em"): "52.81", ("korquad", "f1"): "80.27"}
    assert len(published) == len(extra) and published.items() >= expected.items()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"task": "nsmc", ', "not valid JSON (line 1)"),
        (b"[1, 2]", "no JSON object"),
        (b'{"passed": 12}', "task, model, main_metric, metrics missing"),
        (b'{"task": "nsmc\xff"}', "cannot be read"),
        (b'{"task": "korsts", "model": "m", "main_metric": "pearson", "metrics": {"pearson": 0.5}}', "no metric 'spea"),
        (b'{"task": "nsmc", "model": "m", "main_metric": "accuracy", "metrics": {"accuracy": 90.2}}', "are fractions"),
        (b'{"task": "x", "model": "m", "main_metric": "f1", "metrics": {"f1": "high"}}', "has no metric 'f1'"),
    ],
)
def test_a_foreign_file_costs_a_warning_only(tmp_path: Path, content: bytes, reason: str) -> None:
    write_run(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/results.json").write_bytes(content)
    text, errors = call(tmp_path)
    assert [row["NSMC (acc)"] for row in grid(text)] == ["90.00ᵈ (90.21)"]
    assert errors.count("\n") == 1 and f"{tmp_path}/bad/results.json" in errors and reason in errors


def test_a_run_with_only_the_keys_that_matter_is_read(tmp_path: Path) -> None:
    run = {"task": "nsmc", "model": "m|n", "main_metric": "accuracy", "metrics": {"accuracy": 0.5}}
    (tmp_path / "results.json").write_text(json.dumps(run), encoding="utf-8")
    text, _ = call(tmp_path / "results.json")
    assert "m\\|n" in text and "50.00ˀ" in text and "is not recorded" in text


def test_output_file_and_errors_of_the_caller(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    printed, _ = call(tmp_path)
    silent, _ = call(tmp_path, "--output", tmp_path / "tables/results.md")
    assert silent == "" and (tmp_path / "tables/results.md").read_text(encoding="utf-8") == printed
    (tmp_path / "empty").mkdir()
    for arguments, reason in (
        ([tmp_path / "empty"], "no results below"),
        ([tmp_path / "absent"], "no such folder"),
        ([tmp_path, "--output", tmp_path / "run"], "cannot write"),
    ):
        _, error = call(*arguments, code=2)
        assert error.count("\n") == 1 and reason in error
    for flag in ("--al", "--shape=kobert"):
        call(tmp_path, flag, code=2)


# As KLUE-baseline trains NSMC and KorQuAD (config/nsmc/kobigbird-bert-base.json, config/korquad/...-short.json).
SHORT_NSMC = {"num_train_epochs": 4, "warmup_proportion": 0.1, "max_seq_len": 128}
SHORT_KORQUAD = {"max_seq_length": 512, "doc_stride": 128, "num_train_epochs": 5, "train_batch_size": 16}


def test_a_published_score_stands_beside_runs_that_were_made_like_it(tmp_path: Path) -> None:
    """KoBigBird's table of short sequences and KoELECTRA's have tasks and a model in common, not the settings."""
    write_run(tmp_path / "a", model="koelectra-base-v3", score=0.90, config={"num_train_epochs": 10})
    write_run(tmp_path / "b", model="koelectra-base-v3", score=0.91, config=SHORT_NSMC)
    write_run(tmp_path / "c", "korquad", "kobigbird-bert-base", metrics={"em": 0.8, "f1": 0.9}, config=SHORT_KORQUAD)
    long = SHORT_KORQUAD | {"max_seq_length": 4096, "doc_stride": 3072}
    write_run(tmp_path / "d", "korquad", "kobigbird-bert-base", metrics={"em": 0.7, "f1": 0.8}, config=long)
    write_run(tmp_path / "e", "klue-mrc", "kobigbird-bert-base", metrics={"em": 0.6, "f1": 0.7}, main_metric="f1")
    text, _ = call(tmp_path)
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["## KoELECTRA tasks", "## KoBigBird, short sequences", "## Other tasks"]
    rows = grid(text)
    assert [row[""] for row in rows] == [
        "KoELECTRA-Base-v3", "kobigbird-bert-base", "KoELECTRA-Base-v3", "KoBigBird-BERT-Base", "kobigbird-bert-base",
    ]  # fmt: skip
    assert rows[0]["NSMC (acc)"] == "90.00ᵈ (90.63)" and rows[2]["NSMC (acc)"] == "91.00ᵈ (91.13)"
    assert rows[1]["KorQuAD (Dev) (EM/F1)"] == "70.00 / 80.00ᵈ"
    assert rows[3]["KorQuAD (Dev) (EM/F1)"] == "80.00 / 90.00ᵈ (87.08 / 94.71)"
    assert rows[3]["KLUE-MRC (EM/ROUGE-W)"] == "– (70.33 / 75.34)"
    assert rows[4]["klue-mrc (f1)"] == "70.00ᵈ"
    only, _ = call(tmp_path, "--shape", "kobigbird_short")
    assert only.count("## ") == 2 and "91.00ᵈ" in only and "90.63" not in only


def test_tydi_qa_is_compared_by_the_figure_that_was_published(tmp_path: Path) -> None:
    metrics = {"em": 0.5, "f1": 0.6, "published_style_em": 0.7, "published_style_f1": 0.8}
    write_run(tmp_path / "a", "tydiqa", "kobigbird-bert-base", metrics=metrics, main_metric="f1")
    text, _ = call(tmp_path)
    assert grid(text)[0]["TyDi QA (em/f1)"] == "70.00 / 80.00ᵈ (79.13 / 81.30)"
    assert "- TyDi QA: KoBigBird's best_exact and best_f1, so published_style_em" in text
    lines = list(csv.DictReader(io.StringIO(call(tmp_path, "--csv")[0])))
    assert [(line["metric"], line["mean"]) for line in lines] == [
        ("published_style_em", "70.0"), ("published_style_f1", "80.0"),
    ]  # fmt: skip


def test_how_published_scores_were_selected_is_known_for_every_column(tmp_path: Path) -> None:
    published = json.loads(SCORES.read_text(encoding="utf-8"))
    columns = {
        (name, column["task"]): column["selection"]
        for name, table in published["tables"].items()
        for column in table["columns"]
    }
    # KoELECTRA evaluates on dev in the course of the training, and scores all checkpoints on test.
    with_dev = {("koelectra", task) for task in ("paws", "kornli", "korsts", "question-pair")}
    assert {place for place, how in columns.items() if how == "unknown"} == with_dev
    # KLUE's own table is of its test files; all its checkpoints were selected on dev.
    assert {how for (table, _), how in columns.items() if table == "klue"} == {"dev"}
    assert {how for place, how in columns.items() if place not in with_dev and place[0] != "klue"} == {"test"}
    # KoSplinter's code writes the scores of the best epoch and of the last; its README does not say which it shows.
    assert published["kosplinter_few_shot_korquad"]["selection"] == "unknown"
    assert published["spanbert_nsmc"]["selection"] == "test"
    write_run(tmp_path / "a", "korquad", "kobert", metrics={"em": 0.5, "f1": 0.75})
    text, _ = call(tmp_path)
    told = (
        "best on test in NSMC, Naver NER, KorQuAD (Dev); not said how selected in PAWS, KorNLI, KorSTS, Question Pair."
    )
    assert f"- ( ) published score; {told}\n" in text


def test_the_short_sequences_are_those_that_kobigbird_published() -> None:
    """Transcribed from docs/short_seq_evaluation_en.md of its repository."""
    spec = json.loads(SCORES.read_text(encoding="utf-8"))["tables"]["kobigbird_short"]
    rows = {
        row["name"]: [score for score in row["scores"].values()] for group in spec["groups"] for row in group["rows"]
    }
    assert [column["task"] for column in spec["columns"]] == "nsmc klue-nli klue-sts korquad klue-mrc".split()
    assert rows == {
        "KoELECTRA-Base-v3": [91.13, 86.87, 93.14, [85.66, 93.94], [59.54, 65.64]],
        "KLUE-RoBERTa-Base": [91.16, 86.30, 92.91, [85.35, 94.53], [69.56, 74.64]],
        "KoBigBird-BERT-Base": [91.18, 87.17, 92.61, [87.08, 94.71], [70.33, 75.34]],
    }


def test_the_scores_of_klue_are_those_of_its_readme() -> None:
    """Two rows, transcribed from "Baseline Scores", without the two tasks that are not here."""
    spec = json.loads(SCORES.read_text(encoding="utf-8"))["tables"]["klue"]
    rows = {row["model"]: list(row["scores"].values()) for group in spec["groups"] for row in group["rows"]}
    assert [column["task"] for column in spec["columns"]] == [
        "klue-tc", "klue-sts", "klue-nli", "klue-ner", "klue-re", "klue-mrc",
    ]  # fmt: skip
    assert rows["klue-roberta-base"] == [
        85.07, [92.50, 85.40], 84.83, [84.60, 91.44], [67.65, 68.55], [68.67, 73.98],
    ]  # fmt: skip
    assert rows["klue-bert-base"] == [85.73, [90.85, 82.84], 81.63, [83.97, 91.39], [66.44, 66.17], [62.32, 68.51]]


@pytest.mark.skipif(not PUBLISHED.exists(), reason="no ../shared/published")
def test_the_published_scores_are_carried_over_unchanged() -> None:
    ours, theirs = (json.loads(path.read_text(encoding="utf-8")) for path in (SCORES, PUBLISHED))
    koelectra = theirs["koelectra_finetune"]
    expected = {**koelectra["rows"], **koelectra["later_rows"]}
    tables = {
        name: {row["model"]: {**row["scores"], **({"size": row["size"]} if "size" in row else {})}
               for group in table["groups"] for row in group["rows"]}
        for name, table in ours["tables"].items()
    }  # fmt: skip
    short = tables.pop("kobigbird_short")  # the test below
    assert len(tables.pop("klue")) == 5  # transcribed below
    assert tables == {"koelectra": expected, "kobigbird": theirs["kobigbird_finetune"]}
    assert set(short) == {"koelectra-base-v3", *theirs["kobigbird_finetune"]}
    few = theirs["kosplinter_few_shot_korquad"]
    mine = ours["kosplinter_few_shot_korquad"]
    assert mine["sizes"] == few["sizes"]
    assert {row["model"]: {"em": row["em"], "f1": row["f1"]} for row in mine["rows"]} == {
        key: value for key, value in few.items() if key != "sizes"
    }
    assert ours["spanbert_nsmc"]["rows"] == theirs["spanbert_nsmc"]
