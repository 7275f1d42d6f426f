"""How scoring is spread: over threads of this process, or over tasks of a Ray cluster.

A model at work gives windows of the input with their probabilities, in order. Windows and their batches are the same
everywhere, so the predictions are the same, byte for byte. torch is imported where the model needs it, and only there.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Union

from pipeline.config.score import ScoreConfig
from pipeline.config.shared import RAY
from pipeline.process import collector_paused

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.datapipes.score_window import Window
    from pipeline.models.bundle import Bundle
    from pipeline.scoring.inputs import ScoreInput
    from pipeline.scoring.predictor import Pending, Predictor
    from pipeline.scoring.probabilities import Probabilities
    from pipeline.scoring.sums_predictor import SumsPredictor

AnyPredictor = Union["Predictor", "SumsPredictor"]

READ_ROWS = 1024
"""Rows of the first window."""
WINDOW_ROWS = 8192
WINDOW_BYTES = 64 << 20
"""Maximum rows, or bytes of columns and ids, of a window; sorting more than that gains nothing."""

PARTS_AHEAD = 8
"""Parts of a window that are tokenized while the model scores the one before; each has at most 16 MiB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is to be scored.

    Args:
        kept: the columns to keep, as the reader gives them.
        json_as_is: whether values of JSON stay as they were written.
    """

    source: "ScoreInput"
    kept: "pa.Schema"
    json_as_is: bool


class Scored(NamedTuple):
    """A window with probabilities, float32 (N, C), and the column of explanations, if they are wanted."""

    window: "Window"
    probability_NC: "Probabilities"
    explanation: "pa.Array | None"


class Scoring(Protocol):
    """A model at work. `threads` is the number of batches at a time."""

    @property
    def device_type(self) -> str:
        """`cpu` or `cuda`."""
        ...

    @property
    def precision(self) -> str:
        """`fp32` or `bf16`."""
        ...

    @property
    def threads(self) -> int:
        """Batches at a time."""
        ...

    def windows(self, request: Request) -> Iterator[Scored]:
        """Scores an input, in order; what was scored before makes no difference."""
        ...


@contextmanager
def open_scoring(bundle: "Bundle", config: ScoreConfig) -> Iterator[Scoring]:
    """The model at work where the engine of the configuration puts it, for the block.

    Raises:
        PipelineError: the weights cannot be read; a device, precision or engine that is not available.
    """
    with ExitStack() as stack:
        if config.engine == RAY:
            from pipeline.engines.on_ray.cluster import connecting
            from pipeline.engines.on_ray.score import RayScoring

            yield RayScoring.of(bundle, config, stack.enter_context(connecting(config.workers))())
        else:
            predictor = open_predictor(bundle, config)
            stack.enter_context(predictor)
            yield LocalScoring(predictor, config)


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


class LocalScoring:
    """Threads of this process read and tokenize, others compute; the next window is always on its way to the model while
    one is written."""

    def __init__(self, predictor: AnyPredictor, config: ScoreConfig) -> None:
        self._predictor, self._config = predictor, config

    @property
    def device_type(self) -> str:
        """See `Scoring`."""
        return self._predictor.device_type

    @property
    def precision(self) -> str:
        """See `Scoring`."""
        return self._predictor.precision

    @property
    def threads(self) -> int:
        """See `Scoring`."""
        return self._predictor.threads

    def windows(self, request: Request) -> Iterator[Scored]:
        """See `Scoring`."""
        from pipeline.datapipes.ordered_map import OrderedMap
        from pipeline.datapipes.score_encode import text_encoder
        from pipeline.datapipes.score_read import read_parts
        from pipeline.datapipes.score_window import windows
        from pipeline.scoring.sums_predictor import SumsPredictor

        predictor, source = self._predictor, request.source
        predictor.begin()
        at_once = predictor.score if isinstance(predictor, SumsPredictor) else None
        parts = read_parts(source.tables, source.schema.names)
        vocabulary = predictor.bundle.load_vocabulary()
        encode = text_encoder(vocabulary, request.kept, json_as_is=request.json_as_is, score=at_once)
        # Where there is a forward pass, it has the cores.
        default = predictor.threads if at_once else max(1, min(4, (os.cpu_count() or 1) // 2))
        workers = 0 if source.is_small() else self._config.workers or default
        with OrderedMap(parts, encode, workers, max(PARTS_AHEAD, 2 * workers)) as encoded:
            gathered = windows(encoded, READ_ROWS, WINDOW_ROWS, WINDOW_BYTES)
            for window, probability_NC in _in_turn(gathered, predictor):
                yield Scored(window, probability_NC, self._explained(window, probability_NC))

    def _explained(self, window: "Window", probability_NC: "Probabilities") -> "pa.Array | None":
        if not self._config.explain:
            return None
        from pipeline.scoring.explain import explanations
        from pipeline.scoring.predictor import Predictor

        assert isinstance(self._predictor, Predictor)
        vocabulary = self._predictor.bundle.load_vocabulary()
        return explanations(self._predictor, vocabulary, window.ids, probability_NC)


def _in_turn(gathered: "Iterator[Window]", predictor: AnyPredictor) -> "Iterator[tuple[Window, Probabilities]]":
    from pipeline.scoring.sums_predictor import SumsPredictor

    before: tuple[Window, Pending] | None = None
    for window in gathered:
        if window.probability_NC is not None:
            yield window, window.probability_NC
            continue
        assert not isinstance(predictor, SumsPredictor)
        pending = predictor.submit(window.ids)
        if before is not None:
            yield before[0], before[1].result()
        before = window, pending
    if before is not None:
        yield before[0], before[1].result()
