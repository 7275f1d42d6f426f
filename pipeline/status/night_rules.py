"""What the last runs of a night's commands left for a person: pure functions over their records."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from pipeline.errors import InputNotFoundError, LockedError, StorageUnavailableError, UsageError
from pipeline.lake.runs import age, remembered
from pipeline.status.facts import Facts, Finding, Limits
from pipeline.status.models import NOT_PROMOTED, measured
from pipeline.status.nights import NIGHTLY, READERS, STEPS, Night, night_of, step_of
from pipeline.status.records import (
    Record,
    count,
    figure,
    first_sentence,
    inside,
    metrics,
    moment,
    outputs,
    texts,
    went_well,
    when,
    why,
    worked,
)
from pipeline.status.words import FEATURES, counted, listed_files

PASSING = (StorageUnavailableError.exit_code, LockedError.exit_code)
"""Exit codes that the next try may clear: only the second in a row needs a person."""
UNREAD = (*PASSING, UsageError.exit_code, InputNotFoundError.exit_code)
"""Exit codes of runs that have read nothing."""
AFTERWARDS = timedelta(days=1)
"""So long, what a run left out is reported although later runs found nothing new."""
Same = Callable[[Record, Record | None], bool]
CHOSEN = "never"
"""The reason of a training that was told not to promote its model."""
MAX_UNKNOWN = 0.05
"""The limit for unknown tokens of runs that noted none."""
FEWEST_TOKENS = 1000
"""Of fewer tokens the share of unknown ones is not judged: a few odd reviews would decide it."""


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
        well = {run["run_id"] for runs in facts.last.values() for run in runs if worked(run)}
        failed = [step for step in night.steps if not went_well(step.exit_code) and step.run_id not in well]
        said = {finding.run_id for finding in found}
        open_steps = [
            step for step in failed if step.run_id not in said and not _succeeded_since(facts, step.command, night)
        ]
        for step in open_steps:
            text = f"{step.command} failed with exit code {step.exit_code} in the night of {when(night.started)}"
            text += f": {first_sentence(step.error)}" if step.error else ""
            show = ("runs", "show", night.run_id)
            yield Finding(kind="failed", message=text, command=show, run_id=night.run_id, about=step.command)
        if all(went_well(step.exit_code) for step in night.steps):
            yield _failure(nightly[0])


def _counts_as_failed(runs: Sequence[Record], now: datetime) -> bool:
    """Whether the newest of a command's runs is a failure that is worth a person's time."""
    newest = runs[0]
    if worked(newest) or age(newest, now) > remembered(newest):
        return False
    alone = len(runs) < 2 or worked(runs[1])
    return not (newest["exit_code"] in PASSING and alone)


def _failure(record: Record) -> Finding:
    command, code, at = record["command"], record["exit_code"], when(record["finished"])
    if record["outcome"] == "stopped":
        text = f"{command} was stopped by a signal (exit code {code}), {at}"
    else:
        what = why(record)
        text = f"{command} failed with exit code {code}, {at}{f': {what}' if what else ''}"
    show = ("runs", "show", record["run_id"])
    return Finding(kind="failed", message=text, command=show, run_id=record["run_id"], about=command)


def _succeeded_since(facts: Facts, command: str, night: Night) -> bool:
    newest = facts.newest(command)
    ended = moment(newest["finished"]) if newest else None
    before = moment(night.finished)
    return bool(newest and ended and before and ended > before and worked(newest))


def _left_out(facts: Facts) -> Iterator[Finding]:
    """Rows and files that the last run left out, unless the run before it left out the same.

    Runs that found nothing new afterwards leave out the same again: for a day, this does not settle what they are.
    """
    for command in READERS:
        well = [record for record in facts.last.get(command, ()) if worked(record)]
        if not well or not _says_nothing_of_rows(facts.last[command][0]):
            continue
        newest, before = well[0], _before(well, _same_files, facts.now)
        run_id, at = newest["run_id"], when(newest["finished"])
        files = count(newest["receipt"], "quarantined")
        if files and not _same_files(newest, before):
            text = f"{counted(files, 'file')} skipped by {command}{_first_file(newest)}, {at}"
            yield Finding(kind="quarantined", message=text, command=("runs", "show", run_id), run_id=run_id, about=command)
        before = _before(well, _same_rows, facts.now)
        step = step_of(newest)
        if step.rejected and not _same_rows(newest, before):
            named = ", ".join(f"{number:,} {name}" for name, number in step.reported.items())
            where = f" in {step.files_with_rejects}" if step.files_with_rejects else ""
            text = f"{counted(step.rejected, 'row')} rejected by {command}{f' ({named})' if named else ''}{where}, {at}"
            show = ("runs", "show", run_id, "--rejects") if outputs(newest).get("rejects") else ("runs", "show", run_id)
            yield Finding(kind="rejected", message=text, command=show, run_id=run_id, about=command)


def is_mistyped(record: Record) -> bool:
    """Whether a run is a command that somebody typed with options that are not allowed, which says nothing of the lake."""
    return record["exit_code"] == UsageError.exit_code and record["command"] in STEPS and not record.get("part_of")


def _says_nothing_of_rows(newest: Record) -> bool:
    """Whether what the run before the newest left out still holds: the newest worked, or ended before it read a row."""
    return worked(newest) or newest["outcome"] == "stopped" or newest["exit_code"] in UNREAD


def _before(well: Sequence[Record], same: Same, now: datetime) -> Record | None:
    """The run to compare the newest with: the one before it, or, where that found nothing new, before the run of the last
    day that has brought what it leaves out."""
    place = 0
    while place + 1 < len(well) and well[place]["outcome"] == "nothing-new" and same(well[place], well[place + 1]):
        place += 1
    if age(well[place], now) > AFTERWARDS:
        place = 0
    return well[place + 1] if place + 1 < len(well) else None


def _same_rows(newest: Record, before: Record | None) -> bool:
    """Whether a run rejected nothing that the one before did not: its digest of rejected rows is the same, or the file of
    rejects, which is named by its digest, or it rejected fewer for each reason."""
    if before is None:
        return False
    digests = [texts(metrics(record).get("rejects_digest")) for record in (newest, before)]
    rejects = [texts(outputs(record).get("rejects")) for record in (newest, before)]
    if any(now and now == then for now, then in (digests, rejects)):
        return True
    now, then = step_of(newest), step_of(before)
    return now.rejected < then.rejected and all(rows <= then.reported.get(name, 0) for name, rows in now.reported.items())


def _same_files(newest: Record, before: Record | None) -> bool:
    """Whether a run skipped no file that the one before did not: by name where both say them, else by number."""
    if before is None:
        return False
    now, then = _files(newest), _files(before)
    if now and then:
        return set(now) <= set(then)
    return count(newest["receipt"], "quarantined") <= count(before["receipt"], "quarantined")


def _files(record: Record) -> list[tuple[str, str]]:
    """The names of skipped files, and why."""
    found = metrics(record).get("quarantined_files")
    listed = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    return [(str(item.get("file", "")), str(item.get("reason", ""))) for item in listed]


def _first_file(record: Record) -> str:
    files = _files(record)
    if not files:
        return ""
    name, cause = files[0]
    first = ", the first: " if len(files) > 1 else ": "
    return f"{first}{name}{f' ({cause})' if cause else ''}"


def _not_promoted(facts: Facts) -> Iterator[Finding]:
    train = facts.newest("train")
    if train is None or train["outcome"] != "done":
        return
    promotion = inside(metrics(train), "promotion")
    if promotion.get("decision") != NOT_PROMOTED or promotion.get("reason") == CHOSEN:
        return
    if _has_chosen(facts, train):
        return
    model_id = str(outputs(train).get("model_id") or "")
    cause = promotion.get("message") or promotion.get("reason")
    text = f"{model_id or 'the new model'} did not go live{f': {first_sentence(cause)}' if isinstance(cause, str) else ''}"
    command = _look_at(facts, train, model_id)
    yield Finding(kind="not_promoted", message=text, command=command, run_id=train["run_id"], about="train")


def _look_at(facts: Facts, train: Record, model_id: str) -> tuple[str, ...]:
    """The command that shows the model that did not go live. Only models of labels can be compared."""
    if not model_id or facts.live is None:
        return ("runs", "show", train["run_id"])
    scores = (facts.live.model.score, measured(metrics(train))[0])
    if any(score is not None and score.metric == "mae" for score in scores):
        return ("models", "show", model_id)
    return ("report", "--compare", "LATEST", model_id)


def _has_chosen(facts: Facts, train: Record) -> bool:
    """Whether a person has acted on the training's decision: another model is live, or its reviews were taken back."""
    ended = moment(train["finished"])
    if ended is None:
        return False
    times = [moment(entry.since) for entry in facts.changes]
    retract = facts.newest("retract")
    if retract is not None and outputs(train).get("model_id") in texts(metrics(retract).get("models")):
        times += (
            [moment(retract["finished"])] if retract["outcome"] == "done" and not metrics(retract).get("dry_run") else []
        )
    return any(time is not None and time > ended for time in times)


def _drifted(facts: Facts) -> Iterator[Finding]:
    score = facts.newest("score")
    if score is None or score["outcome"] != "done":
        return
    drift = inside(metrics(score), "drift")
    if drift.get("drifted") is not True:
        return
    over = [FEATURES.get(name, name) for name in texts(drift.get("over"))]
    files = listed_files(metrics(score).get("drift_files"))
    which = f" ({files})" if files else ""
    text = f"the reviews scored last{which} differ from the training data{f' in {_listed(over)}' if over else ''}"
    yield Finding(
        kind="drift",
        message=f"{text}, {when(score['finished'])}",
        command=("runs", "show", score["run_id"]),
        run_id=score["run_id"],
        about="score",
    )


def _unknown(facts: Facts, limits: Limits) -> Iterator[Finding]:
    for command, what, where in (("ingest", "new tokens", "new_files"), ("score", "tokens scored last", "unknown_files")):
        record = facts.newest(command)
        if record is None or record["outcome"] != "done":
            continue
        found = metrics(record)
        share, tokens, limit = figure(found.get("unknown_share")), figure(found.get("tokens")), unknown_limit(record, limits)
        if share is not None and share > limit and (tokens is None or tokens >= FEWEST_TOKENS):
            files = listed_files(found.get(where))
            which = f" ({files})" if files else ""
            text = f"{share:.1%} of the {what}{which} are not in the vocabulary (limit {limit:.1%})"
            rebuild, run_id = ("ingest", "--rebuild-vocab"), record["run_id"]
            yield Finding(kind="unknown_tokens", message=text, command=rebuild, run_id=run_id, about=command)
            return  # one vocabulary, one remedy


