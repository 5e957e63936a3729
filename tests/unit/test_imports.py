"""Which rooms of the house may import which: arrows run one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a task is, what is trained and how it is trained do not know one another.
ALLOWED = {
    "storage": set(),
    "processors": {"storage"},
    "models": {"storage"},
    "training": {"storage"},
    "workflows": {"storage", "processors", "models", "training"},
}
SCRIPTS = {path.stem for path in (*ROOT.glob("*.py"), *ROOT.glob("scripts/*.py"), *ROOT.glob("benchmarks/*.py"))}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and first name of each import, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module.split(".")[0]


@pytest.mark.parametrize("room", ALLOWED)
def test_arrows_run_one_way(room: str):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    forbidden = (ALLOWED.keys() | SCRIPTS | {"scripts", "benchmarks", "tests"}) - ALLOWED[room] - {room}
    wrong = [f"{path.relative_to(ROOT)}:{line} imports {name}" for path in files for line, name in imported(path)
             if name in forbidden]  # fmt: skip
    assert not wrong
