"""python3 -m pytest tests/scripts/test_processes.py

Several processes, started by torchrun: the same losses, weights and scores as one, nothing twice, and no hanging.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import exact_runs
from closeness import assert_close_in_size, assert_modules_close
from conftest import REPOSITORY, User, nsmc, wait_for_steps
from exact_runs import COMMANDS, make_models
from processes_worker import SETTINGS
from small_jobs import ROWS, loss_of_terms, losses, make_job, weights
from started_by_torchrun import by_two, ended, torchrun
from training.interrupt import Interrupted
from training.loop import fit

SCRIPT = "run_seq_cls.py"


# --------------------------------------------------------------------------------------------------------------------
# The loop, by three processes
# --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What three processes of `processes_worker.py` leave, which go on with a run that one had begun."""
    folder = tmp_path_factory.mktemp("worked")
    stop_at(folder / "begun-alone", 2)
    ended(torchrun(3, REPOSITORY / "tests" / "processes_worker.py", folder))
    return folder


def alone(folder: Path, **settings):
    """The job of one process that takes as many rows a step as three."""
    return make_job(folder, loss_of_terms, **(SETTINGS | {"train_batch_size": 6} | settings))


def stop_at(folder: Path, step: int) -> None:
    job = alone(folder, gradient_accumulation_steps=2)
    original, taken = job.collate, []

    def collate(rows, draws, size):
        taken.append(len(rows))
        if len(taken) == 2 * step:
            os.kill(os.getpid(), signal.SIGINT)
        return original(rows, draws, size)

    object.__setattr__(job, "collate", collate)
    with pytest.raises(Interrupted):
        fit(job)


def test_every_row_is_scored_once_whatever_their_number(worked: Path):
    for process in range(3):
        found = json.loads((worked / f"scored-{process}.json").read_text())
        for count in range(12):
            assert sorted(found[str(count)]) == [[row, row, row**2] for row in range(count)]


def test_what_processes_tell_one_another(worked: Path):
    for process in range(3):
        told = json.loads((worked / f"told-{process}.json").read_text())
        assert told == {
            "added": [[[6.0] * 3] * 2, 30.0],
            "sums": [3, 3],
            "gathered": [{"process": 0}, {"process": 1}, {"process": 2}],
            "others before": process > 0,
            "weights": [0.0, 0.0],
        }


def test_losses_and_weights_are_those_of_one_process(worked: Path, tmp_path: Path):
    """Also in the short last step of an epoch, with terms that are unevenly spread."""
    job = alone(tmp_path / "alone")
    state = fit(job)
    assert state.step == 6 and ROWS % 12 == 3
    together = losses(worked / "together")
    assert_close_in_size([loss for _, loss in together], [loss for _, loss in losses(tmp_path / "alone")])
    for process in range(3):
        found = json.loads((worked / f"weights-{process}.json").read_text())
        assert_modules_close({name: torch.tensor(values) for name, values in found.items()}, weights(job))
    figures = json.loads((worked / "together/training.json").read_text())["figures"]
    assert figures["steps"] == 6 and figures["padding_ratio"] == 0.25
    assert state.real_tokens == 2 * 3 * ROWS


def test_a_stopped_run_goes_on_from_the_same_row_on_another_number_of_processes(worked: Path, tmp_path: Path, capsys):
    """Three, one of which was asked to stop, then one; and one, then three."""
    whole = alone(tmp_path / "whole")
    fit(whole)
    assert [path.name for path in (worked / "stopped").glob("checkpoint-*")] == ["checkpoint-4"]
    resumed = make_job(worked / "stopped", loss_of_terms, **SETTINGS, resume=True)
    capsys.readouterr()
    fit(resumed)
    said = capsys.readouterr().err
    assert (
        "the run began on 3 devices and continues on 1: each step keeps its 12 rows" in said
        and "at step 4 of 6" in said
    )
    expected = [loss for _, loss in losses(tmp_path / "whole")]
    for folder in ("stopped", "begun-alone"):
        assert [step for step, _ in losses(worked / folder)] == [1, 2, 3, 4, 5, 6]
        assert_close_in_size([loss for _, loss in losses(worked / folder)], expected)
    for found in (weights(resumed), load_file(worked / "begun-alone/checkpoint-6/model.safetensors")):
        assert_modules_close(found, weights(whole))


# --------------------------------------------------------------------------------------------------------------------
# Scripts, by two processes
# --------------------------------------------------------------------------------------------------------------------

LONG = "--max_steps 4000 --eval_steps 0 --save_steps 5 --save_total_limit 1".split()
FAST = {"run_seq_cls.py", "pretrain_spanbert.py"}


@pytest.fixture(scope="module", autouse=True)
def still(user: User) -> None:
    make_models(user.folder)


