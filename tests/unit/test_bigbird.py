"""python3 -m pytest tests/unit/test_bigbird.py

BigBird's attention is transformers' in training, whatever the batches before it were, and needs no `[L, L]`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, BertModel, BigBirdConfig, BigBirdModel

from closeness import assert_close_in_size
from models import ModelError, bigbird, build_model
from models.bigbird import full_attention, put_attention, seen_blocks
from varlen_reference import attention_row_by_row

BLOCK = 64


def config(**changes) -> BigBirdConfig:
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    # Weights large enough for attention to differ from one key to the next.
    return BigBirdConfig(**(sizes | no_dropout | {"intermediate_size": 32, "initializer_range": 0.3} | changes))


def inputs(length: int, rows: int = 2, padding: int = 0) -> dict[str, torch.Tensor]:
    """The last row is shorter by `padding`."""
    generator = torch.Generator().manual_seed(length)
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[-1, length - padding :] = 0
    return {"input_ids": torch.randint(1, 50, (rows, length), generator=generator), "attention_mask": mask}


def outputs_and_gradients(
    call: Callable, batch: dict[str, torch.Tensor], model: BigBirdModel | None = None
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Of the real tokens, with another weight for each. model: whose gradients, if not those of what is called."""
    model = model or call
    hidden = call(**batch).last_hidden_state * batch["attention_mask"][..., None]
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
    model.zero_grad()
    (hidden * weights).sum().backward()
    return hidden.detach(), [p.grad for p in model.parameters() if p.grad is not None]


def pair(**changes) -> tuple[BigBirdModel, BigBirdModel]:
    """transformers' model in training, and ours with the same weights."""
    torch.manual_seed(0)
    theirs = BigBirdModel(config(**changes)).train()
    return theirs, put_attention(copy.deepcopy(theirs), "sparse")


@pytest.mark.parametrize(
    "length, padding, changes",
    [
        # Blocks drawn as for the lengths of pretraining,
        (1024, 0, {}),
        (1024, 700, {}),
        (1024, 100, {"max_position_embeddings": 1024}),
        (1024, 0, {"max_position_embeddings": 2048, "num_random_blocks": 2}),
        (3072, 65, {}),
        pytest.param(4096, 1000, {}, marks=pytest.mark.seconds),
        # and as for the others, whole blocks or not.
        (768, 0, {}),
        (705, 3, {}),
        (1000, 130, {}),
        (2048, 64, {"num_attention_heads": 4}),
        (900, 10, {"num_random_blocks": 2, "max_position_embeddings": 1024}),
        (600, 10, {"block_size": 32}),
        # Full attention
        (704, 100, {}),
        (5, 2, {}),
    ],
)
def test_outputs_and_gradients_are_those_of_transformers_in_training(length: int, padding: int, changes: dict):
    theirs, ours = pair(**changes)
    batch = inputs(length, padding=padding)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    hidden, gradients = outputs_and_gradients(ours, batch)
    assert (np.random.get_state()[1] == before[0]).all() and torch.equal(torch.get_rng_state(), before[1])
    expected, expected_gradients = outputs_and_gradients(theirs, batch)
    assert_close_in_size(hidden, expected)
    largest = max(gradient.abs().max() for gradient in expected_gradients)
    assert len(gradients) == len(expected_gradients)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        assert (gradient - other).abs().max() < 1e-5 * largest


@pytest.mark.parametrize("is_told", [False, True])
@pytest.mark.parametrize("length, padding", [(1024, 0), (1024, 700), (1000, 130), (704, 100), (80, 30)])
def test_the_kernel_of_gpus_is_given_the_same_keys(length: int, padding: int, is_told: bool, monkeypatch):
    """Sparse and full. is_told: whether there is padding, so that where there is none no mask is looked at."""
    theirs, ours = pair()
    batch = inputs(length, padding=padding)
    expected, expected_gradients = outputs_and_gradients(theirs, batch)
    calls = []

    def kernel(*given, **settings):
        calls.append(given)
        return attention_row_by_row(*given, **settings)

    monkeypatch.setattr(bigbird, "kernel_for", lambda *device_and_dtype: "flash")
    monkeypatch.setattr(bigbird, "variable_length_attention", kernel)
    told = {"has_padding": padding > 0} if is_told else {}
    hidden, gradients = outputs_and_gradients(lambda **given: ours(**given, **told), batch, ours)
    assert_close_in_size(hidden, expected)
    largest = max(gradient.abs().max() for gradient in expected_gradients)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        assert (gradient - other).abs().max() < 1e-5 * largest
    # Of each layer: first and last block, where there is a mask, and those between, where attention is sparse.
    masked = padding > 0 or length % BLOCK > 0 or not is_told
    assert len(calls) == 2 * (masked + (length > 704))


