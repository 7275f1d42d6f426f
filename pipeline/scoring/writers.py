"""Files of scored rows: Parquet, CSV and JSON lines."""

import json
import os
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.output_format import OutputFormat
from pipeline.errors import DataError
from pipeline.lake.content import HashedFile
from pipeline.readers.values import plain
from pipeline.text.types import is_bytes, is_text

ROW_GROUP_ROWS = 65_536
NEEDS_QUOTES = re.compile(r'[",\r\n]')


class ParquetWriter:
    """Writes windows of scored rows to one Parquet file. A context manager; the file is whole when it is left well.

    Args:
        text: columns whose values are reviews, hardly two of them equal: they get no dictionary.
    """

    def __init__(self, path: Path, schema: pa.Schema, text: Sequence[str] = ()) -> None:
        self._schema = schema
        self._file = HashedFile(path)
        try:
            self._writer = pq.ParquetWriter(
                self._file, schema, compression="zstd", write_page_checksum=True, use_dictionary=_encoded(schema, text)
            )
        except BaseException:
            self._file.close()
            raise
        self.rows = 0

    def write(self, batches: Sequence[pa.RecordBatch], added: Sequence[pa.Array]) -> None:
        """Appends rows: the input's kept columns in `batches`, the prediction's columns in `added`."""
        columns = [*pa.Table.from_batches(batches).columns, *added]
        self.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def write_table(self, table: pa.Table) -> None:
        """Appends rows with all their columns."""
        self._writer.write_table(table, ROW_GROUP_ROWS)
        self.rows += len(table)

    def __enter__(self) -> "ParquetWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with closing(self._file):
            if error is None:
                self._file.note_sha256(self._writer)
            self._writer.close()


class TextWriter:
    """Writes windows of scored rows as lines of text, compressed or not; used as `ParquetWriter` is.

    Args:
        json_as_is: the kept columns are JSON text, null where a row has no such member.
    """

    def __init__(self, path: Path, schema: pa.Schema, format: OutputFormat, *, json_as_is: bool = False) -> None:
        self._names = schema.names
        self._is_csv = format.name == "csv"
        self._json_as_is = json_as_is
        file = pa.OSFile(os.fsencode(path), "wb")  # names that are not UTF-8 only as bytes
        self._file = pa.CompressedOutputStream(file, format.compression) if format.compression else file
        self.rows = 0
        if self._is_csv:
            self._file.write((",".join(map(_csv_cell, self._names)) + "\n").encode())

    def write(self, batches: Sequence[pa.RecordBatch], added: Sequence[pa.Array]) -> None:
        """Appends rows: the input's kept columns in `batches`, the prediction's columns in `added`."""
        start = 0
        for batch in batches:
            columns = [*batch.columns, *(column.slice(start, len(batch)) for column in added)]
            start += len(batch)
            self._file.write(self._lines(columns, len(batch.schema)).encode("utf-8", "surrogatepass"))
        self.rows += len(added[0])

    def _lines(self, columns: Sequence[pa.Array], kept: int) -> str:
        if self._is_csv:
            cells = [csv_cells(name, column) for name, column in zip(self._names, columns, strict=True)]
            return "".join([",".join(row) + "\n" for row in zip(*cells, strict=True)])
        as_is = kept if self._json_as_is else 0
        values: list[Sequence[str | None]] = [_members(column) for column in columns[:as_is]]
        values += [json_values(name, column) for name, column in zip(self._names[as_is:], columns[as_is:], strict=True)]
        keys = [f"{json.dumps(name, ensure_ascii=False)}: " for name in self._names]
        rows = zip(*values, strict=True)
        return "".join(
            [
                "{" + ", ".join([key + value for key, value in zip(keys, row, strict=True) if value is not None]) + "}\n"
                for row in rows
            ]
        )

    def __enter__(self) -> "TextWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def _encoded(schema: pa.Schema, text: Sequence[str]) -> bool | list[str]:
    """The columns that get a dictionary, as `pq.ParquetWriter` wants them: all, none, or their names."""
    if any(pa.types.is_nested(field.type) for field in schema):
        return True  # pyarrow wants the names of their leaves
    return [name for name in schema.names if name not in text] or False


def csv_cells(name: str, column: pa.Array) -> list[str]:
    """Values as cells of a CSV file, quoted where they have to be; null is an empty cell.

    Raises:
        DataError: the column holds bytes that are not UTF-8.
    """
    column = plain(column)
    if pa.types.is_nested(column.type):
        texts = [None if value is None else _dumped(value) for value in column.to_pylist()]
    else:
        texts = _texts(name, column)
    if _is_number(column.type):
        return [text or "" for text in texts]
    return ["" if text is None else _csv_cell(text) for text in texts]


def json_values(name: str, column: pa.Array) -> list[str]:
    """Values as JSON. Decimals are numbers, times are strings, and values that JSON lacks (NaN) are null.

    Raises:
        DataError: the column holds bytes that are not UTF-8.
    """
    column = plain(column)
    if pa.types.is_nested(column.type):
        return [_dumped(value) for value in column.to_pylist()]
    texts = _texts(name, column)
    if pa.types.is_floating(column.type):
        return ["null" if text is None or text in ("nan", "inf", "-inf") else text for text in texts]
    if _is_number(column.type):
        return [text or "null" for text in texts]
    return [json.dumps(text, ensure_ascii=False) for text in texts]


def _members(column: pa.StringArray) -> list[str | None]:
    """JSON text, each value on one line. Strings in JSON contain no line ends, so these are white space."""
    return [text if text is None else text.replace("\n", " ").replace("\r", " ") for text in column.to_pylist()]


def _texts(name: str, column: pa.Array) -> list[str | None]:
    """Values as text, in the shortest form that distinguishes them from all other values of their type."""
    kind = column.type
    if is_text(kind) or is_bytes(kind):
        raw = column.cast(pa.large_binary()).to_pylist()
        try:
            return [value if value is None else value.decode() for value in raw]
        except UnicodeDecodeError:
            remedy = (
                "contains bytes that are not UTF-8, which text files do not support. Write a .parquet "
                "file with --output, or exclude the column with --keep."
            )
            raise DataError(f"the column {name!r} {remedy}", brief=f"a column {remedy}") from None
    if kind == pa.float64():
        return [value if value is None else repr(value) for value in column.to_pylist()]
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    if pa.types.is_floating(kind):
        return [f"{text}.0" if text is not None and text.removeprefix("-").isdigit() else text for text in texts]
    return texts


def _is_number(kind: pa.DataType) -> bool:
    tests: tuple[Callable[[pa.DataType], bool], ...] = (
        *(pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean),
    )
    return any(test(kind) for test in tests)


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if NEEDS_QUOTES.search(text) else text
