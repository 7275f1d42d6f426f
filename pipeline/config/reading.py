"""Options of the commands that read people's files: formats, dialects, limits."""

import re
from collections.abc import Iterable
from typing import Annotated

from pipeline.options.option import DATA, INPUT, Option
from pipeline.readers.limits import Limit

DEFAULT_MAX_BAD = Limit(share=0.05)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def _formats() -> Iterable[str]:
    from pipeline.readers.registry import all_formats

    return all_formats()


def names(text: str) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def seconds(text: str | float) -> float:
    """Seconds from `30`, `30s`, `5m` or `1h`.

    Raises:
        ValueError: something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(text).strip())
    if match is None:
        raise ValueError("expected a time such as 30s, 5m or 1h.")
    return float(match[1]) * _SECONDS[match[2]]


TextColumns = Annotated[
    tuple[str, ...],
    Option(
        panel=DATA,
        metavar="COLUMN,…",
        help="Columns that hold the review, joined by line breaks; a field of an object as review.body.",
        from_text=names,
        to_text=",".join,
    ),
]
FormatName = Annotated[
    str | None,
    Option(
        panel=INPUT,
        metavar="FORMAT",
        help="Read the files that are named in this format, whatever their suffix.",
        default="by suffix",
        choices=_formats,
    ),
]
Delimiter = Annotated[
    str | None,
    Option(panel=INPUT, metavar="CHAR", help="What separates the values of a CSV file; 'tab' too.", default="detected"),
]
Quote = Annotated[
    str | None,
    Option(panel=INPUT, metavar="CHAR|none", help="What encloses the values of a CSV file.", default="detected"),
]
Encoding = Annotated[
    str | None, Option(panel=INPUT, help="Encoding of CSV files, such as cp1252 or utf-16.", default="detected")
]
Settle = Annotated[
    float,
    Option(
        panel=INPUT,
        metavar="TIME",
        help="Leave files for the next run that were written less than this ago, such as 30s.",
        default="0s",
        minimum=0,
        from_text=seconds,
        from_toml=seconds,
    ),
]
MaxBad = Annotated[
    Limit,
    Option(
        panel=INPUT,
        metavar="SHARE|N",
        help="Malformed rows that are allowed, such as 5% or 100; more of them and nothing is committed.",
        from_text=Limit.parse,
        from_toml=Limit.parse,
    ),
]
MaxBadFiles = Annotated[
    Limit | None,
    Option(
        panel=INPUT,
        metavar="SHARE|N",
        help="Maximum number or share of unreadable files to skip.",
        default="all but one",
        from_text=Limit.parse,
        from_toml=Limit.parse,
    ),
]
Strict = Annotated[bool, Option(panel=INPUT, help="Fail on any malformed row or unreadable file.")]
