"""Predictions for all rows of a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from training.config import UsageError
from training.plan import Batch, Collate, loaded, without_counts
from training.progress import Progress
from training.runtime import Runtime


class Predictor:
    """Calls `predict(model, batch)` without gradients, at the precision of the run.

    On a GPU the calls are replayed as CUDA graphs (`captured_step.py`), which live as long as this object. So `predict`
    must read no value off the device.
    """

    def __init__(self, model: nn.Module, predict: Callable[[nn.Module, Batch], Tensor], runtime: Runtime):
        self.model, self.predict, self.runtime = model, predict, runtime

        @torch.no_grad()
        def forward(
            batch: Batch,
        ) -> Tensor:  # without self, so that the graphs are freed with this object
            with runtime.autocast():
                return predict(model, batch).float()

        self._take = runtime.replayed(forward)

    def __call__(self, batch: Batch) -> Tensor:
        """The outputs for a batch that is not on the device yet, in fp32; the model is in evaluation mode."""
        batch = without_counts(batch)
        try:
            return self._take(batch)
        except torch.OutOfMemoryError:
            if not self.runtime.has_graphs:
                raise
        # Not inside the except clause, where the exception still holds the memory of the failed call.
        self.runtime.stop_capturing("memory has run out, and graphs take as much of it as a batch")
        return self._take(batch)


class _BatchesOfRows(Dataset):
    """Collated batches by their row ids."""

    def __init__(self, collate: Collate, size: int | None):
        self.collate, self.size = collate, size

    def __getitem__(self, rows: np.ndarray) -> Batch:
        return self.collate(rows, self.size)


def evaluate(
    predictor: Predictor, collate: Collate, lengths: np.ndarray, batch_size: int, name: str = "evaluate"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row ids `[B]` and what is predicted for them, `[B, ...]` in fp32, batch by batch: never all at once.

    Rows of similar length share a batch, and the longest come first: this saves padding, and if memory is too small,
    the first batch shows it. Several processes take one batch each at a time, and every process gets all outputs.
    Raises UsageError where an output is not finite.
    """
    model, runtime = predictor.model, predictor.runtime
    was_training = model.training
    order = np.argsort(-lengths, kind="stable")
    progress = Progress(runtime, name, len(order), "row")
    at_once = batch_size * runtime.devices * runtime.processes
    together = [order[at : at + at_once] for at in range(0, len(order), at_once)]  # one batch for each process
    of_process = [rows[runtime.process :: runtime.processes] for rows in together]
    size = runtime.batch_of(batch_size * runtime.devices)
    batches = loaded(_BatchesOfRows(collate, size), [rows for rows in of_process if len(rows)], runtime)
    under_way: tuple[np.ndarray, Tensor] | None = None  # read off the device after the next batch has been started
    model.eval()
    try:
        for number, rows in enumerate(of_process):
            outputs = None
            if len(rows):
                with runtime.memory_runs_out(f"lower eval_batch_size ({batch_size}), or take shorter rows"):
                    outputs = runtime.whole(predictor(next(batches)))
                    runtime.launch()
            if number:
                yield from _read_off(under_way, runtime)
            under_way = None if outputs is None else (rows, outputs)
            progress.advance(len(together[number]))
        if together:
            yield from _read_off(under_way, runtime)
    finally:
        model.train(was_training)
        progress.close()


def _read_off(own: tuple[np.ndarray, Tensor] | None, runtime: Runtime) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows and outputs of all processes, in each process, so that all of them compute the same scores."""
    found = (own[0], own[1].cpu().numpy()[: len(own[0])]) if own else None  # without the rows that fill a batch up
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
