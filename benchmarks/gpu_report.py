"""The goals of `measure_gpu.py`, and `gpu.md`: the content of `gpu.json` as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REHEARSAL = "rehearsal on a CPU: the figures mean nothing"
LINES_OF_A_FAILURE = 20  # the last ones that a failed part has printed


@dataclass(frozen=True)
class Goal:
    """value: the least that a ratio should be, or, with `at_most`, the most. what: what the ratio means."""

    value: float
    what: str
    at_most: bool = False

    def is_met(self, value: float) -> bool:
        return value <= self.value if self.at_most else value >= self.value


GOALS = {
    "gpu_nsmc_base_vs_longest_bf16": Goal(4, "NSMC step, KoELECTRA-Base: times as fast as padded to the longest row"),
    "gpu_nsmc_small_vs_longest_bf16": Goal(6, "the same, KoELECTRA-Small"),
    "gpu_korquad_base_vs_longest_bf16": Goal(3, "KorQuAD step, KoELECTRA-Base"),
    "gpu_bigbird_step_4096_vs_hf": Goal(3, "BigBird step, rows of 4,096 tokens: times as fast as transformers"),
    "gpu_spanbert_vs_longest_bf16": Goal(3, "SpanBERT step, full rows: times as fast as padded to the longest row"),
    "gpu_splinter_vs_longest_bf16": Goal(3, "Splinter step"),
    "gpu_first_step_seconds": Goal(5, "seconds from the imports to the end of a first step", at_most=True),
}


def ratios_of(cells: Mapping[str, Mapping[str, Any]], is_rehearsal: bool) -> dict[str, dict[str, Any]]:
    """{name: {"value", "goal", "met"}}: first every ratio that has a goal, then the others that were measured.

    value: None if it was not measured. met: None if that cannot be said, as in a rehearsal.
    """
    measured = {name: value for cell in cells.values() for name, value in cell["ratios"].items()}
    ratios = {}
    for name, goal in GOALS.items():
        value = measured.pop(name, None)
        met = None if value is None or is_rehearsal else goal.is_met(value)
        ratios[name] = {"value": value, "goal": goal.value, "met": met}
    return ratios | {name: {"value": value, "goal": None, "met": None} for name, value in measured.items()}


def as_markdown(found: Mapping[str, Any]) -> str:
    """`gpu.md`: heading, ratios with their goals, a table for each cell, outcomes of the tests, failures."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items() if version)
    parts = [
        f"# {found['device']}",
        *[f"**{REHEARSAL}**"] * found["rehearsal"],
        f"{versions}; commit {found['commit']}; {found['started']}; "
        f"{found['seconds'] / 60:.1f} of {found['minutes']:g} minutes.",
        "## Ratios",
        _table(["ratio", "value", "goal", "met"], [_ratio_cells(*pair) for pair in found["ratios"].items()]),
    ]
    for name, cell in found["cells"].items():
        parts += [f"## {name}", cell["device"], *_tables_of(cell["rows"])]
    parts += ["## Tests", _tests(found["tests"])]
    if found["no_time_for"]:
        parts += ["## Not measured, as the time was up", ", ".join(found["no_time_for"])]
    if found["failures"]:
        parts.append("## Failures")
        for failure in found["failures"]:
            parts += [f"{failure['what']}:", f"```\n{failure['why']}\n```"]
    return "\n\n".join(parts) + "\n"


def _ratio_cells(name: str, ratio: Mapping[str, Any]) -> list[str]:
    goal = GOALS.get(name)
    value = "not measured" if ratio["value"] is None else f"{ratio['value']:.2f}"
    if goal is None:
        return [f"`{name}`", value, "", ""]
    met = {None: "", True: "yes", False: "no"}[ratio["met"]]
    return [f"`{name}`: {goal.what}", value, f"at {'most' if goal.at_most else 'least'} {goal.value:g}", met]


def _tables_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tables of rows; a new one begins where the columns change."""
    tables: list[tuple[list[str], list[list[str]]]] = []
    for row in rows:
        if not tables or tables[-1][0] != list(row):
            tables.append((list(row), []))
        tables[-1][1].append([_cell(name, value) for name, value in row.items()])
    return [_table(columns, lines) for columns, lines in tables]


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in ([name.replace("_", " ") for name in columns], rule, *lines)
    )


def _cell(column: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if column == "of_matmul":
        return f"{value:.1%}".replace("%", " %")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _tests(tests: Mapping[str, Any]) -> str:
    passed, failed = tests["passed"], tests["failed"]
    others = len(tests["names"]) - passed - failed
    failing = [name for name, outcome in tests["names"].items() if outcome in ("FAILED", "ERROR")]
    return f"passed: {passed}, failed: {failed}, neither: {others}" + "".join(
        f"\n- failed: `{name}`" for name in failing
    )
