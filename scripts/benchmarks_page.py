"""Writes what the benchmarks measured into README.md, docs/benchmarks.md and their Korean twins.

    python3 scripts/benchmarks_page.py                 # after a new benchmarks/results/seq_cls.json, qa, long, pretrain
    python3 scripts/benchmarks_page.py --check         # only says whether the pages are as it would write them

They stand between two comments in each page, and docs/benchmarks.md has the commands that write the files. What a file
lacks, such as the code that KoELECTRA ran, is left out. The README's quick start comes from quickstart.json.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reporting.benchmark_words import LANGUAGES, Words
from reporting.made_parts import asked_to_check, bring_up_to_date
from reporting.measured import RESULTS, counted_threads, machine, measured_line
from reporting.results_reading import markdown_grid, read_object, stop

BENCHMARKS = ("seq_cls", "qa", "long", "pretrain")
# The rows of the README's table: benchmark, ratio to the original, ratio to padding at the same precision.
SUMMARY = (
    ("seq_cls", "vs_original_padding_fp32", "vs_longest_padding_same_precision"),
    ("qa", "features_vs_transformers_2", ""),
    ("qa", "training_vs_original", "training_vs_longest"),
    ("pretrain", "spanbert_step_vs_original", "spanbert_step_vs_longest_bf16"),
    ("pretrain", "splinter_step_vs_original", "splinter_step_vs_longest_bf16"),
)
# Tables of training steps: arm -> ratios of our arm to it, each with the precision of our arm.
STEPS = {
    "classification": {
        "original_fp32": {"vs_original_padding_fp32": "bf16"},
        "longest_fp32": {"vs_longest_padding_fp32": "fp32"},
        "longest_bf16": {"vs_longest_padding_same_precision": "bf16"},
    },
    "questions": {
        "original_fp32": {"training_vs_original": "bf16"},
        "longest_bf16": {"training_vs_longest": "bf16"},
    },
}
for name, model, suffix in (("mix", "spanbert", ""), ("full", "spanbert", "_full"), ("splinter", "splinter", "")):
    STEPS[name] = {
        "original": {
            f"{model}_step_vs_original{suffix}": "bf16",
            f"{model}_step_vs_original_fp32{suffix}": "fp32",
        },
        "longest_bf16": {f"{model}_step_vs_longest_bf16{suffix}": "bf16"},
    }
# The rows of the table of questions, in the order of `Words.questions`: arms of features and of decoding.
QUESTIONS = (
    ("transformers_2", "transformers_2"),
    ("original", "python"),
    ("rust_per_question", ""),
    ("ours", "ours"),
)


# Of the quick start's lines of each kind, how many of the first and of the last ones are shown.
EXCERPT = {r"train \d": (1, 0), r"step \d": (1, 1), r"\d\t": (3, 0)}


def read_figures(name: str) -> dict[str, Any]:
    """What a benchmark wrote. Ends the program where it cannot be read, or lacks what every benchmark writes."""
    path, remedy = RESULTS / f"{name}.json", "docs/benchmarks.md has the command that writes it"
    if not path.is_file():
        stop(f"{path}: No such file: {remedy}")
    try:
        found = read_object(path)
    except ValueError as error:
        stop(f"{path} cannot be read ({error}): {remedy}")
    if missing := {"date", "command", "device", "threads", "versions"} - found.keys():
        stop(f"{path} lacks {', '.join(sorted(missing))}: {remedy}")
    return found


class Figures:
    """What a benchmark wrote: its rows by the names of their arms, and its ratios."""

    def __init__(self, name: str):
        self.name, self.found = name, read_figures(name)
        self.rows = {row["arm"]: row for row in self.found["rows"]}
        self.ratios: Mapping[str, float] = self.found["ratios"]
        command = self.found["command"]
        if " data/" not in command or re.search(r" [/~]", command):
            stop(f"{name}.json was not measured on files of data/, but by: {command}")

    def line(self, words: Words) -> str:
        """Where and how they were measured."""
        return measured_line(self.name, self.found, words.language)

    def rate(self, arm: str, key: str) -> str:
        """Questions or rows per second with three digits; "" where they were not measured."""
        return f"{float(f'{self.rows[arm][key]:.3g}'):,.0f}" if arm in self.rows else ""

    def times(self, name: str) -> str:
        """A ratio with two digits; "" where it was not measured."""
        return two_digits(self.ratios[name]) if name in self.ratios else ""


def two_digits(value: float) -> str:
    """`0.85`, `3.0`, `18`, `120`: a positive number with two significant digits."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:.{0 if rounded >= 10 else 1 if rounded >= 1 else 2}f}"


