"""Options of the commands that read user files: formats, dialects, limits."""

import re
from collections.abc import Iterable
from typing import Annotated

from pipeline.errors import UsageError
from pipeline.options.option import DATA, INPUT, Option
from pipeline.readers.labels import LabelMap, SkippedLabels
from pipeline.readers.limits import Limit

DEFAULT_MAX_BAD = Limit(share=0.05)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def _formats() -> Iterable[str]:
    from pipeline.readers.registry import all_formats

    return all_formats()


def names(text: str) -> tuple[str, ...]:
    """Comma-separated names."""
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


def sources_option(help: str, default: str, *, name: str = "source", metavar: str = "SOURCE") -> Option:
    """Files, folders and globs as arguments."""
    return Option(name=name, metavar=metavar, help=help, default=default, positional=True, paths=True)


def text_columns_option(default: str | None = None) -> Option:
    """`--text-column`."""
    return Option(
        panel=DATA,
        metavar="COLUMN,…",
        help="Columns with the review text, joined by line breaks; write nested fields as review.body.",
        default=default,
        from_text=names,
        separator=",",
        to_text=",".join,
    )


def label_column_option(default: str) -> Option:
    """`--label-column`."""
    return Option(panel=DATA, help="Column with the label.", default=default)


def target_column_option(default: str) -> Option:
    """`--target-column`."""
    return Option(
        panel=DATA,
        help="Column with a number for --task regression; stars also means the stars in aclImdb's file names.",
        default=default,
    )


def label_map_option(default: str) -> Option:
    """`--label-map`."""
    return Option(
        panel=DATA,
        metavar="CLASS=VALUE,…",
        help="Map values to classes: 'neg=1,2 pos=4,5' or 'neg=1..2 pos=4..5'. Rows with other values are rejected.",
        default=default,
        from_text=LabelMap.parse,
        separator=" ",
        from_toml=LabelMap.parse,
    )


def skip_labels_option(default: str) -> Option:
    """`--skip-labels`."""
    return Option(
        panel=DATA,
        metavar="VALUE,…",
        help="Labels to leave out on purpose, such as 3 or 5..6. Their rows are counted, but never reported.",
        default=default,
        from_text=SkippedLabels.parse,
        separator=",",
        from_toml=SkippedLabels.parse,
    )


def check_labels(label_map: LabelMap | None, skip_labels: SkippedLabels | None) -> None:
    """Raises `UsageError` if a label is both mapped to a class and left out."""
    if skip_labels is None or label_map is None:
        return
    if (both := skip_labels.mapped_by(label_map)) is not None:
        value, label = both
        raise UsageError(
            f"--skip-labels {skip_labels}: {value} is mapped to {label!r} by --label-map '{label_map}'. Remove it from one "
            "of them; --skip-labels '' leaves nothing out."
        )


def id_column_option(default: str) -> Option:
    """`--id-column`."""
    return Option(panel=DATA, help="Column with a unique ID for each review.", default=default)


def group_column_option(default: str | None = None) -> Option:
    """`--group-column`."""
    return Option(
        panel=DATA,
        help="Column that groups reviews, such as a product; a group is never divided between splits.",
        default=default,
    )


def split_column_option(default: str | None = None) -> Option:
    """`--split-column`."""
    return Option(panel=DATA, help="Column with the split: train, valid, test or unsup.", default=default)


TextColumns = Annotated[tuple[str, ...], text_columns_option()]
FormatName = Annotated[
    str | None,
    Option(
        panel=INPUT,
        metavar="FORMAT",
        help="Read the given files in this format, regardless of their suffix.",
        default="by suffix",
        choices=_formats,
    ),
]
Delimiter = Annotated[
    str | None,
    Option(panel=INPUT, metavar="CHAR", help="CSV delimiter: a character, or 'tab'.", default="detected"),
]
Quote = Annotated[
    str | None,
    Option(panel=INPUT, metavar="CHAR|none", help="CSV quote character, or 'none'.", default="detected"),
]
Escape = Annotated[
    str | None,
    Option(
        panel=INPUT,
        metavar="CHAR|none",
        help="Character before quote characters inside CSV fields, such as \\, or 'none' if they are doubled.",
        default="detected",
    ),
]
Encoding = Annotated[
    str | None,
    Option(panel=INPUT, help="Encoding of CSV files that are not UTF-8, such as cp1252 or utf-16.", default="detected"),
]
Settle = Annotated[
    float,
    Option(
        panel=INPUT,
        metavar="TIME",
        help="Skip files modified within this time, such as 30s; the next run picks them up.",
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
        help="Maximum number or share of malformed rows, such as 100 or 5%; above it, nothing is committed.",
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
