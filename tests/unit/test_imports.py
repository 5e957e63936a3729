"""Which rooms of the house may import which: arrows run one way."""

from __future__ import annotations

from pathlib import Path

import pytest

from draw_house import imported

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


@pytest.mark.parametrize("room", ALLOWED)
def test_arrows_run_one_way(room: str):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    forbidden = (ALLOWED.keys() | SCRIPTS | {"scripts", "benchmarks", "tests"}) - ALLOWED[room] - {room}
    wrong = [f"{path.relative_to(ROOT)}:{line} imports {name}" for path in files for line, name in imported(path)
             if name in forbidden]  # fmt: skip
    assert not wrong
