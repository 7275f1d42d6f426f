"""The options of `pipeline repair`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.config.reading import sources_option
from pipeline.options.check import validate
from pipeline.options.option import HARDWARE, Option


@dataclass(frozen=True, kw_only=True)
class RepairConfig:
    """Where the reviews are, and whether lost ones may stay lost.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    sources: Annotated[tuple[str, ...], sources_option("Where the reviews are.", "what earlier runs read")] = ()
    accept_loss: Annotated[bool, Option(help="Go on without reviews that no source holds any more.")] = False
    workers: Annotated[
        int | None, Option(panel=HARDWARE, help="Worker threads; 0 for none.", default="one a core", minimum=0)
    ] = None

    def __post_init__(self) -> None:
        validate(self)
