"""The picture of the rooms: its arrows are those of the imports, in the file of the documentation too."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from draw_house import REPOSITORY, arrows_of, columns_of, floors_of, place, rooms_of, svg_of

SVG = "{http://www.w3.org/2000/svg}"
# A story above its steps, the steps above what they use, and all above the ground.
HOUSE = {
    "run_it.py": "import models\nfrom workflows.fit import fit\nfrom training import loop\n",
    "scripts/draw.py": "def main():\n    from storage.whole import write\n    import json, models.heads\n",
    "workflows/fit.py": "from training.loop import loop\nfrom training import config\nfrom . import steps\n",
    "training/loop.py": "import training.config\nimport storage\n",
    "models/heads.py": "import torch\n",
    "storage/whole.py": "",
    "tests/test_it.py": "import models\n",
}
ARROWS = {
    ("scripts", "models"): 2,
    ("scripts", "storage"): 1,
    ("scripts", "training"): 1,
    ("scripts", "workflows"): 1,
    ("training", "storage"): 1,
    ("workflows", "training"): 2,
}


def arrows_in(svg: str) -> dict[tuple[str, str], int]:
    """The numbers beside the arrows of a picture."""
    texts = ElementTree.fromstring(svg).iter(f"{SVG}text")
    labels = {text.get("id", ""): text.text for text in texts}
    return {tuple(name.split("-to-")): int(count) for name, count in labels.items() if "-to-" in name}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name, source in HOUSE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
        if path.parent not in (tmp_path, tmp_path / "scripts"):
            (path.parent / "__init__.py").touch()
    return tmp_path


def test_arrows_are_counted_by_hand(house: Path):
    rooms = rooms_of(house)
    assert {room: len(files) for room, files in rooms.items()} == {
        "scripts": 2, "workflows": 2, "training": 2, "models": 2, "storage": 2,
    }  # fmt: skip
    arrows = arrows_of(rooms)
    assert arrows == ARROWS
    assert floors_of(rooms, arrows) == [["scripts"], ["workflows", "models"], ["training"], ["storage"]]
    assert arrows_in(svg_of(rooms, arrows)) == ARROWS


def test_an_arrow_begins_and_ends_at_its_rooms_and_away_from_the_others(house: Path):
    rooms = rooms_of(house)
    placed = place(floors_of(rooms, ARROWS))
    columns = columns_of(ARROWS, placed)
    assert columns.keys() == ARROWS.keys()
    for rooms_of_arrow, ends in columns.items():
        upper, lower = (placed[room] for room in rooms_of_arrow)
        assert upper.top < lower.top
        assert all(room.left < x < room.left + room.width for room, x in zip((upper, lower), ends, strict=True))
    assert len(set(columns.values())) == len(columns)


def test_rooms_that_import_one_another_have_no_floors(house: Path):
    (house / "models" / "heads.py").write_text("import training\n", encoding="utf-8")
    (house / "training" / "loop.py").write_text("import models\n", encoding="utf-8")
    rooms = rooms_of(house)
    with pytest.raises(ValueError, match=re.escape("these rooms import one another: models, training")):
        floors_of(rooms, arrows_of(rooms))


def test_the_picture_of_the_documentation_is_up_to_date():
    drawn = arrows_in((REPOSITORY / "docs" / "house.svg").read_text(encoding="utf-8"))
    there = arrows_of(rooms_of(REPOSITORY))
    assert drawn == there, "docs/house.svg is older than the imports: run python3 scripts/draw_house.py"
