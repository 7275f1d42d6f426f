"""What needs a person: pure functions over facts about a lake. The one place of these rules, with `night_rules`."""

from collections.abc import Iterator, Sequence

from pipeline.lake.runs import AHEAD, age
from pipeline.status.facts import GIB, Facts, Finding, Limits
from pipeline.status.night_rules import night_findings
from pipeline.status.nights import NIGHTLY, STEPS
from pipeline.status.records import count, first_sentence, metrics, when
from pipeline.status.words import counted


def findings(facts: Facts, limits: Limits) -> list[Finding]:
    """Everything that needs a person, the most urgent first."""
    return [
        *_damaged(facts),
        *_no_model(facts),
        *_withdrawn(facts),
        *night_findings(facts, limits),
        *_stale(facts, limits),
        *_full(facts, limits),
    ]


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
            return f"{counted(written, 'review')} {done}, {when(record['finished'])}"
    ended = [str(record["finished"]) for command in (NIGHTLY, *STEPS) if (record := facts.newest(command))]
    return f"nothing new, {when(max(ended))}" if ended else "nothing has run yet"


def _damaged(facts: Facts) -> Iterator[Finding]:
    if facts.unreadable:
        more = f" and {len(facts.unreadable) - 1:,} more" if len(facts.unreadable) > 1 else ""
        what = f"the run record {facts.unreadable[0]}{more} cannot be read"
        yield Finding(kind="damaged", message=what, command=("repair",))
    if facts.table is not None and facts.table.fault:
        yield Finding(kind="damaged", message=first_sentence(facts.table.fault), command=("repair",))


def _no_model(facts: Facts) -> Iterator[Finding]:
    if facts.live is not None:
        if facts.live.model.fault:
            text = f"the live model cannot be used: {first_sentence(facts.live.model.fault)}"
            yield Finding(kind="no_model", message=text, command=("repair",))
        return
    if facts.table is None:
        if not any(facts.last.get(command) for command in (NIGHTLY, *STEPS)):
            yield Finding(kind="no_runs", message="no reviews have been ingested yet", command=("ingest",))
        return
    if facts.table.labelled is None or (facts.table.labelled and len(facts.table.labels) > 1):
        yield Finding(kind="no_model", message="no model is live, so nothing can be scored", command=("train",))
    elif facts.table.has_numbers:
        text = "no model is live, so nothing can be scored"
        yield Finding(kind="no_model", message=text, command=("train", "--task", "regression"))
    elif not facts.table.fault:
        text = "no model is live, and training needs labelled reviews of two classes or more"
        yield Finding(kind="no_model", message=text, command=("train", "--help"))


def _withdrawn(facts: Facts) -> Iterator[Finding]:
    """The live model learned from reviews of the newest erasure or retraction of such reviews that still counts."""
    if facts.live is None:
        return
    name, undone = facts.live.model.model_id, set()
    for command, done in (("erase", "erased"), ("retract", "retracted")):
        for record in facts.last.get(command, ()):
            found = metrics(record)
            if record["exit_code"] != 0 or found.get("dry_run"):
                continue
            if found.get("undone"):
                undone.add(found.get("run"))
            elif name in found.get("models", ()) and found.get("run") not in undone:
                text = f"the live model {name} learned from reviews that were {done}, {when(record['finished'])}"
                yield Finding(kind="withdrawn", message=text, command=("train",), run_id=record["run_id"])
                break


def _stale(facts: Facts, limits: Limits) -> Iterator[Finding]:
    runs = [record for command in (NIGHTLY, "ingest") if (record := facts.newest(command))]
    if not runs or not limits.max_age:
        return
    past = [record for record in runs if age(record, facts.now) >= -AHEAD]
    newest = min(past or runs, key=lambda record: age(record, facts.now))
    since = age(newest, facts.now)
    if not past:
        ended = f"the last {newest['command']} ended {when(newest['finished'])}"
        text = f"{ended}, which is still to come: a clock is wrong, or was"
        yield Finding(kind="stale", message=text, command=(newest["command"],), run_id=newest["run_id"])
    if since.total_seconds() > limits.max_age:
        days, hours = since.days, since.seconds // 3600
        ago = counted(days, "day") if days > 1 else counted(24 * days + hours, "hour")
        text = f"no night for {ago}: the last {newest['command']} ended {when(newest['finished'])}"
        yield Finding(kind="stale", message=text, command=(newest["command"],), run_id=newest["run_id"])


def _full(facts: Facts, limits: Limits) -> Iterator[Finding]:
    if facts.disk is not None and facts.disk.free < limits.min_free:
        text = f"only {facts.disk.free / GIB:,.1f} GiB are free on the lake's disk (limit {limits.min_free / GIB:,.1f} GiB)"
        yield Finding(kind="disk", message=text, command=("vacuum", "--models", "--runs"))
