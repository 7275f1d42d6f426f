"""What the readers of tables share: cutting into batches, checking columns, saying what is wrong with a file."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.datapipes.raw import BATCH_BYTES, BATCH_ROWS, MAX_REVIEW_BYTES, Columns, RawBatch, strings
from pipeline.datapipes.sources import Source
from pipeline.datapipes.text_files import too_large
from pipeline.errors import DataError, unknown_choice
from schemas.reject import BadRow


def cut_batches(
    source: Source,
    table: pa.RecordBatch | dict[str, list[Any]],
    rows: list[int],
    columns: Columns,
    bad: list[BadRow],
) -> Iterator[RawBatch]:
    """Cuts a table into batches of bounded rows and bytes; the bad rows go with the first."""

    def column(name: str | None) -> list[str | None] | None:
        if name is None:
            return None
        return strings(table[name]) if isinstance(table, pa.RecordBatch) else table[name]

    raw = table[columns.text]
    texts = _bytes_of(raw) if isinstance(raw, pa.Array) else [None if text is None else encoded(text) for text in raw]
    labels, splits, groups = column(columns.label), column(columns.split), column(columns.group)
    if columns.id is None:
        ids: list[str | None] = [f"{source.name}#{row}" for row in rows]
    else:
        ids = column(columns.id) or []
    start = size = 0
    for end in range(1, len(rows) + 1):
        size += len(texts[end - 1] or b"")
        if end == len(rows) or end - start >= BATCH_ROWS or size >= BATCH_BYTES:
            part = slice(start, end)
            oversized = [i for i in range(start, end) if len(texts[i] or b"") > MAX_REVIEW_BYTES]
            bad = bad + [too_large(source.name, rows[i], texts[i] or b"") for i in oversized]
            keep = [i for i in range(start, end) if i not in set(oversized)] if oversized else part
            yield RawBatch(
                source=[source.name] * (len(keep) if isinstance(keep, list) else end - start),
                row=_pick(rows, keep),
                text=pa.array(_pick(texts, keep), pa.binary()),
                review_id=_pick(ids, keep),
                label=None if labels is None else _pick(labels, keep),
                split=None if splits is None else _pick(splits, keep),
                group=None if groups is None else _pick(groups, keep),
                bad=bad,
            )
            bad, start, size = [], end, 0
    if bad:
        yield only_bad(source, bad)


def only_bad(source: Source, bad: list[BadRow]) -> RawBatch:
    return RawBatch(source=[], row=[], text=pa.array([], pa.binary()), review_id=[], bad=bad)


def present_columns(source: Source, columns: Columns, names: list[str]) -> Columns:
    """The columns that the source has; optional ones that are missing become None.

    Raises:
        DataError: a column that was asked for is not among `names`, or twice.
    """
    present = columns.without(set(columns.optional) - set(names))
    for option, name in present.items():
        if name not in names:
            raise DataError(f"{source.path}: {unknown_choice(f'--{option}-column', name, dict.fromkeys(names))}")
    if duplicates := {name for name in present.names() if names.count(name) > 1}:
        raise DataError(f"{source.path}: the column {sorted(duplicates)[0]!r} is there twice. Rename one of them.")
    return present


def unreadable(source: Source, error: Exception) -> DataError:
    return DataError(
        f"{source.path} cannot be read as {source.kind}{f' ({source.compression})' if source.compression else ''}: {error}. "
        "It may be damaged or cut short; mend or remove it, then run again. Nothing was ingested."
    )


def _pick(values: list[Any], which: slice | list[int]) -> list[Any]:
    return values[which] if isinstance(which, slice) else [values[i] for i in which]


def _bytes_of(column: pa.Array) -> list[bytes | None]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    binary = (
        pa.large_binary() if pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type) else pa.binary()
    )
    return list(column.cast(binary).to_pylist())


def encoded(text: str) -> bytes:
    # A lone surrogate from a \\ud800 escape has no UTF-8 form; kept as it is it is rejected as invalid later.
    return text.encode("utf-8", "surrogatepass")
