"""What the tests of both pretraining models ask of them: their losses, and the gradients of all parameters."""

from __future__ import annotations

from closeness import assert_close_in_size, assert_modules_close, size_of, sizes_of_modules
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


def expect_same(found: LossesAndGradients, expected: LossesAndGradients, *, more_than: int) -> None:
    """more_than: how many parameters there are at least, so that none is forgotten."""
    for loss, other in zip(found[0], expected[0], strict=True):
        assert_close_in_size(loss, other, 2e-6)
    assert len(found[1]) > more_than
    assert_modules_close(found[1], expected[1])


def expect_same_in_half_precision(found: LossesAndGradients, expected: LossesAndGradients, losses: float, norms: float):
    """As bf16 has it: each loss but for that share of itself, and gradients but for that of their norms.

    Those that are zero but for rounding are of the size of the other gradients of their module.
    """
    for loss, other in zip(found[0], expected[0], strict=True):
        assert_close_in_size(loss, other, losses)
    sizes = sizes_of_modules(expected[1])
    for name, gradient in expected[1].items():
        size = gradient.norm() if size_of(gradient) > 1e-3 * sizes[name] else sizes[name]
        assert (found[1][name] - gradient).norm() < norms * size, name
