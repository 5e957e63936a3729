"""Settings, each declared once: its type, its default, its unit. `training/command_line.py` fills them in."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from training.processes import process_count

Every = int | Literal["epoch"]
LARGEST_SEED = 2**32 - 1  # what NumPy's and scikit-learn's generators take


class UsageError(Exception):
    """What the person at the keyboard can mend: the script prints it without a traceback and exits with 2."""


def rehearses_capture() -> bool:
    """Whether captured steps may be asked for on a CPU, to try them out (`training/captured_step.py`)."""
    return os.environ.get("REHEARSE_CAPTURE") == "1"


def is_typed(key: str, given: Mapping[str, str]) -> bool:
    """Whether the command line, and no file, set the key."""
    return given.get(key, "").startswith("--")


class Section(BaseModel):
    """A group of settings: a heading in `--help`. Values are never converted: `"3e-5"` is no number, `1` no boolean."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    def contradictions(self, given: Mapping[str, str]) -> Iterator[str]:
        """Settings that do not go together. `given` maps each key that was set to the place that set it."""
        yield from ()


class TrainingConfig(Section):
    """Training"""

    num_train_epochs: float = Field(10, gt=0, description="passes over the training rows")
    max_steps: int = Field(-1, description="optimizer steps, instead of num_train_epochs; -1: by epochs")
    min_steps: int = Field(0, ge=0, description="at least so many optimizer steps, however few the rows")
    train_batch_size: int = Field(32, ge=1, description="rows a device and micro-batch")
    gradient_accumulation_steps: int = Field(1, ge=1, description="micro-batches an optimizer step")
    learning_rate: float = Field(5e-5, ge=0, description="peak learning rate")
    lr_scheduler: Literal["linear", "constant"] = Field("linear", description="after the warm-up: to zero, or constant")
    warmup_proportion: float = Field(0.0, ge=0, le=1, description="share of all steps in which the rate rises")
    weight_decay: float = Field(0.0, ge=0, description="not applied to biases and LayerNorm weights")
    adam_epsilon: float = Field(1e-8, gt=0, description="epsilon of AdamW")
    max_grad_norm: float = Field(1.0, ge=0, description="gradients are clipped to this norm; 0: not clipped")
    early_stopping_patience: int = Field(0, ge=0, description="stop after so many evaluations without gain; 0: never")
    seed: int = Field(42, ge=0, le=LARGEST_SEED, description="of weights, order, dropout and splits")

    @field_validator("max_steps")
    @classmethod
    def _steps_are_steps(cls, value: int) -> int:
        if value == 0 or value < -1:
            raise ValueError("must be a number of steps above 0, or -1 to count by epochs")
        return value

    def contradictions(self, given: Mapping[str, str]) -> Iterator[str]:
        if is_typed("min_steps", given) and self.max_steps > 0:
            yield "--min_steps has no effect beside max_steps: leave one of them out"
        if is_typed("num_train_epochs", given) and self.max_steps > 0:
            if is_typed("max_steps", given):
                yield "--num_train_epochs and --max_steps both say when to stop: give one"
            else:
                place = given["max_steps"]
                yield f"--num_train_epochs has no effect beside max_steps ({place}): --max_steps -1 counts by epochs"


