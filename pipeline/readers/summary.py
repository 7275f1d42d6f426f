"""What a run rejected and left out, in a few lines for people. Never a word of a customer's text."""

import logging
from collections.abc import Sequence
from pathlib import Path

from pipeline.lake.reject_writer import RejectCounts, Tally
from pipeline.progress import IN_FIGURES, UNATTENDED
from pipeline.readers.base import FileFault
from pipeline.readers.encoding import WESTERN
from pipeline.readers.registry import format_of
from schemas.reject import CHOSEN, REASONS

log = logging.getLogger(__name__)

NAMED = 5
"""As many values and files are named; the rest is counted."""
LAST_COUNTS = ". If later rows are corrections, let the last one count with --id-conflict last"


def summarize(rejects: RejectCounts, faults: Sequence[FileFault], published: Path | None) -> None:
    """Logs rejects by reason, count and place of the first, and every file that was left out."""
    for fault in faults[:NAMED]:
        log.warning("skipped: %s: %s", fault.place, fault.detail, extra=IN_FIGURES)
    if len(faults) > NAMED:
        log.warning("skipped: %d more files", len(faults) - NAMED, extra=IN_FIGURES)
    for reason, tally in sorted(rejects.tallies.items(), key=lambda item: -item[1].rows):
        if reason in CHOSEN:
            log.info("%s: %s", _count(tally, "left out"), _values("labels of --skip-labels", tally))
        elif reason == "unmapped":
            what = _values("labels missing from --label-map", tally)
            log.info("%s: %s. To leave them out on purpose, use --skip-labels", _count(tally), what)
        elif reason == "unknown_label":
            what = _values("labels unknown to the lake", tally)
            text = "%s: %s. To add them, ingest everything again with --rebuild-vocab"
            log.warning(text, _count(tally), what, extra=IN_FIGURES)
        else:
            first, what = tally.first, REASONS[reason]
            hint = _encoding_hint(tally) if reason == "invalid_utf8" else LAST_COUNTS if reason == "duplicate_id" else ""
            text = "%s: %s (%s), first in %s, row %d%s"
            log.warning(text, _count(tally), reason, what, first.source, first.row, hint, extra=IN_FIGURES)
    if published is not None and (faults or rejects.rows):
        log.info("all of them: %s", published, extra={UNATTENDED: True})


def named_faults(faults: Sequence[FileFault]) -> list[dict[str, str]]:
    """The first files that were left out, and the reason for each, for the receipt."""
    return [{"file": fault.place, "reason": fault.reason} for fault in faults[:NAMED]]


def _encoding_hint(tally: Tally) -> str:
    """The option that reads the rows, where their format has it and all of them can be in that encoding."""
    known = format_of(tally.first.source)
    if known is None or known[0].sniff is None or tally.values[WESTERN] < tally.rows:
        return ""
    return f". If the whole file is {WESTERN}, as written by Excel in Western countries, read it with --encoding {WESTERN}"


def _count(tally: Tally, done: str = "rejected") -> str:
    return f"{tally.rows:,} row{'' if tally.rows == 1 else 's'} {done}"


def _values(what: str, tally: Tally) -> str:
    named = [f"{value!r} ({count:,})" for value, count in tally.values.most_common(NAMED)]
    rest = f" and {len(tally.values) - NAMED} more" if len(tally.values) > NAMED else ""
    return f"{what}: {', '.join(named)}{rest}"
