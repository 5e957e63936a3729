"""What the documentation names is there: links, headings, files, flags. Its commands are tested beside the scripts."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from documentation_pages import NEEDS, PAGES, ROOT, Block, Command, blocks, inline_code, prose, shell_blocks
from training.config import Section
from training.original_flags import original_scripts

# Folders whose paths a page may name. `data/`, `ckpt/` and the like are a user's own.
ROOMS = "scripts workflows training processors models storage config tests benchmarks docs .ci".split()
SCRIPTS = sorted(path.stem for path in [*ROOT.glob("run_*.py"), *ROOT.glob("pretrain_*.py")])
# Pages that may name what only the original projects have.
ABOUT_THE_ORIGINALS = ("docs/migrating.md:", "docs/migrating_ko.md:")
SCRIPTS_OF_ORIGINALS = {
    *(name for part in original_scripts() for name in re.findall(r"[\w/]+\.py", part.theirs)),
    "convert_tf_to_pytorch.py",
}
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def links(page: Path) -> list[str]:
    """Where the links and pictures of a page lead, addresses of other sites left out."""
    without_code = re.sub(r"`[^`]*`", "`", prose(page))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", without_code) if not re.match(r"\w+:", link)]


def named_paths(page: Path) -> Iterator[tuple[str, str]]:
    """`page:line` and each word in backticks that looks like a path of the repository.

    Placeholders (`config/<task>/`, `config/my-task/`) are none.
    """
    for place, code in inline_code(page):
        for word in code.split():
            is_path = re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", word) and "/my-" not in word
            if is_path and (("/" in word and word.split("/")[0] in ROOMS) or re.fullmatch(r"[\w-]+\.(py|sh)", word)):
                yield place, word


def known_flags() -> set[str]:
    """The flags of all scripts: fields of settings, and what argument parsers and shell scripts have of their own."""
    for script in SCRIPTS:
        importlib.import_module(script)
    sections = [Section]
    for section in sections:  # grows meanwhile
        sections += section.__subclasses__()
    fields = {name for section in sections for name in (*section.model_fields, *getattr(section, "ALIASES", ()))}
    flags = {f"--{field}" for field in fields} | {"--config_file", "--config_dir", "--help"}
    sources = [path for room in ("scripts", "benchmarks") for path in (ROOT / room).rglob("*.*") if path.is_file()]
    for path in [*sources, ROOT / "download_qa_dataset.sh"]:
        if path.suffix in (".py", ".sh"):
            flags |= set(re.findall(r"--[a-z]\w*", path.read_text(encoding="utf-8")))
    return flags


def called_by(command: Command) -> list[str]:
    """The Python scripts that a shell script calls; a test may call these itself."""
    return re.findall(r"scripts/(\w+\.py)", (ROOT / command.words[1]).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path):
    broken = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_paths_in_backticks_exist(page: Path):
    homes = (ROOT, ROOT / "scripts")
    missing = [f"{place}: {path}" for place, path in named_paths(page) if not any((h / path).exists() for h in homes)
               and not (path in SCRIPTS_OF_ORIGINALS and place.startswith(ABOUT_THE_ORIGINALS))]  # fmt: skip
    assert not missing


def test_flags_in_backticks_exist():
    """Those of the originals may be named where it says what they are called here."""
    known = known_flags()
    theirs = {f"--{name}" for part in original_scripts() for name in (*part.same, *(row.flag for row in part.rows))}
    assert {"--task", "--few_shot", "--corpus", "--all_published", "--minutes", "--slow"} <= known
    found = [
        (place, flag) for page in PAGES for place, code in inline_code(page) for flag in re.findall(r"--[a-z]\w*", code)
    ]
    assert len(found) > 50
    assert [
        f"{place}: {flag}"
        for place, flag in found
        if flag not in known and not (flag in theirs and place.startswith(ABOUT_THE_ORIGINALS))
    ] == []


def test_every_page_is_in_the_index():
    for index in (ROOT / "README.md", ROOT / "docs" / "README.md"):
        listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
        pages = {page for page in PAGES if page.parent.name == "docs" and not page.stem.endswith("_ko")}
        assert pages - listed <= {ROOT / "docs" / "README.md"}


def test_every_korean_page_has_an_english_one():
    """And each names the other on one of its first lines."""
    korean = [page for page in PAGES if page.stem.lower().endswith("_ko")]
    assert len(korean) > 1
    for page in korean:
        english = page.with_name(f"{page.stem[:-3]}.md")
        for one, other in ((page, english), (english, page)):
            head = one.read_text(encoding="utf-8").split("\n")[:4]
            assert any(f"]({other.name})" in line for line in head), one.name


def test_commands_are_the_same_in_both_languages():
    for page in PAGES:
        english = page.with_name(f"{page.stem[:-3]}.md")
        if page.stem.lower().endswith("_ko"):
            ours, theirs = ([[str(c) for c in b.commands()] for b in blocks(p) if b.language == "bash"]
                            for p in (page, english))  # fmt: skip
            assert ours == theirs, page.name


def test_every_block_of_commands_says_how_it_is_tested():
    wrong = []
    for block in shell_blocks():
        kind, what = block.mark or ("", "")
        if kind == "run" and what.startswith("in "):
            text = (ROOT / what.removeprefix("in ")).read_text(encoding="utf-8")
            is_right = all(script in text for command in block.commands() for script in called_by(command))
        else:
            is_right = (kind, what) == ("run", "sample") or (kind == "needs" and what in NEEDS)
        wrong += [] if is_right else [f"{block.place}: {block.mark}"]
    assert not wrong, "see tests/documentation_pages.py for the comments that a block may have"


def test_commands_are_read_as_a_shell_reads_them():
    text = "source x && A=1 B=2 python3 run.py --a 1 \\\n    --b 'two words'   # why\n\nbash go.sh && bash come.sh\n"
    assert list(Block("page", 1, "bash", None, text).commands()) == [
        Command(("python3", "run.py", "--a", "1", "--b", "two words"), ("A=1", "B=2")),
        Command(("bash", "go.sh")),
        Command(("bash", "come.sh")),
    ]


def test_headings_have_github_s_anchors(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# Two words\n## `run_x.py`, and [more](y.md)!\n```bash\n# a comment\n```\n### NSMC에서의 효과\n")
    assert anchors(page) == {"two-words", "run_xpy-and-more", "nsmc에서의-효과"}
