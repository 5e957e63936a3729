"""The recipes of the SpanBERT paper and of the Korean original, and which of them the runs in a table had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# What the code of the Korean SpanBERT does, as settings of pretrain_spanbert.py: those in which other recipes differ.
AS_PUBLISHED = {
    "span_law": "inverse",
    "span_overrun": "skip",
    "mask_decision": "token",
    "mask_once": True,
    "sbo": "original",
    "mlm_head": "tied",
    "max_grad_norm": 0,
    "lr_scheduler": "linear",
    "lower_case": "corpus",
    "held_out_share": 0,
}
# The paper's recipe, which is what pretrain_spanbert.py does by default.
PAPER = {
    "span_law": "geometric",
    "span_overrun": "cut",
    "mask_decision": "span",
    "mask_once": False,
    "sbo": "paper",
    "mlm_head": "bert",
}


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """The settings as words of the command line."""
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in settings.items()}
    return [word for key, text in texts.items() for word in (f"--{key}", text)]


def describe_recipe(pretraining: Mapping[str, Any]) -> str:
    """How a model was pretrained, in a sentence without its end. pretraining: as its results.json has it."""
    recipe = pretraining.get("recipe")
    if not isinstance(recipe, Mapping):
        return "with settings that its checkpoint does not record"
    if _matches(recipe, AS_PUBLISHED):
        told = "with the Korean original's settings (--as_published)"
    elif _matches(recipe, PAPER):
        told = "by the SpanBERT paper's recipe, which is not the Korean original's (that is --as_published)"
    else:
        told = ", ".join(f"{key} {recipe.get(key)}" for key in AS_PUBLISHED)
        told = f"by a recipe that is neither the SpanBERT paper's nor the Korean original's ({told})"
    epochs, planned = (pretraining.get(key) for key in ("epochs", "planned_epochs"))
    if not all(isinstance(number, int | float) for number in (epochs, planned)):
        return told
    if epochs < planned:
        return f"{told}, up to the middle of a run of {planned:g} epochs"
    end = ", whose learning rate ends at 0" if recipe.get("lr_scheduler") == "linear" else ""
    return f"{told}, in a whole run{end}"


def caption(rows: Sequence[tuple[str, Sequence[Mapping[str, Any] | None]]]) -> str:
    """The line above a table that says how its models were pretrained.

    rows: of each row its name, and what its runs record about pretraining (None: from scratch).
    """
    names: dict[str, list[str]] = {}
    for name, records in rows:
        for told in dict.fromkeys(describe_recipe(record) for record in records if record is not None):
            names.setdefault(told, []).append(name)
    if not names:
        return "Nothing was pretrained."
    return " ".join(f"Pretrained {told}: {', '.join(which)}." for told, which in names.items())


def _matches(recipe: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return all(recipe.get(key) == value for key, value in settings.items())
