"""`MODELS`: every known model, by the name that `--model_type` takes, and what builds tokenizers and models.

Any other encoder is built through transformers' Auto classes from a hub id or a local folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


class ModelError(Exception):
    """A model or tokenizer that cannot be built: what, where it was looked for, and what to do."""


@dataclass(frozen=True)
class KnownModel:
    """The facts of one model.

    hub_id: where its weights are; for HanBERT and KoSplinter the name of the folder that its authors give out.
    tokenizer: auto: what the folder says, through `AutoTokenizer`; kobert, hanbert: `models/tokenizers.py`.
    source: its authors' page.
    """

    hub_id: str
    source: str
    tokenizer: Literal["auto", "kobert", "hanbert"] = "auto"


Attention = Literal["sparse", "full"]
Head = Literal["sequence", "token", "question answering"]
AUTO_CLASSES: dict[Head, str] = {
    "sequence": "AutoModelForSequenceClassification",
    "token": "AutoModelForTokenClassification",
    "question answering": "AutoModelForQuestionAnswering",
}

_KOELECTRA = "https://github.com/monologg/KoELECTRA"

MODELS: dict[str, KnownModel] = {
    "kobert": KnownModel("monologg/kobert", "https://github.com/SKTBrain/KoBERT", "kobert"),
    "distilkobert": KnownModel("monologg/distilkobert", "https://github.com/monologg/DistilKoBERT", "kobert"),
    "hanbert": KnownModel("HanBert-54kN-torch", "https://github.com/monologg/HanBert-Transformers", "hanbert"),
    "koelectra-base": KnownModel("monologg/koelectra-base-discriminator", _KOELECTRA),
    "koelectra-base-v2": KnownModel("monologg/koelectra-base-v2-discriminator", _KOELECTRA),
    "koelectra-base-v3": KnownModel("monologg/koelectra-base-v3-discriminator", _KOELECTRA),
    "koelectra-small": KnownModel("monologg/koelectra-small-discriminator", _KOELECTRA),
    "koelectra-small-v2": KnownModel("monologg/koelectra-small-v2-discriminator", _KOELECTRA),
    "koelectra-small-v3": KnownModel("monologg/koelectra-small-v3-discriminator", _KOELECTRA),
    "xlm-roberta": KnownModel("xlm-roberta-base", "https://github.com/facebookresearch/XLM"),
    "klue-roberta-base": KnownModel("klue/roberta-base", "https://github.com/KLUE-benchmark/KLUE"),
    "kosplinter": KnownModel("kosplinter", "https://github.com/YunSoungKim/KoSplinter"),
    "kobigbird-bert-base": KnownModel("monologg/kobigbird-bert-base", "https://github.com/monologg/KoBigBird"),
}


def unknown_model(model_type: str) -> str | None:
    """What to say of a type that is not in `MODELS`; None where it is."""
    from difflib import get_close_matches

    if model_type in MODELS:
        return None
    near = get_close_matches(model_type, MODELS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return (
        f"unknown model_type {model_type!r}{hint}; known: {', '.join(MODELS)}; "
        "any other model: leave model_type out and give --model_name_or_path (hub id or folder)"
    )


def find_model(model_type: str | None, model_name_or_path: str | None) -> Path:
    """The local folder of a model; one on the hub is downloaded first (to the usual Hugging Face cache).

    Raises ModelError for an unknown type, and where there is neither a folder nor a hub that has it.
    """
    if model_type is not None and (problem := unknown_model(model_type)):
        raise ModelError(problem)
    name = model_name_or_path or MODELS[model_type].hub_id
    folder = Path(name)
    if folder.is_file():
        raise ModelError(f"{folder} is a file; a model is a folder with config.json, tokenizer and weights")
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{folder}: the folder holds no config.json, so it is no model's")
        return folder
    from models.hub import download

    try:
        return download(name)
    except ModelError as error:
        if model_name_or_path:
            raise
        raise ModelError(f"{error} (its authors' page: {MODELS[model_type].source})") from None


def build_tokenizer(model_type: str | None, folder: Path):
    """The tokenizer of the model in `folder`. Raises ModelError where its files are missing or do not fit."""
    from transformers import AutoTokenizer

    kind = MODELS[model_type].tokenizer if model_type else "auto"
    if (folder / "vocab_54k.txt").is_file():  # HanBERT's, which no Auto class knows, by whatever name it was asked for
        kind = "hanbert"
    # The Auto class is told by a JSON file what a tokenizer is; a vocab.txt with nothing beside it can only be BERT's.
    beside = itertools.chain(folder.glob("*.json"), folder.glob("*.model"))
    if kind == "auto" and (folder / "vocab.txt").is_file() and not any(beside):
        kind = "bert"
    try:
        if kind == "bert":
            from transformers import BertTokenizer

            tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=False)
        elif kind == "auto" or (kind == "kobert" and (folder / "tokenizer.json").is_file()):  # saved by this suite
            # `do_lower_case` defaults to True on a bare vocab.txt, and would take Hangul apart into jamo.
            lower = {} if (folder / "tokenizer_config.json").is_file() else {"do_lower_case": False}
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **lower)
        elif kind == "kobert":
            from models.tokenizers import build_kobert_tokenizer

            tokenizer = build_kobert_tokenizer(folder)
        else:
            from models.tokenizers import HanBertTokenizer

            tokenizer = HanBertTokenizer.from_pretrained(folder)
    except Exception as error:  # a broken file raises whatever the library that reads it raises
        raise ModelError(f"no tokenizer in {folder}: {one_line(error)}") from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers makes of a folder without a vocabulary
        raise ModelError(f"no tokenizer in {folder}: there is no vocabulary (tokenizer.json, vocab.txt or the like)")
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer in {folder} has no padding token")
    _refuse_ids_without_embedding(tokenizer, folder)
    return keep_hangul_whole(tokenizer)


def _refuse_ids_without_embedding(tokenizer, folder: Path) -> None:
    """A vocabulary larger than the model's would end in an IndexError, or in a crash of the GPU, in some batch."""
    import json

    try:
        size = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    except (OSError, ValueError, KeyError, TypeError):  # no model's folder, or one that says so when the model is built
        return
    if not isinstance(size, int):
        return
    used = {getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep", "unk")}
    unused = set(tokenizer.added_tokens_decoder) - used  # such as a [MASK] that was added later on
    beyond = {id: token for token, id in tokenizer.get_vocab().items() if id >= size and id not in unused}
    if beyond:
        first = min(beyond)
        raise ModelError(
            f"the tokenizer in {folder} is another model's: config.json has {size} tokens (vocab_size), and "
            f"{beyond[first]!r} has the id {first}"
        )


def keep_hangul_whole(tokenizer):
    """Turns off accent stripping where it would take Hangul apart into jamo; returns the tokenizer.

    Lower-casing alone leaves Hangul as it is, but in BERT's normalizer it brings accent stripping (NFD) with it.
    """
    import json

    from tokenizers import normalizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.normalizer is None or "한국" == backend.normalizer.normalize_str("한국"):
        return tokenizer
    settings = json.loads(backend.to_str())["normalizer"]
    if settings.get("type") != "BertNormalizer":
        raise ModelError("the tokenizer's normalizer changes Hangul syllables; its vocabulary cannot be Korean")
    del settings["type"]
    backend.normalizer = normalizers.BertNormalizer(**{**settings, "strip_accents": False})
    if hasattr(tokenizer, "strip_accents"):  # what a BertTokenizer saves, and builds its normalizer from when loaded
        tokenizer.strip_accents = False
    return tokenizer


def build_model(
    folder: Path,
    head: Head,
    labels: tuple[str, ...] = (),
    pooling: str = "cls",
    from_scratch: bool = False,
    fresh_head: bool = True,
    attention: Attention | None = None,
    linear_classifier: bool = False,
):
    """transformers' model of `folder` with that head, fresh unless the folder has one of that size.

    labels: one output each; none for a regression (one output) and for question answering (start and end). pooling: for
    sequences; cls is transformers' own head, mean and max replace it by `models/pooling.py`'s. from_scratch:
    architecture and tokenizer of the folder, with fresh weights. fresh_head: whether the head may be fresh; for
    evaluation it must be the trained one. linear_classifier: `models/pooling.py`'s head, for cls too, without dropout
    and bias. attention: of BigBird, by default as config.json has it; no other model has a
    choice.
    Raises ModelError where the folder has no weights, or weights of something else.
    """
    import torch
    import transformers

    from models.fast_dropout import quicken
    from models.pooling import PooledClassifier

    names = ("start", "end") if head == "question answering" else labels or ("score",)
    problem = {} if head != "sequence" else {"problem_type": "single_label_classification" if labels else "regression"}
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder,
            local_files_only=True,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={label: i for i, label in enumerate(names)},
            **problem,
        )
        config.dtype = torch.float32  # of the weights that are trained, whatever they were saved in
        if from_scratch:
            config.pretraining = None  # what `training/pretraining.py` says of the weights that are left behind
        if config.model_type == "big_bird":
            attention = attention or ("full" if config.attention_type == "original_full" else "sparse")
            config.attention_type = "original_full"  # what models/bigbird.py is put under
        trained_head = getattr(config, "pooling", "cls"), getattr(config, "linear_classifier", False)
        if head == "sequence":
            config.pooling, config.linear_classifier = pooling, linear_classifier
        own_head = pooling == "cls" and not linear_classifier
        builder = getattr(transformers, AUTO_CLASSES[head]) if own_head else PooledClassifier
        if from_scratch:
            model = builder.from_config(config) if own_head else PooledClassifier(config)
        else:
            model, loading = builder.from_pretrained(
                folder, config=config, local_files_only=True, ignore_mismatched_sizes=True, output_loading_info=True
            )
    except Exception as error:  # a broken file raises whatever the library that reads it raises
        hint = ""
        if not from_scratch and not weight_files(folder):
            hint = " (the folder holds no weights; --from_scratch starts from fresh ones)"
        raise ModelError(f"no model in {folder}{hint}: {one_line(error)}") from error
    if not from_scratch:
        unread = refuse_a_random_encoder(model, folder, loading)
        if not fresh_head and (unread or trained_head != (pooling, linear_classifier)):
            linear = " and linear_classifier" if linear_classifier else ""
            raise ModelError(f"{folder} holds no trained head for {len(names)} outputs with pooling {pooling}{linear}")
    return _with_attention(quicken(model), folder, attention)


