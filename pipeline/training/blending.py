"""After the last epoch: the linear path of n-grams beside the model, the scales that calibrate both, and the figures.

The linear path is fitted on the training part, with a teacher on the reviews that it labelled as well; the scales on the
validation part; the test part is used once. All of it is a pure function of data, options and trained weights, so a run
killed here repeats it.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.devices import autocast
from pipeline.models.blend import Blend, BlendConfig, cut
from pipeline.models.interface import Classifier
from pipeline.models.layers.ngram_linear import NgramLinear
from pipeline.order.plan import EvaluationPlan
from pipeline.order.selection import Part
from pipeline.progress import track
from pipeline.tasks.base import Targets, Task
from pipeline.tasks.figures import Evaluation
from pipeline.training.ngram_fit import NgramOptions, fit_ngrams

log = logging.getLogger(__name__)

Classify = Callable[[Tensor, Tensor], Tensor]
"""From ids (B, T) and lengths (B,) to outputs (B, C)."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a part is read for evaluation."""

    max_length: int
    vocab_size: int
    batch_size: int
    device: torch.device
    precision: str
    loader: LoaderOptions = field(default_factory=LoaderOptions)
    check_stop: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Outputs:
    """Outputs for N rows by each of J models, their targets, and their number of tokens. Rows are in no particular order."""

    outputs_JNC: tuple[npt.NDArray[np.float64], ...]
    targets_N: Targets
    tokens: int

    def blended(self, scales_J: Sequence[float]) -> npt.NDArray[np.float64]:
        """The sum of the first models' outputs, each times its scale: (N, C)."""
        return np.asarray(sum(scale * outputs_NC for scale, outputs_NC in zip(scales_J, self.outputs_JNC, strict=False)))

    def evaluation(self, task: Task, outputs_NC: npt.NDArray[np.float64]) -> Evaluation:
        """The figures of the part for these outputs."""
        return task.evaluate(outputs_NC, self.targets_N, self.tokens)


@torch.inference_mode()
def collect(models: Sequence[Classify], part: Part, reading: Reading, description: str) -> Outputs:
    """Runs models on a part, side by side.

    Raises:
        DataError: damaged shards, or ids that are not below `vocab_size`.
    """
    plan = EvaluationPlan(part.rows_per_group, reading.batch_size)
    reader = RowGroupReader(part, reading.max_length, reading.vocab_size)
    outputs: list[list[npt.NDArray[np.float64]]] = [[] for _ in models]
    targets: list[Targets] = []
    tokens = 0
    with batches(plan, reader, reading.loader) as stream, track(description, part.rows) as progress:
        for batch in stream:
            tokens += batch.tokens
            there = batch.to(reading.device)
            for model, found in zip(models, outputs, strict=True):
                with autocast(reading.device, reading.precision):
                    outputs_BC = model(there.ids, there.lengths)
                found.append(outputs_BC.double().cpu().numpy())
            targets.append(batch.targets.numpy())
            progress.advance(batch.rows)
            reading.check_stop()
    return Outputs(tuple(np.concatenate(parts) for parts in outputs), np.concatenate(targets), tokens)


@dataclass(frozen=True, kw_only=True)
class BlendOptions:
    """What to combine with an architecture. `wide`: the linear path becomes part of the model; `baseline`: it is at least
    fitted for comparison; `calibrate`: fit the scales, else a single part keeps its logits, and two have equal weights."""

    max_length: int
    truncation: str = "head"
    wide: bool = False
    baseline: bool = True
    calibrate: bool = True
    ngrams: NgramOptions = field(default_factory=NgramOptions)


@dataclass(frozen=True, kw_only=True)
class Blended:
    """The whole model and its metrics on the validation part, and on the test part if there is one.

    `metrics` are JSON values: the task's measures of the whole as `valid_…` and `test_…`, its headline figure of the
    architecture alone in a wide model, `scales`, and the `baseline`'s own figures.
    """

    model: Blend
    valid: Evaluation
    test: Evaluation | None
    metrics: dict[str, Any]


@dataclass(frozen=True)
class FittedNgrams:
    """The linear model of n-grams, and the time it took."""

    model: NgramLinear
    seconds: float


def fit_beside(
    part: Part, options: NgramOptions, task: Task, reading: Reading, soft_targets_UC: Tensor | None = None
) -> FittedNgrams:
    """Fits the linear model that accompanies an architecture.

    Args:
        part: what it learns from.
        soft_targets_UC: targets of the rows that bear soft ones, in the part's order.

    Raises:
        DataError: damaged shards.
        StoppedError: `reading.check_stop` raised it.
    """
    started = time.perf_counter()
    model = fit_ngrams(
        part,
        options,
        task=task,
        max_length=reading.max_length,
        vocab_size=reading.vocab_size,
        soft_targets_UC=soft_targets_UC,
        check_stop=reading.check_stop,
    )
    return FittedNgrams(model, time.perf_counter() - started)


