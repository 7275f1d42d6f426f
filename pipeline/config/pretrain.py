"""The options of `pipeline pretrain`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pipeline.config.interval import Interval
from pipeline.config.loop import (
    CheckpointEvery,
    ClipNorm,
    KeepCheckpoints,
    Lanes,
    LoaderWorkers,
    MaxRestarts,
    Nproc,
    Schedule,
    Seed,
    ValidFraction,
    Warmup,
    WindowRows,
    is_fold,
)
from pipeline.config.shared import Device, Precision, Tokens, VocabularyFile
from pipeline.config.train import DEFAULT_HOLDOUT
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.models.registry import REMEDY, architectures, check_model_options, config_class, model_options
from pipeline.options import render
from pipeline.options.check import validate
from pipeline.options.option import DATA, MODEL, ConfigField, Option, fields_of
from pipeline.order.options import DEFAULT_LANES, WINDOW_ROWS, OrderOptions
from schemas.limits import MAX_LENGTH
from schemas.objectives import OBJECTIVES, VECTORS

OF_LM = (
    *("arch", "epochs", "batch_size", "lr", "schedule", "warmup", "clip_norm", "lanes", "window_rows", "precision"),
    *("nproc", "max_restarts", "device"),
)
"""Options that word vectors do not have."""
OF_VECTORS = ("context_window", "contexts")
"""Options that language models do not have."""
MODEL_OF_VECTORS = {"embedding_dim": 128, "embedding_std": 0.1}
"""The options of an architecture that word vectors have, too, and their defaults."""
MOST_WINDOW, MOST_CONTEXTS = 100, 20_000

OF_CLASSIFIERS = frozenset({"pooling", "attention", "score", "window", "region_dim"})
"""Options of architectures that decide what a classifier makes of the states, and features that know the next token."""
OF_REFUSED = frozenset({"ngrams", "buckets", "width", "directions", "heads", "feedforward_dim", "attention_dropout"})
"""Options of architectures that cannot be language models."""
WITHOUT_DROPOUT = {"dropout": 0.0, "embedding_dropout": 0.0}
"""Defaults that differ from a classifier's: with a pass or two over much text, a language model does not overfit."""


