"""Writes what was measured with this suite on real Korean data into docs/results.md, README.md and their Korean twins.

    python3 scripts/results_page.py                 # after the measuring commands of docs/results.md
    python3 scripts/results_page.py --check         # only says whether the pages are as it would write them

Every figure that it writes comes from benchmarks/results/tasks/, a file for each task, from
benchmarks/results/wider_grid/, the same for tasks that were measured with more learning rates too, or from
benchmarks/results/few_shot.json.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reporting.few_shot_bootstrap import LEVEL
from reporting.few_shot_cells import METRICS
from reporting.made_parts import asked_to_check, bring_up_to_date
from reporting.measured import FEW_SHOT_ARMS, PRETRAINED, RESULTS, SCRATCH, as_typed, machine, read_measured
from reporting.measured_results import Grid, Hardware, MeasuredFewShot, MeasuredRun, MeasuredTask, seeds_of
from reporting.results_reading import CHANCE, markdown_grid, score_text, stop
from reporting.study import REPOSITORY

TASKS, WIDER_GRID = RESULTS / "tasks", RESULTS / "wider_grid"
FEW_SHOT = RESULTS / "few_shot.json"
MEASURE_TASKS, MEASURE_FEW_SHOT = "scripts/measure_tasks.py", "scripts/measure_few_shot.py"
DERIVED, EDGE = "†", "‡"
DIGITS = 16  # of a file's hash: enough to tell it from others


@dataclass(frozen=True)
class Words:
    """The words of the tables in one language, and the pages to write.

    header, grid_header, files_header, few_shot_header: the titles of the columns of the scores, of the learning rates,
    of the data and of the few-shot table. better: what bold means, with a place for the level and one for the number of
    resamples. chance, edge: what the two marks mean. one_by_one: before the scores of cells that have both kinds of
    runs.
    """

    readme: str
    page: str
    header: tuple[str, ...]
    grid_header: tuple[str, str]
    files_header: tuple[str, ...]
    few_shot_header: tuple[str, ...]
    better: str
    step: str
    seeds: str
    device: str
    chance: str
    one_by_one: str
    edge: str


LANGUAGES = (
    Words(
        readme="README.md",
        page="docs/results.md",
        header=("folder", "score", PRETRAINED, SCRATCH, "steps", "epochs", "training, each (min:s)"),
        grid_header=("folder", "model"),
        files_header=("folder", "training file and test file", "rows or questions", "SHA-256 begins with"),
        few_shot_header=("questions", "score", *FEW_SHOT_ARMS, "p (one-sided)", "epochs", "training, each (min:s)"),
        better="Bold: better than the other with p < {} by the paired bootstrap, {:,} resamples of the test questions.",
        step="step",
        seeds="Seeds {}.",
        device="Measured on: {}.",
        chance="k/n: k of the cell's n runs ended at chance level; their scores are in the mean all the same",
        one_by_one="The scores of such a cell, one by one: {}.",
        edge="the best rate is the smallest or the largest that was tried",
    ),
    Words(
        readme="README_KO.md",
        page="docs/results_ko.md",
        header=("폴더", "점수", "사전학습", "처음부터 학습", "스텝", "에포크", "학습 시간, 각각(분:초)"),
        grid_header=("폴더", "모델"),
        files_header=("폴더", "학습 파일과 테스트 파일", "행 또는 질문 수", "SHA-256의 앞부분"),
        few_shot_header=("질문", "점수", "Splinter", "선형 QA 헤드", "p (단측)", "에포크", "학습 시간, 각각(분:초)"),
        better="굵은 글씨: 테스트 질문에 대한 대응 부트스트랩({1:,}회)에서 다른 모델보다 유의하게 높음(p < {0}).",
        step="스텝",
        seeds="시드는 {}입니다.",
        device="측정한 장치: {}.",
        chance="k/n: 이 칸의 실행 n개 가운데 k개가 우연 수준에서 끝났다는 뜻이며, 그 점수도 평균에 들어 있습니다",
        one_by_one="이런 칸의 점수는 하나씩 다음과 같습니다: {}.",
        edge="가장 좋은 학습률이 시도한 값 가운데 가장 작거나 가장 큰 값입니다",
    ),
)


def refuse_unlike_measurements(measured: dict[Path, MeasuredTask]) -> None:
    """Ends the program where the tasks were not measured alike: the page tells model, seeds and whether the runs are
    short once for all of them.
    """
    models = {path: (task.model, task.shape, task.pretraining) for path, task in measured.items()}
    # Reading a file has made sure that both of its models have the same seeds.
    seeds = {path: seeds_of(task.arms[PRETRAINED].runs) for path, task in measured.items()}
    lengths = {path: task.full for path, task in measured.items()}
    for what, of_files in (("model", models), ("seeds", seeds), ("length of runs (--full)", lengths)):
        first = next(iter(of_files), None)
        for path, content in of_files.items():
            if content != of_files[first]:
                stop(f"{first} and {path} were not measured with the same {what}: measure them alike")


def scores(measured: list[MeasuredTask], words: Words) -> str:
    """A line for each task, what the mark of a run at chance means where there is one, the scores of cells that have
    both kinds of runs, seeds and devices.
    """
    devices = dict.fromkeys(device_text(one) for task in measured for one in (task.hardware, *task.other_hardware))
    lines = [score_row(task) for task in measured]
    grid = with_mark_told([words.header, *lines], CHANCE[0], words.chance)
    if mixed := [told for task in measured for told in mixed_cells(task, words)]:
        grid += f" {words.one_by_one.format('; '.join(mixed))}"
    seeds = ", ".join(map(str, seeds_of(measured[0].arms[PRETRAINED].runs)))
    return f"{grid}\n\n{words.seeds.format(seeds)} {words.device.format('; '.join(devices))}"


def score_row(task: MeasuredTask) -> list[str]:
    """Both arms' scores, steps and the rows of each, and how long each arm was trained."""
    runs = [task.arms[arm].runs for arm in (PRETRAINED, SCRATCH)]
    both = [score_cell(of_arm, task.main_metric) for of_arm in runs]
    name = task.folder + (f" {DERIVED}" if task.derived else "")
    length = [f"{runs[0][0].steps:,} × {runs[0][0].rows_per_step}", epochs_text(runs[0]), clocks(runs)]
    return [name, task.main_metric, *both, *length]


