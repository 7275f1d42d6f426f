"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

from pipeline.options.option import DATA, HARDWARE, Option

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")

MOST_WORKERS = 1024

Tokens = Annotated[
    Path | None,
    Option(
        panel=DATA,
        metavar="PATH",
        help="Plain Parquet token shards instead of the lake's table.",
        default="none",
        identity=False,
    ),
]
VocabularyFile = Annotated[
    Path | None,
    Option(panel=DATA, metavar="FILE", help="The vocabulary of --tokens.", default="by its fingerprint", identity=False),
]
Device = Annotated[
    str,
    Option(panel=HARDWARE, help="cpu, cuda, or auto: CUDA where there is one.", choices=DEVICES, identity=False),
]
Precision = Annotated[
    str, Option(panel=HARDWARE, help="fp32, bf16, or auto: bf16 on GPUs that have it.", choices=PRECISIONS)
]
ModelName = Annotated[
    str,
    Option(metavar="MODEL", help="LATEST, the id of a model in the lake, or the path of a bundle.", names_model=True),
]
