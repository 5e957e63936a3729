"""What a run leaves behind: `metrics.jsonl` while it goes, `results.json` and predictions at its end."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from storage import whole
from training.config import OutputConfig, UsageError
from training.processes import is_main_process
from training.tensorboard_file import NAME as TENSORBOARD_NAME
from training.tensorboard_file import TensorBoardFile

RESULTS_FILE = "results.json"
METRICS_FILE = "metrics.jsonl"
CONFIG_FILE = "run_config.json"
SEEDS_FILE = "seeds.json"
# Metrics of each question by its id, for comparisons of two models.
QUESTION_SCORES_FILE = "question_scores.json"
# What later evaluations need to know about the training: hashes of its data, its precision, its figures.
TRAINING_FILE = "training.json"
CHECKPOINT_PREFIX = "checkpoint-"
# Key in `results.json`: figures that the original projects printed beside the scores.
ORIGINAL_FIGURES = "original_figures"
# Key in a checkpoint's config.json that says how and how long it was pretrained; fine-tuning keeps it.
PRETRAINING = "pretraining"
LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "pyarrow", "numpy")


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line. Each step stands there once, however often the run was resumed.

    curves: TensorBoard's file, which has the same figures; None where it was not asked for.
    """

    def __init__(self, output_dir: Path, curves: TensorBoardFile | None = None):
        self.path = output_dir / METRICS_FILE
        self.curves = curves

    @classmethod
    def of(cls, config: OutputConfig) -> MetricsLog:
        """The log of a run that trains."""
        return cls(config.run_dir, TensorBoardFile(config.run_dir) if config.report_to == "tensorboard" else None)

    def begin(self) -> None:
        """Brings TensorBoard's file to where the log is. Raises UsageError where the disk does not take it."""
        if self.curves and is_main_process():
            with self._written_or_said(self.curves.path):
                self.curves.begin(self.read())

    def write(self, event: str, **values: Any) -> None:
        """Appends a line by a single `write`, so that a kill can only cut it off at the end of the file.

        Raises UsageError where the disk does not take it.
        """
        if not is_main_process():
            return
        line = {"event": event, **values}
        with self._written_or_said(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if self.curves:
            with self._written_or_said(self.curves.path):
                self.curves.add(line)

    @staticmethod
    @contextlib.contextmanager
    def _written_or_said(path: Path) -> Iterator[None]:
        """Turns an OSError into a UsageError that names the file and the way to go on."""
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"{path} could not be written ({error.strerror}): mend that and go on with --resume"
            ) from error

    def read(self) -> list[dict[str, Any]]:
        """All whole lines."""
        if not self.path.is_file():
            return []
        lines = []
        for line in self.path.read_text(encoding="utf-8").split("\n"):
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:  # the end of the file, or a line cut off by a kill
                continue
        return lines

    def forget_after(self, step: int, evaluated_step: int) -> None:
        """Drops the lines of steps, and of evaluations, that a resumed run will take again."""
        last = {"evaluation": evaluated_step}
        kept = [line for line in self.read() if line["step"] <= last.get(line["event"], step)]
        write_whole(self.path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))

    def evaluations(self) -> list[dict[str, Any]]:
        """`{"step", "split", "metrics"}` of every evaluation so far."""
        return [
            {key: line[key] for key in ("step", "split", "metrics")}
            for line in self.read()
            if line["event"] == "evaluation"
        ]


def write_whole(path: Path, text: str) -> None:
    """Writes a file of the run, by the first process alone. Raises UsageError where the disk does not take it."""
    if not is_main_process():
        return
    try:
        whole.write_whole(path, text)
    except OSError as error:
        raise UsageError(f"{path} could not be written: {error.strerror}") from error


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as JSON, as `write_whole` writes a text."""
    write_whole(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def read_json_object(path: Path) -> dict[str, Any]:
    """The object that an earlier run wrote to `path`; empty without such a file. Raises UsageError if damaged."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}): mend or delete it") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not what a run writes there: delete it")
    return content


def prepare_output_dir(output_dir: Path, may_hold_a_run: bool) -> None:
    """Makes the folder, and removes from it what killed runs left half-written; nothing else is deleted yet.

    Raises UsageError where it cannot be made or written, where another run is writing there, and where it holds another
    run's results and neither resuming nor overwriting was asked for.
    """
    if output_dir.exists() and not output_dir.is_dir():
        raise UsageError(f"{output_dir} is a file; the output folder cannot be made there")
    own = sorted(path.name for path in written_by_runs(output_dir))
    if own and not may_hold_a_run:
        names = ", ".join(own[:4]) + (", ..." if len(own) > 4 else "")
        raise UsageError(
            f"{output_dir} holds the results of an earlier run ({names}): "
            "--resume goes on with it, --overwrite_output_dir deletes it, --output_dir NAME takes another folder"
        )
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the output folder {output_dir} cannot be made: {error.strerror}") from error
    if not os.access(output_dir, os.W_OK):
        raise UsageError(f"the output folder {output_dir} cannot be written to")
    with locked(output_dir):
        if is_main_process():
            whole.remove_abandoned(output_dir)


