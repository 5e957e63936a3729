"""python3 -m pytest tests/scripts/test_table_study.py

A whole table by one command: which runs it consists of, what it refuses, its row, chart, time and estimate, and, slow,
all of it on the sample data, killed in the middle.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from command_words import value_of
from conftest import REPOSITORY, User
from processors import TASKS
from reporting import run_progress, table_cost
from reporting.run_progress import RunsProgress
from reporting.table_plan import published_table, tasks_of
from reporting.table_rows import TableRow, bars_of, draw

EIGHT = ["nsmc", "naver-ner", "paws", "kornli", "korsts", "question-pair", "korquad", "hate-speech"]
SIX = ["klue-tc", "klue-sts", "klue-nli", "klue-ner", "klue-re", "klue-mrc"]
SCRIPT_OF = {
    "naver-ner": "run_ner.py",
    "korquad": "run_squad.py",
    "klue-ner": "run_ner.py",
    "klue-mrc": "run_long_qa.py",
}


def write_results(folder: Path, task: str, seed: int) -> None:
    """A finished run; its scores are 0.80 and the seed's hundredths."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics = {metric: 0.80 + seed / 100 for metric in (*TASKS[task].metrics, "em", "f1", "f1_at_3", "rouge_w")}
    metrics |= {"entity_macro_f1": 0.5, "auprc": 0.25, "character_macro_f1": 0.75}
    results = {"task": task, "model": "m", "seed": seed, "split": "test", "main_metric": TASKS[task].main_metric}
    content = results | {"metrics": metrics, "selection": "test", "config": {}}
    (folder / "results.json").write_text(json.dumps(content))


@pytest.fixture
def study() -> ModuleType:
    return importlib.import_module("table_study")


