"""The options of `pipeline status`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.config.reading import seconds
from pipeline.options.check import validate
from pipeline.options.option import Option
from pipeline.readers.bounds import GIB, in_units, size_of

MOST_SECONDS = 100 * 365 * 24 * 3600
"""A century."""
MOST_BYTES = 1 << 60


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """When something needs a person, and whether to write the morning page. `max_age` is in seconds, `min_free` in bytes.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    page: Annotated[bool, Option(help="Also write the morning page, index.html in the lake.")] = False
    max_age: Annotated[
        float,
        Option(
            metavar="TIME",
            help="Report if the last night, or the last ingest, is older; 0 for never.",
            default="36h",
            minimum=0,
            maximum=MOST_SECONDS,
            expected="a time such as 90m or 36h; 0 for never",
            from_text=seconds,
            from_toml=seconds,
        ),
    ] = 36 * 3600.0
    max_unknown: Annotated[
        float | None,
        Option(
            metavar="SHARE",
            help="Report if a larger share of the last tokens is not in the vocabulary.",
            default="--unknown-warn of the run, else 0.05",
            minimum=0,
            maximum=1,
            example="0.1",
        ),
    ] = None
    min_free: Annotated[
        int,
        Option(
            metavar="SIZE",
            help="Report if less is free on the lake's disk; 0 for never.",
            default="2GiB",
            minimum=0,
            maximum=MOST_BYTES,
            expected="a size such as 2GiB; 0 for never",
            from_text=size_of,
            from_toml=size_of,
            to_text=in_units,
        ),
    ] = 2 * GIB

    def __post_init__(self) -> None:
        validate(self)
