"""The roles of columns: text, label, target, ID, group and split."""

import logging
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.errors import meant
from pipeline.readers.base import FileFault, Format, Source
from pipeline.readers.dialect import DELIMITERS
from pipeline.readers.values import holds_text, is_nested

log = logging.getLogger(__name__)

LABEL_NAMES = ("label", "sentiment", "stars", "rating", "score", "polarity", "class", "category", "target", "overall")
"""Usual names of a label's column; a file that has one where no label column was named is warned of."""

TAB = "\t"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns for each role; None if there is none.

    Args:
        text: columns whose texts are joined by a line break.
        optional_label: the label column may be missing; reviews are then unlabelled.
    """

    text: tuple[str, ...] = ("text",)
    label: str | None = None
    target: str | None = None
    id: str | None = None
    group: str | None = None
    split: str | None = None
    optional_label: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The columns that one source has, by role; `partitions` are constants of the source, by column."""

    text: tuple[str, ...]
    label: str | None = None
    target: str | None = None
    id: str | None = None
    group: str | None = None
    split: str | None = None
    partitions: dict[str, str | None] = field(default_factory=dict)

    def columns(self) -> tuple[str, ...]:
        """The columns that have to be read from the file."""
        wanted = [*self.text, self.label, self.target, self.id, self.group, self.split]
        return tuple(dict.fromkeys(name for name in wanted if name is not None and name not in self.partitions))


def resolve(source: Source, format: Format, schema: pa.Schema, columns: Columns) -> Resolved:
    """The roles of one source's columns.

    Args:
        schema: of the source, as its format gives it.

    Raises:
        FileFault: a required column is missing, duplicated, or of an unsupported type.
    """
    if format.text_column is not None:
        columns = Columns(text=(format.text_column,))
    leaves = leaf_types(schema)
    partitions = {name: value for name, value in source.partitions if name not in leaves}
    names = [*leaves, *partitions]
    text = _text_columns(columns.text, names)
    label = columns.label
    if label is not None and columns.optional_label and label not in names and not format.open_schema:
        label = None
    others = {role: (getattr(columns, role),) for role in ("target", "id", "group", "split")}
    wanted = {"text": text, "label": (label,), **others}
    for role, those in wanted.items():
        for name in those:
            if name is not None and name not in partitions:
                _check(source, format, schema, leaves, role, name, names)
    return Resolved(
        text=text,
        label=label,
        target=columns.target,
        id=columns.id,
        group=columns.group,
        split=columns.split,
        partitions=partitions,
    )


def _other_delimiter(names: Sequence[str]) -> str | None:
    """The usual delimiter that stands in the name of an only column, which is then a whole header; None if none does."""
    if len(names) != 1:
        return None
    count, delimiter = max((names[0].count(delimiter), delimiter) for delimiter in DELIMITERS)
    return delimiter if count else None


def near_label(names: Iterable[str]) -> str | None:
    """A column that looks like the label's, where the label column was not named and `label` is missing."""
    lowered = {name.strip().lower(): name for name in names}
    return next((lowered[usual] for usual in LABEL_NAMES if usual in lowered), None)


def leaf_types(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Types of the columns, and of the fields of structs by their dotted names."""
    found: dict[str, pa.DataType] = {}

    def visit(prefix: str, fields: Iterable[pa.Field]) -> None:
        for one in fields:
            name = f"{prefix}{one.name}"
            found.setdefault(name, one.type)
            if pa.types.is_struct(one.type):
                visit(f"{name}.", one.type)

    visit("", schema)
    return found


def _text_columns(given: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The columns of text. A name with commas is one column where there is such a column, else several."""
    whole = ",".join(given)
    return (whole,) if whole in names else tuple(given)


def _check(
    source: Source,
    format: Format,
    schema: pa.Schema,
    leaves: dict[str, pa.DataType],
    role: str,
    name: str,
    names: list[str],
) -> None:
    option = f"--{role}-column"
    if name not in leaves:
        if format.open_schema:
            return
        if format.sniff is not None and (other := _other_delimiter(schema.names)) is not None:
            detail = (
                f"no column {name!r}. Its only column is {schema.names[0]!r}; if these are several, pass --delimiter "
                f"{shlex.quote('tab' if other == TAB else other)}, otherwise choose it with {option}"
            )
            raise FileFault(source.name, "column", detail)
        hint = meant(name, names)
        columns = ", ".join(map(repr, names)) or "none"
        raise FileFault(source.name, "column", f"no column {name!r}.{hint} Its columns: {columns}. Choose one with {option}")
    if schema.names.count(name) > 1:
        raise FileFault(source.name, "column", f"the column {name!r} appears twice. Rename one of them")
    kind = leaves[name]
    if role == "text" and not (holds_text(kind) or pa.types.is_null(kind)):
        texts = ", ".join(other for other, kind in leaves.items() if holds_text(kind)) or "none"
        detail = f"the text column {name!r} is {kind}; expected text. Text columns: {texts}. Choose one with {option}"
        raise FileFault(source.name, "column", detail)
    if is_nested(kind):
        fields = [other for other in leaves if other.startswith(f"{name}.")]
        hint = f"Choose one of its fields: {', '.join(fields)}" if fields else f"Choose another with {option}"
        raise FileFault(source.name, "column", f"the {role} column {name!r} is {kind}; expected one value per row. {hint}")
