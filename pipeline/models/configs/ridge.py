"""The config of `--arch ridge`. The `--linear-…` options control the fit."""

from dataclasses import dataclass

from pipeline.models.configs.nbsvm import NbsvmConfig


@dataclass(frozen=True, kw_only=True)
class RidgeConfig(NbsvmConfig):
    """`ngrams` and `bits` as in `NbsvmConfig`."""