def _with_attention(model, folder: Path, attention: Attention | None):
    """transformers' own sparse attention turns itself to full for good at the first short batch, and takes other blocks
    in evaluation than in training.
    """
    if model.config.model_type != "big_bird":
        if attention is not None:
            raise ModelError(f"attention {attention}: only BigBird has that choice, and {folder} holds another model")
        return model
    from models.bigbird import put_attention

    return put_attention(model, attention)


def refuse_a_random_encoder(model, folder: Path, loading: Mapping[str, Iterable]) -> list[str]:
    """A fresh head is what fine-tuning is about; a fresh encoder means that the weights are another model's.

    loading: what `from_pretrained` says of it. Returns the keys that are fresh. Raises ModelError.
    """
    mismatched = [key for key, *_ in loading["mismatched_keys"]]  # key, shape in the file, shape in the model
    unread_keys = [*loading["missing_keys"], *mismatched]
    encoder = f"{model.base_model_prefix}."
    fresh = sorted(k for k in unread_keys if k.startswith(encoder) and not k.startswith(f"{encoder}pooler."))
    if fresh:
        raise ModelError(
            f"the weights in {folder} do not fit its config.json: {len(fresh)} tensors of the encoder are not there, "
            f"or of another size, first {fresh[0]}"
        )
    return unread_keys


def weight_files(folder: Path) -> list[Path]:
    """The files of a model folder that hold weights in a format that transformers reads."""
    return [path for pattern in ("*.safetensors", "pytorch_model*.bin") for path in sorted(folder.glob(pattern))]


def longest_input(config) -> int | None:
    """How many tokens a row may have: the number of positions of the model; None where it has no such limit."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or positions < 1:  # relative positions; XLNet says -1
        return None
    # RoBERTa counts positions from padding_idx + 1, so that two of its rows are never used.
    reserved = config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
    return positions - reserved


def takes_token_types(config) -> bool:
    """Whether token types reach the model: DistilBERT has none, RoBERTa only type 0, whatever their tokenizers emit."""
    return getattr(config, "type_vocab_size", 0) > 1


def one_line(error: Exception) -> str:
    words = str(error).split()
    return " ".join(words if len(words) > 1 else [f"{type(error).__name__}:", *words])[:300]
