"""A linear regression on hashed n-grams, each counted once, weighted by the mean target of their reviews.

    output = b + Σ_k w_k,   w_k = v_k · s · r_k,   r_k = m_k n_k / (n_k + a),   k over the review's distinct n-grams

n_k: reviews with n-gram k; m_k: their mean standardised target, shrunk by a. v is learned with the squared error, from 0 and
in one pass, which regularises like the penalty of a ridge: both keep what few reviews say small.

Source: Hoerl & Kennard 1970, "Ridge regression: biased estimation for nonorthogonal problems"; early stopping in place of
its penalty: Ali, Kolter & Tibshirani 2019, "A continuous-time view of early stopping for least squares regression".
"""

from typing import ClassVar

from pipeline.models.configs.base import ArchitectureConfig
from pipeline.models.configs.ridge import RidgeConfig
from pipeline.models.layers.linear_classifier import LinearClassifier


class Ridge(LinearClassifier):
    """The linear model of n-grams for numbers."""

    Config: ClassVar[type[ArchitectureConfig]] = RidgeConfig
    year = 1970
    paper = "Hoerl & Kennard 1970, Ridge regression: biased estimation for nonorthogonal problems"
    summary = "regression on n-grams in a linear model, fitted in seconds; --task regression only"