def titles_of(words: Words) -> dict[str, str]:
    """Both arms and the titles of their columns."""
    return dict(zip((PRETRAINED, SCRATCH), words.header[2:4], strict=True))


def mixed_cells(task: MeasuredTask, words: Words) -> Iterator[str]:
    """`hate-speech, pretrained: 47.50, 16.90 ⚠, 49.90`, for each arm of which some runs ended at chance level."""
    for arm, title in titles_of(words).items():
        runs = task.arms[arm].runs
        if 0 < sum(run.at_chance for run in runs) < len(runs):
            scores = [f"{100 * run.metrics[task.main_metric]:.2f}{f' {CHANCE[0]}' * run.at_chance}" for run in runs]
            yield f"{task.folder}, {title}: {', '.join(scores)}"


def scores_in_short(measured: list[MeasuredTask], words: Words) -> str:
    """The table of the README: a line for each task with both arms' scores."""
    return markdown_grid([line[:4] for line in (words.header, *map(score_row, measured))])


def score_cell(runs: list[MeasuredRun], metric: str) -> str:
    """`62.50 ± 17.68`, in per cent, and how many of the runs ended at chance level where some did: `⚠ 1/3`."""
    text, at_chance = score_text([100 * run.metrics[metric] for run in runs], 2), sum(run.at_chance for run in runs)
    return f"{text} {CHANCE[0]} {at_chance}/{len(runs)}" if at_chance else text


def rates(measured: list[MeasuredTask], words: Words) -> str:
    """Each arm's scores on the held-back rows, in per cent, with a column for each learning rate; the best is bold, and
    marked where it is at the edge of the grid.
    """
    tried = sorted({rate for task in measured for arm in task.arms.values() for rate in arm.grid})
    lines = [[*words.grid_header, *map(as_typed, tried)]]
    for task in measured:
        for name, title in titles_of(words).items():
            lines.append([task.folder, title, *rate_cells(task.arms[name], tried)])
    return with_mark_told(lines, EDGE, words.edge)


