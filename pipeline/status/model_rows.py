"""The page's table of models."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.printable import printable
from pipeline.status.links import Link, link
from pipeline.status.models import NOT_PROMOTED, PROMOTED, Decision, Model, decisions, describe, measured, newest_models
from pipeline.status.nights import Night
from pipeline.status.records import when
from pipeline.status.status import Status
from pipeline.status.words import NONE

MOST_MODELS = 12
REPORT = "report.html"


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A model as the table shows it. `tag`: live, not promoted, was live, or ""."""

    name: Link
    tag: str
    date: str
    why: str
    score: str
    compared: str


@dataclass
class KnownModels:
    """Descriptions of models, each read once; of deleted ones, what their training has left in the nights."""

    status: Status
    nights: Sequence[Night]
    known: dict[str, Model] = field(default_factory=dict)

    def __getitem__(self, model_id: str) -> Model:
        if model_id not in self.known:
            found = describe(self.status.lake, model_id)
            self.known[model_id] = self._remembered(model_id) if found.fault else found
        return self.known[model_id]

    def _remembered(self, model_id: str) -> Model:
        for night in self.nights:
            for step in night.steps:
                if step.command == "train" and step.outputs.get("model_id") == model_id:
                    score, measured_on, rows = measured(step.metrics)
                    return Model(model_id=model_id, score=score, measured_on=measured_on, rows=rows)
        return Model(model_id=model_id)


def model_rows(status: Status, models: KnownModels) -> list[ModelRow]:
    """The live model, then the newest others."""
    decided = {decision.model_id: decision for decision in decisions(status.lake)}
    live = status.facts.live.model.model_id if status.facts.live else ""
    newest = newest_models(status.lake, MOST_MODELS)
    names = dict.fromkeys([*([live] if live else []), *newest, *reversed(decided)])
    return [_model_row(status, models[name], decided.get(name), name == live) for name in list(names)[:MOST_MODELS]]


def _model_row(status: Status, model: Model, decision: Decision | None, live: bool) -> ModelRow:
    entries = [entry for entry in status.facts.changes if entry.model_id == model.model_id]
    refused = decision is not None and decision.decision == NOT_PROMOTED
    tag = "live" if live else "was live" if entries else "not promoted" if refused else ""
    since = entries[-1].since if entries else ""
    date = since or (decision.decided if decision else "") or model.created
    why = entries[-1].reason if entries else decision.reason if decision else ""
    if decision is not None and decision.message and (refused or why in ("", "trained", PROMOTED)):
        why = decision.message
    report = link(status.lake, f"models/{model.model_id}/{REPORT}", model.model_id)
    score = NONE if model.score is None else f"{model.score} ({model.measured_on})"
    return ModelRow(
        name=report if report.href else Link(name=printable(model.model_id)),
        tag=tag,
        date=when(date) if date else NONE,
        why=printable(why),
        score=score,
        compared=_compared(decision) if decision else "",
    )


def _compared(decision: Decision) -> str:
    """How a challenger did against the live model on the same reviews."""
    if decision.challenger_score is None:
        return ""
    against = "" if decision.live_score is None else f" against {decision.live_score}"
    rows = f" on {decision.rows:,} reviews" if decision.rows else ""
    if decision.p_value is None:
        p_value = ""
    else:
        p_value = ", p\u00a0<\u00a00.001" if decision.p_value < 0.001 else f", p\u00a0=\u00a0{decision.p_value:.3f}"
    return f"{decision.challenger_score}{against}{rows}{p_value}"
