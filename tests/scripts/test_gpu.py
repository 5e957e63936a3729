"""bash scripts/test.sh -m gpu        (skipped where there is no GPU)

The scripts on a GPU: the losses of a CPU, every precision, captured steps and those that are not, what is kept in
memory, what runs out of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from closeness import assert_close_in_size, assert_modules_close
from conftest import User, nsmc
from exact_runs import COMMANDS, command, make_models, stop_after_three
from models import bigbird
from models.attention import kernel_for, variable_length_attention
from models.unpadding import Packing, unpad_encoder
from small_jobs import collate, loss_of_rows, losses, make_job
from training.config import UsageError
from training.loop import TrainingRun, fit
from training.plan import Plan, batches_from
from training.runtime import Runtime
from varlen_reference import attention_row_by_row

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
STEPS = {"steps": ["--max_steps", 6, "--save_steps", 3, "--save_optimizer", "--eval_steps", 0]}
# Enough for shapes to come again, so that steps and evaluations are replayed.
REPLAYED = {"steps": ["--max_steps", 10, "--save_steps", 10, "--eval_steps", 5]}
CUDA = torch.device("cuda", 0)


@pytest.fixture(scope="module", autouse=True)
def still(user: User) -> None:
    make_models(user.folder)


@pytest.mark.parametrize("script", COMMANDS)
def test_a_script_on_a_gpu_is_the_script_on_a_cpu(user: User, script: str):
    """In fp32, with captured steps and without: losses, scores, weights."""
    name = script.removesuffix(".py")
    cpu, gpu, uncaptured = (f"{name}-on-{arm}" for arm in ("cpu", "gpu", "gpu-uncaptured"))
    user.types(*command(script, cpu, 8, **REPLAYED), "--no_cuda", script=script)
    user.types(*command(script, gpu, 8, **REPLAYED), script=script)
    user.types(*command(script, uncaptured, 8, "--capture", "false", **REPLAYED), script=script)
    expected, weights = user.results(cpu), load_file(user.run_dir(cpu) / "checkpoint-10/model.safetensors")
    for arm in (gpu, uncaptured):
        assert_close_in_size(user.losses(arm), user.losses(cpu), 1e-4)
        results = user.results(arm)
        assert results["metrics"] == pytest.approx(expected["metrics"], abs=1e-3)
        assert results["hardware"]["device"] == "cuda"
        assert_modules_close(load_file(user.run_dir(arm) / "checkpoint-10/model.safetensors"), weights, 1e-3)
    last = user.log(gpu, "train")[-1]
    assert last["graphs"] >= 1 and last["replayed_steps"] >= 1 and "graphs" not in user.log(uncaptured, "train")[-1]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_captured_steps_of_half_precision_are_the_steps(user: User, precision: str, micro_batches: int):
    """Also where a step is several graphs, with the decisions of fp16's scaler in between."""
    words = ["--gradient_accumulation_steps", micro_batches, *"--max_steps 12 --eval_steps 0 --save_steps 0".split()]
    names = [f"{arm}-{precision}-{micro_batches}" for arm in ("captured", "uncaptured")]
    for name, capture in zip(names, ("true", "false"), strict=True):
        exact = command("run_seq_cls.py", name, 8 // micro_batches, "--capture", capture, steps=words)
        user.types(*(precision if word == "fp32" else word for word in exact))
    assert_close_in_size(user.losses(names[0]), user.losses(names[1]), 2e-2)
    assert user.log(names[0], "train")[-1]["replayed_steps"] >= 6


def test_resumed_with_dropout_a_captured_run_is_the_unbroken_one_to_the_bit(user: User):
    """What the unbroken run replayed, the resumed one has to capture first, with the same draws."""
    steps = ["--max_steps", 24, "--save_steps", 12, "--save_optimizer", "--logging_steps", 1, "--eval_steps", 0]
    user.types(*nsmc("unbroken"), *steps)
    shutil.copytree(user.run_dir("unbroken"), user.run_dir("broken"))
    shutil.rmtree(user.run_dir("broken") / "checkpoint-24")
    for name in ("results.json", "training.json"):
        (user.run_dir("broken") / name).unlink(missing_ok=True)
    said = user.types(*nsmc("broken"), *steps, "--resume").err
    assert "checkpoint-12 at step 12 of 24" in said
    assert user.losses("broken") == user.losses("unbroken")
    pair = [load_file(user.run_dir(name) / "checkpoint-24/model.safetensors") for name in ("broken", "unbroken")]
    for key, value in pair[1].items():
        assert torch.equal(pair[0][key], value), key


def small_job(tmp_path: Path, loss_of=loss_of_rows, **settings):
    """`make_job` of test_loop.py on the GPU."""
    job = make_job(tmp_path, loss_of, logging_steps=1, **settings)
    runtime = Runtime(precision="fp32", capture=settings.get("capture"))
    return replace(job, runtime=runtime, model=runtime.prepare(job.model))


def test_where_a_step_cannot_be_captured_the_run_goes_on_without(tmp_path: Path, monkeypatch, capsys):
    """A loss that reads a value off the device: with dropout, whose generator must not stay in capture mode."""

    def reading(model, batch):
        loss = loss_of_rows(model, batch)
        return loss * (1.0 if float(loss.detach()) > 0 else 2.0)

    monkeypatch.setattr(Runtime, "has_stopped_capturing", False)
    settings = {"max_steps": 8, "dropout": 0.3}
    fit(small_job(tmp_path / "reading", reading, **settings))
    said = capsys.readouterr().err
    assert said.count("warning: steps are no longer captured, as with --capture false, and may take longer: ") == 1
    assert "test_gpu.py:" in said  # where it cannot be captured
    assert torch.cuda.memory_reserved() < 2**28  # the memory of graphs is free again
    fit(small_job(tmp_path / "plain", reading, **settings, capture=False))
    found, expected = ([loss for _, loss in losses(tmp_path / name)] for name in ("reading", "plain"))
    assert_close_in_size(found, expected, 1e-4)


def test_no_step_makes_the_cpu_wait(tmp_path: Path):
    job = small_job(tmp_path / "run", max_steps=8)
    run = TrainingRun(job)
    batches = list(batches_from(job.plan, job.collate, 0, job.runtime))
    for step in batches[:2]:  # what is made at a first use
        run.step(step)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in batches[2:6]:
            run.stepper.take(step, 4)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert run.stepper.graphs()["replayed_steps"] >= 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_kernels_for_rows_of_any_length_are_attention(dtype: torch.dtype):
    """Forward and backward, with an empty row, against attention row by row."""
    is_half = dtype == torch.bfloat16
    if is_half and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("flash attention wants Ampere or newer")
    kernel = "flash" if is_half else "efficient"
    assert kernel_for(CUDA, dtype, 64) == kernel
    torch.manual_seed(0)
    starts = torch.tensor([0, 3, 3, 70, 200], dtype=torch.int32, device=CUDA)
    tensors = [torch.randn(200, 4, 64, device=CUDA, dtype=dtype, requires_grad=True) for _ in range(3)]
    gradient = torch.randn(200, 4, 64, device=CUDA, dtype=dtype)

    def outputs(attention: Callable) -> tuple[torch.Tensor, ...]:
        output = attention(kernel, *tensors, starts, starts, (130, 130))
        return output, *torch.autograd.grad(output, tensors, gradient)

    for mine, other in zip(outputs(variable_length_attention), outputs(attention_row_by_row), strict=True):
        assert (mine - other).abs().max() <= (2e-2 if is_half else 1e-4) * other.abs().max()


@pytest.mark.parametrize("padding", [0, 700])
def test_bigbird_by_the_kernel_is_bigbird_with_masks(padding: int, monkeypatch):
    """In bf16, forward and backward."""
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("flash attention wants Ampere or newer")
    torch.manual_seed(0)
    tensors = [torch.randn(2, 4, 2048, 64, device=CUDA, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    mask = torch.ones(2, 2048, dtype=torch.bool, device=CUDA)
    mask[1, 2048 - padding :] = False
    seen = torch.from_numpy(bigbird.seen_blocks(0, 4, 32, 3, 64, 64)).to(CUDA)
    gradient = torch.randn(2, 4, 2048, 64, device=CUDA, dtype=torch.bfloat16)

    def outputs() -> tuple[torch.Tensor, ...]:
        output = bigbird.block_sparse_attention(*tensors, mask if padding else None, seen, 64)
        return output, *torch.autograd.grad(output, tensors, gradient)

    found = outputs()
    monkeypatch.setattr(bigbird, "kernel_for", lambda *device_and_dtype: None)
    for mine, other in zip(found, outputs(), strict=True):
        assert torch.isfinite(mine).all() and (mine - other).abs().max() <= 3e-2 * other.abs().max()


@pytest.mark.parametrize("script", ["run_seq_cls.py", "pretrain_spanbert.py"])
def test_compiled(user: User, script: str):
    name = script.removesuffix(".py")
    user.types(*command(script, f"{name}-plain", 8), script=script)
    user.types(*command(script, f"{name}-compiled", 8, "--compile"), script=script, timeout=1200)
    assert_close_in_size(user.losses(f"{name}-compiled"), user.losses(f"{name}-plain"), 1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_learning_with_dropout(user: User, precision: str):
    """fp16 scales the loss, and its scale is in the checkpoint."""
    words = ["--max_steps", 100, "--eval_steps", 0, "--logging_steps", 20, "--precision", precision]
    user.types(*nsmc(f"learned-{precision}"), *words)
    found = user.losses(f"learned-{precision}")
    assert found[0] > 0.6 and found[-1] < 0.5
    state = torch.load(user.run_dir(f"learned-{precision}") / "checkpoint-100/training_state.pt", weights_only=True)
    assert bool(state["scaler"]) == (precision == "fp16")


@pytest.mark.parametrize("goes_on_with", [[], ["--no_cuda"]])
def test_what_a_gpu_began_goes_on(user: User, goes_on_with: list[str]):
    whole, resumed = "begun-on-gpu", "goes-on-" + ("cpu" if goes_on_with else "gpu")
    if not user.run_dir(whole).exists():
        user.types(*command("run_seq_cls.py", whole, 8, **STEPS))
    stop_after_three(user, whole, resumed)
    said = user.types(*command("run_seq_cls.py", resumed, 8, **STEPS), "--resume", *goes_on_with).err
    assert "checkpoint-3 at step 3 of 6" in said
    assert_close_in_size(user.losses(resumed), user.losses(whole), 1e-4)


def test_attention_without_padding_has_dropout():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(**sizes, vocab_size=50, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    model = unpad_encoder(BertModel(config)).cuda()
    mask = torch.ones(3, 20, dtype=torch.long)
    mask[0, 5:] = mask[1, 11:] = 0
    batch = {"input_ids": torch.randint(0, 50, (3, 20)).cuda(), "attention_mask": mask.cuda()}
    packing = Packing.of_mask(mask.numpy(), 1).to(torch.device("cuda"))

    def states() -> torch.Tensor:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            return model(**batch, packing=packing).last_hidden_state

    assert not torch.equal(states(), states())
    model.eval()
    assert torch.equal(states(), states())


def test_batches_are_pinned_and_made_ahead():
    runtime = Runtime(precision="fp32")
    plan = Plan(rows=8, batch_size=4, step_rows=4, epochs=1, seed=0)
    made = []

    def counted(rows: np.ndarray, draws: object, size: int | None) -> dict:
        made.append(len(rows))
        return collate(rows)

    batches = batches_from(plan, counted, 0, runtime)
    (batch,) = next(batches)
    assert batch["inputs"]["inputs"].is_pinned() and len(list(batches)) == 1 and made == [4, 4]
    assert runtime.place(batch)["inputs"]["inputs"].device.type == "cuda"


def test_no_memory_left():
    runtime = Runtime(precision="fp32")
    with pytest.raises(UsageError, match=r"memory has run out on .*: lower train_batch_size"):
        with runtime.memory_runs_out("lower train_batch_size"):
            torch.empty(2**45, device="cuda")
