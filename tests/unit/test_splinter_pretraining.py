"""What Splinter's pretraining shows to the encoder, and its joint objective, against the original's formulas.

The original is github.com/oriram/splinter, `pretraining/`.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, gelu, layer_norm, linear
from transformers import AutoModel, BertConfig, BertForMaskedLM

from closeness import assert_close_in_size, assert_modules_close
from models.collator import Collator
from models.errors import ModelError
from models.positions import positions_among_visible
from models.splinter import BertForSpanSelection, SplinterOutput, build_splinter, export_splinter
from models.splinter_tokens import add_question_token
from models.unpadding import unpad_encoder
from pretrain_splinter import joint_loss_of, loss_of, metrics_of, question_batch, sums_of
from pretraining_models import packed
from processors.features import NO_LABEL
from processors.pretraining.recurring_spans import RecurringSpans
from processors.pretraining.splinter_vocabulary import SplinterVocabulary
from processors.pretraining.token_masking import TokenMasking
from small_sizes import SMALL
from training.row_random import RowDraws
from workflows.recurring_questions import QuestionRules

TOKENS = ["[QUESTION]", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"말{number}" for number in range(60))]
QUESTION, PAD, UNK, CLS, SEP, MASK = range(6)
SIZES = SMALL | dict(
    vocab_size=len(TOKENS),
    pad_token_id=PAD,
)
RULES = QuestionRules(
    SplinterVocabulary.of_tokens(TOKENS, range(6), QUESTION, PAD, UNK, stop_words=frozenset()),
    RecurringSpans(budget=0.3),
)
MASKING = TokenMasking.of_tokens(len(TOKENS), range(6), QUESTION, MASK, 0.3, 80)


class Rows:
    """Rows of token ids, as far as batches are made from them."""

    def __init__(self, rows: list[list[int]]):
        self.rows, self.lengths = rows, np.array([len(row) for row in rows])

    def padded(self, row_ids: np.ndarray, pad_id: int, width: int) -> dict[str, np.ndarray]:
        ids = np.full((len(row_ids), width), pad_id)
        for at, row in enumerate(row_ids):
            ids[at, : self.lengths[row]] = self.rows[row]
        return {"input_ids": ids, "attention_mask": (ids != pad_id).astype(np.int64)}


def repeating(seed: int, parts: tuple[int, ...] = (1, 2, 4, 7)) -> list[int]:
    """[CLS] ... [SEP]: spans of these lengths, each three times, in any order and side by side, between single words;
    so that several groups of hidden tokens follow one another.
    """
    generator = np.random.default_rng(seed)
    words = generator.permutation(np.arange(6, len(TOKENS))).tolist()
    spans = [[words.pop() for _ in range(length)] for length in parts]
    pieces = [span for span in spans for _ in range(3)] + [[words.pop()] for _ in range(4)]
    order = generator.permutation(len(pieces))
    return [CLS, *(token for number in order for token in pieces[number]), SEP]


ROWS = Rows([repeating(seed) for seed in range(5)] + [repeating(9, (3,)), repeating(8, (2, 2))])
ROW_IDS = np.arange(len(ROWS.rows))


def fresh(**changes) -> BertForSpanSelection:
    torch.manual_seed(0)
    model = build_splinter(BertConfig(**SIZES), **changes)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif "position_embeddings" in name or "classifier" in name:
                parameter.mul_(20)  # or positions and queries would hardly show in the logits
    return model.eval()


def batch_of(model: torch.nn.Module, no_unpad: bool = True, masking=None, seed: int = 0, **options) -> dict:
    collator = Collator(model, no_unpad, 64, **options)
    return question_batch(collator, RULES, masking, ROWS, ROW_IDS, RowDraws([seed], ROW_IDS), options.get("size"))


def exclusive_sum(mask: list[int]) -> list[int]:
    """`tf.cumsum(input_mask, axis=-1, exclusive=True)` of one row."""
    return [sum(mask[:column]) for column in range(len(mask))]


# ---- positions


def test_positions_by_hand():
    mask = np.array([[1, 1, 0, 0, 1, 0, 1, 1, 0, 0], [1, 0, 0, 0, 1, 0, 0, 1, 1, 1]])
    expected = [[0, 1, 2, 2, 2, 3, 3, 4, 5, 5], [0, 1, 1, 1, 1, 2, 2, 2, 3, 4]]
    found = positions_among_visible(mask)
    assert found.tolist() == expected == [exclusive_sum(row) for row in mask.tolist()] and found.dtype == np.int64
    assert positions_among_visible(np.ones((1, 512), dtype=np.int64))[0, -1] == 511


@pytest.mark.parametrize("unpads", [False, True])
def test_the_positions_that_reach_the_embeddings_count_the_visible_tokens(unpads: bool):
    model, seen = fresh(), []
    batch = batch_of(model, no_unpad=not unpads)
    assert ("packing" in batch["inputs"]) == unpads
    model.bert.embeddings.position_embeddings.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    loss_of(model, batch)
    (positions,) = seen
    hidden_groups = 0
    for row, mask in enumerate(batch["inputs"]["attention_mask"].tolist()):
        assert positions[row].tolist() == exclusive_sum(mask)
        visible = [position for position, is_seen in zip(positions[row].tolist(), mask, strict=True) if is_seen]
        assert visible == list(range(sum(mask)))
        hidden_groups += "".join(map(str, mask)).rstrip("0").count("10")
    assert hidden_groups > 15


def test_positions_do_not_tell_how_long_an_answer_is():
    """The token after a [QUESTION] is one position further, whether its answer has one token or seven."""
    batch = batch_of(fresh())
    questions, inputs = batch["questions"], batch["inputs"]
    lengths, steps = (questions["ends"] - questions["starts"] + 1).tolist(), set()
    for row, column in zip(questions["rows"].tolist(), questions["columns"].tolist(), strict=True):
        mask, positions = inputs["attention_mask"][row], inputs["position_ids"][row]
        following = next(at for at in range(column + 1, len(mask)) if mask[at])
        steps.add(int(positions[following] - positions[column]))
    assert steps == {1} and {1, 2, 4, 7} <= set(lengths)


@pytest.mark.parametrize("unpads", [False, True])
def test_hidden_tokens_are_as_good_as_not_there(unpads: bool):
    """The logits of a row are those of the same row without its hidden tokens, in the usual positions."""
    model = fresh()
    batch = batch_of(model, no_unpad=not unpads)
    questions = batch["questions"]
    with torch.no_grad():
        outputs = model(**batch["inputs"], **questions)
    for number, row in enumerate(questions["rows"].tolist()):
        visible = batch["inputs"]["attention_mask"][row].bool()
        ids = batch["inputs"]["input_ids"][row][visible][None]
        column = visible[: questions["columns"][number]].sum()[None]
        with torch.no_grad():
            alone = model(ids, torch.ones_like(ids), column)
        for found, expected in zip(outputs[:2], alone[:2], strict=True):
            assert_close_in_size(found[number][visible], expected[0])
            assert expected.std() > 0.1


def test_sep_is_visible_and_counted():
    batch = batch_of(fresh())
    ids, mask = batch["inputs"]["input_ids"], batch["inputs"]["attention_mask"]
    assert mask[ids == SEP].all() and int((ids == SEP).sum()) == len(ROW_IDS)
    assert not mask[ids == PAD].any() and batch["real_tokens"] == int((ids != PAD).sum())


# ---- the joint objective


def test_questions_and_masked_tokens_share_the_budget():
    """`num_to_predict -= num_already_masked`, from all tokens of the row, those behind questions too."""
    model = fresh(mlm=True)
    plain, joint = batch_of(model), batch_of(model, masking=MASKING)
    for name in ("rows", "columns", "starts", "ends"):
        assert torch.equal(plain["questions"][name], joint["questions"][name])
    masked = joint["masked"]
    questions = np.bincount(joint["questions"]["rows"], minlength=len(ROW_IDS))
    expected = [
        min(80, max(1, round(0.3 * length))) - count for length, count in zip(ROWS.lengths, questions, strict=True)
    ]
    assert np.bincount(masked["masked_rows"], minlength=len(ROW_IDS)).tolist() == expected
    assert joint["second_terms"] == sum(expected) > 20 and joint["terms"] == 2 * sum(questions)
    before, after = plain["inputs"]["input_ids"], joint["inputs"]["input_ids"]
    places = masked["masked_rows"], masked["masked_columns"]
    assert torch.equal(before[places], masked["masked_labels"]) and plain["inputs"]["attention_mask"][places].all()
    changed = torch.nonzero(before != after).tolist()
    assert changed and all(place in torch.stack(places, dim=1).tolist() for place in changed)


def by_the_originals_head(model: BertForSpanSelection, states: Tensor) -> Tensor:
    """`get_masked_lm_output`: dense, gelu and LayerNorm, then the embeddings' matrix, and a bias for each token."""
    weights = dict(model.named_parameters())
    dense, norm = (
        [weights[f"cls.predictions.transform.{part}.{kind}"] for kind in ("weight", "bias")]
        for part in ("dense", "LayerNorm")
    )
    transformed = layer_norm(gelu(linear(states, *dense)), (32,), *norm, eps=model.config.layer_norm_eps)
    return transformed @ weights["bert.embeddings.word_embeddings.weight"].T + weights["cls.predictions.bias"]


