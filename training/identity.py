"""What must be the same when a run is resumed: settings, labels and rows, and in which words a difference is told.

The rows of a split are known by their content (`rows_content`): hashes of their texts and of their labels, and how many
there are. Checkpoints of earlier versions have the two hashes in one text, and no labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.config import UsageError

LABELS = "labels"  # the key of the task's labels, in the order of their ids
LENGTHS = {"num_train_epochs", "max_steps", "min_steps"}  # the settings that say how long a run is
ROWS = " rows"  # the end of the keys whose values are contents of rows


def rows_content(texts: str, labels: str, number: int) -> dict[str, Any]:
    """The content of rows. texts: a hash of what is tokenized, and how. labels: a hash of labels or answers."""
    return {"texts": texts, LABELS: labels, "number": number}


def refuse_another_run(saved: Mapping[str, Any], current: Mapping[str, Any], checkpoint: Path) -> None:
    """Raises UsageError where a checkpoint belongs to a run with other settings, labels or rows."""
    if found := differences(saved, current):
        told = f"{checkpoint} belongs to another run: {', '.join(found)}; resuming needs the same"
        raise UsageError(told + way_to_another_length(saved, current, checkpoint))


def way_to_another_length(saved: Mapping[str, Any], current: Mapping[str, Any], checkpoint: Path) -> str:
    """How to train longer, for the end of a message, where two runs differ in nothing but their length; else ""."""
    changed = {key for key in {**saved, **current} if saved.get(key) != current.get(key)}
    if not changed or not changed <= LENGTHS:
        return ""
    epochs = (current.get("num_train_epochs") or 0) - (saved.get("num_train_epochs") or 0)
    # Splinter's script has two flags for the epochs, one for samples and one for all questions.
    names_flag = changed == {"num_train_epochs"} and epochs > 0 and "head" not in saved
    more = f"--num_train_epochs {epochs:g}" if names_flag else "the length you want"
    words = ["--model_name_or_path", str(checkpoint), *_keeping_the_weights(saved), "--output_dir", "NAME"]
    return (
        ". A run's learning rate is planned to its end, so it cannot be made longer: without --resume, "
        f"{' '.join(words)} with {more} trains its weights further, in a run of its own, and --overwrite_output_dir "
        "trains from the beginning"
    )


def _keeping_the_weights(saved: Mapping[str, Any]) -> list[str]:
    """The flags without which a run with these settings would not begin with a checkpoint's weights, or its head's."""
    words = ["--from_scratch", "false"] if saved.get("from_scratch") else []
    if saved.get("head") == "qass" and saved.get("initialize_new_qass"):
        words += ["--initialize_new_qass", "false"]
    return words


def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """In which way two runs differ, each difference in words."""
    found = []
    has_other_labels = LABELS in saved and saved[LABELS] != current.get(LABELS)
    for key in {**saved, **current}:
        was, now = saved.get(key), current.get(key)
        if key == LABELS:
            found += [_of_labels(was, now)] if has_other_labels else []
        elif key.endswith(ROWS):
            found += _of_rows(key, was, now, has_other_labels)
        elif was != now:
            found.append(f"{key} was {was!r}, is now {now!r}")
    return found


def _of_labels(was: list[str], now: list[str]) -> str:
    before, after = ", ".join(was), ", ".join(now)
    if sorted(was) == sorted(now):
        return f"the order of the labels was {before}, is now {after}"
    return f"the labels were {before}, are now {after}"


def _of_rows(key: str, was: Any, now: Any, has_other_labels: bool) -> list[str]:
    """Differences between the rows of one split. has_other_labels: the task has, which is told already."""
    if was == now:
        return []
    if was is None:
        return [f"{key} were not evaluated, and are now"]
    if now is None:
        return [f"{key} were evaluated, and are not now"]
    was, now = _parts(was), _parts(now)
    changed = {part for part in was.keys() & now.keys() if was[part] != now[part]}
    if "number" in changed:
        return [f"there were {was['number']} {key}, are now {now['number']}"]
    found = [f"the texts of the {key}, or how they are tokenized, have changed"] if "texts" in changed else []
    if LABELS in changed and not has_other_labels:
        found.append(f"the labels of the {key} have changed")
    return found


def _parts(content: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(content, str):
        return content
    texts, _, labels = content.rpartition(" ")
    return {"texts": texts, LABELS: labels} if texts else {"texts": content}
