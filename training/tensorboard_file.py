"""Learning curves for TensorBoard (`--report_to tensorboard`): the lines of `metrics.jsonl` in TensorBoard's format.

The file lies beside `metrics.jsonl`, so that TensorBoard names the curves after the run's folder. When a run is
resumed, the file is written anew from `metrics.jsonl`, so that no point is missing and none is there twice.

A line `train` becomes the points `train/loss`, `train/learning_rate` and so on, a line `evaluation` becomes
`eval/<metric>`. The horizontal axis is the number of the step.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

LIBRARY = "tensorboard"
# TensorBoard looks for "tfevents". The end of the name tells these files from others that a user may keep there.
NAME = re.compile(r"events\.out\.tfevents\..*\.metrics")
NO_CURVES = frozenset({"event", "step", "seconds", "split", "metrics"})  # what a line says besides its figures


def is_installed() -> bool:
    """Whether TensorBoard's library is there."""
    return importlib.util.find_spec(LIBRARY) is not None


class TensorBoardFile:
    """The file of one run, in its output folder. OSErrors are the caller's to handle."""

    def __init__(self, output_dir: Path):
        # TensorBoard reads the files of a folder in the order of their names, which begin with the time.
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}.metrics"
        self.path = output_dir / name

    def begin(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Writes the file with the lines of `metrics.jsonl` so far, and then deletes that of the run before a resume.

        A TensorBoard that has read the earlier file drops its points at the START (`purge_step` in its libraries).
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        now = time.time()
        start = SessionLog(status=SessionLog.START)
        head = [Event(wall_time=now, file_version="brain.Event:2"), Event(wall_time=now, step=0, session_log=start)]
        # The lines know the seconds of training and no time of day. The last one is taken to be of this moment.
        latest = max((line["seconds"] for line in lines if "seconds" in line), default=0)
        points = [_event(line, now - latest + line.get("seconds", latest)) for line in lines]
        self.path.write_bytes(_records([*head, *points]))
        for path in self.path.parent.iterdir():
            if NAME.fullmatch(path.name) and path != self.path:
                path.unlink(missing_ok=True)

    def add(self, line: Mapping[str, Any]) -> None:
        """Appends a line of `metrics.jsonl` by a single `write`: a kill can only cut it off at the end of the file."""
        with self.path.open("ab") as file:
            file.write(_records([_event(line, time.time())]))


def points_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The names of the curves and their values at the step of a line: `{"train/loss": 0.69, ...}`."""
    figures = line["metrics"] if line["event"] == "evaluation" else line
    kind = {"evaluation": "eval"}.get(line["event"], line["event"])
    return {
        f"{kind}/{name}": float(value)
        for name, value in figures.items()
        if name not in NO_CURVES and isinstance(value, int | float)
    }


def _event(line: Mapping[str, Any], wall_time: float) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in points_of(line).items()]
    return Event(wall_time=wall_time, step=line["step"], summary=Summary(value=values))


def _records(events: Iterable[Any]) -> bytes:
    """The events as they stand in a file, each with its length and its checksums."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()
