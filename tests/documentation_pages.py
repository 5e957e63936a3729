"""The pages of the documentation, and the commands in their blocks.

A block of commands (```bash) follows a comment that says how it is tested:

    <!-- run: sample -->                          the commands are run on the sample data
    <!-- run: in tests/scripts/test_x.py -->      that test runs them
    <!-- needs: data -->, or one of NEEDS         the commands are only checked
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted(ROOT.glob("docs/*.md"))]
NEEDS = ("data", "the network", "a GPU", "several GPUs", "a TPU")
MARK = re.compile(r"<!-- (run|needs): (.+?) -->")
FENCE = re.compile(r"^```(\w*)$")


@dataclass(frozen=True)
class Block:
    """A block of code. line: where it begins. mark: kind and text of the comment before it, if it is one of ours."""

    page: str
    line: int
    language: str
    mark: tuple[str, str] | None
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[Command]:
        """The commands of the block, without comments, and without `source`, which is the shell's own."""
        joined = self.text.replace("\\\n", " ")
        for line in joined.splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                command, words = words[:end], words[end + 1 :]
                variables = [word for word in command if re.match(r"[A-Z_]+=", word)]
                command = command[len(variables) :]
                if command and command[0] != "source":
                    yield Command(tuple(command), tuple(variables))


@dataclass(frozen=True)
class Command:
    """The words of a command, and the variables that are set for it (`USE_TPU=1`)."""

    words: tuple[str, ...]
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((*self.variables, *self.words))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    lines = page.read_text(encoding="utf-8").split("\n")
    starts = [number for number, line in enumerate(lines) if FENCE.match(line)]
    for start, end in zip(starts[::2], starts[1::2], strict=True):
        mark = MARK.fullmatch(lines[start - 1])
        yield Block(
            page=str(page.relative_to(ROOT)),
            line=start + 1,
            language=FENCE.match(lines[start]).group(1),
            mark=mark.groups() if mark else None,
            text="\n".join(lines[start + 1 : end]),
        )


def prose(page: Path) -> str:
    """A page without its blocks; lines stay where they are."""
    kept, inside = [], False
    for line in page.read_text(encoding="utf-8").split("\n"):
        inside ^= bool(FENCE.match(line))
        kept.append("" if inside or FENCE.match(line) else line)
    return "\n".join(kept)


def inline_code(page: Path) -> Iterator[tuple[str, str]]:
    """`page:line` and text of what stands in backticks in the prose."""
    for number, line in enumerate(prose(page).split("\n"), 1):
        yield from ((f"{page.relative_to(ROOT)}:{number}", code) for code in re.findall(r"`([^`]+)`", line))


def shell_blocks() -> list[Block]:
    """The blocks of commands of all pages."""
    return [block for page in PAGES for block in blocks(page) if block.language == "bash"]
