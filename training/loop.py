"""`fit`: the only training loop. It knows neither a task nor an architecture, only functions.

`loss_of(model, batch)` returns the sum of the losses, and `batch["terms"]` says how many terms that sum has. The loop
divides by the number of all terms of an optimizer step, so that rows, tokens and spans alike give the loss of the whole
batch, however it was cut into micro-batches.

On a GPU a step is replayed as a CUDA graph (`captured_step.py`). So `loss_of` must read no value off the device, and
only the contents of tensors may differ between two batches of the same shape.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from storage.activity import doing
from training.checkpoint import STATE_FILE, CheckpointFolder
from training.config import LoopConfig, UsageError
from training.identity import refuse_another_run
from training.interrupt import Interrupted, StopRequest, stop_request
from training.plan import Batch, Plan, TrainingCollate, batches_from
from training.progress import Progress
from training.results import CONFIG_FILE, TRAINING_FILE, MetricsLog, write_json
from training.runtime import Runtime
from training.step import LossOf, Stepper


@dataclass
class State:
    """How far training has come: what a checkpoint holds besides weights, optimizer and random generators.

    seconds: time spent in steps, without evaluations and saving. window_*: sums since the last log line. All sums are
    over all processes. step_rows: rows in a whole step. interrupted_step: of the newest checkpoint that was saved only
    because the run was interrupted, and goes when another follows.
    """

    step: int = 0
    seconds: float = 0.0
    rows: int = 0
    real_tokens: int = 0
    padded_tokens: int = 0
    window_loss: float = 0.0
    window_terms: float = 0.0
    window_rows: int = 0
    window_seconds: float = 0.0
    evaluated_step: int = 0
    best_score: float | None = None
    best_step: int | None = None
    without_gain: int = 0
    stopped_early: bool = False
    step_rows: int = 0
    interrupted_step: int | None = None

    def figures(self, plan: Plan) -> dict[str, Any]:
        """The figures about training in `results.json`. padding_ratio: share of padding tokens in the batches."""
        return {
            "steps": self.step,
            "epochs": round(self.step / plan.steps_per_epoch, 4),
            "seconds": round(self.seconds, 1),
            "rows_per_second": round(self.rows / max(self.seconds, 1e-9), 1),
            "tokens_per_second": round(self.real_tokens / max(self.seconds, 1e-9), 1),
            "padding_ratio": round(1 - self.real_tokens / max(self.padded_tokens, 1), 4),
            "stopped_early": self.stopped_early,
        }


@dataclass(frozen=True)
class Job:
    """Everything that a training run needs.

    write_model: writes weights, configuration and tokenizer into a folder. identity: settings and hashes of rows that
    must be the same when the run is resumed. data: file -> sha256. evaluate: scores the model as it is now, and returns
    the split and its metrics, of which `main_metric` selects the best checkpoint; None: no evaluations. rows: number of
    rows in each split. has_second_loss: see `training/step.py`.
    """

    model: nn.Module
    plan: Plan
    collate: TrainingCollate
    loss_of: LossOf
    config: LoopConfig
    runtime: Runtime
    checkpoints: CheckpointFolder
    log: MetricsLog
    write_model: Callable[[Path, State], None]
    identity: dict[str, Any]
    data: dict[str, str]
    evaluate: Callable[[], tuple[str, dict[str, float]]] | None
    main_metric: str
    greater_is_better: bool
    rows: Mapping[str, int] = field(default_factory=dict)
    has_second_loss: bool = False


def fit(job: Job) -> State:
    """Trains `job.model` in place; leaves checkpoints, `metrics.jsonl`, `run_config.json`, `training.json` behind.

    With `config.resume` it goes on with an earlier run.

    Raises Interrupted after Ctrl-C or SIGTERM, and UsageError where the loss is not finite, a checkpoint cannot be
    written, or the run to resume had other settings or data.
    """
    config = job.config
    run = TrainingRun(job)
    if config.resume:
        run.restore()
    # Written only now, when it is known that the folder belongs to this run.
    folder, plan = job.checkpoints.output_dir, run.plan
    record = {"data": job.data, "rows": job.rows, "precision": job.runtime.precision}
    write_json(folder / CONFIG_FILE, config.model_dump())
    write_json(folder / TRAINING_FILE, record)
    job.log.begin()
    state = run.state
    with (
        contextlib.closing(Progress(job.runtime, "train", plan.steps, "step", done=state.step)) as progress,
        stop_request(job.runtime.processes) as stop,
    ):
        progress.can_tell_more = True
        if not run.is_scored():  # interrupted while it evaluated
            run.end_step(stop)
        for batches in batches_from(plan, job.collate, state.step, job.runtime):
            if state.stopped_early:
                break
            run.step(batches)
            progress.advance()
            is_last = state.step == plan.steps
            if plan.is_due(config.logging_steps, state.step) or (is_last and config.logging_steps):
                progress.show(run.log_loss())
            elif progress.is_asked:
                progress.show(run.look_at_loss())
            run.end_step(stop)
    figures = state.figures(plan) | {"peak_memory_bytes": job.runtime.peak_memory_bytes()}
    figures |= run.stepper.graphs()
    if line := run.stepper.describe_graphs():
        job.runtime.say(line)
    run.stepper.close()
    write_json(folder / TRAINING_FILE, record | {"figures": figures})
    job.runtime.wait()  # until everything is written, because the next step reads it
    return state


class TrainingRun:
    """A training run in progress: it takes steps and keeps their state."""

    def __init__(self, job: Job):
        self.job, self.plan = job, job.plan
        self.state = State(step_rows=job.plan.step_rows)
        self.model, self.runtime = job.model, job.runtime
        self.runtime.seed_apart(job.config.seed)
        self.stepper = Stepper(job.model, job.loss_of, job.config, job.runtime, job.plan, job.has_second_loss)
        self._first_step = 0  # of this process
        self.model.train()
        self._last_moment = time.perf_counter()

    def step(self, batches: list[Batch]) -> None:
        """One optimizer step over this process's micro-batches."""
        state, rows = self.state, self.plan.row_count(self.state.step)
        compiled = self.runtime.compilations()
        self.runtime.seed_step(self.job.config.seed, state.step)
        self.stepper.take(batches, rows)
        self._warn_of_late_compilations(self.runtime.compilations() - compiled, batches)
        state.step += 1
        state.rows += rows
        state.window_rows += rows
        self._count_seconds()  # including the time in which the batches were collated, before this call

    def _warn_of_late_compilations(self, count: int, batches: list[Batch]) -> None:
        # The second step compiles graphs of its own, because the first had no gradients and no moments yet.
        if count and self.state.step >= self._first_step + max(2, self.plan.steps_per_epoch):
            widths = sorted({batch["padded_tokens"] // self.plan.batch_size for batch in batches})
            self.runtime.say(
                f"warning: step {self.state.step + 1} compiled {count} more graph{'s' * (count > 1)}, after the first "
                f"epoch; its rows are {', '.join(map(str, widths))} tokens wide. Fewer length_buckets avoid that"
            )

    def _count_seconds(self) -> None:
        """Adds the time since the clock was last read to the time spent in training.

        Evaluations and saving read the clock without counting it.
        """
        spent = self._read_clock()
        self.state.seconds += spent
        self.state.window_seconds += spent

    def _read_clock(self) -> float:
        """Seconds since the clock was last read."""
        before, self._last_moment = self._last_moment, time.perf_counter()
        return self._last_moment - before

    def log_loss(self) -> str:
        """Writes the mean loss since the last time, and returns the line to show. Raises UsageError if not finite."""
        state, plan = self.state, self.plan
        self.read()
        loss = state.window_loss / max(1, state.window_terms)
        rate = state.window_rows / state.window_seconds
        self.job.log.write(
            "train",
            step=state.step,
            epoch=round(state.step / plan.steps_per_epoch, 4),
            loss=loss,
            learning_rate=self.stepper.learning_rate,
            rows_per_second=round(rate, 1),
            seconds=round(state.seconds, 1),
            **self.stepper.graphs(),
        )
        state.window_loss = state.window_terms = state.window_seconds = 0.0
        state.window_rows = 0
        return self._in_words(loss, rate)

    def look_at_loss(self) -> str:
        """The line to show between two log lines: the mean loss of this process's rows since the loss was last read.

        It writes and changes nothing, because a clock decides when it is called, and in one process only.
        """
        loss, terms = self.stepper.look()
        state, rate = self.state, self.state.window_rows / max(self.state.window_seconds, 1e-9)
        if self.runtime.processes == 1:  # what was read when a checkpoint was saved belongs to the window, too
            loss, terms = loss + state.window_loss, terms + state.window_terms
        return self._in_words(loss / max(1, terms), rate)

    def _in_words(self, loss: float, rate: float) -> str:
        epoch = self.state.step / self.plan.steps_per_epoch
        return f"epoch {epoch:.2f}  loss {loss:.4f}  lr {self.stepper.learning_rate:.2e}  {rate:.0f} rows/s"

    def read(self) -> None:
        """Adds the counts of all processes to the state. Raises UsageError where the loss is not finite.

        This makes the CPU wait for the device, so it is called only when a step logs or saves.
        """
        state = self.state
        loss, terms, real_tokens, padded_tokens = self.stepper.read()
        self._count_seconds()  # the device was still computing earlier steps
        state.window_loss += loss
        state.window_terms += terms
        state.real_tokens += real_tokens
        state.padded_tokens += padded_tokens
        if not math.isfinite(state.window_loss):
            self._refuse_to_go_on(f"the loss is {state.window_loss}")

    def _refuse_to_go_on(self, what: str) -> None:
        newest = self.job.checkpoints.newest_with_state()
        kept = f"; the last good checkpoint is {newest}" if newest else ""
        fp32 = "" if self.runtime.precision == "fp32" else ", or precision fp32,"
        raise UsageError(
            f"{what} at step {self.state.step}, so training was stopped{kept}. "
            f"A smaller learning_rate, or a warm-up (warmup_proportion 0.1){fp32} usually helps"
        )

    def evaluates(self) -> bool:
        """Whether the run is evaluated at all."""
        return self.job.evaluate is not None and self.job.config.evaluates_every != 0

    def evaluation_is_due(self) -> bool:
        """Whether the model is to be evaluated after the step that was taken last."""
        step = self.state.step
        is_due = self.plan.is_due(self.job.config.evaluates_every, step) or step == self.plan.steps
        return self.evaluates() and step > 0 and is_due

    def is_scored(self) -> bool:
        """Whether no evaluation is left to be made of the step that was taken last."""
        return self.state.evaluated_step == self.state.step or not self.evaluation_is_due()

    def keeps_to_limit(self) -> bool:
        """Whether this step's checkpoint may take the place of others.

        One that the next one replaces may not where evaluations still decide which of the others is the best.
        """
        decides_later = self.evaluates() and self.state.interrupted_step == self.state.step
        return self.is_scored() and not decides_later

    def end_step(self, stop: StopRequest) -> None:
        """Evaluates and saves where that is due. Raises Interrupted where the run was asked to stop."""
        state, config = self.state, self.job.config
        gained = self.evaluation_is_due() and self.evaluate(stop)
        state.stopped_early = 0 < config.early_stopping_patience <= state.without_gain
        stops = stop.is_agreed(self.runtime)
        is_due = state.step == self.plan.steps or self.plan.is_due(config.save_steps, state.step)
        if gained or state.stopped_early or is_due:
            if state.interrupted_step == state.step:  # this step is evaluated only now
                state.interrupted_step = None
            self.save()
        elif stops:
            self.save(is_interruption=True)
        if stops:
            raise Interrupted(self.job.checkpoints.path(state.step))

    def evaluate(self, stop: StopRequest) -> bool:
        """Scores the model; returns whether it is the best so far. After Ctrl-C a resumed run does it again."""
        state, job = self.state, self.job
        self.model.eval()
        try:
            with stop.at_once(self.runtime):
                with doing("score the model"):
                    split, metrics = job.evaluate()
        except KeyboardInterrupt:
            return False
        finally:
            self.model.train()
            self._read_clock()  # evaluations are not counted as training
        state.evaluated_step = state.step
        job.log.write(
            "evaluation",
            step=state.step,
            epoch=round(state.step / self.plan.steps_per_epoch, 4),
            split=split,
            metrics=metrics,
            seconds=round(state.seconds, 1),
        )
        score = metrics[job.main_metric] * (1 if job.greater_is_better else -1)
        gained = state.best_score is None or score > state.best_score
        if gained:
            state.best_score, state.best_step = score, state.step
        state.without_gain = 0 if gained else state.without_gain + 1
        figures = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self.runtime.say(f"step {state.step}  {split}  {figures}{'  (best so far)' if gained else ''}")
        return gained

    def save(self, is_interruption: bool = False) -> None:
        """Writes a checkpoint of this step. Raises UsageError where loss or weights are not finite.

        is_interruption: only for going on from it; the next one replaces it.
        """
        self.read()
        if not self.runtime.are_finite(self.stepper.parameters):
            self._refuse_to_go_on("there are weights that are not finite")
        before = self.state.interrupted_step
        if is_interruption:
            self.state.interrupted_step = self.state.step
        content = {
            "state": asdict(self.state),
            **self.stepper.content(),
            "random": self.runtime.gather(self.runtime.random_state()),
            "devices": self.runtime.processes * self.runtime.devices,
            "identity": self.job.identity,
        }

        def write_model(folder: Path) -> None:
            self.job.write_model(folder, self.state)

        if self.runtime.is_main:
            state, keeps_to_limit = self.state, self.keeps_to_limit()
            self.job.checkpoints.save(state.step, write_model, content, state.best_step, before, keeps_to_limit)
        self.runtime.wait()
        self._read_clock()

    def restore(self) -> None:
        """Goes back to the newest checkpoint; without a checkpoint, the run starts from its beginning.

        Raises UsageError, and changes nothing, where that checkpoint is damaged or belongs to another run.
        """
        job = self.job
        newest = job.checkpoints.newest_with_state()
        if newest is None:
            self._start_anew()
            return
        content = job.checkpoints.load_state(newest)
        # A setting that is younger than the checkpoint was, in effect, at its default.
        defaults = {name: field.get_default() for name, field in type(job.config).model_fields.items()}
        refuse_another_run({**defaults, **content["identity"]}, {**defaults, **job.identity}, newest)
        job.checkpoints.load_weights(self.model, newest)
        self.runtime.wait()  # until all processes have read it
        state = self.state = State(**content["state"])
        if self.runtime.is_main:
            # A kill may have come between the writing of this checkpoint and what follows it.
            job.checkpoints.delete_older(newest, state.best_step, state.interrupted_step, self.keeps_to_limit())
            job.log.forget_after(state.step, state.evaluated_step)
        self._first_step = self.state.step
        # Older checkpoints, from one process, do not say how many rows a step has nor whose generators they hold.
        self.state.step_rows = self.state.step_rows or self.plan.step_rows
        random = content["random"] if isinstance(content["random"], list) else [content["random"]]
        self.state.stopped_early = 0 < job.config.early_stopping_patience <= self.state.without_gain
        self._keep_step_rows(content.get("devices", len(random)))
        self.stepper.load(content)
        if self.runtime.process < len(random):
            self.runtime.load_random_state(random[self.runtime.process])
        else:
            self.runtime.seed_apart(job.config.seed, self.state.step)
        self.runtime.say(f"resumed from {newest} at step {self.state.step} of {self.plan.steps}")

    def _keep_step_rows(self, devices: int) -> None:
        """Keeps the number of rows in a step as it was when the run began, on however many devices it goes on."""
        if self.plan.step_rows == self.state.step_rows:
            return
        now = self.runtime.processes * self.runtime.devices
        self.runtime.say(
            f"the run began on {devices} device{'s' * (devices > 1)} and continues on {now}: "
            f"each step keeps its {self.state.step_rows} rows"
        )
        self.plan = replace(self.plan, step_rows=self.state.step_rows)
        self.stepper.follow(self.plan)

    def _start_anew(self) -> None:
        """Forgets a run that was killed before its first checkpoint. Raises UsageError where there are checkpoints."""
        checkpoints, log = self.job.checkpoints, self.job.log
        if checkpoints.all():
            raise UsageError(
                f"{checkpoints.output_dir} holds checkpoints but no {STATE_FILE}, so training cannot go on from them: "
                "--overwrite_output_dir starts anew, --output_dir NAME takes another folder"
            )
        self.runtime.wait()  # until all processes have looked
        if self.runtime.is_main:
            log.forget_after(-1, -1)
        self.runtime.say(f"no checkpoint in {checkpoints.output_dir} to go on from: starting at step 0")
