"""The options of `pipeline score`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.config.shared import DEVICES, MOST_WORKERS, PRECISIONS, ModelName
from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import DATA, HARDWARE, OUTPUT, Option

DEFAULT_BATCH_SIZE = 64


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What to score and how. `output` None: the lake's predictions/, under the input's name.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    source: Annotated[
        Path,
        Option(
            metavar="INPUT.parquet",
            help="A Parquet file, or a folder of them.",
            positional=True,
        ),
    ]
    model: ModelName = "LATEST"
    output: Annotated[Path | None, Option(help="File to write.", default="predictions/INPUT.parquet in the lake")] = None
    text_column: Annotated[str, Option(panel=DATA, help="Column that holds the review.")] = "text"
    keep: Annotated[
        tuple[str, ...],
        Option(
            panel=DATA,
            metavar="COLUMN,…",
            help="Columns of the input to keep: all, none, or names with commas.",
            from_text=_names,
            to_text=",".join,
        ),
    ] = ("all",)
    batch_size: Annotated[
        int,
        Option(panel=HARDWARE, help="Size of a batch, in reviews of 200 tokens; shorter ones share more.", minimum=1),
    ] = DEFAULT_BATCH_SIZE
    workers: Annotated[
        int | None,
        Option(
            panel=HARDWARE,
            help="Threads that read and tokenize.",
            default="half the cores, 4 at most",
            minimum=1,
            maximum=MOST_WORKERS,
        ),
    ] = None
    device: Annotated[str, Option(panel=HARDWARE, help="auto, cpu or cuda.", choices=DEVICES)] = "auto"
    precision: Annotated[str, Option(panel=HARDWARE, help="auto, fp32 or bf16; auto is fp32.", choices=PRECISIONS)] = "auto"
    explain: Annotated[
        bool, Option(panel=OUTPUT, help="Add the tokens that weigh most for the prediction; many times slower.")
    ] = False
    force: Annotated[bool, Option(panel=OUTPUT, help="Score again, and overwrite whatever file is there.")] = False

    def __post_init__(self) -> None:
        validate(self)
        if not self.keep or ({"all", "none"} & set(self.keep) and len(self.keep) > 1):
            raise UsageError(f"--keep {','.join(self.keep)}: give all, none, or names of columns.")
