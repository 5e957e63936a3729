"""Reads `results.json` files for the tables, groups the runs that are comparable, and formats cells in Markdown."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from storage.streams import to_standard_output
from storage.whole import write_whole

PUBLISHED = Path(__file__).with_name("published_scores.json")
NONE = "–"  # a cell, or the measured half of one, without a score
SELECTIONS = {  # results.json's "selection" -> mark in the cell, line in the legend
    "dev": ("ᵈ", "checkpoint selected on the dev set"),
    "last": ("ˡ", "last checkpoint, nothing selected"),
    "test": ("ᵗ", "best on test: of several evaluations on the scored file itself, as KoELECTRA's tables have it "
                  "where no dev set exists; it flatters the model"),
}  # fmt: skip
NOT_RECORDED = "None"  # the selection of a model that was scored by its name
UNKNOWN_SELECTION = ("ˀ", "how the checkpoint was selected is not recorded")
CHANCE = ("⚠", "a run in this cell ended at chance level; its score is in the mean all the same")
# Settings that change where a run is saved or what it prints, not what it learns (`data` compares files by content).
IDLE_SETTINGS = frozenset(
    "seed seeds output_dir ckpt_dir data_dir cache_dir config_file overwrite_output_dir resume threads verbose_logging "
    "save_optimizer save_total_limit do_train do_eval do_predict input_file output_file eval_batch_size no_cuda "
    "report_to".split()
)


@dataclass(frozen=True)
class Run:
    """One results.json. Metrics are fractions."""

    path: Path
    task: str
    model: str
    seed: int | None
    split: str
    main_metric: str
    metrics: dict[str, Any]
    selection: str
    at_chance: bool
    data: dict[str, str]  # file name -> sha256
    config: dict[str, Any]
    written: float  # modification time, seconds
    pretraining: dict[str, Any] | None  # as in the model's config.json; None: not pretrained by this suite
    epoch: float | None  # the scored checkpoint's
    scored_rows: int | None  # rows of the scored split; for question answering, questions
    aside: frozenset[str] = frozenset()  # settings that may differ between comparable runs, as the table's columns do

    @property
    def setting(self) -> dict[str, Any]:
        """Everything that must be the same in two runs that are averaged."""
        config = {key: value for key, value in self.config.items() if key not in IDLE_SETTINGS | self.aside}
        return {"selection": self.selection, "split": self.split, "data": self.data, "config": config}


def read_object(path: Path) -> dict[str, Any]:
    """Reads a file that holds one JSON object. Raises ValueError where it does not."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON (line {error.lineno})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read ({error})") from None
    if not isinstance(raw, dict):
        raise ValueError("not a results file (no JSON object)")
    return raw


def read_run(path: Path, needed: dict[str, tuple[str, ...]]) -> Run | None:
    """Reads one results.json; returns None for a pretraining run, which has no score.

    needed: the metrics that must be there, by task. Raises ValueError where the file is no such result.
    """
    raw = read_object(path)
    kinds = {"task": str, "model": str, "main_metric": str, "metrics": dict}
    wrong = [key for key, kind in kinds.items() if not isinstance(raw.get(key), kind)]
    parts = ("data", "config", "hardware", "training", "pretraining", "rows")
    wrong += [key for key in parts if not isinstance(raw.get(key) or {}, dict)]
    wrong += ["seed"] if not isinstance(raw.get("seed"), int | None) else []
    if wrong:
        raise ValueError(f"not a results file of this project ({', '.join(wrong)} missing or of the wrong type)")
    if raw["main_metric"] == "loss":
        return None
    metrics = needed.get(raw["task"], (raw["main_metric"],))
    for name in metrics:
        value = raw["metrics"].get(name, "absent")
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise ValueError(f"has no metric {name!r}, the score of {raw['task']}")
        if value is not None and abs(value) > 1 and math.isfinite(value):
            raise ValueError(f"{name} is {value}: scores in results.json are fractions")
    return Run(
        path=path,
        task=raw["task"],
        model=raw["model"],
        seed=raw.get("seed"),
        split=str(raw.get("split") or "unnamed split"),
        main_metric=raw["main_metric"],
        metrics=raw["metrics"],
        selection=str(raw.get("selection")),
        at_chance=bool(raw.get("at_chance")),
        data={Path(name).name: str(digest) for name, digest in (raw.get("data") or {}).items()},
        config=(raw.get("config") or {}) | _precisions(raw),
        written=path.stat().st_mtime,
        pretraining=raw.get("pretraining"),
        epoch=_epoch(raw),
        scored_rows=rows if isinstance(rows := (raw.get("rows") or {}).get(str(raw.get("split"))), int) else None,
    )


