"""What the benchmarks share: interleaved repeats, training arms, the rate of matrix products, memory, the report.

The training arms: KoELECTRA-Small's shape with fresh weights, the same rows for all. The loop and the optimizer are
this project's in every arm; padding, precision, dropout and attention differ:

- original_fp32: every row padded to the longest that the setting allows, fp32, as KoELECTRA trained
- longest_fp32, longest_bf16: padded to the longest row of the batch, as the examples of transformers train
- ours_fp32, ours_bf16: the encoder unpadded, this project's dropout and attention; bf16 is the default where the
  hardware multiplies it natively

`of_matmul` is the share of the machine's matrix-product rate (measured in the same run, at the arm's precision) that
goes into the products that the unpadded rows need. `peak_mib` is memory above weights and optimizer. Ratios are medians
over interleaved repeats. Steps are not captured here; benchmarks/bench_gpu.py measures those.
"""

from __future__ import annotations

import ctypes
import datetime
import functools
import gc
import itertools
import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.collator import Collator
from models.fast_dropout import quicken
from storage.whole import write_whole
from training.checkpoint import CheckpointFolder
from training.config import LoopConfig
from training.loop import Job, LossOf, TrainingRun
from training.plan import Plan, TrainingCollate, batches_from
from training.results import MetricsLog, git_commit, versions
from training.row_random import RowDraws
from training.runtime import Runtime

