"""The options of `pipeline repair`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.config.reading import sources_option
from pipeline.options.check import validate
from pipeline.options.option import HARDWARE, Option


@dataclass(frozen=True, kw_only=True)
class RepairConfig:
    """Where to find the reviews, and whether missing ones may be dropped.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    sources: Annotated[
        tuple[str, ...], sources_option("Files, folders and globs with the reviews.", "the sources of earlier runs")
    ] = ()
    accept_loss: Annotated[bool, Option(help="Drop damaged reviews that no source contains any more.")] = False
    workers: Annotated[
        int | None,
        Option(panel=HARDWARE, help="Number of worker threads; 0 to use none.", default="one per core", minimum=0),
    ] = None

    def __post_init__(self) -> None:
        validate(self)
