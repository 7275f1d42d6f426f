"""The options of `pipeline evaluate`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pipeline.config.bounds import BoundsConfig
from pipeline.config.ingest import DEFAULT_LABEL_COLUMN
from pipeline.config.reading import (
    DEFAULT_MAX_BAD,
    Delimiter,
    Encoding,
    Escape,
    FormatName,
    MaxBad,
    Quote,
    TextColumns,
    check_labels,
    label_column_option,
    label_map_option,
    skip_labels_option,
    sources_option,
    split_column_option,
    target_column_option,
)
from pipeline.config.score import DEFAULT_BATCH_SIZE
from pipeline.config.shared import DEVICES, MOST_WORKERS, PRECISIONS, ModelName, Tokens, VocabularyFile
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.options.check import validate
from pipeline.options.option import DATA, HARDWARE, Option
from pipeline.readers.base import Dialect, Reading
from pipeline.readers.labels import LabelMap, SkippedLabels

if TYPE_CHECKING:
    from pipeline.readers.roles import Columns

TABLE_OPTIONS = ("tokens", "vocabulary", "table_version")
DIALECT_OPTIONS = ("format", "delimiter", "quote", "escape", "encoding")
LABEL_OPTIONS, NUMBER_OPTIONS = ("label_column", "label_map", "skip_labels"), ("target_column",)
SOURCE_OPTIONS = (*LABEL_OPTIONS, *NUMBER_OPTIONS, "split_column", *DIALECT_OPTIONS)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(BoundsConfig):
    """Options of `pipeline evaluate`. Without `sources`, evaluates reviews from the lake's table or from plain shards.

    Raises:
        UsageError: a value, or a combination of values, that is not allowed.
    """

    lake: Lake
    sources: Annotated[tuple[str, ...], sources_option("Labelled files, folders and globs.", "the lake's table")] = ()
    model: ModelName = "LATEST"
    split: Annotated[
        str | None,
        Option(
            help="Split to evaluate: test, valid or train.",
            default="test, else valid, of the table; all labelled reviews of SOURCE",
            choices=("test", "valid", "train"),
        ),
    ] = None
    text_column: TextColumns = ("text",)
    label_column: Annotated[str | None, label_column_option(DEFAULT_LABEL_COLUMN)] = None
    label_map: Annotated[LabelMap | None, label_map_option("labels as they are")] = None
    skip_labels: Annotated[SkippedLabels | None, skip_labels_option("none")] = None
    target_column: Annotated[str | None, target_column_option("the model's")] = None
    split_column: Annotated[str | None, split_column_option()] = None
    tokens: Tokens = None
    vocabulary: VocabularyFile = None
    table_version: Annotated[
        int | None,
        Option(panel=DATA, help="Table version to evaluate on.", default="the version the model was trained on", minimum=0),
    ] = None
    format: FormatName = None
    delimiter: Delimiter = None
    quote: Quote = None
    escape: Escape = None
    encoding: Encoding = None
    max_bad: MaxBad = DEFAULT_MAX_BAD
    batch_size: Annotated[
        int,
        Option(
            panel=HARDWARE, help="Batch size, in reviews of 200 tokens; batches of shorter reviews contain more.", minimum=1
        ),
    ] = DEFAULT_BATCH_SIZE
    device: Annotated[str, Option(panel=HARDWARE, help="Device: auto, cpu or cuda.", choices=DEVICES)] = "auto"
    precision: Annotated[
        str, Option(panel=HARDWARE, help="Precision: auto, fp32 or bf16; auto means fp32.", choices=PRECISIONS)
    ] = "auto"
    workers: Annotated[
        int,
        Option(
            panel=HARDWARE, help="Number of threads that read and tokenize; 0 to use none.", minimum=0, maximum=MOST_WORKERS
        ),
    ] = 2

    inherited: tuple[str, ...] = ()
    """Options above that come from the lake's [ingest] settings: they may concern another task than the model's."""

    def __post_init__(self) -> None:
        validate(self)
        if not all(self.sources):
            raise UsageError("SOURCE: empty name. Pass files or folders, or omit SOURCE to use the lake's table.")
        wrong, why = (
            (TABLE_OPTIONS, "applies to the lake's table, not to SOURCE")
            if self.sources
            else (SOURCE_OPTIONS, "applies to SOURCE only")
        )
        for name in wrong:
            if getattr(self, name) is not None:
                raise UsageError(
                    f"--{name.replace('_', '-')}: {why}. " + ("Remove it." if self.sources else "Pass files or folders.")
                )
        if self.tokens is not None and self.table_version is not None:
            raise UsageError("--tokens and --table-version: plain shards have no versions. Pass only one of them.")
        check_labels(self.label_map, self.skip_labels)
        _ = self.reading

    def check_task(self, model_id: str, task: Mapping[str, Any]) -> None:
        """Raises `UsageError` if an option was given that the model's task has no use for; `task`: see `columns`."""
        foreign, predicts = (LABEL_OPTIONS, "numbers, not labels") if task else (NUMBER_OPTIONS, "labels, not numbers")
        given = [name for name in foreign if getattr(self, name) is not None and name not in self.inherited]
        if given:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UsageError(f"{options}: {model_id} predicts {predicts}. Remove the option, or choose another --model.")

    def numbers_of(self, task: Mapping[str, Any]) -> str:
        """The column of numbers in SOURCE, given what a bundle says of its task."""
        return self.target_column or str(task["column"])

    def columns(self, task: Mapping[str, Any]) -> "Columns":
        """The columns of tables; `task`: what the model's bundle says of it, empty for classification."""
        from pipeline.readers.roles import Columns

        if task:
            return Columns(text=self.text_column, target=self.numbers_of(task), split=self.split_column)
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
        """The dialect of text tables, and the limits."""
        return Reading(dialect=Dialect.checked(self.delimiter, self.quote, self.encoding, self.escape), bounds=self.bounds)