def quick_start(found: Mapping[str, Any], words: Words) -> str:
    """How long the quick start takes, and what its commands say, shortened."""
    seconds = sum(one["seconds"] for one in found["commands"])
    sentence = words.quick_start.format(two_digits(seconds), machine(found["device"], found["threads"]))
    said = ["\n".join([f"$ {one['command']}", *excerpt(one["said"])]) for one in found["commands"]]
    return sentence + "\n\n```console\n" + "\n\n".join(said) + "\n```"


def excerpt(lines: Sequence[str]) -> list[str]:
    """The lines, with an ellipsis for those that `EXCERPT` leaves out."""
    shown = set(range(len(lines)))
    for pattern, (first, last) in EXCERPT.items():
        kind = [number for number, line in enumerate(lines) if re.match(pattern, line)]
        shown -= set(kind[first : len(kind) - last])
    kept = [line if number in shown else "..." for number, line in enumerate(lines)]
    return [line for number, line in enumerate(kept) if line != "..." or number == 0 or kept[number - 1] != "..."]


def summary(figures: Mapping[str, Figures], words: Words) -> str:
    """The table of the README. Rows that were measured elsewhere than the first say where."""
    first = figures[SUMMARY[0][0]].found
    here = (first["device"], first["threads"])
    header = list(words.summary_header)
    lines = [[header[0].format(machine(*here)), *header[1:]]]
    for (name, original, longest), label in zip(SUMMARY, words.summary, strict=True):
        of = figures[name]
        if original not in of.ratios:
            continue
        device, threads = of.found["device"], of.found["threads"]
        where = machine(device, threads) if device != here[0] else counted_threads(threads)
        label += f" ({where})" if (device, threads) != here else ""
        ratios = [words.times.format(times) if (times := of.times(ratio)) else "" for ratio in (original, longest)]
        lines.append([label, *ratios, f"`benchmarks/bench_{name}.py`"])
    return markdown_grid(lines)


def step_table(of: Figures, part: str, prefix: str, words: Words) -> str:
    """A table of training steps: a row for each arm, whose name begins with `prefix` in the file."""
    rows = {arm: of.rows[prefix + arm] for arm in words.arms if prefix + arm in of.rows}
    if not rows:
        return ""
    keys = [key for key in words.columns if all(key in row for row in rows.values())]
    ours = list(rows.values())[-1]
    tokens = ours["real_tokens_per_second"] / ours["rows_per_second"]
    header = [words.steps[part].format(f"{tokens:.0f}"), *(words.columns[key] for key in keys), words.faster]
    lines = [header]
    for arm, row in rows.items():
        ratios = [f"{of.times(ratio)} ({precision})" for ratio, precision in STEPS[part].get(arm, {}).items()
                  if ratio in of.ratios]  # fmt: skip
        lines.append([words.arms[arm], *(step_cell(key, row[key]) for key in keys), ", ".join(ratios)])
    return markdown_grid(lines)


