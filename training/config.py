"""Settings of every training run, each declared once: its type, its default, its unit.

`training/command_line.py` fills them in; `workflows/` has the settings of fine-tuning and of pretraining.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from training.processes import process_count
from training.tensorboard_file import LIBRARY, is_installed

Every = int | Literal["epoch"]
LARGEST_SEED = 2**32 - 1  # what NumPy's and scikit-learn's generators take
EVALUATION_STEPS = ("eval_steps", "logging_steps")  # the settings that decide how often a run is evaluated


class UsageError(Exception):
    """An error that the user can correct: the script prints the message without a traceback and exits with 2."""


def rehearses_capture() -> bool:
    """Whether captured steps may be asked for on a CPU, to try them out (`training/captured_step.py`)."""
    return os.environ.get("REHEARSE_CAPTURE") == "1"


@dataclass(frozen=True)
class Place:
    """The place that set a key.

    kind: the command line, a JSON file, the task's own settings, or another stage: `--do_predict` turns off `do_train`.
    name: the key as the command line or the file writes it; for a task its name; for another stage the stage's key.
    """

    kind: Literal["flag", "file", "task", "other stage"]
    name: str
    file: Path | None = None
    line: int | None = None

    def __str__(self) -> str:
        if self.kind == "file":
            return f"{self.file}:{self.line}"
        return {"flag": "--{}", "task": "task {}", "other stage": "{} on the command line"}[self.kind].format(self.name)


Given = Mapping[str, Place]  # each key that was set -> the place that set it


def is_typed(key: str, given: Given) -> bool:
    """Whether the command line, and no file, set the key."""
    return key in given and given[key].kind == "flag"


class Contradiction(NamedTuple):
    """Settings that do not go together.

    keys: the settings that the message is about. It is not shown where the value of one of them is wrong itself.
    """

    keys: tuple[str, ...]
    message: str


def without_effect(keys: Iterable[str], given: Given, causes: tuple[str, ...], why: str) -> Iterator[Contradiction]:
    """A contradiction for each of the keys that was typed although it has no effect.

    causes: the settings that take the effect away. why: the end of the sentence.
    """
    for key in keys:
        if is_typed(key, given):
            yield Contradiction((key, *causes), f"{given[key]} has no effect {why}")


class Section(BaseModel):
    """A group of settings: a heading in `--help`. Values are never converted: `"3e-5"` is no number, `1` no boolean."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    # Other names that flags and JSON files may use: name -> key.
    ALIASES: ClassVar[Mapping[str, str]] = {}
    # The stages of a script, by their keys: a stage that the command line names turns off those that it does not name.
    STAGES: ClassVar[tuple[str, ...]] = ()

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        """Settings that do not go together."""
        yield from ()


class TrainingConfig(Section):
    """Training"""

    num_train_epochs: float = Field(10, gt=0, description="passes over the training rows")
    max_steps: int = Field(
        -1, description="number of optimizer steps, instead of num_train_epochs; -1: train by epochs"
    )
    min_steps: int = Field(
        0, ge=0, description="take at least this many optimizer steps, even if the epochs have fewer"
    )
    train_batch_size: int = Field(32, ge=1, description="rows per device in one micro-batch")
    gradient_accumulation_steps: int = Field(1, ge=1, description="micro-batches per optimizer step")
    learning_rate: float = Field(5e-5, ge=0, description="peak learning rate")
    lr_scheduler: Literal["linear", "constant", "auto"] = Field(
        "linear",
        description="learning rate after the warm-up: falls linearly to zero, or stays constant; auto: linear if there "
        "is a warm-up, else constant, as in KoBigBird",
    )
    warmup_proportion: float = Field(
        0.0, ge=0, le=1, description="share of all steps during which the learning rate rises to its peak"
    )
    weight_decay: float = Field(
        0.0, ge=0, description="weight decay of AdamW; not applied to biases and LayerNorm weights"
    )
    adam_epsilon: float = Field(1e-8, gt=0, description="epsilon of AdamW")
    adam_bias_correction: bool = Field(
        True, description="correct AdamW's moments for their start at zero; false: as in BERT's own code"
    )
    max_grad_norm: float = Field(1.0, ge=0, description="clip gradients to this norm; 0: do not clip")
    early_stopping_patience: int = Field(
        0, ge=0, description="stop after this many evaluations in a row without improvement; 0: never"
    )
    seed: int = Field(
        42,
        ge=0,
        le=LARGEST_SEED,
        description="random seed for fresh weights, the order of the rows, dropout and data splits",
    )

    @field_validator("max_steps")
    @classmethod
    def _steps_are_steps(cls, value: int) -> int:
        if value == 0 or value < -1:
            raise ValueError("must be a number of steps above 0, or -1 to count by epochs")
        return value

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.max_steps <= 0:
            return
        yield from without_effect(["min_steps"], given, ("max_steps",), "beside max_steps: leave one of them out")
        if is_typed("num_train_epochs", given) and is_typed("max_steps", given):
            message = "--num_train_epochs and --max_steps both say when to stop: give one"
            yield Contradiction(("num_train_epochs", "max_steps"), message)
        elif "max_steps" in given:
            why = f"beside max_steps ({given['max_steps']}): --max_steps -1 counts by epochs"
            yield from without_effect(["num_train_epochs"], given, ("max_steps",), why)


