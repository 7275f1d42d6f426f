"""Checks the values of options: type, bounds, choices. One wording for every command."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError, unknown_choice
from pipeline.options.option import ConfigField, Option, fields_of

_KINDS: dict[Any, tuple[type | tuple[type, ...], str]] = {
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    str: (str, "text"),
    bool: (bool, "true or false"),
    Path: (Path, "a path"),
    tuple: (tuple, "a list"),
    dict: (dict, "a table of names and values"),
}

_URI = re.compile(r"([a-z][a-z0-9+.-]*):/+(.*)")
"""A URI, also one that has lost a slash in a `Path`."""


def validate(config: Any) -> None:
    """Checks every option of a config dataclass; for its `__post_init__`.

    Raises:
        UsageError: the first value that is not allowed, with its option and what is.
    """
    assert dataclasses.is_dataclass(config) and not isinstance(config, type)
    for field in fields_of(type(config)):
        check_value(field, getattr(config, field.name))


def check_value(field: ConfigField, value: Any, label: str | None = None) -> None:
    """Checks one option's value. `label` says where the value comes from, if not from the command line.

    Raises:
        UsageError: the value is not allowed.
    """
    where = label or field.label
    option = field.option
    if value is None and field.optional:
        return
    kinds, words = _KINDS.get(field.kind, (object, ""))
    if not isinstance(value, kinds) or (isinstance(value, bool) and field.kind is not bool):
        raise UsageError(f"{where} {value!r}: expected {expected(field, words)}.")
    if isinstance(value, Path):
        check_path(where, value)
    if option.choices is not None:
        for item in value if isinstance(value, tuple) else (value,):
            _check_choice(option, where, item)
    if not _in_bounds(option, value) or (option.accepts is not None and not option.accepts(value)):
        raise UsageError(f"{where} {value}: expected {expected(field, _words(field, value))}.")


def check_path(label: str, path: Path) -> None:
    """Checks that a path is not a URI, which would otherwise name a folder such as `s3:` in the working folder.

    Raises:
        UsageError: it is one.
    """
    if (found := _URI.match(str(path))) is not None:
        scheme, rest = found.groups()
        uri = f"{scheme}://{'/' * (scheme == 'file')}{rest}"
        raise UsageError(f"{label} {uri}: expected a path on this machine, not a URI. Copy files with the storage's tools.")


def expected(field: ConfigField, words: str = "") -> str:
    """What is allowed, in words; `words` says what kind of value it is."""
    option = field.option
    if option.expected:
        return option.expected
    bounds = _bounds(option)
    example = f", such as {option.example}" if option.example else ""
    if not bounds or not words:
        return f"{words or bounds or 'another value'}{example}"
    separator = ", " if bounds[0].isdigit() and option.maximum is None and option.below is None else " "
    preposition = "from " if separator == " " and bounds[0].isdigit() else ""
    return f"{words}{separator}{preposition}{bounds}{example}"


def _bounds(option: Option) -> str:
    low, high = (number(bound) for bound in (option.minimum, option.maximum))
    above, below = (number(bound) for bound in (option.above, option.below))
    if option.above is not None:
        if option.below is not None:
            return f"between {above} and {below}"
        return f"above {above}" + (f", up to {high}" if option.maximum is not None else "")
    if option.minimum is None:
        return ""
    if option.below is not None:
        return f"{low} up to, but below, {below}"
    return f"{low} to {high}" if option.maximum is not None else f"{low} or more"


def _words(field: ConfigField, value: Any) -> str:
    """What else is expected of a value that is of the right type but out of bounds."""
    if field.kind is float:
        return "a number"
    too_large = field.option.maximum is None and isinstance(value, int) and value > LARGEST
    return "a whole number of at most 64 bits" if too_large else ""


def number(value: float | None) -> str:
    """A bound for display: without a fraction if it is whole."""
    return "" if value is None else str(int(value) if value == int(value) else value)


LARGEST = 2**63 - 1
"""What a whole number without a maximum of its own may be: more does not fit into 64 bits."""


def _in_bounds(option: Option, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return (
        (isinstance(value, int) or math.isfinite(value))
        and (option.minimum is None or value >= option.minimum)
        and (option.maximum is None or value <= option.maximum)
        and (not isinstance(value, int) or option.maximum is not None or value <= LARGEST)
        and (option.above is None or value > option.above)
        and (option.below is None or value < option.below)
    )


def _check_choice(option: Option, where: str, value: Any) -> None:
    known = option.known()
    if value in known:
        return
    if all(isinstance(choice, str) for choice in known):
        raise unknown_choice(where, str(value), known, option.remedy, option.unlisted)
    choices = [str(choice) for choice in known]
    raise UsageError(f"{where} {value!r}: expected {', '.join(choices[:-1])} or {choices[-1]}.")