def command(script: str, output_dir: str, batch_size: int, *more: object, **steps: list) -> list[object]:
    return exact_runs.command(script, output_dir, batch_size, *more, "--no_cuda", **steps)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in (*COMMANDS, "pretrain_splinter.py --mlm true")
    ],
)
def test_a_script_by_two_processes_is_the_script_by_one(user: User, script: str):
    """Losses, scores, and what is written; every line is on the screen once."""
    name = re.sub(r"\W+", "-", script)
    script, *words = script.split()
    out, err = ended(by_two(user, script, *command(script, f"{name}-two", 4, *words)))
    one = user.types(*command(script, f"{name}-one", 8, *words), script=script)
    pairs = [user.losses(f"{name}-{which}") for which in ("two", "one")]
    assert len(pairs[0]) == 5
    assert_close_in_size(*pairs)
    theirs, own = (user.results(f"{name}-{which}") for which in ("two", "one"))
    assert theirs["metrics"] == pytest.approx(own["metrics"], abs=1e-4)
    assert theirs["hardware"]["processes"] == 2 and theirs["data"] == own["data"]
    files = [{path.name for path in user.run_dir(f"{name}-{which}").iterdir()} for which in ("two", "one")]
    assert files[0] == files[1]
    assert_modules_close(
        *(load_file(user.run_dir(f"{name}-{which}") / "checkpoint-5/model.safetensors") for which in ("two", "one"))
    )
    without = [re.sub(rf"{name}-\w+|[\d,.]+ tokens/s", "", text) for text in (out, one.out)]
    assert without[0] == without[1] != ""
    assert "5 steps of 8 rows" in err and "fp32 on 2 x " in err
    kept = [line for line in err.splitlines() if " rows" in line and "rows/s" not in line]
    assert len(kept) == len(set(kept)) > 0


@pytest.mark.slow
def test_what_is_wrong_is_said_once(user: User):
    words = command("run_seq_cls.py", "wrong-two", 4, "--train_file", "nowhere.tsv")
    _, err = ended(by_two(user, "run_seq_cls.py", *words), code=1)
    assert len(re.findall("run_seq_cls.py: .*nowhere.tsv", err)) == 1
    _, err = ended(
        by_two(user, "run_seq_cls.py", *command("run_seq_cls.py", "wrong-two", 4, "--max_seq_len", 4000)), code=1
    )
    assert len(re.findall("run_seq_cls.py: max_seq_len 4000 is more", err)) == 1


def test_another_run_in_the_same_folder(user: User):
    first = user.starts(*command("run_seq_cls.py", "shared", 4, steps=LONG))
    wait_for_steps(first, user.run_dir("shared"), 1)
    for words in ([], ["--overwrite_output_dir"], ["--resume"]):
        said = user.types(*command("run_seq_cls.py", "shared", 4, *words, steps=LONG), code=2).error
        expected = "holds the results of an earlier run" if not words else "another run is writing to ckpt/shared"
        assert expected in said
    first.kill()
    first.wait()
    user.types(*command("run_seq_cls.py", "shared", 4, "--overwrite_output_dir"))


def children(process: subprocess.Popen) -> list[int]:
    """Of the launcher, in the order of their ranks."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return sorted(map(int, found))


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_takes_the_others_down(user: User, victim: int):
    process = by_two(user, "run_seq_cls.py", *command("run_seq_cls.py", f"killed-{victim}", 4, steps=LONG))
    wait_for_steps(process, user.run_dir(f"killed-{victim}"), 12)
    os.kill(children(process)[victim], signal.SIGKILL)
    _, err = ended(process, code=1, timeout=300)  # left alone, the others wait for a day
    if victim:
        assert "run_seq_cls.py: the processes of this run have lost one another" in err
    folder = user.run_dir(f"killed-{victim}")
    kept = int(max(folder.glob("checkpoint-*")).name.split("-")[1])
    assert kept >= 10


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(user: User):
    process = by_two(
        user, "run_seq_cls.py", *command("run_seq_cls.py", "broken-off", 4, steps=LONG), start_new_session=True
    )
    wait_for_steps(process, user.run_dir("broken-off"), 7)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    checkpoints = sorted(user.run_dir("broken-off").glob("checkpoint-*"))
    assert len(checkpoints) == 1
    assert err.count(f"run_seq_cls.py: stopped; saved as ckpt/broken-off/{checkpoints[0].name}; to go on:") == 1
    assert "torchrun ... --nproc_per_node 2 " in err


@pytest.mark.slow
def test_ctrl_c_breaks_a_long_evaluation_off(user: User):
    test = user.folder / "sample_data/nsmc/ratings_test.txt"
    header, *rows = test.read_text(encoding="utf-8").rstrip("\n").split("\n")
    (test.parent / "long.txt").write_text("\n".join([header, *rows * 500]) + "\n", encoding="utf-8")
    steps = ["--max_steps", 10, "--eval_steps", 5, "--save_steps", 0, "--test_file", "long.txt"]
    process = by_two(user, "run_seq_cls.py", *command("run_seq_cls.py", "evaluating", 4, steps=steps))
    wait_for_steps(process, user.run_dir("evaluating"), 5)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "stopped; saved as ckpt/evaluating/checkpoint-5; to go on:" in err
    assert not user.log("evaluating", "evaluation")


@pytest.mark.slow
def test_training_scoring_and_predicting_in_one_go(user: User):
    words = ["--do_train", "--do_eval", "--do_predict", "--input_file", "sample_data/texts.txt", "--eval_steps", 0]
    steps = ["--max_steps", 4, "--save_steps", 2]
    ended(by_two(user, "run_seq_cls.py", *command("run_seq_cls.py", "in-one-go", 4, *words, steps=steps)))
    assert len((user.run_dir("in-one-go") / "predictions-texts.tsv").read_text(encoding="utf-8").splitlines()) > 1
    standard_input = [*nsmc("in-one-go"), "--do_predict", "--input_file", "-"]
    _, err = ended(by_two(user, "run_seq_cls.py", *standard_input), code=1)
    assert err.count("run_seq_cls.py: input_file - is read by one process") == 1
