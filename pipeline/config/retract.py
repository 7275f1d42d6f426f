"""The options of `pipeline retract`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.options.check import validate
from pipeline.options.option import Option

LATEST = "latest"


@dataclass(frozen=True, kw_only=True)
class RetractConfig:
    """Which run to take back.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    run: Annotated[
        str,
        Option(
            metavar="RUN",
            help=f"ID of a run of ingest, a unique prefix of it, or {LATEST}: the last one that committed reviews.",
            positional=True,
            names_run=True,
        ),
    ]
    undo: Annotated[bool, Option(help="Lift the retraction: the next ingest may read the rows again.")] = False
    dry_run: Annotated[bool, Option(help="Show what would change, without changing anything.")] = False

    def __post_init__(self) -> None:
        validate(self)
