"""Labels of a checkpoint and of a task: by their names, and compared with what transformers itself computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BigBirdConfig,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
)

from closeness import assert_close_in_size
from models import ModelError, build_model
from models.labels import names_of_outputs, outputs_of_labels

SIZES = dict(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=40,
)
CONFIGS = {
    "bert": BertConfig(**SIZES),
    "electra": ElectraConfig(**SIZES, embedding_size=8),
    "roberta": RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=1),
    "distilbert": DistilBertConfig(
        vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=24, max_position_embeddings=40
    ),
    "big_bird": BigBirdConfig(**SIZES, attention_type="original_full"),
}
AUTO = {"sequence": AutoModelForSequenceClassification, "token": AutoModelForTokenClassification}
LABELS = ("none", "offensive", "hate")
TURNED = ("hate", "none", "offensive")
IDS = torch.arange(5, 14)[None]


def saved(folder: Path, name: str, head: str, labels: tuple[str, ...] | None, number: int | None = None):
    """A model of transformers' own, with random weights, in `folder`."""
    torch.manual_seed(1)
    named = (
        {}
        if labels is None
        else {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    )
    config = type(CONFIGS[name]).from_dict(CONFIGS[name].to_dict() | named | ({"num_labels": number} if number else {}))
    model = AUTO[head].from_config(config).eval()
    for parameter in model.parameters():  # so that no two outputs are near each other
        parameter.data.normal_(std=0.3)
    model.save_pretrained(folder)
    return AUTO[head].from_pretrained(folder).eval()


def logits_of(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits


@pytest.mark.parametrize("head", AUTO)
@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_go_by_their_names(name: str, head: str, tmp_path: Path):
    theirs = saved(tmp_path, name, head, TURNED)
    said: list[str] = []
    model = build_model(tmp_path, head, LABELS, fresh_head=False, say=said.append)
    wanted = logits_of(theirs)[..., [theirs.config.label2id[label] for label in LABELS]]
    assert_close_in_size(logits_of(model), wanted)
    assert not torch.allclose(logits_of(model), logits_of(theirs), rtol=1e-2)
    assert model.config.id2label == dict(enumerate(LABELS))
    (line,) = said
    assert "hate, none, offensive" in line and "none, offensive, hate" in line


@pytest.mark.parametrize("head", AUTO)
def test_outputs_in_the_same_order_stay_and_nothing_is_said(head: str, tmp_path: Path):
    theirs = saved(tmp_path, "electra", head, LABELS)
    said: list[str] = []
    model = build_model(tmp_path, head, LABELS, fresh_head=False, say=said.append)
    assert_close_in_size(logits_of(model), logits_of(theirs))
    assert said == []


@pytest.mark.parametrize("names", [None, ("LABEL_0", "LABEL_1", "LABEL_2"), ("0", "1", "2")])
def test_outputs_without_names_are_taken_in_order_and_that_is_said(names: tuple[str, ...] | None, tmp_path: Path):
    theirs = saved(tmp_path, "electra", "sequence", names, number=None if names else 3)
    said: list[str] = []
    model = build_model(tmp_path, "sequence", LABELS, fresh_head=False, say=said.append)
    assert_close_in_size(logits_of(model), logits_of(theirs))
    numbers = ", ".join(names or ("LABEL_0", "LABEL_1", "LABEL_2"))
    words = f"the model's outputs have no names ({numbers}): they are taken in the task's order, none, offensive, hate"
    assert said == [words]


def test_numbers_that_are_labels_go_by_their_names(tmp_path: Path):
    theirs = saved(tmp_path, "electra", "sequence", ("0", "1"))
    model = build_model(tmp_path, "sequence", ("1", "0"), fresh_head=False)
    assert_close_in_size(logits_of(model), logits_of(theirs).flip(-1))


@pytest.mark.parametrize(
    "names", [("none", "offensive"), ("none", "offensive", "other"), ("LABEL_0", "LABEL_1"), ("x",)]
)
def test_other_labels_are_refused_with_both_lists(names: tuple[str, ...], tmp_path: Path):
    saved(tmp_path, "electra", "sequence", names)
    words = (
        f"{tmp_path} was trained on labels that are not the task's: there {', '.join(names)}; here {', '.join(LABELS)}"
    )
    if len(names) == len(LABELS):
        words += (
            f"; where they mean the same, rename them in id2label of {tmp_path / 'config.json'}, each output with the "
            "task's name for it"
        )
    with pytest.raises(ModelError) as caught:
        build_model(tmp_path, "sequence", LABELS, fresh_head=False)
    assert str(caught.value) == words


def test_a_head_of_another_kind_of_task_is_refused_though_its_weights_have_the_same_names(tmp_path: Path):
    saved(tmp_path, "bert", "sequence", LABELS)
    with pytest.raises(ModelError, match=r"3 outputs of this kind .*: its class is BertForSequenceClassification$"):
        build_model(tmp_path, "token", LABELS, fresh_head=False)


def test_a_score_and_labels(tmp_path: Path):
    theirs = saved(tmp_path / "score", "electra", "sequence", None, number=1)
    assert_close_in_size(logits_of(build_model(tmp_path / "score", "sequence", fresh_head=False)), logits_of(theirs))
    # KoELECTRA's scripts wrote null for the name of the only output.
    path = tmp_path / "score" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"id2label": {"0": None}}))
    assert_close_in_size(logits_of(build_model(tmp_path / "score", "sequence", fresh_head=False)), logits_of(theirs))
    saved(tmp_path / "labels", "electra", "sequence", LABELS)
    with pytest.raises(ModelError, match="tell apart none, offensive, hate, and the task asks for a score"):
        build_model(tmp_path / "labels", "sequence", fresh_head=False)


def test_a_head_to_be_trained_further_is_put_in_order_too(tmp_path: Path):
    theirs = saved(tmp_path, "electra", "sequence", TURNED)
    wanted = logits_of(theirs)[..., [TURNED.index(label) for label in LABELS]]
    assert_close_in_size(logits_of(build_model(tmp_path, "sequence", LABELS)), wanted)
    assert_close_in_size(logits_of(build_model(tmp_path, "sequence", ("x", "y", "z"))), logits_of(theirs))


def test_names_in_a_configuration(tmp_path: Path):
    def names(**config: object) -> list[str]:
        (tmp_path / "config.json").write_text(json.dumps(config))
        return names_of_outputs(tmp_path)

    assert names() == ["LABEL_0", "LABEL_1"]
    assert names(num_labels=3) == names(_num_labels=3) == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert names(id2label={"1": "b", "0": "a", **{str(n): str(n) for n in range(2, 11)}})[:3] == ["a", "b", "2"]
    for broken in (["a"], {"a": "b"}, {"1": "a"}, "x", 3):
        with pytest.raises(ModelError, match=r"config\.json: id2label cannot be read"):
            names(id2label=broken)


def test_a_name_that_stands_twice_is_no_name_of_a_label():
    assert outputs_of_labels(["a", "a"], ["a", "b"]) is None
    assert outputs_of_labels(["b", "a"], ["a", "b"]) == [1, 0]
