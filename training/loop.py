"""`fit` and `evaluate`: the only training loop. They know neither a task nor an architecture, only functions.

`loss_of(model, batch)` returns the sum of the losses and the number of terms in that sum. The loop divides by the
number of all terms of an optimizer step, so that rows, tokens and spans alike give the loss of the whole batch, however
it was cut into micro-batches.
"""

from __future__ import annotations

import functools
import itertools
import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from training.checkpoint import STATE_FILE, CheckpointFolder, step_of
from training.config import Every, LoopConfig, UsageError
from training.draws import RowDraws
from training.progress import Progress
from training.results import CONFIG_FILE, TRAINING_FILE, MetricsLog, write_json
from training.runtime import Runtime

# {"inputs": keyword arguments of the model, "labels": ..., "rows": B, "real_tokens": T, "padded_tokens": B * L}
Batch = dict[str, Any]
# A batch of some rows; of how many it is to be made where shapes are fixed (`Runtime.fixed_shapes`), else None.
Collate = Callable[[np.ndarray, int | None], Batch]
# Also with what the rows draw from: the same for the same rows of a step, so that a resumed run draws the same.
TrainingCollate = Callable[[np.ndarray, RowDraws, int | None], Batch]
LossOf = Callable[[nn.Module, Batch], tuple[Tensor, int | Tensor]]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; everything up to then is saved in `checkpoint`."""

    def __init__(self, checkpoint: Path):
        super().__init__(f"stopped; saved as {checkpoint}")


@dataclass(frozen=True)
class Plan:
    """Which rows make up which optimizer step. Every epoch is a permutation drawn from `(seed, epoch)`, so the rows of
    any step can be told without running those before it, which is what makes resuming exact.

    batch_size: rows of a micro-batch of one process, at most. step_rows: rows of a step, over all its micro-batches and
    processes: what a run keeps when it is resumed, on however many processes.
    """

    rows: int
    batch_size: int
    step_rows: int
    epochs: float
    seed: int
    max_steps: int = -1
    min_steps: int = 0
    process: int = 0
    processes: int = 1

    @classmethod
    def of(cls, config: LoopConfig, rows: int, runtime: Runtime) -> Plan:
        """Raises UsageError where there are fewer rows than processes."""
        if rows < runtime.processes:
            raise UsageError(
                f"{rows} training rows for {runtime.processes} processes: at least one each; start fewer of them"
            )
        batch_size = config.train_batch_size * runtime.devices
        return cls(
            rows=rows,
            batch_size=batch_size,
            step_rows=batch_size * config.gradient_accumulation_steps * runtime.processes,
            epochs=config.num_train_epochs,
            seed=config.seed,
            max_steps=config.max_steps,
            min_steps=config.min_steps,
            process=runtime.process,
            processes=runtime.processes,
        )

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.rows / self.step_rows)

    @property
    def steps(self) -> int:
        if self.max_steps > 0:
            return self.max_steps
        return max(1, self.min_steps, math.ceil(self.steps_per_epoch * self.epochs))

    def rows_of(self, step: int) -> np.ndarray:
        """The row ids of optimizer step `step`, from 0. The last step of an epoch may be short."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        return _epoch_order(self.rows, self.seed, epoch)[step_in_epoch * self.step_rows :][: self.step_rows]

    def row_count(self, step: int) -> int:
        """How many rows step `step` has, by arithmetic."""
        return min(self.step_rows, self.rows - step % self.steps_per_epoch * self.step_rows)

    def micro_batches(self, step: int) -> list[slice]:
        """Which of the step's rows each micro-batch of this process has: all processes as many as can be, but for one.

        In a step of fewer rows than processes some have no micro-batch.
        """
        rows = self.row_count(step)
        count = math.ceil(rows / (self.batch_size * self.processes)) * self.processes
        bounds = [rows * number // count for number in range(count + 1)]
        parts = [slice(start, end) for start, end in itertools.pairwise(bounds)]
        return [part for part in parts[self.process :: self.processes] if part.start < part.stop]

    def is_due(self, every: Every, step: int) -> bool:
        """Whether what happens every so many steps, or at the end of each epoch, happens after `step` steps."""
        period = self.steps_per_epoch if every == "epoch" else every
        return period > 0 and step % period == 0


@functools.lru_cache(maxsize=2)
def _epoch_order(rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(rows)


class _MicroBatches(Dataset):
    """Collated micro-batches by the step and which of its rows they have."""

    def __init__(self, plan: Plan, collate: TrainingCollate, size: int | None):
        self.plan, self.collate, self.size = plan, collate, size

    def __getitem__(self, place: tuple[int, slice]) -> Batch:
        step, part = place
        draws = RowDraws([self.plan.seed, step], np.arange(part.start, part.stop))
        return self.collate(self.plan.rows_of(step)[part], draws, self.size)


def batches_from(plan: Plan, collate: TrainingCollate, first: int, runtime: Runtime) -> Iterator[list[Batch]]:
    """This process's micro-batches of each optimizer step from `first` on, not yet on the device."""
    steps = range(first, plan.steps)
    loader = DataLoader(
        _MicroBatches(plan, collate, runtime.batch_of(plan.batch_size)),
        sampler=((step, part) for step in steps for part in plan.micro_batches(step)),
        batch_size=None,
        pin_memory=runtime.pins_memory,
        generator=torch.Generator(),  # a loader without its own draws from the global one
    )
    # On a CPU a batch that is made meanwhile would only take the cores from the step.
    batches = iter(loader) if runtime.device.type == "cpu" else made_ahead(iter(loader))
    for step in steps:
        yield [next(batches) for _ in plan.micro_batches(step)]


def made_ahead(batches: Iterator[Batch], count: int = 2) -> Iterator[Batch]:
    """The same, while a thread makes the next ones."""
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, batches, end) for _ in range(count))
        while (batch := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, batches, end))
            yield batch


