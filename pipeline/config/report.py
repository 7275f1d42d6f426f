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
    """Which model to report on, or which to compare. `output` None is report.html in the bundle, or comparison.html in the
    lake's models/.

    Raises:
        UsageError: a combination of values that is not allowed.
    """

    lake: Path
    models: Annotated[
        tuple[str, ...],
        Option(name="models", metavar="[MODEL]...", help="The models to --compare.", positional=True, names_model=True),
    ] = ()
    compare: Annotated[bool, Option(help="Compare two models or more; the first is tested against each of the others.")] = (
        False
    )
    model: ModelName = "LATEST"
    output: Annotated[
        Path | None,
        Option(metavar="FILE", help="The page.", default="report.html in the bundle; models/comparison.html with --compare"),
    ] = None
    predictions: Annotated[
        Path | None,
        Option(metavar="FILE", help="A scored file to take the examples from.", default="the bundle's own"),
    ] = None
    text_column: Annotated[
        tuple[str, ...],
        Option(
            metavar="COLUMN,…",
            help="That file's columns with the text.",
            default="as ingest reads them, else text",
            from_text=names,
            to_text=",".join,
        ),
    ] = ("text",)
    label_column: Annotated[
        str | None,
        Option(help="That file's column with the true label.", default="that of ingest, where the file has it"),
    ] = None
    label_map: Annotated[
        LabelMap | None,
        Option(
            metavar="CLASS=VALUE,…",
            help="Classes by value of that column: 'neg=1,2 pos=4,5' or 'neg=1..2 pos=4..5'.",
            default="that of ingest, else labels as they are",
            from_text=LabelMap.parse,
            from_toml=LabelMap.parse,
        ),
    ] = None

    def __post_init__(self) -> None:
        validate(self)
        if self.label_column is not None and self.predictions is None:
            raise UsageError("--label-column needs --predictions: it names a column of that file.")
        if self.models and not self.compare:
            raise UsageError(
                f"{' '.join(self.models)}: name one model with --model {self.models[0]}, or several with --compare."
            )
        if self.compare and len(self.models) < 2:
            raise UsageError("--compare needs two models or more, such as: pipeline report --compare LATEST MODEL")
        if self.compare and self.predictions is not None:
            raise UsageError("--compare and --predictions: a comparison shows no examples. Give one of the two.")
