"""Which model is live: `models/LATEST` names it, and `models/live.jsonl` has a line for each time that it was moved.

LATEST alone decides what is scored with; the history is for going back.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from pipeline.errors import PipelineError
from pipeline.lake import journal
from pipeline.lake.atomic import make_folder, write_text
from pipeline.lake.paths import Lake

TRAINED, PROMOTED, ROLLED_BACK, REPAIRED = "trained", "promoted", "rolled back", "repaired"
"""Why a model went live."""


@dataclass(frozen=True, kw_only=True)
class WentLive:
    """A model went live. `since`: UTC, ISO 8601."""

    model_id: str
    since: str
    reason: str


def history(lake: Lake) -> list[WentLive]:
    """The models that went live, oldest first."""
    return list(_entries(lake))


def make_live(lake: Lake, model_id: str, reason: str) -> None:
    """Points LATEST to a model, and says so in the history.

    Raises:
        CannotWriteError: no permission, no space.
    """
    make_folder(lake.models)
    before = _live(lake)
    known = history(lake)
    entries = [WentLive(model_id=model_id, since=_now(), reason=reason)]
    if before and before != model_id and (not known or known[-1].model_id != before):
        # A lake of an earlier release has no history, and a killed run may have left its line behind.
        moved = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(lake.latest.stat().st_mtime))
        entries.insert(0, WentLive(model_id=before, since=moved, reason=TRAINED))
    write_text(lake.latest, f"{model_id}\n")
    journal.append(lake.live_history, [asdict(entry) for entry in entries])


def before_live(lake: Lake, present: frozenset[str]) -> str | None:
    """The model that was live before the one that is, and that is still there; None where there is none.

    Going back twice goes back further. A model that somebody went back from counts no more, until it goes live again.
    """
    names: list[str] = []
    for entry in _entries(lake):
        known = entry.model_id in names
        if known and entry.reason == ROLLED_BACK:
            del names[names.index(entry.model_id) + 1 :]
            continue
        if known:
            names.remove(entry.model_id)
        names.append(entry.model_id)
    live = _live(lake)
    earlier = names[: names.index(live)] if live in names else names
    return next((name for name in reversed(earlier) if name in present and name != live), None)


def _entries(lake: Lake) -> Iterator[WentLive]:
    for entry in journal.entries(lake.live_history):
        with suppress(KeyError):
            yield WentLive(model_id=str(entry["model_id"]), since=str(entry["since"]), reason=str(entry["reason"]))


def _live(lake: Lake) -> str:
    try:
        return lake.latest_model()
    except PipelineError:
        return ""


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
