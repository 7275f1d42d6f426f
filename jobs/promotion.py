"""Whether a trained model goes live: the decision at the end of `pipeline train`.

The challenger and the live model answer the same reviews, which neither was trained on (see `pipeline.scoring.judge`). The
challenger is worse if it loses more accuracy than the margin, and if chance alone would hardly make it lose as many of the
reviews that exactly one of the two has right (McNemar's exact test, one-sided, 5 %). Models of numbers are compared by their
mean absolute errors, and the margin is a share of the live model's (paired test of the errors, one-sided, 5 %). A model that
is not finite, or that is beaten by always giving the same answer, never goes live by itself, and neither does one of another
task than the live model.

Order on disk: the bundle, with its list of judging reviews; the decision; `models/LATEST`. Whatever a kill cuts off, the
next training does, and nothing is decided twice.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jobs.runtime import Run
from pipeline.config.train import ALWAYS as ALWAYS_MODE
from pipeline.config.train import NEVER as NEVER_MODE
from pipeline.config.train import TrainConfig
from pipeline.errors import PipelineError
from pipeline.lake.decisions import (
    ALREADY_LIVE,
    ALWAYS,
    BELOW_MAJORITY,
    FIRST,
    NEVER,
    NOT_COMPARABLE,
    NOT_FINITE,
    NOT_PROMOTED,
    NOT_WORSE,
    OTHER_TASK,
    PROMOTED,
    WORSE,
    Decision,
    add_decision,
    decision_of,
    incomplete_promotion,
)
from pipeline.lake.live import TRAINED, make_live
from pipeline.lake.paths import Lake
from pipeline.models.bundle import WEIGHTS, Bundle, model_ids, read_bundle, verify_bundle
from pipeline.order.holdout import FEWEST_ROWS
from pipeline.order.selection import Part, has_labelled
from pipeline.progress import AS_IT_IS, BRIEF, IN_FIGURES
from pipeline.reports.metrics import binomial_tail, worse_by_chance
from pipeline.reports.numbers import smaller_by_chance
from pipeline.scoring.judge import Merits, judging_rows, merits, read_judge
from pipeline.scoring.predictor import DivergedError
from pipeline.tasks.registry import task_of
from pipeline.training.data import TrainingData
from schemas.contract import ContractError

log = logging.getLogger(__name__)

SIGNIFICANCE = 0.05
FEW_ROWS = 100
"""On fewer rows, a model is below the majority class only if chance would hardly explain it."""
LOCK_SECONDS = 600.0
"""How long to wait for the decision about another model."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both models on the same rows; or why they cannot be compared, and whether the challenger may go live all the same."""

    rows: int = 0
    challenger: float | None = None
    live: float | None = None
    p_value: float | None = None
    obstacle: str = ""
    suspicious: bool = False
    is_other_task: bool = False
    metric: str = "accuracy"

    def worse(self, margin: float) -> bool:
        """Whether the challenger loses more than the margin, and not by chance."""
        if self.challenger is None or self.live is None or self.p_value is None:
            return False
        if self.metric == "mae":
            return self.challenger - self.live > margin * self.live and self.p_value < SIGNIFICANCE
        return self.live - self.challenger > margin and self.p_value < SIGNIFICANCE

    @property
    def figures(self) -> str:
        """The figures of both in words; "" if nothing was compared."""
        if self.challenger is None or self.live is None:
            return ""
        on = f"on {self.rows:,} reviews that the live model held out"
        words = _HEADLINES[self.metric]
        return f"{words} {self.challenger:.4f}, the live model's {self.live:.4f}, {on}"


def conclude(config: TrainConfig, data: TrainingData, bundle: Bundle, test: Part, run: Run) -> None:
    """Decides about a bundle that has just appeared in the lake, and makes it live if so decided; on the main rank only.

    Args:
        test: the test part of its training.

    Raises:
        InputNotFoundError, DataError: a shard is gone or damaged; the next training decides then.
        LockedError: the decision about another model takes very long; likewise.
        CannotWriteError: no permission, no space.
    """
    lake = config.lake
    with _one_at_a_time(lake):
        decision = decision_of(lake, bundle.model_id)
        if decision is None:
            decision = _decide(config, data, bundle, test, run.run_id)
            add_decision(lake, decision)
        if decision.promoted and _live(lake) != bundle.model_id:
            make_live(lake, bundle.model_id, TRAINED)
    run.metrics["promotion"] = decision.facts()
    _say(decision)
    if decision.promoted:
        _doubt(bundle)


