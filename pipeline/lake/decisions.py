"""What was decided about each trained model: `models/decisions.jsonl` has a line for each.

A decision is written before `models/LATEST` is moved, so that a run killed in between can be completed: nothing is decided
twice.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.lake import journal
from pipeline.lake.live import history
from pipeline.lake.paths import Lake

FIRST, NOT_WORSE, WORSE, ALREADY_LIVE = "first", "not worse", "worse", "already live"
ALWAYS, NEVER = "always", "never"
NOT_FINITE, BELOW_MAJORITY = "not finite", "below majority"
NOT_COMPARABLE, OTHER_TASK = "not comparable", "other task"
PROMOTED, NOT_PROMOTED = "promoted", "not promoted"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a trained model goes live. Figures are on the same `rows` reviews; None where nothing was compared."""

    model_id: str
    run_id: str
    decided: str
    """UTC, ISO 8601."""
    table_version: int | None
    decision: str
    """`PROMOTED` or `NOT_PROMOTED`."""
    reason: str
    message: str
    live: str | None
    """The live model before the decision."""
    rows: int = 0
    challenger_accuracy: float | None = None
    live_accuracy: float | None = None
    challenger_mae: float | None = None
    """Mean absolute error, of models of numbers; they have no accuracy."""
    live_mae: float | None = None
    p_value: float | None = None
    margin: float

    @property
    def promoted(self) -> bool:
        """Whether the model goes live."""
        return self.decision == PROMOTED

    def facts(self) -> dict[str, Any]:
        """What a receipt says: all but what it says elsewhere."""
        elsewhere = ("model_id", "run_id", "decided", "table_version")
        return {name: value for name, value in self.to_dict().items() if name not in elsewhere}

    def to_dict(self) -> dict[str, Any]:
        """The line of the journal; only models of numbers have errors."""
        return {name: value for name, value in asdict(self).items() if value is not None or not name.endswith("_mae")}


def add_decision(lake: Lake, decision: Decision) -> None:
    """Appends a decision.

    Raises:
        CannotWriteError: no permission, no space.
    """
    journal.append(lake.decisions, [decision.to_dict()])


def decisions(lake: Lake) -> Iterator[Decision]:
    """The decisions, oldest first."""
    names = Decision.__dataclass_fields__
    for entry in journal.entries(lake.decisions):
        with suppress(TypeError):  # a line without all fields
            yield Decision(**{name: value for name, value in entry.items() if name in names})


def decision_of(lake: Lake, model_id: str) -> Decision | None:
    """The last decision about a model; models of earlier releases have none."""
    return next((one for one in reversed(list(decisions(lake))) if one.model_id == model_id), None)


def incomplete_promotion(lake: Lake) -> Decision | None:
    """The last decision, if it promoted a model that did not go live since: the run was killed between the two."""
    last = next(reversed(list(decisions(lake))), None)
    if last is None or not last.promoted:
        return None
    later = (entry for entry in history(lake) if entry.since > last.decided)
    own = (entry for entry in history(lake) if entry.model_id == last.model_id and entry.since == last.decided)
    return None if any(later) or any(own) else last
