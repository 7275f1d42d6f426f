"""The status of a lake: the facts, what needs a person, and both as the document of `pipeline status --json`."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.lake.live import history
from pipeline.lake.paths import Lake
from pipeline.lake.runs import age
from pipeline.printable import utf8_name
from pipeline.status.facts import Facts, Finding, Limits
from pipeline.status.lake import Disk, read_disk, read_table
from pipeline.status.models import live_model
from pipeline.status.night_rules import AFTERWARDS, is_mistyped
from pipeline.status.nights import COUNTS, NIGHTLY, STEPS, step_of
from pipeline.status.records import Record, Records, count, figure, inside, metrics
from pipeline.status.rules import findings, verdict
from pipeline.status.scores import Score
from schemas.status import STATUS

PAGE = "index.html"
"""The morning page, in the lake."""
NEWEST = 3
"""At least so many records of each command are read: rules compare a run with the one before, and one may be damaged."""
WITHDRAWALS = 100
"""So many of `erase` and `retract`: the live model may have learned from the reviews of any of them."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What there is to say of a lake."""

    lake: Lake
    facts: Facts
    disk: Disk
    limits: Limits
    found: Sequence[Finding]
    records: Records

    @property
    def verdict(self) -> str:
        """The last night in a line."""
        return verdict(self.found, self.facts)

    @property
    def unknown_share(self) -> float | None:
        """The share of unknown tokens in the last ingest that has measured it."""
        return self._measured("ingest", "unknown_share")

    @property
    def unknown_share_table(self) -> float | None:
        """The same of the whole table."""
        return self._measured("ingest", "unknown_share_table")

    @property
    def drift(self) -> Mapping[str, Any]:
        """What the last run of score that compared its reviews with the training data found; empty if none did."""
        return next((found for run in self.facts.last.get("score", ()) if (found := inside(metrics(run), "drift"))), {})

    @property
    def page(self) -> Path | None:
        """The morning page, if it exists."""
        path = self.lake.root / PAGE
        return path if path.is_file() else None

    def document(self) -> dict[str, Any]:
        """The status under its contract."""
        table, live = self.facts.table, self.facts.live
        found = {
            "version": STATUS.version,
            "lake": utf8_name(self.lake.place),
            "checked": self.facts.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "needs_person": bool(self.found),
            "verdict": self.verdict,
            "attention": [
                {
                    "kind": finding.kind,
                    "message": finding.message,
                    "command": typed(finding.command, self.lake.place) or None,
                    "run_id": finding.run_id or None,
                }
                for finding in self.found
            ],
            "live": None
            if live is None
            else {
                "model_id": live.model.model_id,
                "since": live.since or None,
                "reason": live.reason or None,
                "accuracy": _value(live.model.score, "accuracy"),
                "mae": _value(live.model.score, "mae"),
                "measured_on": live.model.measured_on or None,
                "table_version": live.model.table_version,
            },
            "runs": [_run(runs[0]) for runs in self.facts.last.values() if runs],
            "table": None
            if table is None or table.fault
            else {
                "version": table.version,
                "rows": table.rows,
                "labelled": table.labelled,
                "labels": list(table.labels),
            },
            "unknown_share": self.unknown_share,
            "unknown_share_table": self.unknown_share_table,
            "drift": dict(self.drift) or None,
            "disk": {
                "used": self.disk.used,
                "free": self.disk.free,
                "total": self.disk.total,
                "parts": self.disk.parts,
                "partial": sorted(self.disk.partial),
            },
            "page": utf8_name(str(self.page)) if self.page else None,
        }
        return STATUS.check(found, "the status")

    def _measured(self, command: str, name: str) -> float | None:
        found = (figure(metrics(run).get(name)) for run in self.facts.last.get(command, ()))
        return next((value for value in found if value is not None), None)


def _value(score: Score | None, metric: str) -> float | None:
    return score.value if score is not None and score.metric == metric else None


def look(lake: Lake, limits: Limits, now: datetime | None = None) -> Status:
    """Looks at a lake; reads only what the status needs.

    Raises:
        InputNotFoundError: there is no such lake.
        StorageUnavailableError: the storage does not answer.
    """
    lake.check_there()
    now = now or datetime.now(UTC)
    records = Records(lake, now)
    order = (NIGHTLY, *STEPS)
    commands = sorted(records.commands(), key=lambda name: (order.index(name) if name in order else len(order), name))
    last = {command: _newest(records, command, now) for command in commands}
    last |= {command: list(islice(records.of(command), WITHDRAWALS)) for command in ("erase", "retract") if command in last}
    disk = read_disk(lake)
    facts = Facts(
        last=last,
        live=live_model(lake),
        changes=history(lake),
        table=read_table(lake),
        disk=disk,
        unreadable=[path.name for path in records.unreadable],
        now=now,
    )
    return Status(lake=lake, facts=facts, disk=disk, limits=limits, found=findings(facts, limits), records=records)


def _newest(records: Records, command: str, now: datetime) -> list[Record]:
    """The newest runs of a command, without mistyped ones; of runs of the last day that found nothing new, all and the one
    before, which has brought what they left out."""
    newest = list(islice(records.of(command), NEWEST))
    if newest and all(map(is_mistyped, newest)) and len({str(record["finished"])[:10] for record in newest}) == NEWEST:
        return newest  # it is a schedule that is wrong
    found: list[Record] = []
    for record in records.of(command):
        if is_mistyped(record):
            continue
        found.append(record)
        if len(found) >= NEWEST and not (record["outcome"] == "nothing-new" and age(record, now) <= AFTERWARDS):
            break
    return found


def typed(command: Sequence[str], lake: str = "") -> str:
    """A command as people type it; "" for none. `lake`: the folder to name, "" for none."""
    if not command:
        return ""
    selected = ["--lake", lake] if lake else []
    return shlex.join(["pipeline", *selected, *command])


def _run(record: Record) -> dict[str, Any]:
    receipt = record["receipt"]
    return {
        **{name: record[name] for name in ("command", "run_id", "finished", "outcome", "exit_code")},
        "seconds": receipt["seconds"],
        **{name: count(receipt, name) for name in COUNTS},
        "rejects": step_of(record).rejects,
    }
