"""Figures in words, for the terminal and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.status.records import count, figure, inside, texts

NONE = "–"
FEATURES = {"unknown": "unknown tokens", "prediction": "predicted classes"}
"""What drift measures, where its name is not what people call it."""
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


MOST_FILES = 3
"""As many files are named in a line; the rest is counted."""


def some_files(names: Sequence[str], total: int) -> str:
    """The first few of `total` files."""
    named = names[:MOST_FILES]
    return ", ".join(named) + (f" and {total - len(named):,} more" if total > len(named) else "")


def listed_files(found: Any) -> str:
    """The files of a metric that lists some of them, by name or with a figure of each; "" if there are none."""
    listed = found.get("listed") if isinstance(found, Mapping) else None
    if not isinstance(listed, list):
        return ""
    names = [str(item.get("file", "")) if isinstance(item, Mapping) else str(item) for item in listed]
    return some_files(names, max(len(names), count(found, "total"))) if names else ""


def share(value: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    return NONE if value is None else f"{value:.{digits}%}"


def bytes_of(size: int) -> str:
    """A size in its largest unit."""
    value = float(size)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1024
    raise AssertionError


def took(seconds: float) -> str:
    """A time in its largest unit."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def drift(found: Mapping[str, Any]) -> str:
    """What `metrics.drift` of a run of score says; "" if there is none."""
    if not found:
        return ""
    if found.get("measured") is not True:
        why = found.get("reason")
        return f"not measured{f': {why}' if isinstance(why, str) and why else ''}"
    over = [FEATURES.get(name, name) for name in texts(found.get("over"))]
    rows = count(found, "rows")
    of = f" over {rows:,} reviews" if rows else ""
    if found.get("drifted") is not True:
        return f"none{of}"
    return f"yes{': ' + ', '.join(over) if over else ''}{of}"


def largest_psi(found: Mapping[str, Any]) -> tuple[str, float] | None:
    """The largest population stability index of `metrics.drift`, and of what; None if there is none."""
    values = inside(found, "psi")
    numbers = [(str(name), value) for name in values if (value := figure(values[name])) is not None]
    return max(numbers, key=lambda item: item[1], default=None)


def counted(number: int, one: str) -> str:
    """A number with what it counts."""
    return f"{number:,} {one if number == 1 else one + 's'}"
