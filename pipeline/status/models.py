"""The live model and its challengers: what LATEST, its history, the decisions and the bundles' descriptions say."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline.errors import InputNotFoundError, PipelineError
from pipeline.lake.atomic import PREFIX
from pipeline.lake.documents import read_document
from pipeline.lake.live import WentLive, history
from pipeline.lake.paths import Lake
from pipeline.status.records import figure
from pipeline.status.scores import Score
from schemas.contract import ContractError
from schemas.model import MODEL

DECISIONS = "decisions.jsonl"
"""In `models/`: a line for each decision whether a trained model goes live."""
PROMOTED, NOT_PROMOTED = "promoted", "not promoted"
_TRAINED_AT = re.compile(r"\d{8}T\d{6}Z")
_PARTS = (("test", "test"), ("valid", "validation"))


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model. `score`: on `measured_on`, the test or the validation part. `created`: UTC, ISO 8601."""

    model_id: str
    arch: str = ""
    created: str = ""
    score: Score | None = None
    measured_on: str = ""
    rows: int = 0
    table_version: int | None = None
    fault: str = ""
    """Why its description cannot be read; "" if it can."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """The model that is live. `since`, UTC, and `reason` are "" in lakes of earlier releases."""

    model: Model
    since: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a trained model went live, and why. Scores are those on the same `rows` held-out reviews."""

    model_id: str
    decision: str
    decided: str = ""
    reason: str = ""
    message: str = ""
    live: str = ""
    rows: int = 0
    challenger_score: Score | None = None
    live_score: Score | None = None
    p_value: float | None = None

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> "Decision | None":
        """A decision as `train` notes it; None if it names no model or says nothing."""
        if not all(isinstance(found.get(name), str) and found[name] for name in ("model_id", "decision")):
            return None
        words = ("model_id", "decision", "decided", "reason", "message", "live")
        return cls(
            **{name: found[name] for name in words if isinstance(found.get(name), str)},
            rows=int(figure(found.get("rows")) or 0),
            challenger_score=Score.of(found, "challenger_"),
            live_score=Score.of(found, "live_"),
            p_value=figure(found.get("p_value")),
        )


def live_model(lake: Lake) -> Live | None:
    """The live model; None where none has been trained yet. Its `model.fault` says if it cannot be used."""
    try:
        model_id = lake.latest_model()
    except InputNotFoundError:
        return None
    except PipelineError as error:
        return Live(model=Model(model_id="", fault=str(error)))
    last = next((entry for entry in reversed(history(lake)) if entry.model_id == model_id), None)
    model = describe(lake, model_id)
    return Live(model=model, since=last.since, reason=last.reason) if last else Live(model=model)


def describe(lake: Lake, model_id: str) -> Model:
    """What a bundle's description says of a model; nothing is loaded or verified."""
    folder = lake.models / model_id
    if folder.parent != lake.models or not folder.is_dir():
        return Model(model_id=model_id, fault=f"there is no model {model_id} in {lake.models}")
    try:
        found = read_document(folder / "model.json", MODEL)
    except (PipelineError, ContractError) as error:
        return Model(model_id=model_id, fault=str(error))
    score, measured_on, rows = measured(found["metrics"])
    return Model(
        model_id=model_id,
        arch=found["arch"],
        created=found["created"],
        score=score,
        measured_on=measured_on,
        rows=rows,
        table_version=found["table_version"],
    )


def measured(metrics: Mapping[str, Any]) -> tuple[Score | None, str, int]:
    """The main figure, the part that it was measured on and its rows, from the metrics of a training."""
    for part, words in _PARTS:
        score = Score.of(metrics, f"{part}_")
        if score is not None:
            return score, words, int(figure(metrics.get(f"{part}_rows")) or 0)
    return None, "", 0


def decisions(lake: Lake) -> list[Decision]:
    """The decisions, oldest first. Lines that are no decisions, such as one torn by a power cut, are passed over."""
    return list(_decisions(lake))


def _decisions(lake: Lake) -> Iterator[Decision]:
    try:
        lines = (lake.models / DECISIONS).read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return
    for line in lines:
        with suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict) and (decision := Decision.parse(found)):
                yield decision


def live_at(changes: Sequence[WentLive], moment: str) -> str:
    """The model that was live at a moment; "" if none was. `moment` and the history: UTC, ISO 8601 with seconds."""
    return next((entry.model_id for entry in reversed(changes) if entry.since <= moment), "")


def newest_models(lake: Lake, most: int) -> list[str]:
    """The IDs of the models that were trained last, newest first."""
    try:
        names = [path.name for path in lake.models.iterdir() if not path.name.startswith((PREFIX, ".")) and path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(names, key=_trained_at, reverse=True)[:most]


def _trained_at(model_id: str) -> tuple[str, str]:
    found = _TRAINED_AT.search(model_id)
    return (found[0] if found else "", model_id)
