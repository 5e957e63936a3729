"""Functions shared by the figures: colours, layout, and writing files whose bytes are the same every time."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Okabe and Ito's colours, which can be told apart with any colour vision, without yellow, which is too light on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
HANGUL_FONTS = ("Noto Sans CJK KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo")  # used where installed


def colours(count: int) -> list[Any]:
    """`count` colours; beyond the first seven the dark ones of tab20 come before its light ones."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    from matplotlib import colormaps

    twenty = colormaps["tab20"].colors
    order = [*twenty[0::2], *twenty[1::2]]
    return [order[index % len(order)] for index in range(count)]


def panels_above_legend(count: int, texts: Sequence[str], keys: int) -> tuple[Any, list[Any], int]:
    """A figure with `count` panels over one x axis, and room for a legend below.

    texts: the legend texts that determine its columns. keys: the number of legend keys, which may be more than these.
    Returns the figure, its axes, and the number of the legend's columns.
    """
    from matplotlib.figure import Figure

    columns = 1 if len(texts) == 1 else max(1, min(3, 110 // max(len(text) + 8 for text in texts)))
    height = 0.4 + 2.9 * count + 0.22 * math.ceil(keys / columns)
    figure = Figure(figsize=(8.5, height), dpi=150, layout="constrained")
    every = list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])
    for axes in every:
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, every, columns


def put_legend(figure: Any, handles: Sequence[Any], texts: Sequence[str], columns: int) -> None:
    """Puts the legend below the axes, so that it never hides a curve."""
    figure.legend(handles, texts, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")


def write_figure(draw: Callable[[], Any], output: Path) -> list[Path]:
    """Writes what `draw` returns as output.png and output.svg, without dates or random ids; returns their paths.

    Raises OSError where they cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.font_manager import get_font_names

    installed = get_font_names()
    fonts = ["DejaVu Sans", *(font for font in HANGUL_FONTS if font in installed)]
    output = output.with_suffix("") if output.suffix in (".png", ".svg") else output
    # A dollar sign in a name does not start a formula. The salt makes the ids in the SVG the same every time.
    settings = {"svg.hashsalt": "plot_runs", "text.parse_math": False, "font.family": fonts}
    with matplotlib.rc_context(settings):
        return save(draw(), output)


def save(figure: Any, output: Path) -> list[Path]:
    """Writes the figure as PNG and as SVG, and returns the two paths."""
    output.parent.mkdir(parents=True, exist_ok=True)
    paths = [output.with_name(output.name + suffix) for suffix in (".png", ".svg")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(paths[0], metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None})
    if any("missing from font" in str(warning.message) for warning in caught):
        print("warning: no installed font has all letters of the names; the figure shows boxes", file=sys.stderr)
    return paths
