"""Charts as SVG inside a page: they take the page's colours, in light and in dark, and need no script."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reporting.markup import Html, element, join

WIDTH, HEIGHT = 420, 250  # in the units of the SVG, in which letters are 13 high
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 10, 40  # room around the axes
COLOURS = 7  # --curve-0 and so on, in report.css
DASHES = (None, "7 4", "2 4", "9 3 2 3")
TICKS = 5


@dataclass(frozen=True)
class Line:
    """One curve. points: x and y; a y that is not finite is a gap. colour, dash: numbers, taken around in a circle."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    dash: int = 0


@dataclass(frozen=True)
class Axes:
    """Where values lie in the SVG. x, y: the lowest and the highest value."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def line_chart(title: str, x_name: str, lines: Sequence[Line]) -> Html:
    """A figure with all curves. A curve of one point is a dot; without any point the figure says so."""
    points = [point for line in lines for point in line.points if math.isfinite(point[1])]
    if not points:
        return figure(title, element("p", "nothing was recorded", cls="faint"))
    axes = axes_around(points, x_from_zero=True)
    curves = (curve for line in lines for curve in _curves(axes, line))
    return figure(title, drawing(title, axes, x_name, curves))


def scatter_chart(title: str, x_name: str, points: Sequence[tuple[float, float]]) -> Html:
    """A figure with a dot for each point, both axes alike, and the diagonal on which x is y.

    Points that are no numbers, as a training that has diverged predicts them, are left out.
    """
    points = [point for point in points if all(map(math.isfinite, point))]
    if not points:
        return figure(title, element("p", "there is nothing to draw", cls="faint"))
    values = [value for point in points for value in point]
    both = axes_around([(value, value) for value in values])
    axes = Axes(both.y, both.y)
    start, end = axes.at(axes.x[0], axes.x[0]), axes.at(axes.x[1], axes.x[1])
    diagonal = _straight(start, end, "diagonal")
    style = f"fill: {_colour(0)}; fill-opacity: .45"
    dots = (element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3, style=style)
            for x, y in (axes.at(*point) for point in points))  # fmt: skip
    return figure(title, drawing(title, axes, x_name, [diagonal, *dots]))


def legend(keys: Iterable[tuple[str, int, int]]) -> Html:
    """What colours and dashes mean: (name, number of the colour, number of the dash)."""
    return element("ul", join(element("li", _key(colour, dash), name) for name, colour, dash in keys), cls="legend")


def axes_around(points: Sequence[tuple[float, float]], x_from_zero: bool = False) -> Axes:
    """Axes that hold all points and end at round numbers."""
    xs, ys = zip(*points, strict=True)
    return Axes((min(0.0, *xs) if x_from_zero else min(xs), _above(min(xs), max(xs))), _rounded(min(ys), max(ys)))


def figure(title: str, *content: str) -> Html:
    """A figure with its title."""
    return element("figure", element("figcaption", title), *content)


def drawing(title: str, axes: Axes, x_name: str, content: Iterable[Html]) -> Html:
    """The SVG: a grid with its numbers, then the content."""
    parts = []
    for value in _ticks(*axes.y):
        x, y = axes.at(axes.x[0], value)
        parts += [_straight((x, y), (WIDTH - RIGHT, y), "grid"), _text(_number(value), x - 6, y + 4, "end")]
    for value in _ticks(*axes.x):
        x, y = axes.at(value, axes.y[0])
        parts += [_straight((x, y), (x, y + 4), "grid"), _text(_number(value), x, y + 18, "middle")]
    parts.append(_text(x_name, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "middle"))
    return element("svg", *parts, *content, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=title)


def _curves(axes: Axes, line: Line) -> Iterable[Html]:
    """The parts of a curve between its gaps."""
    part: list[tuple[float, float]] = []
    for x, y in [*line.points, (0.0, math.nan)]:
        if math.isfinite(y):
            part.append(axes.at(x, y))
        elif part:
            stroke = f"stroke: {_colour(line.colour)}"
            places = " ".join(f"{x:.1f},{y:.1f}" for x, y in part)
            if len(part) == 1:
                x, y = part[0]
                yield element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.5, style=f"fill: {_colour(line.colour)}")
            else:
                yield element("polyline", points=places, cls="curve", style=stroke, stroke_dasharray=_dash(line.dash))
            part = []


def _rounded(low: float, high: float) -> tuple[float, float]:
    """The round numbers around two values."""
    ticks = _locator().tick_values(low, high if high > low else low + (abs(low) or 1) * 0.1)
    return min(low, float(ticks[0])), max(high, float(ticks[-1]))


def _above(low: float, high: float) -> float:
    return high if high > low or high > 0 else low + 1


def _ticks(low: float, high: float) -> list[float]:
    slack = (high - low) * 1e-9
    return [float(value) for value in _locator().tick_values(low, high) if low - slack <= value <= high + slack]


def _locator():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=TICKS, steps=[1, 2, 2.5, 5, 10])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def _text(text: str, x: float, y: float, anchor: str) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _straight(start: tuple[float, float], end: tuple[float, float], cls: str) -> Html:
    places = zip(("x1", "y1", "x2", "y2"), (*start, *end), strict=True)
    return element("line", cls=cls, **{name: f"{place:.1f}" for name, place in places})


def _key(colour: int, dash: int) -> Html:
    style = ("solid", "dashed", "dotted")[dash % 3]
    return element("span", "", cls="key", style=f"color: {_colour(colour)}; border-top-style: {style}")


def _colour(number: int) -> str:
    return f"var(--curve-{number % COLOURS})"


def _dash(number: int) -> str | None:
    return DASHES[number % len(DASHES)]
