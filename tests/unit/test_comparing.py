"""What the comparisons that other tests share let pass, and what not."""

from __future__ import annotations

import pytest
import torch

import growth
from closeness import assert_close_in_size, assert_modules_close
from growth import expect_linear

VALUES = torch.tensor([[24.0, -1e-3], [0.0, 7.0]])


def test_rounding_passes_in_the_size_of_what_is_compared():
    assert_close_in_size(VALUES + 1e-4, VALUES)
    assert_close_in_size(VALUES + 1e-4, VALUES.double())
    assert_close_in_size([0.7, 3.00001], [0.7, 3.0])
    assert_close_in_size(VALUES * 0, VALUES * 0)


@pytest.mark.parametrize(
    "found",
    [VALUES + 1e-3, VALUES * 1.0001, VALUES.flip(0), VALUES[:1], VALUES * float("nan"), VALUES.bfloat16()],
    ids=["beyond rounding", "scale", "order", "shape", "nan", "type"],
)
def test_what_is_wrong_does_not(found: torch.Tensor):
    with pytest.raises(AssertionError):
        assert_close_in_size(found, VALUES)


def test_what_is_rounding_alone_is_measured_by_its_module():
    expected = {"key.weight": VALUES, "key.bias": torch.zeros(2), "value.bias": torch.full((2,), 1e-3)}
    assert_modules_close(expected | {"key.bias": torch.full((2,), 1e-5)}, expected)
    for wrong in ({"value.bias": torch.full((2,), 1.1e-3)}, {"key.bias": torch.full((2,), 1e-3)}, {"more": VALUES}):
        with pytest.raises(AssertionError):
            assert_modules_close(expected | wrong, expected)


def test_growth_is_told_from_noise(monkeypatch: pytest.MonkeyPatch):
    noise = iter([1.5, 1.0, 1.2, 9.0, 1.1, 1.3, 1.4, 1.0])  # three of a small one, one of a large one, and again
    monkeypatch.setattr(growth, "_cost", lambda work, size: work(size) * next(noise))
    expect_linear(lambda size: size, 1_000)
    monkeypatch.setattr(growth, "_cost", lambda work, size: work(size))
    with pytest.raises(AssertionError, match="400 times the work for 20 times the size"):
        expect_linear(lambda size: size**2, 1_000)
