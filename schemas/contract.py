"""Contracts: a name, a version, the columns, and the rule for allowed changes.

All contracts share one rule. Within a version, only nullable columns may be added, and readers ignore unknown columns.
Removing, renaming or retyping a column requires a new version. A reader accepts its own version and the older versions
listed in `readable`, and refuses newer ones, which it could misread.

A `Contract` describes a table with an Arrow schema. Files with one JSON object have a `Document` (`schemas.document`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

KEY_NAME = b"review_pipeline.schema"
KEY_VERSION = b"review_pipeline.schema_version"

RULE = (
    "Within a version, only nullable columns may be added, and readers ignore unknown columns. "
    "Removing, renaming or retyping a column requires a new version. Files of a newer version are refused."
)


NEWER = "Upgrade review-pipeline, or use the lake that this release wrote."
"""What to do about a file of a newer version."""


class ContractError(ValueError):
    """A file or batch does not keep its contract. `exit_code` is what the command line ends with (65: bad data)."""

    exit_code = 65


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column, or a field of a JSON object, as `pipeline schema` shows it."""

    name: str
    type: str
    nullable: bool
    description: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Versioned:
    """What all contracts share. `description` is one line for people.

    `remedy` says how to get a readable file in place of one that is not.
    """

    name: str
    version: int
    description: str
    readable: tuple[int, ...] = ()
    """Older versions that can be read."""
    rule: str = RULE
    remedy: str = "Ingest it again."

    def check_version(self, version: str, where: str) -> None:
        """Checks a version as it was read from metadata.

        Raises:
            ContractError: it is not a number, or not a version that this release reads.
        """
        allowed = (*self.readable, self.version)
        if not version.isdecimal() or int(version) not in allowed:
            newer = version.isdecimal() and int(version) > self.version
            remedy = NEWER if newer else self.remedy
            raise ContractError(
                f"{where} has version {version or '(none)'} of the {self.name} contract; this release reads "
                f"{', '.join(map(str, allowed))}. {remedy}"
            )

    def listing(self) -> Sequence[Column]:
        """The columns, in their order."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, object]:
        """A plain form for `pipeline schema --json`."""
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "rule": self.rule,
            "columns": [
                {"name": c.name, "type": c.type, "nullable": c.nullable, "description": c.description}
                for c in self.listing()
            ],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract(Versioned):
    """A versioned Arrow schema. `columns` describes each column.

    `unmarked`: files of earlier releases have the columns, but no contract in their metadata. They count as version 1.
    `optional`: nullable columns that a file may lack; it then has null in all of them.
    """

    schema: pa.Schema
    columns: Mapping[str, str]
    unmarked: bool = False
    optional: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        assert set(self.columns) == set(self.schema.names), f"{self.name}: the texts and the columns differ"

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """Key-value metadata that marks a file as written under this contract."""
        return {KEY_NAME: self.name.encode(), KEY_VERSION: str(self.version).encode()}

    def check(self, schema: pa.Schema, where: str) -> None:
        """Checks a file's schema, its metadata included.

        Raises:
            ContractError: another contract, a version that cannot be read, a column missing or of another type.
        """
        metadata = schema.metadata or {}
        name = metadata.get(KEY_NAME, b"").decode(errors="replace")
        if not name and self.unmarked:
            self.check_version("1", where)
        elif name != self.name:
            found = f"the metadata says {name!r}" if name else "it carries no contract in its metadata"
            raise ContractError(
                f"{where} is not a {self.name} file: {found}. Expected files written by 'pipeline' under the "
                f"contract {self.name!r}. Point the command at such files, or create them with 'pipeline ingest'."
            )
        else:
            self.check_version(metadata.get(KEY_VERSION, b"").decode(errors="replace"), where)
        self.check_columns(schema, where)

    def check_columns(self, schema: pa.Schema, where: str) -> None:
        """Checks that every column of the contract is there with its type, unless it is optional; others are allowed.

        Raises:
            ContractError: a column is missing or has another type.
        """
        for field in self.schema:
            index = schema.get_field_index(field.name)
            if index < 0:
                if field.name in self.optional:
                    continue
                raise ContractError(
                    f"{where} lacks the column {field.name!r} ({field.type}) of the {self.name} contract. "
                    f"Its columns are: {', '.join(schema.names)}."
                )
            if not _same_type(schema.field(index).type, field.type):
                raise ContractError(
                    f"{where}: column {field.name!r} is {schema.field(index).type}, the {self.name} contract "
                    f"requires {field.type}. Rewrite it with that type."
                )

    def listing(self) -> Sequence[Column]:
        """The columns of the schema."""
        return [
            Column(name=f.name, type=str(f.type), nullable=f.nullable, description=self.columns[f.name]) for f in self.schema
        ]


def _same_type(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Types as readers of other tools give them back: large and plain variants count as one."""
    if pa.types.is_list(wanted):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and _same_type(found.value_type, wanted.value_type)
    if pa.types.is_string(wanted):
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))
    return bool(found == wanted)
