"""What needs a person: pure functions over run records and facts about the lake.

`pipeline status` and the morning page show the findings of all rules, `findings`. Those about the last runs alone are
`night_findings`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.errors import LockedError, StorageUnavailableError
from pipeline.lake.live import WentLive
from pipeline.lake.runs import age, reason, remembered
from pipeline.status.lake import Disk, Table
from pipeline.status.models import NOT_PROMOTED, Live
from pipeline.status.nights import NIGHTLY, STEPS, Night, night_of, step_of
from pipeline.status.records import Record, count, figure, inside, metrics, moment, outputs, texts, went_well, when
from pipeline.status.words import FEATURES
from schemas.status import KINDS

PASSING = (StorageUnavailableError.exit_code, LockedError.exit_code)
"""Exit codes that the next try may clear: only the second in a row needs a person."""
CHOSEN = "never"
"""The reason of a training that was told not to promote its model."""
GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When something needs a person. `max_age`: seconds, 0 for any age; `min_free`: bytes."""

    max_age: float = 36 * 3600.0
    max_unknown: float = 0.1
    min_free: int = 2 * GIB


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that needs a person: what, and the command that helps with it, without `pipeline` in front."""

    kind: str
    message: str
    command: tuple[str, ...] = ()
    run_id: str = ""

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the rules look at.

    Args:
        last: the newest records of each command, newest first; three are enough.
        live: the live model, None if there is none.
        changes: the models that went live, oldest first.
        unreadable: names of run records that are needed and damaged.
    """

    last: Mapping[str, Sequence[Record]]
    live: Live | None = None
    changes: Sequence[WentLive] = ()
    table: Table | None = None
    disk: Disk | None = None
    unreadable: Sequence[str] = ()
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def newest(self, command: str) -> Record | None:
        """The last run of a command."""
        return next(iter(self.last.get(command, ())), None)

    @property
    def night(self) -> Night | None:
        """The last `nightly` run."""
        record = self.newest(NIGHTLY)
        return night_of(record) if record else None


def findings(facts: Facts, limits: Limits) -> list[Finding]:
    """Everything that needs a person, the most urgent first."""
    return [
        *_damaged(facts),
        *_no_model(facts),
        *night_findings(facts, limits),
        *_stale(facts, limits),
        *_full(facts, limits),
    ]


def night_findings(facts: Facts, limits: Limits) -> list[Finding]:
    """What the last runs of the night's commands left for a person, the most urgent first."""
    found = [
        *_failed(facts),
        *_left_out(facts),
        *_not_promoted(facts),
        *_drifted(facts),
        *_unknown(facts, limits),
    ]
    return [*found, *_reported(facts, found)]


def verdict(found: Sequence[Finding], facts: Facts) -> str:
    """The last night in a line."""
    if found:
        more = f", and {len(found) - 1:,} more" if len(found) > 1 else ""
        return f"Needs you: {found[0].message}{more}"
    return f"All well: {_work(facts)}"


def _work(facts: Facts) -> str:
    """What the last runs did."""
    for command, done in (("score", "scored"), ("ingest", "ingested")):
        record = facts.newest(command)
        if record is not None and record["exit_code"] == 0:
            written = count(record["receipt"], "written")
            return f"{_counted(written, 'review')} {done}, {when(record['finished'])}"
    ended = [str(record["finished"]) for command in (NIGHTLY, *STEPS) if (record := facts.newest(command))]
    return f"nothing new, {when(max(ended))}" if ended else "nothing has run yet"


def _damaged(facts: Facts) -> Iterator[Finding]:
    if facts.unreadable:
        more = f" and {len(facts.unreadable) - 1:,} more" if len(facts.unreadable) > 1 else ""
        what = f"the run record {facts.unreadable[0]}{more} cannot be read"
        yield Finding(kind="damaged", message=what, command=("repair",))
    if facts.table is not None and facts.table.fault:
        yield Finding(kind="damaged", message=_first_sentence(facts.table.fault), command=("repair",))


