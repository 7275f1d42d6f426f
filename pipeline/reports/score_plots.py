"""Pictures of what a model's probabilities are worth; see `plots` for how they are drawn."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from pipeline.reports.data import Scored
from pipeline.reports.metrics import Curve, Measures, accuracy_by_length, wilson
from pipeline.reports.plots import GRID, INK, MUTED, SERIES, legend, new_figure, style, svg_of

COLOURS = tuple(SERIES.values())
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
"""Curves also differ in dashes, for colour-blind readers."""
MOST_CURVES = 4
MOST_POINTS = 200


def roc_plot(named: list[tuple[str, Measures]]) -> str | None:
    """True against false positive rate: one curve a model, or a curve a class of one model with more than two."""
    curves = [(name, found.roc(index)) for name, found, index in _curves(named)]
    if not curves:
        return None
    with style("roc", {"axes.grid.axis": "both"}):
        figure, axes = new_figure()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        _draw(axes, curves)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        return svg_of(figure, "roc")


def precision_recall_plot(named: list[tuple[str, Measures]]) -> str | None:
    """Precision against recall; curves as in `roc_plot`."""
    curves = [(name, found.precision_recall(index)) for name, found, index in _curves(named)]
    if not curves:
        return None
    with style("precision-recall", {"axes.grid.axis": "both"}):
        figure, axes = new_figure()
        _draw(axes, curves)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        return svg_of(figure, "precision-recall")


def reliability_plot(measures: Measures) -> str:
    """Accuracy by the probability of the prediction, with 95% intervals; a calibrated model is on the diagonal."""
    bins = measures.reliability
    least = 1 / len(measures.names)
    with style("reliability", {"axes.grid.axis": "both"}):
        figure, axes = new_figure()
        axes.plot([least, 1], [least, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        rows = bins.rows / bins.rows.max()
        axes.bar(bins.confidence, rows * 0.25 * (1 - least), 0.02, bottom=least, color=GRID, zorder=1)
        intervals = [wilson(round(a * n), n) for a, n in zip(bins.accuracy.tolist(), bins.rows.tolist(), strict=True)]
        low, high = ([getattr(found, side) for found in intervals] for side in ("low", "high"))
        axes.vlines(bins.confidence, low, high, color=COLOURS[0], linewidth=1.2, zorder=3)
        axes.plot(bins.confidence, bins.accuracy, color=COLOURS[0], marker="o", markersize=4.5, zorder=4)
        axes.set_xlim(least - 0.01, 1.01)
        axes.set_ylim(least, 1.01)
        axes.set_xlabel("probability of the prediction")
        axes.set_ylabel("share labelled right")
        _percents(axes)
        return svg_of(figure, "reliability")


def length_plot(scored: Scored) -> str:
    """Accuracy by the length of the review, with 95% intervals, in bins of as many reviews each."""
    bins = accuracy_by_length(scored.lengths, scored.measures.right)
    with style("accuracy-by-length"):
        figure, axes = new_figure()
        places = np.arange(len(bins))
        axes.axhline(scored.measures.accuracy.value, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        axes.vlines(places, [b[2].low for b in bins], [b[2].high for b in bins], color=COLOURS[0], linewidth=1.2)
        axes.plot(places, [b[2].value for b in bins], color=COLOURS[0], marker="o", markersize=4.5)
        names = [f"{low:,}" if low == high else f"{low:,}–{high:,}" for low, high, *_ in bins]
        axes.set_xticks(places, names, rotation=30 if len(bins) > 3 else 0, ha="right" if len(bins) > 3 else "center")
        axes.set_xlabel("tokens in a review")
        axes.set_ylabel("share labelled right")
        axes.margins(x=0.05, y=0.1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}" if value < 1.001 else ""))
        return svg_of(figure, "accuracy-by-length")


def _curves(named: list[tuple[str, Measures]]) -> list[tuple[str, Measures, int]]:
    """Name, figures and class of each curve; classes without reviews, or without others, have none."""
    found = []
    for name, measures in named:
        rows = measures.confusion.sum(axis=1)
        indices = [1] if len(measures.names) == 2 else [int(index) for index in np.argsort(-rows, kind="stable")]
        for index in indices:
            if 0 < rows[index] < measures.rows:
                found.append((measures.names[index] if len(named) == 1 else name, measures, index))
                if len(named) > 1:
                    break
    return found[:MOST_CURVES]


def _draw(axes: Axes, curves: list[tuple[str, Curve]]) -> None:
    for (name, curve), colour, dashes in zip(curves, COLOURS, DASHES, strict=False):
        points = _thinned(curve.x, curve.y)
        label = f"{name.replace('$', chr(92) + '$')} {curve.area:.3f}"
        axes.plot(*points, color=colour, linestyle=dashes, label=label, zorder=3)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(None, 1.01)
    _percents(axes)
    if len(curves) > 1:
        axes.legend(frameon=False, loc="best", fontsize=8.5, labelcolor=INK)
    else:
        legend(axes)


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most `MOST_POINTS` of the curve's points, the first and the last among them, at equal distances along it."""
    if len(x) <= MOST_POINTS:
        return x, y
    way = np.cumsum(np.hypot(np.diff(x, prepend=x[0]), np.diff(y, prepend=y[0])))
    places = np.unique(np.searchsorted(way, np.linspace(0, way[-1], MOST_POINTS)).clip(0, len(x) - 1))
    return x[places], y[places]


def _percents(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}" if value < 1.001 else ""))