@pytest.mark.parametrize("unpads", [False, True])
def test_the_loss_is_the_sum_of_both_means(unpads: bool):
    """`total_loss += masked_lm_loss` and `total_loss += masked_span_loss`, with the gradients of all parameters."""
    model = fresh(mlm=True)
    batch = batch_of(model, no_unpad=not unpads, masking=MASKING)
    batch["second_weight"] = batch["terms"] / batch["second_terms"]
    loss = joint_loss_of(model, batch) / batch["terms"]
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}

    model.zero_grad()
    inputs, questions, masked = batch["inputs"], batch["questions"], batch["masked"]
    names = ("input_ids", "attention_mask", "position_ids")
    outputs = model(*(inputs[name] for name in names[:2]), **questions, position_ids=inputs["position_ids"])
    states = model.bert(**{name: inputs[name] for name in names}).last_hidden_state
    logits = by_the_originals_head(model, states[masked["masked_rows"], masked["masked_columns"]])
    mlm_loss = cross_entropy(logits, masked["masked_labels"])
    per_question = [
        (cross_entropy(start[None], first[None]) + cross_entropy(end[None], last[None])) / 2
        for start, end, first, last in zip(*outputs[:2], questions["starts"], questions["ends"], strict=True)
    ]
    expected = mlm_loss + torch.stack(per_question).mean()
    expected.backward()
    assert_close_in_size(loss, expected, 1e-5)
    assert_modules_close(found, {name: p.grad for name, p in model.named_parameters()})

    metrics = metrics_of(sums_of(model, batch).detach().numpy().astype(np.float64))
    span_loss = torch.stack(per_question).mean()
    for name, value in (("loss", expected), ("mlm_loss", mlm_loss), ("span_loss", span_loss)):
        assert metrics[name] == pytest.approx(value.item(), rel=1e-4)
    hits = (logits.argmax(dim=-1) == masked["masked_labels"]).float().mean()
    assert metrics["mlm_accuracy"] == pytest.approx(hits.item()) and 0 <= metrics["span_em"] <= 1


