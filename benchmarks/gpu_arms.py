"""The arms of benchmarks/bench_gpu.py, timed side by side in one process.

- padded_to_longest_bf16: transformers' model, unchanged, under bf16 autocast; each batch is padded to its longest row.
  This is what transformers' Trainer does. The training loop and the optimizer are this project's in every arm.
- without_capture: this project's model and batches, with --capture false
- captured: the default, steps replayed as CUDA graphs
- hf_block_sparse_bf16 (BigBird only): transformers' block-sparse attention. It fails under autocast, so its weights are
  bf16. That is an advantage: it casts nothing.

All arms take the same batches in the same order. Before anything is timed, they take them until no batch has a new
shape. Times are medians over interleaved repeats; the device is synchronized before and after each.

`of_matmul`: the time that the matrix products of the unpadded rows would take at the rate of large square products in
bf16, which is measured in the same run, as a share of the arm's time. A layer of width H with feed-forward layers of
width I does, going forward, 2 * (4 H^2 + 2 H I) operations for each token, and 4 H for each pair of a token and one
that it attends to: L^2 pairs in a row of L tokens; in BigBird those that its blocks see. Backward takes twice as many.
ELECTRA's embedding projection and the products of SpanBERT's heads with the vocabulary are counted as well; other heads
are not, as they are below 2 %.
`peak_mib`: the most memory in use above weights and optimizer, measured while the shapes are new and are recorded:
replaying a graph allocates nothing.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.measure import (
    PeakMemory,
    device_name,
    interleaved,
    matrix_product_seconds,
    median_ratio,
    run_of,
    take_steps,
    timed,
)
from training.evaluate import Predictor, evaluate
from training.loop import LossOf, TrainingRun
from training.plan import Collate, Plan, TrainingCollate
from training.runtime import Runtime

BASELINE, HF_BASELINE, CAPTURED = "padded_to_longest_bf16", "hf_block_sparse_bf16", "captured"
PASSES = 6  # the most passes over the batches before anything is timed; the third should find no new shape
MATRIX, MATRIX_OF_REHEARSAL = 8192, 256  # rows and columns of the matrices whose products are timed


@dataclass(frozen=True)
class Arm:
    """precision: of autocast. capture: whether steps are replayed. is_ours: False: the model is transformers' own."""

    precision: str = "bf16"
    capture: bool = False
    is_ours: bool = True


OURS = {"without_capture": Arm(), CAPTURED: Arm(capture=True)}
ARMS = {BASELINE: Arm(is_ours=False), **OURS}
BIGBIRD_ARMS = {HF_BASELINE: Arm("fp32", is_ours=False), **OURS}


@dataclass(frozen=True)
class Bench:
    """folder: for temporary files. is_rehearsal: run on a CPU, with tiny models and few batches."""

    folder: Path
    repeats: int
    is_rehearsal: bool

    def runtime(self, arm: Arm) -> Runtime:
        return Runtime(self.is_rehearsal, arm.precision, arm.capture)

    def pick(self, real: Any, rehearsed: Any) -> Any:
        return rehearsed if self.is_rehearsal else real


@dataclass(frozen=True)
class Part:
    """What one part of a cell has measured: the device in words, a row for each arm, and ratios by their names."""

    device: str
    rows: list[dict[str, Any]]
    ratios: dict[str, float]


@dataclass(frozen=True)
class Objective:
    """A model, what makes its batches, and its loss."""

    model: nn.Module
    collate: TrainingCollate
    loss_of: LossOf


@dataclass(frozen=True)
class Training:
    """What all arms of a cell train.

    build: makes the objective, given the runtime and whether the model is this project's. batch_size: rows a step.
    operations: the number of operations in matrix products, forward and backward, for a list of batches.
    """

    build: Callable[[Runtime, bool], Objective]
    batch_size: int
    steps: int
    operations: Callable[[list], float]

    def run(self, bench: Bench, arm: Arm) -> tuple[TrainingRun, list]:
        """A run of the project's loop for one arm, and its batches: the same rows for every arm."""
        runtime = bench.runtime(arm)
        torch.manual_seed(42)
        objective = self.build(runtime, arm.is_ours)
        plan = Plan(self.batch_size * self.steps, self.batch_size, self.batch_size, epochs=1, seed=42)
        return run_of(objective.model, runtime, plan, objective.collate, objective.loss_of, bench.folder)


@dataclass(frozen=True)
class Subject:
    """What is timed. take: takes all batches once. begin: called before memory is measured; it makes the optimizer's
    state. graphs: {"graphs", "capture_seconds", "replayed_steps"} so far; empty if steps are not captured.
    """

    take: Callable[[], Any]
    graphs: Callable[[], dict[str, Any]]
    begin: Callable[[], Any] = lambda: None

    def warm_up(self, device: torch.device) -> int:
        """Takes the batches until no shape is new. Returns the peak of memory during that time, in bytes."""
        self.begin()
        recorded = None
        with PeakMemory(device) as memory:
            for _ in range(PASSES):
                self.take()
                before, recorded = recorded, self.graphs().get("graphs")
                if recorded == before:  # also where none are captured
                    break
        return memory.bytes

    def count(self) -> tuple[int, int]:
        """Steps replayed, and graphs recorded, so far."""
        graphs = self.graphs()
        return graphs["replayed_steps"], graphs["graphs"]


