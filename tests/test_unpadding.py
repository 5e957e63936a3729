"""An unpadded encoder gives what the padded one gives: logits, loss and every gradient, within 1e-5 in fp32."""

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
    RobertaConfig,
    XLMRobertaConfig,
)

from models.unpadding import Packing, _attention_by_groups, _attention_jagged, supports_unpadding, unpad_encoder

SIZES = dict(
    vocab_size=50,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    max_position_embeddings=64,
)
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


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_logits_loss_and_every_gradient_equal_the_padded_ones(architecture, checkpointing):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGS[architecture]()).train()
    if checkpointing:
        model.activation_checkpointing_enable()
    batch = padded_batch([3, 17, 9, 9, 10, 31, 2, 9])
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    expected = logits_and_gradients(model, batch, labels)

    unpad_encoder(model)
    packing = Packing.of_mask(batch["attention_mask"].numpy())
    found = logits_and_gradients(model, batch, labels, packing=packing)

    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], expected[1], atol=1e-5, rtol=0)
    assert found[2].keys() == expected[2].keys() and len(found[2]) > 20
    for name, gradient in expected[2].items():
        torch.testing.assert_close(found[2][name], gradient, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("head", [AutoModelForTokenClassification, AutoModelForQuestionAnswering])
def test_heads_over_tokens_see_what_they_saw_with_padding(architecture, head):
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
    found = outputs_and_gradients(packing=Packing.of_mask(batch["attention_mask"].numpy()))
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=0)
    assert found[1].keys() == expected[1].keys() and len(found[1]) > 20
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-5, rtol=0, msg=name)


def test_without_a_packing_the_model_runs_as_before():
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGS["electra"]()).eval()
    batch = padded_batch([3, 17, 9])
    expected = model(**batch).logits
    torch.testing.assert_close(unpad_encoder(model)(**batch).logits, expected, atol=1e-6, rtol=0)


def test_a_row_does_not_see_its_neighbours():
    torch.manual_seed(0)
    model = unpad_encoder(AutoModelForSequenceClassification.from_config(CONFIGS["bert"]()).eval())
    batch = padded_batch([5, 5, 6])
    packing = Packing.of_mask(batch["attention_mask"].numpy())
    before = model(**batch, packing=packing).logits
    batch["input_ids"][1] = 7
    after = model(**batch, packing=packing).logits
    assert torch.equal(before[[0, 2]], after[[0, 2]]) and not torch.equal(before[1], after[1])


def test_masks_may_have_holes():
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGS["bert"]()).eval()
    batch = padded_batch([8, 12, 12])
    batch["attention_mask"][1, 3:6] = 0
    batch["attention_mask"][2, 7] = 0
    expected = model(**batch).logits
    packing = Packing.of_mask(batch["attention_mask"].numpy())
    torch.testing.assert_close(unpad_encoder(model)(**batch, packing=packing).logits, expected, atol=1e-5, rtol=0)


def test_packing_of_a_small_mask_by_hand():
    packing = Packing.of_mask(np.array([[1, 1, 1], [1, 0, 0], [1, 0, 1]]))
    assert packing.indices.tolist() == [3, 6, 8, 0, 1, 2]  # row 1, row 2 with its hole, row 0
    assert packing.offsets.tolist() == [0, 1, 3, 6]
    assert packing.longest == 3
    one, two_and_three = packing.groups
    assert (one.start, one.end, one.rows, one.length, one.mask) == (0, 1, 1, 1, None)
    assert (two_and_three.start, two_and_three.end, two_and_three.rows, two_and_three.length) == (1, 6, 2, 3)
    assert two_and_three.mask[0, :, 0].tolist() == [[True, True, False], [True, True, True]]


def test_the_jagged_attention_of_gpus_equals_the_grouped_one_of_cpus():
    torch.manual_seed(0)
    mask = padded_batch([4, 9, 1, 30, 12])["attention_mask"].numpy()
    packing = Packing.of_mask(mask)
    query, key, value = (torch.randn(3, int(mask.sum()), 8) for _ in range(3))
    grouped = _attention_by_groups(query, key, value, packing, 0.3, 0.0)
    jagged = _attention_jagged(query, key, value, packing, 0.3, 0.0)
    torch.testing.assert_close(grouped, jagged, atol=1e-5, rtol=0)


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
    with pytest.raises(ValueError, match="big_bird"):
        unpad_encoder(model)
