"""What the tests of both pretraining models ask of them: their losses, and the gradients of all parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.unpadding import Packing

LossesAndGradients = tuple[list[Tensor], dict[str, Tensor]]


def packed(batch: dict[str, Tensor]) -> dict:
    return batch | {"packing": Packing.of_mask(batch["attention_mask"].numpy())}


def losses_and_gradients(model: nn.Module, batch: dict, *, losses: tuple[str, str]) -> LossesAndGradients:
    """Both losses, by their names in the output, and the gradients of their sum."""
    model.zero_grad()
    outputs = model(**batch)
    first, second = (outputs[name] for name in losses)
    (first + second).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return [first.detach(), second.detach()], gradients


def expect_same(
    found: LossesAndGradients, expected: LossesAndGradients, tolerance: float = 1e-5, *, more_than: int
) -> None:
    """more_than: how many parameters there are at least, so that none is forgotten."""
    torch.testing.assert_close(found[0], expected[0], atol=tolerance, rtol=1e-6)
    assert found[1].keys() == expected[1].keys() and len(found[1]) > more_than
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, atol=tolerance, rtol=1e-5, msg=name)