def blend(
    deep: Classifier,
    parts: Mapping[str, Part],
    task: Task,
    options: BlendOptions,
    reading: Reading,
    fitted: FittedNgrams | None = None,
    taught: FittedNgrams | None = None,
) -> Blended:
    """Fits the parts around a trained architecture, and evaluates the whole.

    Args:
        parts: train, valid and test.
        fitted: the linear model, if it is already fitted: the baseline.
        taught: one that has a teacher, to stand beside the architecture instead of the baseline.

    Raises:
        DataError: damaged shards.
        StoppedError: `reading.check_stop` raised it.
    """
    deep.eval()
    if fitted is None and (options.baseline or (options.wide and taught is None)):
        fitted = fit_beside(parts["train"], options.ngrams, task, reading)
    beside = (taught or fitted) if options.wide else None
    linears = [*([beside] if beside else []), *([fitted] if fitted and fitted is not beside else [])]

    def read_deep(ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        outputs_BC: Tensor = deep(*cut(ids_BT, lengths_B, options.max_length, options.truncation))
        return outputs_BC

    models: list[Classify] = [read_deep, *(linear.model for linear in linears)]
    outputs = {name: collect(models, parts[name], reading, name) for name in ("valid", "test") if parts[name].rows}
    scales = _fit(outputs["valid"], task, options)
    figures = {name: found.evaluation(task, found.blended(scales)) for name, found in outputs.items()}
    metrics = _metrics(outputs, task, figures, scales)
    if fitted is not None:
        metrics["baseline"] = _baseline(outputs, task, 1 + linears.index(fitted), fitted.seconds)
    config = BlendConfig(max_length=options.max_length, truncation=options.truncation, scale=scales[0])
    if beside is None:
        model = Blend(deep, config)
    else:
        config = replace(config, ngram_scale=scales[1], ngrams=beside.model.ngrams, bits=beside.model.bits)
        model = Blend(deep, config, beside.model)
    return Blended(model=model.eval(), valid=figures["valid"], test=figures.get("test"), metrics=metrics)


def _fit(valid: Outputs, task: Task, options: BlendOptions) -> list[float]:
    """The scales of the parts that make up the model."""
    parts = valid.outputs_JNC[: 1 + options.wide]
    scales = [1.0 / len(parts)] * len(parts)
    if not options.calibrate:
        return scales
    if options.wide and task.weights_rows:
        # The mix of the parts decides the prediction, so rows are weighted here; their common scale is calibration.
        scales = task.fit_scales(parts, valid.targets_N, scales, weighted=True)
        common = task.fit_scales([valid.blended(scales)], valid.targets_N, [1.0])[0]
        return [scale * common for scale in scales]
    return task.fit_scales(parts, valid.targets_N, scales)


def _metrics(
    outputs: Mapping[str, Outputs], task: Task, figures: Mapping[str, Evaluation], scales: list[float]
) -> dict[str, Any]:
    metrics: dict[str, Any] = {"scales": scales}
    for name, found in outputs.items():
        measures = task.measures(figures[name], found.blended(scales), found.targets_N)
        metrics |= {f"{name}_{measure}": value for measure, value in measures.items()}
        if len(scales) > 1:
            alone = found.evaluation(task, _by_itself(outputs, task, name, 0))
            metrics[f"{name}_deep_{task.headline}"] = alone.figures()[task.headline]
    return metrics


def _by_itself(outputs: Mapping[str, Outputs], task: Task, name: str, place: int) -> npt.NDArray[np.float64]:
    """The outputs of one model for a part, as if it were the whole."""
    said_NC = outputs[name].outputs_JNC[place]
    if not task.needs_scale:
        return said_NC
    valid = outputs["valid"]
    (scale,) = task.fit_scales([valid.outputs_JNC[place]], valid.targets_N, [1.0])
    return np.asarray(said_NC * scale)


def _baseline(outputs: Mapping[str, Outputs], task: Task, place: int, seconds: float) -> dict[str, Any]:
    """The linear model's own metrics on the same rows, and the time it took; `place`: of its outputs."""
    baseline: dict[str, Any] = {"arch": task.kind.linear_arch, "seconds": round(seconds, 3)}
    for name, found in outputs.items():
        said_NC = _by_itself(outputs, task, name, place)
        measures = task.measures(found.evaluation(task, said_NC), said_NC, found.targets_N)
        baseline |= {f"{name}_{measure}": measures[measure] for measure in task.baseline_figures}
    return baseline
