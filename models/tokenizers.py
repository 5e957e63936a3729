"""Builds the tokenizer in a model folder, in whichever form its files are."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from models.encoders import MODELS, find_model
from models.errors import ModelError, reason
from models.word_limit import restore_word_limit

# Files that hold a vocabulary, whichever tokenizer it is for.
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab_54k.txt", "vocab.json", "*.model")
REMEDY = "; --model_type NAME, such as koelectra-base-v3, takes the tokenizer of that model"


def find_tokenizer(model_type: str | None, folder: Path) -> Path:
    """The folder with the tokenizer of a model: its own, or, where that has no vocabulary, the one of `model_type`.

    KoELECTRA's scripts left checkpoints without a tokenizer. Raises ModelError where `model_type` cannot be fetched.
    """
    if model_type is None or _has_vocabulary(folder):
        return folder
    try:
        return find_model(model_type, None, with_weights=False)
    except ModelError as error:
        raise ModelError(
            f"{folder} holds no tokenizer, and that of model_type {model_type} is needed: {error}"
        ) from None


def _has_vocabulary(folder: Path) -> bool:
    return any(path for pattern in VOCABULARIES for path in folder.glob(pattern))


def build_tokenizer(
    model_type: str | None, folder: Path, hanbert_library: str | Path | None = None, model_folder: Path | None = None
):
    """The tokenizer in a model folder. hanbert_library: folder with HanBERT's analyser, for HanBERT (`find_moran`).
    model_folder: the folder of the model that it is for, if not the same.

    Raises ModelError where the tokenizer's files are missing or do not fit the model, or where the folder asks for its
    own code to be run.
    """
    try:
        tokenizer = _from_files(model_type, folder, hanbert_library and Path(hanbert_library))
        _try_out(tokenizer)
    except Exception as error:  # a broken file raises whatever the library that reads it raises
        why = error if isinstance(error, ModelError) else reason(error, folder)
        hint = "" if model_type or _has_vocabulary(folder) else REMEDY
        raise ModelError(f"no tokenizer in {folder}: {why}{hint}") from error
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer in {folder} has no padding token")
    _refuse_ids_without_embedding(tokenizer, folder, model_folder or folder)
    restore_word_limit(tokenizer)
    return keep_hangul_whole(tokenizer)


def _from_files(model_type: str | None, folder: Path, hanbert_library: Path | None):
    """The tokenizer. Raises ModelError, and whatever the libraries raise that read its files."""
    from transformers import AutoTokenizer, BertTokenizer

    kind = MODELS[model_type].tokenizer if model_type else "auto"
    if model_type is None and (folder / "vocab_54k.txt").is_file():  # HanBERT's, which no Auto class knows
        kind = "hanbert"
    if kind == "hanbert":
        from models.hanbert import build_hanbert_tokenizer

        return build_hanbert_tokenizer(folder, hanbert_library)
    saved_here = kind == "kobert" and (folder / "tokenizer.json").is_file()
    if kind == "kobert" and not saved_here:
        from models.kobert import build_kobert_tokenizer

        return build_kobert_tokenizer(folder)
    # AutoTokenizer learns the kind of tokenizer from a JSON file; a vocab.txt without one can only be BERT's.
    beside = itertools.chain(folder.glob("*.json"), folder.glob("*.model"))
    if (folder / "vocab.txt").is_file() and not any(beside):
        return BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=False)
    # `do_lower_case` defaults to True for a bare vocab.txt, and would split Hangul into jamo.
    lower = {} if (folder / "tokenizer_config.json").is_file() else {"do_lower_case": False}
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **lower)


def _try_out(tokenizer) -> None:
    """Tokenizes a few texts: transformers builds a tokenizer from a damaged tokenizer_config.json all the same.

    Raises ModelError, and whatever the libraries raise.
    """
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers builds this from a folder without a vocabulary
        raise ModelError("there is no vocabulary (tokenizer.json, vocab.txt or the like)")
    if not isinstance(tokenizer.model_max_length, int | float):
        raise ModelError(f"model_max_length in tokenizer_config.json is no number: {tokenizer.model_max_length!r:.100}")
    templates = getattr(tokenizer, "chat_template", None)
    if isinstance(templates, dict) and not all(isinstance(text, str) for text in templates.values()):
        raise ModelError("chat_template in tokenizer_config.json is no text")  # the first checkpoint could not be saved
    backend = getattr(tokenizer, "backend_tokenizer", None)
    saved = backend and (backend.truncation, backend.padding)
    tokenizer("한국어 ꙮ", "한국", verbose=False)
    tokenizer(["한국어", ""], add_special_tokens=False, verbose=False)
    if saved and saved[0]:  # calling the tokenizer turned both off, and they are among what it saves
        backend.enable_truncation(**saved[0])
    if saved and saved[1]:
        backend.enable_padding(**saved[1])


def _refuse_ids_without_embedding(tokenizer, folder: Path, model_folder: Path) -> None:
    """Raises ModelError for ids beyond the model's vocabulary: some batch would crash, on a GPU without a reason."""
    try:
        size = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    except (OSError, ValueError, KeyError, TypeError):  # not a model folder, or building the model will say so
        return
    if not isinstance(size, int):
        return
    used = {getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep", "unk")}
    unused = set(tokenizer.added_tokens_decoder) - used  # for example a [MASK] that was added later
    beyond = {id: token for token, id in tokenizer.get_vocab().items() if id >= size and id not in unused}
    if beyond:
        first = min(beyond)
        where = "config.json" if model_folder == folder else f"{model_folder}/config.json"
        raise ModelError(
            f"the tokenizer in {folder} is another model's: {where} has {size} tokens (vocab_size), and "
            f"{beyond[first]!r} has the id {first}"
        )


def keep_hangul_whole(tokenizer):
    """Turns off accent stripping where it would split Hangul into jamo, in place; returns the tokenizer.

    Lower-casing alone does not change Hangul, but BERT's normalizer then strips accents too, by way of NFD.
    Raises ModelError where another normalizer changes Hangul.
    """
    from tokenizers import normalizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.normalizer is None or "한국" == backend.normalizer.normalize_str("한국"):
        return tokenizer
    settings = json.loads(backend.to_str())["normalizer"]
    if settings.get("type") != "BertNormalizer":
        raise ModelError("the tokenizer's normalizer changes Hangul syllables; its vocabulary cannot be Korean")
    del settings["type"]
    backend.normalizer = normalizers.BertNormalizer(**{**settings, "strip_accents": False})
    if hasattr(tokenizer, "strip_accents"):  # a BertTokenizer saves this, and builds its normalizer from it when loaded
        tokenizer.strip_accents = False
    return tokenizer
