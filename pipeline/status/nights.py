"""Nights: what ran together. A `nightly` run is one; of commands that a schedule runs one by one, the runs of a day are."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import EXIT_DONE, EXIT_NOTHING_NEW
from pipeline.status.records import Record, Records, count, figure, inside, metrics, outputs, texts, went_well
from pipeline.status.words import listed_files
from schemas.bad_row import CHOSEN, num_chosen

NIGHTLY = "nightly"
STEPS = ("ingest", "train", "score")
"""The commands of a night, in the order of their work."""
READERS = ("ingest", "score")
"""Those of them that read a delivery."""
COUNTS = ("read", "written", "rejected", "known", "quarantined")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command of a night. Counts are rows, of `quarantined` files."""

    command: str
    run_id: str
    exit_code: int
    seconds: float
    counts: Mapping[str, int]
    outputs: Mapping[str, Any]
    metrics: Mapping[str, Any]
    error: str = ""
    """Why it failed, as the night noted it."""

    @property
    def rejects(self) -> dict[str, int]:
        """Rejected rows by reason."""
        return {str(reason): count(inside(self.metrics, "rejects"), reason) for reason in inside(self.metrics, "rejects")}

    @property
    def left_out(self) -> int:
        """Rows that were rejected because an option leaves them out."""
        return min(num_chosen(self.rejects), self.counts["rejected"])

    @property
    def rejected(self) -> int:
        """The other rejected rows."""
        return self.counts["rejected"] - self.left_out

    @property
    def reported(self) -> dict[str, int]:
        """The other rejected rows, by reason, most first."""
        found = [(reason, rows) for reason, rows in self.rejects.items() if rows and reason not in CHOSEN]
        return dict(sorted(found, key=lambda item: (-item[1], item[0])))

    @property
    def files_with_rejects(self) -> str:
        """The files that they are in; "" if nothing says so."""
        return listed_files(self.metrics.get("rejects_files"))


@dataclass(frozen=True, kw_only=True)
class Night:
    """What ran together. `started` and `finished`: UTC, ISO 8601."""

    started: str
    finished: str
    exit_code: int
    steps: tuple[Step, ...]
    run_id: str = ""
    """The `nightly` run; "" for commands that ran one by one."""
    attention: tuple[str, ...] = ()
    log: str = ""

    def last(self, command: str) -> Step | None:
        """The last run of a command in the night."""
        return next((step for step in reversed(self.steps) if step.command == command), None)

    def sum(self, count: str, *commands: str) -> int | None:
        """A count over all runs of these commands; None if none of them ran."""
        found = [step.counts[count] for step in self.steps if step.command in commands]
        return sum(found) if found else None

    @property
    def rejected(self) -> int | None:
        """Rejected rows that no option leaves out; None if nothing was read."""
        found = [step.rejected for step in self.steps if step.command in READERS]
        return sum(found) if found else None

    def value(self, name: str, *commands: str) -> float | None:
        """A figure of the last of these commands that has it."""
        found = (figure(step.metrics.get(name)) for step in reversed(self.steps) if step.command in commands)
        return next((value for value in found if value is not None), None)


def nights(records: Records, most: int) -> list[Night]:
    """The newest nights, newest first."""
    nightly = [night_of(record) for record in itertools.islice(records.of(NIGHTLY), most)]
    oldest = nightly[-1].started if len(nightly) == most else ""
    within = {step.run_id for night in nightly for step in night.steps}
    days = itertools.islice(_days(records, within, oldest), most)
    return sorted([*nightly, *days], key=lambda night: night.started, reverse=True)[:most]


def night_of(record: Record) -> Night:
    """The night of a `nightly` run."""
    found = metrics(record)
    steps = found.get("steps")
    attention = found.get("attention")
    return Night(
        started=record["started"],
        finished=record["finished"],
        exit_code=record["exit_code"],
        steps=tuple(_part(step) for step in steps if isinstance(step, dict)) if isinstance(steps, list) else (),
        run_id=record["run_id"],
        attention=tuple(texts(attention)) if isinstance(attention, list) else (),
        log=found["log"] if isinstance(found.get("log"), str) else "",
    )


def step_of(record: Record) -> Step:
    """A run of its own as a step."""
    return Step(
        command=record["command"],
        run_id=record["run_id"],
        exit_code=record["exit_code"],
        seconds=record["receipt"]["seconds"],
        counts={name: count(record["receipt"], name) for name in COUNTS},
        outputs=outputs(record),
        metrics=metrics(record),
    )


def _days(records: Records, within: set[str], oldest: str) -> Iterator[Night]:
    """Yields the days with runs that belong to no `nightly` run, newest first, back to the moment `oldest`."""
    alone = (record for record in records.of(*STEPS) if record["run_id"] not in within)
    recent = itertools.takewhile(lambda record: record["started"] >= oldest, alone)
    for _, runs in itertools.groupby(recent, key=lambda record: record["started"][:10]):
        yield _day(list(runs))


def _day(newest_first: list[Record]) -> Night:
    """The runs of a day as a night."""
    steps = tuple(step_of(record) for record in reversed(newest_first))
    return Night(
        started=newest_first[-1]["started"],
        finished=max(record["finished"] for record in newest_first),
        exit_code=_exit_code(steps),
        steps=steps,
    )


def _exit_code(steps: tuple[Step, ...]) -> int:
    """As that of `nightly`: the first that is neither 0 nor 99. Of each command the last run counts, such as a retry."""
    last = {step.command: step.exit_code for step in steps}
    failed = [last[command] for command in STEPS if command in last and not went_well(last[command])]
    if failed:
        return failed[0]
    return EXIT_DONE if EXIT_DONE in [step.exit_code for step in steps] else EXIT_NOTHING_NEW


def _part(step: Mapping[str, Any]) -> Step:
    """A part of a `nightly` receipt."""
    run_id, command = step.get("run_id"), step.get("command")
    return Step(
        command=command if isinstance(command, str) else "",
        run_id=run_id if isinstance(run_id, str) else "",
        exit_code=count(step, "exit_code"),
        seconds=figure(step.get("seconds")) or 0.0,
        counts={name: count(step, name) for name in COUNTS},
        outputs=inside(step, "outputs"),
        metrics=inside(step, "metrics"),
        error=" ".join(texts(step.get("error"))),
    )
