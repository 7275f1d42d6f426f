"""Fields of structs as columns with dotted names: `review.body`."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


def top_level(schema: pa.Schema, columns: Sequence[str]) -> list[str]:
    """The columns of the file that hold the wanted ones."""
    return list(dict.fromkeys(home(schema, name)[0] for name in columns))


def select(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """The wanted columns under their dotted names; a field of a null struct is null."""
    arrays = []
    for name in columns:
        column, path = home(batch.schema, name)
        array = batch[column]
        for part in path:
            array = pc.struct_field(array, part)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def home(schema: pa.Schema, name: str) -> tuple[str, list[str]]:
    """The top-level column that holds a dotted name, and the path from there. A column of that very name comes first."""
    if name in schema.names:
        return name, []
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        column = ".".join(parts[:length])
        if column in schema.names:
            return column, parts[length:]
    return name, []
