"""bash scripts/test_tpu.sh

`--use_tpu` through torch_xla, in its own environment, on the CPU that XLA takes for a device where PJRT_DEVICE says so,
or for two. The scripts' runs on an ordinary CPU, by the torch of the tests, are what they are compared with.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from closeness import assert_close_in_size, assert_modules_close
from conftest import REPOSITORY, User, nsmc
from exact_runs import COMMANDS, command, make_models, stop_after_three

PYTHON = REPOSITORY / ".venv-tpu/bin/python"
pytestmark = pytest.mark.tpu
# Lengths, which both runs of a pair are given: BigBird's blocks depend on how long a batch is.
LENGTHS = {"run_long_qa.py": [256, 768, 1024], "run_seq_cls.py": [32, 64, 128], "run_ner.py": [32, 64, 128]}
SLOWER = 1800  # seconds: graphs are compiled for minutes where other programs use the machine


def environment_of(user: User, devices: int = 1) -> dict[str, str]:
    return user.environment | {"PJRT_DEVICE": "CPU", "CPU_NUM_DEVICES": str(devices)}


def by_xla(user: User, script: str, *words: object, devices: int = 1, code: int = 0, **options) -> str:
    """What is on standard error."""
    settings = {"cwd": user.folder, "env": environment_of(user, devices), "timeout": SLOWER} | options
    finished = subprocess.run(
        [PYTHON, REPOSITORY / script, *map(str, words)], capture_output=True, encoding="utf-8", check=False, **settings
    )
    assert finished.returncode == code and "Traceback" not in finished.stderr, finished.stderr
    return finished.stderr


@pytest.fixture(scope="module", autouse=True)
def still(user: User) -> None:
    assert PYTHON.is_file(), "bash scripts/test_tpu.sh makes the environment"
    make_models(user.folder)


def exact(script: str, output_dir: str, rows: int, *more: object, **steps: list) -> list[object]:
    lengths = LENGTHS.get(script, [16, 32, 64])
    return command(script, output_dir, rows, "--length_buckets", *lengths[:-1], *more, **steps)


@pytest.mark.parametrize("script", [*COMMANDS, "pretrain_splinter.py --mlm true --adam_bias_correction false"])
def test_a_script_by_xla_is_the_script_on_a_cpu(user: User, script: str):
    """On one device and on two: losses, scores, what is written; few graphs. run_long_qa.py has a sparse BigBird."""
    name = re.sub(r"\W+", "-", script)
    script, *words = script.split()
    user.types(*exact(script, f"{name}-cpu", 8, *words), "--no_cuda", script=script)
    expected, own = user.losses(f"{name}-cpu"), user.results(f"{name}-cpu")
    assert len(expected) == 5
    for devices in (1, 2):
        folder = f"{name}-xla-{devices}"
        said = by_xla(user, script, *exact(script, folder, 8 // devices, *words), "--use_tpu", devices=devices)
        assert_close_in_size(user.losses(folder), expected, 1e-4)
        results = user.results(folder)
        assert results["metrics"] == pytest.approx(own["metrics"], abs=1e-3)
        assert results["hardware"] == {
            "device": "xla", "precision": "fp32", "processes": 1, "chips": devices, "name": "CPU through XLA"
        }  # fmt: skip
        # Per length one for training and one for evaluation; once the first step's, two of the optimizer's, and one
        # that sets the loss to zero after it was logged.
        compilations = results["training"]["compilations"]
        assert 0 < compilations <= 2 * len(LENGTHS.get(script, [16, 32, 64])) + 4
        assert f"graphs compiled for training: {compilations}" in said and "5 steps of 8 rows" in said
        pair = [user.run_dir(where) / "checkpoint-5/model.safetensors" for where in (folder, f"{name}-cpu")]
        assert_modules_close(*map(load_file, pair), 1e-3)
        files = [{path.name for path in user.run_dir(where).iterdir()} for where in (folder, f"{name}-cpu")]
        assert files[0] == files[1]


@pytest.mark.parametrize("task", ["nsmc", "korsts"])
def test_short_last_batches(user: User, task: str):
    """Rows that fill a batch up count neither in the loss nor in the score, of classes and of a regression."""
    source = next((user.folder / "sample_data" / task).glob("*train*"))
    lines = source.read_text(encoding="utf-8").splitlines()[:12]  # 11 rows, in batches of 4
    short = source.with_name(f"short-{source.name}")
    short.write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = [word if word != "nsmc" else task for word in exact("run_seq_cls.py", "{}", 4, steps=[])]
    words += ["--num_train_epochs", 2, "--train_file", short.name, "--eval_steps", "epoch", "--eval_batch_size", 48]

    def into(folder: str) -> list[object]:
        return [f"{folder}-{task}" if word == "{}" else word for word in words]

    user.types(*into("short-cpu"), "--no_cuda")
    said = by_xla(user, "run_seq_cls.py", *into("short-xla"), "--use_tpu")
    assert len(user.losses(f"short-cpu-{task}")) == 6
    assert_close_in_size(user.losses(f"short-xla-{task}"), user.losses(f"short-cpu-{task}"), 1e-4)
    pair = [user.log(f"short-{arm}-{task}", "evaluation") for arm in ("cpu", "xla")]
    for mine, other in zip(*pair, strict=True):
        assert mine["metrics"] == pytest.approx(other["metrics"], abs=1e-3)
    assert "after the first epoch" not in said


def test_resuming(user: User):
    """With dropout: the same losses as without a stop, and the same weights; also as a run that never saved."""
    steps = ["--max_steps", 6, "--save_optimizer", "--logging_steps", 1, "--eval_steps", 0]
    words = [*steps, "--train_batch_size", 8, "--precision", "fp32", "--length_buckets", 32, "--use_tpu"]
    by_xla(user, "run_seq_cls.py", *nsmc("unsaved"), *words, "--save_steps", 0)
    words += ["--save_steps", 3]
    by_xla(user, "run_seq_cls.py", *nsmc("dropped"), *words)
    assert_close_in_size(user.losses("dropped"), user.losses("unsaved"))
    stop_after_three(user, "dropped", "dropped-resumed")
    said = by_xla(user, "run_seq_cls.py", *nsmc("dropped-resumed"), *words, "--resume")
    assert "checkpoint-3 at step 3 of 6" in said and "after the first epoch" not in said
    assert_close_in_size(user.losses("dropped-resumed"), user.losses("dropped"))
    pair = [user.run_dir(name) / "checkpoint-6/model.safetensors" for name in ("dropped", "dropped-resumed")]
    # The first step after a start is a graph of its own, which may round otherwise.
    assert_modules_close(*map(load_file, reversed(pair)), 1e-4)


@pytest.mark.parametrize("script", ["run_seq_cls.py", "pretrain_spanbert.py"])
def test_checkpoints_go_from_a_cpu_to_a_tpu_and_back(user: User, script: str):
    """SpanBERT's embeddings are the weights of its head too."""
    name = script.removesuffix(".py")
    steps = {"steps": ["--max_steps", 6, "--save_steps", 3, "--save_optimizer", "--eval_steps", 0]}
    cpu, tpu = f"{name}-from-cpu", f"{name}-from-tpu"
    user.types(*exact(script, cpu, 8, **steps), "--no_cuda", script=script)
    by_xla(user, script, *exact(script, tpu, 8, **steps), "--use_tpu")
    assert_close_in_size(user.losses(tpu), user.losses(cpu), 1e-4)
    for whole in (cpu, tpu):
        stop_after_three(user, whole, f"{whole}-elsewhere")
        words = [*exact(script, f"{whole}-elsewhere", 8, **steps), "--resume"]
        if whole == cpu:
            by_xla(user, script, *words, "--use_tpu")
        else:
            user.types(*words, "--no_cuda", script=script)
        found = user.losses(f"{whole}-elsewhere")
        assert len(found) == 6
        assert_close_in_size(found, user.losses(whole), 1e-4)
    state = torch.load(
        user.run_dir(tpu) / "checkpoint-6/training_state.pt", weights_only=True
    )  # on this machine's torch
    assert {str(value.device) for one in state["optimizer"]["state"].values() for value in one.values()} == {"cpu"}


