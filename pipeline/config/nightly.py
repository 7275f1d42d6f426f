"""The options of `pipeline nightly`."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pipeline.config.retrain import Retrain
from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import OUTPUT, Option

KEEP, REBUILD = "keep", "rebuild"


@dataclass(frozen=True, kw_only=True)
class NightlyConfig:
    """What a night does beside what its steps read from `pipeline.toml` themselves.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    input: Annotated[
        tuple[str, ...],
        Option(
            metavar="PATH|GLOB",
            help="What to score; can be repeated. If there is no such file, nothing is scored.",
            default="input in [score] of pipeline.toml, else incoming/ in the lake",
            paths=True,
        ),
    ] = ()
    retrain: Annotated[
        Retrain,
        Option(
            metavar="WHEN",
            help="When to train: always (whenever there is anything new), never, or once one of rows:N, share:P%, days:N, "
            "drift holds, such as rows:1000,days:7.",
            from_text=Retrain.parse,
            from_toml=Retrain.parse,
        ),
    ] = field(default_factory=Retrain)
    train_options: Annotated[
        str,
        Option(
            metavar="OPTIONS",
            help="More options of train, in one argument; better put them into [train] of pipeline.toml.",
            default="none",
        ),
    ] = ""
    vocabulary: Annotated[
        str,
        Option(
            help="What to do past --unknown-limit: keep the vocabulary, or rebuild it by reading all reviews again.",
            choices=(KEEP, REBUILD),
        ),
    ] = KEEP
    unknown_limit: Annotated[
        float, Option(metavar="SHARE", help="Share of the table's tokens that the vocabulary may lack.", above=0, maximum=1)
    ] = 0.05
    compact: Annotated[
        int, Option(metavar="N", help="Also run compact once N small shards can be merged; 0 never does.", minimum=0)
    ] = 0
    vacuum: Annotated[bool, Option(help="Also run vacuum, with its options in [vacuum] of pipeline.toml.")] = False
    on_attention: Annotated[
        str | None,
        Option(
            panel=OUTPUT,
            metavar="COMMAND",
            help="Shell command to run when a person must know something, with the receipt on its stdin; up to a minute.",
            default="none",
        ),
    ] = None
    metrics_file: Annotated[
        Path | None,
        Option(
            panel=OUTPUT,
            metavar="FILE",
            help="Write figures for Prometheus to this file, for node_exporter's textfile collector; .prom is its suffix.",
            default="none",
        ),
    ] = None
    keep_logs: Annotated[int, Option(panel=OUTPUT, help="Number of nights whose logs are kept in logs/.", minimum=1)] = 30

    def __post_init__(self) -> None:
        validate(self)
        if not all(self.input):
            raise UsageError("--input: empty name. Pass files, folders or globs.")
        if "-" in self.input:
            raise UsageError("--input -: a scheduled run has no stdin. Pass files, folders or globs.")
        if self.compact == 1:
            raise UsageError(
                "--compact 1: one shard cannot be merged. Pass 2 or more, or 0 to leave the shards as they are."
            )
        _ = self.train_words

    @property
    def train_words(self) -> list[str]:
        """The words of `train_options`.

        Raises:
            UsageError: a quotation mark is not closed.
        """
        try:
            return shlex.split(self.train_options)
        except ValueError as error:
            raise UsageError(f"--train-options {self.train_options!r}: {error}. Quote it as in a shell.") from error