class OutputConfig(Section):
    """Output"""

    ckpt_dir: str = Field("ckpt", description="folder that holds the output folders")
    output_dir: str | None = Field(None, description="folder of this run in ckpt_dir; default: <model>-<task>-ckpt")
    overwrite_output_dir: bool = Field(False, description="delete an earlier run's results; only from the command line")
    resume: bool = Field(False, description="go on from the newest checkpoint of the output folder")
    logging_steps: Every = Field(100, description='steps between two log lines, or "epoch"; 0: none')
    eval_steps: Every | None = Field(
        None, description='steps between two evaluations, or "epoch"; default: logging_steps'
    )
    save_steps: Every = Field(100, description='steps between two checkpoints, or "epoch"; 0: only at the end')
    save_total_limit: int | None = Field(None, ge=1, description="checkpoints kept, the best among them; default: all")
    save_optimizer: bool = Field(False, description="keep the training state in every checkpoint, not the newest alone")

    @field_validator("logging_steps", "eval_steps", "save_steps")
    @classmethod
    def _every_is_not_negative(cls, value: Every | None) -> Every | None:
        if isinstance(value, int) and value < 0:
            raise ValueError('must be a number of steps, 0 for never, or "epoch"')
        return value

    def contradictions(self, given: Mapping[str, str]) -> Iterator[str]:
        if self.resume and is_typed("overwrite_output_dir", given) and self.overwrite_output_dir:
            yield "--resume goes on with an earlier run and --overwrite_output_dir deletes it: give one"

    @property
    def evaluates_every(self) -> Every:
        """Steps between two evaluations during training, or "epoch"; 0 for none."""
        return self.logging_steps if self.eval_steps is None else self.eval_steps


class RuntimeConfig(Section):
    """Machine"""

    no_cuda: bool = Field(False, description="use the CPU even where there is a GPU")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of matrix products; auto: bf16 where the hardware multiplies it natively, else fp32"
    )
    use_tpu: bool = Field(False, description="all TPU chips of this machine, by torch_xla (requirements-tpu.txt)")
    capture: bool | None = Field(
        None,
        description="replay each step as a CUDA graph instead of launching its kernels one by one; default: true on a "
        "GPU, else false",
    )
    compile: bool = Field(False, description="compile the layers with torch.compile; takes a minute to begin with")
    length_buckets: list[int] | None = Field(
        None,
        description="lengths that batches are padded up to, beside that of the longest row; default: none on a CPU, "
        "with captured steps its quarters (sixteenths where rows stay padded), on a TPU its half and quarter",
    )
    dry_run: bool = Field(
        False, description="everything up to the training, and a few steps: time, memory and disk; writes no results"
    )

    @field_validator("length_buckets")
    @classmethod
    def _lengths_are_lengths(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and not (value and min(value) > 0):
            raise ValueError("must be one or more numbers of tokens above 0")
        return value

    def contradictions(self, given: Mapping[str, str]) -> Iterator[str]:
        if self.use_tpu and self.precision == "fp16":
            yield "use_tpu and precision fp16: a TPU multiplies bf16 (auto) or fp32"
        if self.use_tpu and is_typed("no_cuda", given):
            yield "--no_cuda has no effect beside use_tpu"
        if self.use_tpu and is_typed("compile", given):
            yield "--compile has no effect beside use_tpu: XLA compiles everything"
        if self.use_tpu and is_typed("capture", given):
            yield "--capture has no effect beside use_tpu: XLA makes its own graphs"
        elif self.capture and self.no_cuda and not rehearses_capture():
            yield "capture needs a GPU, and no_cuda leaves it out"
        if self.use_tpu and process_count() > 1:
            yield "use_tpu takes all chips of the machine in one process: start the script without torchrun"

    def row_lengths(self, longest: int) -> tuple[int, ...]:
        """The lengths that batches are padded to, ascending; none: each to its longest row.

        longest: tokens of the longest row there can be, which is one of them.
        """
        if self.length_buckets:
            return tuple(sorted({*self.length_buckets, longest}))
        return tuple(sorted({math.ceil(longest / part) for part in (1, 2, 4)})) if self.use_tpu else ()


class LoopConfig(TrainingConfig, OutputConfig, RuntimeConfig):
    """What `training/loop.py` goes by."""

    def contradictions(self, given: Mapping[str, str]) -> Iterator[str]:
        if self.dry_run:
            idle = [key for key in ("resume", "overwrite_output_dir") if is_typed(key, given)]
            yield from (f"--{key} has no effect on a dry run, which begins anew and writes nothing" for key in idle)
        if self.early_stopping_patience and self.evaluates_every == 0:
            yield "early_stopping_patience needs evaluations during training: set eval_steps"