@dataclass
class State:
    """Where training stands: what a checkpoint holds beside the weights, the optimizer and the generators.

    seconds: spent in steps, without evaluations and saving. window_loss, window_terms: since the last log line. Sums
    are over all processes. step_rows: of a whole step.
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

    def figures(self, plan: Plan) -> dict[str, Any]:
        """What `results.json` says of training. padding_ratio: share of padding in the batches as they are made."""
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
    """All that a training run is given.

    write_model: writes weights, configuration and tokenizer into a folder. identity: what must be the same for a run to
    be resumed: settings, contents of the rows. data: file -> sha256. evaluate: split and metrics of the model as it is,
    or None where no evaluation is wanted; `main_metric` among them selects the best checkpoint. rows: how many each
    split has.
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


def fit(job: Job) -> State:
    """Trains `job.model` in place; leaves checkpoints, `metrics.jsonl`, `run_config.json`, `training.json` behind.

    `config.resume` goes on with a run.

    Raises Interrupted after Ctrl-C or SIGTERM, and UsageError where the loss is not finite, a checkpoint cannot be
    written, or the run to resume is another one.
    """
    config = job.config
    run = Run(job)
    if config.resume:
        run.restore()
    # Not before it is known to be this run's folder.
    folder, plan = job.checkpoints.output_dir, run.plan
    record = {"data": job.data, "rows": job.rows, "precision": job.runtime.precision}
    write_json(folder / CONFIG_FILE, config.model_dump())
    write_json(folder / TRAINING_FILE, record)
    state = run.state
    progress = Progress(job.runtime, "train", plan.steps, "step", done=state.step)
    with _stop_request(job.runtime.processes) as stop:
        if run.evaluation_is_due() and state.evaluated_step < state.step:  # interrupted while it evaluated
            run.evaluate(stop)
        for batches in batches_from(plan, job.collate, state.step, job.runtime):
            if state.stopped_early:
                break
            run.step(batches)
            progress.advance()
            is_last = state.step == plan.steps
            if plan.is_due(config.logging_steps, state.step) or (is_last and config.logging_steps):
                progress.show(run.log_loss())
            gained = run.evaluation_is_due() and run.evaluate(stop)
            state.stopped_early = 0 < config.early_stopping_patience <= state.without_gain
            stops = stop.is_agreed(job.runtime)
            if gained or is_last or state.stopped_early or stops or plan.is_due(config.save_steps, state.step):
                checkpoint = run.save()
            if stops:
                raise Interrupted(checkpoint)
    progress.close()
    figures = state.figures(plan) | {"peak_memory_bytes": job.runtime.peak_memory_bytes()}
    figures |= run.compilations()
    if job.runtime.fixed_shapes:
        job.runtime.say(f"graphs compiled for training: {figures['compilations']}")
    write_json(folder / TRAINING_FILE, record | {"figures": figures})
    job.runtime.wait()  # until all of it is written: what comes next reads it
    return state


