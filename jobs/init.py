"""The job behind `pipeline init`: looks at files as `inspect` does and writes the lake's `pipeline.toml`."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs import inspect
from jobs.inspect import Inspection
from pipeline.config.init import InitConfig
from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.inspection.settings import Delivery, Settings, rendered, settings_for
from pipeline.lake.atomic import write_text
from pipeline.lake.paths import Lake
from pipeline.lake.store import is_uri
from pipeline.options.files import LAKE_FILE
from pipeline.printable import short_path
from pipeline.readers.walk import expanded

__all__ = ["InitConfig", "Initialised", "run"]


log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Initialised:
    """What was found and written, and the commands that come next; none where ingest would commit nothing."""

    inspection: Inspection
    path: Path
    settings: Settings
    next_commands: list[str]


def run(config: InitConfig) -> Initialised:
    """Inspects the files and writes options for reading them.

    Raises:
        UsageError: `pipeline.toml` exists, and `force` is not set.
        CannotWriteError: the lake is not writable.
        DataError: no file can be read, or no column contains text.
    """
    lake = Lake(config.lake)
    path = lake.root / LAKE_FILE
    if path.exists() and not config.force:
        raise UsageError(
            f"{path} already exists. Edit it, or update it with --force, which keeps all settings that 'pipeline init' "
            "does not manage. "
            f"'pipeline inspect' shows the guesses without writing.{_missing(config.sources)}"
        )
    if lake.tokens.exists():
        log.warning(
            "%s already contains reviews, and these will be added to them. Use --lake for a separate lake", lake.root
        )
    inspection = inspect.run(config)
    inspection.check_readable()
    _check_guesses(inspection)
    delivery = Delivery(
        sources=inspection.sources, format=config.format, dialect=config.reading.dialect, bounds=config.given_bounds
    )
    samples = [file.sample for file in inspection.files if file.fault is None]
    settings = settings_for(delivery, inspection.guess, samples, lake.root)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    write_text(path, rendered(settings, before))
    lake.push("init")
    return Initialised(inspection=inspection, path=path, settings=settings, next_commands=_next_commands(lake, inspection))


def _missing(sources: Sequence[str]) -> str:
    """What is to be said of the first of the sources that is not there; "" if none is missing."""
    for source in sources:
        try:
            if not is_uri(source):
                expanded(source)
        except InputNotFoundError as error:
            return f" Besides: {error}"
    return ""


def _check_guesses(inspection: Inspection) -> None:
    """Raises `DataError` where ingest could not read a row with these guesses."""
    if not any(file.sample.is_table for file in inspection.files) or inspection.guess.text:
        return
    names = ", ".join(repr(column.name) for column in inspection.columns) or "none"
    if not any(column.rows for column in inspection.columns):
        raise DataError(
            f"{inspection.files[0].name} has no rows to guess from. Pass a file with rows; its columns: {names}."
        )
    raise DataError(f"no column contains text. Choose one with --text-column; columns: {names}.")


def _next_commands(lake: Lake, inspection: Inspection) -> list[str]:
    if inspection.commits_nothing:
        return []
    option = "" if Lake.find() == lake else f" --lake {shlex.quote(short_path(lake.root))}"
    commands = [f"pipeline ingest{option}"]
    if inspection.guess.target or len(inspection.classes) > 1 or (inspection.classes and not inspection.whole):
        commands += [f"pipeline train{option}", f"pipeline score{option} FILE"]
    return commands
