"""Reads a bounded part of the beginning of a source, with the readers of ingest."""

from dataclasses import dataclass, field, replace

import pyarrow as pa

from pipeline.inspection.columns import Column
from pipeline.readers.base import Dialect, FileFault, Format, Reading, Rows, Source
from pipeline.readers.dialect import Sniffed
from pipeline.readers.opening import fault_of
from pipeline.readers.registry import format_named
from pipeline.readers.roles import leaf_types
from pipeline.readers.values import is_nested

MAX_BYTES = 32 << 20
"""Maximum number of bytes of a source's values to read, in Arrow's format."""
TABLE_ROWS = 20
"""Number of rows of a `.txt` file that must match its first line for it to count as a table; fewer in shorter files."""
MIN_TABLE_ROWS = 3


@dataclass(kw_only=True)
class Sample:
    """What the beginning of a source contains.

    Args:
        rows: rows inspected, including faulty ones.
        whole: whether these are all rows.
        dialect: how a text table is written.
        columns: by name, in order; none for sources of whole reviews.
        repeated: names used by several columns.
        fault: why the source cannot be read.
    """

    source: Source
    rows: int = 0
    whole: bool = False
    dialect: Sniffed | None = None
    columns: dict[str, Column] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()
    fault: FileFault | None = None

    @property
    def is_table(self) -> bool:
        """Whether the source has columns, rather than whole reviews."""
        return format_named(self.source.format).read is not None

    @property
    def fixed_dialect(self) -> Dialect:
        """The detected dialect, passed on as given, so that nothing is detected twice."""
        if self.dialect is None:
            return Dialect()
        return self.dialect.fixed


def look_at(source: Source, given: Reading, rows: int) -> Sample:
    """Reads the first rows of a source.

    Args:
        given: what is known about the dialect of text tables and the size of rows.
    """
    sample = Sample(source=source)
    kind = format_named(source.format)
    try:
        if kind.read is None:
            _refuse_table(source)
        else:
            _look(sample, kind, given, rows)
    except FileFault as fault:
        sample.fault = fault
    except OSError as error:
        sample.fault = fault_of(source.name, source.format, source.compression, error)
    return sample


def _look(sample: Sample, kind: Format, given: Reading, limit: int) -> None:
    assert kind.read is not None and kind.schema is not None
    source = sample.source
    if kind.sniff is not None:
        sample.dialect = kind.sniff(source, given)
    reading = replace(given, dialect=sample.fixed_dialect, keep_nested=True)
    schema = kind.schema(source, reading)
    leaves = {name: type for name, type in leaf_types(schema).items() if not pa.types.is_struct(type)}
    sample.repeated = tuple(name for name in leaves if schema.names.count(name) > 1)
    names = tuple(name for name in leaves if name not in sample.repeated)
    partitions = {name: value for name, value in source.partitions if name not in leaves}
    sample.columns = {name: Column(name=name) for name in (*names, *partitions)}
    sample.whole = not len(schema)
    if not names:
        if kind.open_schema:
            _check_objects(source, kind, reading)
        return
    size = 0
    for batch in kind.read(source, replace(reading, columns=names)):
        sample.rows += len(batch.row) + len(batch.bad)
        size += batch.table.nbytes
        _take(sample, batch, partitions, written=kind.sniff is not None)
        if sample.rows >= limit or size >= MAX_BYTES:
            return
    sample.whole = True


def _check_objects(source: Source, kind: Format, reading: Reading) -> None:
    """Raises `FileFault` if a file without fields is not one of objects; an empty file may become one."""
    assert kind.read is not None
    for _ in kind.read(source, reading):
        pass


def _take(sample: Sample, batch: Rows, partitions: dict[str, str | None], *, written: bool) -> None:
    for name in batch.table.schema.names:
        array = batch.table[name]
        sample.columns[name].take(array, written=written and not is_nested(array.type))
    for name, value in partitions.items():
        sample.columns[name].take(pa.array([value] * len(batch.row), pa.string()), written=True)


def _refuse_table(source: Source) -> None:
    """Raises `FileFault` for a `.txt` file that is a table, which ingest would read as one review."""
    if len(source.files) != 1:
        return
    path = source.path / source.files[0]
    table = Source(path=path, name=f"{source.name}/{path.name}", format="csv", compression=source.compression)
    if table.compression is None and _is_table(table):
        detail = "a table, not a single review. Read it with --format csv, or rename it to .csv"
        raise FileFault(table.name, "column", detail)


def _is_table(source: Source) -> bool:
    kind = format_named("csv")
    assert kind.sniff is not None and kind.read is not None
    try:
        dialect = kind.sniff(source, Reading())
        if not dialect.has_header:
            return False
        rows = next(iter(kind.read(source, Reading(dialect=dialect.fixed))), None)
    except FileFault:
        return False
    if rows is None or rows.table.num_columns < 2:
        return False
    return len(rows.row) >= MIN_TABLE_ROWS and not any(bad.row < TABLE_ROWS for bad in rows.bad)
