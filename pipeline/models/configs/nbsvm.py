"""The config of `--arch nbsvm`. The `--linear-…` options control the fit, as for the linear path of any other model."""

from dataclasses import dataclass
from typing import ClassVar

from pipeline.errors import UsageError
from pipeline.models.configs.base import ArchitectureConfig
from pipeline.text.ngram_limits import MAX_BITS, MAX_NGRAMS


@dataclass(frozen=True, kw_only=True)
class NbsvmConfig(ArchitectureConfig):
    """`ngrams`: maximum n-gram length; `bits`: n-grams are hashed into 2^bits buckets, as the data required.

    Raises:
        UsageError: a value that is not allowed.
    """

    linear: ClassVar[bool] = True

    ngrams: int = 3
    bits: int = 22

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in (("ngrams", MAX_NGRAMS), ("bits", MAX_BITS)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise UsageError(f"{name} {value!r}: expected a whole number from 1 to {most}.")
