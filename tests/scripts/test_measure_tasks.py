"""What is measured of a task: which runs are made, of which files, and what is written about them."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import ElectraConfig, ElectraModel

import measure_tasks
from conftest import User

SCRIPT = "scripts/measure_tasks.py"
HEADER = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\n"


def sts_rows(count: int, name: str) -> str:
    return HEADER + "".join(f"g\tf\ty\t{at}\t2.5\t{name} {at}\t다른 {name} {at}\n" for at in range(count))


class Runs:
    """In place of runs: what was asked for, and results whose score is that of the learning rate."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.folder, self.monkeypatch = folder, monkeypatch
        self.made: list[dict[str, str]] = []
        self.score_of = {"5e-05": 0.5, "0.0001": 0.75, "0.0002": 0.25}
        self.hardware = {"name": "Some CPU", "precision": "fp32"}
        monkeypatch.chdir(folder)
        monkeypatch.setattr(measure_tasks, "run_unless_finished", self.run)
        Path("model").mkdir()
        Path("model/config.json").write_text('{"n_layers": 6, "dim": 64}')
        Path("model/model.safetensors").write_bytes(b"weights")
        Path("data/korsts").mkdir(parents=True)
        Path("data/korsts/sts-train.tsv").write_text(sts_rows(40, "글"), encoding="utf-8")
        Path("data/korsts/sts-test.tsv").write_text(sts_rows(5, "말"), encoding="utf-8")

    def run(self, folder: Path, script: str, *words: str | Path) -> None:
        asked = {str(word)[2:]: str(after) for word, after in itertools.pairwise(words) if "--" in str(word)}
        asked |= {"script": script, "name": folder.name, "from_scratch": "--from_scratch" in words}
        self.made.append(asked)
        folder.mkdir(parents=True)
        (folder / "checkpoint-9").mkdir()
        rows = {"train": 36, "test": 4} if "held-back" in folder.name else {"train": 40, "test": 5}
        training = {"steps": 9, "epochs": 1.0, "seconds": 3.0, "tokens_per_second": 10.0}
        results = {
            "seed": int(asked["seed"]), "main_metric": "spearman", "at_chance": False, "rows": rows,
            "metrics": {"spearman": self.score_of[asked["learning_rate"]]}, "training": training, "pretraining": None,
            "hardware": self.hardware, "versions": {}, "git_commit": "c", "data": {asked["train_file"]: "d"},
            "config": {"train_batch_size": 8},
        }  # fmt: skip
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")

    def measure(self, *words: str, task: str = "korsts") -> list[dict[str, str]]:
        """Runs the script; returns the runs that it made."""
        self.made.clear()
        given = ["measure_tasks.py", "--model", "model", "--tasks", task, *words]
        self.monkeypatch.setattr(sys, "argv", given)
        measure_tasks.main()
        return list(self.made)

    def results(self, task: str = "korsts", folder: str = "ckpt/measured-tasks") -> dict[str, Any]:
        return json.loads(Path(f"{folder}/{task}.json").read_text(encoding="utf-8"))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(tmp_path, monkeypatch)


def refused(runs: Runs, capsys: pytest.CaptureFixture[str], *words: str, task: str = "korsts") -> str:
    with pytest.raises(SystemExit) as end:
        runs.measure(*words, task=task)
    assert end.value.code == 2 and not runs.made
    return capsys.readouterr().err.strip()


