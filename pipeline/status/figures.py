"""The page's charts of drift and unknown tokens over the nights, with their captions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.status.chart import Line, Point, line_chart
from pipeline.status.nights import Night
from pipeline.status.records import figure, inside, moment, when
from pipeline.status.words import FEATURES, share

UNKNOWN_LINES = (
    ("new reviews", "train", "", "unknown_share", ("ingest",)),
    ("scored reviews", "valid", "7 4", "unknown_share", ("score",)),
    ("whole table", "test", "2 4", "unknown_share_table", ("ingest",)),
)
DRIFT_LINES = (
    ("length", "train", ""),
    ("unknown", "valid", "7 4"),
    ("prediction", "test", "2 4"),
    ("confidence", "ink", "10 4 2 4"),
)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A chart as an <svg> element, what stands below it, and the same for those who cannot see it."""

    svg: str
    caption: str
    alt: str


def pictures(shown: Sequence[Night], max_unknown: float, max_psi: float | None) -> list[Picture]:
    """The charts that have something to show.

    Args:
        max_unknown: the limit for the share of unknown tokens.
        max_psi: the limit for drift, None where no run has noted it.
    """
    return [picture for picture in (_unknown(shown, max_unknown), _drift(shown, max_psi)) if picture.svg]


def _unknown(shown: Sequence[Night], limit: float) -> Picture:
    lines = [
        Line(name=name, colour=colour, dashes=dashes, points=[*_shares(shown, name, measure, commands)])
        for name, colour, dashes, measure, commands in UNKNOWN_LINES
    ]
    return _picture("Share of tokens that are not in the vocabulary.", lines, _percent, limit)


def _drift(shown: Sequence[Night], limit: float | None) -> Picture:
    lines = [
        Line(name=FEATURES.get(name, name), colour=colour, dashes=dashes, points=[*_indices(shown, name)])
        for name, colour, dashes in DRIFT_LINES
    ]
    caption = "Population stability index of scored reviews against the training data: 0 means the same distribution."
    return _picture(caption, lines, "{:.4g}".format, limit)


def _picture(caption: str, lines: Sequence[Line], text: Callable[[float], str], limit: float | None) -> Picture:
    largest = max((value for line in lines for _, value, _ in line.points), default=0.0)
    if limit is not None and limit >= 4 * largest:
        limit = None  # far above all values, it would press them to the ground
    if limit is not None:
        caption += f" The dotted line is the limit, {text(limit)}."
    return Picture(svg=line_chart(lines, text, limit), caption=caption, alt=_alt(caption, lines, text))


def _shares(shown: Sequence[Night], name: str, measure: str, commands: Sequence[str]) -> Iterator[Point]:
    for night in shown:
        at, value = moment(night.started), night.value(measure, *commands)
        if at and value is not None:
            yield at, value, f"{name}, {when(night.started)}: {share(value)}"


def _indices(shown: Sequence[Night], name: str) -> Iterator[Point]:
    for night in shown:
        score, at = night.last("score"), moment(night.started)
        found = inside(score.metrics if score else {}, "drift")
        value = figure(inside(found, "psi").get(name))
        if at and value is not None:
            mark = " (drifted)" if found.get("drifted") is True else ""
            text = f"{FEATURES.get(name, name)}, {when(night.started)}: {value:.3f}{mark}"
            yield at, max(value, 0.0), text  # corrected for few rows, an index may be negative


def _percent(value: float) -> str:
    return f"{round(100 * value, 2):g}%"


def _alt(caption: str, lines: Sequence[Line], text: Callable[[float], str]) -> str:
    parts = []
    for line in lines:
        values = [value for _, value, _ in sorted(line.points)]
        if len(values) == 1:
            parts.append(f"{line.name} {text(values[0])}")
        elif values:
            parts.append(f"{line.name} from {text(values[0])} to {text(values[-1])}, at most {text(max(values))}")
    return f"Line chart. {caption} {'; '.join(parts)}."
