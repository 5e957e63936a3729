"""Data sets on the Hugging Face hub: their commits, the library's cache, and what to say where one is missing."""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processors.task import DataError

ANSWER_WITHIN_SECONDS = 8
COMMIT = re.compile(r"[0-9a-f]{40}")


def quiet_datasets() -> Any:
    """The library `datasets`, which takes a second to import, without its log and that of `huggingface_hub`."""
    import datasets
    import huggingface_hub

    for library in (datasets, huggingface_hub):
        library.logging.set_verbosity(library.logging.CRITICAL)
    return datasets


def reason(error: Exception) -> str:
    """What an error of a library says, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def in_words(name: str, configuration: str) -> str:
    """What messages call a data set: `owner/name:configuration`, or its name where no configuration is given."""
    return f"{name}:{configuration}" if configuration else name


@functools.cache
def from_hub(name: str, configuration: str, revision: str) -> tuple[Mapping[str, Any], str]:
    """The splits of a data set on the hub, and the commit that they are from.

    They are downloaded once, into the library's own cache (`$HF_HOME`), where they are found without network later on.
    No code of a data set is run. Raises DataError, which says what was asked of whom.
    """
    datasets = quiet_datasets()
    commit, why = _commit_of(name, revision)
    was_offline = datasets.config.HF_HUB_OFFLINE
    try:
        # Where the hub did not answer, the library need not ask again, many times and for minutes.
        datasets.config.HF_HUB_OFFLINE = was_offline or not commit
        _remove_half_made(Path(datasets.config.HF_DATASETS_CACHE), name)
        return _loaded(datasets, name, configuration, commit or revision)
    except DataError:
        raise
    except Exception as error:
        if not commit:
            raise DataError(
                f"the data set {in_words(name, configuration)} was asked of the hub ({_endpoint()}), which cannot be "
                f"reached ({why}), and is not in the cache ({datasets.config.HF_DATASETS_CACHE}): connect to the "
                f"network, or name a local folder, as {name} is none"
            ) from None
        raise DataError(_why_not(error, name, configuration)) from None
    finally:
        datasets.config.HF_HUB_OFFLINE = was_offline


def _loaded(datasets: Any, name: str, configuration: str, revision: str) -> tuple[Mapping[str, Any], str]:
    """The splits from the cache, or from the hub. revision: the commit; anything else where the hub does not answer."""
    builder = datasets.load_dataset_builder(name, configuration or None, revision=revision or None)
    used = str(builder.hash)
    if COMMIT.fullmatch(revision) and used != revision:
        raise DataError(
            f"the cache holds {in_words(name, configuration)} at {used}, and not at {revision}, and the hub does not "
            "answer"
        )
    files = [file for files in (builder.config.data_files or {}).values() for file in files]
    if partial := next((file for file in files if "/partial-" in file), None):
        raise DataError(f"{in_words(name, configuration)}: the hub has converted a part of it only ({partial})")
    builder.download_and_prepare()
    try:
        return builder.as_dataset(), used
    except Exception:  # a file in the cache is damaged: it is made again from what was downloaded
        builder.download_and_prepare(download_mode="reuse_cache_if_exists")
        return builder.as_dataset(), used


def _remove_half_made(cache: Path, name: str) -> None:
    """Removes what killed processes left half-made of an owner's data sets in the library's cache.

    Without network, the library would take it for whole, and fail.
    """
    from filelock import FileLock, Timeout

    for folder in cache.glob(f"{name.partition('/')[0]}___*/*/*/*.incomplete"):
        # The library holds this lock while it makes that folder.
        lock = FileLock(f"{folder.with_suffix('')}_builder.lock", timeout=0)
        with contextlib.suppress(Timeout, OSError), lock:
            shutil.rmtree(folder)


def _commit_of(name: str, revision: str) -> tuple[str, str]:
    """The commit that the revision is now; where the hub does not answer, "" and why.

    Raises DataError where the hub has no such data set or no such revision.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        # One request with a time limit, as for models.
        return HfApi().dataset_info(name, revision=revision or None, timeout=ANSWER_WITHIN_SECONDS).sha, ""
    except HFValidationError:
        raise DataError(f"{name!r} is neither a local folder nor a valid hub id (owner/name)") from None
    except RepositoryNotFoundError:
        raise DataError(
            f"{name!r} is neither a local folder nor a data set on the hub ({_endpoint()}), or it needs a login"
        ) from None
    except RevisionNotFoundError:
        raise DataError(f"the data set {name} on the hub has no revision {revision!r}") from None
    except Exception as error:  # networks fail in many ways, and the hub has errors of its own
        return "", reason(error)


def _why_not(error: Exception, name: str, configuration: str) -> str:
    """What to say of a data set that the hub has and that cannot be loaded."""
    if "scripts are no longer supported" in str(error):
        return (
            f"the data set {name} on the hub is a script, which is not run: {name}@refs/convert/parquet may be the "
            "hub's own conversion of it, or name a local folder"
        )
    return f"the data set {in_words(name, configuration)} of the hub cannot be read: {reason(error)}"


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT
