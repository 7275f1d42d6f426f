"""What a person must know of a night, in a line each.

Every line is composed of counts, codes, file names and IDs; of messages, only their brief form is used. So no line holds a
customer's text, wherever it is mailed.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.night.step import Step
from pipeline.status.scores import Score
from pipeline.status.words import listed_files, some_files
from schemas.bad_row import CHOSEN, num_chosen

BY_CHOICE = frozenset({"never", "always", "first", "already live"})
"""Reasons for not promoting a model that are no news: somebody has decided so, or nothing was decided."""
WHY = {
    "worse": "it is worse than the live model",
    "not worse": "it is not better than the live model",
    "not finite": "its loss is not finite",
    "below majority": "it is worse than always predicting the same",
    "other task": "it has learned another task than the live model",
    "not comparable": "it cannot be compared with the live model",
}
TAKE_BACK = "Check the newest delivery; 'pipeline retract latest' takes it back."
BLAME = dict.fromkeys(("worse", "below majority", "not comparable"), TAKE_BACK)
"""Reasons that wrong labels in a delivery may have, and what to do first."""
NEW_CLASSES = "unknown_label"


def attention(step: Step, before: Step | None, log_file: str) -> list[str]:
    """What to say about a step, given the last one of the same command in the nights before."""
    return [f"{step.command}: {line}" for line in _lines(step, before, log_file)]


def _lines(step: Step, before: Step | None, log_file: str) -> Iterator[str]:
    if step.failed:
        yield f"failed with exit code {step.exit_code}: {_sentence(step.error)} Log: {log_file}"
    yield from _rejected(step, before, log_file)
    yield from _quarantined(step, before)
    yield from _classes(step, before)
    yield from _not_promoted(step, before)
    yield from _drifted(step, log_file)
    yield from _unknown(step, before)
    yield from _warned(step, before, log_file)


def _rejected(step: Step, before: Step | None, log_file: str) -> Iterator[str]:
    """Rejected rows, unless they are those of the night before."""
    counts, then = _reasons(step), _reasons(before)
    rejected = _num_rejected(step)
    if not rejected or (before is not None and _same_rejects(step, before)):
        return
    more = [
        f"{count - then.get(reason, 0):,} more {reason}" for reason, count in counts.items() if count > then.get(reason, 0)
    ]
    reasons = ", ".join(more if then and more else (f"{count:,} {reason}" for reason, count in counts.items()))
    earlier = f" ({_num_rejected(before):,} the night before)" if before is not None and _num_rejected(before) else ""
    named = f"{_count(rejected, 'row')} rejected{earlier}" + (f": {reasons}" if reasons else "")
    yield named + _in_files(step, before) + _look(step, log_file)
    if counts.get(NEW_CLASSES):
        yield "some labels are unknown to the lake; 'pipeline ingest --rebuild-vocab' adds these classes"


def _reasons(step: Step | None) -> dict[str, int]:
    """Rejected rows by reason, without those that an option leaves out."""
    found: dict[str, int] = step.metrics.get("rejects", {}) if step is not None else {}
    return {reason: count for reason, count in found.items() if reason not in CHOSEN}


def _num_rejected(step: Step) -> int:
    return step.rejected - num_chosen(step.metrics.get("rejects", {}))


def _in_files(step: Step, before: Step | None) -> str:
    """The files with rejected rows that the night before did not have; else all of them."""
    found, then = (_rows_by_file(one) for one in (step, before))
    new = [name for name, rows in found.items() if then.get(name) != rows]
    names, total = (new, len(new)) if new and then else ([*found], step.metrics["rejects_files"]["total"] if found else 0)
    return f", in {some_files(names, total)}" if names else ""


def _rows_by_file(step: Step | None) -> dict[str, int]:
    found = step.metrics.get("rejects_files", {}) if step is not None else {}
    return {str(file["file"]): file["rows"] for file in found.get("listed", ())}


def _look(step: Step, log_file: str) -> str:
    """Where to see the rows themselves."""
    if (place := step.outputs.get("rejects")) and step.run_id:
        lake = shlex.quote(str(Path(place).parent.parent))
        return f". To see them: pipeline --lake {lake} runs show {step.run_id} --rejects"
    return f". Log: {log_file}" if log_file else ""


def _same_rejects(step: Step, before: Step) -> bool:
    """Steps of earlier releases have no digest: the file of rejects is named by its content, or the counts have to do."""
    digests = [found.metrics.get("rejects_digest") for found in (step, before)]
    if all(digests):
        return digests[0] == digests[1]
    files = [Path(place).name if place else "" for place in (found.outputs.get("rejects") for found in (step, before))]
    if any(files):
        return files[0] == files[1]  # the lake may have moved
    now, then = ((found.read, found.rejected, found.metrics.get("rejects")) for found in (step, before))
    return now == then


def _quarantined(step: Step, before: Step | None) -> Iterator[str]:
    """Files that could not be read, unless it is those of the night before."""
    files: list[dict[str, str]] = step.metrics.get("quarantined_files", [])
    known = before is not None and (before.quarantined, before.metrics.get("quarantined_files", [])) == (
        step.quarantined,
        files,
    )
    if not step.quarantined or known:
        return
    if step.failed and not files:
        return  # the failure says which
    first = f", the first: {files[0]['file']} ({files[0]['reason']})" if files else ""
    yield f"{_count(step.quarantined, 'file')} skipped as unreadable{first}"


def _classes(step: Step, before: Step | None) -> Iterator[str]:
    if step.command != "ingest" or before is None:
        return
    now, then = len(step.metrics.get("labels", ())), len(before.metrics.get("labels", ()))
    if then and now > then:
        yield f"the table has {now} classes now, {then} the night before"


def _not_promoted(step: Step, before: Step | None) -> Iterator[str]:
    promotion: dict[str, Any] = step.metrics.get("promotion") or {}
    reason = promotion.get("reason", "")
    if promotion.get("decision") != "not promoted" or reason in BY_CHOICE:
        return
    model = step.outputs.get("model_id", "the new model")
    if before is not None and before.outputs.get("model_id") == model and before.metrics.get("promotion"):
        return  # found again, and said before
    scores = [(name, Score.of(promotion, key)) for name, key in (("new model", "challenger_"), ("live model", "live_"))]
    figures = [f"{name} {score}" for name, score in scores if score is not None]
    on = f" on {promotion['rows']:,} held-out reviews" if figures and promotion.get("rows") else ""
    shown = f" ({', '.join(figures)}{on})" if figures else ""
    if reason in BLAME:
        remedy = f"{BLAME[reason]} To promote the model all the same: pipeline models promote {model}"
    else:
        remedy = f"To promote it: pipeline models promote {model}"
    yield f"{model} was not promoted: {WHY.get(reason, reason)}{shown}. {remedy}"


def _drifted(step: Step, log_file: str) -> Iterator[str]:
    drift: dict[str, Any] = step.metrics.get("drift") or {}
    if not drift.get("drifted"):
        return
    over = [
        f"{name} {drift['psi'][name]:.2f}" if isinstance(drift.get("psi", {}).get(name), int | float) else str(name)
        for name in drift.get("over", [])
    ]
    index = f" (population stability index: {', '.join(over)})" if over else ""
    look = f"Check {listed_files(step.metrics.get('drift_files')) or 'the files scored last'}"
    look += f"; what differs is in the log: {log_file}"
    yield f"the input drifted from the training data{index}. {look}"


def _unknown(step: Step, before: Step | None) -> Iterator[str]:
    """Files to score of whose tokens too many are unknown to the model, unless the night before has said so of some."""
    files, share = listed_files(step.metrics.get("unknown_files")), unknown_share(step, "unknown_share")
    if not files or share is None or (before is not None and listed_files(before.metrics.get("unknown_files"))):
        return
    remedy = "Ingest reviews like these with 'pipeline ingest --rebuild-vocab', then train again"
    yield f"{share:.1%} of the tokens are unknown to the model, more than unknown-warn allows: see {files}. {remedy}"


def _warned(step: Step, before: Step | None, log_file: str) -> Iterator[str]:
    """Warnings that the night before did not have. Those that may quote the input are counted."""
    said = {_brief(before, warning) or warning for warning in before.warnings} if before is not None else set()
    unsaid = 0
    for warning in step.warnings:
        brief = _brief(step, warning)
        if brief == "" or (brief or warning) in said:
            continue
        if brief is None:
            unsaid += 1
        else:
            yield f"warning: {brief}"
    if unsaid:
        yield f"{_count(unsaid, 'new warning')} in the log: {log_file}"


def _brief(step: Step, warning: str) -> str | None:
    return step.briefs.get(warning)


KEPT = "'pipeline ingest --rebuild-vocab' rebuilds it, and vocabulary = \"rebuild\" in [nightly] does so by itself"
IN_VAIN = "rebuilding it did not help: raise max-vocab in [ingest], or unknown-limit in [nightly] of pipeline.toml"
FAILED = "it could not be rebuilt, see above"
"""What is to be done about a vocabulary that lacks too much."""


def unknown_tokens(share: float, limit: float, step: Step, before: Step | None, remedy: str) -> list[str]:
    """The line for a table too many of whose tokens are unknown, unless the night before has said so."""
    earlier = unknown_share(before)
    if earlier is not None and earlier > limit:
        return []
    files = listed_files(step.metrics.get("new_files"))
    new = f" (new: {files})" if files else ""
    return [f"ingest: the vocabulary lacks {share:.1%} of the table's tokens{new}, the limit is {limit:.1%}; {remedy}"]


def unknown_share(step: Step | None, name: str = "unknown_share_table") -> float | None:
    """The share of unknown tokens that a step has measured, an ingest by default of the table; None where it has not."""
    share = step.metrics.get(name) if step is not None else None
    return share if isinstance(share, int | float) and not isinstance(share, bool) else None


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
