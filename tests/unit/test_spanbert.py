"""SpanBERT's losses against a plain reference over all tokens, its folders, and what it goes on from."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_model
from torch import Tensor
from torch.nn.functional import cross_entropy, gelu, layer_norm, linear
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from closeness import assert_close_in_size
from models import ModelError, build_model, masked_tokens
from models.collator import Collator
from models.fast_dropout import Dropout
from models.spanbert import SBO_POSITIONS, BertForSpanPreTraining, build_spanbert
from models.unpadding import unpad_encoder
from pretraining_models import expect_same, expect_same_in_half_precision, losses_and_gradients, packed
from processors.pretraining.span_masking import SpanMasking, Vocabulary, mask_spans
from small_sizes import SMALL
from training.row_random import RowDraws

FORMS = ("paper", "original")
VOCABULARY_SIZE = 300
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = Vocabulary.of_tokens(
    [*SPECIAL, *(f"{'##' * (i % 2)}{i}" for i in range(VOCABULARY_SIZE - 5))], range(5), 4, 1
)
TARGETS = ("rows", "columns", "labels", "left_boundaries", "right_boundaries", "positions")


def config(**changes) -> BertConfig:
    return BertConfig(**(SMALL | {"vocab_size": VOCABULARY_SIZE, "max_position_embeddings": 160} | changes))


def fresh(sbo: str = "paper", **changes) -> BertForSpanPreTraining:
    torch.manual_seed(0)
    model = build_spanbert(config(**changes), sbo)
    with torch.no_grad():  # biases that are all zero would hide that they are left out
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model.train()


def batch_of(lengths: list[int], seed: int = 0, settings: SpanMasking = SpanMasking(budget=0.3)):  # noqa: B008
    """The model's inputs: rows of those lengths, masked."""
    generator = np.random.default_rng(seed)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids = generator.integers(5, VOCABULARY_SIZE, mask.shape)
    ids[:, 0] = 2
    ids[np.arange(len(ids)), np.array(lengths) - 1] = 3
    found = mask_spans(ids * mask, mask, VOCABULARY, settings, RowDraws([seed], np.arange(len(ids))))
    return {name: torch.from_numpy(array) for name, array in vars(found).items()} | {
        "attention_mask": torch.from_numpy(mask)
    }


run = functools.partial(losses_and_gradients, losses=("mlm_loss", "sbo_loss"))
expect_same = functools.partial(expect_same, more_than=30)


