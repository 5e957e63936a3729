"""What TensorBoard's own reader shows of a run, and what it has to show by the run's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.results import MetricsLog

Curves = dict[str, list[tuple[int, float]]]


def files_of(folder: Path) -> list[Path]:
    """TensorBoard's files in the folder of a run."""
    return sorted(path for path in folder.iterdir() if "tfevents" in path.name)


def shown(folder: Path) -> Curves:
    """What TensorBoard shows: the points of each curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    return {tag: [(point.step, point.value) for point in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def logged(folder: Path) -> Curves:
    """The same from metrics.jsonl, by the names that users of other trainers expect."""
    curves: Curves = {}
    for line in MetricsLog(folder).read():
        if line["event"] == "train":
            named = {f"train/{key}": line[key] for key in ("epoch", "loss", "learning_rate", "rows_per_second")}
        else:
            named = {f"eval/{key}": value for key, value in line["metrics"].items()}
        for name, value in named.items():
            curves.setdefault(name, []).append((line["step"], pytest.approx(value, rel=1e-6)))
    return curves
