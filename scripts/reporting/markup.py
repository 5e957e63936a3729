"""HTML whose texts are always escaped: `element("td", text, cls="number")`; only `Html` is taken as it is."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Literal

# What no HTML file may hold: control characters, and halves of surrogate pairs, which no encoding can write.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
VOID = frozenset({"input", "meta"})


class Html(str):
    """Text that is HTML already. Every other text is escaped."""


def escape(text: str) -> Html:
    """A text as HTML that shows it, characters that HTML cannot hold as U+FFFD."""
    return Html(html.escape(FORBIDDEN.sub("\ufffd", text)))


def join(parts: Iterable[str], between: str = "") -> Html:
    """The parts one after the other, those that are no `Html` escaped."""
    return Html(escape_unless_html(between).join(map(escape_unless_html, parts)))


def escape_unless_html(part: str) -> Html:
    """The part itself if it is `Html`, else its escaped text."""
    return part if isinstance(part, Html) else escape(part)


def element(name: str, /, *content: str, **attributes: str | int | float | bool | None) -> Html:
    """`<name attributes>content</name>`.

    Attributes: `cls` is `class`, `_` stands for `-`; True is written by its name alone, None and False not at all.
    """
    given = {"class" if key == "cls" else key.replace("_", "-"): value for key, value in attributes.items()}
    written = "".join(
        f" {key}" if value is True else f' {key}="{escape(str(value))}"'
        for key, value in given.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{written}>" if name in VOID else f"<{name}{written}>{join(content)}</{name}>")


def korean(*content: str) -> Html:
    """A label or a name from the data, for which browsers and screen readers choose Korean fonts and voices."""
    return element("span", *content, lang="ko")


def korean_text(*content: str, is_short: bool = False) -> Html:
    """A text of the data that has lines of its own, as `korean`. is_short: it needs no wide column."""
    return element("span", *content, lang="ko", cls="phrase" if is_short else "text")


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str = "",
    numbers: Iterable[int] = (),
    has_row_names: bool = False,
    searchable: str = "",
    layout: Literal["", "stacks", "upright"] = "",
    name: str = "",
) -> Html:
    """A table that scrolls sideways by itself where it is too wide. Without texts in it, the header is left out.

    numbers: the columns that are aligned to the right. has_row_names: whether the first cell of a row names the row.
    searchable: the name of a box above the table that filters its rows; "" for none. layout: where it "stacks", the
    cells of a row stand below each other on a narrow screen, each with its column's name; "upright": the names of the
    columns are turned, for many narrow columns. name: for screen readers, where there is neither caption nor box.
    """
    to_the_right = frozenset(numbers)

    def cell(at: int, text: str) -> Html:
        is_name = has_row_names and at == 0
        kind = "th" if is_name else "td"
        label = header[at] if layout == "stacks" else None
        cls = "number" if at in to_the_right else None
        return element(kind, text, cls=cls, scope="row" if is_name else None, data_label=label)

    head = join(element("th", text, scope="col", cls="number" if at in to_the_right else None)
                for at, text in enumerate(header))  # fmt: skip
    body = join(element("tr", join(cell(at, text) for at, text in enumerate(row))) for row in rows)
    content = [
        element("caption", caption) if caption else Html(""),
        element("thead", element("tr", head)) if any(header) else Html(""),
        element("tbody", body),
    ]
    # A region that scrolls can be reached and moved by the keyboard only if it can have the focus.
    named = caption or searchable or name or None
    grid = element("table", *content, cls=layout or None)
    scrolling = element("div", grid, cls="scrolls", tabindex="0", role="region", aria_label=named)
    if not searchable:
        return scrolling
    box = element("input", type="search", aria_label=searchable, placeholder=searchable, autocomplete="off")
    count = element("output", "", cls="count")
    return element("div", element("p", box, " ", count, cls="search"), scrolling, cls="searchable")


def paragraph(*content: str, cls: str | None = None) -> Html:
    """A paragraph."""
    return element("p", *content, cls=cls)


def bullets(lines: Sequence[str]) -> Html:
    """A list, nothing where there are no lines."""
    return element("ul", join(element("li", line) for line in lines), cls="notes") if lines else Html("")


def folded(title: str, *content: str, is_open: bool = False, level: int = 3) -> Html:
    """A part of the page that opens on a click on its title. level: of the heading."""
    heading = element("summary", element(f"h{level}", title))
    return element("details", heading, *content, open=is_open)
