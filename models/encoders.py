"""Encoders: `MODELS`, by the names that `--model_type` takes, and `ARCHITECTURES`, by transformers' `model_type`.

A model that is in neither table works too: transformers' Auto classes build it from a hub id or a local folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import ModelError
from storage.names import on_disk
from storage.spelling import did_you_mean


@dataclass(frozen=True)
class Architecture:
    """What this suite has to know about an architecture beyond what transformers does for it.

    layers: attribute of the base model that holds its stack of layers, for architectures that can run without padding
        (`models/unpadding.py`). This needs an attention that can be replaced, and positions that enter in the
        embeddings, before the layers. None: the encoder runs on padded rows.
    counts_positions_from_padding: RoBERTa's first position is pad_token_id + 1, so that the ones before are never used.
    sparse_attention: `models/bigbird.py` replaces its attention, which can be sparse or full.
    """

    layers: str | None = None
    counts_positions_from_padding: bool = False
    sparse_attention: bool = False


ARCHITECTURES: dict[str, Architecture] = {
    "bert": Architecture("encoder"),
    "electra": Architecture("encoder"),
    "roberta": Architecture("encoder", counts_positions_from_padding=True),
    "xlm-roberta": Architecture("encoder", counts_positions_from_padding=True),
    "camembert": Architecture(counts_positions_from_padding=True),
    "distilbert": Architecture("transformer"),
    "big_bird": Architecture(sparse_attention=True),
}


@dataclass(frozen=True)
class KnownModel:
    """The facts about one model.

    hub_id: the hub repository with its weights. HanBERT and KoSplinter are not on the hub; theirs is the name of the
        folder that their authors distribute.
    source: its authors' page.
    architecture: transformers' name for it, as in `ARCHITECTURES`.
    tokenizer: auto: `AutoTokenizer` builds it from the folder. kobert, hanbert: `models/kobert.py` and
        `models/hanbert.py` do.
    """

    hub_id: str
    source: str
    architecture: str
    tokenizer: Literal["auto", "kobert", "hanbert"] = "auto"


_KOELECTRA = "https://github.com/monologg/KoELECTRA"
_KLUE = "https://github.com/KLUE-benchmark/KLUE"

MODELS: dict[str, KnownModel] = {
    "kobert": KnownModel("monologg/kobert", "https://github.com/SKTBrain/KoBERT", "bert", "kobert"),
    "distilkobert": KnownModel(
        "monologg/distilkobert", "https://github.com/monologg/DistilKoBERT", "distilbert", "kobert"
    ),
    "hanbert": KnownModel("HanBert-54kN-torch", "https://github.com/monologg/HanBert-Transformers", "bert", "hanbert"),
    "koelectra-base": KnownModel("monologg/koelectra-base-discriminator", _KOELECTRA, "electra"),
    "koelectra-base-v2": KnownModel("monologg/koelectra-base-v2-discriminator", _KOELECTRA, "electra"),
    "koelectra-base-v3": KnownModel("monologg/koelectra-base-v3-discriminator", _KOELECTRA, "electra"),
    "koelectra-small": KnownModel("monologg/koelectra-small-discriminator", _KOELECTRA, "electra"),
    "koelectra-small-v2": KnownModel("monologg/koelectra-small-v2-discriminator", _KOELECTRA, "electra"),
    "koelectra-small-v3": KnownModel("monologg/koelectra-small-v3-discriminator", _KOELECTRA, "electra"),
    "xlm-roberta": KnownModel("xlm-roberta-base", "https://github.com/facebookresearch/XLM", "xlm-roberta"),
    "klue-bert-base": KnownModel("klue/bert-base", _KLUE, "bert"),
    "klue-roberta-base": KnownModel("klue/roberta-base", _KLUE, "roberta"),
    "klue-roberta-small": KnownModel("klue/roberta-small", _KLUE, "roberta"),
    "kosplinter": KnownModel("kosplinter", "https://github.com/YunSoungKim/KoSplinter", "bert"),
    "kobigbird-bert-base": KnownModel(
        "monologg/kobigbird-bert-base", "https://github.com/monologg/KoBigBird", "big_bird"
    ),
}


def read_config(folder: Path, **changes):
    """A model folder's configuration for transformers. changes: settings that are to be different.

    Raises ModelError where the folder asks for a program, and whatever transformers raises.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **changes)
    refuse_quantized_weights(getattr(config, "quantization_config", None))
    attention = config._attn_implementation
    if attention is not None and "/" in str(attention):  # transformers would fetch this repository, and load it
        raise ModelError(
            f"config.json asks for the program {attention} on the hub as its attention (attn_implementation), and a "
            "model folder is to run none: delete that line"
        )
    return config


