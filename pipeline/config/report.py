"""The options of `pipeline report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.config.shared import ModelName
from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import Option


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Which model to report on, and where. `output` None is report.html in the bundle.

    Raises:
        UsageError: a combination of values that is not allowed.
    """

    lake: Path
    model: ModelName = "LATEST"
    output: Annotated[Path | None, Option(metavar="FILE", help="The page.", default="report.html in the bundle")] = None
    predictions: Annotated[
        Path | None,
        Option(metavar="FILE", help="A scored file to take the examples from.", default="the bundle's own"),
    ] = None
    text_column: Annotated[str, Option(help="That file's column with the text.")] = "text"
    label_column: Annotated[str | None, Option(help="That file's column with the true label.")] = None

    def __post_init__(self) -> None:
        validate(self)
        if self.label_column is not None and self.predictions is None:
            raise UsageError("--label-column needs --predictions: it names a column of that file.")
