"""The options of `pipeline train`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pipeline.config.interval import Interval
from pipeline.config.shared import MOST_WORKERS, Device, Precision, Tokens, VocabularyFile
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.models.configs.base import MAX_LENGTH
from pipeline.models.registry import REMEDY, architectures, check_model_options, model_options
from pipeline.options import render
from pipeline.options.check import validate
from pipeline.options.option import (
    CHECKPOINTS,
    DATA,
    HARDWARE,
    MODEL,
    OPTIMISATION,
    OUTPUT,
    REGULARISATION,
    Option,
)
from pipeline.order.options import DEFAULT_LANES, MAX_SEED, WINDOW_ROWS, OrderOptions

CLASS_WEIGHTS = ("none", "balanced")


def _is_interval(text: str) -> bool:
    try:
        Interval.parse(text)
    except UsageError:
        return False
    return True


SCHEDULES = ("constant", "cosine", "linear")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of `pipeline train`. `batch_size` is global, in reviews; `max_length` in tokens; `model` holds the options
    of the architecture that differ from its defaults.

    Raises:
        UsageError: a value, or a combination of values, that is not allowed.
    """

    lake: Lake
    arch: Annotated[
        str,
        Option(
            help="The architecture; 'pipeline models --archs' lists them.",
            choices=architectures,
            remedy=REMEDY,
        ),
    ] = "bilstm"
    tokens: Tokens = None
    vocabulary: VocabularyFile = None
    table_version: Annotated[
        int | None, Option(panel=DATA, help="Version of the table.", default="the newest", minimum=0, identity=False)
    ] = None
    model: Annotated[
        dict[str, Any],
        Option(
            panel=MODEL,
            name="set",
            metavar="NAME=VALUE",
            help="Any further option of the architecture; may be repeated.",
            default="none",
            group=model_options,
        ),
    ] = field(default_factory=dict)
    embeddings: Annotated[
        Path | None,
        Option(
            panel=MODEL,
            metavar="FILE",
            help="Word vectors to start from: GloVe's text, or .parquet (token, vector); they set the width.",
            default="none",
            identity=False,
        ),
    ] = None
    epochs: Annotated[int, Option(help="Passes over the training part.", minimum=1)] = 3
    batch_size: Annotated[int, Option(help="Reviews in a step, over all workers.", minimum=1)] = 64
    lr: Annotated[float, Option(help="Learning rate of Adam.", above=0)] = 1e-3
    schedule: Annotated[
        str,
        Option(panel=OPTIMISATION, help="constant, linear or cosine, down to 0 at the end.", choices=SCHEDULES),
    ] = "constant"
    warmup: Annotated[int, Option(panel=OPTIMISATION, help="Steps over which the learning rate rises.", minimum=0)] = 0
    clip_norm: Annotated[float, Option(panel=OPTIMISATION, help="Largest norm of the gradient; 0 for any.", minimum=0)] = 1.0
    average: Annotated[
        float,
        Option(
            panel=REGULARISATION,
            help="Decay of the averaged weights, such as 0.99; 0 for none.",
            minimum=0,
            below=1,
            example="0.999",
        ),
    ] = 0.998
    patience: Annotated[
        int,
        Option(panel=REGULARISATION, help="Stop after this many epochs without a better one; 0 for never.", minimum=0),
    ] = 0
    class_weights: Annotated[
        str, Option(panel=OPTIMISATION, help="none, or balanced: rare classes weigh more.", choices=CLASS_WEIGHTS)
    ] = "none"
    embedding_update: Annotated[
        str,
        Option(
            panel=OPTIMISATION,
            help="dense, sparse (rows of the batch only), or auto: what is faster.",
            choices=("auto", "dense", "sparse"),
        ),
    ] = "auto"
    max_length: Annotated[int, Option(help="Tokens of a review that are read.", minimum=1, maximum=MAX_LENGTH)] = 400
    valid_fraction: Annotated[
        float,
        Option(
            panel=DATA,
            help="Share held out where there is no split 'valid'; whole groups.",
            above=0,
            below=1,
            example="0.1",
        ),
    ] = 0.1
    seed: Annotated[int, Option(help="Of weights, order and dropout.", minimum=0, maximum=MAX_SEED)] = 0
    lanes: Annotated[
        int,
        Option(panel=DATA, help="Lanes that a batch is dealt from; there can be no more workers than lanes.", minimum=1),
    ] = DEFAULT_LANES
    window_rows: Annotated[
        int, Option(panel=DATA, help="Reviews that are shuffled together, over all workers.", minimum=1)
    ] = WINDOW_ROWS
    device: Device = "auto"
    precision: Precision = "auto"
    workers: Annotated[
        int,
        Option(
            panel=HARDWARE,
            help="Threads that read and decode, in each process; 0 for none.",
            minimum=0,
            maximum=MOST_WORKERS,
            identity=False,
        ),
    ] = 2
    nproc: Annotated[
        str,
        Option(
            panel=HARDWARE,
            metavar="N|gpu",
            help="Processes that train together; gpu: one for each GPU.",
            accepts=lambda value: value == "gpu" or (value.isdecimal() and int(value) > 0),
            expected="a number of processes, or 'gpu' for one on each GPU",
            identity=False,
            launched=False,
        ),
    ] = "1"
    max_restarts: Annotated[
        int,
        Option(
            panel=HARDWARE,
            help="Restarts when one of several processes dies.",
            minimum=0,
            identity=False,
            launched=False,
        ),
    ] = 3
    checkpoint_every: Annotated[
        str,
        Option(
            panel=CHECKPOINTS,
            metavar="INTERVAL",
            help="Steps (200) or time (60s, 5m); 0 for the ends of epochs only.",
            accepts=_is_interval,
            expected="steps such as 200, or a time such as 60s, 5m, 1h; 0 for never",
            identity=False,
        ),
    ] = "60s"
    keep_checkpoints: Annotated[
        int, Option(panel=CHECKPOINTS, help="Newest checkpoints that are kept.", minimum=1, identity=False)
    ] = 3
    resume: Annotated[
        bool,
        Option(help="Continue the newest unfinished training of the same options, if any.", identity=False),
    ] = False
    force: Annotated[bool, Option(help="Train even if the same model exists already.", identity=False)] = False
    tensorboard: Annotated[
        bool, Option(panel=OUTPUT, help="Write TensorBoard events to runs/tensorboard/.", identity=False)
    ] = False

    def __post_init__(self) -> None:
        validate(self)
        check_model_options(self.arch, self.model)
        if self.tokens is not None and self.table_version is not None:
            raise UsageError("--tokens and --table-version: plain shards have no versions. Give one of the two.")

    @property
    def order(self) -> OrderOptions:
        """The options that decide the order of training."""
        return OrderOptions(batch_size=self.batch_size, seed=self.seed, lanes=self.lanes, window_rows=self.window_rows)

    @property
    def interval(self) -> Interval:
        """How often checkpoints are written."""
        return Interval.parse(self.checkpoint_every)

    def identity(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that decides what is trained: the options that matter, the content of `embeddings`, and the data.

        Raises:
            InputNotFoundError: `embeddings` does not exist.
        """
        options = render.identity(self)
        if self.embeddings is not None:
            from pipeline.models.layers.embeddings import fingerprint

            options["embeddings"] = fingerprint(self.embeddings)
        return {**options, **data}
