"""The options of `pipeline init`."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.config.inspect import InspectConfig
from pipeline.options.option import OUTPUT, Option


@dataclass(frozen=True, kw_only=True)
class InitConfig(InspectConfig):
    """What to inspect, and whether to overwrite settings.

    Raises:
        UsageError: a value that is not allowed.
    """

    force: Annotated[
        bool,
        Option(panel=OUTPUT, help="Overwrite the settings that init manages in an existing pipeline.toml; keep all others."),
    ] = False
