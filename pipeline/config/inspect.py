"""The options of `pipeline inspect`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.config.bounds import BoundsConfig
from pipeline.config.reading import Delimiter, Encoding, FormatName, Quote, names
from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import DATA, OUTPUT, Option
from pipeline.readers.base import Dialect, Reading
from pipeline.readers.labels import LabelMap

DEFAULT_ROWS = 10_000
_GUESSED = "guessed"


@dataclass(frozen=True, kw_only=True)
class InspectConfig(BoundsConfig):
    """What to look at. Columns that are named are not guessed.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    sources: Annotated[
        tuple[str, ...],
        Option(
            name="source",
            metavar="[FILE]...",
            help="Files, folders and globs.",
            default="the lake's raw/",
            positional=True,
            paths=True,
        ),
    ] = ()
    text_column: Annotated[
        tuple[str, ...],
        Option(
            panel=DATA,
            metavar="COLUMN,…",
            help="Columns that hold the review, joined by line breaks; a field of an object as review.body.",
            default=_GUESSED,
            from_text=names,
            to_text=",".join,
        ),
    ] = ()
    label_column: Annotated[str | None, Option(panel=DATA, help="Column that holds the label.", default=_GUESSED)] = None
    label_map: Annotated[
        LabelMap | None,
        Option(
            panel=DATA,
            metavar="CLASS=VALUE,…",
            help="Classes by value: 'neg=1,2 pos=4,5' or 'neg=1..2 pos=4..5'. Other values are left out.",
            default="guessed for stars",
            from_text=LabelMap.parse,
            from_toml=LabelMap.parse,
        ),
    ] = None
    id_column: Annotated[str | None, Option(panel=DATA, help="Column that identifies a review.", default=_GUESSED)] = None
    group_column: Annotated[
        str | None, Option(panel=DATA, help="Column whose groups stay in one split.", default=_GUESSED)
    ] = None
    split_column: Annotated[
        str | None, Option(panel=DATA, help="Column that holds train, valid, test or unsup.", default=_GUESSED)
    ] = None
    format: FormatName = None
    delimiter: Delimiter = None
    quote: Quote = None
    encoding: Encoding = None
    rows: Annotated[int, Option(help="Rows to look at in each file.", minimum=1)] = DEFAULT_ROWS
    as_json: Annotated[bool, Option(name="json", panel=OUTPUT, help="One line of JSON.")] = False

    def __post_init__(self) -> None:
        validate(self)
        if not all(self.sources):
            raise UsageError("FILE: a name is empty. Give files and folders, or none for the lake's raw/.")
        _ = self.reading

    @property
    def reading(self) -> Reading:
        """What is known of how tables of text are written, and how large rows may be."""
        return Reading(dialect=Dialect.checked(self.delimiter, self.quote, self.encoding), bounds=self.bounds)