def complete_promotion(lake: Lake) -> str | None:
    """Makes the model live whose promotion was decided before its run was killed; gives its ID if there was one."""
    if incomplete_promotion(lake) is None:
        return None
    with _one_at_a_time(lake):
        left = incomplete_promotion(lake)  # another run may have done it meanwhile
        if left is None or left.model_id not in model_ids(lake) or _live(lake) == left.model_id:
            return None
        make_live(lake, left.model_id, TRAINED)
    log.info("LATEST is now %s, as the killed run %s had decided", left.model_id, left.run_id)
    return left.model_id


def paired(ours: Merits, theirs: Merits, metric: str = "accuracy") -> Comparison:
    """The comparison of what two models' answers to the same rows are worth, at least one."""
    if metric == "mae":
        return Comparison(
            rows=len(ours),
            challenger=-float(np.mean(ours)),
            live=-float(np.mean(theirs)),
            p_value=smaller_by_chance(ours - theirs),
            metric=metric,
        )
    only_theirs, only_ours = int((theirs > ours).sum()), int((ours > theirs).sum())
    return Comparison(
        rows=len(ours),
        challenger=float(np.mean(ours)),
        live=float(np.mean(theirs)),
        p_value=worse_by_chance(only_theirs, only_ours),
    )


def _decide(config: TrainConfig, data: TrainingData, bundle: Bundle, test: Part, run_id: str) -> Decision:
    live = _live_bundle(config.lake)
    decided = Decision(
        model_id=bundle.model_id,
        run_id=run_id,
        decided=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        table_version=bundle.table_version,
        decision=PROMOTED,
        reason=FIRST,
        message="",
        live=_live(config.lake) or None,
        margin=config.promote_margin,
    )
    if decided.live == bundle.model_id:
        return replace(decided, reason=ALREADY_LIVE, message="it is the live model already")
    if not _is_finite(bundle):
        return _refused(decided, NOT_FINITE, "its loss or its weights are not finite")
    part, below = _below_majority(bundle)
    if isinstance(live, Bundle):
        try:
            found = _compare(config, data, bundle, live, test)
        except DivergedError:
            return _refused(decided, NOT_FINITE, "its probabilities are not finite")
        decided = replace(decided, rows=found.rows, p_value=found.p_value, **_compared(found))
    else:
        found = Comparison(obstacle=live)
        decided = replace(decided, **_own_figures(bundle, part))
    if found.is_other_task and config.promote != ALWAYS_MODE:
        return _refused(decided, OTHER_TASK, f"{found.obstacle}; --promote always replaces it")
    if below:
        return _refused(decided, BELOW_MAJORITY, f"{below}{_and(found.figures)}")
    return _by_mode(config, decided, found, bundle, part, is_first=decided.live is None or live == "")


def _by_mode(
    config: TrainConfig, decided: Decision, found: Comparison, bundle: Bundle, part: str, *, is_first: bool
) -> Decision:
    """The decision about a sound model, by `--promote`."""
    reasons = found.figures or found.obstacle
    if config.promote == NEVER_MODE:
        return _refused(decided, NEVER, f"--promote never{_and(reasons)}")
    if is_first:
        return replace(decided, live=None, message=f"the lake has no other live model{_beside_baseline(bundle, part)}")
    if config.promote == ALWAYS_MODE:
        return replace(decided, reason=ALWAYS, message=f"--promote always{_and(reasons)}")
    if found.obstacle:
        decision = NOT_PROMOTED if found.suspicious else PROMOTED
        return replace(decided, decision=decision, reason=NOT_COMPARABLE, message=found.obstacle)
    if found.worse(config.promote_margin):
        return _refused(decided, WORSE, f"{found.figures} (p = {found.p_value:.2g}, margin {config.promote_margin:g})")
    return replace(decided, reason=NOT_WORSE, message=found.figures)


def _refused(decided: Decision, reason: str, message: str) -> Decision:
    return replace(decided, decision=NOT_PROMOTED, reason=reason, message=message)


def _and(text: str) -> str:
    return f"; {text}" if text else ""


