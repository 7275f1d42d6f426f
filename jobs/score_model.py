"""The model of a run of `pipeline score`, ready to score: with torch, or without it where it is not needed."""

from typing import TYPE_CHECKING, Union

from pipeline.config.score import ScoreConfig
from pipeline.process import collector_paused

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle
    from pipeline.scoring.predictor import Predictor
    from pipeline.scoring.sums_predictor import SumsPredictor

AnyPredictor = Union["Predictor", "SumsPredictor"]


def open_predictor(bundle: "Bundle", config: ScoreConfig) -> AnyPredictor:
    """The model, ready to score; a context manager. Explanations need gradients, so torch.

    Raises:
        PipelineError: the weights cannot be read; a device or precision that is not available.
    """
    with collector_paused():
        from pipeline.scoring.sums_predictor import SumsPredictor

        found = None if config.explain else SumsPredictor.of(bundle, config.device, config.precision)
        if found is not None:
            return found
        from pipeline.scoring.predictor import Predictor
    return Predictor(bundle, config.device, config.batch_size, config.precision)