def test_held_out_answers_are_counted_by_their_length():
    lengths, right = [1, 1, 2, 2, 3, 3, 3, 4, 5], [True, False, True, True, False, False, True, False, True]
    starts = torch.tensor([7] * len(lengths) + [NO_LABEL] * 3)  # three places without a question
    ends = torch.tensor([7 + length - 1 for length in lengths] + [NO_LABEL] * 3)
    found = torch.tensor([*right, False, False, False])

    def model(starts: Tensor, ends: Tensor) -> SplinterOutput:
        loss, some = torch.tensor(1.0), slice(len(starts))
        return SplinterOutput(start_loss=loss, end_loss=loss, right_starts=starts == 7, right_ends=found[some])

    def metrics(some: slice) -> dict[str, float]:
        questions = {"starts": starts[some], "ends": ends[some]}
        return metrics_of(sums_of(model, {"inputs": {}, "questions": questions}).numpy())

    of_all = metrics(slice(None))
    assert of_all["start_accuracy"] == 1 and of_all["span_em"] == pytest.approx(5 / 9)
    by_length = {name: value for name, value in of_all.items() if name.startswith("span_em_")}
    assert by_length == pytest.approx({"span_em_1": 1 / 2, "span_em_2_to_3": 3 / 5, "span_em_4_or_more": 1 / 2})
    assert list(metrics(slice(4)))[3:] == ["span_em", "span_em_1", "span_em_2_to_3"]  # no long answer: no metric


