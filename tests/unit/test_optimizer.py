"""Adam without bias correction against BERT's own formula, in every kernel that computes it here."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from closeness import assert_close_in_size, assert_modules_close
from small_jobs import Network, expect_an_interruption_to_change_nothing, make_job, weights
from training.loop import fit
from training.optimizer import build_optimizer
from training.runtime import Runtime

SETTINGS = {"adam_bias_correction": False, "adam_epsilon": 1e-3, "weight_decay": 0.3, "learning_rate": 0.01}
# As `Runtime.adamw` has it for CPUs and GPUs, torch's other kernel for several tensors, and as XLA has it.
KERNELS = {
    "fused": {"fused": True, "foreach": None, "capturable": False},
    "foreach": {"fused": False, "foreach": True, "capturable": False},
    "one by one": {"fused": False, "foreach": False, "capturable": False},
}


def by_berts_formula(before: dict[str, Tensor], gradients: list[dict[str, Tensor]], rates: list[float]):
    """The weights after steps with these gradients, in fp64, as google-research/bert has it in optimization.py:
    AdamWeightDecayOptimizer, which leaves biases and LayerNorms (here `norm`) without decay.
    """
    after = {name: value.double() for name, value in before.items()}
    moments = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in after.items()}
    for gradient_of, rate in zip(gradients, rates, strict=True):
        for name, value in after.items():
            gradient, (m, v) = gradient_of[name].double(), moments[name]
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            moments[name] = m, v
            update = m / (v.sqrt() + SETTINGS["adam_epsilon"])
            if not (name.endswith("bias") or name.startswith("norm")):
                update = update + SETTINGS["weight_decay"] * value
            after[name] = value - rate * update
    return after


def random_gradients(model: nn.Module, steps: int) -> list[dict[str, Tensor]]:
    """Of sizes from far below epsilon to far above it."""
    generator = torch.Generator().manual_seed(3)
    sizes = [10.0 ** (step % 5 - 3) for step in range(steps)]
    return [
        {name: size * torch.randn(p.shape, generator=generator) for name, p in model.named_parameters()}
        for size in sizes
    ]


@pytest.mark.parametrize("kernel", KERNELS)
def test_without_bias_correction_it_is_berts_optimizer(kernel: str, tmp_path: Path, monkeypatch):
    """Also from the first step on, at a rate of 0, and after its state went through a checkpoint."""
    monkeypatch.setattr(Runtime, "adamw", KERNELS[kernel])
    torch.manual_seed(0)
    model = Network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    config, runtime = make_job(tmp_path / "run", **SETTINGS).config, Runtime(True, "fp32")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    gradients, rates = random_gradients(model, 12), [0.0, 0.004, *[0.01] * 10]
    optimizer = build_optimizer(model, config, runtime)
    for number, (gradient_of, rate) in enumerate(zip(gradients, rates, strict=True)):
        if number == 6:
            saved = copy.deepcopy(optimizer.state_dict())
            optimizer = build_optimizer(model, config, runtime)
            optimizer.load_state_dict(saved)
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, parameter in model.named_parameters():
            parameter.grad = gradient_of[name].clone()
        optimizer.step()
        if number in (0, 1, 2, 11):
            expected = by_berts_formula(before, gradients[: number + 1], rates[: number + 1])
            assert_modules_close(dict(model.named_parameters()), {k: v.float() for k, v in expected.items()})


@pytest.mark.parametrize("capture", [False, True])
def test_a_run_without_it_resumes_to_the_bit(capture: bool, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("REHEARSE_CAPTURE", "1")
    expect_an_interruption_to_change_nothing(tmp_path, 4, **SETTINGS, capture=capture)


def test_a_run_without_it_is_another_run(tmp_path: Path):
    jobs = {is_on: make_job(tmp_path / str(is_on), adam_bias_correction=is_on, max_steps=2) for is_on in (True, False)}
    for job in jobs.values():
        fit(job)
    assert not torch.equal(weights(jobs[True])["outer.weight"], weights(jobs[False])["outer.weight"])


def test_the_first_update_by_hand(tmp_path: Path):
    """m = 0.1 g and v = 0.001 g * g, so that a gradient far above epsilon moves a weight by 3.16 rates."""
    model = nn.Linear(2, 1)
    config = make_job(tmp_path / "run", **(SETTINGS | {"adam_epsilon": 1e-12, "weight_decay": 0.0})).config
    optimizer = build_optimizer(model, config, Runtime(True, "fp32"))
    before = model.weight.detach().clone()
    model.weight.grad, model.bias.grad = torch.tensor([[7.0, -0.2]]), torch.zeros(1)
    optimizer.step()
    moved = (before - model.weight.detach()) / config.learning_rate
    assert_close_in_size(moved, torch.tensor([[1.0, -1.0]]) * 0.1 / 0.001**0.5, 1e-4)
