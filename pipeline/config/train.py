"""The options of `pipeline train`."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from pipeline.config.interval import Interval
from pipeline.config.linear import LinearConfig
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
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.models.registry import REMEDY, architectures, check_model_options, config_class, model_options
from pipeline.options import render
from pipeline.options.check import validate
from pipeline.options.option import (
    DATA,
    LINEAR,
    MODEL,
    OPTIMISATION,
    OUTPUT,
    REGULARISATION,
    Option,
    fields_of,
)
from pipeline.order.options import DEFAULT_LANES, WINDOW_ROWS, OrderOptions
from pipeline.tasks.kinds import CLASSIFICATION, KINDS, REGRESSION, Kind
from schemas.limits import MAX_LENGTH

SELECTIONS = tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.selections))
"""Metrics that select the best epoch; ties go to the lower loss."""
NUMBER_COLUMNS = ("target", "stars")
"""Columns of the shards that `--task regression` can learn."""
TRUNCATIONS = ("head", "head-tail")
"""Which tokens of a review longer than `--max-length` are read: the first ones, or half from each end."""
PROMOTE = IF_NOT_WORSE, ALWAYS, NEVER = "if-not-worse", "always", "never"
"""When a finished model replaces the live one."""
DEFAULT_HOLDOUT = 0.1
CLASS_WEIGHTS = ("auto", "none", "balanced")
EMBEDDING_INITS = ("text", "random")
UNLABELLED_TARGETS = ("teacher", "none")
NO_TARGETS = UNLABELLED_TARGETS[1]
LIVE = ("LIVE", "LATEST")
"""Names of whichever model is live."""
NGRAM_TEACHER = "nbsvm"
"""The teacher that is fitted in the run itself."""
AUTO, MOST_UNLABELLED = "auto", 1000.0
UNLABELLED_BY_DEFAULT = 2.0
UNLABELLED_AT_LEAST = 30_000
"""With 2,000 labels, 36,000 gave 87.2 % and 3,600 gave 85.9 (docs/benchmarks.md)."""
EPOCHS_BY_DEFAULT, EPOCHS_AT_MOST, ENOUGH_STEPS = 3, 20, 1000
WIDE_BY_DEFAULT = ("bilstm",)
REGION_DIM, REGIONS_BY_DEFAULT = "region_dim", 200
"""The option of architectures with region features, and how many a model with --wide has unless asked otherwise."""
REGIONS_FROM = 20_000
"""Reviews from which on it has them. The 2,000 of `pipeline sample` are better off without: 97.8 instead of 97.1 %."""
NOT_OF_LINEAR = (
    *("epochs", "batch_size", "lr", "schedule", "warmup", "clip_norm", "average", "patience", "select"),
    *("embedding_update", "max_length", "truncation", "wide", "embeddings", "word_dropout", "locked_dropout"),
    *("adversarial", "virtual_adversarial", "unlabelled_targets", "adversarial_warmup", "model", "embedding_init"),
)
"""Options that do not apply to the linear n-gram model."""


def may_know_fold(option: str, fold: str) -> UsageError:
    """A model as the start of a training that is tested on a fold."""
    return UsageError(
        f"{option} and --fold {fold}: the model may have learned from the reviews that the fold holds out. Pass only one of "
        "them."
    )


def _unlabelled(value: object) -> float | str:
    """`auto`, or the ratio that a command line or a TOML file gives; `none` is 0.

    Raises:
        ValueError: anything else.
    """
    if value in (AUTO, "none"):
        return AUTO if value == AUTO else 0.0
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return float(value)
    raise ValueError(f"expected {UNLABELLED_EXPECTED}.")


def _is_unlabelled(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value == AUTO or (number and 0 <= value <= MOST_UNLABELLED)  # type: ignore[operator]


UNLABELLED_EXPECTED = f"auto, none, or unlabelled reviews per labelled review, up to {MOST_UNLABELLED:g}"


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(LinearConfig):
    """Options of `pipeline train` and `pipeline crossval`. `batch_size` is global, in reviews; `max_length` in tokens;
    `model` contains the architecture's options that differ from its defaults.

    Raises:
        UsageError: a value, or a combination of values, that is not allowed.
    """

    lake: Lake
    arch: Annotated[
        str,
        Option(
            help="Architecture; 'pipeline models --archs' lists them.",
            choices=architectures,
            unlisted=(REGRESSION.linear_arch,),
            remedy=REMEDY,
        ),
    ] = "bilstm"
    task: Annotated[
        str,
        Option(
            help="What to learn: "
            + "; or ".join(f"{kind.name}, to {kind.summary}" for kind in (CLASSIFICATION, REGRESSION))
            + ".",
            choices=tuple(KINDS),
        ),
    ] = CLASSIFICATION.name
    target: Annotated[
        str | None,
        Option(
            panel=DATA,
            help="Numbers to learn with --task regression: target (of 'ingest --target-column') or stars.",
            default="target if any review has one, else stars",
            choices=NUMBER_COLUMNS,
        ),
    ] = None
    tokens: Tokens = None
    vocabulary: VocabularyFile = None
    table_version: Annotated[
        int | None, Option(panel=DATA, help="Table version to train on.", default="the newest", minimum=0, identity=False)
    ] = None
    model: Annotated[
        dict[str, Any],
        Option(
            panel=MODEL,
            name="set",
            metavar="NAME=VALUE",
            help="Set any option of the architecture; can be repeated.",
            default="none",
            group=model_options,
        ),
    ] = field(default_factory=dict)
    embeddings: Annotated[
        Path | None,
        Option(
            panel=MODEL,
            metavar="FILE",
            help="Pre-trained word vectors: GloVe text, or .parquet (token, vector). They set the embedding dimension.",
            default="none",
            identity=False,
        ),
    ] = None
    embedding_init: Annotated[
        str,
        Option(
            panel=MODEL,
            help="Initial word vectors without --embeddings or --init: text (computed from the reviews) or random.",
            choices=EMBEDDING_INITS,
        ),
    ] = "text"
    init: Annotated[
        str | None,
        Option(
            panel=MODEL,
            metavar="NAME",
            help="Start from other weights: a pretrained model (LATEST, its ID, or a path; see 'pipeline pretrain'), or a "
            "model (LIVE, its ID, or a path).",
            default="none",
            identity=False,
            names_pretrained=True,
        ),
    ] = None
    unlabelled: Annotated[
        float | str,
        Option(
            panel=DATA,
            metavar="auto|none|RATIO",
            help="Unlabelled reviews to train on per labelled review; the teacher labels them. auto: 2, and 30,000 reviews "
            "or more, with --teacher or --wide; else none.",
            from_text=_unlabelled,
            from_toml=_unlabelled,
            accepts=_is_unlabelled,
            expected=UNLABELLED_EXPECTED,
        ),
    ] = AUTO
    teacher: Annotated[
        str | None,
        Option(
            panel=DATA,
            metavar="MODEL",
            help="Model that labels the unlabelled reviews: nbsvm (fitted in this run), LIVE, a model ID, a path, or with "
            "folds the folder of a crossval.",
            default="nbsvm",
            identity=False,
            names_model=True,
        ),
    ] = None
    teacher_weight: Annotated[
        float,
        Option(
            panel=DATA,
            metavar="SHARE",
            help="Share of the teacher's probabilities in the targets of labelled reviews; the rest is their label.",
            minimum=0,
            maximum=1,
            identity=False,
        ),
    ] = 0.0
    epochs: Annotated[
        int | None,
        Option(help="Number of passes over the training data.", default="3, more with few reviews", minimum=1),
    ] = None
    batch_size: Annotated[int, Option(help="Reviews per step, across all processes.", minimum=1)] = 64
    lr: Annotated[float, Option(help="Adam learning rate.", above=0)] = 1e-3
    schedule: Schedule = "linear"
    warmup: Warmup = 0
    clip_norm: ClipNorm = 1.0
    average: Annotated[
        float,
        Option(
            panel=REGULARISATION,
            help="Decay of the moving average of the weights, such as 0.99; 0 disables averaging.",
            minimum=0,
            below=1,
            example="0.999",
        ),
    ] = 0.998
    patience: Annotated[
        int,
        Option(
            panel=REGULARISATION, help="Stop after this many epochs without improvement; 0 to never stop early.", minimum=0
        ),
    ] = 0
    select: Annotated[
        str | None,
        Option(
            help="Validation metric that selects the best epoch.",
            default="; ".join(f"{kind.default_selection} for {kind.name}" for kind in KINDS.values()),
            choices=SELECTIONS,
        ),
    ] = None
    class_weights: Annotated[
        str,
        Option(
            panel=OPTIMISATION,
            help="Class weights: none; balanced, to give rare classes more weight; or auto, balanced if the rarest class "
            "has less than 15 % of an equal share.",
            choices=CLASS_WEIGHTS,
        ),
    ] = "auto"
    word_dropout: Annotated[
        float,
        Option(panel=REGULARISATION, help="Share of tokens dropped from each review in each step.", minimum=0, below=1),
    ] = 0.0
    locked_dropout: Annotated[
        float,
        Option(
            panel=REGULARISATION,
            help="Dropout on embeddings that drops the same features from every token of a review.",
            minimum=0,
            below=1,
        ),
    ] = 0.0
    adversarial: Annotated[
        float,
        Option(
            panel=REGULARISATION,
            metavar="EPS",
            help="Adversarial training: L2 norm of the perturbation of a review's embeddings, relative to the mean norm of "
            "one token; 0 disables it. Doubles the time of a step.",
            minimum=0,
        ),
    ] = 0.0
    unlabelled_targets: Annotated[
        str,
        Option(
            panel=REGULARISATION,
            help="What unlabelled reviews are trained on: the labels of the --teacher (teacher), or none, only "
            "--virtual-adversarial.",
            choices=UNLABELLED_TARGETS,
            identity=False,
        ),
    ] = UNLABELLED_TARGETS[0]
    virtual_adversarial: Annotated[
        float,
        Option(
            panel=REGULARISATION,
            metavar="EPS",
            help="Virtual adversarial training, of unlabelled reviews as well: like --adversarial, but against the change "
            "of the probabilities. Pays from pretrained weights (--init) only. Triples the time of a step.",
            minimum=0,
            identity=False,
        ),
    ] = 0.0
    adversarial_warmup: Annotated[
        float, Option(panel=REGULARISATION, help="Epochs before adversarial training starts.", minimum=0)
    ] = 1.0
    embedding_update: Annotated[
        str,
        Option(
            panel=OPTIMISATION,
            help="Embedding updates: dense, sparse (only rows of the batch), or auto (whichever is faster).",
            choices=("auto", "dense", "sparse"),
        ),
    ] = "auto"
    max_length: Annotated[
        int, Option(help="Maximum number of tokens the architecture reads per review.", minimum=1, maximum=MAX_LENGTH)
    ] = 400
    truncation: Annotated[
        str,
        Option(
            panel=DATA,
            help="Tokens to keep from longer reviews: the first (head), or half from each end (head-tail).",
            choices=TRUNCATIONS,
        ),
    ] = "head"
    wide: Annotated[
        bool | None,
        Option(
            panel=LINEAR,
            help="Combine the architecture with the linear n-gram model.",
            default="on for bilstm",
        ),
    ] = None
    baseline: Annotated[
        bool,
        Option(panel=LINEAR, help="Fit the n-gram model for comparison if it is not part of the model.", identity=False),
    ] = True
    calibrate: Annotated[
        bool, Option(panel=OPTIMISATION, help="Fit the temperature and the weights of --wide on the validation data.")
    ] = True
    valid_fraction: ValidFraction = 0.1
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
    force: Annotated[bool, Option(help="Train even if the same model already exists.", identity=False)] = False
    tensorboard: Annotated[
        bool, Option(panel=OUTPUT, help="Write TensorBoard events to runs/tensorboard/.", identity=False)
    ] = False

    def __post_init__(self) -> None:
        validate(self)
        self._check_task()
        self._check_linear()
        self._check_init(self.init, "--init")
        check_model_options(self.arch, self.model)
        if self.unlabelled_targets == NO_TARGETS and not (self.virtual_adversarial and self.unlabelled_ratio):
            raise UsageError(
                f"--unlabelled-targets {NO_TARGETS}: unlabelled reviews would be read and nothing learned from them. Pass "
                "--virtual-adversarial and --unlabelled as well."
            )
        if self.unlabelled_targets == NO_TARGETS and (self.teacher is not None or self.teacher_weight):
            raise UsageError(
                f"--teacher and --unlabelled-targets {NO_TARGETS}: the teacher would label nothing. Remove one."
            )
        if self.virtual_adversarial and self.precision == "bf16":
            raise UsageError(
                "--virtual-adversarial and --precision bf16: the differences that it measures are smaller than bf16's "
                "rounding. Use --precision fp32."
            )
        if self.tokens is not None and self.table_version is not None:
            raise UsageError("--tokens and --table-version: plain shards have no versions. Pass only one of them.")
        self._check_teacher()

    def _check_teacher(self) -> None:
        if self.teacher is None:
            if self.teacher_weight:
                raise UsageError(
                    f"--teacher-weight {self.teacher_weight:g} has no teacher. Also pass --teacher, such as nbsvm."
                )
            return
        if not self.teacher:
            raise UsageError("--teacher: empty name. Pass nbsvm, LIVE, a model ID, or a path.")
        if not self.unlabelled_ratio and not self.teacher_weight:
            raise UsageError(
                f"--teacher {self.teacher} has nothing to label: no unlabelled reviews are used, and --teacher-weight is 0. "
                "Pass --unlabelled auto, a --teacher-weight above 0, or no teacher."
            )

    def _check_task(self) -> None:
        """Refuses options that the task does not have."""
        kind, others = self.kind, [kind for kind in KINDS.values() if kind.name != self.task]
        foreign = {name: other.name for other in others for name in other.options - kind.options}
        for option in fields_of(type(self)):
            if option.name in foreign and getattr(self, option.name) not in (option.default, 0):
                raise UsageError(
                    f"{option.label}: applies to --task {foreign[option.name]} only. Remove it to train with --task "
                    f"{kind.name}."
                )
        if self.select is not None and self.select not in kind.selections:
            raise UsageError(
                f"--select {self.select}: --task {kind.name} has no such metric. Choose {', '.join(kind.selections)}."
            )
        for other in others:
            if self.arch == other.linear_arch:
                raise UsageError(
                    f"--arch {self.arch}: learns --task {other.name} only. The linear n-gram model of --task {kind.name} is "
                    f"--arch {kind.linear_arch}."
                )

    def _foreign_options(self) -> set[str]:
        """Options that other tasks have and this one lacks."""
        return {name for kind in KINDS.values() for name in kind.options - self.kind.options}

    @property
    def kind(self) -> Kind:
        """The task as options see it."""
        return KINDS[self.task]

    @property
    def selection(self) -> str:
        """The validation metric that selects the best epoch."""
        return self.select or self.kind.default_selection

    def _check_linear(self) -> None:
        if not self.is_linear:
            return
        defaults = {field.name: field for field in fields_of(type(self))}
        others = [defaults[name] for name in NOT_OF_LINEAR if name != "model"]
        given = [option.label for option in others if getattr(self, option.name) != option.default]
        given += [f"--{name.replace('_', '-')}" for name in self.model]
        if given:
            such, it = ("option", "it") if len(given) == 1 else ("options", "them")
            raise UsageError(
                f"{', '.join(given)}: --arch {self.arch} has no such {such}. Remove {it}, also from --config and the table "
                "[train] in pipeline.toml; use the --linear-… options instead."
            )

    def _check_init(self, name: str | None, option: str) -> None:
        if name is None:
            return
        if self.is_linear:
            raise UsageError(f"{option}: --arch {self.arch} is always fitted from the start. Remove the option.")
        if self.embeddings is not None:
            raise UsageError(f"{option} and --embeddings both set the initial word vectors. Pass only one of them.")

    @property
    def is_linear(self) -> bool:
        """Whether the architecture is the linear n-gram model itself."""
        return config_class(self.arch).linear

    @property
    def is_wide(self) -> bool:
        """Whether the model combines the architecture with the linear n-gram model."""
        return self.arch in WIDE_BY_DEFAULT if self.wide is None else self.wide

    def region_dim_for(self, reviews: int) -> int | None:
        """Region features of a model that may read so many reviews, where nobody has chosen; None for none."""
        has_option = any(field.name == REGION_DIM for field in fields(config_class(self.arch)))
        chosen = REGION_DIM in self.model
        return REGIONS_BY_DEFAULT if self.is_wide and has_option and not chosen and reviews >= REGIONS_FROM else None

    @property
    def is_taught_anyway(self) -> bool:
        """Whether the n-gram model teaches as it would without `teacher`, so that naming it changes nothing."""
        return not self.teacher_weight and (self.unlabelled != AUTO or self.is_wide)

    @property
    def unlabelled_ratio(self) -> float:
        """Unlabelled reviews to train on per labelled review."""
        if "unlabelled" not in self.kind.options:
            return 0.0
        if isinstance(self.unlabelled, str):
            return UNLABELLED_BY_DEFAULT if self.is_wide or self.teacher is not None else 0.0
        return self.unlabelled

    @property
    def unlabelled_at_least(self) -> int:
        """Unlabelled reviews to train on even if the ratio asks for fewer, where nobody has chosen a ratio."""
        return UNLABELLED_AT_LEAST if self.unlabelled == AUTO else 0

    def epochs_for(self, steps: int) -> int:
        """Passes over a training part that takes so many steps: as asked for, else enough for `ENOUGH_STEPS`."""
        enough = -(-ENOUGH_STEPS // max(steps, 1))
        return self.epochs or min(EPOCHS_AT_MOST, max(EPOCHS_BY_DEFAULT, enough))

    @property
    def read_length(self) -> int:
        """Number of tokens the whole model reads per review."""
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
        """Everything that determines the result: the relevant options, the content of `embeddings`, and the data.

        Raises:
            InputNotFoundError: `embeddings` does not exist.
        """
        options = render.identity(self) | {"select": self.selection}
        # As in earlier releases, whose models are found again.
        options["unlabelled"] = None if self.unlabelled == AUTO else self.unlabelled
        if self.kind is CLASSIFICATION:
            del options["task"]
        options = {name: value for name, value in options.items() if name not in self._foreign_options()}
        if self.is_linear:
            dropped = NOT_OF_LINEAR if self.unlabelled_ratio else (*NOT_OF_LINEAR, "unlabelled")
            options = {name: value for name, value in options.items() if name not in dropped}
        if self.teacher_weight:
            options["teacher_weight"] = self.teacher_weight
        if self.virtual_adversarial:
            options["virtual_adversarial"] = self.virtual_adversarial
        if self.unlabelled_targets == NO_TARGETS:
            options["unlabelled_targets"] = NO_TARGETS
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
            help="Hold out fold K (from 0) of N of the 'train' split, by group, and test on it. The model goes to crossval/ "
            "and is not published.",
            default="none",
            accepts=is_fold,
            expected="INDEX/COUNT, such as 0/5, the first of five folds",
        ),
    ] = None
    init_from: Annotated[
        str | None,
        Option(
            panel=MODEL,
            metavar="MODEL",
            help="The same as --init, for models alone: LIVE (the live one, if any), a model ID, or the path to a bundle.",
            default="none",
            identity=False,
            names_model=True,
        ),
    ] = None
    resume: Annotated[
        bool,
        Option(help="Continue the newest unfinished training run with the same options, if any.", identity=False),
    ] = False
    holdout: Annotated[
        float | None,
        Option(
            panel=DATA,
            metavar="SHARE",
            help="Share of the 'train' split's groups held out for testing if no 'test' split is labelled; 0 for none. "
            "New models are compared with the live one on it.",
            default=f"{DEFAULT_HOLDOUT}; none with --fold",
            minimum=0,
            below=1,
            identity=False,
        ),
    ] = None
    promote: Annotated[
        str,
        Option(
            panel=OUTPUT,
            help="When the new model goes live: if-not-worse than the live one on the test split, always, or never.",
            choices=PROMOTE,
            identity=False,
        ),
    ] = IF_NOT_WORSE
    promote_margin: Annotated[
        float,
        Option(
            panel=OUTPUT,
            help="With --promote if-not-worse: accuracy that a new model may lose; for regression, the share by which its "
            "mean absolute error may be greater.",
            minimum=0,
            maximum=1,
            identity=False,
        ),
    ] = 0.005

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fold is not None and self.holdout:
            raise UsageError(
                f"--fold {self.fold} and --holdout {self.holdout}: a fold is the test split itself. Remove --holdout, or "
                "pass --holdout 0."
            )
        self._check_init(self.init_from, "--init-from")
        if self.init is not None and self.init_from is not None:
            raise UsageError("--init and --init-from both name the initial weights. Pass only --init.")
        if self.init_from is not None and self.fold is not None:
            raise may_know_fold("--init-from", self.fold)
        self._check_live_teacher()

    def _check_live_teacher(self) -> None:
        if self.fold is not None and self.teacher in LIVE:
            raise UsageError(
                f"--teacher {self.teacher} and --fold {self.fold}: the live model has read the reviews that the fold holds "
                "out. Pass --teacher nbsvm, a model of the same fold, or the folder of a crossval."
            )

    @property
    def holdout_share(self) -> float:
        """Share of the groups to hold out where there is no labelled `test` split."""
        if self.fold is not None:
            return 0.0
        return DEFAULT_HOLDOUT if self.holdout is None else self.holdout

    def identity(self, data: Mapping[str, Any], *, has_test: bool = False) -> dict[str, Any]:
        """See `TrainingOptions.identity`.

        Args:
            has_test: whether the data have a labelled `test` split. Nothing is held out then, and the identity is that of
                earlier releases, so that their models are found.
        """
        found = super().identity(data)
        if self.holdout_share and not has_test:
            found["holdout"] = self.holdout_share
        return found
