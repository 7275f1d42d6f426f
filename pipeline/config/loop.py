"""Options of everything that runs the training loop: `pipeline train`, `crossval` and `pretrain`."""

from typing import Annotated

from pipeline.config.interval import Interval
from pipeline.config.shared import MOST_WORKERS
from pipeline.errors import UsageError
from pipeline.options.option import CHECKPOINTS, DATA, HARDWARE, OPTIMISATION, Option
from pipeline.order.folds import Fold
from pipeline.order.options import MAX_SEED

SCHEDULES = ("constant", "cosine", "linear")


def is_interval(text: str) -> bool:
    """Whether `Interval.parse` takes it."""
    try:
        Interval.parse(text)
    except UsageError:
        return False
    return True


def is_fold(text: str) -> bool:
    """Whether `Fold.parse` takes it."""
    try:
        Fold.parse(text)
    except UsageError:
        return False
    return True


ClipNorm = Annotated[float, Option(panel=OPTIMISATION, help="Maximum gradient norm; 0 disables clipping.", minimum=0)]
Schedule = Annotated[
    str,
    Option(panel=OPTIMISATION, help="Learning rate schedule: constant; or linear or cosine decay to 0.", choices=SCHEDULES),
]
Warmup = Annotated[int, Option(panel=OPTIMISATION, help="Warm-up steps of the learning rate.", minimum=0)]
ValidFraction = Annotated[
    float,
    Option(
        panel=DATA,
        metavar="SHARE",
        help="Share of the training data held out for validation, in whole groups, if there is no 'valid' split.",
        above=0,
        below=1,
        example="0.1",
    ),
]
Seed = Annotated[int, Option(help="Random seed for weights, order and dropout.", minimum=0, maximum=MAX_SEED)]
Lanes = Annotated[
    int,
    Option(panel=DATA, help="Shards per batch; the upper bound on the number of processes.", minimum=1),
]
WindowRows = Annotated[int, Option(panel=DATA, help="Number of reviews shuffled together, across all processes.", minimum=1)]
LoaderWorkers = Annotated[
    int,
    Option(
        panel=HARDWARE,
        help="Number of threads per process that read and decode; 0 to use none.",
        minimum=0,
        maximum=MOST_WORKERS,
        identity=False,
    ),
]
Nproc = Annotated[
    str,
    Option(
        panel=HARDWARE,
        metavar="N|gpu",
        help="Number of training processes, or gpu for one per GPU.",
        accepts=lambda value: value == "gpu" or (value.isdecimal() and int(value) > 0),
        expected="a number of processes, or 'gpu' for one per GPU",
        identity=False,
        launched=False,
    ),
]
MaxRestarts = Annotated[
    int,
    Option(
        panel=HARDWARE,
        help="Maximum number of restarts if one of several processes dies.",
        minimum=0,
        identity=False,
        launched=False,
    ),
]
CheckpointEvery = Annotated[
    str,
    Option(
        panel=CHECKPOINTS,
        metavar="INTERVAL",
        help="Time (60s, 5m) or steps (200) between checkpoints; 0 to write them only after each epoch.",
        accepts=is_interval,
        expected="a number of steps such as 200, or a time such as 60s, 5m or 1h; 0 for never",
        identity=False,
    ),
]
KeepCheckpoints = Annotated[int, Option(panel=CHECKPOINTS, help="Number of checkpoints to keep.", minimum=1, identity=False)]