def _compare(config: TrainConfig, data: TrainingData, challenger: Bundle, live: Bundle, test: Part) -> Comparison:
    task, other = task_of(challenger), task_of(live)
    if task.kind is not other.kind:
        return Comparison(
            obstacle=f"{live.model_id}, the live model, has learned {other.kind.name}, so nothing was compared",
            is_other_task=True,
        )
    if task.column != other.column:
        return Comparison(
            obstacle=f"{live.model_id}, the live model, has learned the column {other.column!r}, so nothing was compared",
            is_other_task=True,
        )
    if why := task.is_comparable(other):
        return Comparison(obstacle=f"{live.model_id} {why}, so nothing was compared")
    if live.tokenizer != challenger.tokenizer:
        return Comparison(obstacle=f"{live.model_id} reads tokens of {live.tokenizer}, so nothing was compared")
    if not test.rows:
        return Comparison(obstacle="there is no test split, so nothing was compared")
    try:
        listed = read_judge(live.folder)
    except (PipelineError, ContractError) as error:
        log.warning("%s Comparing on the whole test split.", error, extra=AS_IT_IS)
        listed = None
    if listed is None and not has_labelled(data.shards, "test", task):
        # Without a list, nothing shows that the live model was not trained on today's test part.
        return Comparison(obstacle=f"{live.model_id} was trained without a test split, so nothing was compared")
    rows = judging_rows(test, listed)
    before = rows.rows if listed is None else len(listed)
    if not rows.rows or rows.rows < min(FEWEST_ROWS, before / 2):
        return Comparison(
            rows=rows.rows,
            suspicious=before >= FEWEST_ROWS,
            obstacle=f"of the {before:,} reviews that {live.model_id} held out, {rows.rows:,} are in today's test split "
            f"with the same text and {_TARGETS[task.headline]}, too few to compare on",
        )
    ours = merits(challenger, rows, data.vocabulary, config.device)
    try:
        verify_bundle(live)
        theirs = merits(live, rows, data.vocabulary, config.device)
    except (PipelineError, ContractError) as error:
        # The shards have just been read, so it is the live model that cannot be.
        log.warning("%s", error, extra=AS_IT_IS)
        return Comparison(obstacle=f"{live.model_id} cannot be used, so nothing was compared")
    return paired(ours, theirs, task.headline)


def _below_majority(bundle: Bundle) -> tuple[str, str]:
    """The part that the model's figures are of, and how it loses to the most frequent label; "" if it does not.

    A model whose rare labels weigh more trades accuracy for them, so its macro F1 has to lose as well.
    """
    metrics = bundle.metrics
    part = "test" if any(f"test_{name}" in metrics for name in _HEADLINES) else "valid"
    if bundle.task:
        return part, _below_constant(metrics, part)
    return part, "" if _may_be_chance(metrics, part) else _shortfall(bundle, part)


def _shortfall(bundle: Bundle, part: str) -> str:
    """How a model's figures lose to the most frequent label, be it by chance; "" if they do not."""
    metrics = bundle.metrics
    accuracy, majority = metrics.get(f"{part}_accuracy"), metrics.get(f"{part}_majority_accuracy")
    if accuracy is None or majority is None or accuracy >= majority:
        return ""
    if "class_weights" in metrics and metrics[f"{part}_macro_f1"] > 2 * majority / (1 + majority) / len(bundle.labels):
        return ""
    rows = int(metrics.get(f"{part}_rows", FEW_ROWS))
    return (
        f"accuracy {accuracy:.4f} on {rows:,} reviews of the {_PARTS[part]}, and always predicting the most frequent label "
        f"has {majority:.4f}"
    )


def _may_be_chance(metrics: Mapping[str, Any], part: str) -> bool:
    """Whether there are so few rows that a model as good as the most frequent label would hardly do better."""
    accuracy, majority = metrics.get(f"{part}_accuracy"), metrics.get(f"{part}_majority_accuracy")
    if accuracy is None or majority is None:
        return False
    rows = int(metrics.get(f"{part}_rows", FEW_ROWS))
    return rows < FEW_ROWS and majority < 1 and binomial_tail(round(accuracy * rows), rows, majority) >= SIGNIFICANCE


