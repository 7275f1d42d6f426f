"""Options that `train` and `evaluate` share."""

from pathlib import Path
from typing import Annotated

import typer

TokensOption = Annotated[
    Path | None,
    typer.Option(
        "--tokens",
        metavar="PATH",
        show_default=False,
        help="Plain Parquet token shards instead of the lake's table.  [default: none]",
    ),
]
VocabularyOption = Annotated[
    Path | None,
    typer.Option(
        "--vocabulary", metavar="FILE", show_default=False, help="The vocabulary of --tokens.  [default: by its fingerprint]"
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: CUDA where there is one.")]
PrecisionOption = Annotated[str, typer.Option("--precision", help="fp32, bf16, or auto: bf16 on GPUs that have it.")]
