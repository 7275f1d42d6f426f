"""The report's pictures, as SVG that takes its colours and its font from the page around it.

matplotlib draws with placeholder colours, which become CSS variables: one picture serves light and dark pages, and its
text stays text. Nothing in it is random or dated, so the same data gives the same bytes.
"""

import io
import re
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.reports.data import ReportData
from schemas.training import PHASES

INK, MUTED, GRID = "#010101", "#020202", "#030303"
SERIES = {"train": "#040404", "valid": "#050505", "test": "#060606", "unsup": "#070707"}
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", **{colour: name for name, colour in SERIES.items()}}
COLOUR = f'(?:{"|".join(VARIABLES)})(?=[;"])'
"""One of them as the value of an attribute or in a style: a token of the reviews, which has neither behind it, stays."""
NAMES = {"train": "training", "valid": "validation", "test": "test", "unsup": "unlabelled"}
FONT_POINTS = 10.0
WIDTH, HEIGHT = 4.7, 3.1
"""Inches of a picture. So narrow that its text is readable at the width of a phone."""
HISTOGRAM_BINS = 40
LONGEST_SHARE = 0.995
"""The histogram ends at the length that this share of the reviews does not exceed."""

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": FONT_POINTS,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def curve(data: ReportData, measure: str) -> str | None:
    """Training and validation curves of `loss` or `accuracy` over epochs, and the test's value; None without any."""
    with style(measure):
        figure, axes = new_figure()
        drawn = [_draw_phase(axes, data, phase, measure) for phase in PHASES]
        if not any(drawn):
            return None
        if data.best is not None:
            axes.axvline(_epoch_of(data, data.best), color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.margins(x=0.03, y=0.12)
        if measure == "accuracy":
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}" if value < 1.001 else ""))
        legend(axes)
        return svg_of(figure, measure)


def lengths_histogram(data: ReportData) -> str | None:
    """How long reviews are, in tokens, by split, and where the model cuts them; None when nobody counted."""
    if data.lengths is None or data.lengths.num_rows == 0:
        return None
    splits = np.array(data.lengths["split"].to_pylist())
    lengths = data.lengths["length"].to_numpy()
    counts = data.lengths["count"].to_numpy()
    limit = int(data.description.get("max_length") or 0)
    end = max(_quantile(lengths, counts, LONGEST_SHARE), 10)
    width = -(-end // HISTOGRAM_BINS)  # whole tokens, so that every bar holds as many lengths
    edges = np.arange(0, end + width, width)
    with style("lengths"):
        figure, axes = new_figure()
        names = [name for name in SERIES if (splits == name).any()]
        stacked = [np.histogram(lengths[splits == n], edges, weights=counts[splits == n])[0] for n in names]
        below = np.zeros(len(edges) - 1)
        for name, heights in zip(names, stacked, strict=True):
            colour = SERIES[name]
            axes.bar(edges[:-1], heights, 0.9 * width, bottom=below, align="edge", color=colour, label=NAMES[name])
            below += heights
        if 0 < limit < edges[-1]:
            axes.axvline(limit, color=INK, linewidth=1.1, label=f"cut at {limit:,}")
        axes.set_xlabel("tokens in a review")
        axes.set_ylabel("reviews")
        axes.set_xlim(0, edges[-1])
        _thousands(axes)
        axes.margins(y=0.25)  # room for the legend
        axes.legend(frameon=False, ncols=2, loc="upper right", borderaxespad=0, handlelength=1.2)
        return svg_of(figure, "lengths")


def style(name: str, changes: dict[str, Any] | None = None) -> AbstractContextManager[None]:
    """matplotlib's settings while a picture is drawn; its name salts the ids of clipping paths."""
    settings: Any = {**STYLE, "svg.hashsalt": name, **(changes or {})}
    return mpl.rc_context(settings)


def new_figure() -> tuple[Figure, Axes]:
    """A figure and its axes. Without pyplot: nothing global, no display."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    return figure, figure.add_subplot()


def _draw_phase(axes: Axes, data: ReportData, phase: str, measure: str) -> bool:
    rows = [row for row in data.phase(phase) if row[measure] is not None]
    if not rows:
        return False
    x, y = [_epoch_of(data, row) for row in rows], [row[measure] for row in rows]
    marker = "o" if len(rows) <= 30 else ""
    line = "none" if phase == "test" else "-"
    size = 7 if phase == "test" else 3.5
    shape = "D" if phase == "test" else marker
    axes.plot(x, y, color=SERIES[phase], label=NAMES[phase], marker=shape, markersize=size, linestyle=line, zorder=3)
    return True


def _epoch_of(data: ReportData, row: dict[str, Any]) -> float:
    """A row's place on the axis: its epoch, or a part of one where a phase has several rows in an epoch."""
    rows = [other for other in data.phase(row["phase"]) if other["epoch"] == row["epoch"]]
    return float(row["epoch"] - 1 + (rows.index(row) + 1) / len(rows)) if len(rows) > 1 else float(row["epoch"])


def _quantile(values: "np.ndarray[Any, Any]", counts: "np.ndarray[Any, Any]", share: float) -> int:
    order = np.argsort(values)
    reached = np.cumsum(counts[order]) >= share * counts.sum()
    return int(values[order][np.argmax(reached)])


def legend(axes: Axes) -> None:
    """One line above the picture, where it hides nothing."""
    corner: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0, "borderpad": 0.3}
    axes.legend(frameon=False, ncols=len(SERIES), handlelength=1.2, **corner)


def _thousands(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def svg_of(figure: Figure, name: str) -> str:
    """The figure as an <svg> element: sized by the page, coloured by its variables, its ids its own."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(COLOUR, lambda match: f"var(--{VARIABLES[match.group()]})", svg)
    svg = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", svg)
    return re.sub(r"<svg [^>]*>", lambda match: re.sub(r' (?:width|height)="[^"]*"', "", match.group()), svg, count=1)
