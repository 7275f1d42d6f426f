"""`pipeline runs`: the lake's runs, and one run in detail."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from pipeline.cli import listing
from pipeline.cli.app import LakeOption, app, lake_there
from pipeline.cli.complete import complete_run
from pipeline.cli.finish import print_json
from pipeline.cli.numbers import INTEGER, whole_number
from pipeline.cli.panels import PanelCommand
from pipeline.cli.rejected import show_rejects
from pipeline.config.retract import LATEST
from pipeline.printable import printable

HEADS = ("run", "outcome", "time", "read", "written")
FIGURES = ("time", "read", "written")
DRIFT_HEADS = ("run", "share", "length", "unknown", "classes", "confidence")
RECORDED = (
    *(
        "compact",
        "crossval",
        "erase",
        "evaluate",
        "export",
        "fetch",
        "ingest",
        "nightly",
        "pretrain",
        "repair",
        "report",
        "retract",
        "sample",
        "score",
    ),
    *("train", "upgrade", "vacuum"),
)
"""Commands that write run records."""
NOT_FIGURES = frozenset({"rejects_digest", "rejects_files", "steps", "attention"})
"""What nights compare, for people read the rejects themselves, with --rejects; and what is shown line by line."""
OF_METRICS = {"run": "retracts"}
"""Names of figures that are names of other facts, too."""


def _complete_command(incomplete: str) -> list[str]:
    return [name for name in RECORDED if name.startswith(incomplete)]


runs = typer.Typer(rich_markup_mode=None)
app.add_typer(runs, name="runs")


@runs.callback(invoke_without_command=True)
def list_runs(
    context: typer.Context,
    last: Annotated[
        int,
        typer.Option(help="Number of most recent runs to list; 0 for all.", parser=whole_number, metavar=INTEGER),
    ] = 20,
    command: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="List only runs of this command, such as ingest.  [default: all]",
            show_default=False,
            autocompletion=_complete_command,
        ),
    ] = None,
    drift: Annotated[
        bool,
        typer.Option(
            "--drift", help="List the share of unknown tokens, and the stability index of each feature; * marks drift."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print whole records as JSON.")] = False,
    lake: LakeOption = None,
) -> None:
    """List the lake's runs, and why any failed.

    The most recent run comes last.

    Example: pipeline runs --last 5 --command train

    Example: pipeline runs show 20260131T0400

    Example: pipeline runs --drift
    """
    from pipeline.errors import UsageError, unknown_choice
    from pipeline.lake.runs import read_records

    if context.invoked_subcommand is not None:
        return
    if command not in (None, *RECORDED):
        raise unknown_choice("--command", str(command), RECORDED)
    if last < 0:
        raise UsageError(f"--last {last}: expected 0 or more.")
    where = lake_there(context, lake)
    records = [record for record in read_records(where) if command in (None, record["command"])]
    if drift:
        records = [record for record in records if _has_figures(record)]
    records = records[-last:] if last else records
    if as_json:
        print_json(records, indent=2)
    elif not records:
        measured = " that measured unknown tokens or drift" if drift else ""
        typer.echo(printable(f"No runs{measured} yet in {where.runs}."), err=True)
    elif drift:
        for line in listing.columns(DRIFT_HEADS, list(map(_drift_row, records)), DRIFT_HEADS[1:]):
            typer.echo(line)
    else:
        head, *lines = listing.columns(HEADS, list(map(_row, records)), FIGURES)
        typer.echo(head)
        for record, line in zip(records, lines, strict=True):
            typer.echo(line)
            if why := _remark(record):
                typer.echo("  " + listing.shortened(printable(why), listing.width() - 2))


@runs.command(cls=PanelCommand)
def show(
    context: typer.Context,
    run_id: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help=f"Run ID, a unique prefix of it, or {LATEST}: the most recent run.",
            autocompletion=complete_run,
        ),
    ],
    rejects: Annotated[
        bool,
        typer.Option(
            "--rejects",
            help="Show the rows that an ingest rejected: place, reason and beginning. Rows count from 0, without a header.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole record, or all rejected rows, as JSON.")] = False,
    lake: LakeOption = None,
) -> None:
    """Show one run: options, row counts, outputs, and the error if it failed.

    Example: pipeline runs show 20260131T0400 --json

    Example: pipeline runs show latest --rejects
    """
    from pipeline.lake.runs import read_record, record_paths

    where = lake_there(context, lake)
    paths = {path.stem: path for path in record_paths(where)}
    known = list(paths)
    found = known[-1] if run_id == LATEST and known else listing.find_id("run", run_id, known, "pipeline runs --last 0")
    record = read_record(paths[found])
    if rejects:
        show_rejects(where, record, as_json=as_json)
    elif as_json:
        print_json(record, indent=2)
    else:
        listing.details(_details(record))


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    receipt = record["receipt"]
    outcome = f"failed {record['exit_code']}" if record["outcome"] == "failed" else record["outcome"]
    counts = (_short(receipt[name]) for name in ("read", "written"))
    return (printable(record["run_id"]), printable(outcome), duration(receipt["seconds"]), *counts)


def _has_figures(record: dict[str, Any]) -> bool:
    """Whether a run measured the share of unknown tokens or drift."""
    metrics = record["receipt"].get("metrics", {})
    return metrics.get("unknown_share") is not None or bool(metrics.get("drift"))


def _drift_row(record: dict[str, Any]) -> tuple[str, ...]:
    """Unknown tokens, and the stability index of each feature; those past their limits have a mark."""
    from schemas.reference import FEATURES

    metrics = record["receipt"]["metrics"]
    share, drift = metrics.get("unknown_share"), metrics.get("drift") or {}
    psi, over = drift.get("psi") or {}, drift.get("over") or ()
    marked = (f"{psi[name]:.2f}{'*' if name in over else ' '}" if name in psi else "- " for name in FEATURES)
    return (printable(record["run_id"]), "-" if share is None else f"{share:.1%}", *marked)


def _remark(record: dict[str, Any]) -> str:
    """Why a run failed, or what it left out."""
    from pipeline.lake.runs import reason
    from schemas.bad_row import num_chosen

    if record["outcome"] in ("failed", "stopped"):
        return reason(record.get("error"))
    receipt = record["receipt"]
    rejects = receipt.get("metrics", {}).get("rejects")
    left_out = num_chosen(rejects) if isinstance(rejects, dict) else 0  # erase has their number, without reasons
    left = (
        (receipt.get("rejected", 0) - left_out, "rows rejected"),
        (left_out, "rows left out"),
        (receipt.get("quarantined", 0), "files skipped"),
    )
    return ", ".join(f"{count:,} {what}" for count, what in left if count)


def duration(seconds: float) -> str:
    """A time in its largest unit, in at most seven characters."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _short(number: int) -> str:
    """A number in at most nine characters."""
    if not number:
        return "-"
    return f"{number:,}" if number < 10_000_000 else f"{number / 1e6:,.1f}M"