def _epoch(raw: dict[str, Any]) -> float | None:
    training = raw.get("training") or {}
    numbers = raw.get("step"), training.get("steps"), training.get("epochs")
    if not all(isinstance(number, int | float) and number > 0 for number in numbers):
        return None
    step, steps, epochs = numbers
    return round(step / steps * epochs, 2)


def _precisions(raw: dict[str, Any]) -> dict[str, Any]:
    """The precisions of evaluation and training, as resolved from `auto`, so that fp32 scores get rows of their own."""
    found = {
        "precision": (raw.get("hardware") or {}).get("precision"),
        "training precision": (raw.get("training") or {}).get("precision"),
    }
    return {key: value for key, value in found.items() if value is not None}


def find_runs(folders: Sequence[Path], needed: dict[str, tuple[str, ...]]) -> list[Run]:
    """Reads all runs below `folders`, each file once; warns on stderr about files that are no results.

    Pretraining runs, which have a loss but no score, are skipped.
    """
    paths: dict[Path, Path] = {}
    for folder in folders:
        for path in [folder] if folder.is_file() else sorted(folder.rglob("results.json")):
            paths.setdefault(path.resolve(), path)  # overlapping folders name a file twice
    runs = []
    for path in paths.values():
        try:
            runs.append(read_run(path, needed))
        except ValueError as error:
            print(f"warning: {path}: {error}; left out", file=sys.stderr)
    return [run for run in runs if run is not None]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The events of a metrics.jsonl; warns about broken lines, which a run may be writing at the moment."""
    events = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            event = json.loads(line)
            if not isinstance(event, dict):
                raise ValueError
        except ValueError:  # errors of broken JSON and broken UTF-8 are ValueErrors too
            print(f"warning: {path}:{number}: not a JSON object; left out", file=sys.stderr)
        else:
            events.append(event)
    return events


def difference(one: Run, first: Run) -> str:
    """Describes how a run's settings differ from those in the model's first row.

    Where one of them was scored by its name, as a model whose training is not known, nothing can be compared.
    """
    is_known, first_is_known = (run.selection != NOT_RECORDED for run in (one, first))
    if is_known != first_is_known:
        return "its training is recorded, the first row's is not" if is_known else "its training is not recorded"
    ours, theirs = one.setting, first.setting
    parts = [f"{key} {ours[key]!r}, not {theirs[key]!r}" for key in ("selection", "split") if ours[key] != theirs[key]]
    files = [name for name in sorted(one.data.keys() | first.data.keys()) if one.data.get(name) != first.data.get(name)]
    parts += [f"other data ({', '.join(files)})"] if files else []
    configs = ours["config"], theirs["config"]
    for key in sorted(configs[0].keys() | configs[1].keys()):
        mine, other = (config.get(key, "unset") for config in configs)
        if mine != other:
            parts.append(f"{key} {mine}, not {other}")
    return "; ".join(parts[:6]) + (f"; and {len(parts) - 6} more" if len(parts) > 6 else "")


def one_run_a_seed(runs: list[Run], metrics: Sequence[str], where: str) -> tuple[list[Run], list[str]]:
    """Drops repeated seeds (the newest file is kept) and scores that are not finite, and returns notes about both."""
    by_seed: dict[int | None, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.written, str(run.path))):
        by_seed[run.seed].append(run)
    kept, notes = [], []
    for seed in sorted(by_seed, key=lambda seed: (seed is None, seed)):
        *older, run = by_seed[seed]
        if older:
            notes.append(
                f"{where}: {named_seed(seed)} was found {len(older) + 1} times; the newest counts ({run.path})"
            )
        if all(isinstance(run.metrics.get(name), int | float) and math.isfinite(run.metrics[name]) for name in metrics):
            kept.append(run)
        else:
            notes.append(f"{where}: the score of {named_seed(seed)} is not a finite number and is not in the mean")
    return kept, notes


def named_seed(seed: int | None) -> str:
    """A seed in a note. That of a model which was scored by its name is not known."""
    return "a run of unknown seed" if seed is None else f"seed {seed}"


def numbered(name: str, number: int) -> str:
    """A row's name: `KoBERT`, and for its second setting `KoBERT [2]`."""
    return name if number == 1 else f"{name} [{number}]"


def settings_of(runs: Sequence[Run], counted: Callable[[Run], Hashable] = lambda run: run.seed) -> list[list[Run]]:
    """Groups runs by setting; groups with most different seeds, or other values of `counted`, come first."""
    settings: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        settings[json.dumps(run.setting, sort_keys=True)].append(run)
    # Sorting by the settings' text as well makes the order the same every time.
    ordered = sorted(settings.items(), key=lambda item: (-len({counted(run) for run in item[1]}), item[0]))
    return [members for _, members in ordered]


