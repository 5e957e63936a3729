"""Draws how the project is built: its folders as rooms, and an arrow for what each one imports from another.

    python3 scripts/draw_house.py                           # writes docs/house.svg
    python3 scripts/draw_house.py --output /tmp/house.svg

The rooms and the arrows are read from the source files, so the picture shows the project as it is. A room is a folder
with an `__init__.py`; the scripts at the top and those in `scripts/` are one room together.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.whole import write_whole

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = "scripts"
NOT_ROOMS = {"tests", "benchmarks"}
ABOUT = {
    SCRIPTS: "what a user runs: each main() tells the story of a run",
    "workflows": "steps that scripts share",
    "processors": "what a task is",
    "models": "what is trained",
    "training": "how it is trained",
    "storage": "writes whole files and folders",
}
Arrows = Mapping[tuple[str, str], int]

WIDTH, ROOM_HEIGHT, BETWEEN, MARGIN = 860, 84, 62, 24  # px
STYLE = """
  svg { background: #f6f6f3 }
  text { font-family: system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #24292f }
  .room { fill: #ffffff; stroke: #57606a; stroke-width: 1.5 }
  .name { font-size: 17px; font-weight: 600 }
  .about, .count { font-size: 12.5px }
  .count { text-anchor: middle; font-weight: 600 }
  .behind { fill: #f6f6f3 }
  .arrow { stroke: #3b6ea5; stroke-width: 1.6; fill: none }
  #head path { fill: #3b6ea5 }"""


@dataclass(frozen=True)
class Room:
    """A rectangle of the picture, in px."""

    name: str
    left: float
    top: float
    width: float


def rooms_of(root: Path) -> dict[str, list[Path]]:
    """Room -> its Python files. The scripts at the top of the project belong to the room `scripts`."""
    folders = sorted(path.parent for path in root.glob("*/__init__.py") if path.parent.name not in NOT_ROOMS)
    rooms = {folder.name: sorted(folder.rglob("*.py")) for folder in folders}
    return rooms | {SCRIPTS: sorted([*root.glob("*.py"), *root.glob("scripts/**/*.py")])}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and first name of each import in a file, also of those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module.split(".")[0]


def arrows_of(rooms: Mapping[str, list[Path]]) -> Arrows:
    """(room, room that it imports) -> how many import statements do so."""
    found = Counter((room, name) for room, files in rooms.items() for file in files for _, name in imported(file))
    return {(room, name): count for (room, name), count in sorted(found.items()) if name in rooms and name != room}


def floors_of(rooms: Mapping[str, list[Path]], arrows: Arrows) -> list[list[str]]:
    """The rooms from the top floor to the ground floor: a room stands below everything that imports it.

    Raises ValueError where rooms import one another.
    """
    above = {room: {upper for upper, lower in arrows if lower == room} for room in rooms}
    floors: list[list[str]] = []
    while above:
        floor = sorted((room for room, upper in above.items() if upper.isdisjoint(above)), key=_in_words_order)
        if not floor:
            raise ValueError(f"these rooms import one another: {', '.join(sorted(above))}")
        floors.append(floor)
        above = {room: upper for room, upper in above.items() if room not in floor}
    return floors


def _in_words_order(room: str) -> tuple[int, str]:
    """Rooms side by side stand in the order of `ABOUT`: what a task is, what is trained, how it is trained."""
    return (list(ABOUT).index(room) if room in ABOUT else len(ABOUT), room)


def place(floors: list[list[str]]) -> dict[str, Room]:
    """A rectangle for each room: top and ground floor are wide, and those between leave space for passing arrows."""
    placed = {}
    for level, names in enumerate(floors):
        inset = MARGIN if level in (0, len(floors) - 1) else MARGIN + 70
        gap = 54
        width = (WIDTH - 2 * inset - gap * (len(names) - 1)) / len(names)
        top = MARGIN + level * (ROOM_HEIGHT + BETWEEN)
        placed |= {name: Room(name, inset + i * (width + gap), top, width) for i, name in enumerate(names)}
    return placed


def columns_of(arrows: Arrows, placed: Mapping[str, Room]) -> dict[tuple[str, str], tuple[float, float]]:
    """The x at which each arrow begins and ends.

    An arrow is vertical, away from other arrows and behind as few rooms as possible. Between rooms that do not stand
    one above the other it is slanted.
    """
    columns: dict[tuple[str, str], tuple[float, float]] = {}

    def cost(pair: tuple[str, str], x: float) -> float:
        upper, lower = placed[pair[0]], placed[pair[1]]
        narrow = min(upper, lower, key=lambda room: room.width)
        passed = [room for room in placed.values() if upper.top < room.top < lower.top]
        behind = sum(room.left - 12 < x < room.left + room.width + 12 for room in passed)
        crowded = sum(max(0.0, 42 - abs(x - other)) ** 2 for ends in columns.values() for other in {*ends})
        return 1000 * behind + crowded + abs(x - narrow.left - narrow.width / 2)

    # The longest arrows have the least choice.
    for pair in sorted(arrows, key=lambda pair: placed[pair[0]].top - placed[pair[1]].top):
        upper, lower = (placed[name] for name in pair)
        left = max(upper.left, lower.left) + 14
        right = min(upper.left + upper.width, lower.left + lower.width) - 14
        if left <= right:
            x = min((left + i for i in range(0, int(right - left) + 1, 2)), key=lambda x: cost(pair, x))
            columns[pair] = (x, x)
        else:
            columns[pair] = (right, left) if upper.left < lower.left else (left, right)
    return columns


def svg_of(rooms: Mapping[str, list[Path]], arrows: Arrows) -> str:
    """The picture. Each arrow's number has the id `<room>-to-<room>`."""
    floors = floors_of(rooms, arrows)
    placed = place(floors)
    height = 2 * MARGIN + len(floors) * ROOM_HEIGHT + (len(floors) - 1) * BETWEEN
    lines, counts = [], []
    for (upper, lower), (begin, finish) in columns_of(arrows, placed).items():
        start, end = placed[upper].top + ROOM_HEIGHT, placed[lower].top - 2
        lines.append(f'<path class="arrow" d="M{begin:.0f} {start}L{finish:.0f} {end}" marker-end="url(#head)"/>')
        count, x = arrows[upper, lower], begin + (finish - begin) * BETWEEN / 2 / (end - start)
        y = start + BETWEEN / 2 + 4
        counts.append(f'<rect class="behind" x="{x - 14:.0f}" y="{y - 14:.0f}" width="28" height="18"/>')
        counts.append(f'<text class="count" id="{upper}-to-{lower}" x="{x:.0f}" y="{y:.0f}">{count}</text>')
    boxes = []
    for room in placed.values():
        x, files = room.left + 16, f"{len(rooms[room.name])} Python files"
        boxes += [
            f'<rect class="room" x="{room.left:.0f}" y="{room.top}" width="{room.width:.0f}" height="{ROOM_HEIGHT}" '
            'rx="6"/>',
            f'<text class="name" x="{x:.0f}" y="{room.top + 27}">{room.name}/</text>',
            f'<text class="about" x="{x:.0f}" y="{room.top + 48}">{ABOUT.get(room.name, "")}</text>',
            f'<text class="about" x="{x:.0f}" y="{room.top + 68}">{files}</text>',
        ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
            "<title>The folders of this project; a number is how many import statements an arrow stands for</title>",
            f"<style>{STYLE}\n</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto">'
            '<path d="M0 0L8 4L0 8z"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#f6f6f3"/>',
            *lines,
            *boxes,
            *counts,
            "</svg>\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    default = REPOSITORY / "docs" / "house.svg"
    parser.add_argument("--output", type=Path, default=default, help="file to write (default: docs/house.svg)")
    output = parser.parse_args().output
    rooms = rooms_of(REPOSITORY)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, svg_of(rooms, arrows_of(rooms)))


if __name__ == "__main__":
    sys.exit(run_main(main))
