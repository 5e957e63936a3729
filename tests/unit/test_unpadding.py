"""An unpadded encoder gives what the padded one gives: logits, loss and every gradient, within 1e-5 in fp32."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BigBirdConfig,
    DistilBertConfig,
    ElectraConfig,
    EuroBertConfig,
    ModernBertConfig,
    NomicBertConfig,
    RobertaConfig,
    RoFormerConfig,
    XLMRobertaConfig,
)

from closeness import assert_close_in_size, assert_modules_close
from models import encoders, unpadding
from models.attention import kernel_for, variable_length_attention
from models.collator import Collator
from models.encoders import ARCHITECTURES, Architecture
from models.unpadding import Packing, _attention_by_groups, supports_unpadding, unpad_encoder, why_padded
from small_sizes import SMALL
from varlen_reference import attention_row_by_row

SIZES = SMALL | {"vocab_size": 50}
CONFIGS = {
    "bert": lambda: BertConfig(**SIZES),
    "electra": lambda: ElectraConfig(**SIZES, embedding_size=16),
    "roberta": lambda: RobertaConfig(**SIZES),
    "xlm-roberta": lambda: XLMRobertaConfig(**SIZES),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=50,
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=48,
        dropout=0.0,
        attention_dropout=0.0,
        seq_classif_dropout=0.0,
        qa_dropout=0.0,
        max_position_embeddings=64,
    ),
}


def padded_batch(lengths: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    mask = torch.tensor([[1] * length + [0] * (longest - length) for length in lengths])
    ids = torch.randint(5, 50, mask.shape, generator=generator).masked_fill(mask == 0, 1)
    return {"input_ids": ids, "attention_mask": mask}


def logits_and_gradients(model, batch, labels, **extra):
    model.zero_grad()
    logits = model(**batch, **extra).logits
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), loss.detach(), gradients


@pytest.fixture(params=["by groups", "padded once more", "by a kernel for rows of any length"])
def packing_of(request, monkeypatch) -> Callable[[torch.Tensor], Packing]:
    """Makes packings that attention takes in each of its ways; all but the first are rounded up to 16 tokens."""
    if request.param == "by a kernel for rows of any length":
        monkeypatch.setattr(unpadding, "kernel_for", lambda *device_and_dtype: "flash")
        monkeypatch.setattr(unpadding, "variable_length_attention", attention_row_by_row)
    multiple = None if request.param == "by groups" else 16
    return lambda mask: Packing.of_mask(mask.numpy(), multiple)


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_logits_loss_and_every_gradient_equal_the_padded_ones(architecture, checkpointing, packing_of):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGS[architecture]()).train()
    if checkpointing:
        model.activation_checkpointing_enable()
    batch = padded_batch([3, 17, 9, 9, 10, 31, 2, 9])
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    expected = logits_and_gradients(model, batch, labels)

    unpad_encoder(model)
    found = logits_and_gradients(model, batch, labels, packing=packing_of(batch["attention_mask"]))

    assert_close_in_size(found[0], expected[0])
    assert_close_in_size(found[1], expected[1])
    assert len(found[2]) > 20
    assert_modules_close(found[2], expected[2])


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("head", [AutoModelForTokenClassification, AutoModelForQuestionAnswering])
def test_heads_over_tokens_see_what_they_saw_with_padding(architecture, head, packing_of):
    torch.manual_seed(0)
    model = head.from_config(CONFIGS[architecture]()).train()
    batch = padded_batch([3, 17, 9, 9, 10, 31, 2, 9])
    real = batch["attention_mask"].bool()

    def outputs_and_gradients(**extra):
        model.zero_grad()
        outputs = model(**batch, **extra)
        logits = [outputs.logits] if "logits" in outputs else [outputs.start_logits, outputs.end_logits]
        sum(one[real].tanh().square().sum() for one in logits).backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        return [one[real].detach() for one in logits], gradients

    expected = outputs_and_gradients()
    unpad_encoder(model)
    found = outputs_and_gradients(packing=packing_of(batch["attention_mask"]))
    for mine, other in zip(found[0], expected[0], strict=True):
        assert_close_in_size(mine, other)
    assert len(found[1]) > 20
    assert_modules_close(found[1], expected[1])


def test_without_a_packing_the_model_runs_as_before():
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGS["electra"]()).eval()
    batch = padded_batch([3, 17, 9])
    expected = model(**batch).logits
    assert_close_in_size(unpad_encoder(model)(**batch).logits, expected, 2e-6)


def test_a_row_does_not_see_its_neighbours(packing_of):
    torch.manual_seed(0)
    model = unpad_encoder(AutoModelForSequenceClassification.from_config(CONFIGS["bert"]()).eval())
    batch = padded_batch([5, 5, 6])
    packing = packing_of(batch["attention_mask"])
    before = model(**batch, packing=packing).logits
    batch["input_ids"][1] = 7
    after = model(**batch, packing=packing).logits
    assert torch.equal(before[[0, 2]], after[[0, 2]]) and not torch.equal(before[1], after[1])


def test_masks_may_have_holes(packing_of):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGS["bert"]()).eval()
    batch = padded_batch([8, 12, 12])
    batch["attention_mask"][1, 3:6] = 0
    batch["attention_mask"][2, 7] = 0
    expected = model(**batch).logits
    packing = packing_of(batch["attention_mask"])
    assert_close_in_size(unpad_encoder(model)(**batch, packing=packing).logits, expected)


def test_packing_of_a_small_mask_by_hand():
    packing = Packing.of_mask(np.array([[1, 1, 1], [1, 0, 0], [1, 0, 1]]))
    assert packing.indices.tolist() == [3, 6, 8, 0, 1, 2]  # row 1, row 2 with its hole, row 0
    assert packing.row_starts.tolist() == [0, 1, 3, 6] and packing.row_starts.dtype == torch.int32
    assert packing.longest == 3
    one, two_and_three = packing.groups
    assert (one.start, one.end, one.rows, one.length, one.mask) == (0, 1, 1, 1, None)
    assert (two_and_three.start, two_and_three.end, two_and_three.rows, two_and_three.length) == (1, 6, 2, 3)
    assert two_and_three.mask[0, :, 0].tolist() == [[True, True, False], [True, True, True]]


def test_rounded_up_the_tokens_that_are_missing_are_one_row_more():
    mask = np.array([[1, 1, 1], [1, 0, 0], [1, 0, 1]])
    packing = Packing.of_mask(mask, 4)
    assert packing.indices.tolist() == [3, 6, 8, 0, 1, 2, 9, 9]  # 9: just behind the batch
    assert packing.row_starts.tolist() == [0, 1, 3, 6, 8]
    assert (packing.longest, packing.groups) == (4, ())
    tokens = torch.arange(10.0, 19.0)
    assert packing.gather(tokens).tolist() == [13, 16, 18, 10, 11, 12, 18, 18]
    assert packing.scatter(packing.gather(tokens), 9).tolist() == [10, 11, 12, 13, 0, 0, 16, 0, 18]
    whole = Packing.of_mask(mask, 6)  # nothing is missing: the row is there all the same, as for other batches
    assert whole.indices.tolist() == packing.indices.tolist()[:6] and whole.row_starts.tolist() == [0, 1, 3, 6, 6]
    assert Packing.of_mask(mask, 1).longest == 3


def test_the_private_operators_take_what_they_are_given():
    """Their names and arguments, which no version of torch promises; what they compute, only a GPU shows."""
    names = {"flash": "_flash_attention_forward", "efficient": "_efficient_attention_forward"}
    starts = torch.tensor([0, 2, 5], dtype=torch.int32, device="meta")
    tokens = torch.empty(5, 3, 8, device="meta")
    for kernel, name in names.items():
        assert hasattr(torch.ops.aten, name)
        output = variable_length_attention(kernel, tokens, tokens, tokens, starts, starts, (3, 3), 0.1, 0.5)
        assert output.shape == tokens.shape
    assert kernel_for(torch.device("cpu"), torch.float32, 8) is None


def test_dropout_falls_on_unpadded_attention_too():
    torch.manual_seed(0)
    packing = Packing.of_mask(np.ones((2, 6)))
    tokens = torch.ones(1, 12, 4)
    dropped = _attention_by_groups(tokens, tokens, tokens, packing, None, 0.5)
    assert not torch.allclose(dropped, torch.ones_like(dropped))


def test_an_architecture_without_a_known_stack_is_refused():
    config = BigBirdConfig(**SIZES, attention_type="original_full")
    model = AutoModelForSequenceClassification.from_config(config)
    assert not supports_unpadding(model)
    with pytest.raises(ValueError, match=r"^big_bird runs on padded rows: unpadding is written for bert, electra, "):
        unpad_encoder(model)


# --------------------------------------------------------------------------------------------------------------------
# Positions that enter inside the layers
# --------------------------------------------------------------------------------------------------------------------

ROTARY_SIZES = {name: SIZES[name] for name in SIZES if not name.endswith("_prob")} | {"pad_token_id": 1}
ROTARY = {
    "modernbert": lambda: ModernBertConfig(**ROTARY_SIZES, bos_token_id=2, eos_token_id=3, cls_token_id=2),
    "nomic_bert": lambda: NomicBertConfig(**ROTARY_SIZES),
    "eurobert": lambda: EuroBertConfig(**ROTARY_SIZES, bos_token_id=2, eos_token_id=3),
    "roformer": lambda: RoFormerConfig(**ROTARY_SIZES),
}


@pytest.mark.parametrize("architecture", ROTARY)
def test_rotary_positions_are_refused_whatever_the_table_says(architecture: str, monkeypatch):
    model = AutoModelForSequenceClassification.from_config(ROTARY[architecture]())
    for table in (ARCHITECTURES, ARCHITECTURES | {architecture: Architecture("encoder")}):
        monkeypatch.setattr(encoders, "ARCHITECTURES", table)
        assert not supports_unpadding(model)
        with pytest.raises(ValueError, match=f"^{architecture} runs on padded rows: its positions enter inside the la"):
            unpad_encoder(model)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_positions_in_the_embeddings_are_not_refused(architecture: str):
    assert why_padded(AutoModelForSequenceClassification.from_config(CONFIGS[architecture]())) is None


@pytest.mark.parametrize("no_unpad", [False, True])
@pytest.mark.parametrize("architecture", ROTARY)
def test_a_collator_pads_rotary_rows_and_says_why(architecture: str, no_unpad: bool):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(ROTARY[architecture]()).eval()
    batch = padded_batch([3, 17, 9])
    said: list[str] = []
    runtime = SimpleNamespace(shapes="exact", device=torch.device("cpu"), say_once=said.append)
    config = SimpleNamespace(
        max_seq_len=32, no_unpad=no_unpad, row_lengths=lambda length: (), compile=False, use_tpu=False
    )
    collator = Collator.of(model, config, runtime, "max_seq_len")
    assert not collator.unpads
    if no_unpad:
        assert said == []
    else:
        (line,) = said
        assert line.startswith(f"{architecture} runs on padded rows: its positions enter inside the layers")
    inputs = collator.batch({name: array.numpy() for name, array in batch.items()})["inputs"]
    with torch.no_grad():
        found = collator.model(**inputs).logits
        for row, length in enumerate([3, 17, 9]):  # each row by itself, where nothing is padded
            alone = {name: array[row : row + 1, :length] for name, array in batch.items()}
            assert_close_in_size(found[row], model(**alone).logits[0])
