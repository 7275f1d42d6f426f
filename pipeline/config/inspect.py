"""The options of `pipeline inspect`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.config.bounds import BoundsConfig
from pipeline.config.reading import (
    Delimiter,
    Encoding,
    Escape,
    FormatName,
    Quote,
    check_labels,
    group_column_option,
    id_column_option,
    label_column_option,
    label_map_option,
    skip_labels_option,
    sources_option,
    split_column_option,
    target_column_option,
    text_columns_option,
)
from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import Option
from pipeline.readers.base import Dialect, Reading
from pipeline.readers.labels import LabelMap, SkippedLabels

DEFAULT_ROWS = 10_000
_GUESSED = "guessed"


@dataclass(frozen=True, kw_only=True)
class InspectConfig(BoundsConfig):
    """What to inspect. Columns given here are not guessed.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    sources: Annotated[tuple[str, ...], sources_option("Files, folders and globs.", "the lake's raw/", metavar="FILE")] = ()
    text_column: Annotated[tuple[str, ...], text_columns_option(_GUESSED)] = ()
    label_column: Annotated[str | None, label_column_option(_GUESSED)] = None
    label_map: Annotated[LabelMap | None, label_map_option("guessed for star ratings")] = None
    skip_labels: Annotated[SkippedLabels | None, skip_labels_option("guessed for star ratings")] = None
    target_column: Annotated[str | None, target_column_option("none")] = None
    id_column: Annotated[str | None, id_column_option(_GUESSED)] = None
    group_column: Annotated[str | None, group_column_option(_GUESSED)] = None
    split_column: Annotated[str | None, split_column_option(_GUESSED)] = None
    format: FormatName = None
    delimiter: Delimiter = None
    quote: Quote = None
    escape: Escape = None
    encoding: Encoding = None
    rows: Annotated[int, Option(help="Number of rows to inspect in each file.", minimum=1)] = DEFAULT_ROWS

    def __post_init__(self) -> None:
        validate(self)
        if not all(self.sources):
            raise UsageError("FILE: empty name. Pass files or folders, or omit FILE to use the lake's raw/.")
        check_labels(self.label_map, self.skip_labels)
        _ = self.reading

    @property
    def reading(self) -> Reading:
        """The known parts of the dialect of text tables, and the limits."""
        return Reading(dialect=Dialect.checked(self.delimiter, self.quote, self.encoding, self.escape), bounds=self.bounds)
