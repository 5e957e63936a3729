"""Which output of a trained head stands for which label of a task: labels go by their names in config.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from models.errors import ModelError


def names_of_outputs(folder: Path) -> list[str]:
    """What a model folder's config.json calls the outputs of its head, in their order.

    Where it has no names they are LABEL_0, LABEL_1 and so on, as in transformers.
    Raises ModelError where the names cannot be read.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        names = config.get("id2label")
        if names is None:
            return [f"LABEL_{number}" for number in range(config.get("num_labels") or config.get("_num_labels") or 2)]
        by_number = {int(number): str(name) for number, name in names.items()}
        return [by_number[number] for number in range(len(by_number))]
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        raise ModelError(
            f"{path}: id2label cannot be read: the numbers of the outputs, from 0 on, with their names are expected"
        ) from None


def has_names(names: Sequence[str]) -> bool:
    """Whether outputs have names, and not only their numbers: `LABEL_0`, `LABEL_1`, or `0`, `1`."""
    return any(name not in (f"LABEL_{number}", str(number)) for number, name in enumerate(names))


def outputs_of_labels(names: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """The number of the output that stands for each label; None where the names are those of other labels.

    Outputs without names are taken in their order.
    """
    if len(names) != len(labels):
        return None
    if set(names) == set(labels):
        return [names.index(label) for label in labels]
    return None if has_names(names) else list(range(len(labels)))


def about_labels(names: Sequence[str], labels: Sequence[str]) -> str | None:
    """What to tell a user about how outputs became labels; None where both have the same names in the same order."""
    if list(names) == list(labels):
        return None
    if set(names) == set(labels):
        return (
            f"labels go by their names: the model has them in the order {', '.join(names)}, the task in the order "
            f"{', '.join(labels)}"
        )
    return f"the model's outputs have no names ({', '.join(names)}): they are taken in the task's order, " + ", ".join(
        labels
    )


def refuse_other_labels(folder: Path, names: Sequence[str], labels: Sequence[str]) -> None:
    """Raises ModelError where the model was trained on other labels than the task's (none: a score)."""
    if not labels and len(names) > 1:
        raise ModelError(f"{folder} was trained to tell apart {', '.join(names)}, and the task asks for a score")
    if labels and outputs_of_labels(names, labels) is None:
        raise ModelError(
            f"{folder} was trained on labels that are not the task's: there {', '.join(names)}; here "
            f"{', '.join(labels)}{_remedy(folder, names, labels)}"
        )


def _remedy(folder: Path, names: Sequence[str], labels: Sequence[str]) -> str:
    if len(names) != len(labels):
        return ""
    return (
        f"; where they mean the same, rename them in id2label of {folder / 'config.json'}, each output with the task's "
        "name for it"
    )