class OutputConfig(Section):
    """Output"""

    ckpt_dir: str = Field("ckpt", description="folder that holds the output folders of all runs")
    output_dir: str | None = Field(
        None,
        description="output folder of this run, inside ckpt_dir; default: <model>-<task>-ckpt, for a model that is "
        "scored or used by its name <model>-<task>-eval, in pretraining <task>-ckpt",
    )
    overwrite_output_dir: bool = Field(
        False, description="delete the results of an earlier run from the output folder; ignored in a JSON file"
    )
    resume: bool = Field(False, description="continue from the newest checkpoint in the output folder")
    logging_steps: Every = Field(100, description='steps between two log lines, or "epoch"; 0: no log lines')
    eval_steps: Every | None = Field(
        None, description='steps between two evaluations, or "epoch"; 0: no evaluations; default: logging_steps'
    )
    save_steps: Every = Field(
        100, description='steps between two checkpoints, or "epoch"; 0: one checkpoint, at the end'
    )
    save_total_limit: int | None = Field(
        None, ge=1, description="number of checkpoints to keep, always including the best; default: all"
    )
    save_optimizer: bool = Field(
        False, description="keep the training state in every checkpoint, not only in the newest"
    )
    report_to: Literal["none", "tensorboard"] = Field(
        "none",
        description="where else the figures of metrics.jsonl are written; tensorboard: a file in the output folder, "
        "which TensorBoard shows as curves",
    )

    @field_validator("logging_steps", "eval_steps", "save_steps")
    @classmethod
    def _every_is_not_negative(cls, value: Every | None) -> Every | None:
        if isinstance(value, int) and value < 0:
            raise ValueError('must be a number of steps, 0 for never, or "epoch"')
        return value

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.resume and is_typed("overwrite_output_dir", given) and self.overwrite_output_dir:
            message = "--resume goes on with an earlier run and --overwrite_output_dir deletes it: give one"
            yield Contradiction(("resume", "overwrite_output_dir"), message)
        if self.report_to == LIBRARY and not is_installed():
            message = f"report_to {LIBRARY} needs a library that is not installed: python3 -m pip install {LIBRARY}"
            yield Contradiction(("report_to",), message)

    @property
    def evaluates_every(self) -> Every:
        """Steps between two evaluations during training, or "epoch"; 0 for none."""
        return self.logging_steps if self.eval_steps is None else self.eval_steps


class RuntimeConfig(Section):
    """Machine"""

    no_cuda: bool = Field(False, description="use the CPU even if there is a GPU")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="precision of matrix products; auto: bf16 if the hardware multiplies it natively, else fp32"
    )
    use_tpu: bool = Field(
        False, description="train on all TPU chips of this machine through torch_xla (see requirements-tpu.txt)"
    )
    capture: bool | None = Field(
        None,
        description="replay each step as one CUDA graph instead of launching its kernels one by one; default: true "
        "on a GPU, else false",
    )
    compile: bool = Field(
        False, description="compile the layers with torch.compile, which takes about a minute at the start"
    )
    length_buckets: list[int] | None = Field(
        None,
        description="lengths in tokens that batches are padded to, besides the length of the longest possible row; "
        "default: with captured steps, its quarters (sixteenths if the encoder runs on padded rows); on a TPU, its "
        "half and its quarter; on a CPU, none",
    )
    dry_run: bool = Field(
        False,
        description="prepare everything and train for a few steps, then report the time, memory and disk space that "
        "the run needs; writes no results",
    )

    @field_validator("length_buckets")
    @classmethod
    def _lengths_are_lengths(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and not (value and min(value) > 0):
            raise ValueError("must be one or more numbers of tokens above 0")
        return value

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.use_tpu:
            if self.precision == "fp16":
                message = "use_tpu and precision fp16: a TPU multiplies bf16 (auto) or fp32"
                yield Contradiction(("use_tpu", "precision"), message)
            causes = ("use_tpu",)
            yield from without_effect(["no_cuda"], given, causes, "beside use_tpu")
            yield from without_effect(["compile"], given, causes, "beside use_tpu: XLA compiles everything")
            yield from without_effect(["capture"], given, causes, "beside use_tpu: XLA makes its own graphs")
            if process_count() > 1:
                message = "use_tpu takes all chips of the machine in one process: start the script without torchrun"
                yield Contradiction(causes, message)
        needs_gpu = self.capture and not (self.use_tpu and is_typed("capture", given))
        if needs_gpu and self.no_cuda and not rehearses_capture():
            yield Contradiction(("capture", "no_cuda", "use_tpu"), "capture needs a GPU, and no_cuda leaves it out")

    def row_lengths(self, longest: int) -> tuple[int, ...]:
        """The lengths that batches are padded to, ascending; empty if each batch is padded to its own longest row.

        longest: tokens of the longest possible row, which is always one of the lengths.
        """
        if self.length_buckets:
            return tuple(sorted({*self.length_buckets, longest}))
        return tuple(sorted({math.ceil(longest / part) for part in (1, 2, 4)})) if self.use_tpu else ()


class LoopConfig(TrainingConfig, OutputConfig, RuntimeConfig):
    """The settings that `training/loop.py` reads."""

    def as_given(self, given: Given) -> Self:
        """The settings as they are meant, where that depends on which place set them."""
        return self

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.dry_run:
            why = "on a dry run, which begins anew and writes nothing"
            yield from without_effect(["resume", "overwrite_output_dir", "report_to"], given, ("dry_run",), why)
        if self.early_stopping_patience and self.evaluates_every == 0:
            message = "early_stopping_patience needs evaluations during training: set eval_steps"
            yield Contradiction(("early_stopping_patience", *EVALUATION_STEPS), message)
