"""The options of `pipeline train`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pipeline.config.interval import Interval
from pipeline.config.linear import LinearConfig
from pipeline.config.shared import MOST_WORKERS, Device, Precision, Tokens, VocabularyFile
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.models.registry import REMEDY, architectures, check_model_options, config_class, model_options
from pipeline.options import render
from pipeline.options.check import validate
from pipeline.options.option import (
    CHECKPOINTS,
    DATA,
    HARDWARE,
    LINEAR,
    MODEL,
    OPTIMISATION,
    OUTPUT,
    REGULARISATION,
    Option,
    fields_of,
)
from pipeline.order.folds import Fold
from pipeline.order.options import DEFAULT_LANES, MAX_SEED, WINDOW_ROWS, OrderOptions
from schemas.limits import MAX_LENGTH

SCHEDULES = ("constant", "cosine", "linear")
SELECTIONS = ("accuracy", "macro-f1", "loss")
"""Metrics that choose the best epoch; the lower loss decides between equals."""
TRUNCATIONS = ("head", "head-tail")
"""Which tokens of a review longer than `--max-length` are read: the first ones, or half from each end."""
CLASS_WEIGHTS = ("auto", "none", "balanced")
EMBEDDING_INITS = ("text", "random")
UNLABELLED_BY_DEFAULT = 2.0
WIDE_BY_DEFAULT = ("bilstm",)
NOT_OF_LINEAR = (
    *("epochs", "batch_size", "lr", "schedule", "warmup", "clip_norm", "average", "patience", "select"),
    *("embedding_update", "max_length", "truncation", "wide", "embeddings", "word_dropout", "locked_dropout"),
    *("adversarial", "adversarial_warmup", "model", "embedding_init", "unlabelled"),
)
"""Options that say nothing to the linear model of n-grams."""


def _is_interval(text: str) -> bool:
    try:
        Interval.parse(text)
    except UsageError:
        return False
    return True


def _is_fold(text: str) -> bool:
    try:
        Fold.parse(text)
    except UsageError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(LinearConfig):
    """Options of `pipeline train` and `pipeline crossval`. `batch_size` is global, in reviews; `max_length` in tokens;
    `model` holds the options of the architecture that differ from its defaults.

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
    embedding_init: Annotated[
        str,
        Option(
            panel=MODEL,
            help="Word vectors to start from without --embeddings: text, made of the reviews themselves, or random.",
            choices=EMBEDDING_INITS,
        ),
    ] = "text"
    unlabelled: Annotated[
        float | None,
        Option(
            panel=DATA,
            metavar="RATIO",
            help="Reviews without a label to learn from, for each one with a label; the n-gram model labels them.",
            default="2 with --wide, else 0",
            minimum=0,
            maximum=1000,
        ),
    ] = None
    epochs: Annotated[int, Option(help="Passes over the training part.", minimum=1)] = 3
    batch_size: Annotated[int, Option(help="Reviews in a step, over all workers.", minimum=1)] = 64
    lr: Annotated[float, Option(help="Learning rate of Adam.", above=0)] = 1e-3
    schedule: Annotated[
        str,
        Option(panel=OPTIMISATION, help="constant, linear or cosine, down to 0 at the end.", choices=SCHEDULES),
    ] = "linear"
    warmup: Annotated[int, Option(panel=OPTIMISATION, help="Steps over which the learning rate rises.", minimum=0)] = 0
    clip_norm: Annotated[
        float, Option(panel=OPTIMISATION, help="Maximum gradient norm; 0 disables clipping.", minimum=0)
    ] = 1.0
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
    select: Annotated[
        str, Option(help="The metric that the best epoch is chosen by, on validation rows.", choices=SELECTIONS)
    ] = "accuracy"
    class_weights: Annotated[
        str,
        Option(
            panel=OPTIMISATION,
            help="none; balanced: rare classes weigh more; auto: balanced where the rarest class has less than 15 % "
            "of an equal share.",
            choices=CLASS_WEIGHTS,
        ),
    ] = "auto"
    word_dropout: Annotated[
        float, Option(panel=REGULARISATION, help="Share of a review's tokens that a step leaves out.", minimum=0, below=1)
    ] = 0.0
    locked_dropout: Annotated[
        float,
        Option(
            panel=REGULARISATION,
            help="Dropout of the embedded tokens, with the same features at every token of a review.",
            minimum=0,
            below=1,
        ),
    ] = 0.0
    adversarial: Annotated[
        float,
        Option(
            panel=REGULARISATION,
            metavar="EPS",
            help="L2 norm of an adversarial perturbation of a review's embedded tokens, in mean norms of one; 0 for none. "
            "A step takes twice as long.",
            minimum=0,
        ),
    ] = 0.0
    adversarial_warmup: Annotated[
        float, Option(panel=REGULARISATION, help="Epochs before the first perturbation.", minimum=0)
    ] = 1.0
    embedding_update: Annotated[
        str,
        Option(
            panel=OPTIMISATION,
            help="dense, sparse (rows of the batch only), or auto: what is faster.",
            choices=("auto", "dense", "sparse"),
        ),
    ] = "auto"
    max_length: Annotated[
        int, Option(help="Tokens of a review that the architecture reads.", minimum=1, maximum=MAX_LENGTH)
    ] = 400
    truncation: Annotated[
        str,
        Option(
            panel=DATA,
            help="Which tokens of a longer review: the first (head), or half from each end (head-tail).",
            choices=TRUNCATIONS,
        ),
    ] = "head"
    wide: Annotated[
        bool | None,
        Option(
            panel=LINEAR,
            help="Make the linear model of n-grams a part of the model, beside the architecture.",
            default="yes for bilstm",
        ),
    ] = None
    baseline: Annotated[
        bool,
        Option(panel=LINEAR, help="Fit it for comparison where it is not a part of the model.", identity=False),
    ] = True
    calibrate: Annotated[
        bool, Option(panel=OPTIMISATION, help="Fit the temperature, and the weights of --wide, on validation rows.")
    ] = True
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
    seed: Annotated[int, Option(help="Random seed of weights, order and dropout.", minimum=0, maximum=MAX_SEED)] = 0
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
    force: Annotated[bool, Option(help="Train even if the same model exists already.", identity=False)] = False
    tensorboard: Annotated[
        bool, Option(panel=OUTPUT, help="Write TensorBoard events to runs/tensorboard/.", identity=False)
    ] = False

    def __post_init__(self) -> None:
        validate(self)
        self._check_linear()
        check_model_options(self.arch, self.model)
        if self.tokens is not None and self.table_version is not None:
            raise UsageError("--tokens and --table-version: plain shards have no versions. Give one of the two.")

    def _check_linear(self) -> None:
        if not self.is_linear:
            return
        defaults = {field.name: field for field in fields_of(type(self))}
        given = [defaults[name].label for name in NOT_OF_LINEAR if getattr(self, name) != defaults[name].default]
        if given:
            raise UsageError(
                f"{', '.join(given)}: --arch {self.arch} has no such option. Leave it out; '--linear-…' configure the model."
            )

    @property
    def is_linear(self) -> bool:
        """Whether the architecture is the linear model of n-grams itself."""
        return config_class(self.arch).linear

    @property
    def is_wide(self) -> bool:
        """Whether the linear model of n-grams is a part beside the architecture."""
        return self.arch in WIDE_BY_DEFAULT if self.wide is None else self.wide

    @property
    def unlabelled_ratio(self) -> float:
        """Reviews without a label to learn from, for each one with a label."""
        if self.is_linear:
            return 0.0
        if self.unlabelled is None:
            return UNLABELLED_BY_DEFAULT if self.is_wide else 0.0
        return self.unlabelled

    @property
    def read_length(self) -> int:
        """Tokens of a review that the whole model reads."""
        if self.is_linear:
            return self.linear_length
        whole = self.is_wide or self.truncation != "head"
        return max(self.max_length, self.linear_length) if whole else self.max_length

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
        if self.is_linear:
            options = {name: value for name, value in options.items() if name not in NOT_OF_LINEAR}
        if self.embeddings is not None:
            from pipeline.models.layers.embeddings import fingerprint

            options["embeddings"] = fingerprint(self.embeddings)
        return {**options, **data}


@dataclass(frozen=True, kw_only=True)
class TrainConfig(TrainingOptions):
    """Options of `pipeline train`.

    Raises:
        UsageError: a value, or a combination of values, that is not allowed.
    """

    fold: Annotated[
        str | None,
        Option(
            panel=DATA,
            metavar="K/N",
            help="Test on fold K (from 0) of N of the split 'train', by group, and do not train on it. The model is not "
            "published: it goes to crossval/.",
            default="none",
            accepts=_is_fold,
            expected="INDEX/COUNT, such as 0/5, the first of five folds",
        ),
    ] = None
    resume: Annotated[
        bool,
        Option(help="Continue the newest unfinished training of the same options, if any.", identity=False),
    ] = False
