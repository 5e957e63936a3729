"""Writes what benchmarks/bench_scale.py measured into docs/benchmarks.md and docs/benchmarks_ko.md, and draws it.

    python3 scripts/scale_page.py                 # after a new benchmarks/results/scale.json
    python3 scripts/scale_page.py --check         # only says whether pages and figure are from that file

The tables stand between two comments in each page; docs/scale.svg is the figure. An exponent is the slope of a line
fitted through the three largest sizes on logarithmic axes: 1 is proportional, 0 is no growth. What has been measured at
one size alone is left out.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import hashlib
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field

from reporting.figures import colours
from reporting.made_parts import asked_to_check, bring_up_to_date
from reporting.measured import RESULTS, measured_line, read_measured
from reporting.results_reading import markdown_grid, stop
from reporting.study import REPOSITORY

MEASURED, FIGURE = RESULTS / "scale.json", REPOSITORY / "docs" / "scale.svg"
FITTED = 3  # sizes
FLAT = 1.1  # the largest of the fitted values divided by the smallest; below it, memory does not grow
TOLERANCE = 0.2  # of an exponent, on a shared machine
SMALLEST = 1e-3  # of seconds and MiB: less cannot be told apart
# What time and memory are at most proportional to: this power of the size. Elsewhere it is the first power.
AT_MOST = {
    ("rows", "train"): (0, 0),  # a fixed number of steps
    ("corpus", "train"): (0, 0),
    ("tokens", "full"): (2, 2),  # every token attends to every token
    ("tokens", "spanbert"): (2, 2),
    ("tokens", "splinter"): (2, 2),
    ("steps", "fp32"): (1, 0),
    ("steps", "bf16"): (1, 0),
}

Repeats = Annotated[list[float], Field(min_length=1)]


class Cell(BaseModel):
    """What the page needs of a stage at one size, a number for each repeat."""

    series: str
    stage: str
    size: float
    cpu_seconds: Repeats
    added_mib: Repeats
    peak_mib: Repeats
    date: str


class Measured(BaseModel):
    """What was measured."""

    quick: bool


class Versions(BaseModel):
    torch: str


class Scale(BaseModel):
    """What the page needs of the file."""

    cells: Annotated[list[Cell], Field(min_length=1)]
    inputs: Measured
    device: str
    date: str
    command: str
    versions: Versions


@dataclass(frozen=True)
class Words:
    """The words of the tables in one language.

    page: file in docs/. language: en or ko. header, processes_header: the titles of the columns of the two tables.
    flat: the exponent of memory that does not grow. units: what a series counts, and the unit of time.
    """

    page: str
    language: str
    header: tuple[str, ...]
    flat: str
    units: Mapping[str, str]
    processes_header: tuple[str, ...]


ENGLISH = Words(
    "benchmarks.md",
    "en",
    ("over", "stage", "sizes", "CPU time", "exponent", "added memory", "exponent"),
    "flat",
    {"rows": "rows", "tokens": "tokens a row", "steps": "steps", "corpus": "MB of text", "document": "tokens of a "
     "document", "seconds": "s"},
    ("stage", "CPU time of 1 process", "of 2, together", "2 / 1", "memory of a process, of 1 and of 2"),
)  # fmt: skip
KOREAN = Words(
    "benchmarks_ko.md",
    "ko",
    ("크기", "단계", "범위", "CPU 시간", "지수", "늘어난 메모리", "지수"),
    "일정",
    {"rows": "행 수", "tokens": "행당 토큰", "steps": "스텝", "corpus": "말뭉치 MB", "document": "문서의 토큰",
     "seconds": "초"},
    ("단계", "프로세스 1개의 CPU 시간", "2개의 합", "2 / 1", "프로세스당 메모리(1개, 2개)"),
)  # fmt: skip
LANGUAGES = (ENGLISH, KOREAN)


@dataclass(frozen=True)
class Curve:
    """The medians of one stage by size: seconds on the CPU, and MiB above what the process had at the beginning."""

    series: str
    stage: str
    sizes: list[float]
    seconds: list[float]
    added_mib: list[float]

    @property
    def exponents(self) -> tuple[float, float | None]:
        """Of time and of memory; None where memory is flat. Of two sizes or more."""
        memory = self.added_mib[-FITTED:]
        is_flat = max(memory) < FLAT * min(memory)
        return self._slope(self.seconds), None if is_flat else self._slope(self.added_mib)

    def _slope(self, values: Sequence[float]) -> float:
        """Least squares; 0, which has no logarithm, counts as SMALLEST."""
        x, y = np.log(self.sizes[-FITTED:]), np.log(np.maximum(values[-FITTED:], SMALLEST))
        return float(np.polyfit(x, y, 1)[0])

    @property
    def too_fast(self) -> list[str]:
        """What grows clearly faster than it should, in words; empty where neither time nor memory does."""
        limits = AT_MOST.get((self.series, self.stage), (1, 1))
        return [
            f"{self.series}, {self.stage}: {what} grows with the exponent {found:.2f}, where {limit} is right"
            for what, found, limit in zip(("time", "memory"), self.exponents, limits, strict=True)
            if (found or 0) > limit + TOLERANCE
        ]


def curves_of(found: Mapping[str, Any]) -> list[Curve]:
    """The curves of all stages but those over processes, in the order of the file; of two sizes or more each."""
    curves: dict[tuple[str, str], Curve] = {}
    for cell in found["cells"]:
        if cell["series"] != "processes":
            key = cell["series"], cell["stage"]
            curve = curves.setdefault(key, Curve(*key, [], [], []))
            curve.sizes.append(cell["size"])
            curve.seconds.append(statistics.median(cell["cpu_seconds"]))
            curve.added_mib.append(statistics.median(cell["added_mib"]))
    return [curve for curve in curves.values() if len(curve.sizes) > 1]


def tables(found: Mapping[str, Any], words: Words) -> str:
    """What stands between the comments of a page."""
    lines = [list(words.header), *(cells_of(curve, words) for curve in curves_of(found))]
    days = sorted({cell["date"] for cell in found["cells"]})
    dates = {"date": " – ".join(dict.fromkeys((days[0], days[-1])))}
    blocks = [measured_line(MEASURED.stem, found | dates, words.language), markdown_grid(lines)]
    if rows := process_rows(found, words):
        blocks.append(markdown_grid([list(words.processes_header), *rows]))
    return "\n\n".join(blocks)


def cells_of(curve: Curve, words: Words) -> list[str]:
    """The row of a stage."""
    time, memory = curve.exponents
    seconds = [f"{value:,.2f}" if value < 10 else f"{value:,.0f}" for value in (curve.seconds[0], curve.seconds[-1])]
    return [
        words.units[curve.series],
        curve.stage,
        f"{curve.sizes[0]:,g} – {curve.sizes[-1]:,.0f}",
        f"{seconds[0]} – {seconds[1]} {words.units['seconds']}",
        f"{time:.2f}",
        f"{curve.added_mib[0]:,.0f} – {curve.added_mib[-1]:,.0f} MiB",
        words.flat if memory is None else f"{memory:.2f}",
    ]


def process_rows(found: Mapping[str, Any], words: Words) -> list[list[str]]:
    """A row for each stage that was measured with one and with two processes."""
    cells = {(cell["stage"], cell["size"]): cell for cell in found["cells"] if cell["series"] == "processes"}
    rows = []
    for stage in dict.fromkeys(stage for stage, _ in cells):
        if not {(stage, 1), (stage, 2)} <= cells.keys():
            continue  # bench_scale.py has not come to it yet
        one, two = cells[stage, 1], cells[stage, 2]
        seconds = [statistics.median(cell["cpu_seconds"]) for cell in (one, two)]
        memory = [statistics.median(cell["peak_mib"]) for cell in (one, two)]
        times = [f"{value:.2f} {words.units['seconds']}" for value in seconds]
        rows.append([stage, *times, f"{seconds[1] / seconds[0]:.2f}", f"{memory[0]:,.0f}, {memory[1]:,.0f} MiB"])
    return rows


# --------------------------------------------------------------------------------------------------------------------
# The figure
# --------------------------------------------------------------------------------------------------------------------


def draw(found: Mapping[str, Any]) -> Any:
    """Time above memory, a column for each series, logarithmic axes; a grey line is proportional growth."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    curves = curves_of(found)
    series = list(dict.fromkeys(curve.series for curve in curves))
    figure = Figure(figsize=(3.2 * len(series), 6), layout="constrained")
    panels = figure.subplots(2, len(series), squeeze=False)
    for column, name in enumerate(series):
        own = [curve for curve in curves if curve.series == name]
        for row, values in enumerate(("seconds", "added_mib")):
            axes = panels[row][column]
            axes.set(xscale="log", yscale="log", xlabel=ENGLISH.units[name])
            for curve, colour in zip(own, colours(len(own)), strict=True):
                points = np.maximum(getattr(curve, values), SMALLEST)
                axes.plot(curve.sizes, points, "o-", color=colour, markersize=4, label=curve.stage)
            sizes = np.array([own[0].sizes[0], own[0].sizes[-1]])
            highest = max(getattr(curve, values)[-1] for curve in own)
            low, high = axes.get_ylim()
            axes.plot(sizes, highest * sizes / sizes[-1], color="#999999", linewidth=0.8, linestyle=":")
            axes.set_ylim(low, high)
            axes.set_xticks(own[0].sizes, [short(size) for size in own[0].sizes], minor=False)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
            axes.yaxis.set_major_formatter(lambda value, _: short(value))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.grid(alpha=0.3, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0][column].legend(frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    panels[0][0].set_ylabel("seconds on the CPU")
    panels[1][0].set_ylabel("added memory, MiB")
    return figure


def short(value: float) -> str:
    """`0.05`, `4,096`, `10k`, `1M`."""
    for least, unit, name in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= least:
            return f"{value / unit:g}{name}"
    return f"{value:,g}"


def write_figure(found: Mapping[str, Any], path: Path) -> None:
    """Writes the figure, and in it the hash of what it was drawn from."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "scale", "svg.fonttype": "path"}):
        draw(found).savefig(path, metadata={"Date": None, "Description": hash_of(found)})


def hash_of(found: Mapping[str, Any]) -> str:
    """What the figure has in it, to tell which cells it was drawn from."""
    return f"cells {hashlib.sha256(json.dumps(found['cells']).encode()).hexdigest()[:16]}"


def too_fast(found: Mapping[str, Any]) -> list[str]:
    """What grows faster than it should, a line each."""
    return [line for curve in curves_of(found) for line in curve.too_fast]


def read_results(path: Path) -> dict[str, Any]:
    """What bench_scale.py has written. Ends the program where it is not that."""
    found = read_measured(path, checked, "benchmarks/bench_scale.py")
    if unknown := {cell["series"] for cell in found["cells"]} - {*ENGLISH.units, "processes"}:
        stop(f"{path} has series that this script does not know: {', '.join(sorted(unknown))}")
    if found["inputs"]["quick"]:
        stop(f"{path} was measured with --quick, on small sizes: delete it, and measure again without --quick")
    return found


def checked(found: dict[str, Any]) -> dict[str, Any]:
    """Returns it. Raises ValueError where it lacks what the page needs."""
    Scale.model_validate(found)
    return found


def main() -> None:
    only_check = asked_to_check(__doc__)
    found = read_results(MEASURED)
    for words in LANGUAGES:
        bring_up_to_date(f"docs/{words.page}", Path(__file__).name, {"": tables(found, words)}, only_check)
    if not only_check:
        write_figure(found, FIGURE)
    elif not FIGURE.is_file() or hash_of(found) not in FIGURE.read_text(encoding="utf-8"):
        stop(f"docs/{FIGURE.name} is not from {MEASURED.name}: run python3 scripts/scale_page.py")
    lines = too_fast(found)
    for line in lines:
        print(line, file=sys.stderr)
    if only_check and lines:
        stop(f"{MEASURED}: what grows faster than it should is named above: mend it, and measure it again")


if __name__ == "__main__":
    sys.exit(run_main(main))