def _no_model(facts: Facts) -> Iterator[Finding]:
    if facts.live is not None:
        if facts.live.model.fault:
            text = f"the live model cannot be used: {_first_sentence(facts.live.model.fault)}"
            yield Finding(kind="no_model", message=text, command=("repair",))
        return
    if facts.table is None:
        if not any(facts.last.get(command) for command in (NIGHTLY, *STEPS)):
            yield Finding(kind="no_runs", message="no reviews have been ingested yet", command=("ingest",))
        return
    if facts.table.labelled is None or (facts.table.labelled and len(facts.table.labels) > 1):
        yield Finding(kind="no_model", message="no model is live, so nothing can be scored", command=("train",))
    elif not facts.table.fault:
        text = "no model is live, and training needs labelled reviews of two classes or more"
        yield Finding(kind="no_model", message=text, command=("train", "--help"))


def _failed(facts: Facts) -> Iterator[Finding]:
    found = []
    for command in STEPS:
        runs = facts.last.get(command, ())
        if runs and _counts_as_failed(runs, facts.now):
            found.append(_failure(runs[0]))
    yield from found
    nightly = facts.last.get(NIGHTLY, ())
    if nightly and _counts_as_failed(nightly, facts.now):
        night = night_of(nightly[0])
        failed = [step for step in night.steps if not went_well(step.exit_code)]
        said = {finding.run_id for finding in found}
        open_steps = [
            step for step in failed if step.run_id not in said and not _succeeded_since(facts, step.command, night)
        ]
        for step in open_steps:
            text = f"{step.command} ended with exit code {step.exit_code} in the night of {when(night.started)}"
            yield Finding(kind="failed", message=text, command=("runs", "show", night.run_id), run_id=night.run_id)
        if not failed:
            yield _failure(nightly[0])


def _counts_as_failed(runs: Sequence[Record], now: datetime) -> bool:
    """Whether the newest of a command's runs is a failure that is worth a person's time."""
    newest = runs[0]
    if went_well(newest["exit_code"]) or age(newest, now) > remembered(newest):
        return False
    alone = len(runs) < 2 or went_well(runs[1]["exit_code"])
    return not (newest["exit_code"] in PASSING and alone)


def _failure(record: Record) -> Finding:
    command, code, at = record["command"], record["exit_code"], when(record["finished"])
    if record["outcome"] == "stopped":
        text = f"{command} was stopped by a signal (exit code {code}), {at}"
    else:
        why = reason(record.get("error"))
        text = f"{command} failed with exit code {code}, {at}{f': {why}' if why else ''}"
    return Finding(kind="failed", message=text, command=("runs", "show", record["run_id"]), run_id=record["run_id"])


def _succeeded_since(facts: Facts, command: str, night: Night) -> bool:
    newest = facts.newest(command)
    ended = moment(newest["finished"]) if newest else None
    before = moment(night.finished)
    return bool(newest and ended and before and ended > before and went_well(newest["exit_code"]))


def _left_out(facts: Facts) -> Iterator[Finding]:
    """Rows and files that the last run left out, unless the run before it left out the same."""
    for command in ("ingest", "score"):
        well = [record for record in facts.last.get(command, ()) if went_well(record["exit_code"])]
        if not well or well[0] is not facts.newest(command):
            continue
        newest, before = well[0], well[1] if len(well) > 1 else None
        show, at = ("runs", "show", newest["run_id"]), when(newest["finished"])
        files = count(newest["receipt"], "quarantined")
        if files and not _same(newest, before, "quarantined"):
            text = f"{_counted(files, 'file')} skipped by {command}, {at}"
            yield Finding(kind="quarantined", message=text, command=show, run_id=newest["run_id"])
        rows = count(newest["receipt"], "rejected")
        if rows and not _same(newest, before, "rejected"):
            reasons = sorted(step_of(newest).rejects.items(), key=lambda item: (-item[1], item[0]))
            why = ", ".join(f"{number:,} {name}" for name, number in reasons if number)
            text = f"{_counted(rows, 'row')} rejected by {command}{f' ({why})' if why else ''}, {at}"
            yield Finding(kind="rejected", message=text, command=show, run_id=newest["run_id"])


def _same(newest: Record, before: Record | None, name: str) -> bool:
    """Whether a run left out nothing that the one before did not: the same file of rejects, whose name is its digest, or
    fewer of everything."""
    if before is None:
        return False
    rejects = texts(outputs(newest).get("rejects"))
    if rejects and rejects == texts(outputs(before).get("rejects")):
        return True
    now, then = count(newest["receipt"], name), count(before["receipt"], name)
    if name != "rejected":
        return now <= then
    reasons, earlier = step_of(newest).rejects, step_of(before).rejects
    return now < then and all(number <= earlier.get(why, 0) for why, number in reasons.items())


