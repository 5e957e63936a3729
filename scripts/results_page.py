"""Writes the tables of docs/results.md and docs/results_ko.md: what was measured with this suite on real Korean data.

    python3 scripts/results_page.py                 # after scripts/measure_tasks.py
    python3 scripts/results_page.py --check         # only says whether the pages are as it would write them

Every figure comes from a file in benchmarks/results/tasks/, one for each task.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reporting.made_parts import asked_to_check, bring_up_to_date
from reporting.measured import RESULTS, machine
from reporting.results_reading import markdown_grid, score_text, stop

TASKS = RESULTS / "tasks"
PRETRAINED, SCRATCH = "pretrained", "from scratch"
DERIVED = "†"


@dataclass(frozen=True)
class Words:
    """The words of the tables in one language. page: file in docs/."""

    page: str
    header: tuple[str, ...]
    grid_header: tuple[str, str]
    device: str


LANGUAGES = (
    Words(
        "results.md",
        ("folder", "training rows", "score", PRETRAINED, SCRATCH, "steps", "epochs", "a run took"),
        ("folder", "model"),
        "Measured on: {}.",
    ),
    Words(
        "results_ko.md",
        ("폴더", "학습 행", "점수", "사전학습", "처음부터", "스텝", "에폭", "한 번 걸린 시간"),
        ("폴더", "모델"),
        "측정한 장치: {}.",
    ),
)


def read_measured(folder: Path) -> list[dict[str, Any]]:
    """The tasks' files, in the order of their names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def scores(measured: list[dict[str, Any]], words: Words) -> str:
    """A line for each task, and the devices."""
    devices = dict.fromkeys(device_text(task["hardware"]) for task in measured)
    table = markdown_grid([words.header, *map(score_row, measured)])
    return f"{table}\n\n{words.device.format('; '.join(devices))}"


def score_row(task: dict[str, Any]) -> list[str]:
    """Both arms' scores, in per cent, and how long a run of the pretrained model took (the median)."""
    metric, arms = task["main_metric"], task["arms"]
    runs = arms[PRETRAINED]["runs"]
    both = [score_text([100 * run["metrics"][metric] for run in arms[arm]["runs"]], 2) for arm in (PRETRAINED, SCRATCH)]
    name = task["folder"] + (f" {DERIVED}" if task["derived"] else "")
    length = [f"{runs[0]['steps']:,}", f"{runs[0]['epochs']:.1f}"]
    return [name, f"{task['rows']['train']:,}", metric, *both, *length, clock([run["seconds"] for run in runs])]


def rates(measured: list[dict[str, Any]], words: Words) -> str:
    """Each arm's scores on the held-back rows, in per cent, with a column for each learning rate; the best is bold."""
    tried = list(dict.fromkeys(rate for task in measured for rate in task["arms"][PRETRAINED]["grid"]))
    titles = dict(zip((PRETRAINED, SCRATCH), words.header[3:5], strict=True))
    lines = [[*words.grid_header, *tried]]
    for task in measured:
        for arm, title in titles.items():
            grid, best = task["arms"][arm]["grid"], task["arms"][arm]["learning_rate"]
            texts = {rate: f"{100 * score:.2f}" for rate, score in grid.items()}
            cells = [f"**{text}**" if float(rate) == best else text for rate, text in texts.items()]
            by_rate = dict(zip(grid, cells, strict=True))
            lines.append([task["folder"], title, *(by_rate.get(rate, "") for rate in tried)])
    return markdown_grid(lines)


def commands(measured: list[dict[str, Any]]) -> str:
    """A run of each task, with the rate that was chosen for the pretrained model."""
    lines = "\n".join(task["command"] for task in measured)
    return f"<!-- needs: data -->\n```bash\n{lines}\n```"


def device_text(hardware: dict[str, Any]) -> str:
    """`AMD EPYC (1 thread), bf16`."""
    return f"{machine(hardware['name'], hardware.get('threads'))}, {hardware['precision']}"


def clock(seconds: list[float]) -> str:
    """The median as minutes and seconds."""
    minutes, rest = divmod(round(statistics.median(seconds)), 60)
    return f"{minutes}:{rest:02d}"


def main() -> None:
    only_check = asked_to_check(__doc__)
    measured = read_measured(TASKS)
    if not measured:
        stop(f"there are no results in {TASKS}: run scripts/measure_tasks.py")
    for words in LANGUAGES:
        parts = {"scores": scores(measured, words), "rates": rates(measured, words), "commands": commands(measured)}
        bring_up_to_date(f"docs/{words.page}", Path(__file__).name, parts, only_check)


if __name__ == "__main__":
    sys.exit(run_main(main))
