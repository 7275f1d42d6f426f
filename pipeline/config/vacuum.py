"""The options of `pipeline vacuum`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.options.check import validate
from pipeline.options.option import Option

MOST_HOURS = 100 * 365 * 24
"""A century."""


@dataclass(frozen=True, kw_only=True)
class VacuumConfig:
    """How long versions stay readable, in hours.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    keep_hours: Annotated[int, Option(help="Versions younger than this stay readable.", minimum=0, maximum=MOST_HOURS)] = (
        7 * 24
    )
    dry_run: Annotated[bool, Option(help="Name the files, delete none.")] = False

    def __post_init__(self) -> None:
        validate(self)