def refuse_quantized_weights(settings: object) -> None:
    """Raises ModelError where a configuration has such settings (`quantization_config`)."""
    if settings is not None:
        raise ModelError(
            "config.json says that its weights are quantized (quantization_config), and only weights in fp32, fp16 or "
            "bf16 are taken: take the model that was quantized"
        )


def architecture_of(config) -> Architecture:
    """The architecture of a transformers configuration; one that is not in `ARCHITECTURES` has nothing special."""
    return ARCHITECTURES.get(config.model_type, Architecture())


def unknown_model(model_type: str) -> str | None:
    """The error text for a model_type that is not in `MODELS`; None for one that is."""
    if model_type in MODELS:
        return None
    # The name of an architecture, such as the bert of KoSplinter's scripts, is not a mistyped name of a model.
    hint = "" if model_type in ARCHITECTURES else did_you_mean(model_type, MODELS)
    return (
        f"unknown model_type {model_type!r}{hint}; known: {', '.join(MODELS)}; "
        "any other model: leave model_type out and give --model_name_or_path (hub id or folder)"
    )


def find_model(model_type: str | None, model_name_or_path: str | None, with_weights: bool = True) -> Path:
    """The local folder of a model. A model on the hub is downloaded first, into the usual Hugging Face cache.

    with_weights: False where only its tokenizer is wanted.
    Raises ModelError for an unknown type, and where neither a folder nor the hub has the model.
    """
    if model_type is not None and (problem := unknown_model(model_type)):
        raise ModelError(problem)
    name = model_name_or_path or MODELS[model_type].hub_id
    folder = on_disk(Path(name))
    if folder.is_file() and folder.suffix == ".pth":
        raise ModelError(
            f"{folder} is a file, and a model is a folder; if the Korean SpanBERT's scripts wrote it "
            "(save_pretrain.pth, save_best.pth), its network is not BERT's, so its weights cannot be taken over: "
            "pretrain again with pretrain_spanbert.py"
        )
    if folder.is_file():
        raise ModelError(f"{folder} is a file; a model is a folder with config.json, tokenizer and weights")
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            run = sorted(folder.glob("checkpoint-*/config.json"), key=lambda path: (len(path.parent.name), path))
            hint = f"; it holds checkpoints, which are: {run[-1].parent}" if run else ""
            raise ModelError(f"{folder}: the folder holds no config.json, so it is not a model folder{hint}")
        return folder
    from models.hub import download

    try:
        return download(name, with_weights)
    except ModelError as error:
        if model_name_or_path:
            raise
        raise ModelError(f"{error} (its authors' page: {MODELS[model_type].source})") from None


def weight_files(folder: Path) -> list[Path]:
    """The files in a model folder that hold weights in a format that transformers can read."""
    return [path for pattern in ("*.safetensors", "pytorch_model*.bin") for path in sorted(folder.glob(pattern))]


def longest_input(config) -> int | None:
    """The most tokens that a row may have: the model's number of positions; None where positions do not limit it."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or positions < 1:  # relative positions; XLNet says -1
        return None
    return positions - (config.pad_token_id + 1 if architecture_of(config).counts_positions_from_padding else 0)


def takes_token_types(config) -> bool:
    """Whether the model uses token types: DistilBERT has none, RoBERTa only type 0, whatever their tokenizers emit."""
    return getattr(config, "type_vocab_size", 0) > 1
