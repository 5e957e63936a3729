"""The page of published scores: what the script prints, and that the one in docs/ is that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import published_scores_page
from conftest import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "published_scores_page.py"
PAGE = REPOSITORY / "docs" / "published_scores.md"


def printed(*arguments: str | Path) -> str:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout


def test_the_committed_page_is_what_the_script_prints(tmp_path: Path) -> None:
    text = printed()
    assert PAGE.read_text(encoding="utf-8") == text, f"python3 scripts/published_scores_page.py --output {PAGE.name}"
    assert printed("--output", tmp_path / "page.md") == ""
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == text


def cells(text: str, first: str) -> list[list[str]]:
    """The cells of the rows that begin with one."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] == first]


def test_scores_stand_in_their_columns() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert cells(text, "KoBERT") == [
        [*"KoBERT 351M 89.63 86.11 80.65 79.00 79.64 93.93".split(), "52.81 / 80.27", "–"],
    ]
    assert cells(text, "KoBigBird-BERT-Base") == [
        ["KoBigBird-BERT-Base", "79.13 / 81.30", "67.77 / 82.03", "98.85", "45.42"],
        ["KoBigBird-BERT-Base", "91.18", "87.17", "92.61", "87.08 / 94.71", "70.33 / 75.34"],
    ]
    assert cells(text, "KoSplinter") == [
        "KoSplinter EM 33.67 49.71 59.60 67.49 72.51 76.86 79.47 86.16".split(),
        "KoSplinter F1 46.22 63.38 72.77 80.64 84.48 87.88 89.91 94.34".split(),
    ]
    assert cells(text, "0") == ["0 cls 9 0.220 0.825".split()]
    for name in (
        "monologg/KoELECTRA",
        "monologg/KoBigBird",
        "YunSoungKim/KoSplinter",
        "paul-hyun/transformer-evolution",
    ):
        assert f"- Source: [github.com/{name}](https://github.com/{name}), README of" in text
    scored = "Best of several evaluations on the scored file itself: NSMC, Naver NER, KorQuAD (Dev), Hate Speech."
    unknown = "how the checkpoint was selected: PAWS, KorNLI, KorSTS, Question Pair."
    assert f"- {scored}\n" in text and f" {unknown}\n" in text
    assert "- KoELECTRA-Base-v3, Full: from the README of KoELECTRA" in text


@pytest.mark.parametrize("score, text", [(89.6, "89.60"), ([52.81, 80.2], "52.81 / 80.20"), (None, "–")])
def test_score_text(score: float | list[float] | None, text: str) -> None:
    assert published_scores_page.score_text(score) == text
