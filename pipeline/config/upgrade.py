"""The options of `pipeline upgrade`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.config.reading import sources_option
from pipeline.options.check import validate
from pipeline.options.option import HARDWARE, Option


@dataclass(frozen=True, kw_only=True)
class UpgradeConfig:
    """What to convert, and whether to read sources again for it.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    paths: Annotated[
        tuple[str, ...],
        sources_option(
            "Convert only these bundles and prediction files, which may be outside the lake.",
            "the whole lake",
            name="path",
            metavar="PATH",
        ),
    ] = ()
    from_sources: Annotated[
        bool, Option(help="Read the reviews again if the rule for values has changed. Builds a new vocabulary.")
    ] = False
    dry_run: Annotated[bool, Option(help="List what would be converted without changing anything.")] = False
    workers: Annotated[
        int | None,
        Option(
            panel=HARDWARE,
            help="Number of worker threads for --from-sources; 0 to use none.",
            default="one per core",
            minimum=0,
        ),
    ] = None

    def __post_init__(self) -> None:
        validate(self)