def unknown_limit(record: Record | None, limits: Limits) -> float:
    """The share of unknown tokens that a run may have."""
    if limits.max_unknown is not None:
        return limits.max_unknown
    own = figure(inside(record, "config").get("unknown_warn"))
    return MAX_UNKNOWN if own is None else own


def _reported(facts: Facts, found: Sequence[Finding]) -> Iterator[Finding]:
    """What the last night noted for a person, as far as the rules have not said it."""
    night = facts.night
    if night is None or any(_succeeded_since(facts, command, night) for command in STEPS):
        return
    train = facts.newest("train")
    has_chosen = train is not None and _has_chosen(facts, train)
    for line in night.attention:
        if has_chosen and line.startswith("train: ") and _WORDS["not_promoted"][0] in line:
            continue
        if not any(_says(line, finding) for finding in found):
            show = ("runs", "show", night.run_id)
            yield Finding(kind="reported", message=line.rstrip("."), command=show, run_id=night.run_id)


_WORDS = {
    "failed": ("failed with",),
    "rejected": ("rejected",),
    "quarantined": ("skipped",),
    "not_promoted": ("not promoted",),
    "drift": ("drift",),
    "unknown_tokens": ("tokens",),
}
"""Words of a night's lines that say the same as a rule; the lines begin with the command."""


def _says(line: str, finding: Finding) -> bool:
    return line.startswith(f"{finding.about}: ") and any(word in line for word in _WORDS.get(finding.kind, ()))


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
