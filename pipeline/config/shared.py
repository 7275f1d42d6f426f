"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

from pipeline.options.option import DATA, HARDWARE, Option

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")

MOST_WORKERS = 1024
LOCAL, RAY = ENGINES = ("local", "ray")

Tokens = Annotated[
    Path | None,
    Option(
        panel=DATA,
        metavar="PATH",
        help="Use plain Parquet token shards instead of the lake's table.",
        default="none",
        identity=False,
    ),
]
VocabularyFile = Annotated[
    Path | None,
    Option(
        panel=DATA, metavar="FILE", help="Vocabulary of the --tokens shards.", default="found by fingerprint", identity=False
    ),
]
Device = Annotated[
    str,
    Option(panel=HARDWARE, help="Device: cpu, cuda, or auto (CUDA if available).", choices=DEVICES, identity=False),
]
Precision = Annotated[
    str,
    Option(
        panel=HARDWARE,
        help="Precision: auto, fp32 or bf16; auto means fp32. On a GPU, bf16 is faster for large models only.",
        choices=PRECISIONS,
    ),
]
EngineName = Annotated[
    str,
    Option(
        panel=HARDWARE,
        help="Where rows are processed: local (threads of this process) or ray (tasks of the Ray cluster at $RAY_ADDRESS, "
        "else of one started for the run).",
        choices=ENGINES,
    ),
]
DEFAULT_UNKNOWN_WARN = 0.05
"""Reviews of other films have 2 % unknown tokens by a vocabulary of 30,000, those of other topics more: docs/drift.md."""
FEWEST_TOKENS = 1000
"""Of fewer tokens the share of unknown ones is not judged: a few odd reviews would decide it."""
UnknownWarn = Annotated[
    float,
    Option(
        panel=DATA,
        metavar="SHARE",
        help="Warn if more than this share of the tokens is unknown to the vocabulary; 1 for never.",
        minimum=0,
        maximum=1,
        example="0.05",
    ),
]
ModelName = Annotated[
    str,
    Option(
        metavar="MODEL",
        help="LATEST or LIVE for the live model, the ID of a model in the lake, or the path to a bundle.",
        names_model=True,
    ),
]