def test_on_other_gpus_all_heads_are_taken_at_once(monkeypatch):
    """As a GPU has it that lacks the kernel: what `_middle_blocks` gives for all heads is what it gives for some."""
    _, ours = pair(num_attention_heads=4, hidden_size=32)
    batch = inputs(1000, padding=130)
    expected = outputs_and_gradients(ours, batch)[0]
    monkeypatch.setattr(bigbird, "HEADS_AT_ONCE", 4)
    assert_close_in_size(outputs_and_gradients(ours, batch)[0], expected)


def test_evaluation_sees_what_training_saw_and_short_batches_change_nothing():
    _, ours = pair()
    long, short = inputs(1000, padding=50), inputs(20)
    with torch.no_grad():
        trained = ours(**long).last_hidden_state
        ours.eval()
        assert torch.equal(ours(**long).last_hidden_state, trained)
        ours(**short)
        assert torch.equal(ours(**long).last_hidden_state, trained)


def test_rows_do_not_see_each_other_and_padding_is_not_seen():
    _, ours = pair()
    ours.eval()
    batch = inputs(1000, padding=200)
    with torch.no_grad():
        hidden = ours(**batch).last_hidden_state
        batch["input_ids"][0] = 7
        batch["input_ids"][1, 800:] = 9
        changed = ours(**batch).last_hidden_state
    assert torch.equal(hidden[1, :800], changed[1, :800]) and not torch.equal(hidden[0], changed[0])


def test_full_attention_of_the_same_weights():
    theirs, ours = pair()
    ours = put_attention(copy.deepcopy(theirs), "full")
    theirs.set_attention_type("original_full")
    batch = inputs(1000, padding=130)
    hidden, gradients = outputs_and_gradients(ours, batch)
    expected, expected_gradients = outputs_and_gradients(theirs, batch)
    assert_close_in_size(hidden, expected)
    largest = max(gradient.abs().max() for gradient in expected_gradients)
    assert all((a - b).abs().max() < 1e-5 * largest for a, b in zip(gradients, expected_gradients, strict=True))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert (ours.config.attention_type, put_attention(theirs, "sparse").config.attention_type) == (
        "original_full",
        "block_sparse",
    )


@pytest.mark.parametrize("blocks", [12, 13, 16, 17, 48, 63, 64])
def test_what_each_block_sees(blocks: int):
    seen = seen_blocks(3, 12, blocks, 3, BLOCK, 64)
    assert seen.shape == (12, blocks - 2, 8) and seen.max() == blocks - 1
    for head in seen:
        for row, of_row in enumerate(head, start=1):
            kept = of_row[of_row >= 0].tolist()
            assert {0, row - 1, row, row + 1, blocks - 1} <= set(kept)
            # The last block may be drawn for the lengths of pretraining, and then counts twice, as in the weights' own
            # pretraining; no other one does.
            twice = {block for block in kept if kept.count(block) > 1}
            assert twice <= ({blocks - 1} if blocks == 16 else set())
            assert len(kept) == (7 if row in (1, blocks - 2) else 8)
    assert not np.array_equal(seen, seen_blocks(4, 12, blocks, 3, BLOCK, 64))
    assert not np.array_equal(seen[0], seen[1])