_locked: set[Path] = set()  # by this process


@contextlib.contextmanager
def locked(output_dir: Path) -> Iterator[None]:
    """Keeps other runs out of the folder during the block. Raises UsageError where another run is writing there.

    The lock is the operating system's: no file is left, and it ends with the process at the latest.
    """
    folder = output_dir.resolve()
    if not is_main_process() or folder in _locked:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # the file system has no locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another run is writing to {output_dir}, and has not ended: --output_dir NAME takes another folder"
                ) from None
        _locked.add(folder)
        yield
    finally:
        _locked.discard(folder)
        os.close(descriptor)


def delete_earlier_run(output_dir: Path) -> None:
    """Deletes what runs write, and nothing else that may lie in the folder. Raises UsageError where it cannot."""
    try:
        for path in written_by_runs(output_dir):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        raise UsageError(f"{error.filename} of the earlier run cannot be deleted: {error.strerror}") from error


def written_by_runs(output_dir: Path) -> list[Path]:
    """The files and folders in `output_dir` that a run wrote."""
    names = (RESULTS_FILE, METRICS_FILE, CONFIG_FILE, SEEDS_FILE, TRAINING_FILE, QUESTION_SCORES_FILE)
    patterns = [r"(nbest_)?predictions[-.].*", r"null_odds[-.].*", TENSORBOARD_NAME.pattern]
    files = re.compile("|".join([*map(re.escape, names), *patterns]))
    folders = re.compile(rf"{CHECKPOINT_PREFIX}\d+|\.{CHECKPOINT_PREFIX}\d+\..*")
    return [path for path in output_dir.glob("*") if (folders if path.is_dir() else files).fullmatch(path.name)]


def selected_step(
    evaluations: list[dict[str, Any]], steps: Iterable[int], select_by: str, metric: str, greater_is_better: bool
) -> int:
    """The step whose checkpoint is reported: the best on `select_by` (dev or test), or the last; of equals the earlier.

    steps: those that have a checkpoint. Raises UsageError where there is none, or none was evaluated on that split.
    """
    steps = sorted(steps)
    if not steps:
        raise UsageError("there is no checkpoint to select")
    if select_by == "last":
        return steps[-1]
    scored = {e["step"]: e["metrics"][metric] for e in evaluations if e["split"] == select_by and e["step"] in steps}
    if not scored:
        raise UsageError(f"no checkpoint was evaluated on the {select_by} split, so none can be selected by it")
    sign = 1 if greater_is_better else -1
    return max(scored, key=lambda step: (sign * scored[step], -step))


def summary_of_seeds(results: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation of every metric, and of the original projects' figures, over the seeds."""
    runs = list(results.values())
    summary = {"task": runs[0]["task"], "model": runs[0]["model"], "seeds": list(results)}
    for key in ("metrics", ORIGINAL_FIGURES):
        if all(key in run for run in runs):
            summary[key] = {name: _over_seeds([run[key][name] for run in runs]) for name in runs[0][key]}
    return summary


def _over_seeds(values: list[float]) -> dict[str, Any]:
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": std, "values": values}


def mean_and_std(values: Mapping[str, Any]) -> str:
    """`0.2760 ± 0.0043` for one metric of a summary; without the spread where there is only one run."""
    return f"{values['mean']:.4f}" + ("" if values["std"] is None else f" ± {values['std']:.4f}")


def changed_settings(output_dir: Path, config: Any, keys: Iterable[str]) -> str:
    """`learning_rate 0.1 (asked for now: 0.2)`: the keys whose values differ from those of the run in the folder."""
    before = read_json_object(output_dir / CONFIG_FILE)
    wrong = [key for key in keys if key in before and before[key] != getattr(config, key)]
    return ", ".join(f"{key} {before[key]} (asked for now: {getattr(config, key)})" for key in wrong)


def versions() -> dict[str, str]:
    """Versions of the libraries that decide a score."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path) -> str | None:
    """Commit of this code, `-dirty` where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def sha256_of(path: Path) -> str:
    """Hash of a file, or of the names and contents of a folder's files."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        return hashlib.sha256("".join(f"{file.name} {sha256_of(file)}\n" for file in files).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
