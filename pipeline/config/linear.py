"""The options of the linear n-gram model: of `--arch nbsvm`, of `--wide`, and of the baseline of every training."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.options.option import LINEAR, Option
from pipeline.text.ngram_limits import MAX_BITS, MAX_NGRAMS
from schemas.limits import MAX_LENGTH


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """How the linear n-gram model, `nbsvm` or `ridge`, is fitted; see `training/ngram_fit.py` for the equations."""

    linear_ngrams: Annotated[
        int, Option(panel=LINEAR, help="Maximum n-gram length; 1 for single words.", minimum=1, maximum=MAX_NGRAMS)
    ] = 3
    linear_bits: Annotated[
        int,
        Option(
            panel=LINEAR,
            help="Hash n-grams into up to 2^BITS buckets; fewer for few n-grams or many classes.",
            metavar="BITS",
            minimum=1,
            maximum=MAX_BITS,
        ),
    ] = 22
    linear_scale: Annotated[float, Option(panel=LINEAR, help="Scale of the ratios that weight n-grams.", above=0)] = 0.15
    linear_lr: Annotated[float, Option(panel=LINEAR, help="Learning rate.", above=0)] = 0.02
    linear_batch_size: Annotated[int, Option(panel=LINEAR, help="Reviews per step.", minimum=1)] = 32
    linear_epochs: Annotated[
        int | None,
        Option(
            panel=LINEAR, help="Number of passes over the training data.", default="enough for 600 steps, 1 to 10", minimum=1
        ),
    ] = None
    linear_length: Annotated[
        int,
        Option(
            panel=LINEAR,
            help="Maximum number of tokens read per review; with '--truncation head-tail', half from each end.",
            minimum=1,
            maximum=MAX_LENGTH,
        ),
    ] = 4096