@dataclass(frozen=True)
class Amount:
    """The size of one pass over all batches. operations: in matrix products, as this file's docstring counts them."""

    steps: int
    rows: int
    tokens: int
    operations: float


def subject_of(run: TrainingRun, batches: list) -> Subject:
    return Subject(
        functools.partial(take_steps, run, batches), run.stepper.graphs, functools.partial(run.step, batches[0])
    )


def measure_training(bench: Bench, name: str, ratio: str, training: Training, arms: Mapping[str, Arm] = ARMS) -> Part:
    """Times training steps in all arms. name: stands before the arm's name in the table. ratio: name of the ratio of
    the first arm's time to that of the captured arm.
    """
    runs = {arm: training.run(bench, settings) for arm, settings in arms.items()}
    batches = [batch for step in runs[CAPTURED][1] for batch in step]
    tokens = sum(batch["real_tokens"] for batch in batches)
    amount = Amount(training.steps, sum(b["rows"] for b in batches), tokens, training.operations(batches))
    subjects = {arm: subject_of(*run) for arm, run in runs.items()}
    return measure_arms(bench, name, ratio, subjects, amount, runs[CAPTURED][0].runtime.device)


def measure_evaluation(
    bench: Bench,
    name: str,
    ratio: str,
    build: Callable[[Runtime, bool], tuple[nn.Module, Collate, Callable]],
    lengths: np.ndarray,
    batch_size: int,
    operations: float,
) -> Part:
    """Times `training/evaluate.py` in all arms. build: makes model, collate and predict, given the runtime and whether
    the model is this project's. lengths: `[rows]`, tokens. operations: of one forward pass over all rows.
    """

    def subject(arm: Arm) -> Subject:
        runtime = bench.runtime(arm)
        torch.manual_seed(42)
        model, collate, predict = build(runtime, arm.is_ours)
        predictor = Predictor(runtime.prepare(model), predict, runtime)

        def take() -> None:
            for _ in evaluate(predictor, collate, lengths, batch_size):
                pass

        def graphs() -> dict[str, Any]:
            if not arm.capture:
                return {}
            made = predictor._take
            return {"graphs": made.captured, "capture_seconds": made.seconds, "replayed_steps": made.replays}

        return Subject(take, graphs)

    steps = -(-len(lengths) // batch_size)
    amount = Amount(steps, len(lengths), int(lengths.sum()), operations)
    subjects = {arm: subject(settings) for arm, settings in ARMS.items()}
    return measure_arms(bench, name, ratio, subjects, amount, bench.runtime(Arm()).device)


def measure_arms(
    bench: Bench, name: str, ratio: str, subjects: Mapping[str, Subject], amount: Amount, device: torch.device
) -> Part:
    """Warms the arms up, and times them. Raises RuntimeError if a step of the captured arm was not replayed."""
    peak = {arm: subject.warm_up(device) for arm, subject in subjects.items()}
    replayed, recorded = subjects[CAPTURED].count()
    size = bench.pick(MATRIX, MATRIX_OF_REHEARSAL)
    arms = {arm: timed(subject.take, device) for arm, subject in subjects.items()}
    seconds = interleaved(arms | {"matmul": matrix_product_seconds(device, torch.bfloat16, size)}, bench.repeats)
    now_replayed, now_recorded = subjects[CAPTURED].count()
    expected = (bench.repeats + 1) * amount.steps  # `interleaved` warms up once more
    if (now_replayed - replayed, now_recorded) != (expected, recorded):
        raise RuntimeError(
            f"{name}: of {expected} steps that were to be replayed, {now_replayed - replayed} were, and "
            f"{now_recorded - recorded} graphs were recorded meanwhile"
        )

    rate = 2 * size**3 / statistics.median(seconds.pop("matmul"))
    first, rows = next(iter(subjects)), []
    for arm, taken in seconds.items():
        median, graphs = statistics.median(taken), subjects[arm].graphs()
        rows.append(
            {
                "arm": f"{name}: {arm}",
                "ms_a_step": 1000 * median / amount.steps,
                "rows_per_second": amount.rows / median,
                "real_tokens_per_second": amount.tokens / median,
                "of_matmul": amount.operations / median / rate,
                "peak_mib": peak[arm] / 2**20,
                "graphs": graphs.get("graphs", 0),
                "capture_seconds": float(graphs.get("capture_seconds", 0.0)),
            }
        )
    described = f"{device_name(device)}; matrix products in bf16: {rate / 1e12:,.3g} TFLOP/s"
    return Part(described, rows, {ratio: median_ratio(seconds[first], seconds[CAPTURED])})


def encoder_operations(config, tokens: int, pairs: float, passes: int = 3) -> float:
    """Operations in an encoder's matrix products, as this file's docstring counts them.

    pairs: how many pairs of a token and one that it attends to there are. passes: 3 with backward, 1 without.
    """
    width, layers = config.hidden_size, config.num_hidden_layers
    of_token = 2 * (4 * width * width + 2 * width * config.intermediate_size)
    embedding = getattr(config, "embedding_size", width)
    projection = 2 * embedding * width if embedding != width else 0
    return float(passes * (layers * (tokens * of_token + 4 * width * pairs) + tokens * projection))


def row_lengths(batches: list) -> np.ndarray:
    """`[rows]`: how many tokens each row has that attention sees."""
    return np.concatenate([batch["inputs"]["attention_mask"].sum(dim=1).numpy() for batch in batches])
