"""Pages that are written by hand but for some parts, which a script makes. Each part stands between two comments."""

from __future__ import annotations

import argparse

from reporting.results_reading import stop
from reporting.study import REPOSITORY
from storage.whole import write_whole

BEGIN = "<!-- made by scripts/{script}{label} -->"
END = "<!-- end of what scripts/{script} makes{label} -->"


def asked_to_check(about: str) -> bool:
    """Reads the command line of a script that makes parts of pages; returns whether nothing is to be written.

    about: head of `--help`.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 2 if a page is not up to date")
    return parser.parse_args().check


def with_part(page: str, name: str, script: str, made: str, part: str = "") -> str:
    """The page with one part made anew. Ends the program where the part's two comments are not in it.

    page, name: its text, and its path in the repository. script: which makes the part. part: the part's name, where the
    script makes several.
    """
    label = f" ({part})" if part else ""
    begin, end = BEGIN.format(script=script, label=label), END.format(script=script, label=label)
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        stop(f"{name} lacks the comments {begin} and {end}")
    return f"{before}{begin}\n\n{made}\n\n{end}{after}"


def bring_up_to_date(name: str, script: str, parts: dict[str, str], only_check: bool) -> None:
    """Writes a page with its parts made anew; with `only_check`, ends the program where that changes it.

    name: the page's path in the repository. parts: the text of each part by its name, which is "" for a single one.
    """
    path = REPOSITORY / name
    if not path.is_file():
        stop(f"there is no {name}; its parts stand between comments such as {BEGIN.format(script=script, label='')}")
    page = made = path.read_text(encoding="utf-8")
    for part, text in parts.items():
        made = with_part(made, name, script, text, part)
    if only_check and made != page:
        stop(f"{name} is not as scripts/{script} would write it: run python3 scripts/{script}")
    if not only_check:
        write_whole(path, made)
