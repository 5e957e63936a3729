"""Trained heads: whether a folder has one for the task, and how its outputs are put into the order of the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from models.errors import ModelError
from models.labels import about_labels, names_of_outputs, outputs_of_labels, refuse_other_labels

Head = Literal["sequence", "token", "question answering"]
AUTO_CLASSES: dict[Head, str] = {
    "sequence": "AutoModelForSequenceClassification",
    "token": "AutoModelForTokenClassification",
    "question answering": "AutoModelForQuestionAnswering",
}


class Pooling(NamedTuple):
    """How the tokens of a row become one vector, and whether that is classified by one matrix alone."""

    pooling: str
    linear_classifier: bool

    def __str__(self) -> str:
        return f"pooling {self.pooling}{' and linear_classifier' * self.linear_classifier}"


@dataclass(frozen=True)
class SavedHead:
    """What the config.json in a folder says about its head.

    pooling: None where it does not say. model_class: the name of the class that was saved; "" where it does not say.
    """

    folder: Path
    pooling: Pooling | None
    model_class: str

    @classmethod
    def of(cls, folder: Path, config) -> SavedHead:
        """config: as it was read from the folder, before a task's settings go into it."""
        pooling = None
        if hasattr(config, "pooling"):
            pooling = Pooling(config.pooling, getattr(config, "linear_classifier", False))
        return cls(folder, pooling, next(iter(config.architectures or []), ""))

    def is_for_another(self, head: Head) -> bool:
        """Whether it is transformers' class for another kind of task, whose weights may have the same names."""
        ends = {kind: name.removeprefix("AutoModel") for kind, name in AUTO_CLASSES.items()}
        return any(self.model_class.endswith(end) for kind, end in ends.items() if kind != head)


def refuse_untrained_head(
    saved: SavedHead, head: Head, labels: tuple[str, ...], asked: Pooling, loading: Mapping[str, Iterable]
) -> None:
    """Raises ModelError where a folder has no trained head, or one that is not the task's.

    asked: what the settings say. loading: the loading information of `from_pretrained`.
    """
    number = 2 if head == "question answering" else len(labels) or 1
    missing = f"{saved.folder} holds no trained head for {number} output{'s' * (number > 1)}"
    if saved.is_for_another(head):
        raise ModelError(f"{missing} of this kind of task: its class is {saved.model_class}")
    is_known = saved.pooling is not None or not loading["missing_keys"]
    trained = saved.pooling or Pooling("cls", False)
    if head == "sequence" and is_known and trained != asked:
        raise ModelError(f"{missing} with {asked}: its head has {trained}")
    if loading["missing_keys"]:
        raise ModelError(
            f"{missing}: it is a model to train from. A run that was trained from it is scored without "
            "--model_name_or_path, or by the path of its checkpoint"
        )
    if head != "question answering":
        refuse_other_labels(saved.folder, names_of_outputs(saved.folder), labels)
    if loading["mismatched_keys"]:
        raise ModelError(missing)


def order_outputs(model, folder: Path, labels: tuple[str, ...], say: Callable[[str], None] | None) -> None:
    """Puts the outputs of a trained head into the order of the labels, in place.

    What is not known by the same names stays as it is, to be trained. say: as in `build_model`.
    Raises ModelError where the outputs are not made by a linear layer.
    """
    import torch
    from torch import nn

    names = names_of_outputs(folder)
    order = outputs_of_labels(names, labels)
    if order is not None and order != list(range(len(order))):
        encoder = set(model.base_model.modules())
        layers = [module for module in model.modules() if isinstance(module, nn.Linear) and module not in encoder]
        if not layers or layers[-1].out_features != len(labels):
            raise ModelError(
                f"the labels in {folder}/config.json are in the order {', '.join(names)}, and those of the task in the "
                f"order {', '.join(labels)}; the outputs of a {type(model).__name__} cannot be put into another order"
            )
        with torch.no_grad():
            for tensor in layers[-1].parameters():
                tensor.copy_(tensor[order])
    if say and order is not None and (message := about_labels(names, labels)):
        say(message)
