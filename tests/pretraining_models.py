"""What the tests of both pretraining models ask of them: their losses, and the gradients of all parameters."""

from __future__ import annotations

from torch import Tensor, nn

from closeness import assert_close_in_size, assert_modules_close, size_of, sizes_of_modules
from models.unpadding import Packing

LossesAndGradients = tuple[list[Tensor], dict[str, Tensor]]


def packed(batch: dict[str, Tensor]) -> dict:
    return batch | {"packing": Packing.of_mask(batch["attention_mask"].numpy())}


def losses_and_gradients(model: nn.Module, batch: dict, *, losses: tuple[str, str]) -> LossesAndGradients:
    """Both losses, and the gradients of their sum. losses: their names in the model's output."""
    model.zero_grad()
    outputs = model(**batch)
    first, second = (outputs[name] for name in losses)
    (first + second).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return [first.detach(), second.detach()], gradients


def expect_same(found: LossesAndGradients, expected: LossesAndGradients, *, more_than: int) -> None:
    """more_than: the model has more parameters with gradients than this, so that none is forgotten."""
    for loss, other in zip(found[0], expected[0], strict=True):
        assert_close_in_size(loss, other, 2e-6)
    assert len(found[1]) > more_than
    assert_modules_close(found[1], expected[1])


def expect_same_in_half_precision(found: LossesAndGradients, expected: LossesAndGradients, losses: float, norms: float):
    """Compares at bf16's accuracy. losses, norms: the largest errors, relative to a loss, or to a gradient's norm.

    A gradient that is zero up to rounding is compared with the size of the other gradients in its module.
    """
    for loss, other in zip(found[0], expected[0], strict=True):
        assert_close_in_size(loss, other, losses)
    sizes = sizes_of_modules(expected[1])
    for name, gradient in expected[1].items():
        size = gradient.norm() if size_of(gradient) > 1e-3 * sizes[name] else sizes[name]
        assert (found[1][name] - gradient).norm() < norms * size, name
