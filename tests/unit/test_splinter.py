"""Splinter's logits against transformers' and against the original's formula, its losses against a loop over the
questions, and the checkpoints that it reads and writes.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, load_model, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy, gelu, layer_norm, linear
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForPreTraining,
    BertModel,
    BertTokenizer,
    RobertaConfig,
    RobertaForMaskedLM,
    SplinterConfig,
    SplinterForPreTraining,
    SplinterForQuestionAnswering,
    SplinterModel,
)

from closeness import assert_close_in_size
from models import ModelError, build_tokenizer
from models.collator import Collator
from models.fast_dropout import Dropout
from models.splinter import (
    HIDDEN_LOGIT,
    BertForSpanSelection,
    _places,
    build_splinter,
    export_splinter,
    visible_tokens,
)
from models.splinter_tokens import QUESTION, add_question_token, set_token_ids
from models.unpadding import unpad_encoder
from pretraining_models import expect_same, expect_same_in_half_precision, losses_and_gradients, packed
from small_sizes import SMALL

FORMATS = ("ours", "transformers", "original")
# As in KoSplinter's vocabulary, with [PAD] not in front.
TOKENS = [QUESTION, "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "누구", "나", "##는", "학교", ".", "?"]
QUESTION_ID, PAD_ID, CLS_ID, SEP_ID, MASK_ID = 0, 1, 3, 4, 5
VOCABULARY_SIZE = 120
SIZES = SMALL | dict(
    vocab_size=VOCABULARY_SIZE,
    pad_token_id=PAD_ID,
)
LABELS = ("starts", "ends")


def with_all_weights(model: torch.nn.Module, scale: float = 4.0):
    """Biases and LayerNorms that are left as they begin would hide that they are left out."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif "classifier" in name:
                parameter.mul_(scale)  # logits that differ
    return model


def fresh(**changes) -> BertForSpanSelection:
    torch.manual_seed(0)
    return with_all_weights(build_splinter(BertConfig(**(SIZES | changes)))).train()


