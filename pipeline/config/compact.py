"""The options of `pipeline compact`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.options.check import validate
from pipeline.options.option import Option


@dataclass(frozen=True, kw_only=True)
class CompactConfig:
    """When to merge small shards.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    min_shards: Annotated[
        int, Option(metavar="N", help="Change nothing unless at least N shards can be merged.", minimum=2)
    ] = 2
    dry_run: Annotated[bool, Option(help="Show what would be merged, without changing anything.")] = False

    def __post_init__(self) -> None:
        validate(self)
