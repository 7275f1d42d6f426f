"""Whether a night trains: what the policy asks for, decided from the table, the newest model and the last scored input."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.night.step import Step
from pipeline.config.retrain import Retrain
from pipeline.errors import PipelineError
from pipeline.lake.documents import read_document
from pipeline.lake.paths import Lake
from schemas.model import MODEL

DAY = 86_400.0
DESCRIPTION = "model.json"
PARTS = ("train", "valid", "test")
TAKING = ("retract", "erase")
"""Commands whose commits take rows out of the table."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to train, and why, in a line for the log."""

    train: bool
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """The newest model, live or not: one that was not promoted is a training all the same.

    Args:
        created: seconds since the epoch.
        table_version: None for a model of plain shards.
    """

    model_id: str
    created: float
    table_version: int | None
    metrics: dict[str, Any]


def decide(policy: Retrain, lake: Lake, scored: Step | None) -> Decision:
    """Applies the policy.

    Args:
        scored: the last step of score, of this night or an earlier one.
    """
    if policy.never:
        return Decision(False, "no training: --retrain never")
    if policy.always:
        return Decision(True, "training if anything is new: --retrain always")
    newest = newest_model(lake)
    if newest is None:
        return Decision(True, "training: the lake has no model yet")
    found = [*_conditions(policy, lake, newest, scored)]
    met = [text for is_met, text in found if is_met]
    if met:
        return Decision(True, f"training: {', '.join(met)} since {newest.model_id}")
    figures = ", ".join(text for _, text in found)
    return Decision(False, f"no training: {figures} since {newest.model_id}; --retrain {policy}")


def _conditions(policy: Retrain, lake: Lake, newest: Trained, scored: Step | None) -> Iterator[tuple[bool, str]]:
    """Each condition: whether it is met, and the figure that decides."""
    if policy.days is not None:
        days = (time.time() - newest.created) / DAY
        # A model from the future is one of a clock that was ahead; waiting for it may take years.
        yield days >= policy.days or days < 0, f"{days:.1f} days"
    if policy.drift:
        drifted = bool(scored is not None and (scored.metrics.get("drift") or {}).get("drifted"))
        yield drifted, "the last scored input had drifted" if drifted else "no drift of the last scored input"
    if policy.rows is not None or policy.share is not None:
        then = _rows_then(lake, newest)
        now = labelled_rows(lake)
        if then is None:
            yield True, "an unknown number of new labelled reviews"
            return
        new = now - then
        text = f"{new:,} new labelled reviews"
        yield policy.rows is not None and new >= policy.rows, text
        if policy.share is not None:
            yield new >= policy.share * max(then, 1), f"{new / max(then, 1):.1%} more of them"


def newest_model(lake: Lake) -> Trained | None:
    """The model that was trained last; bundles that cannot be read are passed over."""
    found: list[Trained] = []
    for path in lake.models.glob(f"[!.]*/{DESCRIPTION}"):
        with suppress(PipelineError, ValueError):
            described = read_document(path, MODEL)
            version = described.get("table_version")
            found.append(
                Trained(
                    model_id=path.parent.name,
                    created=datetime.fromisoformat(described["created"]).timestamp(),
                    table_version=version if isinstance(version, int) else None,
                    metrics=described["metrics"],
                )
            )
    return max(found, key=lambda model: (model.created, model.model_id), default=None)


def labelled_rows(lake: Lake, version: int | None = None) -> int:
    """Labelled reviews of a version of the table, by default the newest: footers of shards count those without a label.

    Raises:
        InputNotFoundError: no table, no such version, or vacuum has removed a shard.
        DataError: a shard is damaged.
    """
    from pipeline.lake import shards
    from pipeline.lake.table import TokenTable

    return sum(shards.labelled_rows(shard) for shard in TokenTable.open(lake.tokens, version).shards)


def _rows_left(lake: Lake, since: int) -> Iterator[int]:
    """Labelled reviews after each commit since a version that took rows out of the table."""
    from pipeline.lake import log

    for commit in log.commits(lake.tokens):
        if commit.version > since and commit.command in TAKING:
            with suppress(PipelineError):  # vacuum has removed its shards
                yield labelled_rows(lake, commit.version)


def _rows_then(lake: Lake, newest: Trained) -> int | None:
    """Labelled reviews of the last training that are still there: what was taken back since must not offset new ones."""
    if newest.table_version is not None:
        with suppress(PipelineError):
            then = labelled_rows(lake, newest.table_version)
            return min([then, *_rows_left(lake, newest.table_version)])
    counts = [newest.metrics.get(f"{part}_rows") for part in PARTS]
    known = [count for count in counts if isinstance(count, int)]
    return sum(known) if known else None