def options_of_layers() -> Mapping[str, ConfigField]:
    """The options of architectures that make a difference to their recurrent layers."""
    shown = {name: field for name, field in model_options().items() if name not in OF_CLASSIFIERS | OF_REFUSED}
    without = {name: replace(shown[name], option=replace(shown[name].option, default="0")) for name in WITHOUT_DROPOUT}
    return shown | without


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Options of `pipeline pretrain`. `batch_size` is global, in reviews; `max_length` in tokens; `model` contains the
    architecture's options that differ from its defaults, for word vectors those of `MODEL_OF_VECTORS`.

    Raises:
        UsageError: a value, or a combination of values, that is not allowed.
    """

    lake: Lake
    objective: Annotated[
        str,
        Option(
            help="What to learn from the text: vectors (word vectors, in seconds) or lm (a language model in each direction "
            "of the architecture: word vectors and recurrent weights).",
            choices=OBJECTIVES,
        ),
    ] = VECTORS
    arch: Annotated[
        str,
        Option(
            help="Architecture whose recurrent layers to train, for --objective lm.", choices=architectures, remedy=REMEDY
        ),
    ] = "bilstm"
    tokens: Tokens = None
    vocabulary: VocabularyFile = None
    table_version: Annotated[
        int | None, Option(panel=DATA, help="Table version to read.", default="the newest", minimum=0, identity=False)
    ] = None
    model: Annotated[
        dict[str, Any],
        Option(
            panel=MODEL,
            name="set",
            metavar="NAME=VALUE",
            help="Set any option of the architecture; can be repeated. Word vectors have --embedding-dim and "
            "--embedding-std.",
            default="none",
            group=options_of_layers,
        ),
    ] = field(default_factory=dict)
    fold: Annotated[
        str | None,
        Option(
            panel=DATA,
            metavar="K/N",
            help="Do not read fold K (from 0) of N of the 'train' split, so that 'pipeline train --fold K/N' may start from "
            "the result.",
            default="none",
            accepts=is_fold,
            expected="INDEX/COUNT, such as 0/5, the first of five folds",
        ),
    ] = None
    holdout: Annotated[
        float | None,
        Option(
            panel=DATA,
            metavar="SHARE",
            help="Share of the groups not to read, because 'pipeline train' tests on them if no 'test' split is labelled; 0 "
            "for none.",
            default=f"{DEFAULT_HOLDOUT}; none with --fold",
            minimum=0,
            below=1,
            identity=False,
        ),
    ] = None
    valid_fraction: ValidFraction = 0.1
    context_window: Annotated[
        int,
        Option(
            panel=MODEL,
            help="Tokens on each side that count as near, for --objective vectors.",
            minimum=1,
            maximum=MOST_WINDOW,
        ),
    ] = 5
    contexts: Annotated[
        int,
        Option(
            panel=MODEL,
            help="Number of most frequent tokens that count as contexts, for --objective vectors.",
            minimum=1,
            maximum=MOST_CONTEXTS,
        ),
    ] = 3000
    epochs: Annotated[int, Option(help="Number of passes over the reviews.", minimum=1)] = 1
    batch_size: Annotated[int, Option(help="Reviews per step, across all processes.", minimum=1)] = 32
    lr: Annotated[float, Option(help="Adam learning rate.", above=0)] = 2e-3
    schedule: Schedule = "linear"
    warmup: Warmup = 0
    clip_norm: ClipNorm = 1.0
    max_length: Annotated[
        int,
        Option(
            help="Maximum number of tokens to read per review, and to propagate gradients through.",
            minimum=2,
            maximum=MAX_LENGTH,
        ),
    ] = 400
    seed: Seed = 0
    lanes: Lanes = DEFAULT_LANES
    window_rows: WindowRows = WINDOW_ROWS
    device: Device = "auto"
    precision: Precision = "auto"
    workers: LoaderWorkers = 2
    nproc: Nproc = "1"
    max_restarts: MaxRestarts = 3
    checkpoint_every: CheckpointEvery = "60s"
    keep_checkpoints: KeepCheckpoints = 3
    resume: Annotated[
        bool,
        Option(help="Continue the newest unfinished pretraining with the same options, if any.", identity=False),
    ] = False
    force: Annotated[bool, Option(help="Pretrain even if the same pretrained model already exists.", identity=False)] = False

    def __post_init__(self) -> None:
        validate(self)
        self._check_objective()
        check_model_options(self.arch, self.model)
        if self.tokens is not None and self.table_version is not None:
            raise UsageError("--tokens and --table-version: plain shards have no versions. Pass only one of them.")
        if self.fold is not None and self.holdout:
            raise UsageError(
                f"--fold {self.fold} and --holdout {self.holdout}: a fold is the test split itself. Remove --holdout, or "
                "pass --holdout 0."
            )

    def _check_objective(self) -> None:
        foreign = OF_LM if self.is_vectors else OF_VECTORS
        defaults = {field.name: field for field in fields_of(type(self))}
        given = [defaults[name].label for name in foreign if getattr(self, name) != defaults[name].default]
        given += [f"--{name.replace('_', '-')}" for name in self.model if name in self._useless]
        if given:
            such, it = ("option", "it") if len(given) == 1 else ("options", "them")
            raise UsageError(
                f"{', '.join(given)}: --objective {self.objective} has no such {such}. Remove {it}, also from the table "
                "[pretrain] in pipeline.toml."
            )
        if not self.is_vectors and config_class(self.arch).linear:
            raise UsageError(f"--arch {self.arch} has no recurrent layers to pretrain. {REMEDY}")

    @property
    def _useless(self) -> frozenset[str]:
        """Options of architectures that make no difference to what is learned."""
        return frozenset(self.model) - MODEL_OF_VECTORS.keys() if self.is_vectors else OF_CLASSIFIERS

    @property
    def is_vectors(self) -> bool:
        """Whether the result is word vectors alone."""
        return self.objective == VECTORS

    @property
    def of_vectors(self) -> dict[str, Any]:
        """Numbers of a word vector, and their standard deviation, with --objective vectors."""
        return {**MODEL_OF_VECTORS, **self.model}

    @property
    def holdout_share(self) -> float:
        """Share of the groups to hold out where there is no labelled `test` split."""
        if self.fold is not None:
            return 0.0
        return DEFAULT_HOLDOUT if self.holdout is None else self.holdout

    @property
    def order(self) -> OrderOptions:
        """The options that decide the order of training."""
        return OrderOptions(batch_size=self.batch_size, seed=self.seed, lanes=self.lanes, window_rows=self.window_rows)

    @property
    def interval(self) -> Interval:
        """How often checkpoints are written."""
        return Interval.parse(self.checkpoint_every)

    def identity(self, data: Mapping[str, Any], *, has_test: bool) -> dict[str, Any]:
        """Everything that determines the result: the relevant options and the data.

        Args:
            has_test: whether the data have a labelled `test` split; nothing else is held out then, unless asked for.
        """
        foreign = OF_LM if self.is_vectors else OF_VECTORS
        options = {name: value for name, value in render.identity(self).items() if name not in foreign}
        return {**options, "holdout": 0.0 if has_test and self.holdout is None else self.holdout_share, **data}
