"""`pipeline status`: whether something needs a person, and what that rests on."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish, print_json, whoever_reads
from pipeline.config.status import StatusConfig
from pipeline.errors import EXIT_NOTHING_NEW

if TYPE_CHECKING:
    from pipeline.cli.summary import Summary
    from pipeline.status.records import Record
    from pipeline.status.status import Status

NEEDS_PERSON = 1
"""The exit code when something needs a person. No other command ends with it."""
NEXT = 3
"""Most commands to suggest."""


@config_command(StatusConfig)
def status(config: StatusConfig, finish: Finish) -> None:
    """Show whether anything needs your attention, and what ran last.

    Exits with 0 if all is well and with 1 if something needs a person: a failed run, a missed night, rejected rows, skipped
    files, a model that was not promoted, drift, unknown tokens, a full disk. With --quiet, prints only if something does.

    Example: pipeline status --page
    """
    from jobs import status as job

    found = job.run(config)
    with whoever_reads():
        if finish.as_json:
            print_json(found.document())
        elif found.found or not finish.session.quiet:
            told = _summary(found, finish.lake)
            # On a terminal, the first line of a summary is blank: it separates it from what a run has shown.
            for line in told.lines(sys.stdout.fileno())[1:] if sys.stdout.isatty() else _unwrapped(told):
                typer.echo(line)
    raise typer.Exit(NEEDS_PERSON if found.found else 0)


def _summary(found: "Status", lake: str | None) -> "Summary":
    from pipeline.cli.summary import Summary
    from pipeline.status.status import typed

    told = Summary(found.verdict[0].upper() + found.verdict[1:] + ".")
    if len(found.found) > 1:
        for number, finding in enumerate(found.found, 1):
            told.add(str(number), finding.message)
    for name, text in _facts(found):
        told.add(name, text)
    commands = [typed(finding.command, lake or "") for finding in found.found]
    told.next = list(dict.fromkeys(filter(None, commands)))[:NEXT]
    return told


def _unwrapped(told: "Summary") -> Iterator[str]:
    """The summary for logs and mails: each fact is one line."""
    from pipeline.printable import printable

    yield printable(told.headline)
    margin = max((len(name) for name, _ in told.facts), default=0)
    for name, text in told.facts:
        yield f"  {printable(name).ljust(margin)}  {printable(text)}"
    for place, command in enumerate(told.next):
        yield f"{'Next:' if place == 0 else '     '} {printable(command)}"


def _facts(found: "Status") -> Iterator[tuple[str, str]]:
    from pipeline.printable import short_path
    from pipeline.status.records import when
    from pipeline.status.words import bytes_of, drift, share

    live, table, disk = found.facts.live, found.facts.table, found.disk
    if live is None:
        yield "live", "no model"
    elif live.model.model_id:
        reason = f" ({live.reason})" if live.reason else ""
        since = f", since {when(live.since)}{reason}" if live.since else ""
        score = live.model.score
        name = "accuracy " if score is not None and score.metric == "accuracy" else ""
        on = f", {name}{score} on {live.model.measured_on}" if score is not None else ""
        yield "live", f"{live.model.model_id}{since}{on}"
    for command, runs in found.facts.last.items():
        yield command, _run(runs[0]) if runs else ""
    if table is not None and not table.fault:
        labelled = "" if table.labelled is None else f", {table.labelled:,} labelled"
        labels = f" ({', '.join(table.labels)})" if table.labels else ""
        yield "table", f"version {table.version}: {table.rows:,} reviews{labelled}{labels}"
    shares = [(found.unknown_share, "of the last ingest's tokens"), (found.unknown_share_table, "in the table")]
    yield "unknown", ", ".join(f"{share(value)} {where}" for value, where in shares if value is not None)
    yield "drift", drift(found.drift)
    if (origin := found.lake.origin) is not None:
        here, stored = origin.sizes()
        where = f"of {origin.uri}, in {found.lake.root.parent}"  # the lake's own folder is shown as the URI
        yield "copy", f"{where}: {bytes_of(here)} of {bytes_of(stored)}"
    parts = ", ".join(f"{name} {bytes_of(size)}" for name, size in disk.parts.items())
    yield "disk", f"{bytes_of(disk.used)}{f' ({parts})' if parts else ''}; {bytes_of(disk.free)} free"
    yield "page", short_path(found.page) if found.page else ""


def _run(record: "Record") -> str:
    from pipeline.status.nights import step_of
    from pipeline.status.records import when
    from pipeline.status.words import counted

    step = step_of(record)
    rows = {name: step.counts[name] for name in ("read", "written", "rejected", "known")}
    rows |= {"rejected": step.rejected, "left out": step.left_out}
    counts = [f"{number:,} {word}" for word, number in rows.items() if number]
    if step.counts["quarantined"]:
        counts.append(f"{counted(step.counts['quarantined'], 'file')} skipped")
    code = f"exit code {record['exit_code']}" + (" (nothing new)" if record["exit_code"] == EXIT_NOTHING_NEW else "")
    return f"{code}, {when(record['finished'])}" + (f": {', '.join(counts)}" if counts else "")