def _details(record: dict[str, Any]) -> Iterator[tuple[str, object]]:
    receipt = record["receipt"]
    yield "run", record["run_id"]
    yield "outcome", f"{record['outcome']} (exit code {record['exit_code']})"
    yield "error", record.get("error")
    yield "started", record["started"]
    yield "took", duration(receipt["seconds"])
    yield "memory", f"{record['peak_memory_bytes'] / (1 << 20):,.0f} MiB peak"
    for name in ("read", "written", "rejected", "known"):
        yield name, f"{receipt[name]:,}" if receipt[name] else None
    yield "skipped", f"{receipt['quarantined']:,} files" if receipt.get("quarantined") else None
    outputs, metrics = receipt.get("outputs", {}), receipt.get("metrics", {})
    for step in metrics.get("steps", []):
        yield step["command"], f"{step['run_id']} (exit code {step['exit_code']})"
    for line in metrics.get("attention", []):
        yield "attention", line
    for name, value in outputs.items():
        yield name.replace("_", " "), value
    for name, value in metrics.items():
        if name not in NOT_FIGURES | outputs.keys() and value is not None and len(str(value)) < listing.USUAL_WIDTH:
            yield OF_METRICS.get(name, name.replace("_", " ")), f"{value:,}" if type(value) is int else listing.plain(value)
    set_options = {name: value for name, value in record["config"].items() if value not in (None, [], {}, "", False)}
    yield "options", ", ".join(f"{name} {listing.plain(value)}" for name, value in set_options.items())
    yield "versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items())
