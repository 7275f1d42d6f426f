"""The options of `pipeline upgrade`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.config.reading import sources_option
from pipeline.options.check import validate
from pipeline.options.option import HARDWARE, Option


@dataclass(frozen=True, kw_only=True)
class UpgradeConfig:
    """What to convert, and whether sources may be read again for it.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    paths: Annotated[
        tuple[str, ...],
        sources_option(
            "Bundles and prediction files outside of the lake, to convert these alone.",
            "the whole lake",
            name="path",
            metavar="[PATH]...",
        ),
    ] = ()
    from_sources: Annotated[
        bool, Option(help="Read the reviews again where only that helps: for the rule for values. Makes a new vocabulary.")
    ] = False
    dry_run: Annotated[bool, Option(help="Name what would be converted, change nothing.")] = False
    workers: Annotated[
        int | None,
        Option(panel=HARDWARE, help="With --from-sources: worker threads; 0 for none.", default="one a core", minimum=0),
    ] = None

    def __post_init__(self) -> None:
        validate(self)
