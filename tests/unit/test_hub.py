"""Where a model is looked for: a folder, the hub (here a small server), the cache; and that nothing waits long."""

import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel

from hub_server import COMMIT, Hub, make_it_the_hub
from models import MODELS, ModelError, find_model, find_tokenizer, hub
from models.encoders import ARCHITECTURES
from models.hub import files_to_fetch

REPOSITORY = "someone/some-model"
FILES = {
    "config.json": "{}",
    "vocab.txt": "[PAD]\n",
    "model.safetensors": "weights",
    "pytorch_model.bin": "the same weights",
    "tf_model.h5": "the same weights",
    "README.md": "words",
}
WANTED = {"config.json", "vocab.txt", "model.safetensors"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch):
    (tmp_path / "files").mkdir()
    for name, text in FILES.items():
        (tmp_path / "files" / name).write_text(text)
    server = Hub("models", REPOSITORY, tmp_path / "files")
    make_it_the_hub(server.url, tmp_path / "cache", monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield server
    server.close()


def error_of(model_type: str | None, name: str | None) -> str:
    with pytest.raises(ModelError) as error:
        find_model(model_type, name)
    assert "\n" not in str(error.value)
    return str(error.value)


# --------------------------------------------------------------------------------------------------------------------
# Known models and folders
# --------------------------------------------------------------------------------------------------------------------


def test_the_published_models_are_known():
    koelectra = [f"koelectra-{size}{version}" for version in ("", "-v2", "-v3") for size in ("base", "small")]
    others = [
        "kobert",
        "distilkobert",
        "hanbert",
        "xlm-roberta",
        "klue-roberta-base",
        "kobigbird-bert-base",
        "kosplinter",
    ]
    assert MODELS.keys() >= {*koelectra, *others}
    tokenizers = {name: MODELS[name].tokenizer for name in (*koelectra, *others) if MODELS[name].tokenizer != "auto"}
    assert tokenizers == {"kobert": "kobert", "distilkobert": "kobert", "hanbert": "hanbert"}


@pytest.mark.parametrize("name", MODELS)
def test_every_known_model_has_an_architecture_of_transformers_and_a_page(name: str):
    assert MODELS[name].architecture in CONFIG_MAPPING
    assert MODELS[name].source.startswith("https://") and MODELS[name].hub_id


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_architecture_is_one_of_transformers_and_has_its_layers_where_the_table_says(model_type: str):
    sizes = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model(model_type, **sizes, intermediate_size=8, max_position_embeddings=8)
    layers = ARCHITECTURES[model_type].layers
    assert layers is None or isinstance(getattr(AutoModel.from_config(config), layers), torch.nn.Module)


def test_a_folder_is_taken_as_it_is(tmp_path: Path, server: Hub):
    folder = tmp_path / "someone" / "some-model"
    folder.mkdir(parents=True)
    assert error_of(None, REPOSITORY) == f"{REPOSITORY}: the folder holds no config.json, so it is not a model folder"
    (folder / "config.json").write_text("{}")
    assert find_model(None, REPOSITORY) == Path(REPOSITORY)  # also where the hub has that name
    assert find_model("kobert", str(folder)) == folder  # the type then says which tokenizer
    assert error_of(None, str(folder / "config.json")).startswith(f"{folder / 'config.json'} is a file; a model is a")
    assert server.asked == []


@pytest.mark.parametrize(
    "name, near",
    [
        ("koelectra-base-v4", "'koelectra-base-v3'"),
        ("klue-roberta", "'klue-roberta-base'"),
        ("gpt", None),
        ("bert", None),  # KoSplinter's; kobert is a different model
    ],
)
def test_unknown_types(name: str, near: str | None):
    hint = f"; did you mean {near}?" if near else ""
    message = error_of(name, None)
    assert message.startswith(f"unknown model_type {name!r}{hint}; known: {', '.join(MODELS)}; ")
    assert "--model_name_or_path" in message


@pytest.mark.parametrize("name", ["/no/such/folder", "./folder", "a/b/c", "하나/둘", "two words"])
def test_names_that_can_only_be_folders(name: str, server: Hub):
    absolute = Path(name).absolute()
    assert error_of(None, name) == (
        f"{name!r} is neither a local folder ({absolute} does not exist) nor a valid hub id (owner/name): "
        "give the path of a folder with --model_name_or_path"
    )
    assert server.asked == []


# --------------------------------------------------------------------------------------------------------------------
# The hub
# --------------------------------------------------------------------------------------------------------------------


def test_a_model_is_fetched_once_and_found_without_network_later(server: Hub, monkeypatch):
    folder = find_model(None, REPOSITORY)
    assert {path.name for path in folder.iterdir()} == WANTED
    assert (folder / "model.safetensors").read_text() == "weights"
    assert not any("tf_model" in path or "README" in path for path in server.asked)
    monkeypatch.setattr(hub, "ANSWER_WITHIN_SECONDS", 0.5)
    for trouble in ("hang", 500, 503, 429):
        server.answer = trouble
        server.asked.clear()
        assert find_model(None, REPOSITORY) == folder
        assert server.questions == 1 and not server.waited_out  # asked again, a hub in trouble is waited for again
    server.close()
    assert find_model(None, REPOSITORY) == folder
    (folder / "model.safetensors").unlink()  # a download that broke off
    assert "and not in the cache" in error_of(None, REPOSITORY)


def test_offline_by_setting(server: Hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "and not in the cache: connect to the network, or fetch it elsewhere" in error_of(None, REPOSITORY)
    assert server.asked == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    folder = find_model(None, REPOSITORY)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_model(None, REPOSITORY) == folder


@pytest.mark.parametrize("answer", ["hang", 500, 503])
def test_a_hub_out_of_reach(answer: int | str, server: Hub, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(hub, "ANSWER_WITHIN_SECONDS", 0.5)
    server.answer = answer
    message = error_of(None, REPOSITORY)
    assert server.questions == 1 and not server.waited_out
    assert message.startswith(
        f"{REPOSITORY!r} is neither a local folder ({tmp_path / REPOSITORY} does not exist) nor reachable on the hub ("
    )
    assert message.endswith(
        "and not in the cache: connect to the network, or fetch it elsewhere with "
        f"`hf download {REPOSITORY} --local-dir DIR` and give the path of a folder with --model_name_or_path"
    )


def test_a_checkpoint_without_a_tokenizer_while_the_hub_is_out_of_reach(server: Hub, tmp_path: Path):
    """Another --model_name_or_path would help nobody: that model is here, and lacks only its tokenizer."""
    server.answer = 500
    (tmp_path / "mine").mkdir()
    with pytest.raises(ModelError) as caught:
        find_tokenizer("koelectra-base-v3", tmp_path / "mine")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'mine'} holds no tokenizer, and that of model_type koelectra-base-v3 is ne")
    assert "`hf download monologg/koelectra-base-v3-discriminator --exclude '*.safetensors' '*.bin'" in message
    assert (
        "and copy the tokenizer's files into the folder of the model: vocab.txt or *.model, tokenizer_config.json, and "
        "tokenizer.json where there is one" in message
    )
    assert "--model_name_or_path" not in message and "\n" not in message


@pytest.mark.parametrize("answer", [404, 401])
def test_a_model_that_the_hub_does_not_have(answer: int, server: Hub, tmp_path: Path):
    server.answer = answer
    assert error_of(None, REPOSITORY) == (
        f"{REPOSITORY!r} is neither a local folder ({tmp_path / REPOSITORY} does not exist) nor a model on the hub, "
        "or it needs a login: give the path of a folder with --model_name_or_path"
    )
    # HanBERT is on no hub: its authors' page says where.
    assert error_of("hanbert", None).endswith("(its authors' page: https://github.com/monologg/HanBert-Transformers)")


def test_a_download_that_breaks_off(server: Hub, monkeypatch):
    def breaks_off(*arguments, **options):
        if options.get("local_files_only"):
            return whole(*arguments, **options)
        raise ConnectionResetError("reset by peer")

    whole = huggingface_hub.snapshot_download
    monkeypatch.setattr(huggingface_hub, "snapshot_download", breaks_off)
    assert "nor reachable on the hub (reset by peer), and not in the cache" in error_of(None, REPOSITORY)


def test_a_cache_filled_by_others(server: Hub, tmp_path: Path):
    """As transformers leaves it: snapshots, and no list of what the repository holds."""
    server.answer = 500
    cache = tmp_path / "cache" / "models--someone--some-model"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(COMMIT)
    folder = cache / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert "and not in the cache" in error_of(None, REPOSITORY)
    (folder / "pytorch_model.bin").touch()
    assert find_model(None, REPOSITORY) == folder
    shutil.rmtree(cache)


@pytest.mark.parametrize(
    "files, weights",
    [
        (["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"], ["model.safetensors"]),
        (["pytorch_model.bin", "flax_model.msgpack", "onnx/model.safetensors"], ["pytorch_model.bin"]),
        (
            ["model-1-of-2.safetensors", "model-2-of-2.safetensors", "x.bin"],
            ["model-1-of-2.safetensors", "model-2-of-2.safetensors"],
        ),
        (
            ["pytorch_model-1-of-2.bin", "pytorch_model-2-of-2.bin"],
            ["pytorch_model-1-of-2.bin", "pytorch_model-2-of-2.bin"],
        ),
        (["tf_model.h5", "training_args.bin"], []),
    ],
)
def test_weights_are_fetched_in_one_format(files: list[str], weights: list[str]):
    assert files_to_fetch(files) == ["*.json", "*.txt", "*.model", *weights]
