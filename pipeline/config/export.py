"""The options of `pipeline export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import Option

FORMATS = ("onnx",)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Which model to export, and where. `output` None means model.onnx in the bundle.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    model: Annotated[
        str,
        Option(
            metavar="MODEL",
            help="LATEST or LIVE for the live model, the ID of a model in the lake, or the path to a bundle.",
            positional=True,
            names_model=True,
        ),
    ] = "LATEST"
    format: Annotated[str, Option(help="Export format.", choices=FORMATS)] = "onnx"
    output: Annotated[Path | None, Option(metavar="FILE", help="Output file.", default="model.onnx in the bundle")] = None

    def __post_init__(self) -> None:
        validate(self)
        if self.output is not None and self.output.suffix.lower() != ".onnx" and not self.output.is_dir():
            raise UsageError(f"--output {self.output}: expected a name that ends in .onnx.")
