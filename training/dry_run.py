"""A dry run: everything up to training, then a few steps, to estimate what the whole would take. Writes nothing."""

from __future__ import annotations

import statistics
import time

import numpy as np

from storage.activity import clock
from training.loop import Job, TrainingRun
from training.plan import batches_from
from training.row_random import RowDraws

# The first steps allocate memory and load libraries; only the steps after them are timed.
WARM_UP_STEPS, TIMED_STEPS = 2, 8


def dry_run(job: Job, lengths: np.ndarray) -> None:
    """Says how long training would take, and how much memory and disk; changes the model, and nothing else.

    lengths: tokens of each row of an epoch, `[N]`. Memory is measured in a step over the longest rows.
    """
    runtime, plan = job.runtime, job.plan
    run = TrainingRun(job)
    longest = np.argsort(-lengths, kind="stable")[plan.process :: plan.processes][: plan.batch_size]
    run.step([job.collate(longest, RowDraws([plan.seed], longest), runtime.batch_of(plan.batch_size))])
    steps = min(WARM_UP_STEPS + TIMED_STEPS, plan.steps)
    seconds = []  # per step, including the time to make its batch
    batches_of_steps = batches_from(plan, job.collate, 0, runtime)
    for _ in range(steps):
        started = time.perf_counter()
        batches = next(batches_of_steps)
        made = time.perf_counter() - started
        number = run.state.step
        # A captured step is replayed from the third time on, and in a whole run most steps are replays.
        for _ in range(3 if runtime.captures else 1):
            run.state.step = number
            started = time.perf_counter()
            run.step(batches)
            run.read()  # which waits for the device
            taken = time.perf_counter() - started
        seconds.append(made + taken)
    step = statistics.median(seconds[min(WARM_UP_STEPS, steps - 1) :])
    epochs = f"{plan.steps_per_epoch:,} an epoch"
    runtime.say(
        f"dry run: {plan.steps:,} steps of {plan.step_rows} rows, {epochs}; {step:.3g} s a step, so "
        f"{clock(step * plan.steps_per_epoch)} an epoch, {clock(step * plan.steps)} in all, beside evaluations"
    )
    rows = f"{len(longest)} longest row{'s' * (len(longest) > 1)} ({int(lengths[longest].max())} tokens)"
    weights = sum(tensor.nbytes for tensor in job.model.state_dict().values())
    state = sum(tensor.nbytes for of_one in run.stepper.optimizer.state.values() for tensor in of_one.values())
    runtime.say(
        f"memory: {_in_bytes(runtime.peak_memory_bytes())} on {runtime.hardware()['name']}, with the {rows}; disk: "
        f"{_in_bytes(weights)} a checkpoint, and {_in_bytes(state)} more for the newest"
    )
    runtime.say(f"nothing was written to {job.checkpoints.output_dir}")


def _in_bytes(count: float) -> str:
    """`1.3 GiB`, `420 MiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
