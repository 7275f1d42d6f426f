"""The options of `pipeline evaluate`."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.config.shared import Device, ModelName, Precision, Tokens, VocabularyFile
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.options.check import validate
from pipeline.options.option import DATA, HARDWARE, Option


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Options of `pipeline evaluate`. `table_version` None: the one that the model was trained on.

    Raises:
        UsageError: a value, or a combination of values, that is not allowed.
    """

    lake: Lake
    model: ModelName = "LATEST"
    split: Annotated[str, Option(help="test, valid or train.", choices=("test", "valid", "train"))] = "test"
    tokens: Tokens = None
    vocabulary: VocabularyFile = None
    table_version: Annotated[
        int | None,
        Option(panel=DATA, help="Version of the table.", default="the one the model was trained on", minimum=0),
    ] = None
    batch_size: Annotated[int, Option(panel=HARDWARE, help="Reviews in a batch.", minimum=1)] = 128
    device: Device = "auto"
    precision: Precision = "auto"
    workers: Annotated[int, Option(panel=HARDWARE, help="Threads that read and decode; 0 for none.", minimum=0)] = 2

    def __post_init__(self) -> None:
        validate(self)
        if self.tokens is not None and self.table_version is not None:
            raise UsageError("--tokens and --table-version: plain shards have no versions. Give one of the two.")
