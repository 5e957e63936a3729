import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import BigBirdConfig, BigBirdModel
from transformers.activations import ACT2FN

from closeness import assert_close_in_size
from models.attention import attend
from models.fast_dropout import Dropout, dropout_mask, quicken


@pytest.mark.parametrize("dropout", [0.05, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_as_much_is_dropped_as_asked_for(dropout: float, dtype: torch.dtype):
    torch.manual_seed(0)
    drawn = dropout_mask(torch.empty(1001, 999, dtype=dtype), dropout)
    assert drawn.dtype == dtype and drawn.shape == (1001, 999) and set(drawn.unique().tolist()) == {0.0, 1.0}
    # Six standard deviations, of all, and of any row and column.
    for share, count in (
        (drawn.float().mean(), 1001 * 999),
        (drawn.float().mean(0), 1001),
        (drawn.float().mean(1), 999),
    ):
        tolerance = 6 * (dropout * (1 - dropout) / count) ** 0.5
        assert (share - (1 - dropout)).abs().max() < tolerance


def test_neighbours_are_drawn_independently():
    torch.manual_seed(0)
    drawn = 1 - dropout_mask(torch.empty(10**6), 0.1)
    for distance in (1, 2, 3, 4, 8, 512):
        together = (drawn[distance:] * drawn[:-distance]).mean()
        assert abs(together - 0.01) < 6 * (0.01 / 10**6) ** 0.5


def test_torchs_generator_decides_the_draws():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, second = (dropout_mask(torch.empty(100), 0.5) for _ in range(2))
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(dropout_mask(torch.empty(100), 0.5), first)


def test_dropout_scales_what_it_keeps_and_lets_gradients_through_there():
    torch.manual_seed(0)
    module = Dropout(0.2)
    inputs = torch.randn(50, 70, requires_grad=True)
    outputs = module(inputs)
    outputs.sum().backward()
    is_kept = outputs != 0
    torch.testing.assert_close(outputs[is_kept], inputs[is_kept] / 0.8)
    torch.testing.assert_close(inputs.grad, is_kept / 0.8)
    assert torch.equal(module.eval()(inputs), inputs)
    assert torch.equal(Dropout(0.0)(inputs), inputs) and not Dropout(1.0)(inputs).any()


def test_slow_modules_are_exchanged_and_the_results_stay():
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = BigBirdModel(BigBirdConfig(**sizes, intermediate_size=32, attention_type="original_full"))
    ids = torch.arange(50)[None]
    expected = model.eval()(ids).last_hidden_state
    names = list(model.state_dict())
    quick = quicken(model)
    kinds = {type(module) for module in quick.modules()}
    assert Dropout in kinds and nn.GELU in kinds and not {nn.Dropout, type(ACT2FN["gelu_new"])} & kinds
    assert list(quick.state_dict()) == names
    assert_close_in_size(quick(ids).last_hidden_state, expected)


def test_attention_with_dropout_is_torchs_but_for_the_draws():
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 8, requires_grad=True) for length in (5, 40, 40))
    visible = torch.rand(2, 1, 1, 40) < 0.7
    nearly_none = attend(query, key, value, visible, dropout=1e-9, scale=0.3)
    exact = (part.double() for part in (query, key, value))
    assert_close_in_size(nearly_none, scaled_dot_product_attention(*exact, visible, scale=0.3))
    # What is expected of many draws is what there is without any.
    mean = sum(attend(query, key, value, visible, dropout=0.3) for _ in range(3000)) / 3000
    expected = scaled_dot_product_attention(query, key, value, visible)
    assert (mean - expected).abs().max() < 0.05
    with torch.autocast("cpu", torch.bfloat16):
        assert attend(*(part.bfloat16() for part in (query, key, value)), visible, 0.1).dtype == torch.bfloat16


def test_keys_that_are_not_visible_have_no_weight_and_rows_of_none_are_finite():
    query, key, value = (torch.randn(1, 1, 4, 8, dtype=dtype) for dtype in [torch.bfloat16] * 3)
    value[..., 2:, :] = 1e4
    visible = torch.tensor([[True, True, False, False]])
    for query_scale in (1, 1e3):
        assert attend(query * query_scale, key, value, visible, 0.1).abs().max() < 100
    assert attend(query, key, value, ~visible & False, 0.1).isfinite().all()
