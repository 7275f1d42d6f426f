"""`pipeline runs`."""

from typing import Annotated, Any

import typer

from pipeline.cli.app import LakeOption, app, lake_of
from pipeline.printable import printable, printable_json

HEADS = ("run", "outcome", "exit", "seconds", "read", "written", "rejected", "known", "memory")
RECORDED = (
    *("crossval", "evaluate", "export", "fetch", "ingest", "repair", "report", "sample", "score", "train", "upgrade"),
    "vacuum",
)
"""Commands that leave records."""


@app.command()
def runs(
    context: typer.Context,
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="One run, whole, as JSON.  [default: a table]", show_default=False)
    ] = None,
    last: Annotated[int, typer.Option(help="How many, counted from the newest; 0 for all.")] = 20,
    command: Annotated[
        str | None, typer.Option(help="Only runs of this command, such as ingest.  [default: all]", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Whole records, for machines.")] = False,
    lake: LakeOption = None,
) -> None:
    """List what ran on the lake, the newest last: outcome, rows, time and memory.

    Example: pipeline runs --last 5 --command train
    """
    import json

    from pipeline.errors import InputNotFoundError, UsageError, unknown_choice
    from pipeline.lake.runs import read_records

    if command not in (None, *RECORDED):
        raise unknown_choice("--command", str(command), RECORDED)
    if last < 0:
        raise UsageError(f"--last {last}: give 0 or more.")
    where = lake_of(context, lake)
    records = list(read_records(where))
    if run_id is not None:
        found = [record for record in records if record["run_id"] == run_id]
        if not found:
            known = [record["run_id"] for record in records]
            if not known:
                raise InputNotFoundError(f"no run {run_id!r}: {where.runs} holds no records. Is it the right lake?")
            raise InputNotFoundError(str(unknown_choice("run", run_id, known[-20:])))
        typer.echo(printable_json(json.dumps(found[0], indent=2, ensure_ascii=False)))
        return
    records = [record for record in records if command in (None, record["command"])]
    records = records[-last:] if last else records
    if as_json:
        typer.echo(printable_json(json.dumps(records, indent=2, ensure_ascii=False)))
    elif not records:
        typer.echo(printable(f"No runs yet in {where.runs}."), err=True)
    else:
        _print([HEADS, *map(_row, records)])


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    receipt = record["receipt"]
    counts = (f"{receipt.get(name, 0):,}" for name in ("read", "written", "rejected", "known"))
    memory = f"{record['peak_memory_bytes'] / (1 << 20):,.0f} MiB"
    names = (printable(record[name]) for name in ("run_id", "outcome"))
    return (*names, str(record["exit_code"]), f"{receipt['seconds']:,.1f}", *counts, memory)


def _print(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        names = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        figures = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        typer.echo("  ".join([*names, *figures]))
