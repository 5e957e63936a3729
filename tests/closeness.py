"""Comparisons that allow for rounding, which depends on the order of additions and on the size of the numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def assert_close_in_size(
    found: object, expected: object, tolerance: float = 1e-5, *, size: float | None = None, name: str = ""
) -> None:
    """Nothing differs by more than `tolerance` of the largest expected value, or of `size`.

    Both tensors have the same dtype, except that the expected one may be fp64. Lists and arrays are accepted too.
    """
    if isinstance(found, Tensor) and isinstance(expected, Tensor):
        assert found.dtype == expected.dtype or expected.dtype == torch.float64, name
    found, expected = (torch.as_tensor(values, dtype=torch.float64).detach() for values in (found, expected))
    assert found.shape == expected.shape and expected.isfinite().all(), name
    size = float(size_of(expected) if size is None else size)
    difference = size_of(found - expected)
    assert difference <= tolerance * size, f"{name} differs by {difference:.2g}, of values up to {size:.2g}"


def assert_modules_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    """The same gradients, or weights, by the names of parameters, each in the size of the largest of its module.

    Of a module, since the gradient of a key's bias, and of what moves all logits alike, is nothing but rounding; and so
    is what such a bias, which begins as zero, becomes.
    """
    assert found.keys() == expected.keys()
    sizes = sizes_of_modules(expected)
    for name, values in expected.items():
        assert_close_in_size(found[name], values, tolerance, size=sizes[name], name=name)


def sizes_of_modules(parameters: dict[str, Tensor]) -> dict[str, float]:
    """For each name the largest absolute value that its module has, in parameters of its own."""
    largest: dict[str, float] = {}
    for name, values in parameters.items():
        module = name.rpartition(".")[0]
        largest[module] = max(largest.get(module, 0.0), size_of(values))
    return {name: largest[name.rpartition(".")[0]] for name in parameters}


def size_of(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0
