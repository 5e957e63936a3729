"""Downloads a model's files from the hub, once, and fails soon where there is no network."""

from __future__ import annotations

from pathlib import Path

from models.encoders import weight_files
from models.errors import ModelError

# The files in a repository, besides the weights, that transformers with PyTorch needs.
SMALL_FILES = ("*.json", "*.txt", "*.model")
TOKENIZER_FILES = "vocab.txt or *.model, tokenizer_config.json, and tokenizer.json where there is one"
ANSWER_WITHIN_SECONDS = 8


def download(name: str, with_weights: bool = True) -> Path:
    """The local folder of the model `name` on the hub, from the cache where the hub cannot be reached.

    with_weights: False where only configuration and tokenizer are wanted.
    Raises ModelError, which says what was tried and what to do.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    missing = f"{name!r} is neither a local folder ({Path(name).absolute()} does not exist)"
    if with_weights:
        remedy, what = "give the path of a folder with --model_name_or_path", name
    else:  # --model_name_or_path is given already: it is the model that lacks a tokenizer
        remedy = f"copy the tokenizer's files into the folder of the model: {TOKENIZER_FILES}"
        what = f"{name} --exclude '*.safetensors' '*.bin' '*.h5'"
    try:
        # One request with a time limit: transformers would try six times for each file.
        files = [file.rfilename for file in HfApi().model_info(name, timeout=ANSWER_WITHIN_SECONDS).siblings]
        return Path(snapshot_download(name, allow_patterns=files_to_fetch(files, with_weights)))
    except HFValidationError:
        raise ModelError(f"{missing} nor a valid hub id (owner/name): {remedy}") from None
    except RepositoryNotFoundError:
        raise ModelError(f"{missing} nor a model on the hub, or it needs a login: {remedy}") from None
    except Exception as error:  # networks fail in many ways, and the hub has errors of its own
        if folder := _cached(name, with_weights):
            return folder
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise ModelError(
            f"{missing} nor reachable on the hub ({reason}), and not in the cache: connect to the network, or "
            f"fetch it elsewhere with `hf download {what} --local-dir DIR` and {remedy}"
        ) from None


def _cached(name: str, with_weights: bool) -> Path | None:
    """The folder of a model that was downloaded before, if it is complete.

    The cache knows all files of the repository and calls a folder without its README incomplete. So this asks only for
    the files that `files_to_fetch` names.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        wanted = [*SMALL_FILES, *(["model*.safetensors"] if with_weights else [])]
        folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=wanted))
    except LocalEntryNotFoundError:
        return None
    return folder if weight_files(folder) or not with_weights else None


def files_to_fetch(files: list[str], with_weights: bool = True) -> list[str]:
    """Patterns for configuration and tokenizer, and the weights in one format: safetensors if there are any."""
    if not with_weights:
        return [*SMALL_FILES]
    weights = [file for file in files if file.endswith(".safetensors") and "/" not in file]
    weights = weights or [file for file in files if file.startswith("pytorch_model") and file.endswith(".bin")]
    return [*SMALL_FILES, *weights]
