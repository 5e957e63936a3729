"""The three formats of Splinter's checkpoints: how each names the weights, and how a folder in any of them is read."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import BertConfig

from models.encoders import refuse_quantized_weights
from models.errors import ModelError, NotBertError, one_line

# How the keys of encoder and head begin. The rest of a key is the same in all formats, except for the bilinear
# matrices: the original keeps them as parameters W in `x @ W`; the others have linear layers, which hold W transposed.
# The original calls a head that was initialized for fine-tuning "new", and reads it in place of the pretrained one.
PREFIXES = {
    "ours": ("bert.", "qass."),
    "transformers": ("splinter.", "splinter_qass."),
    "original": ("bert.", "cls.span_predictions."),
    "original, new": ("bert.", "new_cls.span_predictions."),
}
MATRICES = ("start_classifier", "end_classifier")
# Keys in BERT checkpoints that Splinter does not use: pooler, position numbers, heads for other objectives.
NOT_SPLINTERS = re.compile(r"bert\.(pooler\.|embeddings\.position_ids$)|cls\.(predictions|seq_relationship)\.|sbo\.")
MLM_HEAD = "cls.predictions."  # how the keys of BERT's masked language model head begin, in all formats
KEYS_SHOWN = 8


def read_config(folder: Path) -> BertConfig:
    """BERT's configuration from a folder in any of the formats. Raises ModelError where it holds something else."""
    try:
        saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = saved.get("model_type", "bert")  # Google's own files lack the key
        if kind not in ("bert", "splinter"):
            raise NotBertError(f"no Splinter in {folder}: Splinter is made of BERT, and this is {kind}")
        refuse_quantized_weights(saved.get("quantization_config"))
        own = ("model_type", "architectures", "torch_dtype", "dtype")
        return BertConfig.from_dict({name: value for name, value in saved.items() if name not in own})
    except NotBertError:
        raise
    except Exception as error:  # OSError, and whatever json and transformers raise about the content
        raise ModelError(f"no Splinter in {folder}: {one_line(error)}") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors in a folder, by their names in its files. Raises ModelError where there are none that can be read."""
    from safetensors.torch import load_file

    for whole, parts in (("model.safetensors", "model-*.safetensors"), ("pytorch_model.bin", "pytorch_model-*.bin")):
        files = [folder / whole] if (folder / whole).is_file() else sorted(folder.glob(parts))
        weights: dict[str, Tensor] = {}
        for file in files:
            try:
                safe = file.suffix == ".safetensors"
                weights |= load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
            except Exception as error:  # OSError, and the many errors of damaged archives
                raise ModelError(f"{file} cannot be read: {one_line(error)}") from error
        if weights:
            return weights
    raise ModelError(f"no Splinter in {folder}: there are no weights (model.safetensors, pytorch_model.bin)")


def recognized(weights: Mapping[str, Tensor], folder: Path) -> tuple[dict[str, Tensor], str]:
    """The weights under our keys, and the format in `PREFIXES` that they came in. Unknown weights keep their keys.

    Raises ModelError where the weights hold more than one head.
    """
    # Old checkpoints, converted from TensorFlow, call a LayerNorm's weight and bias gamma and beta.
    weights = {re.sub("gamma$", "weight", re.sub("beta$", "bias", key)): value for key, value in weights.items()}
    if "embeddings.word_embeddings.weight" in weights:  # an encoder saved without a head
        weights = {f"bert.{key}": value for key, value in weights.items()}
    heads = [name for name, (_, head) in PREFIXES.items() if any(key.startswith(head) for key in weights)]
    if len(heads) > 1:
        prefixes = " and ".join(PREFIXES[name][1] for name in heads)
        raise ModelError(f"the weights in {folder} hold more than one span selection head: {prefixes}")
    is_theirs = any(key.startswith(PREFIXES["transformers"][0]) for key in weights)
    found = heads[0] if heads else "transformers" if is_theirs else "ours"
    encoder, head = PREFIXES[found]
    ours: dict[str, Tensor] = {}
    for key, value in weights.items():
        if key.startswith(head):
            key = f"qass.{key.removeprefix(head)}"
            if is_bare_matrix(key, found):
                key, value = f"{key}.weight", value.T
        elif key.startswith(encoder):
            key = f"bert.{key.removeprefix(encoder)}"
        ours[key] = value
    return ours, found


def is_bare_matrix(key: str, prefixes: str) -> bool:
    """Whether the format keeps this weight as a parameter `W`, transposed against a linear layer's weight."""
    return prefixes.startswith("original") and key.rpartition(".")[2] in MATRICES


def name_in(prefixes: str, key: str) -> str:
    """The name that one of our keys has in a format."""
    encoder, head = PREFIXES[prefixes]
    if key.startswith("bert."):
        return encoder + key.removeprefix("bert.")
    if not key.startswith("qass."):
        return key
    bare = key.removesuffix(".weight")
    return head + (bare if is_bare_matrix(bare, prefixes) else key).removeprefix("qass.")


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], prefixes: str, with_head: bool, folder: Path) -> None:
    """Loads the weights of encoder and, `with_head`, span selection.

    Raises ModelError, with the folder's own keys, where any are missing or unknown.
    """
    left_out = (MLM_HEAD,) if with_head else (MLM_HEAD, "qass.")
    wanted = {key: value for key, value in model.state_dict().items() if not key.startswith(left_out)}
    given = {key: value for key, value in weights.items() if not (key.startswith(left_out) or NOT_SPLINTERS.match(key))}
    name_of = functools.partial(name_in, prefixes)
    problems = {
        "missing": [name_of(key) for key in wanted if key not in given],
        "unknown": [name_of(key) for key in given if key not in wanted],
        "of another size": [
            f"{name_of(key)} ({list(given[key].shape)}, not {list(value.shape)})"
            for key, value in wanted.items()
            if key in given and given[key].shape != value.shape
        ],
    }
    if any(problems.values()):
        problem = "; ".join(f"{what}: {_first(found)}" for what, found in problems.items() if found)
        raise ModelError(f"the weights in {folder} are not those of a Splinter of its config.json's sizes: {problem}")
    model.load_state_dict(given, strict=False)


def load_mlm_head(head: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Loads transform and bias of BERT's MLM head where the weights have them in its sizes; else it stays fresh.

    The head's matrix is that of the embeddings, which are loaded already.
    """
    own = {key: value for key, value in head.state_dict().items() if not key.startswith("decoder.")}
    given = {key: weights[MLM_HEAD + key] for key in own if MLM_HEAD + key in weights}
    if given.keys() == own.keys() and all(given[key].shape == value.shape for key, value in own.items()):
        head.load_state_dict(given, strict=False)


def load_transform(transforms: Iterable[nn.Module], weights: Mapping[str, Tensor], folder: Path) -> None:
    """Loads the transform of BERT's MLM head, a dense layer and a LayerNorm, into each of `transforms`.

    Raises ModelError where the weights do not have it in their sizes.
    """
    prefix = f"{MLM_HEAD}transform."
    for transform in transforms:
        given = {key: weights.get(prefix + key) for key in transform.state_dict()}
        if any(value is None or value.shape != transform.state_dict()[key].shape for key, value in given.items()):
            raise ModelError(
                f"{folder} holds no transform of an MLM head ({prefix}*) that qass_from_mlm could begin with"
            )
        transform.load_state_dict(given)


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - KEYS_SHOWN} more" if len(keys) > KEYS_SHOWN else ""
    return ", ".join(keys[:KEYS_SHOWN]) + more
