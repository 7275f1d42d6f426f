"""Columns of several sources as those of one table: matched by name, their types widened where no value is lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import DataError
from pipeline.readers.values import plain
from pipeline.text.types import is_bytes, is_text


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumns:
    """The columns of one source. `place` names it; `loose` ones (JSON) become text where their types cannot be one."""

    place: str
    schema: pa.Schema
    loose: bool = False


def unified(sources: Sequence[TableColumns]) -> pa.Schema:
    """All columns, those of the first source first; a column that a source lacks is null there.

    The metadata is what all of them agree on.

    Raises:
        DataError: a column of two sources is of types that cannot be one; it names the column and the second source.
    """
    first = sources[0]
    fields = {field.name: field for field in first.schema}
    owners = dict.fromkeys(fields, first)
    for source in sources[1:]:
        if source.schema.equals(first.schema, check_metadata=True):
            continue
        for name in fields.keys() - set(source.schema.names):
            fields[name] = fields[name].with_nullable(True)
        for field in source.schema:
            known = fields.get(field.name)
            if known is None:
                fields[field.name], owners[field.name] = field.with_nullable(True), source
            elif known.type != field.type or known.nullable != field.nullable:
                owner = owners[field.name]
                fields[field.name] = _merged(known, field, owner, source)
                if pa.types.is_null(known.type):
                    owners[field.name] = source
    metadata = dict(first.schema.metadata or {})
    for source in sources[1:]:
        found = source.schema.metadata or {}
        metadata = {key: value for key, value in metadata.items() if found.get(key) == value}
    return pa.schema(list(fields.values()), metadata or None)


def aligned(batch: pa.RecordBatch, schema: pa.Schema, constants: Mapping[str, str | None]) -> pa.RecordBatch:
    """The columns of `schema`: those of the batch in its types, the constants, null for those that are missing.

    Raises:
        ArrowInvalid: a value has no form in that type.
    """
    columns = []
    for field in schema:
        if field.name in constants:
            columns.append(pa.repeat(pa.scalar(constants[field.name], pa.string()), len(batch)).cast(field.type))
        elif field.name in batch.schema.names:
            columns.append(_cast(batch[field.name], field.type))
        else:
            columns.append(pa.nulls(len(batch), field.type))
    if not columns:
        return batch.select([])
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    return (column if pa.types.is_dictionary(kind) else plain(column)).cast(kind)


def _merged(known: pa.Field, other: pa.Field, owner: TableColumns, source: TableColumns) -> pa.Field:
    kind = _common(known.type, other.type)
    if kind is None and owner.loose and source.loose:
        kind = pa.string()
    if kind is None:
        remedy = "Score them separately, or exclude the column with --keep."
        raise DataError(
            f"{source.place}: the column {other.name!r} is {other.type}, but {known.type} in {owner.place}. {remedy}",
            brief=f"{source.place}: a column is of another type than in {owner.place}. {remedy}",
        )
    return known.with_type(kind).with_nullable(known.nullable or other.nullable)


def _common(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both, None where there is none."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if pa.types.is_dictionary(first) != pa.types.is_dictionary(second):
        first, second = _values(first), _values(second)
        if first == second:
            return first
    if is_text(first) and is_text(second) and not pa.types.is_dictionary(first):
        return pa.large_string()
    if all(is_text(kind) or is_bytes(kind) for kind in (first, second)):
        return pa.large_binary()
    if pa.types.is_decimal(first) != pa.types.is_decimal(second) and pa.types.is_floating(
        second if pa.types.is_decimal(first) else first
    ):
        return None  # Arrow would round the decimals
    try:
        fields = [pa.schema([("column", kind)]) for kind in (first, second)]
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None


def _values(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