class Run:
    """The moving parts of a training run: optimizer, schedule, state."""

    def __init__(self, job: Job):
        self.job, self.plan = job, job.plan
        self.state = State(step_rows=job.plan.step_rows)
        self.model, self.runtime = job.model, job.runtime
        self.runtime.seed_apart(job.config.seed)
        config = job.config
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, config.weight_decay),
            lr=config.learning_rate,
            eps=config.adam_epsilon,
            **self.runtime.adamw,
        )
        self.schedule = learning_rate_schedule(self.optimizer, config, self.plan.steps)
        # This process's loss since it was last read, on the device: reading it would make the device wait in every
        # step. In fp64, so that it does not matter when it is read.
        self.loss = torch.zeros((), device=self.runtime.device, dtype=torch.float64)
        self.terms: int | Tensor = 0
        self.real_tokens = self.padded_tokens = 0
        self._reached: list[nn.Parameter] | None = None
        # Of this process, which has compiled nothing for this run before.
        self._first_step, self._compiled_before = 0, self.runtime.compilations()
        self.model.train()
        self._last_moment = time.perf_counter()

    def step(self, batches: list[Batch]) -> None:
        """One optimizer step over this process's micro-batches."""
        state, rows = self.state, self.plan.row_count(self.state.step)
        terms: int | Tensor = 0
        compiled = self.runtime.compilations()
        self.runtime.seed_step(self.job.config.seed, state.step)
        with self.runtime.memory_runs_out(self._smaller_batches()):
            for batch in batches:
                batch = self.runtime.place(batch)
                with self.runtime.autocast():
                    loss, count = self.job.loss_of(self.model, batch)
                # Divided by the rows for now: fp16 gradients must not grow with the size of the batch.
                self.runtime.backward(loss / self.runtime.number(rows))
                self.loss += loss.detach()
                self.runtime.launch()
                terms = terms + count
                self.real_tokens += batch["real_tokens"]
                self.padded_tokens += batch["padded_tokens"]
            self.terms = self.terms + terms
            self._divide_by(self._add_up_gradients(terms), rows)
            self.runtime.step(self.optimizer, self.parameters, self.job.config.max_grad_norm)
        self.schedule.step()
        self._warn_of_late_compilations(self.runtime.compilations() - compiled, batches)
        state.step += 1
        state.rows += rows
        state.window_rows += rows
        spent = self._seconds_since_last_moment()  # with the collating of the batches, before this call
        state.seconds += spent
        state.window_seconds += spent

    def _warn_of_late_compilations(self, count: int, batches: list[Batch]) -> None:
        # The second step has graphs of its own, as there were no gradients and no moments in the first.
        if count and self.state.step >= self._first_step + max(2, self.plan.steps_per_epoch):
            widths = sorted({batch["padded_tokens"] // self.plan.batch_size for batch in batches})
            self.runtime.say(
                f"warning: step {self.state.step + 1} compiled {count} more graph{'s' * (count > 1)}, after the first "
                f"epoch; its rows are {', '.join(map(str, widths))} tokens wide. Fewer length_buckets avoid that"
            )

    def compilations(self) -> dict[str, int]:
        """Graphs that this run has had compiled, its evaluations too; nothing where none are."""
        count = self.runtime.compilations() - self._compiled_before
        return {"compilations": count} if self.runtime.fixed_shapes else {}

    def _smaller_batches(self) -> str:
        config = self.job.config
        return (
            f"lower train_batch_size ({config.train_batch_size}) and raise gradient_accumulation_steps "
            f"({config.gradient_accumulation_steps}) as much, for the same steps; or take shorter rows"
        )

    def _add_up_gradients(self, terms: int | Tensor) -> int | Tensor:
        """Replaces gradients of this process's loss sum by those of all processes' sum; returns the terms in that."""
        if self.runtime.processes == 1:
            return terms
        for parameter in self._with_gradients():
            if parameter.grad is None:  # this process had no rows in this step
                parameter.grad = torch.zeros_like(parameter)
        total = torch.as_tensor(terms, dtype=torch.float32, device=self.runtime.device).clone()
        self.runtime.add_up([*(p.grad for p in self.parameters if p.grad is not None), total])
        return total

    def _with_gradients(self) -> list[nn.Parameter]:
        """The parameters that the loss reaches, in whichever process; found out in the first step of a run.

        No later step may reach others: what the processes add up would not be the same. No objective here does.
        """
        if self._reached is None:
            found = self.runtime.sums([float(p.grad is not None) for p in self.parameters])
            self._reached = [p for p, count in zip(self.parameters, found, strict=True) if count]
        return self._reached

    def _seconds_since_last_moment(self) -> float:
        before, self._last_moment = self._last_moment, time.perf_counter()
        return self._last_moment - before

    def _divide_by(self, terms: int | Tensor, rows: int) -> None:
        """Turns gradients of the loss sum over `rows` into those of the mean over all terms of the step."""
        if isinstance(terms, int) and terms == rows and not self.runtime.fixed_shapes:  # which would be another graph
            return
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        torch._foreach_mul_(gradients, self.runtime.number(rows / terms))

    def log_loss(self) -> str:
        """Writes the mean loss since the last time, and returns the line to show. Raises UsageError if not finite."""
        state, plan = self.state, self.plan
        self.read()
        loss = state.window_loss / max(1, state.window_terms)
        rate, learning_rate = state.window_rows / state.window_seconds, self.schedule.get_last_lr()[0]
        self.job.log.write(
            "train",
            step=state.step,
            epoch=round(state.step / plan.steps_per_epoch, 4),
            loss=loss,
            learning_rate=learning_rate,
            rows_per_second=round(rate, 1),
            seconds=round(state.seconds, 1),
            **self.compilations(),
        )
        state.window_loss = state.window_terms = state.window_seconds = 0.0
        state.window_rows = 0
        epoch = state.step / plan.steps_per_epoch
        return f"epoch {epoch:.2f}  loss {loss:.4f}  lr {learning_rate:.2e}  {rate:.0f} rows/s"

    def read(self) -> None:
        """Moves what this process has counted into the state, added up over all; a device to CPU synchronisation, so
        only where a step logs or saves. Raises UsageError where the loss is not finite.
        """
        state = self.state
        with self.runtime.memory_runs_out(self._smaller_batches()):  # where a device may say so late
            counted = [float(self.loss), float(self.terms), self.real_tokens, self.padded_tokens]
        loss, terms, real_tokens, padded_tokens = self.runtime.sums(counted)
        state.window_loss += loss
        state.window_terms += terms
        state.real_tokens += int(real_tokens)
        state.padded_tokens += int(padded_tokens)
        self.loss.zero_()
        self.runtime.launch()  # by itself: the next step's graph would be another one
        self.terms = self.real_tokens = self.padded_tokens = 0
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

    def evaluation_is_due(self) -> bool:
        job, step = self.job, self.state.step
        every = job.config.evaluates_every
        return (
            job.evaluate is not None
            and step > 0
            and every != 0
            and (self.plan.is_due(every, step) or step == self.plan.steps)
        )

    def evaluate(self, stop: _StopRequest) -> bool:
        """Scores the model; returns whether it is the best so far. Ctrl-C breaks it off, to be done when resumed."""
        state, job = self.state, self.job
        self.model.eval()
        try:
            with stop.at_once(self.runtime):
                split, metrics = job.evaluate()
        except KeyboardInterrupt:
            return False
        finally:
            self.model.train()
            self._seconds_since_last_moment()  # evaluations are not counted as training
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

    def save(self) -> Path:
        """Writes a checkpoint of this step. Raises UsageError where loss or weights are not finite."""
        self.read()
        if not self.runtime.are_finite(self.parameters):
            self._refuse_to_go_on("there are weights that are not finite")
        content = {
            "state": asdict(self.state),
            "optimizer": self.runtime.storable(self.optimizer.state_dict()),
            "schedule": self.schedule.state_dict(),
            "scaler": self.runtime.scaler_state(),
            "random": self.runtime.gather(self.runtime.random_state()),
            "devices": self.runtime.processes * self.runtime.devices,
            "identity": self.job.identity,
        }

        def write_model(folder: Path) -> None:
            self.job.write_model(folder, self.state)

        checkpoints = self.job.checkpoints
        checkpoint = checkpoints.path(self.state.step)
        if self.runtime.is_main:
            checkpoints.save(self.state.step, write_model, content, self.state.best_step)
        self.runtime.wait()
        self._seconds_since_last_moment()
        return checkpoint

    def restore(self) -> None:
        """Goes back to the newest checkpoint; where there is none, the run starts from its beginning.

        Raises UsageError, and leaves everything as it is, where that checkpoint is damaged or another run's.
        """
        job = self.job
        newest = job.checkpoints.newest_with_state()
        if newest is None:
            self._start_anew()
            return
        content = job.checkpoints.load_state(newest)
        refuse_another_run(content["identity"], job.identity, newest)
        job.checkpoints.load_weights(self.model, newest)
        self.runtime.wait()  # until all have read it
        if self.runtime.is_main:
            job.checkpoints.clean_up()
            job.log.forget_after(step_of(newest))
        self.state = State(**content["state"])
        self._first_step = self.state.step
        # Older checkpoints say neither how many rows a step has nor of which process the generators are: there was one.
        self.state.step_rows = self.state.step_rows or self.plan.step_rows
        random = content["random"] if isinstance(content["random"], list) else [content["random"]]
        self.state.stopped_early = 0 < job.config.early_stopping_patience <= self.state.without_gain
        self._keep_step_rows(content.get("devices", len(random)))
        for group in content["optimizer"]["param_groups"]:
            group |= self.runtime.adamw  # of this device, not of the one where it was saved
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        self.runtime.load_scaler_state(content["scaler"])
        if self.runtime.process < len(random):
            self.runtime.load_random_state(random[self.runtime.process])
        else:
            self.runtime.seed_apart(job.config.seed, self.state.step)
        self.runtime.say(f"resumed from {newest} at step {self.state.step} of {self.plan.steps}")

    def _keep_step_rows(self, devices: int) -> None:
        """Goes on with steps of as many rows as the run had on so many devices, on those of now."""
        if self.plan.step_rows == self.state.step_rows:
            return
        now = self.runtime.processes * self.runtime.devices
        self.runtime.say(
            f"begun on {devices} device{'s' * (devices > 1)}, gone on with on {now}: "
            f"steps stay of {self.state.step_rows} rows"
        )
        self.plan = replace(self.plan, step_rows=self.state.step_rows)
        self.schedule = learning_rate_schedule(self.optimizer, self.job.config, self.plan.steps)

    def _start_anew(self) -> None:
        """Forgets a run that was killed before its first checkpoint. Raises UsageError where there are checkpoints."""
        checkpoints, log = self.job.checkpoints, self.job.log
        if checkpoints.all():
            raise UsageError(
                f"{checkpoints.output_dir} holds checkpoints but no {STATE_FILE}, so training cannot go on from them: "
                "--overwrite_output_dir starts anew, --output_dir NAME takes another folder"
            )
        self.runtime.wait()  # until all have looked
        if self.runtime.is_main:
            checkpoints.clean_up()
            log.forget_after(-1)
        self.runtime.say(f"no checkpoint in {checkpoints.output_dir} to go on from: starting at step 0")


def refuse_another_run(saved: dict[str, Any], current: dict[str, Any], checkpoint: Path) -> None:
    """Raises UsageError where a checkpoint belongs to a run with other settings or data."""
    changed = [key for key in saved | current if saved.get(key) != current.get(key)]
    if changed:
        differences = ", ".join(f"{key} was {saved.get(key)!r}, is now {current.get(key)!r}" for key in changed)
        raise UsageError(f"{checkpoint} belongs to another run: {differences}; resuming needs the same")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and LayerNorm weights are not decayed, as in the originals."""
    norms = {id(p) for module in model.modules() if isinstance(module, nn.LayerNorm) for p in module.parameters()}
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (plain if name.endswith("bias") or id(parameter) in norms else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def learning_rate_schedule(optimizer: torch.optim.Optimizer, config: LoopConfig, steps: int):
    """Warm-up over `warmup_proportion` of the steps, then linearly to zero, or constant."""
    from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

    warmup = int(steps * config.warmup_proportion)
    if config.lr_scheduler == "constant":
        return get_constant_schedule_with_warmup(optimizer, warmup)
    return get_linear_schedule_with_warmup(optimizer, warmup, steps)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    predict: Callable[[nn.Module, Batch], Tensor],
    collate: Collate,
    lengths: np.ndarray,
    batch_size: int,
    runtime: Runtime,
    name: str = "evaluate",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row ids `[B]` and the outputs of `predict` for them, `[B, ...]` in fp32, batch by batch: never all at once.

    Rows of like length go together, longest first: little padding, and memory runs out in the first batch or never.
    Several processes take a batch each at a time, and get the outputs of all.
    Raises UsageError where an output is not finite.
    """
    was_training = model.training
    order = np.argsort(-lengths, kind="stable")
    progress = Progress(runtime, name, len(order), "row")
    at_once = batch_size * runtime.devices * runtime.processes
    under_way: tuple[np.ndarray, Tensor] | None = None  # read off the device when the next batch is on its way
    model.eval()
    try:
        for at in range(0, len(order), at_once):
            together = order[at : at + at_once]  # a batch for each process
            rows = together[runtime.process :: runtime.processes]
            outputs = None
            if len(rows):
                with runtime.memory_runs_out(f"lower eval_batch_size ({batch_size}), or take shorter rows"):
                    batch = runtime.place(collate(rows, runtime.batch_of(batch_size * runtime.devices)))
                    with runtime.autocast():
                        outputs = runtime.whole(predict(model, batch).float())
                    runtime.launch()
            if at:
                yield from _read_off(under_way, runtime)
            under_way = None if outputs is None else (rows, outputs)
            progress.advance(len(together))
            progress.show_now_and_then()
        if len(order):
            yield from _read_off(under_way, runtime)
    finally:
        model.train(was_training)
    progress.close()


def _read_off(own: tuple[np.ndarray, Tensor] | None, runtime: Runtime) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every process's rows and outputs, in all processes: each of them makes the same scores of them."""
    found = (own[0], own[1].cpu().numpy()[: len(own[0])]) if own else None  # without padding rows
    gathered = runtime.gather((found, runtime.is_asked_to_stop()))
    if any(asked for _, asked in gathered):
        raise KeyboardInterrupt
    for rows, values in filter(None, (found for found, _ in gathered)):
        if not np.isfinite(values).all():
            raise UsageError(
                "the model's outputs are not finite: its weights are broken, or too large for this precision"
            )
        yield rows, values


def in_order_of_rows(batches: Iterable[tuple[np.ndarray, np.ndarray]], rows: int) -> np.ndarray:
    """`[rows, ...]`: the outputs of all batches, each of one shape, put where their row ids say."""
    result = None
    for row_ids, outputs in batches:
        if result is None:
            result = np.empty((rows, *outputs.shape[1:]), outputs.dtype)
        result[row_ids] = outputs
    return result


class _StopRequest:
    """Whether Ctrl-C or SIGTERM asked for an end. The step under way is finished first, an evaluation is not.

    Several processes never break off by themselves, where others would wait for them: `torchrun` sends a second signal
    anyway, and ends what has not ended 30 seconds after the first.
    """

    def __init__(self, processes: int = 1):
        self.requested = False
        self._at_once = False
        self._among_several = processes > 1

    def handle(self, signal_number: int, frame: Any) -> None:
        at_once = (self.requested or self._at_once) and not self._among_several  # a second Ctrl-C does not wait
        self.requested = True
        if at_once:
            raise KeyboardInterrupt

    def is_agreed(self, runtime: Runtime) -> bool:
        """Whether all processes stop after this step, as one of them was asked to."""
        return runtime.sums([float(self.requested)])[0] > 0

    @contextmanager
    def at_once(self, runtime: Runtime) -> Iterator[None]:
        """For an evaluation, which is broken off; by several processes after the same batch."""
        self._at_once = True
        if self._among_several:
            runtime.is_asked_to_stop = lambda: self.requested
        try:
            yield
        finally:
            self._at_once = False
            runtime.is_asked_to_stop = lambda: False


@contextmanager
def _stop_request(processes: int) -> Iterator[_StopRequest]:
    stop = _StopRequest(processes)
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
