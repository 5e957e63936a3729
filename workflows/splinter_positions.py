"""What Splinter's pretraining shows to the encoder, and how a checkpoint tells which way it was pretrained."""

from __future__ import annotations

from pathlib import Path

from training.results import PRETRAINING, read_json_object

# Stands in the `config.json` of a checkpoint, among the facts about its pretraining. Checkpoints that were pretrained
# before hidden tokens lost their positions have nothing there.
SHOWN = {"positions": "visible tokens", "[SEP]": "visible"}


def warn_of_other_positions(runtime, folder: Path) -> None:
    """Says so, once, where the Splinter in a folder was pretrained by this suite before positions were changed."""
    pretraining = read_json_object(folder / "config.json").get(PRETRAINING)
    if not isinstance(pretraining, dict) or pretraining.get("objective") != "splinter":
        return
    if any(pretraining.get(name) != value for name, value in SHOWN.items()):
        runtime.say_once(
            f"warning: {folder} was pretrained with positions that counted the tokens hidden behind a [QUESTION], and "
            "with [SEP] hidden; pretraining now counts visible tokens only and shows [SEP], as the original does"
        )
