"""What the benchmarks share: interleaved repeats, the machine's matrix-product rate, memory, the report."""

from __future__ import annotations

import ctypes
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


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


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median over the repeats of the ratio within a repeat, which a slow minute leaves as it is."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
    """Most memory in use inside the block, above what was in use at its start, in bytes (0 where it cannot be told)."""

    def __init__(self, device: torch.device):
        self.device, self.bytes = device, 0

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
            self.bytes = torch.cuda.max_memory_allocated(self.device) - self._before
        elif sys.platform == "linux":
            self.bytes = _status_bytes("VmHWM") - self._before


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = torch.cpu.get_capabilities().get("cpu_name", platform.processor())
    return f"{cpu}, {torch.get_num_threads()} threads"


def report(device: str, rows: list[dict[str, Any]], ratios: dict[str, float], json_file: str | None) -> None:
    """Prints the rows as a table and the ratios below it; writes both to `json_file`."""
    columns = list(rows[0])
    table = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *table]) for i in range(len(columns))]
    print(device)
    for line in [columns, *table]:
        print("  ".join(f"{text:<{w}}" if i == 0 else f"{text:>{w}}" for i, (text, w) in enumerate(zip(line, widths))))  # noqa: B905
    for name, value in ratios.items():
        print(f"{name}: {value:.2f}")
    if json_file:
        content = {"device": device, "rows": rows, "ratios": ratios}
        Path(json_file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _cell(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