def batch_of(lengths: list[int], questions: list[int], seed: int = 0) -> dict[str, Tensor]:
    """The model's inputs: rows of those lengths and numbers of questions, with holes in the mask: [SEP] in the middle
    and at the end, and padding in the rows, as where the other tokens of a recurring span were.
    """
    generator = np.random.default_rng(seed)
    attention_mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.where(attention_mask, generator.integers(6, VOCABULARY_SIZE, attention_mask.shape), PAD_ID)
    ids[:, 0] = CLS_ID
    found: dict[str, list[int]] = {name: [] for name in ("rows", "columns", *LABELS)}
    for row, (length, number) in enumerate(zip(lengths, questions, strict=True)):
        ids[row, [length // 2, length - 1]] = SEP_ID
        free = generator.permutation(np.setdiff1d(np.arange(1, length), [length // 2, length - 1]))
        columns, holes, rest = free[:number], free[number : number + 2], free[number + 2 :]
        ids[row, columns] = QUESTION_ID
        ids[row, holes] = PAD_ID
        attention_mask[row, holes] = 0
        found["rows"] += [row] * number
        found["columns"] += columns.tolist()
        for name in LABELS:
            found[name] += generator.choice(rest, number).tolist()
    mask = visible_tokens(ids, attention_mask, SEP_ID)
    arrays = {"input_ids": ids, "attention_mask": mask} | {name: np.array(list) for name, list in found.items()}
    return {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}


def one_each(lengths: list[int] = [20, 9, 31]) -> dict[str, Tensor]:  # noqa: B006
    """Inputs as in fine-tuning: one question a row, no labels."""
    batch = batch_of(lengths, [1] * len(lengths))
    return {name: batch[name] for name in ("input_ids", "attention_mask", "columns")}


run = functools.partial(losses_and_gradients, losses=("start_loss", "end_loss"))
expect_same = functools.partial(expect_same, more_than=50)


def logits_of(model: torch.nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """`[2, Q, L]`: of starts and ends."""
    with torch.no_grad():
        outputs = model.eval()(**batch)
    return torch.stack([outputs.start_logits, outputs.end_logits])


# ---- against transformers and the original's formula


def theirs(cls: type = SplinterForQuestionAnswering, **changes):
    torch.manual_seed(1)
    return with_all_weights(cls(SplinterConfig(**(SIZES | {"question_token_id": QUESTION_ID} | changes)))).eval()


def expect_logits(found: Tensor, expected: Tensor, mask: Tensor) -> None:
    """The same where attention sees; elsewhere, nothing that could be chosen."""
    visible = mask.bool().expand_as(expected)
    assert_close_in_size(found[visible], expected[visible])
    assert (found[~visible] == HIDDEN_LOGIT).all() and found[visible].abs().max() < 100 and (~visible).any()
    assert expected[visible].std() > 0.1


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("qass", ["pretrained", "new"])
def test_all_formats_give_the_logits_of_transformers(form: str, qass: str, tmp_path: Path):
    reference, batch = theirs(), one_each()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        outputs = reference(**inputs)  # it looks for the question token, which is where `columns` says
    expected = torch.stack([outputs.start_logits, outputs.end_logits])

    reference.save_pretrained(tmp_path / "theirs")
    model = build_splinter(tmp_path / "theirs")
    model.config.qass = qass
    export_splinter(model, tmp_path / form, form)
    expect_logits(logits_of(build_splinter(tmp_path / form), batch), expected, batch["attention_mask"])


def test_many_questions_a_row_are_those_of_transformers(tmp_path: Path):
    reference, batch = theirs(SplinterForPreTraining), batch_of([30, 12, 40], [4, 1, 3])
    reference.save_pretrained(tmp_path)
    at = torch.full((3, 4), -1)
    numbers = torch.tensor([0, 1, 2, 3, 0, 0, 1, 2])
    at[batch["rows"], numbers] = batch["columns"]
    with torch.no_grad():
        outputs = reference(batch["input_ids"], batch["attention_mask"], question_positions=at.clamp(min=0))
    expected = torch.stack([outputs.start_logits, outputs.end_logits])[:, batch["rows"], numbers]
    mask = batch["attention_mask"][batch["rows"]]
    expect_logits(logits_of(build_splinter(tmp_path), batch), expected, mask)


def test_transformers_reads_what_is_exported_for_it(tmp_path: Path):
    model, batch = fresh(), one_each()
    set_token_ids(model, tokenizer_in(tmp_path / "tokenizer"))
    expected = logits_of(model, batch)
    export_splinter(model, tmp_path / "export", "transformers")
    for builder in (SplinterForQuestionAnswering, AutoModelForQuestionAnswering, SplinterForPreTraining):
        loaded, loading = builder.from_pretrained(tmp_path / "export", output_loading_info=True)
        assert not loading["missing_keys"] and not loading["unexpected_keys"]
        assert (loaded.config.question_token_id, loaded.config.pad_token_id) == (QUESTION_ID, PAD_ID)
        found = logits_of(loaded, {name: batch[name] for name in ("input_ids", "attention_mask")})
        found = found.view(2, 3, -1)  # for pretraining, a dimension of questions
        expect_logits(found.masked_fill(found < -1e4, HIDDEN_LOGIT), expected, batch["attention_mask"])


def test_transformers_would_not_know_which_token_asks(tmp_path: Path):
    with pytest.raises(ModelError, match=r"which id \[QUESTION\] has is not known yet.*set_token_ids"):
        export_splinter(fresh(), tmp_path / "export", "transformers")
    assert not (tmp_path / "export").exists()


def originals(prefix: str, with_pooler: bool = True) -> dict[str, Tensor]:
    """Weights by the original's keys."""
    torch.manual_seed(2)
    config = BertConfig(**SIZES)
    weights = {
        f"bert.{key}": value for key, value in BertModel(config, add_pooling_layer=with_pooler).named_parameters()
    }
    for transform in ("query_start", "query_end", "start", "end"):
        for part, shapes in (("dense", ((32, 32), (32,))), ("LayerNorm", ((32,), (32,)))):
            for name, shape in zip(("weight", "bias"), shapes, strict=True):
                weights[f"{prefix}{transform}_transform.{part}.{name}"] = torch.randn(shape) * 0.3
    weights |= {f"{prefix}{name}_classifier": torch.randn(32, 32) * 0.1 for name in ("start", "end")}
    weights["bert.embeddings.position_ids"] = torch.arange(64)[None]  # which transformers 2 and 3 save
    return {key: value.detach().clone() for key, value in weights.items()}


def folder_of(weights: dict[str, Tensor], folder: Path, **config) -> Path:
    folder.mkdir()
    sizes = BertConfig(**SIZES).to_dict() | config
    (folder / "config.json").write_text(json.dumps({name: sizes[name] for name in (*SIZES, *config)}))
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


def by_the_originals_formula(
    weights: dict[str, Tensor], prefix: str, states: Tensor, query: Tensor, which: str
) -> Tensor:
    """`[L]` logits from a row's states `[L, H]` and those of its question token `[H]`."""

    def transformed(name: str, value: Tensor) -> Tensor:
        dense, norm = (
            [weights[f"{prefix}{name}_transform.{part}.{kind}"] for kind in ("weight", "bias")]
            for part in ("dense", "LayerNorm")
        )
        return layer_norm(gelu(linear(value, *dense)), (32,), *norm, eps=1e-5)

    product = transformed(f"query_{which}", query) @ weights[f"{prefix}{which}_classifier"]
    return transformed(which, states) @ product


@pytest.mark.parametrize(
    "prefix, qass", [("cls.span_predictions.", "pretrained"), ("new_cls.span_predictions.", "new")]
)
def test_the_originals_weights_are_read_by_its_formula(prefix: str, qass: str, tmp_path: Path):
    weights, batch = originals(prefix), one_each()
    model = build_splinter(folder_of(weights, tmp_path / "model", model_type="bert"))
    assert model.config.qass == qass
    found = logits_of(model, batch)
    states = model.bert(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state.detach()
    for row, column in enumerate(batch["columns"].tolist()):
        visible = batch["attention_mask"][row].bool()
        for index, which in enumerate(("start", "end")):
            expected = by_the_originals_formula(weights, prefix, states[row], states[row, column], which)
            assert_close_in_size(found[index, row][visible], expected[visible])


@pytest.mark.parametrize(
    "qass, prefix", [("pretrained", "cls.span_predictions."), ("new", "new_cls.span_predictions.")]
)
def test_what_is_exported_for_the_original_has_its_keys(qass: str, prefix: str, tmp_path: Path):
    model = fresh()
    model.config.qass = qass
    export_splinter(model, tmp_path, "original")
    exported = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    expected = originals(prefix, with_pooler=False)
    del expected["bert.embeddings.position_ids"]
    assert {key: value.shape for key, value in exported.items()} == {
        key: value.shape for key, value in expected.items()
    }
    assert torch.equal(exported[f"{prefix}end_classifier"], model.qass.end_classifier.weight.T)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "bert"
    assert build_splinter(tmp_path).config.qass == qass


# ---- losses


def test_losses_and_gradients_are_those_of_a_loop_over_the_questions():
    model, batch = fresh(), batch_of([40, 12, 23, 9], [5, 0, 2, 1])
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))  # in no order of rows
    batch |= {name: batch[name][order] for name in ("rows", "columns", *LABELS)}
    found, outputs = run(model, batch), model(**batch)
    model.double().zero_grad()
    mask = batch["attention_mask"]
    states = model.bert(batch["input_ids"], attention_mask=mask).last_hidden_state
    weights = {key: value for key, value in model.named_parameters() if key.startswith("qass.")}
    weights |= {f"qass.{name}_classifier": weights[f"qass.{name}_classifier.weight"].T for name in ("start", "end")}
    losses, right = [], []
    for which, labels in zip(("start", "end"), (batch["starts"], batch["ends"]), strict=True):
        total, hits = torch.zeros((), dtype=torch.float64), []
        for row, column, label in zip(batch["rows"].tolist(), batch["columns"].tolist(), labels, strict=True):
            logits = by_the_originals_formula(weights, "qass.", states[row], states[row, column], which)
            visible = mask[row].bool()
            logits, label = logits[visible], visible[:label].sum()  # hidden tokens are not there at all
            total = total + cross_entropy(logits[None], label[None])
            hits.append(bool(logits.argmax() == label))
        losses.append(total)
        right.append(np.array(hits))
    sum(losses).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    expect_same(found, ([loss.detach() for loss in losses], gradients))
    assert outputs.right_starts.tolist() == right[0].tolist() and outputs.right_ends.tolist() == right[1].tolist()
    assert outputs.questions == 8 and gradients.keys() == dict(model.named_parameters()).keys()


def test_right_answers_are_told():
    model, batch = fresh(), batch_of([30, 17], [3, 2])
    logits = logits_of(model, batch)
    batch["starts"], batch["ends"] = logits[0].argmax(dim=-1), logits[1].argmax(dim=-1)
    batch["starts"][0] = (batch["starts"][0] + 1) % 30
    batch["ends"][:2] = (batch["ends"][:2] + 1) % 30
    outputs = model(**batch)
    assert outputs.right_starts.tolist() == [False, True, True, True, True]
    assert outputs.right_ends.tolist() == [False, False, True, True, True]


def test_a_label_at_the_position_that_equals_the_pad_id_counts(tmp_path: Path):
    reference, batch = theirs(SplinterForPreTraining), batch_of([20], [1])
    reference.save_pretrained(tmp_path)
    model = build_splinter(tmp_path)
    batch["attention_mask"][0, PAD_ID], batch["columns"][0] = 1, 2
    batch["starts"][0] = batch["ends"][0] = PAD_ID
    lost = reference(
        batch["input_ids"],
        batch["attention_mask"],
        start_positions=batch["starts"][None].clone(),
        end_positions=batch["ends"][None].clone(),
        question_positions=batch["columns"][None],
    ).loss
    assert lost.isnan()  # the mean over no labels: what this is about
    (start_loss, end_loss), gradients = run(model, batch)
    logits = logits_of(model, batch)
    assert_close_in_size(start_loss, -logits[0, 0].log_softmax(dim=-1)[PAD_ID])
    assert start_loss > 0 and end_loss > 0 and gradients["qass.start_classifier.weight"].any()


def test_a_label_that_is_hidden_costs_much_and_not_infinity():
    model, batch = fresh(), batch_of([20], [1])
    batch["starts"][0] = batch["ends"][0] = 19  # [SEP]
    losses, gradients = run(model, batch)
    assert all(9e3 < loss < 2e4 for loss in losses)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("unpads", [False, True])
def test_without_a_question_losses_and_gradients_are_zero(unpads: bool):
    model, batch = fresh(), batch_of([9, 14], [0, 0])
    losses, gradients = run(unpad_encoder(model), packed(batch)) if unpads else run(model, batch)
    assert losses == [0, 0] and model(**batch).questions == 0
    assert gradients.keys() == dict(model.named_parameters()).keys()
    assert all(not gradient.any() for gradient in gradients.values())


def test_each_question_of_a_row_gets_a_place_of_its_own():
    rows = torch.tensor([2, 0, 2, 2, 1, 0])
    assert _places(rows, 4, 5).tolist() == [10, 0, 11, 12, 5, 1]


def test_more_places_than_questions_change_nothing():
    model, batch = fresh(), batch_of([30, 12, 40], [4, 1, 3])
    states = model.bert(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    questions = states[batch["rows"], batch["columns"]]
    tight, wide = (model.qass(states, questions, _places(batch["rows"], 3, most), most) for most in (4, 30))
    for found, expected in zip(wide, tight, strict=True):
        assert_close_in_size(found, expected)
    mask = batch["attention_mask"][batch["rows"]]
    expect_logits(logits_of(model, batch | {"most_questions": 30}), logits_of(model, batch), mask)


def test_fine_tuning_is_the_case_of_one_question_a_row():
    model, batch = fresh(), batch_of([20, 9, 31], [1, 1, 1])
    without_rows = {name: value for name, value in batch.items() if name != "rows"}
    assert model(**without_rows).start_logits.shape == (3, 31)
    expect_same(run(model, without_rows), run(model, batch))
    outputs = model(**one_each())
    assert outputs.start_loss is None and outputs.right_starts is None and outputs.questions == 3


# ---- the mask


@pytest.mark.parametrize("checkpointing", [False, True])
def test_losses_and_every_gradient_equal_the_padded_ones(checkpointing: bool):
    model, batch = fresh(), batch_of([9, 17, 60, 12, 31], [1, 3, 6, 0, 2])
    inside = torch.arange(60) < torch.tensor([[9], [17], [60], [12], [31]])
    assert ((batch["attention_mask"] == 0) & inside).sum() == 5 * 4  # holes, two of [SEP] among them
    if checkpointing:
        model.activation_checkpointing_enable()
    expected, logits = run(model, batch), logits_of(model, batch)
    unpad_encoder(model.train())
    expect_same(run(model, packed(batch)), expected)
    expect_logits(logits_of(model, packed(batch)), logits, batch["attention_mask"][batch["rows"]])


def test_the_collator_makes_the_models_inputs():
    model, batch = fresh(), batch_of([12, 30], [1, 4])
    expected = run(model, batch)
    collator = Collator(model, no_unpad=False, length=30)
    arrays = {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
    arrays["token_type_ids"] = np.ones_like(arrays["input_ids"])  # not for Splinter, whatever the rows come with
    inputs = collator.batch(arrays)["inputs"] | {name: batch[name] for name in ("rows", "columns", *LABELS)}
    assert collator.unpads and "packing" in inputs and "token_type_ids" in inputs
    expect_same(run(collator.model, inputs), expected)


def test_sep_is_hidden_by_hand():
    ids = np.array([[CLS_ID, 7, SEP_ID, 8, SEP_ID, PAD_ID]])
    mask = visible_tokens(ids, np.array([[1, 1, 1, 1, 1, 0]]), SEP_ID)
    assert mask.tolist() == [[1, 1, 0, 1, 0, 0]] and mask.dtype == np.int64


def test_what_is_hidden_changes_nothing():
    model, batch = fresh(), one_each()
    before = logits_of(model, batch)
    batch["input_ids"] = batch["input_ids"].where(batch["attention_mask"] == 1, 50)
    assert torch.equal(logits_of(model, batch), before)


def test_autocast_to_bf16_keeps_logits_and_losses_in_fp32():
    model, batch = unpad_encoder(fresh()), packed(batch_of([40, 12, 23], [5, 1, 2]))
    expected = run(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = run(model, batch)
        assert model(**batch).start_logits.dtype == torch.float32
    assert all(loss.dtype == torch.float32 for loss in found[0])
    expect_same_in_half_precision(found, expected, losses=0.02, norms=0.15)
    for name in ("start", "end"):  # moves all logits of a question alike, so that nothing is learned from it
        weight, bias = (expected[1][f"qass.{name}_transform.LayerNorm.{part}"] for part in ("weight", "bias"))
        assert bias.norm() < 1e-5 * weight.norm()


# ---- folders


def test_what_is_saved_is_loaded_and_says_what_head_it_has(tmp_path: Path):
    model, batch = fresh(), batch_of([40, 12, 23], [5, 1, 2])
    model.config.qass = "new"
    set_token_ids(model, tokenizer_in(tmp_path / "tokenizer"))
    expected = run(model, batch)
    model.save_pretrained(tmp_path)
    resumed = fresh()
    load_model(resumed, tmp_path / "model.safetensors")  # as training/checkpoint.py does
    loaded = [build_splinter(tmp_path), build_splinter(tmp_path, initialize_new_qass=False)]
    for each in (*loaded, BertForSpanSelection.from_pretrained(tmp_path), resumed):
        expect_same(run(each.train(), batch), expected)
    saved = json.loads((tmp_path / "config.json").read_text())
    wanted = {"qass": "new", "question_token_id": QUESTION_ID, "hidden_token_id": SEP_ID, "pad_token_id": PAD_ID}
    assert saved | wanted == saved and saved["architectures"] == ["BertForSpanSelection"]
    states = model.eval().bert(batch["input_ids"]).last_hidden_state
    assert_close_in_size(AutoModel.from_pretrained(tmp_path).eval()(batch["input_ids"]).last_hidden_state, states)
    assert type(loaded[0].bert.embeddings.dropout) is Dropout


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_all_there_is_to_know(form: str, tmp_path: Path):
    model, batch = fresh(), one_each()
    set_token_ids(model, tokenizer_in(tmp_path / "tokenizer"), kosplinter_compat=True)
    model.config.qass = "new"
    export_splinter(model, tmp_path / "export", form)
    loaded = build_splinter(tmp_path / "export", initialize_new_qass=False)
    expect_logits(logits_of(loaded, batch), logits_of(model, batch), batch["attention_mask"])
    names = ("qass", "question_token_id", "hidden_token_id", "kosplinter_compat", "pad_token_id", "model_type", *SIZES)
    assert {name: getattr(loaded.config, name) for name in names} == {
        name: getattr(model.config, name) for name in names
    }


@pytest.mark.parametrize("form", FORMATS)
def test_a_new_head_leaves_the_encoder_as_it_is(form: str, tmp_path: Path):
    model, batch = fresh(), one_each()
    set_token_ids(model, tokenizer_in(tmp_path / "tokenizer"))
    export_splinter(model, tmp_path / "export", form)
    torch.manual_seed(5)
    new = build_splinter(tmp_path / "export", initialize_new_qass=True)
    assert new.config.qass == "new" and build_splinter(tmp_path / "export").config.qass == "pretrained"
    theirs, found = model.state_dict(), new.state_dict()
    for key, value in theirs.items():
        assert torch.equal(found[key], value) == key.startswith("bert."), key
    # Drawn, each: the original's come as they are found in memory.
    assert 0.01 < found["qass.start_classifier.weight"].std() < 0.03
    assert not torch.equal(found["qass.start_classifier.weight"], found["qass.end_classifier.weight"])
    assert logits_of(new, batch).isfinite().all()


def test_weights_may_be_in_parts_or_half_precision(tmp_path: Path):
    model, batch = fresh(), one_each()
    expected = logits_of(model, batch)
    model.save_pretrained(tmp_path / "parts", max_shard_size="40KB")
    assert len(list((tmp_path / "parts").glob("model-*.safetensors"))) > 1
    expect_logits(logits_of(build_splinter(tmp_path / "parts"), batch), expected, batch["attention_mask"])
    model.to(torch.bfloat16).save_pretrained(tmp_path / "bf16")
    assert {p.dtype for p in build_splinter(tmp_path / "bf16").parameters()} == {torch.float32}


def test_training_goes_on_from_any_bert(tmp_path: Path):
    torch.manual_seed(1)
    config, batch = BertConfig(**SIZES), one_each()
    published = BertForPreTraining(config).eval()
    published.save_pretrained(tmp_path / "heads")
    published.bert.save_pretrained(tmp_path / "encoder")
    SplinterModel(SplinterConfig(**SIZES)).save_pretrained(tmp_path / "splinter")
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for key, value in published.state_dict().items()
    }
    folder_of(old, tmp_path / "old")
    states = published.bert(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    for name in ("heads", "encoder", "old", "splinter"):
        model = build_splinter(tmp_path / name).eval()
        assert model.config.qass == "pretrained" and logits_of(model, batch).std() > 0
        if name != "splinter":
            found = model.bert(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
            assert_close_in_size(found, states)
        with pytest.raises(
            ModelError, match="holds no span selection head, only an encoder: training with --initialize_new_qass"
        ):
            build_splinter(tmp_path / name, initialize_new_qass=False)


def test_from_scratch_keeps_the_architecture_only(tmp_path: Path):
    model = fresh()
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    scratch = build_splinter(tmp_path, from_scratch=True)
    assert scratch.config.hidden_size == 32 and scratch.config.qass == "pretrained"
    name = "bert.embeddings.word_embeddings.weight"
    assert not torch.equal(scratch.state_dict()[name], model.state_dict()[name])
    assert build_splinter(tmp_path, initialize_new_qass=True, from_scratch=True).config.qass == "new"


# ---- what is refused


def refused(folder: Path, **options) -> str:
    with pytest.raises(ModelError) as error:
        build_splinter(folder, **options)
    return str(error.value)


CLS = "cls.span_predictions."


@pytest.mark.parametrize(
    "key", [f"{CLS}end_classifier", f"{CLS}query_end_transform.dense.bias", "bert.encoder.layer.1.output.dense.weight"]
)
def test_keys_that_are_missing_are_named(key: str, tmp_path: Path):
    weights = originals(CLS)
    del weights[key]
    error = refused(folder_of(weights, tmp_path / "model"))
    assert error.endswith(f"are not those of a Splinter of its config.json's sizes: missing: {key}")
    assert str(tmp_path / "model") in error


@pytest.mark.parametrize(
    "key", ["bert.encoder.layer.2.output.dense.weight", f"{CLS}third_classifier", "qa_outputs.weight"]
)
def test_keys_that_are_unknown_are_named(key: str, tmp_path: Path):
    folder = folder_of(originals(CLS) | {key: torch.zeros(3)}, tmp_path / "model")
    assert refused(folder).endswith(f": unknown: {key}")


def test_keys_are_named_as_the_file_has_them_and_not_all_of_very_many(tmp_path: Path):
    theirs().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["splinter_qass.startclassifier.weight"] = weights.pop("splinter_qass.start_classifier.weight")
    save_file(weights, tmp_path / "model.safetensors")
    wrong = "missing: splinter_qass.start_classifier.weight; unknown: splinter_qass.startclassifier.weight"
    assert refused(tmp_path).endswith(wrong)
    assert build_splinter(tmp_path, initialize_new_qass=True)  # which does not need it
    without_a_layer = {key: value for key, value in weights.items() if ".layer.1." not in key}
    save_file(without_a_layer, tmp_path / "model.safetensors")
    assert "splinter.encoder.layer.1.attention.self.query.weight, " in refused(tmp_path)
    assert " and 9 more; unknown: " in refused(tmp_path)


def test_sizes_that_differ_are_named(tmp_path: Path):
    folder = folder_of(originals(CLS), tmp_path / "model", vocab_size=VOCABULARY_SIZE + 1)
    assert refused(folder).endswith(
        ": of another size: bert.embeddings.word_embeddings.weight ([120, 32], not [121, 32])"
    )


def test_two_heads_are_one_too_many(tmp_path: Path):
    folder = folder_of(originals(CLS) | originals(f"new_{CLS}"), tmp_path / "model")
    assert refused(folder).endswith(f"more than one span selection head: {CLS} and new_{CLS}")


def test_what_is_no_bert_is_refused(tmp_path: Path):
    RobertaForMaskedLM(RobertaConfig(**SIZES)).save_pretrained(tmp_path / "roberta")
    assert "Splinter is made of BERT, and this is roberta" in refused(tmp_path / "roberta")
    assert refused(tmp_path / "nothing").startswith(f"no Splinter in {tmp_path / 'nothing'}: ")
    folder = folder_of(originals(CLS), tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"damaged")
    assert refused(folder).startswith(f"{folder / 'pytorch_model.bin'} cannot be read: ")
    (folder / "pytorch_model.bin").unlink()
    assert "there are no weights (model.safetensors, pytorch_model.bin)" in refused(folder)
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": "wide"}')
    assert refused(folder).startswith(f"no Splinter in {folder}: ")
    with pytest.raises(ModelError, match=r"no Splinter of this configuration: .*multiple"):
        build_splinter(BertConfig(**(SIZES | {"num_attention_heads": 5})))
    fresh().save_pretrained(tmp_path / "ours")
    saved = (tmp_path / "ours" / "config.json").read_text()
    (tmp_path / "ours" / "config.json").write_text(saved.replace('"pretrained"', '"wrong"'))
    assert refused(tmp_path / "ours").endswith("qass is pretrained or new, not 'wrong'")


# ---- tokens


def tokenizer_in(folder: Path, without: str = ""):
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(token for token in TOKENS if token != without), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return build_tokenizer(None, folder)


def test_the_question_token_keeps_its_id_and_stays_whole_in_texts(tmp_path: Path):
    tokenizer, model = tokenizer_in(tmp_path / "tokenizer"), fresh()
    assert QUESTION not in tokenizer.tokenize("누구 [QUESTION].")
    set_token_ids(model, tokenizer)
    assert tokenizer.tokenize("누구 [QUESTION].") == ["누구", QUESTION, "."]
    config = model.config
    assert (config.question_token_id, config.hidden_token_id, config.kosplinter_compat) == (QUESTION_ID, SEP_ID, False)
    assert len(tokenizer) == len(TOKENS) and tokenizer.all_special_ids.count(QUESTION_ID) == 1
    tokenizer.save_pretrained(tmp_path / "saved")
    again = build_tokenizer(None, tmp_path / "saved")
    assert again.tokenize("누구 [QUESTION].") == ["누구", QUESTION, "."]
    set_token_ids(model, again)
    assert not add_question_token(again, model) and model.config.vocab_size == VOCABULARY_SIZE


def test_the_question_token_is_trained_where_bert_has_its_padding(tmp_path: Path):
    model, batch = fresh(pad_token_id=0), batch_of([20, 9], [2, 1])
    name = "bert.embeddings.word_embeddings.weight"
    assert not run(model, batch)[1][name][QUESTION_ID].any()
    set_token_ids(model, tokenizer_in(tmp_path / "tokenizer"))
    gradient = run(model, batch)[1][name]
    assert gradient[QUESTION_ID].any() and not gradient[PAD_ID].any()
    model.save_pretrained(tmp_path / "saved")
    assert build_splinter(tmp_path / "saved").bert.embeddings.word_embeddings.padding_idx == PAD_ID


def test_kosplinters_released_code_has_mask_for_question_and_never_hides_sep(tmp_path: Path):
    tokenizer, model = tokenizer_in(tmp_path / "tokenizer", without=QUESTION), fresh()
    set_token_ids(model, tokenizer, kosplinter_compat=True)
    config = model.config
    assert (config.question_token_id, config.hidden_token_id) == (tokenizer.mask_token_id, 102)
    ids = np.array([[2, 4, 102, tokenizer.sep_token_id]])
    assert visible_tokens(ids, np.ones_like(ids), config.hidden_token_id).tolist() == [[1, 1, 0, 1]]
    model.save_pretrained(tmp_path / "saved")
    loaded = build_splinter(tmp_path / "saved")
    set_token_ids(loaded, tokenizer)  # as it was trained
    assert loaded.config.kosplinter_compat and loaded.config.hidden_token_id == 102
    with pytest.raises(ModelError, match="--add_question_token"):
        set_token_ids(loaded, tokenizer, kosplinter_compat=False)


def test_a_vocabulary_without_the_question_token_is_refused_or_given_one(tmp_path: Path):
    tokenizer, model = tokenizer_in(tmp_path / "tokenizer", without=QUESTION), fresh(vocab_size=len(TOKENS) - 1)
    with pytest.raises(ModelError, match=r"the vocabulary has no \[QUESTION\].*: --add_question_token adds it"):
        set_token_ids(model, tokenizer)
    before = model.bert.embeddings.word_embeddings.weight.detach().clone()
    assert add_question_token(tokenizer, model) and not add_question_token(tokenizer, model)
    set_token_ids(model, tokenizer)
    embeddings = model.bert.embeddings.word_embeddings
    assert model.config.question_token_id == len(TOKENS) - 1 and model.config.vocab_size == len(TOKENS)
    assert torch.equal(embeddings.weight[:-1], before)
    assert torch.equal(embeddings.weight[-1], before[tokenizer.mask_token_id])
    assert embeddings.padding_idx == tokenizer.pad_token_id
    assert tokenizer.tokenize("누구 [QUESTION].") == ["누구", QUESTION, "."]
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    loaded, again = build_splinter(tmp_path / "saved"), build_tokenizer(None, tmp_path / "saved")
    set_token_ids(loaded, again)
    assert loaded.config.question_token_id == len(TOKENS) - 1
    assert torch.equal(loaded.bert.embeddings.word_embeddings.weight, embeddings.weight)


def test_a_model_with_spare_embeddings_does_not_grow(tmp_path: Path):
    tokenizer, model = tokenizer_in(tmp_path / "tokenizer", without=QUESTION), fresh()
    assert add_question_token(tokenizer, model)
    weight = model.bert.embeddings.word_embeddings.weight
    assert model.config.vocab_size == len(weight) == VOCABULARY_SIZE
    assert torch.equal(weight[len(TOKENS) - 1], weight[tokenizer.mask_token_id])


def test_a_token_without_an_embedding_is_refused_or_given_one(tmp_path: Path):
    tokenizer, model = tokenizer_in(tmp_path / "tokenizer", without=QUESTION), fresh(vocab_size=len(TOKENS) - 1)
    assert add_question_token(tokenizer)  # for a model that is made for the tokenizer
    with pytest.raises(ModelError, match=r"\[QUESTION\] has the id 11, and the model 11 tokens.*--add_question_token"):
        set_token_ids(model, tokenizer)
    assert add_question_token(tokenizer, model)
    set_token_ids(model, tokenizer)
    assert (
        logits_of(
            model,
            {"input_ids": torch.tensor([[2, 11, 6]]), "attention_mask": torch.ones(1, 3), "columns": torch.tensor([1])},
        )
        .isfinite()
        .all()
    )


def test_without_a_mask_token_the_new_embedding_is_the_mean_of_all(tmp_path: Path):
    tokens = [token for token in TOKENS if token not in (QUESTION, "[MASK]")]
    tokenizer = BertTokenizer({token: id for id, token in enumerate(tokens)}, do_lower_case=False)
    tokenizer.mask_token = None
    model = fresh(vocab_size=len(tokenizer))
    before = model.bert.embeddings.word_embeddings.weight.detach().clone()
    assert add_question_token(tokenizer, model)
    assert_close_in_size(model.bert.embeddings.word_embeddings.weight[-1], before.mean(dim=0))
    with pytest.raises(ModelError, match=r"the vocabulary has no \[MASK\]"):
        set_token_ids(model, tokenizer, kosplinter_compat=True)
