"""The options of the linear model of n-grams: of `--arch nbsvm`, of `--wide`, and of the baseline of every training."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.options.option import LINEAR, Option
from pipeline.text.ngram_limits import MAX_BITS, MAX_NGRAMS
from schemas.limits import MAX_LENGTH


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """How the linear model of n-grams is made; `training/ngram_fit.py` has the equations."""

    linear_ngrams: Annotated[
        int, Option(panel=LINEAR, help="The longest n-grams; 1 for words alone.", minimum=1, maximum=MAX_NGRAMS)
    ] = 3
    linear_bits: Annotated[
        int,
        Option(
            panel=LINEAR,
            help="N-grams are hashed into at most 2^BITS buckets; fewer for few n-grams or many classes.",
            metavar="BITS",
            minimum=1,
            maximum=MAX_BITS,
        ),
    ] = 22
    linear_scale: Annotated[float, Option(panel=LINEAR, help="Scale of the log-count ratios.", above=0)] = 0.15
    linear_lr: Annotated[float, Option(panel=LINEAR, help="Learning rate.", above=0)] = 0.02
    linear_batch_size: Annotated[int, Option(panel=LINEAR, help="Reviews in a step.", minimum=1)] = 32
    linear_epochs: Annotated[
        int | None,
        Option(panel=LINEAR, help="Passes over the training part.", default="as many as make 600 steps, 1 to 10", minimum=1),
    ] = None
    linear_length: Annotated[
        int,
        Option(
            panel=LINEAR,
            help="Tokens of a review that are read; '--truncation head-tail' takes a longer one to end there.",
            minimum=1,
            maximum=MAX_LENGTH,
        ),
    ] = 4096