@pytest.mark.parametrize(("precision", "devices"), [("bf16", 2), ("fp32", 1)])
def test_steps(precision: str, devices: int, tmp_path: Path):
    """Nothing is read inside a step, nothing leaves XLA, a shape is compiled once, products are of the precision.

    Chips add up gradients, and fetch nothing else from one another.
    """
    settings = {"PJRT_DEVICE": "CPU", "CPU_NUM_DEVICES": str(devices), "PYTHONPATH": str(REPOSITORY)}
    settings["XLA_FLAGS"] = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
    worker = REPOSITORY / "tests" / "xla_worker.py"
    finished = subprocess.run(
        [PYTHON, worker, precision], env=os.environ | settings, capture_output=True, encoding="utf-8", check=False
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    dtype = {"bf16": "torch.bfloat16", "fp32": "torch.float32"}[precision]
    assert found["dtypes"] == {"attention": dtype, "feed-forward": dtype, "weights": "torch.float32"}
    assert found["steps"] == {"reads": 0, "compiled": [2, *[4] * 9], "foreign": []}
    assert found["dropout"] == [True, True] and found["devices"] == devices
    programs = [path.read_text() for path in tmp_path.glob("*after_optimizations.txt")]
    training = [program for program in programs if " all-reduce(" in program]
    assert len(programs) >= 4 and bool(training) == (devices > 1)
    assert not any(" all-gather(" in program for program in training)


def test_several_seeds(user: User):
    """In one process: the second run compiles nothing, and no library complains."""
    words = ["--seeds", 1, 2, "--max_steps", 3, "--eval_steps", 0, "--train_batch_size", 8, "--length_buckets", 64]
    said = by_xla(user, "run_seq_cls.py", *nsmc("seeds-xla"), *words, "--use_tpu")
    counts = [user.results(f"seeds-xla/seed-{seed}")["training"]["compilations"] for seed in (1, 2)]
    assert counts[0] >= 4 and counts[1] == 0 and "Warning" not in said


def test_dry_run(user: User):
    said = by_xla(user, "run_seq_cls.py", *command("run_seq_cls.py", "dry-xla", 4), "--use_tpu", "--dry_run")
    assert "dry run: 5 steps of 4 rows" in said and "CPU through XLA" in said
    assert not user.run_dir("dry-xla").exists()


@pytest.mark.parametrize(
    ("device", "words", "message"),
    [
        (None, [], "torch_xla finds no TPU on this machine; with PJRT_DEVICE=CPU in the environment"),
        ("CPU", ["--precision", "fp16"], "use_tpu and precision fp16"),
        ("", [], "torch_xla finds no TPU on this machine"),
        ("TPU", [], "torch_xla finds no TPU on this machine"),
        ("GARBAGE", [], "torch_xla cannot compute on PJRT_DEVICE=GARBAGE: "),
        ("NEURON", [], "torch_xla cannot compute on PJRT_DEVICE=NEURON: "),
    ],
)
def test_what_is_refused(user: User, device: str | None, words: list[str], message: str):
    environment = {key: value for key, value in user.environment.items() if key != "PJRT_DEVICE"}
    environment |= {} if device is None else {"PJRT_DEVICE": device}
    said = by_xla(user, "run_seq_cls.py", *nsmc("refused-xla"), "--use_tpu", *words, code=2, env=environment)
    lines = [line for line in said.splitlines() if not line.startswith(("train: ", "test: "))]
    assert len(lines) == 1 and message in lines[0]


def test_learning_in_bf16_with_dropout(user: User):
    words = ["--max_steps", 80, "--eval_steps", 0, "--logging_steps", 20, "--precision", "bf16", "--length_buckets", 64]
    by_xla(user, "run_seq_cls.py", *nsmc("learning-xla"), *words, "--use_tpu", "--train_batch_size", 16, devices=2)
    found = user.losses("learning-xla")
    assert found[0] > 0.6 and found[-1] < 0.5
    assert user.results("learning-xla")["metrics"]["accuracy"] > 0.8