def step_cell(key: str, value: float) -> str:
    """A figure of a training step, with its unit where the title of the column has none."""
    if key in ("padding_ratio", "of_matmul"):
        return f"{100 * value:.0f} %"
    if key == "peak_mib":
        return f"{value:,.0f} MiB"
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def question_table(of: Figures, words: Words) -> str:
    """Features and answers per second, and how many times as fast ours are."""
    lines = [list(words.questions_header)]
    for arms, label in zip(QUESTIONS, words.questions, strict=True):
        cells = []
        for part, arm in zip(("features", "decoding"), arms, strict=True):
            cells += [of.rate(f"{part}: {arm}", "questions_per_second"), of.times(f"{part}_vs_{arm}")]
        if any(cells):
            lines.append([label, *cells])
    return markdown_grid(lines)


def attention_table(of: Figures, words: Words) -> str:
    """Seconds and memory of BigBird's attention, and of a whole step, in three ways."""
    lines = [list(words.attention_header)]
    cases = [re.fullmatch(r"(attention|step): ours_(fp32|bf16)_(\d+)", arm) for arm in of.rows]
    for part, precision, length in sorted((case.groups() for case in cases if case), key=lambda case: int(case[2])):
        case = f"{precision}_{length}"
        cells = [seconds_and_memory(of.rows[f"{part}: {way}_{case}"], words) for way in ("hf", "full", "ours")]
        ratios = [of.times(f"{part}_vs_{way}_{case}") for way in ("hf", "full")]
        lines.append([f"{int(length):,}", f"{words.attention[part]}, {precision}", *cells, *ratios])
    return markdown_grid(lines)


def seconds_and_memory(row: Mapping[str, float], words: Words) -> str:
    seconds = row["seconds"]
    return words.seconds.format(f"{seconds:.{1 if seconds >= 10 else 2}f}", f"{row['peak_mib']:,.0f}")


def loop_table(of: Figures, header: Sequence[str], rows: Sequence[tuple[str, str, str]], key: str, words: Words) -> str:
    """A plain way of doing something against ours. rows: part, the plain arm, the name of the ratio."""
    lines = [list(header)]
    for part, plain, ratio in rows:
        if ratio in of.ratios:
            rates = [of.rate(f"{part}: {arm}", key) for arm in (plain, "ours")]
            lines.append([words.loops[part], *rates, of.times(ratio)])
    return markdown_grid(lines)


def parts_of_page(figures: Mapping[str, Figures], words: Words) -> dict[str, str]:
    """The text of each part of docs/benchmarks.md."""
    seq_cls, qa, long, pretrain = (figures[name] for name in BENCHMARKS)
    found_features = loop_table(long, words.questions_loops_header, [("features", "original", "features_vs_original")],
                                "questions_per_second", words)  # fmt: skip
    row_loops = [("masking", "python", "masking_vs_python"), ("clusters", "python", "recurring_spans_vs_python")]
    steps = [step_table(pretrain, part, f"step, {part}: ", words) for part in ("mix", "full", "splinter")]
    blocks = {
        "classification": [seq_cls.line(words), step_table(seq_cls, "classification", "", words)],
        "question answering": [qa.line(words), question_table(qa, words),
                               step_table(qa, "questions", "training: ", words)],
        "BigBird": [long.line(words), attention_table(long, words), found_features],
        "pretraining": [pretrain.line(words), *steps,
                        loop_table(pretrain, words.rows_loops_header, row_loops, "rows_per_second", words)],
    }  # fmt: skip
    return {part: "\n\n".join(block for block in of_part if block) for part, of_part in blocks.items()}


def main() -> None:
    only_check = asked_to_check(__doc__)
    figures = {name: Figures(name) for name in BENCHMARKS}
    started = read_figures("quickstart")
    for words in LANGUAGES:
        parts = {"quick start": quick_start(started, words), "results": summary(figures, words)}
        bring_up_to_date(words.readme, Path(__file__).name, parts, only_check)
        bring_up_to_date(words.page, Path(__file__).name, parts_of_page(figures, words), only_check)


if __name__ == "__main__":
    sys.exit(run_main(main))