def _below_constant(metrics: Mapping[str, Any], part: str) -> str:
    """How a model of numbers loses to the median; "" if it does not."""
    mae, constant = metrics.get(f"{part}_mae"), metrics.get(f"{part}_constant_mae")
    if mae is None or constant is None or mae < constant:
        return ""
    rows = int(metrics.get(f"{part}_rows", FEW_ROWS))
    return (
        f"mean absolute error {mae:.4f} on {rows:,} reviews of the {_PARTS[part]}, and always predicting the median has "
        f"{constant:.4f}"
    )


_HEADLINES = {"accuracy": "accuracy", "mae": "mean absolute error"}
_TARGETS = {"accuracy": "label", "mae": "number"}
_PARTS = {"test": "test split", "valid": "validation split"}


def _own_figures(bundle: Bundle, part: str) -> dict[str, Any]:
    """The challenger's own figure where there is no other model."""
    rows = bundle.metrics.get(f"{part}_rows", 0)
    metric = task_of(bundle).headline
    return {"rows": rows, f"challenger_{metric}": bundle.metrics.get(f"{part}_{metric}")}


def _compared(found: Comparison) -> dict[str, Any]:
    return {f"challenger_{found.metric}": found.challenger, f"live_{found.metric}": found.live}


def _beside_baseline(bundle: Bundle, part: str) -> str:
    metrics = bundle.metrics
    metric = task_of(bundle).headline
    words, name = _HEADLINES[metric], f"{part}_{metric}"
    text = f"; {words} {metrics[name]:.4f} on the {_PARTS[part]}" if name in metrics else ""
    baseline = metrics.get("baseline") or {}
    if baseline.get("better"):
        than = "less" if metric == "accuracy" else "more"
        text += f", {than} than {baseline[name]:.4f} by {baseline['arch']}, a linear model"
    return text


def _is_finite(bundle: Bundle) -> bool:
    """Whether losses and weights are finite."""
    from safetensors import safe_open

    losses = [value for name, value in bundle.metrics.items() if name.endswith("_loss")]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in losses):
        return False
    with safe_open(bundle.folder / WEIGHTS, framework="pt") as file:
        tensors = (file.get_tensor(name) for name in file.keys())  # noqa: SIM118 - safe_open is no dict
        return all(bool(tensor.isfinite().all()) for tensor in tensors)


def _live_bundle(lake: Lake) -> Bundle | str:
    """The live model; "" where LATEST names none, and why where it cannot be read."""
    named = _live(lake)
    if named not in model_ids(lake):
        return ""
    try:
        return read_bundle(lake.models / named)
    except (PipelineError, ContractError) as error:
        log.warning("%s", error, extra=AS_IT_IS)
        return f"{named} cannot be read, so nothing was compared"


def _live(lake: Lake) -> str:
    try:
        return lake.latest_model()
    except PipelineError:
        return ""


def _say(decision: Decision) -> None:
    model_id, live = decision.model_id, decision.live
    if decision.promoted:
        log.info("%s is live now: %s", model_id, decision.message)
        return
    remains = f"{live} stays live" if live else "No model is live"
    level = logging.INFO if decision.reason == NEVER else logging.WARNING
    text = "%s was not promoted (%s): %s. %s. 'pipeline models promote %s' makes it live all the same."
    log.log(level, text, model_id, decision.reason, decision.message, remains, model_id, extra=IN_FIGURES)


def _doubt(bundle: Bundle) -> None:
    """Warns of a model that went live although its figures are below those of the most frequent label."""
    part, _ = _below_majority(bundle)
    if not bundle.task and (shortfall := _shortfall(bundle, part)):
        log.warning(
            "%s went live, but it may be worse than none: %s. On so few reviews that may be chance, so it was not held "
            "back. Ingest more labelled reviews, and train again.",
            bundle.model_id,
            shortfall,
            extra={
                BRIEF: "the live model may be worse than always predicting the most frequent label: too few reviews show it"
            },
        )


@contextmanager
def _one_at_a_time(lake: Lake) -> Iterator[None]:
    """So that two trainings do not both replace the same model; where there are no locks, they may."""
    try:
        from pipeline.lake.locks import locked
    except ModuleNotFoundError:
        yield
        return
    with locked(lake.locks / "promotion.lock", "the decision about another model", LOCK_SECONDS):
        yield
