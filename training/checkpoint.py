"""Checkpoints, each there whole or not at all, and the state from which training goes on bit for bit.

`checkpoint-<step>/` holds `model.safetensors`, `config.json` and the tokenizer, so that `from_pretrained` reads it, and
`training_state.pt`. It is written under a name that starts with a dot, flushed to the disk, then renamed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from storage.whole import remove_whole, whole_folder
from training.config import UsageError
from training.results import CHECKPOINT_PREFIX as PREFIX

STATE_FILE = "training_state.pt"


class CheckpointFolder:
    """The checkpoints of one run.

    output_dir: the run's folder. save_total_limit: how many are kept, the best one always among them; one that was
        saved only because the run was interrupted is not counted where evaluations are to come. None: all.
    save_optimizer: keep the training state in all of them; otherwise in the newest alone, which resuming needs.
    """

    def __init__(self, output_dir: Path, save_total_limit: int | None = None, save_optimizer: bool = False):
        self.output_dir = output_dir
        self.save_total_limit = save_total_limit
        self.save_optimizer = save_optimizer

    def all(self) -> list[Path]:
        """The whole checkpoints, oldest first."""
        found = [path for path in self.output_dir.glob(f"{PREFIX}*") if re.fullmatch(rf"{PREFIX}\d+", path.name)]
        return sorted(found, key=step_of)

    def path(self, step: int) -> Path:
        """The folder of the checkpoint of a step, whether or not it exists."""
        return self.output_dir / f"{PREFIX}{step}"

    def newest_with_state(self) -> Path | None:
        """The checkpoint to resume from."""
        return next((path for path in reversed(self.all()) if (path / STATE_FILE).is_file()), None)

    def save(
        self,
        step: int,
        write_model: Callable[[Path], None],
        state: dict[str, Any],
        best_step: int | None,
        interrupted_step: int | None = None,
        keeps_to_limit: bool = True,
    ) -> Path:
        """Writes `checkpoint-<step>`, then deletes what is not to be kept (`delete_older`).

        write_model: writes weights, configuration and tokenizer into a folder. state: tensors and plain Python values.
        Raises UsageError where the disk does not take it; the checkpoints before stay as they are.
        """
        target = self.path(step)
        try:
            with whole_folder(target) as temporary:
                write_model(temporary)
                with (temporary / STATE_FILE).open("wb") as file:  # torch would not say why opening failed
                    torch.save(state, file)
                for path in temporary.rglob("*"):  # safetensors makes its file readable to its owner alone
                    path.chmod(0o777 & ~_umask() if path.is_dir() else 0o666 & ~_umask())
        except Exception as error:  # an OSError, or what safetensors, tokenizers and torch turn it into
            last = self.newest_with_state()
            kept = f"{last} is whole: make room and go on with --resume" if last else "there is no earlier one"
            reason = error.__context__ if isinstance(error.__context__, OSError) else error
            raise UsageError(f"{target} could not be saved ({_one_line(reason)}); {kept}") from error
        self.delete_older(target, best_step, interrupted_step, keeps_to_limit)
        return target

    def load_state(self, checkpoint: Path) -> dict[str, Any]:
        """The training state of a checkpoint, on the CPU. Raises UsageError where it cannot be read."""
        try:
            return torch.load(checkpoint / STATE_FILE, map_location="cpu", weights_only=True)
        except Exception as error:  # OSError, and the many ways in which a damaged archive fails
            raise UsageError(
                f"{checkpoint / STATE_FILE} cannot be read ({type(error).__name__}), so training cannot go on from it; "
                f"without {checkpoint} it goes on from an earlier checkpoint that has one, if there is any"
            ) from error

    def load_weights(self, model: torch.nn.Module, checkpoint: Path) -> None:
        """Puts the weights of a checkpoint into `model`. Raises UsageError where they cannot be read or do not fit."""
        from safetensors.torch import load_file

        try:
            weights = load_file(checkpoint / "model.safetensors")
            parameters = dict(model.named_parameters(remove_duplicate=False))
            there = {id(parameters[name]) for name in weights.keys() & parameters.keys()}
            tied = {name for name, parameter in parameters.items() if id(parameter) in there}
            missing, unknown = model.load_state_dict(weights, strict=False)
            if wrong := [*(set(missing) - tied), *unknown]:
                raise KeyError(f"keys that are missing or unknown: {', '.join(sorted(wrong))}")
        except Exception as error:  # OSError, safetensors' own error for a damaged file, RuntimeError for another model
            raise UsageError(f"{checkpoint / 'model.safetensors'} cannot be read ({_one_line(error)})") from error

    def delete_older(
        self, newest: Path, best_step: int | None, interrupted_step: int | None, keeps_to_limit: bool = True
    ) -> None:
        """Deletes what is not to be kept besides the newest checkpoint: states and checkpoints beyond the limits.

        best_step: the best checkpoint, which stays. interrupted_step: one that was saved only because the run was
        interrupted; a run that was not interrupted has none. keeps_to_limit: False where none may be deleted for
        `save_total_limit`, as a run that was not interrupted would still have them all.
        """
        older = []
        for path in self.all():
            if path != newest and step_of(path) == interrupted_step:
                remove_whole(path)
            elif path != newest:
                older.append(path)
        if not self.save_optimizer:
            for path in older:
                (path / STATE_FILE).unlink(missing_ok=True)
        if self.save_total_limit is not None and keeps_to_limit:
            others = [path for path in older if best_step is None or path != self.path(best_step)]
            room = max(0, self.save_total_limit - (1 + len(older) - len(others)))
            for path in others[: max(0, len(others) - room)]:
                remove_whole(path)


def step_of(checkpoint: Path) -> int:
    """`checkpoint-300` -> 300."""
    return int(checkpoint.name.removeprefix(PREFIX))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