def rate_cells(arm: Grid, tried: list[float]) -> list[str]:
    """A cell for each rate; empty where the arm has not tried it, bold where it was used."""
    by_rate, used = {rate: f"{100 * score:.2f}" for rate, score in arm.grid.items()}, arm.learning_rate
    is_alone = list(arm.grid.values()).count(arm.grid[used]) == 1  # the first of several equal ones tells no direction
    mark = f" {EDGE}" if len(by_rate) > 1 and is_alone and used in (min(by_rate), max(by_rate)) else ""
    by_rate[used] = f"**{by_rate[used]}**{mark}"
    return [by_rate.get(rate, "") for rate in tried]


def with_mark_told(lines: Sequence[Sequence[str]], mark: str, meaning: str) -> str:
    """The table, and what the mark means where a cell has it."""
    is_marked = any(mark in cell for line in lines for cell in line)
    return markdown_grid(lines) + (f"\n\n{mark} {meaning}." if is_marked else "")


def data_files(measured: list[MeasuredTask], words: Words) -> str:
    """The two files of each task, how many rows or questions they hold, and the first digits of their hashes."""
    lines = [
        [task.folder, name, f"{task.rows[split]:,}", f"`{digest[:DIGITS]}`"]
        for task in measured
        for split, (name, digest) in zip(("train", "test"), task.files.items(), strict=True)
    ]
    return markdown_grid([words.files_header, *lines])


def with_output(command: str, folder: Path) -> str:
    """A measuring command that writes to a folder which this script reads."""
    return f"{command} --output {folder.relative_to(REPOSITORY)}"


def commands(lines: Iterable[str]) -> str:
    """A block of commands."""
    return "<!-- needs: data -->\n```bash\n" + "\n".join(lines) + "\n```"


def few_shot_rows(measured: MeasuredFewShot) -> Iterator[list[str]]:
    """EM and F1 of both models for each size, in per cent, the p of "the Splinter is no better", and how long each
    model was trained.
    """
    for size, p in measured.p.items():
        runs = {name: measured.arms[name].sizes[size] for name in FEW_SHOT_ARMS}
        length = [epochs_text(runs[FEW_SHOT_ARMS[0]]), clocks(runs.values())]
        for metric in METRICS:
            texts = {name: score_cell(runs[name], metric) for name in runs}
            both = [f"**{text}**" if p[name][metric] < LEVEL else text for name, text in texts.items()]
            yield [f"{size:,}", metric, *both, p_text(p[FEW_SHOT_ARMS[0]][metric], measured.resamples), *length]


def p_text(p: float, resamples: int) -> str:
    """`0.0123`; `≤ 0.0001` for the smallest p that so many resamples can give."""
    return f"{'≤ ' if p * (resamples + 1) < 1.5 else ''}{p:.4f}"


def few_shot_in_short(measured: MeasuredFewShot, words: Words) -> str:
    """The few-shot table of the README, without the lengths, and what bold means in it."""
    grid = markdown_grid([line[:5] for line in (words.few_shot_header, *few_shot_rows(measured))])
    return f"{grid}\n\n{words.better.format(LEVEL, measured.resamples)}"


def few_shot_scores(measured: MeasuredFewShot, words: Words) -> str:
    """The few-shot table, what its marks mean, and the devices."""
    grid = with_mark_told([words.few_shot_header, *few_shot_rows(measured)], CHANCE[0], words.chance)
    devices = "; ".join(device_text(one) for one in (measured.hardware, *measured.other_hardware))
    return f"{grid}\n\n{words.better.format(LEVEL, measured.resamples)} {words.device.format(devices)}"


def few_shot_rates(measured: MeasuredFewShot, words: Words) -> str:
    """Each model's F1 on the held-back questions, in per cent; the best is bold."""
    titles = dict(zip(FEW_SHOT_ARMS, words.few_shot_header[2:4], strict=True))
    arms = {title: measured.arms[name] for name, title in titles.items()}
    tried = sorted({rate for arm in arms.values() for rate in arm.grid})
    lines = [[title, *rate_cells(arm, tried)] for title, arm in arms.items()]
    lines = [[words.grid_header[1], *map(as_typed, tried)], *lines]
    return with_mark_told(lines, EDGE, words.edge)


def curve(measured: MeasuredFewShot, words: Words) -> str:
    """The shares of held-out questions that the Splinter answered while it was pretrained, in per cent."""
    names = list(dict.fromkeys(name for shares in measured.held_out.values() for name in shares))
    lines = [
        [f"{step:,}", *(f"{100 * shares[name]:.2f}" if name in shares else "" for name in names)]
        for step, shares in measured.held_out.items()
    ]
    return markdown_grid([[words.step, *names], *lines])