def logits_of_all(model: BertForSpanPreTraining, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """`[B, L, V]` each: of the MLM head, and of the SBO head where a token is masked (else 0). Plainly, one
    token after another, from the parameters.
    """
    states = model.bert(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    mlm = model.cls(states)
    parameters = dict(model.named_parameters())
    matrix, bias = parameters["bert.embeddings.word_embeddings.weight"], parameters["cls.predictions.bias"]
    sbo = torch.zeros_like(mlm)
    for row, column, _, left, right, position in zip(*(batch[name].tolist() for name in TARGETS), strict=True):
        boundaries = [states[row, left], states[row, right]]
        if model.config.sbo == "original":
            place = parameters["bert.embeddings.position_embeddings.weight"][column]
            state = linear(torch.cat([*boundaries, place]), parameters["sbo.transform.weight"])
        else:
            place = parameters["sbo.position_embeddings.weight"][min(position, SBO_POSITIONS) - 1]
            state = torch.cat([*boundaries, place])
            for layer in (0, 3):
                state = gelu(linear(state, *(parameters[f"sbo.transform.{layer}.{p}"] for p in ("weight", "bias"))))
                norm = [parameters[f"sbo.transform.{layer + 2}.{p}"] for p in ("weight", "bias")]
                state = layer_norm(state, (len(state),), *norm, eps=1e-12)
        sbo = sbo.index_put((torch.tensor(row), torch.tensor(column)), matrix @ state + bias)
    return mlm, sbo


@pytest.mark.parametrize("sbo", FORMS)
def test_losses_and_gradients_are_those_of_logits_for_every_token(sbo: str):
    model, batch = fresh(sbo), batch_of([40, 7, 23])
    found, outputs = run(model, batch), model(**batch)
    model.double().zero_grad()
    labels = torch.full(batch["input_ids"].shape, -100).index_put((batch["rows"], batch["columns"]), batch["labels"])
    logits = logits_of_all(model, batch)
    losses = [cross_entropy(each.flatten(0, 1), labels.flatten(), reduction="sum") for each in logits]
    sum(losses).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    expect_same(found, ([loss.detach() for loss in losses], gradients))
    correct = [int((each.argmax(-1) == labels).sum()) for each in logits]
    assert [int(outputs.mlm_correct), int(outputs.sbo_correct)] == correct
    assert outputs.masked == len(batch["labels"]) == int((labels >= 0).sum()) > 10


def test_right_predictions_are_counted():
    model, batch = fresh(), batch_of([40, 7, 23])
    with torch.no_grad():
        model.cls.predictions.bias.zero_()
        model.cls.predictions.bias[50] = 1e4  # both heads say 50, always
    batch["labels"][:4] = 50
    expected = int((batch["labels"] == 50).sum())
    outputs = model(**batch)
    assert int(outputs.mlm_correct) == int(outputs.sbo_correct) == expected >= 4


def original(**changes) -> BertForSpanPreTraining:
    """Both heads as the Korean original has them."""
    torch.manual_seed(0)
    return build_spanbert(config(**changes), "original", mlm_head="tied").train()


def test_the_originals_heads_are_the_embeddings_matrix_alone():
    """The reference is written as the original computes: masked tokens of each row padded to the same number, their
    logits made by one matrix without a bias from the states themselves, and from a projection of [left; position;
    right]. The projection's columns are in another order here, [left; right; position].
    """
    model, batch = original(), batch_of([40, 7, 23])
    found = run(model, batch)
    model.double().zero_grad()
    weights = dict(model.named_parameters())
    assert not [name for name in weights if name.startswith("cls")]  # nothing but the embeddings and the projection
    assert {name: tuple(weight.shape) for name, weight in weights.items() if name.startswith("sbo")} == {
        "sbo.transform.weight": (32, 3 * 32)
    }
    matrix, places = (weights[f"bert.embeddings.{name}_embeddings.weight"] for name in ("word", "position"))
    width = 32
    order = [*range(width), *range(2 * width, 3 * width), *range(width, 2 * width)]
    projection = weights["sbo.transform.weight"][:, order]

    rows = batch["rows"].tolist()
    most = max(rows.count(row) for row in range(3))
    padded = {name: torch.zeros(3, most, dtype=torch.int64) for name in TARGETS} | {"labels": torch.full((3, most), -1)}
    for row in range(3):
        for name in TARGETS:
            values = batch[name][batch["rows"] == row]
            padded[name][row, : len(values)] = values
    states = model.bert(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state

    def at(name: str) -> Tensor:
        return states.gather(1, padded[name].unsqueeze(-1).expand(-1, -1, width))

    boundaries = [at("left_boundaries"), places[padded["columns"]], at("right_boundaries")]
    logits = at("columns") @ matrix.T, torch.cat(boundaries, dim=2) @ projection.T @ matrix.T
    losses = [cross_entropy(one.flatten(0, 1), padded["labels"].flatten(), ignore_index=-1) for one in logits]
    losses = [loss * len(rows) for loss in losses]  # the original's is the mean over the batch's masked tokens
    sum(losses).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    expect_same(found, ([loss.detach() for loss in losses], gradients))


@pytest.mark.parametrize("sbo", FORMS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_losses_and_every_gradient_equal_the_padded_ones(sbo: str, checkpointing: bool):
    model, batch = fresh(sbo), batch_of([3, 17, 90, 9, 31, 4])
    if checkpointing:
        model.activation_checkpointing_enable()
    expected = run(model, batch)
    expect_same(run(unpad_encoder(model), packed(batch)), expected)


def test_the_collator_makes_the_models_inputs():
    model = fresh()
    batch = batch_of([12, 30])
    expected = run(model, batch)
    collator = Collator(model, no_unpad=False, length=30)
    arrays = {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
    inputs = collator.batch(arrays)["inputs"] | {name: batch[name] for name in TARGETS}
    assert collator.unpads and "packing" in inputs
    expect_same(run(collator.model, inputs), expected)


@pytest.mark.parametrize("at_once", [1, 7 * VOCABULARY_SIZE])
def test_parts_of_the_logits_make_the_same_losses_and_gradients(at_once: int, monkeypatch: pytest.MonkeyPatch):
    model, batch = fresh(), batch_of([40, 7, 23])
    expected = run(model, batch)
    monkeypatch.setattr(masked_tokens, "LOGITS_AT_ONCE", at_once)
    expect_same(run(model, batch), expected)


class LargestTensor(TorchDispatchMode):
    """The most elements that a tensor had which was made inside the block."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        tensors = output if isinstance(output, tuple | list) else [output]
        self.elements = max([self.elements, *(t.numel() for t in tensors if isinstance(t, Tensor))])
        return output


def test_there_are_never_logits_for_all_tokens(monkeypatch: pytest.MonkeyPatch):
    model, batch = unpad_encoder(fresh(vocab_size=5000)), packed(batch_of([120] * 8, settings=SpanMasking()))
    with LargestTensor() as largest:
        run(model, batch)
    masked = len(batch["labels"])
    assert largest.elements == masked * 5000 < 0.16 * batch["input_ids"].numel() * 5000
    monkeypatch.setattr(masked_tokens, "LOGITS_AT_ONCE", 20 * 5000)
    with LargestTensor() as largest:
        run(model, batch)
    assert largest.elements < 2 * 5000 * 32  # the vocabulary matrix itself


@pytest.mark.parametrize("sbo", FORMS)
@pytest.mark.parametrize("at_once", [2**23, 7 * VOCABULARY_SIZE])
def test_autocast_to_bf16_keeps_the_losses_in_fp32(sbo: str, at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(masked_tokens, "LOGITS_AT_ONCE", at_once)
    model, batch = unpad_encoder(fresh(sbo)), packed(batch_of([40, 7, 23]))
    expected = run(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = run(model, batch)
    assert all(loss.dtype == torch.float32 for loss in found[0])
    expect_same_in_half_precision(found, expected, losses=5e-3, norms=0.1)


@pytest.mark.parametrize("sbo", FORMS)
@pytest.mark.parametrize("unpads", [False, True])
def test_without_a_masked_token_losses_and_gradients_are_zero(sbo: str, unpads: bool):
    model, batch = fresh(sbo), batch_of([9, 4])
    batch |= {name: batch[name][:0] for name in TARGETS}
    losses, gradients = run(unpad_encoder(model), packed(batch)) if unpads else run(model, batch)
    assert losses == [0, 0] and model(**batch).masked == 0
    assert gradients.keys() == dict(model.named_parameters()).keys()
    assert all(not gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("sbo", FORMS)
def test_cls_and_sep_may_be_boundaries(sbo: str):
    model = fresh(sbo)
    batch = {name: torch.tensor([value]) for name, value in zip(TARGETS, (0, 1, 9, 0, 2, 1), strict=True)}
    batch |= {"input_ids": torch.tensor([[2, 4, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
    _, sbo_logits = logits_of_all(model, batch)
    expected = cross_entropy(sbo_logits[0, 1], torch.tensor(9))
    assert_close_in_size(model(**batch).sbo_loss, expected)
    before = model(**batch).sbo_loss
    batch["input_ids"] = torch.tensor([[2, 4, 7]])
    assert model(**batch).sbo_loss != before


def test_positions_beyond_the_last_embedding_share_it():
    model, batch = fresh(), batch_of([150])
    batch["positions"][:2] = torch.tensor([SBO_POSITIONS, SBO_POSITIONS + 20])
    logits = logits_of_all(model, batch)[1][batch["rows"], batch["columns"]]
    expected = cross_entropy(logits, batch["labels"], reduction="sum")
    assert_close_in_size(model(**batch).sbo_loss, expected)


@pytest.mark.parametrize("sbo", FORMS)
def test_what_is_saved_is_loaded_and_stays_tied(sbo: str, tmp_path: Path):
    model, batch = fresh(sbo), batch_of([40, 7, 23])
    expected = run(model, batch)
    model.save_pretrained(tmp_path)
    for loaded in (build_spanbert(tmp_path), BertForSpanPreTraining.from_pretrained(tmp_path), resumed(sbo, tmp_path)):
        assert loaded.config.sbo == sbo
        expect_same(run(loaded.train(), batch), expected)
        predictions = loaded.cls.predictions
        assert predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight
        assert predictions.decoder.bias is predictions.bias
        assert loaded.get_output_embeddings() is predictions.decoder  # what both heads end in


def resumed(sbo: str, folder: Path) -> BertForSpanPreTraining:
    """As training/checkpoint.py puts a checkpoint's weights into the model of a run."""
    model = build_spanbert(config(), sbo)
    load_model(model, folder / "model.safetensors")
    return model


def test_a_tied_head_is_saved_and_loaded(tmp_path: Path, recwarn: pytest.WarningsRecorder):
    model, batch = original(), batch_of([40, 7, 23])
    expected = run(model, batch)
    model.save_pretrained(tmp_path)
    again = original(initializer_range=0.1)
    load_model(again, tmp_path / "model.safetensors")  # as a resumed run does
    for loaded in (build_spanbert(tmp_path), BertForSpanPreTraining.from_pretrained(tmp_path), again):
        assert (loaded.config.mlm_head, loaded.config.sbo) == ("tied", "original")
        expect_same(run(loaded.train(), batch), expected)
        decoder = loaded.get_output_embeddings()
        assert decoder.weight is loaded.bert.embeddings.word_embeddings.weight and decoder.bias is None
    assert build_spanbert(tmp_path, from_scratch=True).config.mlm_head == "tied"
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    states = model.eval().bert(**inputs).last_hidden_state
    assert_close_in_size(AutoModel.from_pretrained(tmp_path).eval()(**inputs).last_hidden_state, states)
    assert not recwarn.list


def test_the_mlm_head_may_be_changed(tmp_path: Path):
    fresh().save_pretrained(tmp_path / "bert")
    tied = build_spanbert(tmp_path / "bert", mlm_head="tied")
    assert tied.config.mlm_head == "tied" and tied.get_output_embeddings().bias is None
    tied.save_pretrained(tmp_path / "tied")
    whole = build_spanbert(tmp_path / "tied", mlm_head="bert")
    assert whole.cls.predictions.decoder.bias is whole.cls.predictions.bias
    assert whole.cls.predictions.decoder.weight is whole.bert.embeddings.word_embeddings.weight
    assert whole.cls.predictions.transform.dense.weight.std() > 0
    batch = batch_of([12, 30])
    states = [
        model.eval().bert(batch["input_ids"], attention_mask=batch["attention_mask"])[0] for model in (tied, whole)
    ]
    assert_close_in_size(*states)
    assert whole(**batch).mlm_loss != tied(**batch).mlm_loss


def test_the_auto_classes_load_the_folder(tmp_path: Path):
    model, batch = fresh().eval(), batch_of([40, 7, 23])
    model.save_pretrained(tmp_path)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    states = model.bert(**inputs).last_hidden_state
    assert_close_in_size(AutoModel.from_pretrained(tmp_path).eval()(**inputs).last_hidden_state, states)
    assert_close_in_size(AutoModelForMaskedLM.from_pretrained(tmp_path).eval()(**inputs).logits, model.cls(states))
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3).eval()
    assert_close_in_size(classifier.bert(**inputs).last_hidden_state, states)
    for pooling in ("cls", "mean", "max"):
        tuned = build_model(tmp_path, "sequence", ("0", "1"), pooling).eval()
        assert_close_in_size(tuned.bert(**inputs).last_hidden_state, states)


@pytest.mark.parametrize("published", [BertForMaskedLM, BertForPreTraining])
def test_training_goes_on_from_a_published_mlm_head(published: type, tmp_path: Path):
    torch.manual_seed(1)
    before, batch = published(config()).eval(), batch_of([40, 7, 23])
    before.save_pretrained(tmp_path)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    model = build_spanbert(tmp_path).eval()
    outputs = before(**inputs)
    logits = outputs.logits if published is BertForMaskedLM else outputs.prediction_logits
    assert_close_in_size(model.cls(model.bert(**inputs).last_hidden_state), logits)
    at_masked = logits[batch["rows"], batch["columns"]]
    assert_close_in_size(model(**batch).mlm_loss, cross_entropy(at_masked, batch["labels"], reduction="sum"))
    assert model.config.sbo == "paper" and model.sbo.transform[0].weight.std() > 0


def test_training_goes_on_from_an_encoder_alone_or_in_half_precision(tmp_path: Path):
    torch.manual_seed(1)
    before, batch = BertModel(config()).eval(), batch_of([40, 7, 23])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    before.save_pretrained(tmp_path / "encoder")
    model = build_spanbert(tmp_path / "encoder", "original").eval()
    assert_close_in_size(model.bert(**inputs).last_hidden_state, before(**inputs).last_hidden_state)
    assert model.config.sbo == "original" and model(**batch).masked > 0
    copy.deepcopy(before).to(torch.bfloat16).save_pretrained(tmp_path / "bf16")
    assert {p.dtype for p in build_spanbert(tmp_path / "bf16").parameters()} == {torch.float32}


def test_the_form_of_the_head_may_be_changed_and_from_scratch_keeps_the_architecture_only(tmp_path: Path):
    before = fresh("original")
    before.save_pretrained(tmp_path)
    changed, scratch = build_spanbert(tmp_path, "paper"), build_spanbert(tmp_path, from_scratch=True)
    assert changed.config.sbo == "paper" and len(changed.sbo.transform) == 6
    assert torch.equal(changed.cls.predictions.bias, before.cls.predictions.bias)
    assert scratch.config.sbo == "original" and scratch.config.hidden_size == 32
    assert not torch.equal(
        scratch.bert.embeddings.word_embeddings.weight, before.bert.embeddings.word_embeddings.weight
    )


def test_slow_modules_are_exchanged(tmp_path: Path):
    model = fresh(hidden_dropout_prob=0.1)
    model.save_pretrained(tmp_path)
    for built in (model, build_spanbert(tmp_path), build_spanbert(tmp_path, from_scratch=True)):
        assert type(built.bert.embeddings.dropout) is Dropout


def test_folders_of_something_else_are_refused(tmp_path: Path):
    with pytest.raises(ModelError, match=r"no SpanBERT in .*none"):
        build_spanbert(tmp_path / "none")
    RobertaForMaskedLM(RobertaConfig(**{**config().to_dict(), "model_type": "roberta"})).save_pretrained(tmp_path / "r")
    with pytest.raises(ModelError, match="made of BERT, and this is roberta"):
        build_spanbert(tmp_path / "r")
    config().save_pretrained(tmp_path / "bare")
    with pytest.raises(ModelError, match="the folder holds no weights"):
        build_spanbert(tmp_path / "bare")
    assert build_spanbert(tmp_path / "bare", from_scratch=True).config.sbo == "paper"
    fresh().save_pretrained(tmp_path / "other")
    config(intermediate_size=64).save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match=r"do not fit its config\.json"):
        build_spanbert(tmp_path / "other")
    with pytest.raises(ModelError, match="no SpanBERT of this configuration: sbo is paper or original, not 'none'"):
        build_spanbert(config(), "none")
    with pytest.raises(ModelError, match="no SpanBERT of this configuration: mlm_head is bert or tied, not 'none'"):
        build_spanbert(config(), mlm_head="none")


@pytest.mark.seconds
@pytest.mark.parametrize("make", [fresh, functools.partial(fresh, "original"), original])
def test_both_objectives_are_learned(make: Callable[[], BertForSpanPreTraining]):
    model, batch = unpad_encoder(make()), packed(batch_of([40, 7, 23]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(100):
        outputs = model(**batch)
        ((outputs.mlm_loss + outputs.sbo_loss) / outputs.masked).backward()
        optimizer.step()
        optimizer.zero_grad()
    outputs = model(**batch)
    assert outputs.mlm_loss / outputs.masked < 1 and outputs.sbo_loss / outputs.masked < 1
    assert outputs.mlm_correct / outputs.masked > 0.9 and outputs.sbo_correct / outputs.masked > 0.9
