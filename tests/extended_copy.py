"""A copy of the repository to which the code blocks of `docs/extending.md` are applied, as a reader would apply them.

<!-- new: path -->             the block is a new file
<!-- in: path, TUPLE -->       the block is one more element of that tuple
<!-- in: path -->              a block of Python is added to that file; one of diff changes its lines
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^<!-- (new|in): (\S+?)(?:, (\w+))? -->\n```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COPIED = "config models processors scripts storage tests training workflows docs pyproject.toml".split()


def commands() -> list[tuple[list[str], str]]:
    """The words of each command in a console block, without `python3`, and the text that it shows."""
    consoles = re.findall(r"^```console\n\$ python3 (.*?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [(command.split(), shown) for command, shown in consoles]


def extended_copy(folder: Path) -> Path:
    """Copies the repository into `folder`, and applies all blocks in their order. Returns the folder."""
    copy_repository(folder)
    for kind, name, tuple_name, language, text in BLOCKS:
        path = folder / name
        if kind == "new":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            continue
        before = path.read_text(encoding="utf-8")
        after = changed(before, text) if language == "diff" else added(before, text, tuple_name)
        path.write_text(after, encoding="utf-8")
    return folder


def copy_repository(folder: Path) -> None:
    """Copies what a run or a test of the copy needs into `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    for path in [*REPOSITORY.glob("*.py"), *(REPOSITORY / name for name in COPIED)]:
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, folder)


def added(source: str, block: str, tuple_name: str) -> str:
    """The source with one more element of a tuple, or with one more function, before what only a script's end has."""
    if tuple_name:
        start = source.index(f"\n{tuple_name} = (\n")
        end = source.index("\n)\n", start) + 1
        indented = "".join(f"    {line}" for line in block.splitlines(keepends=True))
        return source[:end] + indented.rstrip("\n") + ",\n" + source[end:]
    end = source.find('\nif __name__ == "__main__":')
    end = len(source) if end < 0 else end
    return source[:end] + f"\n\n{block}\n" + source[end:]


def changed(source: str, diff: str) -> str:
    """The source after the change. The old lines must stand in it once; how far they are indented does not matter."""
    old = [line[1:] for line in diff.splitlines() if line[:1] in "- "]
    new = [line[1:] for line in diff.splitlines() if line[:1] in "+ "]
    for indent in ("", "    ", "        "):
        text = "".join(f"{indent}{line}\n" for line in old)
        count = len(re.findall(f"^(?={re.escape(text)})", source, re.MULTILINE))
        if count == 1:
            return source.replace(text, "".join(f"{indent}{line}".rstrip() + "\n" for line in new))
        assert not count, f"these lines stand there more than once:\n{diff}"
    raise AssertionError(f"these lines do not stand there:\n{diff}")