@pytest.fixture
def commands(study: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs the study in a folder where all data are, with commands that only leave results; returns their words."""
    monkeypatch.chdir(tmp_path)
    for name in (*EIGHT, *SIX):
        task = TASKS[name]
        (tmp_path / "data" / task.folder).mkdir(parents=True)
        for file in filter(None, (task.train_file, task.dev_file, task.test_file)):
            (tmp_path / "data" / task.folder / file).write_text("there")

    def call(*words: str, finishes: bool = True) -> list[list[str]]:
        done = []

        def pretend(command: list[str | Path], progress: RunsProgress, is_live: bool) -> int:
            script, *words = str(Path(command[1]).relative_to(REPOSITORY)), *map(str, command[2:])
            done.append([script, *words])
            folder = Path(value_of("--ckpt_dir", words)) / value_of("--output_dir", words)
            folder.mkdir(parents=True, exist_ok=True)
            if finishes:
                write_results(folder, value_of("--task", words), int(value_of("--seed", words)))
                return 0
            return 130

        monkeypatch.setattr(run_progress, "relay", pretend)
        monkeypatch.setattr(study, "find_model", lambda *model: None)
        monkeypatch.setattr(sys, "argv", ["table_study.py", *words])
        study.main()
        return done

    return call


def refused(commands, capsys: pytest.CaptureFixture, *words: str, **options) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        commands(*words, **options)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_the_tasks_are_the_columns_of_the_table():
    assert (tasks_of("koelectra"), tasks_of("klue")) == (EIGHT, SIX)


@pytest.mark.parametrize(("table", "model", "tasks"), [("koelectra", "koelectra-base-v3", EIGHT),
                                                       ("klue", "klue-roberta-base", SIX)])  # fmt: skip
def test_the_runs_of_a_table(commands, table: str, model: str, tasks: list[str], tmp_path: Path):
    done = commands(table, model, "--seeds", "1", "3", "--precision", "fp32", "--no_cuda")
    expected = [(task, seed) for task in tasks for seed in ("1", "3")]
    assert [(value_of("--task", words), value_of("--seed", words)) for words in done] == expected
    for words in done:
        task, seed = value_of("--task", words), value_of("--seed", words)
        assert words[0] == SCRIPT_OF.get(task, "run_seq_cls.py")
        assert value_of("--config_file", words) == f"{model}.json" and value_of("--precision", words) == "fp32"
        assert value_of("--output_dir", words) == f"seed-{seed}" and "--resume" not in words
        assert Path(value_of("--ckpt_dir", words)) == Path("ckpt") / f"{table}-table" / model / task
    assert (tmp_path / "ckpt" / f"{table}-table" / model / "scores.png").stat().st_size > 10_000


def test_the_row_and_the_published_one(commands, capsys: pytest.CaptureFixture):
    commands("koelectra", "koelectra-small-v3", "--seeds", "1", "3")
    lines = capsys.readouterr().out.split("\n| Model")[1].split("\n")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:4]]
    titles = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    assert [title.partition(" (")[0] for title in titles] == [
        *("NSMC", "Naver NER", "PAWS", "KorNLI", "KorSTS", "Question Pair", "KorQuAD", "Hate Speech")
    ]
    # Scores of 81 and 83: mean 82, and sample standard deviation sqrt(2).
    score = "82.00 ± 1.41"
    assert cells[0] == ["koelectra-small-v3", *[f"{score}ᵗ"] * 6, f"{score} / {score}ᵗ", f"{score}ᵗ"]
    published = ["89.36", "85.40", "77.45", "78.60", "80.79", "94.85", "82.11 / 91.13", "63.07"]
    assert cells[1] == ["KoELECTRA-Small-v3, published", *published]


def test_the_bars_are_the_cells(tmp_path: Path):
    for seed in (2, 4):
        write_results(tmp_path / "korquad" / f"seed-{seed}", "korquad", seed)
    folders = {"nsmc": tmp_path / "nsmc", "korquad": tmp_path / "korquad"}
    row = TableRow.of(published_table("koelectra"), "kobert", "내 모델", folders)
    nsmc, em, f1 = bars_of(row)
    assert (nsmc.measured, nsmc.published) == (None, 89.63)
    assert (em.label, em.published, f1.published) == ("KorQuAD (Dev)\nEM", 52.81, 80.27)
    assert em.measured == pytest.approx(83) and em.deviation == pytest.approx(2**0.5)
    nobody = TableRow.of(published_table("koelectra"), "mine", "mine", folders)
    assert "No scores of mine are published" in nobody.markdown() and bars_of(nobody)[0].published is None


def test_what_is_finished_is_left_and_what_was_stopped_goes_on(commands, tmp_path: Path):
    words = ("koelectra", "koelectra-base-v3", "--seeds", "1", "2")
    assert len(commands(*words)) == 16
    assert commands(*words) == []
    (tmp_path / "ckpt/koelectra-table/koelectra-base-v3/paws/seed-2/results.json").unlink()
    (again,) = commands(*words)
    assert value_of("--task", again) == "paws" and value_of("--seed", again) == "2" and again[-1] == "--resume"
    more = commands(*words, "5", "--tasks", "nsmc", "kornli")  # seeds may be added
    assert [(value_of("--task", words), value_of("--seed", words)) for words in more] == [
        ("nsmc", "5"),
        ("kornli", "5"),
    ]


def test_a_run_that_fails_ends_the_study_with_its_code(commands):
    with pytest.raises(SystemExit) as ended:
        commands("koelectra", "koelectra-base-v3", finishes=False)
    assert ended.value.code == 130


def test_a_study_does_not_go_on_with_other_flags(commands, capsys: pytest.CaptureFixture):
    commands("koelectra", "koelectra-base-v3", "--tasks", "nsmc")
    told = refused(commands, capsys, "koelectra", "koelectra-base-v3", "--learning_rate", "1e-4")
    study = Path("ckpt/koelectra-table/koelectra-base-v3")
    told_of = (
        "was begun with flags for the runs (none), not --learning_rate 1e-4: delete it, or take another --ckpt_dir"
    )
    assert told == f"run_koelectra.sh: {study} {told_of}\n"


def test_missing_data_are_told_with_the_way_to_get_them(commands, capsys: pytest.CaptureFixture, tmp_path: Path):
    (tmp_path / "data/paws/translated_train.tsv").unlink()
    words = ("koelectra", "koelectra-base-v3")
    need = "paws needs data/paws/translated_train.tsv; fetch it with: bash scripts/download_data.sh paws"
    assert refused(commands, capsys, *words).startswith(f"run_koelectra.sh: {need}\n")
    assert not (tmp_path / "ckpt").exists()
    assert commands(*words, "--dry_run") == [] and f"missing: {need}\n" in capsys.readouterr().out
    assert not (tmp_path / "ckpt").exists()
    assert {value_of("--task", words) for words in commands(*words, "--skip_missing")} == set(EIGHT) - {"paws"}
    assert f"skipped: {need}\n" in capsys.readouterr().out


def test_tasks_without_a_data_set_on_the_hub_are_told_before_anything_begins(commands, capsys, tmp_path: Path):
    words = ("koelectra", "koelectra-base-v3", "--tasks", "nsmc", "korsts", "--data_source", "hub")
    told = refused(commands, capsys, *words)
    assert told.startswith("run_koelectra.sh: korsts: no data set on the hub is known to have its rows: ")
    assert "nsmc:" not in told and not (tmp_path / "ckpt").exists()
    assert [value_of("--task", words) for words in commands(*words, "--skip_missing")] == ["nsmc"]
    assert "skipped: korsts: no data set on the hub" in capsys.readouterr().out


def test_folders_that_cannot_hold_a_study(commands, capsys: pytest.CaptureFixture, tmp_path: Path):
    words = ("koelectra", "koelectra-base-v3", "--tasks", "nsmc", "--ckpt_dir")
    (tmp_path / "file").touch()
    told = refused(commands, capsys, *words, "file")
    assert told == "run_koelectra.sh: cannot write file/koelectra-table/koelectra-base-v3: Not a directory\n"
    study = tmp_path / "mine" / "koelectra-table" / "koelectra-base-v3"
    commands(*words, "mine")
    for damaged in ("{", "[]"):
        (study / "study.json").write_text(damaged)
        assert "study.json does not tell what the study was begun with: delete " in refused(
            commands, capsys, *words, "mine"
        )


@pytest.mark.parametrize("damaged", ["{", "[1]", "3", '{"nsmc, seed 42": "long"}'])
def test_a_damaged_file_of_seconds_is_no_file(commands, damaged: str, tmp_path: Path):
    commands("koelectra", "koelectra-base-v3", "--tasks", "nsmc")
    (tmp_path / "ckpt/koelectra-table/koelectra-base-v3/seconds.json").write_text(damaged)
    assert len(commands("koelectra", "koelectra-base-v3", "--tasks", "nsmc", "paws")) == 1


def test_the_chart_cannot_be_written(commands, capsys: pytest.CaptureFixture, tmp_path: Path):
    (tmp_path / "ckpt/koelectra-table/koelectra-base-v3/scores.png").mkdir(parents=True)
    told = refused(commands, capsys, "koelectra", "koelectra-base-v3", "--tasks", "nsmc", "--seeds", "1")
    folder = "ckpt/koelectra-table/koelectra-base-v3"
    assert told.endswith(f"run_koelectra.sh: cannot draw the chart in {folder}: Is a directory\n")


def test_what_was_not_run_stands_above_its_task(tmp_path: Path):
    row = TableRow.of(published_table("koelectra"), "mine", "mine", {"nsmc": tmp_path, "paws": tmp_path})
    (axes,) = draw(row, "").axes
    assert [text.xy[0] for text in axes.texts] == list(axes.get_xticks()) == [0, 1]


def test_settings_of_another_model(commands, capsys: pytest.CaptureFixture, tmp_path: Path):
    told = refused(commands, capsys, "koelectra", "klue-roberta-base", "--tasks", "nsmc", "paws", "korsts")
    assert "klue-roberta-base has no configuration for paws, korsts; --settings_of koelectra-base-v3 takes" in told
    words = ("koelectra", "klue-roberta-base", "--tasks", "nsmc", "kornli", "--settings_of", "koelectra-base-v3")
    nsmc, kornli = commands(*words)
    assert nsmc[3:5] == ["--model_type", "klue-roberta-base"]
    assert kornli[3:7] == ["--train_batch_size", "64", "--model_type", "klue-roberta-base"]
    (tmp_path / "mine").mkdir()
    (korquad,) = commands("koelectra", "mine/", "--tasks", "korquad")
    assert korquad[3:9] == ["--train_batch_size", "8", "--eval_batch_size", "32", "--model_name_or_path", "mine"]
    assert "No scores of mine are published" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["koelectra-base-v4"], "unknown model 'koelectra-base-v4'; did you mean 'koelectra-base-v3'?"),
        (["koelectra-base-v3", "--tasks", "nmsc"], "invalid choice: 'nmsc'"),
        (
            ["koelectra-base-v3", "--seeds", "1", "1"],
            "--seeds must be whole numbers from 0 to 4294967295, each of them once",
        ),
        (["koelectra-base-v3", "--learning_rat", "1"], "unknown flag --learning_rat; did you mean '--learning_rate'?"),
        (["koelectra-base-v3", "--precision", "fp8"], "run_koelectra.sh: --precision must be auto or fp32"),
        (
            ["koelectra-base-v3", "--ner_stride", "9"],
            "nsmc, paws, kornli, korsts, question-pair, korquad, hate-speech: ",
        ),
        (["koelectra-base-v3", "--data_source", "./x"], "run_koelectra.sh: data_source ./x: no such folder: a folder"),
        (["koelectra-base-v3", "--output_dir", "x"], "--output_dir is set by the table itself: leave it out"),
        (["koelectra-base-v3", "--seed=4"], "--seed is set by the table itself"),
        (["koelectra-base-v3", "word"], "unexpected word 'word'"),
        (["koelectra-base-v3", "--settings_of", "x"], "--settings_of x: no task has a configuration of that name"),
        (["koelectra-base-v3", "--settings_of", "kobert", "--scale", "sample"], "--settings_of has no effect with"),
        ([], "the following arguments are required: MODEL"),
    ],
)
def test_what_is_refused_before_anything_begins(commands, words: list[str], told: str, capsys, tmp_path: Path):
    assert told in refused(commands, capsys, "koelectra", *words)
    assert not (tmp_path / "ckpt").exists()


def config_of(study: ModuleType, task: str, *words: str):
    plan = importlib.import_module("reporting.table_plan")
    return plan.plan_task(task, ["--config_file", "koelectra-base-v3.json", *words]).config


def test_the_estimate_of_a_task(study: ModuleType):
    """NSMC's 150,000 rows, 32 a step, make 4,688 steps an epoch; every 2,000 steps make 23 evaluations and a last."""
    cost = table_cost.cost_of("nsmc", config_of(study, "nsmc"))
    assert (cost.steps, cost.evaluations, cost.checkpoints) == (46_880, 25, 24)
    assert cost.training == pytest.approx(46_880 * 32 / 4200)  # as the steps that were measured
    assert cost.tokens == 46_880 * 32 * 20.8 and cost.evaluated_tokens == pytest.approx(25 * 50_000 * 20.9)
    korquad = table_cost.cost_of("korquad", config_of(study, "korquad"))
    assert korquad.training == pytest.approx(korquad.steps * 8 / 765)
    assert korquad.evaluating > korquad.evaluations * 5774 * table_cost.ANSWER_SECONDS
    assert (
        table_cost.cost_of("nsmc", config_of(study, "nsmc", "--max_steps", "50", "--eval_steps", "0")).evaluations == 1
    )


def test_eight_tasks_fit_into_an_hour_and_are_evaluated_in_less_time_than_trained(study: ModuleType):
    costs = {task: table_cost.cost_of(task, config_of(study, task)) for task in EIGHT}
    assert sum(cost.seconds for cost in costs.values()) < table_cost.HOUR
    assert sum(cost.steps for cost in costs.values()) == pytest.approx(277_000, rel=0.01)
    for task, cost in costs.items():
        assert cost.evaluating < cost.training, task
    titles = {column["task"]: column["title"] for column in published_table("koelectra")["columns"]}
    table = table_cost.cost_table(costs, titles, 3)
    pages = [(REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("benchmarks.md", "benchmarks_ko.md")]
    for line in table.split("\n")[2:11]:
        cells = [cell.strip() for cell in line.split("|")[2:-1]]
        assert f"| {' | '.join(cells)} |" in pages[0] and f"| {' | '.join(cells)} |".replace(" min", "분") in pages[1]
    assert "An estimate for a base model on one H100, not a measurement" in table and " for 3." in table


BRIEF = ("--max_steps", "2", "--eval_steps", "0", "--save_steps")


def starts(user: User, folder: Path, *words: str, **options) -> subprocess.Popen[str]:
    command = [sys.executable, REPOSITORY / "scripts/table_study.py", *words, "--scale", "sample", "--no_cuda"]
    command += ["--ckpt_dir", folder]
    return subprocess.Popen(command, cwd=user.folder, env=user.environment, encoding="utf-8",
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)  # fmt: skip


def wait_for_a_checkpoint(process: subprocess.Popen[str], run: Path) -> None:
    deadline = time.monotonic() + 300
    while not list(run.glob("checkpoint-*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_koelectras_eight_tasks_on_the_sample_killed_in_the_middle(user: User, tmp_path: Path):
    words = ("koelectra", "koelectra-small-v3", *BRIEF, "1")
    study = tmp_path / "koelectra-table" / "koelectra-small-v3-sample"
    process = starts(user, tmp_path, *words, start_new_session=True)
    killed_in = study / "naver-ner" / "seed-42"
    try:
        wait_for_a_checkpoint(process, killed_in)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    first = (study / "nsmc" / "seed-42" / "results.json").stat().st_mtime_ns
    assert not (killed_in / "results.json").exists()
    process = starts(user, tmp_path, *words)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    assert (study / "nsmc" / "seed-42" / "results.json").stat().st_mtime_ns == first
    assert f"{study / 'nsmc' / 'seed-42'} is finished" in out and "run 2 of 8: naver-ner, seed 42" in out
    row = (study / "table.md").read_text(encoding="utf-8").split("\n")[2]
    assert row.startswith("| tiny-electra (sample data) ") and "–" not in row
    assert {path.name for path in study.iterdir()} == {
        *(*EIGHT, "study.json", "seconds.json", "table.md", "scores.png", "scores.svg")
    }
    assert json.loads((study / "seconds.json").read_text()).keys() == {f"{task}, seed 42" for task in EIGHT} - {
        "naver-ner, seed 42"
    }


@pytest.mark.slow
def test_klues_six_tasks_on_the_sample(user: User, tmp_path: Path):
    process = starts(user, tmp_path, "klue", "klue-roberta-base", *BRIEF, "0")
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    lines = out.split("\n| Model")[1].split("\n")
    assert "–" not in lines[2] and lines[3].startswith("| KLUE-RoBERTa-base, published")


@pytest.mark.slow
def test_sigterm_saves_the_run_and_ends_the_study(user: User, tmp_path: Path):
    """As SLURM ends a job: the run under way saves a checkpoint before the study ends."""
    process = starts(user, tmp_path, "koelectra", "koelectra-small-v3", "--tasks", "nsmc", "--max_steps", "100000")
    run = tmp_path / "koelectra-table" / "koelectra-small-v3-sample" / "nsmc" / "seed-42"
    wait_for_a_checkpoint(process, run)
    process.terminate()
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "the same command goes on with the study" in out
    assert "run_seq_cls.py: stopped; saved as" in out
