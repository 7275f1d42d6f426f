"""The options of `pipeline score`."""

import os
from collections.abc import Iterable
from contextlib import suppress
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
    names,
)
from pipeline.config.shared import (
    DEFAULT_UNKNOWN_WARN,
    DEVICES,
    LOCAL,
    MOST_WORKERS,
    PRECISIONS,
    EngineName,
    ModelName,
    UnknownWarn,
)
from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import DATA, HARDWARE, OUTPUT, Option
from pipeline.readers.base import Dialect, Reading
from pipeline.readers.limits import Limit

if TYPE_CHECKING:
    from pipeline.config.output_format import OutputFormat

DEFAULT_BATCH_SIZE = 64
DEFAULT_DRIFT_WARN, DEFAULT_DRIFT_P_VALUE = 0.1, 0.0001
"""Chosen so that reviews of other films are no drift: tests/benchmarks/drift.py."""
STDIN = STDOUT = "-"
LATEST = "LATEST"
LIVE = (LATEST, "LIVE")
"""Names of whichever model is live."""
NEW, ALL = RESCORE = ("new", "all")


def _output_formats() -> Iterable[str]:
    from pipeline.config.output_format import OUTPUT_FORMATS

    return OUTPUT_FORMATS


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(BoundsConfig):
    """What to score and how. `output` None: the lake's predictions/, under the inputs' names; stdout for stdin.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    sources: Annotated[
        tuple[str, ...],
        Option(
            name="input",
            metavar="INPUT",
            help="Files, folders, globs, and URIs of the same in a bucket; - for stdin, one review per line.",
            positional=True,
            paths=True,
        ),
    ] = ()
    text: Annotated[
        tuple[str, ...],
        Option(metavar="REVIEW", help="Score this text and print the result; can be repeated. Writes no file."),
    ] = ()
    model: ModelName = LATEST
    output: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="One output file for all inputs: .parquet, .csv or .jsonl (the latter two also .gz, .zst, .bz2); - for "
            "stdout; may be a URI. A folder, or DIR/: one output per input.",
            default="one output per input, in predictions/ of the lake",
        ),
    ] = None
    rescore: Annotated[
        str | None,
        Option(
            metavar="WHICH",
            help="When the model has changed: score new and changed inputs only (new), or all inputs again (all).",
            default="new for folders and globs scored with the live model; otherwise all",
            choices=RESCORE,
        ),
    ] = None
    text_column: TextColumns = ("text",)
    keep: Annotated[
        tuple[str, ...],
        Option(
            panel=DATA,
            metavar="COLUMN,…",
            help="Input columns to keep: all, none, or a comma-separated list.",
            from_text=names,
            separator=",",
            to_text=",".join,
        ),
    ] = ("all",)
    abstain_below: Annotated[
        float | None,
        Option(
            panel=DATA,
            metavar="P",
            help="Make no prediction for rows whose top probability is below P.",
            minimum=0,
            maximum=1,
            example="0.8",
        ),
    ] = None
    format: FormatName = None
    delimiter: Delimiter = None
    quote: Quote = None
    escape: Escape = None
    encoding: Encoding = None
    settle: Settle = 0.0
    max_bad: MaxBad = DEFAULT_MAX_BAD
    max_bad_files: MaxBadFiles = None
    strict: Strict = False
    unknown_warn: UnknownWarn = DEFAULT_UNKNOWN_WARN
    drift_warn: Annotated[
        float,
        Option(
            panel=DATA,
            metavar="PSI",
            help="Warn if the reviews differ from the model's test data by more than this population stability index.",
            above=0,
            example="0.1",
        ),
    ] = DEFAULT_DRIFT_WARN
    drift_p_value: Annotated[
        float,
        Option(
            panel=DATA,
            metavar="P",
            help="Warn only of differences with a p-value below this.",
            above=0,
            maximum=1,
            example="0.0001",
        ),
    ] = DEFAULT_DRIFT_P_VALUE
    fail_on_drift: Annotated[
        bool,
        Option(panel=DATA, help="Exit with 65 after writing the predictions if the reviews differ that much."),
    ] = False
    batch_size: Annotated[
        int,
        Option(
            panel=HARDWARE, help="Batch size, in reviews of 200 tokens; batches of shorter reviews contain more.", minimum=1
        ),
    ] = DEFAULT_BATCH_SIZE
    workers: Annotated[
        int | None,
        Option(
            panel=HARDWARE,
            help="Number of threads that read and tokenize, or of Ray tasks at a time.",
            default="half the cores, up to 4; with Ray, one per core",
            minimum=1,
            maximum=MOST_WORKERS,
        ),
    ] = None
    engine: EngineName = LOCAL
    device: Annotated[str, Option(panel=HARDWARE, help="Device: auto, cpu or cuda.", choices=DEVICES)] = "auto"
    precision: Annotated[
        str, Option(panel=HARDWARE, help="Precision: auto, fp32 or bf16; auto means fp32.", choices=PRECISIONS)
    ] = "auto"
    output_format: Annotated[
        str | None,
        Option(
            panel=OUTPUT,
            metavar="FORMAT",
            help="Output format: parquet, csv or jsonl.",
            default="by suffix; jsonl for stdout",
            choices=_output_formats,
        ),
    ] = None
    explain: Annotated[
        bool, Option(panel=OUTPUT, help="Add the tokens that contribute most to each prediction; many times slower.")
    ] = False
    force: Annotated[bool, Option(panel=OUTPUT, help="Score again and overwrite any existing file.")] = False

    def __post_init__(self) -> None:
        validate(self)
        if not self.text_column:
            raise UsageError("--text-column: no name. Pass one column, or several separated by commas: summary,text.")
        if not self.keep or ({"all", "none"} & set(self.keep) and len(self.keep) > 1):
            raise UsageError(f"--keep {','.join(self.keep)}: expected all, none, or column names.")
        if self.text and (self.sources or self.output):
            raise UsageError("--text cannot be combined with INPUT or --output. Pass one or the other.")
        if not all(self.sources):
            raise UsageError("INPUT: empty name. Pass files or folders, or - for stdin.")
        if not self.sources and not self.text:
            raise UsageError("nothing to score. Pass files, folders or globs, - for stdin, or a review with --text.")
        if self.sources.count(STDIN) > 1:
            raise UsageError("INPUT - -: stdin can only be read once. Pass - once.")
        if STDIN in self.sources and (self.to_folder or (self.output is None and len(self.sources) > 1)):
            raise UsageError("stdin has no name, and neither has its output. Name the output with --output FILE.")
        _ = self.reading, self.written_as

    @property
    def reading(self) -> Reading:
        """The dialect of text tables, and the limits."""
        return Reading(dialect=Dialect.checked(self.delimiter, self.quote, self.encoding, self.escape), bounds=self.bounds)

    @property
    def row_limit(self) -> Limit:
        """How many malformed rows a run accepts."""
        return Limit(number=0) if self.strict else self.max_bad

    @property
    def file_limit(self) -> Limit | None:
        """How many unreadable files may be skipped; None: any number, but not all of them."""
        return Limit(number=0) if self.strict else self.max_bad_files

    @property
    def place(self) -> str | None:
        """Where to write: a path, `-` for stdout, or None for the lake's own folder."""
        return STDOUT if self.output is None and self.sources == (STDIN,) else self.output

    @property
    def to_folder(self) -> bool:
        """Whether `output` is a folder for one output per input: it ends with a slash, or exists."""
        if self.output is None or self.to_stdout:
            return False
        with suppress(OSError):  # writing reports what is wrong with the name
            return self.output.endswith(("/", os.sep)) or Path(self.output).expanduser().is_dir()
        return False

    @property
    def to_stdout(self) -> bool:
        """Whether stdout is reserved for data."""
        return self.place == STDOUT

    @property
    def written_as(self) -> "OutputFormat":
        """The format of the output."""
        from pipeline.config.output_format import output_format

        return output_format(None if self.to_folder else self.place, self.output_format)
