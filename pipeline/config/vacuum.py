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
    """How long versions, unfinished trainings and files set aside stay, in hours; whether old models and records go too.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    keep_hours: Annotated[
        int,
        Option(
            help="Versions, unfinished trainings and damaged files younger than this stay.", minimum=0, maximum=MOST_HOURS
        ),
    ] = 7 * 24
    models: Annotated[
        bool,
        Option(help="Delete old models and cross-validations too; the live model and those that predictions name stay."),
    ] = False
    keep: Annotated[int, Option(help="With --models: how many of the newest stay.", minimum=0)] = 5
    runs: Annotated[bool, Option(help="Delete old run records too, but for those that committed reviews.")] = False
    keep_days: Annotated[int, Option(help="With --runs: records younger than this stay.", minimum=0)] = 90
    dry_run: Annotated[bool, Option(help="Name the files, delete none.")] = False

    def __post_init__(self) -> None:
        validate(self)