def test_the_best_rate_of_the_held_back_rows_is_taken_for_all_seeds(runs: Runs) -> None:
    made = runs.measure("--seeds", "7", "8")
    pretrained, scratch = made[:5], made[5:]
    assert [run["learning_rate"] for run in pretrained] == ["5e-05", "0.0001", "0.0002", "0.0001", "0.0001"]
    assert [run["seed"] for run in pretrained] == ["7", "7", "7", "7", "8"]
    assert [run["from_scratch"] for run in made] == [False] * 5 + [True] * 5
    tried, final = pretrained[0], pretrained[-1]
    rest, held_back = (Path(tried[key]).read_text(encoding="utf-8") for key in ("train_file", "test_file"))
    train = Path("data/korsts/sts-train.tsv")
    assert rest.count("\n") == 1 + 36 and held_back.count("\n") == 1 + 4 and held_back.startswith(HEADER)
    assert all(Path(run[key]).is_absolute() for run in made for key in ("train_file", "test_file"))
    assert Path(final["train_file"]) == train.resolve() and final["test_file"].endswith("/sts-test.tsv")
    assert [run["name"] for run in scratch] == [run["name"].replace("pretrained", "from-scratch") for run in pretrained]
    found = runs.results()
    assert found["arms"]["from scratch"]["grid"] == {"5e-05": 0.5, "0.0001": 0.75, "0.0002": 0.25}
    assert found["arms"]["pretrained"]["held_back_rows"] == 4 and found["rows"] == {"train": 40, "test": 5}
    assert [(run["seed"], run["git_commit"]) for run in found["arms"]["pretrained"]["runs"]] == [(7, "c"), (8, "c")]
    assert found["shape"] == {"num_hidden_layers": 6, "hidden_size": 64}
    assert not list(Path("ckpt").rglob("checkpoint-*"))


def test_a_further_call_makes_what_is_missing_and_nothing_else(runs: Runs) -> None:
    runs.measure("--seeds", "7")
    assert runs.measure("--seeds", "7") == []
    assert [(run["seed"], run["learning_rate"]) for run in runs.measure("--seeds", "7", "8")] == [("8", "0.0001")] * 2
    # The first seed is that of the grid.
    assert {run["seed"] for run in runs.measure("--seeds", "8", "7")} == {"8"}
    # Fewer rates leave another one as the best: runs of that one are not those of the earlier one.
    made = runs.measure("--seeds", "7", "--rates", "5e-5", "2e-4")
    assert [(run["seed"], run["learning_rate"]) for run in made] == [("7", "5e-05")] * 2
    assert runs.results()["arms"]["pretrained"]["runs"][0]["metrics"] == {"spearman": 0.5}


def test_a_call_on_different_data_or_with_different_settings_is_refused(
    runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.measure("--seeds", "7")
    assert runs.measure("--seeds", "7", "--model", "model/", "--output", "results") == []
    assert runs.results(folder="results") == runs.results()
    assert "--steps (none), not 3" in refused(runs, capsys, "--steps", "3")
    assert "--full false, not true" in refused(runs, capsys, "--full")
    korsts = measure_tasks.MEASUREMENTS["korsts"]
    fewer = measure_tasks.Measurement(korsts.folder, korsts.steps - 1, korsts.words)
    with monkeypatch.context() as patch:
        patch.setitem(measure_tasks.MEASUREMENTS, "korsts", fewer)
        said = refused(runs, capsys)
        assert f"--max_steps {korsts.steps}, not --train_batch_size 8 --max_steps {fewer.steps}" in said
        runs.measure("--steps", "3", "--ckpt_dir", "short")
    assert runs.measure("--steps", "3", "--ckpt_dir", "short") == []
    Path("model/model.safetensors").write_bytes(b"other weights")
    assert "was begun with the model's weights " in refused(runs, capsys)
    Path("model/model.safetensors").write_bytes(b"weights")
    shutil.copytree("data", "other")
    assert runs.measure("--seeds", "7", "--data_dir", "other") == []
    Path("other/korsts/sts-train.tsv").write_text(sts_rows(50, "글"), encoding="utf-8")
    assert "was begun with the training file " in refused(runs, capsys, "--data_dir", "other")


def test_everything_is_looked_at_before_the_first_run(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    test_file = Path("data/korsts/sts-test.tsv")
    test_file.write_text(sts_rows(5, "말").replace("2.5", "7.5", 1), encoding="utf-8")
    assert f"{test_file.resolve()}:2: the score 7.5 is not between 0 and 5" in refused(runs, capsys)
    test_file.write_text(sts_rows(5, "말"), encoding="utf-8")
    assert "naver-ner/train.tsv: no such file" in refused(runs, capsys, "--tasks", "korsts", "naver-ner")
    Path("data/korsts/sts-train.tsv").write_text(sts_rows(9, "글"), encoding="utf-8")
    assert "there are only 9 that share no text" in refused(runs, capsys, "--ckpt_dir", "few")
    Path("file").write_text("")
    assert "the folder file cannot be made: File exists" in refused(runs, capsys, "--output", "file")
    for content, error in (("{", "not valid JSON"), ('{"dim": 64}', "has no num_hidden_layers")):
        Path("model/config.json").write_text(content)
        assert error in refused(runs, capsys)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--seeds", "42", "42"], "--seeds must be whole numbers from 0 to 4294967295, each of them once"),
        (["--rates", "1e-4", "0.0001"], "--rates must be different from each other"),
        (["--rates", "0"], "--rates must be numbers above 0, and finite"),
        (["--rates", "nan"], "--rates must be numbers above 0, and finite"),
        (["--steps", "0"], "--steps must be at least 1"),
        (["--steps", "3", "--full"], "not allowed with argument"),
    ],
)
def test_wrong_flags_are_refused(runs: Runs, capsys: pytest.CaptureFixture[str], words: list[str], error: str) -> None:
    assert error in refused(runs, capsys, *words)