def test_the_head_is_berts_and_goes_along_with_pretraining_only(tmp_path: Path):
    torch.manual_seed(1)
    published = BertForMaskedLM(BertConfig(**SIZES))
    with torch.no_grad():
        for parameter in published.cls.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    published.save_pretrained(tmp_path / "bert")
    model = build_splinter(tmp_path / "bert", mlm=True).eval()
    decoder = model.cls.predictions.decoder
    assert decoder.weight is model.bert.embeddings.word_embeddings.weight and decoder.bias is model.cls.predictions.bias
    ids = torch.tensor([ROWS.rows[5]])
    place, label = torch.tensor([2]), torch.tensor([7])
    outputs = model(ids, torch.ones_like(ids), place, masked_rows=place * 0, masked_columns=place, masked_labels=label)
    expected = cross_entropy(published.eval()(ids).logits[0, 2][None], label)
    assert_close_in_size(outputs.mlm_loss, expected)

    model.save_pretrained(tmp_path / "joint")
    kept = build_splinter(tmp_path / "joint", mlm=True).state_dict()
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    for form in ("transformers", "original"):
        model.config.question_token_id = QUESTION
        export_splinter(model, tmp_path / form, form)
        assert "mlm" not in json.loads((tmp_path / form / "config.json").read_text())
    for name in ("joint", "transformers", "original"):
        tuned = build_splinter(tmp_path / name, initialize_new_qass=True)
        assert not tuned.config.mlm and not any(key.startswith("cls.") for key in tuned.state_dict())
        assert torch.equal(tuned.bert.embeddings.word_embeddings.weight, decoder.weight)
    states = AutoModel.from_pretrained(tmp_path / "joint").eval()(ids).last_hidden_state
    assert_close_in_size(states, model.bert(ids).last_hidden_state)
    fresh_head = build_splinter(tmp_path / "original", mlm=True).cls.predictions
    assert not torch.equal(fresh_head.transform.dense.weight, model.cls.predictions.transform.dense.weight)


def test_span_selection_begins_with_the_mlm_head(tmp_path: Path):
    """A logit is then the product of what the MLM head makes of a question and of a token."""
    torch.manual_seed(1)
    published = BertForMaskedLM(BertConfig(**SIZES)).eval()
    with torch.no_grad():
        for parameter in published.cls.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    published.save_pretrained(tmp_path / "bert")
    model = build_splinter(tmp_path / "bert", qass_from_mlm=True).eval()
    ids, place = torch.tensor([ROWS.rows[5]]), torch.tensor([2])
    outputs = model(ids, torch.ones_like(ids), place)
    states = published.cls.predictions.transform(published.bert(ids).last_hidden_state)[0]
    for logits in (outputs.start_logits, outputs.end_logits):  # the epsilons of the LayerNorms are 1e-5 and 1e-12
        assert_close_in_size(logits[0], model.config.initializer_range * states @ states[2], tolerance=1e-3)

    model.save_pretrained(tmp_path / "splinter")
    with pytest.raises(ModelError, match="holds a span selection head already: leave qass_from_mlm out"):
        build_splinter(tmp_path / "splinter", qass_from_mlm=True)
    AutoModel.from_pretrained(tmp_path / "bert").save_pretrained(tmp_path / "encoder")
    with pytest.raises(ModelError, match="encoder holds no transform of an MLM head"):
        build_splinter(tmp_path / "encoder", qass_from_mlm=True)


def test_the_head_grows_with_the_vocabulary(tmp_path: Path):
    model = fresh(mlm=True)
    before = model.cls.predictions.bias.detach().clone()
    vocabulary = {token: number for number, token in enumerate([*TOKENS[1:], *(f"새{number}" for number in range(3))])}
    tokenizer = SimpleNamespace(
        get_vocab=lambda: vocabulary | {"[QUESTION]": len(vocabulary)},
        add_special_tokens=lambda *args, **kwargs: None,
        mask_token_id=MASK,
    )
    add_question_token(tokenizer, model)
    head = model.cls.predictions
    assert head.decoder.weight is model.bert.embeddings.word_embeddings.weight and head.decoder.bias is head.bias
    assert len(head.bias) == len(vocabulary) + 1 == model.config.vocab_size
    assert torch.equal(head.bias[: len(before)], before)


def test_without_masked_tokens_the_joint_loss_is_finite():
    model = unpad_encoder(fresh(mlm=True))
    nothing = torch.zeros(0, dtype=torch.long)
    batch = batch_of(fresh(mlm=True))
    inputs = packed({name: batch["inputs"][name] for name in ("input_ids", "attention_mask", "position_ids")})
    masked = {f"masked_{name}": nothing for name in ("rows", "columns", "labels")}
    joint = {"inputs": inputs, "questions": batch["questions"], "masked": masked, "second_weight": 5.0}
    loss = joint_loss_of(model, joint)
    loss.backward()
    assert_close_in_size(loss, functools.partial(loss_of, model)(batch | {"inputs": inputs}))
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
