"""Which rows make up which optimizer step, and the batches made from them."""

from __future__ import annotations

import functools
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from training.config import Every, LoopConfig, UsageError
from training.row_random import RowDraws
from training.runtime import Runtime

# {"inputs": keyword arguments of the model, "labels": ..., "rows": B, "terms": how many the sum of its losses has,
# "real_tokens": T, "padded_tokens": B * L}, and "second_terms" where there is a second loss (`training/step.py`).
Batch = dict[str, Any]
# Counts for the loop. Model and loss must not use them, because they differ between batches of the same shape.
COUNTS = ("terms", "second_terms", "real_tokens", "padded_tokens")
# Row ids `[B]`, and the number of rows that the batch must have where shapes are fixed (else None) -> the batch.
Collate = Callable[[np.ndarray, int | None], Batch]
# The same, with random numbers for the rows in between: a resumed run draws the same numbers for the same rows.
TrainingCollate = Callable[[np.ndarray, RowDraws, int | None], Batch]


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
        """Optimizer steps in an epoch, of which the last may be short."""
        return math.ceil(self.rows / self.step_rows)

    @property
    def steps(self) -> int:
        """Optimizer steps in the whole run."""
        if self.max_steps > 0:
            return self.max_steps
        return max(1, self.min_steps, math.ceil(self.steps_per_epoch * self.epochs))

    def rows_of(self, step: int) -> np.ndarray:
        """The row ids of optimizer step `step`, from 0. The last step of an epoch may be short."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        return _epoch_order(self.rows, self.seed, epoch)[step_in_epoch * self.step_rows :][: self.step_rows]

    def row_count(self, step: int) -> int:
        """How many rows step `step` has."""
        return min(self.step_rows, self.rows - step % self.steps_per_epoch * self.step_rows)

    def micro_batches(self, step: int) -> list[slice]:
        """The slices of the step's rows that this process takes, one per micro-batch; sizes differ by at most one.

        In a step with fewer rows than processes, some processes have no micro-batch.
        """
        rows = self.row_count(step)
        count = math.ceil(rows / (self.batch_size * self.processes)) * self.processes
        bounds = [rows * number // count for number in range(count + 1)]
        parts = [slice(start, end) for start, end in itertools.pairwise(bounds)]
        return [part for part in parts[self.process :: self.processes] if part.start < part.stop]

    def is_due(self, every: Every, step: int) -> bool:
        """Whether something that happens every so many steps, or after each epoch, is due after `step` steps."""
        period = self.steps_per_epoch if every == "epoch" else every
        return period > 0 and step % period == 0


@functools.lru_cache(maxsize=2)
def _epoch_order(rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(rows)


class _MicroBatches(Dataset):
    """Collated micro-batches, by step and slice of its rows."""

    def __init__(self, plan: Plan, collate: TrainingCollate, size: int | None):
        self.plan, self.collate, self.size = plan, collate, size

    def __getitem__(self, place: tuple[int, slice]) -> Batch:
        step, part = place
        draws = RowDraws([self.plan.seed, step], np.arange(part.start, part.stop))
        return self.collate(self.plan.rows_of(step)[part], draws, self.size)


def batches_from(plan: Plan, collate: TrainingCollate, first: int, runtime: Runtime) -> Iterator[list[Batch]]:
    """This process's micro-batches of each optimizer step from `first` on, not yet on the device."""
    steps = range(first, plan.steps)
    micro_batches = _MicroBatches(plan, collate, runtime.batch_of(plan.batch_size))
    places = ((step, part) for step in steps for part in plan.micro_batches(step))
    batches = loaded(micro_batches, places, runtime)
    for step in steps:
        yield [next(batches) for _ in plan.micro_batches(step)]


def loaded(batches: Dataset, places: Iterable[Any], runtime: Runtime) -> Iterator[Batch]:
    """`batches[place]` for one place after another; on a GPU made ahead by a thread, in page-locked memory."""
    loader = DataLoader(
        batches,
        sampler=places,
        batch_size=None,
        pin_memory=runtime.pins_memory,
        generator=torch.Generator(),  # a loader without a generator of its own draws from the global one
    )
    # On a CPU, making a batch meanwhile would only take cores away from the step.
    return iter(loader) if runtime.device.type == "cpu" else made_ahead(iter(loader))


def without_counts(batch: Batch) -> Batch:
    """The part of a batch that model and loss see."""
    return {name: value for name, value in batch.items() if name not in COUNTS}


def made_ahead(batches: Iterator[Batch], count: int = 2) -> Iterator[Batch]:
    """Yields `batches` in order, while a thread makes the next `count` of them."""
    end = object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, batches, end) for _ in range(count))
        while (batch := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, batches, end))
            yield batch
