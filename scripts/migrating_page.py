"""Writes the tables of flags into docs/migrating.md and docs/migrating_ko.md, whose other parts are written by hand.

    python3 scripts/migrating_page.py                 # after a change of training/original_flags.json
    python3 scripts/migrating_page.py --check         # only says whether the pages are as it would write them

The tables stand between two comments in each page, and come from training/original_flags.json, from which the scripts
also answer the originals' flags.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from reporting.made_parts import asked_to_check, bring_up_to_date
from training.original_flags import OriginalFlag, OriginalScript, original_scripts

# Flags, files and settings in a remark.
VALUES = "true|qass|linear|epoch|fp16|false|True|False|sentencepiece|nsmc|cache|0|2"
CODE = re.compile(r"--[a-z][a-z_0-9]*|[\w./-]+\.(?:py|json|sh|txt|csv|model)\b|\b[a-z]+(?:_[a-z0-9]+)+\b", re.ASCII)


@dataclass(frozen=True)
class Words:
    """The words of the tables in one language. page: file in docs/. language: of the remarks, en or ko."""

    page: str
    language: str
    header: tuple[str, str, str]
    same: str
    none: str
    project: str


LANGUAGES = (
    Words("migrating.md", "en", ("theirs", "here", "remark"), "The same:", "none", "Korean SpanBERT"),
    Words("migrating_ko.md", "ko", ("원본", "여기", "설명"), "이름과 뜻이 같은 것:", "없음", "한국어 SpanBERT"),
)


def tables(words: Words) -> str:
    """All tables, each under a heading that names the original's scripts and those that do their work here."""
    return "\n\n".join(section(part, words) for part in original_scripts())


def section(part: OriginalScript, words: Words) -> str:
    """Heading, flags that are the same, and a table of the others."""
    project = part.project.replace("the Korean SpanBERT", words.project)
    heading = f"### {project}: {code_list(part.theirs.split(', '))} → {code_list(part.scripts)}"
    dashes = "" if part.rows and part.rows[0].is_file else "--"
    blocks = [heading]
    if part.same:
        blocks.append(f"{words.same} {code_list([dashes + name for name in part.same])}")
    if part.rows:
        lines = [words.header, *(cells(row, part, dashes, words) for row in part.rows)]
        header, *rows = [f"| {' | '.join(line)} |" for line in lines]
        blocks.append("\n".join([header, "|---|---|---|", *rows]))
    return "\n\n".join(blocks)


def cells(row: OriginalFlag, part: OriginalScript, dashes: str, words: Words) -> tuple[str, str, str]:
    """The row of a flag: as it is called there, as it is called here, and the remark."""
    here = with_code(row.here if dashes else row.here.replace("--", "")) if row.here else words.none
    if row.scripts != part.scripts:
        here += f" ({code_list(row.scripts)})"
    remark = row.ko
    if words.language == "en":  # half a sentence of an error message
        remark = f"{row.en if CODE.match(row.en) else row.en[0].upper() + row.en[1:]}."
    return f"`{dashes}{row.flag}`", here, with_code(remark)


def with_code(text: str) -> str:
    """The text with backticks around flags, files and settings. A flag's value belongs to it: `--head qass`."""
    text = CODE.sub(lambda found: f"`{found[0]}`", text)
    return re.sub(rf"(`--[a-z_0-9]+)` ({VALUES})\b", r"\1 \2`", text, flags=re.ASCII)


def code_list(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> None:
    only_check = asked_to_check(__doc__)
    for words in LANGUAGES:
        bring_up_to_date(f"docs/{words.page}", Path(__file__).name, {"": tables(words)}, only_check)


if __name__ == "__main__":
    sys.exit(run_main(main))
