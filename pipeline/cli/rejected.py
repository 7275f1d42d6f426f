"""`pipeline runs show RUN --rejects`: the rows that a run rejected, with their places, reasons and beginnings."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from pipeline.cli import listing
from pipeline.cli.finish import print_json
from pipeline.errors import InputNotFoundError
from pipeline.lake.paths import Lake
from pipeline.printable import printable, short_path
from schemas.bad_row import CHOSEN

SHOWN = 20
"""As many rows are shown; the rest is counted."""
REMEDY = "Delete it; the next ingest writes it again."


def show_rejects(lake: Lake, record: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints the first rejected rows, without those that an option leaves out; as JSON, all of them.

    Raises:
        InputNotFoundError: the run wrote no file of rejects, or it is gone.
        DataError: it is damaged.
    """
    path = _file(lake, record)
    rows = _rows(path)
    if as_json:
        print_json(rows, indent=2)
        return
    reported = [row for row in rows if row["reason"] not in CHOSEN]
    for row in reported[:SHOWN]:
        for line in _lines(row):
            typer.echo(line)
    if len(reported) > SHOWN:
        typer.echo(f"and {len(reported) - SHOWN:,} more in {short_path(path)}; --json prints all of them")
    if left_out := len(rows) - len(reported):
        typer.echo(f"{left_out:,} row{'' if left_out == 1 else 's'} left out on purpose (--skip-labels)")


def _file(lake: Lake, record: Mapping[str, Any]) -> Path:
    """The file of rejects; the lake may have moved since it was written."""
    run_id, name = record["run_id"], record["receipt"].get("outputs", {}).get("rejects")
    if not name:
        raise InputNotFoundError(
            f"{run_id} wrote no file of rejected rows; only ingest does. 'pipeline runs' counts what each run rejected."
        )
    path = lake.rejects / Path(name).name
    lake.fetch(path)
    if not path.exists():
        raise InputNotFoundError(f"{path} is gone. 'pipeline ingest' writes it again while the rows are in their files.")
    return path


def _rows(path: Path) -> list[dict[str, Any]]:
    from pipeline.lake.contract_files import read_contract_file
    from schemas.reject import REJECT

    rows: list[dict[str, Any]] = read_contract_file(path, REJECT, REMEDY).to_pylist()
    return rows


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    place = row["source"] if row["row"] < 0 else f"{row['source']}, row {row['row']:,}"
    yield printable(f"{place}: {row['reason']}: {row['detail']}")
    if excerpt := " ".join(row["excerpt"].split()):
        yield "  " + listing.shortened(printable(excerpt), listing.width() - 2)