def test_a_study_that_went_on_elsewhere_names_both_devices(runs: Runs) -> None:
    runs.measure("--seeds", "7")
    first, runs.hardware = runs.hardware, {"name": "Some GPU", "precision": "bf16"}
    runs.measure("--seeds", "7", "8")
    assert runs.results()["hardware"] == first and runs.results()["other_hardware"] == [runs.hardware]


def test_the_command_names_files_seeds_and_no_folder_of_the_machine(runs: Runs) -> None:
    """Also where the name of the model's folder is a part of other words."""
    Path("data/kornli_small").mkdir()
    header = "sentence1\tsentence2\tgold_label\n"
    for name in ("train", "test"):
        text = header + "".join(f"{name} {at}\t둘 {at}\tneutral\n" for at in range(20))
        Path(f"data/kornli_small/{name}.tsv").write_text(text, encoding="utf-8")
    Path("some folder").mkdir()
    model = Path("model").rename("some folder/rate")
    runs.measure("--model", str(model.absolute()), "--seeds", "7", "8", task="kornli")
    command = runs.results("kornli")["command"]
    assert command.startswith("python3 run_seq_cls.py --task kornli --model_name_or_path rate --warmup_proportion 0.1 ")
    files = "--train_file ../kornli_small/train.tsv --dev_file '' --test_file ../kornli_small/test.tsv"
    assert command.endswith(f"--learning_rate 0.0001 {files} --seeds 7 8")


@pytest.mark.slow
def test_tasks_are_measured_on_the_sample(user: User) -> None:
    """The best rate of each arm is taken, weights are not kept, and a second call repeats nothing."""
    tiny = user.folder / "sample_data" / "tiny-electra"
    shutil.copytree(tiny, user.folder / "some-electra")
    ElectraModel(ElectraConfig.from_pretrained(tiny)).save_pretrained(user.folder / "some-electra")
    tasks = ("question-pair", "korquad")
    words = ["--data_dir", "sample_data", "--model", "some-electra", "--tasks", *tasks, "--seeds", "43"]
    words += ["--rates", "1e-4", "5e-4", "--ckpt_dir", "measured", "--output", "results", "--steps"]
    out = user.types(*words, 2, script=SCRIPT).out
    assert out.count("$ python3 run_") == len(tasks) * 2 * (2 + 1)
    for name in tasks:
        found = json.loads((user.folder / "results" / f"{name}.json").read_text(encoding="utf-8"))
        assert found["task"] == name and found["shape"]["num_hidden_layers"] == 2
        for arm in found["arms"].values():
            assert arm["grid"][f"{arm['learning_rate']:g}"] == max(arm["grid"].values())
            assert [(run["seed"], run["steps"]) for run in arm["runs"]] == [(43, 2)]
            assert 0 < arm["held_back_rows"] < found["rows"]["train"] / 4
    assert not list((user.folder / "measured").rglob("checkpoint-*"))
    assert "$ python3 run_" not in user.types(*words, 2, script=SCRIPT).out
    assert "--steps 2, not 3" in user.is_refused(*words, 3, script=SCRIPT)
    assert "no model in nowhere" in user.is_refused("--model", "nowhere", script=SCRIPT)