def rows_by_setting(
    runs: Sequence[Run], metrics: Sequence[str], where: Callable[[int], str]
) -> tuple[dict[int, list[Run]], list[str]]:
    """Separates the runs of one cell by setting, as only runs with the same setting may be averaged.

    where: number of the setting (from 1) -> the name of its cell in notes.
    Returns one run for each seed, by the number of the setting (settings without a score are left out), and the notes.
    """
    rows, notes = {}, []
    groups = settings_of(runs)
    for number, members in enumerate(groups, start=1):
        kept, remarks = one_run_a_seed(members, metrics, where(number))
        if number > 1:
            notes.append(f"{where(number)}: a row of its own: {difference(members[0], groups[0][0])}")
        notes += remarks
        stuck = [run.seed for run in kept if run.at_chance]
        if stuck:
            seeds = ", ".join(str(seed) for seed in stuck if seed is not None)
            which = f" (seed {seeds})" if seeds else ""
            notes.append(f"{where(number)}: {len(stuck)} of {len(kept)} at chance{which}")
        if kept:
            rows[number] = kept
    return rows, notes


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (ddof = 1; None for a single value)."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def percent(runs: Sequence[Run], metric: str) -> list[float]:
    return [100 * run.metrics[metric] for run in runs]


def score_text(values: Sequence[float | None], digits: int) -> str:
    """`91.00 ± 1.00`; unknown values (None) are left out."""
    known = [value for value in values if value is not None]
    if not known:
        return NONE
    mean, std = mean_and_deviation(known)
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def csv_score(runs: Sequence[Run], metric: str) -> dict[str, Any]:
    """A cell's columns in the CSV; without runs, only the metric and a count of 0."""
    if not runs:
        return {"metric": metric, "n": 0}
    mean, std = mean_and_deviation(percent(runs, metric))
    return {
        "metric": metric,
        "mean": round(mean, 4),
        "std": "" if std is None else round(std, 4),
        "n": len(runs),
        "seeds": " ".join(str(run.seed) for run in runs if run.seed is not None),
        "selection": "" if runs[0].selection == NOT_RECORDED else runs[0].selection,
        "at_chance": str(any(run.at_chance for run in runs)).lower(),
    }


def marks(runs: Sequence[Run]) -> str:
    """The marks after a cell's score: how its checkpoint was selected, and whether a run is at chance."""
    chance = CHANCE[0] if any(run.at_chance for run in runs) else ""
    return SELECTIONS.get(runs[0].selection, UNKNOWN_SELECTION)[0] + chance


def legend_of_marks(cells: Sequence[Sequence[Run]], over: str = "seeds") -> list[str]:
    """Explains below a table the marks that occur in its cells, and over how many seeds the ± is computed."""
    lines = []
    selections = {run.selection for runs in cells for run in runs}
    for name, (mark, meaning) in SELECTIONS.items():
        lines += [f"{mark} {meaning}."] if name in selections else []
    lines += [" ".join(UNKNOWN_SELECTION) + "."] if selections - SELECTIONS.keys() else []
    lines += [" ".join(CHANCE) + "."] if any(run.at_chance for runs in cells for run in runs) else []
    counts = sorted({len(runs) for runs in cells if len(runs) > 1})
    if counts:
        number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        lines.append(f"± sample standard deviation over {number} {over}.")
    return lines


def bullet_list(legend: Sequence[str], notes: Sequence[str]) -> str:
    """The legend and the notes below a table, one line for each."""
    return "".join(f"- {line}\n" for line in [*legend, *(f"Note: {note}." for note in notes)])


def markdown_grid(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose header is the first line, padded so that it is readable in a terminal too."""
    lines = [[text.replace("|", "\\|") for text in line] for line in lines]
    widths = [max(3, *(len(line[index]) for line in lines)) for index in range(len(lines[0]))]
    padded = ["| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
              for line in lines]  # fmt: skip
    rule = "| :" + " | :".join("-" * (width - 2) + (":" if index else "-") for index, width in enumerate(widths)) + " |"
    return "\n".join([padded[0], rule, *padded[1:]])


def refuse_missing(folders: Sequence[Path]) -> None:
    """Ends the program if one of the folders does not exist."""
    missing = [str(folder) for folder in folders if not folder.exists()]
    if missing:
        stop(f"no such folder: {', '.join(missing)}")


def write_out(text: str, output: Path | None) -> None:
    """Writes to standard output, or to a file; ends the program if that fails."""
    if output is None:
        print_out(text)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        stop(f"cannot write {output}: {error.strerror}")


def write_or_stop(path: Path, text: str) -> None:
    """Writes a file whole, in a folder that is made for it; ends the program if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        stop(f"cannot write {path}: {error.strerror}")


def print_out(text: str) -> None:
    """Writes to standard output, and to nobody where a reader has gone away; ends the program if it cannot write."""
    if failure := to_standard_output(text):
        stop(f"standard output cannot be written: {failure.strerror}")


def stop(message: str) -> NoReturn:
    """Ends the program with one line on stderr and exit code 2."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    raise SystemExit(2)