class Largest(TorchDispatchMode):
    """Notes how many elements the largest tensor has that is made."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return made


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("attention", ["sparse", "full"])
def test_nothing_is_as_large_as_the_square_of_the_length(attention: str, dropout: float):
    length, heads = 4096, 2
    torch.manual_seed(0)
    model = put_attention(
        BigBirdModel(config(num_hidden_layers=1, attention_probs_dropout_prob=dropout)).train(), attention
    )
    with Largest() as largest:
        outputs_and_gradients(model, inputs(length, rows=1, padding=10))
    assert largest.elements <= heads * length * 512 + length  # eight blocks of keys for each token


@pytest.mark.seconds
@pytest.mark.parametrize("length", [640, 1024])
@pytest.mark.parametrize("attention", ["sparse", "full"])
def test_attention_dropout(attention: str, length: int):
    """Outputs vary in training, by as much as the probability says, around what they are without."""
    torch.manual_seed(0)
    changes = {"num_hidden_layers": 1, "initializer_range": 0.02, "attention_probs_dropout_prob": 0.4}
    model = put_attention(BigBirdModel(config(**changes)), attention)
    layer = model.encoder.layer[0].attention.self
    hidden = torch.randn(1, length, 16)
    with torch.no_grad():
        calm = layer.eval()(hidden)[0]
        layer.train()
        drawn = torch.stack([layer(hidden)[0] for _ in range(100)])
    assert not torch.equal(drawn[0], drawn[1])
    noise = drawn.std(dim=0)
    assert (drawn.mean(dim=0) - calm).abs().mean() < 0.15 * noise.mean()
    # Weights are nearly equal here, 1 / keys each: the variance is that of a mean of so many kept values.
    keys = length if attention == "full" or length <= 704 else 8 * BLOCK
    value = layer.value(hidden).detach()
    expected = (value.square().mean() * 0.4 / 0.6 / keys).sqrt()
    middle = noise[:, 2 * BLOCK : -2 * BLOCK]
    assert 0.85 < middle.square().mean().sqrt() / expected < 1.15


def test_gradient_checkpointing_changes_no_gradient():
    _, ours = pair()
    batch = inputs(900, padding=20)
    hidden, gradients = outputs_and_gradients(ours, batch)
    ours.activation_checkpointing_enable()
    again, same = outputs_and_gradients(ours, batch)
    assert torch.equal(hidden, again)
    assert all(torch.equal(a, b) for a, b in zip(gradients, same, strict=True))


def test_full_attention_in_parts_is_full_attention():
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 1100, 8, requires_grad=True) for _ in range(3))
    mask = torch.rand(2, 1100) < 0.8
    whole = full_attention(query, key, value, mask)
    parts = full_attention(query, key, value, mask, dropout=1e-9)
    assert_close_in_size(parts, whole)
    expected = torch.autograd.grad(whole.square().sum(), (query, key, value))
    found = torch.autograd.grad(parts.square().sum(), (query, key, value))
    for gradient, other in zip(found, expected, strict=True):
        assert_close_in_size(gradient, other)


@pytest.mark.parametrize("head, labels", [("sequence", ("a", "b")), ("token", ("a", "b")), ("question answering", ())])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_models_are_built_with_it(head: str, labels: tuple, pooling: str, tmp_path: Path):
    theirs, _ = pair()
    theirs.save_pretrained(tmp_path / "published")
    if head != "sequence":
        pooling = "cls"
    model = build_model(tmp_path / "published", head, labels, pooling).eval()
    batch = inputs(1000, padding=50)
    with torch.no_grad():
        expected = put_attention(theirs, "sparse").eval()(**batch).last_hidden_state
        assert_close_in_size(model.base_model(**batch).last_hidden_state, expected)
        model.save_pretrained(tmp_path / "trained")
        again = build_model(tmp_path / "trained", head, labels, pooling, fresh_head=False).eval()
        assert all(torch.equal(a, b) for a, b in zip(model(**batch).values(), again(**batch).values(), strict=True))
        full = build_model(tmp_path / "trained", head, labels, pooling, fresh_head=False, attention="full").eval()
        of_full = full.base_model(**batch).last_hidden_state
        assert not torch.allclose(of_full, expected, atol=1e-2)
        full.save_pretrained(tmp_path / "trained full")  # what it was trained with needs not be said again
        trained_full = build_model(tmp_path / "trained full", head, labels, pooling, fresh_head=False).eval()
        assert torch.equal(trained_full.base_model(**batch).last_hidden_state, of_full)
    assert again.config.attention_type == "block_sparse"


def test_only_bigbird_has_the_choice(tmp_path: Path):
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(**sizes, intermediate_size=32)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"^attention full: only BigBird has that choice, and .* holds another model$"):
        build_model(tmp_path, "token", ("a",), attention="full")
