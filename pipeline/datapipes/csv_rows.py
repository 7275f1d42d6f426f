"""Rows of CSV and TSV files, streamed; a ragged row becomes a `BadRow`."""

import csv
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv as pa_csv

from pipeline.datapipes.raw import EXCERPT_BYTES, Columns, Item, opened
from pipeline.datapipes.sources import CSV, Source
from pipeline.datapipes.tables import cut_batches, only_bad, present_columns, unreadable
from pipeline.errors import DataError
from schemas.reject import BadRow

BLOCK_BYTES = 4 << 20
"""The reader holds some 30 of these ahead; no row may be longer."""


def csv_rows(source: Source, columns: Columns) -> Iterator[Item]:
    """Rows of a CSV or TSV file with a header; quoted line breaks are part of a value.

    Raises:
        DataError: no header, a column is missing, or the compression is damaged.
    """
    bad: list[tuple[int, BadRow]] = []
    delimiter = "," if source.kind == CSV else "\t"

    def note(row: pa_csv.InvalidRow) -> str:
        # Numbers count from 1, the header included; the streaming reader parses in order, so they are always there.
        number = (row.number or 2) - 2
        detail = f"{row.actual_columns} columns instead of {row.expected_columns}"
        excerpt = (row.text or "").encode("utf-8", "replace")[:EXCERPT_BYTES]
        bad.append((number, BadRow(source=source.name, row=number, reason="malformed_row", detail=detail, excerpt=excerpt)))
        return "skip"

    names = _csv_header(source, delimiter)
    columns = present_columns(source, columns, names)
    taken = 0  # good rows so far
    try:
        with (
            opened(source.path, source.compression) as stream,
            pa_csv.open_csv(
                stream,
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
                parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=columns.names(),
                    column_types={name: pa.binary() for name in columns.names()},
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                    null_values=[""],
                    check_utf8=False,
                ),
            ) as reader,
        ):
            skipped = 0  # of `bad`, those that precede them
            for batch in reader:
                rows = []
                for _ in range(len(batch)):
                    while skipped < len(bad) and bad[skipped][0] == taken + skipped:
                        skipped += 1
                    rows.append(taken + skipped)
                    taken += 1
                yield from cut_batches(source, batch, rows, columns, [])
            if bad:
                yield only_bad(source, [row for _, row in bad])
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        if "straddling object" in str(error):
            raise DataError(
                f"{source.path}: a row after row {taken + len(bad):,} is longer than {BLOCK_BYTES >> 20} MiB. Most often a "
                "quotation mark is never closed. Mend the file, then run again. Nothing was ingested."
            ) from error
        raise unreadable(source, error) from error


def _csv_header(source: Source, delimiter: str) -> list[str]:
    try:
        with opened(source.path, source.compression) as stream:
            start = bytes(stream.read(1 << 16))
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise unreadable(source, error) from error
    lines = start.decode("utf-8-sig", "replace").splitlines()
    if not lines or not lines[0].strip():
        raise DataError(f"{source.path} is empty: a CSV file begins with a line of column names. Mend or remove the file.")
    return next(csv.reader(lines, delimiter=delimiter))
