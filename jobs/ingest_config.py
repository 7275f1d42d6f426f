"""The options of `pipeline ingest`."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.readers.base import Dialect, Reading
from pipeline.readers.labels import LabelMap
from pipeline.readers.limits import Limit
from pipeline.readers.registry import format_named
from pipeline.readers.roles import Columns
from pipeline.text.tokenizers import check_tokenizer
from schemas.review import SPLITS

DEFAULT_LABEL_COLUMN = "label"
DEFAULT_MAX_BAD = "5%"


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """What to ingest and how. None: the lake's own choice, or the default when the lake has none yet."""

    lake: Path
    sources: tuple[str, ...] = ()
    format: str | None = None
    tokenizer: str | None = None
    max_vocab: int | None = None
    min_count: int | None = None
    text_column: tuple[str, ...] = ("text",)
    label_column: str | None = None
    label_map: LabelMap | None = None
    id_column: str | None = None
    group_column: str | None = None
    split_column: str | None = None
    split: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None
    dedupe: bool = False
    prune: bool = False
    settle: float = 0.0
    """Seconds for which a file must have been left alone."""
    max_bad: str = DEFAULT_MAX_BAD
    max_bad_files: str | None = None
    max_bad_rows: int | None = None
    strict: bool = False
    rebuild_vocab: bool = False
    workers: int | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not all(self.sources):
            raise UsageError("SOURCE: a name is empty. Give files and folders, or none for the lake's raw/.")
        if self.tokenizer is not None:
            check_tokenizer(self.tokenizer)
        if self.split is not None and self.split not in SPLITS:
            raise UsageError(f"--split: {self.split!r} is not known. Known: {', '.join(SPLITS)}.")
        if not self.text_column or not all(self.text_column):
            raise UsageError("--text-column: a name is empty. Give one column, or several with commas: summary,text.")
        for option, least in (("max_vocab", 0), ("min_count", 1), ("max_bad_rows", 0), ("workers", 0), ("settle", 0)):
            value = getattr(self, option)
            if value is not None and not value >= least:
                raise UsageError(f"--{option.replace('_', '-')}: {value} is too small; {least} is the least.")
        if self.format is not None:
            format_named(self.format)
        _ = self.row_limit, self.file_limit, self.reading

    @property
    def columns(self) -> Columns:
        """The columns of tables; the label column is optional unless it was named."""
        return Columns(
            text=self.text_column,
            label=self.label_column or DEFAULT_LABEL_COLUMN,
            id=self.id_column,
            group=self.group_column,
            split=self.split_column,
            optional_label=self.label_column is None,
        )

    @property
    def reading(self) -> Reading:
        """How tables of text are written."""
        return Reading(dialect=Dialect.checked(self.delimiter, self.quote, self.encoding))

    @property
    def row_limit(self) -> Limit:
        """How many malformed rows a run may meet."""
        if self.strict:
            return Limit(number=0)
        return Limit(number=self.max_bad_rows) if self.max_bad_rows is not None else Limit.parse("--max-bad", self.max_bad)

    @property
    def file_limit(self) -> Limit | None:
        """How many files may be left out; None: not all of them."""
        if self.strict:
            return Limit(number=0)
        return None if self.max_bad_files is None else Limit.parse("--max-bad-files", self.max_bad_files)
