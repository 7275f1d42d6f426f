"""The options of `pipeline evaluate`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pipeline.config.bounds import BoundsConfig
from pipeline.config.ingest import DEFAULT_LABEL_COLUMN
from pipeline.config.reading import (
    DEFAULT_MAX_BAD,
    Delimiter,
    Encoding,
    FormatName,
    MaxBad,
    Quote,
    TextColumns,
    label_column_option,
    label_map_option,
    sources_option,
    split_column_option,
)
from pipeline.config.score import DEFAULT_BATCH_SIZE
from pipeline.config.shared import DEVICES, MOST_WORKERS, PRECISIONS, ModelName, Tokens, VocabularyFile
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.options.check import validate
from pipeline.options.option import DATA, HARDWARE, Option
from pipeline.readers.base import Dialect, Reading
from pipeline.readers.labels import LabelMap

if TYPE_CHECKING:
    from pipeline.readers.roles import Columns

TABLE_OPTIONS = ("tokens", "vocabulary", "table_version")
SOURCE_OPTIONS = ("label_column", "label_map", "split_column", "format", "delimiter", "quote", "encoding")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(BoundsConfig):
    """Options of `pipeline evaluate`. Without `sources`, reviews of the lake's table or of plain shards are evaluated.

    Raises:
        UsageError: a value, or a combination of values, that is not allowed.
    """

    lake: Lake
    sources: Annotated[
        tuple[str, ...], sources_option("Labelled files and folders, as ingest reads them.", "the lake's table")
    ] = ()
    model: ModelName = "LATEST"
    split: Annotated[
        str | None,
        Option(
            help="test, valid or train.",
            default="of the table test, else valid; of sources every labelled review",
            choices=("test", "valid", "train"),
        ),
    ] = None
    text_column: TextColumns = ("text",)
    label_column: Annotated[str | None, label_column_option(DEFAULT_LABEL_COLUMN)] = None
    label_map: Annotated[LabelMap | None, label_map_option("labels as they are")] = None
    split_column: Annotated[str | None, split_column_option()] = None
    tokens: Tokens = None
    vocabulary: VocabularyFile = None
    table_version: Annotated[
        int | None,
        Option(panel=DATA, help="Version of the table.", default="the one the model was trained on", minimum=0),
    ] = None
    format: FormatName = None
    delimiter: Delimiter = None
    quote: Quote = None
    encoding: Encoding = None
    max_bad: MaxBad = DEFAULT_MAX_BAD
    batch_size: Annotated[
        int,
        Option(panel=HARDWARE, help="Size of a batch, in reviews of 200 tokens; shorter ones share more.", minimum=1),
    ] = DEFAULT_BATCH_SIZE
    device: Annotated[str, Option(panel=HARDWARE, help="auto, cpu or cuda.", choices=DEVICES)] = "auto"
    precision: Annotated[str, Option(panel=HARDWARE, help="auto, fp32 or bf16; auto is fp32.", choices=PRECISIONS)] = "auto"
    workers: Annotated[
        int, Option(panel=HARDWARE, help="Threads that read and tokenize; 0 for none.", minimum=0, maximum=MOST_WORKERS)
    ] = 2

    def __post_init__(self) -> None:
        validate(self)
        if not all(self.sources):
            raise UsageError("SOURCE: a name is empty. Give files and folders, or none for the lake's table.")
        wrong, why = (TABLE_OPTIONS, "sources are no table") if self.sources else (SOURCE_OPTIONS, "it reads sources only")
        for name in wrong:
            if getattr(self, name) is not None:
                raise UsageError(
                    f"--{name.replace('_', '-')}: {why}. " + ("Leave it out." if self.sources else "Name files or folders.")
                )
        if self.tokens is not None and self.table_version is not None:
            raise UsageError("--tokens and --table-version: plain shards have no versions. Give one of the two.")
        _ = self.reading

    @property
    def columns(self) -> "Columns":
        """The columns of tables."""
        from pipeline.readers.roles import Columns

        return Columns(
            text=self.text_column,
            label=self.label_column or DEFAULT_LABEL_COLUMN,
            id=None,
            group=None,
            split=self.split_column,
            optional_label=False,
        )

    @property
    def reading(self) -> Reading:
        """How tables of text are written."""
        return Reading(dialect=Dialect.checked(self.delimiter, self.quote, self.encoding), bounds=self.bounds)
