"""The options of `pipeline report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.config.reading import names
from pipeline.config.shared import ModelName
from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import Option
from pipeline.readers.labels import LabelMap


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Which model to report on, or which to compare. `output` None means report.html in the bundle, or comparison.html
    in the lake's models/.

    Raises:
        UsageError: a combination of values that is not allowed.
    """

    lake: Path
    models: Annotated[
        tuple[str, ...],
        Option(name="models", metavar="MODEL", help="Models to compare, with --compare.", positional=True, names_model=True),
    ] = ()
    compare: Annotated[bool, Option(help="Compare two or more models; the first is tested against each of the others.")] = (
        False
    )
    model: ModelName = "LATEST"
    output: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Output file (HTML).",
            default="report.html in the bundle; models/comparison.html with --compare",
        ),
    ] = None
    predictions: Annotated[
        Path | None,
        Option(metavar="FILE", help="Scored file to take examples from.", default="the bundle's own examples"),
    ] = None
    text_column: Annotated[
        tuple[str, ...],
        Option(
            metavar="COLUMN,…",
            help="Text columns of the scored file.",
            default="those of ingest, else text",
            from_text=names,
            separator=",",
            to_text=",".join,
        ),
    ] = ("text",)
    label_column: Annotated[
        str | None,
        Option(help="Label column of the scored file.", default="that of ingest, if the file has it"),
    ] = None
    label_map: Annotated[
        LabelMap | None,
        Option(
            metavar="CLASS=VALUE,…",
            help="Map values of that column to classes: 'neg=1,2 pos=4,5' or 'neg=1..2 pos=4..5'.",
            default="that of ingest, else labels as they are",
            from_text=LabelMap.parse,
            separator=" ",
            from_toml=LabelMap.parse,
        ),
    ] = None

    def __post_init__(self) -> None:
        validate(self)
        if self.output is not None and self.output.suffix.lower() not in (".html", ".htm") and not self.output.is_dir():
            raise UsageError(f"--output {self.output}: the report is a web page. Use a name that ends in .html.")
        if self.label_column is not None and self.predictions is None:
            raise UsageError("--label-column requires --predictions: it is a column of that file.")
        if self.models and not self.compare:
            raise UsageError(
                f"{' '.join(self.models)}: pass one model as --model {self.models[0]}, or several with --compare."
            )
        if self.compare and len(self.models) < 2:
            raise UsageError("--compare requires at least two models, such as: pipeline report --compare LATEST MODEL")
        if self.compare and self.predictions is not None:
            raise UsageError("--compare and --predictions: a comparison shows no examples. Pass only one of them.")
