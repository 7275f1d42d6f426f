"""The page's table of nights."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.printable import printable
from pipeline.status.links import Link, link
from pipeline.status.model_rows import KnownModels
from pipeline.status.models import live_at
from pipeline.status.nights import Night, Step
from pipeline.status.records import figure, inside, moment, texts, went_well
from pipeline.status.status import Status
from pipeline.status.words import NONE, largest_psi, share, took

MOST_LINKS = 3
"""So many files of a kind are linked for a night; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class NightRow:
    """A night as the table shows it."""

    name: str
    record: Link
    well: bool
    ended: str
    read: str
    written: str
    rejected: str
    reasons: str
    left_out: str
    skipped: str
    scored: str
    unknown: str
    drift: str
    drifted: bool
    times: list[tuple[str, str]]
    model: str
    score: str
    files: list[Link]


def night_row(status: Status, night: Night, models: KnownModels) -> NightRow:
    ingest, score = night.last("ingest"), night.last("score")
    found = inside(score.metrics if score else {}, "drift")
    psi = largest_psi(found)
    model = live_at(status.facts.changes, night.finished) or (str(score.outputs.get("model") or "") if score else "")
    found_score = models[model].score if model else None
    reasons = _reasons(night.steps)
    return NightRow(
        name=f"{found_at:%Y-%m-%d %H:%M}" if (found_at := moment(night.started)) else printable(night.started),
        record=link(status.lake, f"runs/{night.run_id}.json") if night.run_id else Link(name=""),
        well=went_well(night.exit_code),
        ended=_ended(night),
        read=_counted(night.sum("read", "ingest")),
        written=_counted(night.sum("written", "ingest")),
        rejected=_counted(night.rejected),
        reasons=printable(", ".join(f"{number:,} {reason}" for reason, number in reasons.items())),
        left_out=f"{left_out:,} left out" if (left_out := sum(step.left_out for step in night.steps)) else "",
        skipped=_counted(night.sum("quarantined", "ingest", "score")),
        scored=_counted(night.sum("written", "score")),
        unknown=share(figure(ingest.metrics.get("unknown_share")) if ingest else None),
        drift=f"{psi[1]:.3f}" if psi else NONE,
        drifted=found.get("drifted") is True,
        times=_times(night.steps),
        model=printable(model),
        score="" if found_score is None else str(found_score),
        files=_files(status, night),
    )


def _ended(night: Night) -> str:
    """The exit code of a night, with the command that it came from where it failed."""
    failed = next((step for step in night.steps if step.exit_code == night.exit_code), None)
    if went_well(night.exit_code) or failed is None:
        return str(night.exit_code)
    return f"{night.exit_code} {printable(failed.command)}"


def _reasons(steps: Sequence[Step]) -> dict[str, int]:
    """Rejected rows by reason, over all steps, most first; without those that an option leaves out."""
    found: dict[str, int] = {}
    for step in steps:
        for reason, number in step.reported.items():
            found[reason] = found.get(reason, 0) + number
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _times(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Commands and the time they took; several runs of a command together."""
    seconds: dict[str, float] = {}
    for step in steps:
        seconds[step.command] = seconds.get(step.command, 0.0) + step.seconds
    return [(printable(command), took(spent)) for command, spent in seconds.items() if command]


def _files(status: Status, night: Night) -> list[Link]:
    """The files of a night that are still there."""
    found = [link(status.lake, night.log, "log")] if night.log else []
    for step in night.steps:
        for name in ("rejects", "predictions"):
            paths = list(dict.fromkeys(texts(step.outputs.get(name))))
            several = name == "predictions" and len(paths) > 1
            links = [link(status.lake, path, "" if several else name) for path in paths[:MOST_LINKS]]
            found += links
            if len(paths) > MOST_LINKS:
                found.append(Link(name=f"and {len(paths) - MOST_LINKS:,} more"))
        if step.command == "train" and (path := step.outputs.get("report")) and isinstance(path, str):
            found.append(link(status.lake, path, "report"))
    return [made for made in dict.fromkeys(found) if made.href or made.name.startswith("and ")]


def _counted(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"
