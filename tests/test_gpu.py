"""bash scripts/test.sh -m gpu        (skipped where there is no GPU)

The scripts on a GPU: the losses of a CPU, every precision, what is kept in memory, what runs out of it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import User, nsmc
from exact_runs import COMMANDS, command, make_models, stop_after_three
from safetensors.torch import load_file
from test_loop import collate
from transformers import BertConfig, BertModel

from models.unpadding import Packing, unpad_encoder
from training.config import UsageError
from training.plan import Plan, batches_from
from training.runtime import Runtime

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
STEPS = {"steps": ["--max_steps", 6, "--save_steps", 3, "--save_optimizer", "--eval_steps", 0]}


@pytest.fixture(scope="module", autouse=True)
def still(user: User) -> None:
    make_models(user.folder)


@pytest.mark.parametrize("script", COMMANDS)
def test_a_script_on_a_gpu_is_the_script_on_a_cpu(user: User, script: str):
    name = script.removesuffix(".py")
    user.types(*command(script, f"{name}-on-cpu", 8), "--no_cuda", script=script)
    user.types(*command(script, f"{name}-on-gpu", 8), script=script)
    np.testing.assert_allclose(user.losses(f"{name}-on-gpu"), user.losses(f"{name}-on-cpu"), atol=1e-4)
    results = [user.results(f"{name}-on-{device}") for device in ("gpu", "cpu")]
    assert results[0]["metrics"] == pytest.approx(results[1]["metrics"], abs=1e-3)
    assert results[0]["hardware"]["device"] == "cuda"
    on_gpu, on_cpu = (
        load_file(user.run_dir(f"{name}-on-{device}") / "checkpoint-5/model.safetensors") for device in ("gpu", "cpu")
    )
    for key, value in on_cpu.items():
        torch.testing.assert_close(on_gpu[key], value, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("script", ["run_seq_cls.py", "pretrain_spanbert.py"])
def test_compiled(user: User, script: str):
    name = script.removesuffix(".py")
    user.types(*command(script, f"{name}-plain", 8), script=script)
    user.types(*command(script, f"{name}-compiled", 8, "--compile"), script=script, timeout=1200)
    np.testing.assert_allclose(user.losses(f"{name}-compiled"), user.losses(f"{name}-plain"), atol=1e-4)


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
    np.testing.assert_allclose(user.losses(resumed), user.losses(whole), atol=1e-4)


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
