"""Writes the tables of docs/results.md and docs/results_ko.md: what was measured with this suite on real Korean data.

    python3 scripts/results_page.py                 # after scripts/measure_tasks.py
    python3 scripts/results_page.py --check         # only says whether the pages are as it would write them

Every figure comes from a file in benchmarks/results/tasks/, one for each task.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from reporting.made_parts import asked_to_check, bring_up_to_date
from reporting.measured import PRETRAINED, RESULTS, SCRATCH, machine
from reporting.results_reading import CHANCE, markdown_grid, read_object, score_text, stop

TASKS = RESULTS / "tasks"
DERIVED = "†"


class MeasuredRun(BaseModel):
    """A run. metrics: fractions. seconds: of its steps."""

    metrics: dict[str, float]
    at_chance: bool
    steps: int
    epochs: float
    seconds: float


class Arm(BaseModel):
    """The runs of the pretrained model, or those from scratch. grid: learning rate -> score on the held-back rows."""

    grid: dict[str, float]
    learning_rate: float
    runs: Annotated[list[MeasuredRun], Field(min_length=1)]


class MeasuredTask(BaseModel):
    """What the tables need of a file that scripts/measure_tasks.py has written."""

    folder: str
    derived: bool
    command: str
    main_metric: str
    rows: dict[str, int]
    hardware: dict[str, Any]
    other_hardware: list[dict[str, Any]] = []
    arms: dict[str, Arm]

    @model_validator(mode="after")
    def check_names(self) -> MeasuredTask:
        """Raises ValueError where a name that the tables look up is missing."""
        if missing := [name for name in (PRETRAINED, SCRATCH) if name not in self.arms]:
            raise ValueError(f"there is no arm {missing[0]!r}")
        if any(self.main_metric not in run.metrics for arm in self.arms.values() for run in arm.runs):
            raise ValueError(f"a run lacks the score {self.main_metric!r}")
        if missing := [name for name in ("name", "precision") if name not in self.hardware]:
            raise ValueError(f"hardware has no {missing[0]!r}")
        if "train" not in self.rows:
            raise ValueError("rows has no 'train'")
        return self


@dataclass(frozen=True)
class Words:
    """The words of the tables in one language. page: file in docs/. chance: what the mark of a run at chance means."""

    page: str
    header: tuple[str, ...]
    grid_header: tuple[str, str]
    device: str
    chance: str


LANGUAGES = (
    Words(
        "results.md",
        ("folder", "training rows", "score", PRETRAINED, SCRATCH, "steps", "epochs", "a run took"),
        ("folder", "model"),
        "Measured on: {}.",
        CHANCE[1],
    ),
    Words(
        "results_ko.md",
        ("폴더", "학습 행", "점수", "사전학습", "처음부터", "스텝", "에폭", "한 번 걸린 시간"),
        ("폴더", "모델"),
        "측정한 장치: {}.",
        "이 칸에는 우연 수준에서 끝난 실행이 있으며, 그 점수도 평균에 들어 있습니다",
    ),
)


def read_measured(folder: Path) -> list[MeasuredTask]:
    """The tasks' files, in the order of their names. Ends the program where measure_tasks.py has not written one."""
    measured = []
    for path in sorted(folder.glob("*.json")):
        try:
            measured.append(MeasuredTask.model_validate(read_object(path)))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            stop(f"{path}: not a file of scripts/measure_tasks.py: {where}{': ' * bool(where)}{first['msg']}")
        except ValueError as error:
            stop(f"{path}: {error}: measure the task again with scripts/measure_tasks.py")
    return measured


def scores(measured: list[MeasuredTask], words: Words) -> str:
    """A line for each task, what the mark of a run at chance means where there is one, and the devices."""
    devices = dict.fromkeys(device_text(one) for task in measured for one in (task.hardware, *task.other_hardware))
    lines = [score_row(task) for task in measured]
    blocks = [markdown_grid([words.header, *lines])]
    if any(CHANCE[0] in cell for line in lines for cell in line):
        blocks.append(f"{CHANCE[0]} {words.chance}.")
    return "\n\n".join([*blocks, words.device.format("; ".join(devices))])


def score_row(task: MeasuredTask) -> list[str]:
    """Both arms' scores, and how long a run of the pretrained model took (the median)."""
    runs = task.arms[PRETRAINED].runs
    both = [score_cell(task.arms[arm].runs, task.main_metric) for arm in (PRETRAINED, SCRATCH)]
    name = task.folder + (f" {DERIVED}" if task.derived else "")
    length = [f"{runs[0].steps:,}", f"{runs[0].epochs:.1f}"]
    return [name, f"{task.rows['train']:,}", task.main_metric, *both, *length, clock([run.seconds for run in runs])]


def score_cell(runs: list[MeasuredRun], metric: str) -> str:
    """`62.50 ± 17.68`, in per cent, with a mark where one of the runs ended at chance level."""
    text = score_text([100 * run.metrics[metric] for run in runs], 2)
    return f"{text} {CHANCE[0]}" if any(run.at_chance for run in runs) else text


def rates(measured: list[MeasuredTask], words: Words) -> str:
    """Each arm's scores on the held-back rows, in per cent, with a column for each learning rate; the best is bold."""
    tried = sorted({rate for task in measured for arm in task.arms.values() for rate in arm.grid}, key=float)
    titles = dict(zip((PRETRAINED, SCRATCH), words.header[3:5], strict=True))
    lines = [[*words.grid_header, *tried]]
    for task in measured:
        for name, title in titles.items():
            arm = task.arms[name]
            by_rate = {rate: f"{100 * score:.2f}" for rate, score in arm.grid.items()}
            cells = [by_rate.get(rate, "") for rate in tried]
            marked = [
                f"**{text}**" if float(rate) == arm.learning_rate else text
                for rate, text in zip(tried, cells, strict=True)
            ]
            lines.append([task.folder, title, *marked])
    return markdown_grid(lines)


def commands(measured: list[MeasuredTask]) -> str:
    """The runs of each task, with the rate that was chosen for the pretrained model."""
    lines = "\n".join(task.command for task in measured)
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
