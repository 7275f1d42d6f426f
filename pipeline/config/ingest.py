"""The options of `pipeline ingest`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pipeline.config.bounds import BoundsConfig
from pipeline.config.reading import (
    DEFAULT_MAX_BAD,
    Delimiter,
    Encoding,
    Escape,
    FormatName,
    MaxBad,
    MaxBadFiles,
    Quote,
    Settle,
    Strict,
    TextColumns,
    check_labels,
    group_column_option,
    id_column_option,
    label_column_option,
    label_map_option,
    skip_labels_option,
    sources_option,
    split_column_option,
    target_column_option,
)
from pipeline.config.shared import DEFAULT_UNKNOWN_WARN, LOCAL, MOST_WORKERS, RAY, EngineName, UnknownWarn
from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import DATA, HARDWARE, INPUT, OUTPUT, Option
from pipeline.readers.base import Dialect, Reading
from pipeline.readers.labels import LabelMap, SkippedLabels
from pipeline.readers.limits import Limit
from schemas.tokenizers import DEFAULT_TOKENIZER, TOKENIZERS

if TYPE_CHECKING:
    from pipeline.readers.roles import Columns

DEFAULT_LABEL_COLUMN = "label"
FIRST, LAST = "first", "last"


_TOKENIZERS = "; ".join(f"{name}: {summary}" for name, summary in TOKENIZERS.items())


def _splits() -> Iterable[str]:
    from schemas.review import SPLITS

    return SPLITS


@dataclass(frozen=True, kw_only=True)
class IngestConfig(BoundsConfig):
    """What to ingest and how. None: the lake's setting, or the default in a new lake.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    sources: Annotated[
        tuple[str, ...], sources_option("Files, folders, globs, and URIs of the same in a bucket.", "the lake's raw/")
    ] = ()
    tokenizer: Annotated[
        str | None,
        Option(help=f"{_TOKENIZERS}.", default=f"the lake's, else {DEFAULT_TOKENIZER}", choices=tuple(TOKENIZERS)),
    ] = None
    max_vocab: Annotated[
        int | None,
        Option(
            help="Maximum size of a new vocabulary, in tokens; 0 for no limit.", default="the lake's, else 30000", minimum=0
        ),
    ] = None
    min_count: Annotated[
        int | None,
        Option(
            help="Minimum number of occurrences of a token in a new vocabulary.", default="the lake's, else 1", minimum=1
        ),
    ] = None
    text_column: TextColumns = ("text",)
    label_column: Annotated[str | None, label_column_option("label, if present")] = None
    label_map: Annotated[LabelMap | None, label_map_option("labels as they are")] = None
    skip_labels: Annotated[SkippedLabels | None, skip_labels_option("none")] = None
    target_column: Annotated[str | None, target_column_option("none")] = None
    id_column: Annotated[str | None, id_column_option("source and row")] = None
    group_column: Annotated[str | None, group_column_option()] = None
    split_column: Annotated[str | None, split_column_option()] = None
    split: Annotated[
        str | None,
        Option(
            panel=DATA,
            help="Split for reviews whose source does not specify one.",
            default="train if labelled, else unsup",
            choices=_splits,
        ),
    ] = None
    id_conflict: Annotated[
        str,
        Option(
            panel=DATA,
            help="Which of several rows with the same ID counts if they differ, in the order of paths and rows: first (the "
            "others are rejected) or last.",
            choices=(FIRST, LAST),
        ),
    ] = FIRST
    dedupe: Annotated[bool, Option(panel=DATA, help="Skip and count reviews whose content already exists.")] = False
    prune: Annotated[bool, Option(panel=DATA, help="Remove rows that are no longer in their source file.")] = False
    format: FormatName = None
    delimiter: Delimiter = None
    quote: Quote = None
    escape: Escape = None
    encoding: Encoding = None
    settle: Settle = 0.0
    max_bad: MaxBad = DEFAULT_MAX_BAD
    max_bad_rows: Annotated[int | None, Option(panel=INPUT, help="Same as --max-bad N.", minimum=0)] = None
    max_bad_files: MaxBadFiles = None
    strict: Strict = False
    rebuild_vocab: Annotated[bool, Option(help="Build a new vocabulary; the sources must contain every known review.")] = (
        False
    )
    unknown_warn: UnknownWarn = DEFAULT_UNKNOWN_WARN
    workers: Annotated[
        int | None,
        Option(
            panel=HARDWARE,
            help="Number of worker threads, or of Ray tasks at a time; 0 to use no threads.",
            default="one per core",
            minimum=0,
            maximum=MOST_WORKERS,
        ),
    ] = None
    engine: EngineName = LOCAL
    dry_run: Annotated[bool, Option(panel=OUTPUT, help="Read and count without writing anything.")] = False

    replacing: tuple[str, ...] = ()
    """Damaged shards that the commit replaces by reading their reviews again; `pipeline repair` sets it."""
    accept_loss: bool = False
    """Whether reviews of those shards may be dropped if no source has them any more."""

    def __post_init__(self) -> None:
        validate(self)
        if not all(self.sources):
            raise UsageError("SOURCE: empty name. Pass files or folders, or omit SOURCE to use the lake's raw/.")
        if self.engine == RAY and self.workers == 0:
            raise UsageError(
                "--workers 0: --engine ray needs at least one task at a time. Pass a higher number, or leave it out."
            )
        check_labels(self.label_map, self.skip_labels)
        _ = self.reading

    @property
    def columns(self) -> "Columns":
        """The columns of tables; the label column is optional unless it was named."""
        from pipeline.readers.roles import Columns

        return Columns(
            text=self.text_column,
            label=self.label_column or DEFAULT_LABEL_COLUMN,
            target=self.target_column,
            id=self.id_column,
            group=self.group_column,
            split=self.split_column,
            optional_label=self.label_column is None,
        )

    @property
    def reading(self) -> Reading:
        """The dialect of text tables, and the limits."""
        return Reading(dialect=Dialect.checked(self.delimiter, self.quote, self.encoding, self.escape), bounds=self.bounds)

    @property
    def row_limit(self) -> Limit:
        """How many malformed rows a run accepts."""
        if self.strict:
            return Limit(number=0)
        return self.max_bad if self.max_bad_rows is None else Limit(number=self.max_bad_rows)

    @property
    def file_limit(self) -> Limit | None:
        """How many unreadable files may be skipped; None: any number, but not all of them."""
        return Limit(number=0) if self.strict else self.max_bad_files
