"""Line charts over time as inline SVG, drawn here: the page of every night should not wait for matplotlib.

Colours and font come from the page around a chart, so that one picture serves light and dark.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

WIDTH, HEIGHT = 480.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 34.0, 30.0
FONT = 14
"""Units of the drawing, which is so narrow that its text is readable at the width of a phone."""
DATES, TICKS = 4, 4
"""Most labels of the axes."""
LEGEND_CHARACTER = 7.8
"""Width of a character of the legend."""


Point = tuple[datetime, float, str]
"""A value at a time, not negative, and its description."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line: its name, a colour variable of the page, its points, and the pattern of its dashes."""

    name: str
    colour: str
    points: Sequence[Point]
    dashes: str = ""


def line_chart(lines: Iterable[Line], text: Callable[[float], str], limit: float | None = None) -> str:
    """The lines as an <svg> element; "" if none has a point.

    Args:
        text: a value as the axis shows it.
        limit: a value that is marked.
    """
    shown = [line for line in lines if line.points]
    if not shown:
        return ""
    times = sorted({when for line in shown for when, _, _ in line.points})
    top = _ceiling(max([value for line in shown for _, value, _ in line.points] + [limit or 0.0]))
    scale = _Scale(times[0], times[-1], top)
    rows = 1 + _legend_rows(shown)
    parts = [
        f'<svg viewBox="0 {-FONT * 1.4 * (rows - 2):.0f} {WIDTH:.0f} {HEIGHT + FONT * 1.4 * (rows - 2):.0f}" '
        f'xmlns="http://www.w3.org/2000/svg" font-size="{FONT}" aria-hidden="true">',
        *_grid(scale, text),
        *_dates(scale, times),
        *(_limit(scale, limit) if limit is not None else ()),
        *(part for line in shown for part in _line(scale, line)),
        *_legend(shown),
        "</svg>",
    ]
    return "\n".join(parts)


@dataclass(frozen=True)
class _Scale:
    """From times and values to places in the drawing. A single time stands in the middle."""

    first: datetime
    last: datetime
    top: float

    def x(self, when: datetime) -> float:
        span = (self.last - self.first).total_seconds()
        share = (when - self.first).total_seconds() / span if span else 0.5
        return LEFT + 8 + share * (WIDTH - LEFT - RIGHT - 16)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - min(value / self.top, 1.0) * (HEIGHT - TOP - BOTTOM)


def _ceiling(value: float) -> float:
    """The end of an axis from 0: the next number with one or two leading digits that parts well."""
    if value < sys.float_info.min:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 4, 6, 8, 10) if value <= step * unit * (1 + 1e-9))


def _grid(scale: _Scale, text: Callable[[float], str]) -> Iterator[str]:
    for number in range(TICKS + 1):
        value = scale.top * number / TICKS
        y = scale.y(value)
        yield f'<line x1="{LEFT:.0f}" x2="{WIDTH - RIGHT:.0f}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--grid)"/>'
        label = escape(text(value))
        yield f'<text x="{LEFT - 8:.0f}" y="{y + FONT / 3:.1f}" text-anchor="end" fill="var(--muted)">{label}</text>'


def _dates(scale: _Scale, times: Sequence[datetime]) -> Iterator[str]:
    span = scale.last - scale.first
    number = min(DATES, span.days + 1)
    whens = [scale.first + span * place / (number - 1) for place in range(number)] if number > 1 else [times[0]]
    for place, when in enumerate(whens):
        anchor = "middle" if len(whens) == 1 else "start" if place == 0 else "end" if place == len(whens) - 1 else "middle"
        label = f"{when.astimezone(UTC):%d %b}".removeprefix("0")
        yield (
            f'<text x="{scale.x(when):.1f}" y="{HEIGHT - 8:.0f}" text-anchor="{anchor}" fill="var(--muted)">{label}</text>'
        )


def _limit(scale: _Scale, value: float) -> Iterator[str]:
    y = scale.y(value)
    yield (
        f'<line x1="{LEFT:.0f}" x2="{WIDTH - RIGHT:.0f}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--bad)" '
        'stroke-dasharray="2 4" stroke-width="1.4"/>'
    )


def _line(scale: _Scale, line: Line) -> Iterator[str]:
    places = [(scale.x(when), scale.y(value), label) for when, value, label in sorted(line.points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ""
    yield (
        f'<polyline points="{path}" fill="none" stroke="var(--{line.colour})" stroke-width="2" '
        f'stroke-linejoin="round"{dashes}/>'
    )
    radius = 3.5 if len(places) <= 31 else 2.2
    for x, y, label in places:
        title = f"<title>{escape(label)}</title>"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="var(--{line.colour})">{title}</circle>'


def _legend_rows(lines: Sequence[Line]) -> int:
    return 1 + max(row for _, row, _ in _places(lines))


def _places(lines: Sequence[Line]) -> Iterator[tuple[float, int, Line]]:
    """Where each line's name stands: x, the row from the top, the line."""
    x, row = LEFT, 0
    for line in lines:
        width = 30 + LEGEND_CHARACTER * len(line.name) + 12
        if x > LEFT and x + width > WIDTH:
            x, row = LEFT, row + 1
        yield x, row, line
        x += width


def _legend(lines: Sequence[Line]) -> Iterator[str]:
    last = _legend_rows(lines) - 1
    for x, row, line in _places(lines):
        y = TOP - 18 - (last - row) * FONT * 1.4
        dashes = f" stroke-dasharray={quoteattr(line.dashes)}" if line.dashes else ""
        yield (
            f'<line x1="{x:.1f}" x2="{x + 22:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--{line.colour})" '
            f'stroke-width="2.5"{dashes}/>'
        )
        yield f'<text x="{x + 28:.1f}" y="{y + FONT / 3:.1f}" fill="currentColor">{escape(line.name)}</text>'