def device_text(hardware: Hardware) -> str:
    """`AMD EPYC (1 thread), bf16`."""
    return f"{machine(hardware.name, hardware.threads)}, {hardware.precision}"


def epochs_text(runs: Iterable[MeasuredRun]) -> str:
    """The median: `0.03`, `1.2`, `75`. Few-shot samples of one size differ in how many windows they have."""
    epochs = statistics.median(run.epochs for run in runs)
    return f"{epochs:.{2 if epochs < 1 else 1 if epochs < 10 else 0}f}"


def clocks(arms: Iterable[Iterable[MeasuredRun]]) -> str:
    """The median of each arm's runs as minutes and seconds: `7:13, 6:43`."""
    medians = [divmod(round(statistics.median(run.seconds for run in runs)), 60) for runs in arms]
    return ", ".join(f"{minutes}:{seconds:02d}" for minutes, seconds in medians)


def read_tasks(folder: Path) -> dict[Path, MeasuredTask]:
    """The files of a folder, by their paths."""
    paths, command = sorted(folder.glob("*.json")), with_output(MEASURE_TASKS, folder)
    return {path: read_measured(path, MeasuredTask.model_validate, command) for path in paths}


def parts_of_tasks(tasks: list[MeasuredTask], wider: list[MeasuredTask], words: Words) -> dict[str, str]:
    """The parts of a page that are about tasks. wider: those that were measured with more learning rates too."""
    parts = {
        "data": data_files(tasks, words),
        "scores": scores(tasks, words),
        "rates": rates(tasks, words),
        "measuring": commands(with_output(task.measured_by, TASKS) for task in tasks),
        "commands": commands(task.command for task in tasks),
    }
    if wider:
        parts |= {
            "wider scores": scores(wider, words),
            "wider rates": rates(wider, words),
            "wider measuring": commands(with_output(task.measured_by, WIDER_GRID) for task in wider),
        }
    return parts


def parts_of_few_shot(few_shot: MeasuredFewShot, words: Words) -> dict[str, str]:
    """The parts of a page that are about the Splinter."""
    return {
        "few shot": few_shot_scores(few_shot, words),
        "few-shot rates": few_shot_rates(few_shot, words),
        "few-shot measuring": commands([with_output(few_shot.measured_by, FEW_SHOT.parent)]),
        "few-shot commands": commands(few_shot.arms[name].command for name in FEW_SHOT_ARMS),
        "pretraining": curve(few_shot, words),
    }


def main() -> None:
    only_check, script = asked_to_check(__doc__), Path(__file__).name
    by_file, wider_by_file = read_tasks(TASKS), read_tasks(WIDER_GRID)
    tasks, wider = list(by_file.values()), list(wider_by_file.values())
    few_shot, measure_few_shot = None, with_output(MEASURE_FEW_SHOT, FEW_SHOT.parent)
    if FEW_SHOT.is_file():
        few_shot = read_measured(FEW_SHOT, MeasuredFewShot.model_validate, measure_few_shot)
    if not (tasks or few_shot) and not only_check:
        measure_tasks = with_output(MEASURE_TASKS, TASKS)
        stop(f"there are no results in {TASKS}, and no {FEW_SHOT}: run {measure_tasks} or {measure_few_shot}")
    for source, found in ((TASKS, tasks), (WIDER_GRID, wider), (FEW_SHOT, few_shot)):
        if only_check and not found:
            stop(f"{source}: there is nothing; the pages have parts that were made from it")
    refuse_unlike_measurements(by_file | wider_by_file)
    for words in LANGUAGES:
        parts, in_short = {}, {}
        if tasks:
            in_short["real data"] = scores_in_short(tasks, words)
            parts |= parts_of_tasks(tasks, wider, words)
        if few_shot:
            in_short["few questions"] = few_shot_in_short(few_shot, words)
            parts |= parts_of_few_shot(few_shot, words)
        bring_up_to_date(words.page, script, parts, only_check)
        bring_up_to_date(words.readme, script, in_short, only_check)


if __name__ == "__main__":
    sys.exit(run_main(main))
