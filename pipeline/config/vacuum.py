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
    """How long to keep versions, unfinished training runs and set-aside files, and whether to delete models and records.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    keep_hours: Annotated[
        int,
        Option(
            help="Keep table versions, unfinished training runs and damaged files from the last N hours.",
            minimum=0,
            maximum=MOST_HOURS,
        ),
    ] = 7 * 24
    models: Annotated[
        bool,
        Option(
            help="Also delete old models, pretrained models and cross-validations, except LATEST and models that "
            "predictions refer to."
        ),
    ] = False
    keep: Annotated[int, Option(help="With --models: number of newest models to keep.", minimum=0)] = 5
    runs: Annotated[bool, Option(help="Also delete old run records, except those of runs that committed reviews.")] = False
    keep_days: Annotated[int, Option(help="With --runs: keep records from the last N days.", minimum=0)] = 90
    dry_run: Annotated[bool, Option(help="List the files without deleting them.")] = False

    def __post_init__(self) -> None:
        validate(self)