def _not_promoted(facts: Facts) -> Iterator[Finding]:
    train = facts.newest("train")
    if train is None or train["exit_code"] != 0:
        return
    promotion = inside(metrics(train), "promotion")
    if promotion.get("decision") != NOT_PROMOTED or promotion.get("reason") == CHOSEN:
        return
    ended = moment(train["finished"])
    if any((since := moment(entry.since)) and ended and since > ended for entry in facts.changes):
        return  # a person has chosen since
    model_id = str(outputs(train).get("model_id") or "")
    why = promotion.get("message") or promotion.get("reason")
    text = f"{model_id or 'the new model'} did not go live{f': {_first_sentence(why)}' if isinstance(why, str) else ''}"
    command = ("report", "--compare", "LATEST", model_id) if model_id and facts.live else ("runs", "show", train["run_id"])
    yield Finding(kind="not_promoted", message=text, command=command, run_id=train["run_id"])


def _drifted(facts: Facts) -> Iterator[Finding]:
    score = facts.newest("score")
    if score is None or score["exit_code"] != 0:
        return
    drift = inside(metrics(score), "drift")
    if drift.get("drifted") is not True:
        return
    over = [FEATURES.get(name, name) for name in texts(drift.get("over"))]
    text = f"the reviews scored last differ from the training data{f' in {_listed(over)}' if over else ''}"
    yield Finding(
        kind="drift",
        message=f"{text}, {when(score['finished'])}",
        command=("runs", "show", score["run_id"]),
        run_id=score["run_id"],
    )


def _unknown(facts: Facts, limits: Limits) -> Iterator[Finding]:
    for command, what in (("ingest", "new tokens"), ("score", "tokens scored last")):
        record = facts.newest(command)
        if record is None or record["exit_code"] != 0:
            continue
        share = figure(metrics(record).get("unknown_share"))
        if share is not None and share > limits.max_unknown:
            text = f"{share:.1%} of the {what} are not in the vocabulary (limit {limits.max_unknown:.1%})"
            yield Finding(
                kind="unknown_tokens", message=text, command=("ingest", "--rebuild-vocab"), run_id=record["run_id"]
            )
            return  # one vocabulary, one remedy


def _reported(facts: Facts, found: Sequence[Finding]) -> Iterator[Finding]:
    """What the last night noted for a person, as far as the rules have not said it."""
    night = facts.night
    if night is None or any(_succeeded_since(facts, command, night) for command in STEPS):
        return
    kinds = {finding.kind for finding in found}
    for line in night.attention:
        if not any(kind in kinds and any(word in line.lower() for word in words) for kind, words in _WORDS.items()):
            yield Finding(
                kind="reported", message=line.rstrip("."), command=("runs", "show", night.run_id), run_id=night.run_id
            )


_WORDS = {
    "failed": ("failed", "ended with", "stopped"),
    "rejected": ("rejected",),
    "quarantined": ("skipped", "quarantined", "cannot be read"),
    "not_promoted": ("not promoted", "not go live"),
    "drift": ("drift", "differ"),
    "unknown_tokens": ("unknown", "vocabulary"),
}
"""Words of a night's lines that say the same as a rule."""


def _stale(facts: Facts, limits: Limits) -> Iterator[Finding]:
    runs = [record for command in (NIGHTLY, "ingest") if (record := facts.newest(command))]
    if not runs or not limits.max_age:
        return
    newest = min(runs, key=lambda record: age(record, facts.now))
    since = age(newest, facts.now)
    if since.total_seconds() > limits.max_age:
        days, hours = since.days, since.seconds // 3600
        ago = _counted(days, "day") if days > 1 else _counted(24 * days + hours, "hour")
        text = f"no night for {ago}: the last {newest['command']} ended {when(newest['finished'])}"
        yield Finding(kind="stale", message=text, command=(newest["command"],), run_id=newest["run_id"])


def _full(facts: Facts, limits: Limits) -> Iterator[Finding]:
    if facts.disk is not None and facts.disk.free < limits.min_free:
        text = f"only {facts.disk.free / GIB:,.1f} GiB are free on the lake's disk (limit {limits.min_free / GIB:,.1f} GiB)"
        yield Finding(kind="disk", message=text, command=("vacuum", "--models", "--runs"))


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].removesuffix(".")


def _counted(number: int, one: str) -> str:
    return f"{number:,} {one if number == 1 else one + 's'}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
