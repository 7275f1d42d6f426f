"""Labels as people have them, mapped to classes: `neg=1,2 pos=4,5`."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
EXAMPLE = "'neg=1,2 pos=4,5' or 'neg=1..2 pos=4..5'"
SKIP_EXAMPLE = "'3', '3,n/a' or '5..6'"


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Values and inclusive ranges of numbers, by class. Values not listed have no class.

    The rule for values applies here, too: `True` and `true`, `5.0` and `5` are the same.
    """

    values: Mapping[str, str]
    ranges: tuple[tuple[float, float, str], ...] = ()

    @classmethod
    def parse(cls, given: str | Mapping[str, Any]) -> "LabelMap":
        """A map from `class=value,value,low..high class=…`, or from a table of classes in TOML.

        Raises:
            ValueError: it cannot be read, or a value belongs to two classes.
        """
        if not isinstance(given, str | Mapping):
            raise ValueError(f"{given!r} is neither a string nor a table. Use one such as {EXAMPLE}.")
        pairs = given.items() if isinstance(given, Mapping) else _pairs(given)
        values: dict[str, str] = {}
        ranges: list[tuple[float, float, str]] = []
        for label, listed in pairs:
            for item in _items(listed):
                low, dots, high = item.partition("..")
                if dots:
                    ranges.append((*_bounds(item, low, high), label))
                elif values.setdefault(value := _plain(item), label) != label:
                    raise ValueError(f"{item!r} is in {values[value]!r} and in {label!r}. Use it only once.")
        if not values and not ranges:
            raise ValueError(f"empty. Pass classes and their values, such as {EXAMPLE}.")
        _check_apart(values, ranges)
        return cls(values, tuple(ranges))

    def __call__(self, value: str) -> str | None:
        """The class of a value; None if it has none."""
        if (label := self.values.get(_plain(value))) is not None:
            return label
        if self.ranges:
            try:
                number = float(value)
            except ValueError:
                return None
            return next((label for low, high, label in self.ranges if low <= number <= high), None)
        return None

    def __str__(self) -> str:
        items: dict[str, list[str]] = {}
        for value, label in self.values.items():
            items.setdefault(label, []).append(value)
        for low, high, label in self.ranges:
            items.setdefault(label, []).append("..".join("" if math.isinf(end) else f"{end:g}" for end in (low, high)))
        return " ".join(f"{label}={','.join(listed)}" for label, listed in items.items())


@dataclass(frozen=True, slots=True)
class SkippedLabels:
    """Labels whose rows are left out on purpose: values and inclusive ranges of numbers, read as in a `LabelMap`."""

    listed: LabelMap

    @classmethod
    def parse(cls, given: object) -> "SkippedLabels":
        """Labels from `value,value,low..high`, or from a number or a list in TOML. An empty string leaves nothing out.

        Raises:
            ValueError: it cannot be read.
        """
        if isinstance(given, bool) or not isinstance(given, str | int | float | list):
            raise ValueError(f"{given!r} is neither a value nor a list of values. Use one such as {SKIP_EXAMPLE}.")
        return cls(LabelMap.parse({"": given}) if _items(given) else LabelMap({}))

    def __contains__(self, label: str) -> bool:
        return self.listed(label) is not None

    def __str__(self) -> str:
        return str(self.listed).removeprefix("=")

    def mapped_by(self, label_map: LabelMap) -> tuple[str, str] | None:
        """A value that is left out here, but has a class in the map, and that class; None if there is none."""
        for value in self.listed.values:
            if (label := label_map(value)) is not None:
                return repr(value), label
        numbers = [(float(value), float(value), label) for value, label in _numbers(label_map.values)]
        for low, high, _ in self.listed.ranges:
            for mapped_low, mapped_high, label in [*numbers, *label_map.ranges]:
                if low <= mapped_high and mapped_low <= high:
                    return f"{max(low, mapped_low):g}", label
        return None


def _pairs(text: str) -> list[tuple[str, str]]:
    """`class=values` pairs, separated by blanks; a word without "=" belongs to the value before it."""
    pairs: list[tuple[str, str]] = []
    for word in text.split():
        label, equals, listed = word.partition("=")
        if equals and label and listed:
            pairs.append((label, listed))
        elif pairs and not equals:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {word}")
        else:
            raise ValueError(f"{word!r} is not CLASS=VALUE,…; expected something like {EXAMPLE}.")
    return pairs


def _items(listed: Any) -> list[str]:
    items = listed if isinstance(listed, list) else str(listed).split(",")
    if nested := [item for item in items if isinstance(item, list | Mapping)]:
        raise ValueError(f"{nested[0]!r} is not a single value. Use a list of values, such as [1, 2].")
    return [text for item in items if (text := str(item).strip())]


def _plain(value: str) -> str:
    """A value as the rule for values writes it."""
    from pipeline.readers.values import RULE_VERSION, value_of  # pyarrow: not for --help

    return value_of(value, RULE_VERSION) or value


def _check_apart(values: Mapping[str, str], ranges: list[tuple[float, float, str]]) -> None:
    """Raises ValueError where a number belongs to two classes."""
    numbers = [(float(value), float(value), label) for value, label in _numbers(values)]
    for at, (low, high, label) in enumerate(ranges):
        for other_low, other_high, other in [*numbers, *ranges[at + 1 :]]:
            if other != label and low <= other_high and other_low <= high:
                shared = f"{max(low, other_low):g}"
                raise ValueError(f"{shared} is in {label!r} and in {other!r}. Classes must not overlap.")


def _numbers(values: Mapping[str, str]) -> list[tuple[str, str]]:
    """The values that are numbers, and their classes."""
    return [(value, label) for value, label in values.items() if NUMBER.fullmatch(value)]


def _bounds(item: str, low: str, high: str) -> tuple[float, float]:
    try:
        bounds = float(low or -math.inf), float(high or math.inf)
    except ValueError:
        raise ValueError(f"{item!r} is not a range of numbers, such as 1..2.") from None
    if bounds[0] > bounds[1]:
        raise ValueError(f"the range {item!r} is empty; write the smaller number first.")
    return bounds


MISSING_WORDS = {"na", "n/a", "nan", "null", "none", "nil", "-", "?"}


def doubts(labels: Sequence[str]) -> list[str]:
    """What is odd about the labels of a lake, in words: each is a class of its own, which is hardly meant."""
    found = []
    by_case: dict[str, list[str]] = {}
    for label in labels:
        by_case.setdefault(label.casefold(), []).append(label)
    for alike in by_case.values():
        if len(alike) > 1:
            names = " and ".join(map(repr, alike))
            found.append(
                f"the labels {names} differ only in case, but are separate classes; to merge them, ingest again with "
                "--label-map and --rebuild-vocab, and put the label-map into pipeline.toml"
            )
    for label in labels:
        if label.casefold() in MISSING_WORDS:
            found.append(
                f"the label {label!r} looks like a missing value, but is a class; to leave it out, put it into skip-labels "
                "in pipeline.toml, then ingest again with --prune, and once more with --rebuild-vocab"
            )
        elif len(label) > 1 and label[0] == label[-1] == '"':
            found.append(
                f"the label {label!r} keeps its quotation marks because there is a space between it and the delimiter"
            )
    return found