ARMS = {  # padding, precision
    "original_fp32": ("max_seq_len", "fp32"),
    "longest_fp32": ("longest", "fp32"),
    "longest_bf16": ("longest", "bf16"),
    "ours_fp32": ("none", "fp32"),
    "ours_bf16": ("none", "bf16"),
}
KOELECTRA = {
    "small": {
        "embedding_size": 128,
        "hidden_size": 256,
        "num_hidden_layers": 12,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
    "base": {
        "embedding_size": 768,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
    # For trying a benchmark out.
    "tiny": {
        "embedding_size": 16,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
}
ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def interleaved(arms: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Calls every arm in turn, `repeats` times over, after one warm-up each: noise of a shared machine hits all alike.

    An arm returns the seconds it wants counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for arm in arms.values():
        arm()
    for repeat in range(repeats):
        for name, arm in arms.items():
            seconds[name].append(arm())
        print(f"repeat {repeat + 1} of {repeats} done", file=sys.stderr, flush=True)
    return seconds


def timed(work: Callable[[], Any], device: torch.device = CPU) -> Callable[[], float]:
    """An arm: the seconds that `work` takes on the device."""

    def arm() -> float:
        gc.collect()
        gc.freeze()  # what other arms and the setting keep in memory is not this one's to search for garbage
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        seconds = time.perf_counter() - started
        gc.unfreeze()
        return seconds

    return arm


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median over the repeats of the ratio within a repeat, which a slow minute leaves as it is."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Training:
    """What the arms train on, the same for all.

    model_class: of transformers. padded: as `processors.features.Features.padded`. targets: of some rows, what the
    batch holds beside the model's inputs. max_length: tokens a row.
    """

    model_class: type[nn.Module]
    tokenizer: Any
    rows: int
    padded: Callable[[np.ndarray, int, int | None], dict[str, np.ndarray]]
    targets: Callable[[np.ndarray], dict[str, Tensor]]
    loss_of: LossOf
    max_length: int
    batch_size: int
    steps: int
    no_cuda: bool

    def run(self, arm: str, folder: Path) -> tuple[TrainingRun, list]:
        """A run of the project's loop for one arm, and its batches, the same rows for every arm."""
        padding, precision = ARMS[arm]
        runtime = Runtime(no_cuda=self.no_cuda, precision=precision, capture=False)
        torch.manual_seed(42)
        model = koelectra("small", self.model_class, len(self.tokenizer))
        model = quicken(model) if padding == "none" else model
        collator = Collator(model, padding != "none", self.max_length, device=runtime.device)
        length = self.max_length if padding == "max_seq_len" else None

        def collate(rows: np.ndarray, draws: RowDraws, size: int | None) -> dict[str, Any]:
            return collator.batch(self.padded(rows, self.tokenizer.pad_token_id, length)) | self.targets(rows)

        plan = Plan(self.rows, self.batch_size, self.batch_size, 1, seed=42, max_steps=self.steps)
        return run_of(collator.model, runtime, plan, collate, self.loss_of, folder)


def run_of(
    model: nn.Module, runtime: Runtime, plan: Plan, collate: TrainingCollate, loss_of: LossOf, folder: Path
) -> tuple[TrainingRun, list]:
    """A run of the project's loop that logs and saves nothing, and the batches of its steps."""
    config = LoopConfig(save_steps=0, logging_steps=0)
    job = Job(runtime.prepare(model), plan, collate, loss_of, config, runtime, CheckpointFolder(folder),
              MetricsLog(folder), lambda target, state: None, {}, {}, None, "", True)  # fmt: skip
    return TrainingRun(job), list(batches_from(plan, collate, 0, runtime))


def take_steps(run: TrainingRun, batches: list) -> None:
    for step in batches:
        run.step(step)


def koelectra(shape: str, model_class: type[nn.Module], vocabulary: int) -> nn.Module:
    """A model of one of KoELECTRA's shapes (`KOELECTRA`) with fresh weights."""
    from transformers import ElectraConfig

    return model_class(ElectraConfig(vocab_size=vocabulary, max_position_embeddings=512, **KOELECTRA[shape]))


def useful_operations(run: TrainingRun, batches: list) -> int:
    """Operations in matrix products of forward and backward over all batches, unpadded."""
    with FlopCounterMode(display=False) as counter:
        for step in batches:
            for batch in step:
                run.job.loss_of(run.model, run.runtime.place(batch)).backward()
    run.model.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def measure_training(training: Training, folder: Path, repeats: int) -> tuple[str, list[dict], dict[str, float]]:
    """What it was measured on, a row for each arm, and the ratios."""
    runs = {arm: training.run(arm, folder) for arm in ARMS}
    device = runs["ours_fp32"][0].runtime.device
    operations = useful_operations(*runs["ours_fp32"])

    products = {f"matmul_{name}": matrix_product_seconds(device, dtype) for name, dtype in DTYPES.items()}
    arms = {arm: timed(functools.partial(take_steps, *runs[arm]), device) for arm in runs}
    seconds = interleaved(arms | products, repeats)
    peak = {}
    for arm, (run, batches) in runs.items():
        with PeakMemory(device) as memory:
            take_steps(run, batches)
        peak[arm] = memory.bytes

    rate = {name: 2 * 1536**3 / statistics.median(seconds[f"matmul_{name}"]) for name in DTYPES}
    table = []
    for arm, (_, batches) in runs.items():
        flat = [batch for step in batches for batch in step]
        real, padded = (sum(batch[key] for batch in flat) for key in ("real_tokens", "padded_tokens"))
        padded = real if ARMS[arm][0] == "none" else padded
        median = statistics.median(seconds[arm])
        table.append(
            {
                "arm": arm,
                "rows_per_second": sum(batch["rows"] for batch in flat) / median,
                "real_tokens_per_second": real / median,
                "padding_ratio": 1 - real / padded,
                "of_matmul": operations / median / rate[ARMS[arm][1]],
                "peak_mib": peak[arm] / 2**20,
            }
        )
    default = "ours_" + Runtime(device.type == "cpu", "auto").precision
    ratios = {
        "vs_original_padding_fp32": median_ratio(seconds["original_fp32"], seconds[default]),
        "vs_longest_padding_same_precision": median_ratio(
            seconds[default.replace("ours", "longest")], seconds[default]
        ),
        "vs_longest_padding_fp32": median_ratio(seconds["longest_fp32"], seconds["ours_fp32"]),
        "matmul_fraction": next(row["of_matmul"] for row in table if row["arm"] == default),
    }
    table += [{"arm": f"matmul_{name}", "gflops": value / 1e9} for name, value in rate.items()]
    return device_name(device), table, ratios


def matrix_product_seconds(device: torch.device, dtype: torch.dtype, size: int = 1536) -> Callable[[], float]:
    """An arm that times square matrix products; `2 * size ** 3` operations each."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def arm() -> float:
        synchronize(device)
        started = time.perf_counter()
        for _ in range(4):
            a @ b
        synchronize(device)
        return (time.perf_counter() - started) / 4

    return arm


class PeakMemory:
    """Most memory in use inside the block, in bytes (0 where it cannot be told).

    peak: of the device, or of this process. bytes: how much of it was not in use at the block's start.
    """

    def __init__(self, device: torch.device):
        self.device, self.bytes, self.peak = device, 0, 0

    def __enter__(self) -> PeakMemory:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
        elif sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # what earlier arms freed goes back, or it would hide this one's need
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
            self._before = _status_bytes("VmRSS")
        return self

    def __exit__(self, *exception: object) -> None:
        if self.device.type == "cuda":
            self.peak = torch.cuda.max_memory_allocated(self.device)
        elif sys.platform == "linux":
            self.peak = _status_bytes("VmHWM")
        else:
            return
        self.bytes = self.peak - self._before


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.cpu.get_capabilities().get("cpu_name", platform.processor())


def origin(device: str) -> dict[str, Any]:
    """What it takes to measure the same again: date, commit, command as typed, device, threads, versions."""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": git_commit(ROOT),
        "command": shlex.join(["python3", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "device": device,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **versions()},
    }


def report(device: str, rows: list[dict[str, Any]], ratios: dict[str, float], json_file: str | None) -> None:
    """Prints the rows as tables, one for neighbours of the same columns, and the ratios; writes all to `json_file`."""
    print(f"{device}, threads: {torch.get_num_threads()}")
    for columns, neighbours in itertools.groupby(rows, key=list):
        lines = [columns, *([_cell(row[column]) for column in columns] for row in neighbours)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for first, *others in lines:
            cells = [f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True)]
            print("  ".join([f"{first:<{widths[0]}}", *cells]))
    for name, value in ratios.items():
        print(f"{name}: {value:.2f}")
    if json_file:
        content = origin(device) | {"rows": rows, "ratios": ratios}
        write_figures(Path(json_file), json.dumps(content, indent=2) + "\n")


def write_figures(path: Path, text: str) -> None:
    """Writes a file of figures, whole or not at all; ends the program where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {path} could not be written: {error.strerror}")


def _cell(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
