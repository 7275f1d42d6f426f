"""Contracts of files with one JSON object: their fields and allowed values."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.contract import Column, ContractError, Versioned

TYPES: dict[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) is int or (type(value) is float and math.isfinite(value)),
    "object": lambda value: isinstance(value, dict),
    "strings": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "numbers": lambda value: isinstance(value, list) and all(TYPES["number"](item) for item in value),
    "objects": lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
}
"""The types of fields by name. `integer` and `number` take no booleans; `strings`, `numbers` and `objects` are lists."""
NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "strings": "a list of strings",
    "numbers": "a list of numbers",
    "object": "an object",
    "objects": "a list of objects",
}
LISTS = {"strings": "list of strings", "numbers": "list of numbers", "objects": "list of objects"}
SHOWN_CHARACTERS = 40
"""Longest excerpt of a wrong value in a message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A field of a JSON object.

    Args:
        type: a name in `TYPES`.
        nullable: whether null is allowed.
        optional: whether the field may be absent, as in files of earlier releases.
        minimum: the smallest allowed number.
        maximum: the largest allowed number.
        exclusive: whether the bounds are exclusive.
        choices: the allowed values of a string.
        fields: the checked fields of an object, or of each in a list, which may have others.
    """

    name: str
    type: str
    description: str
    nullable: bool = False
    optional: bool = False
    minimum: float | None = None
    maximum: float | None = None
    exclusive: bool = False
    choices: tuple[str, ...] = ()
    fields: "tuple[Field, ...]" = ()

    def __post_init__(self) -> None:
        assert self.type in TYPES, f"{self.name}: no type {self.type}"

    @property
    def allowed(self) -> str:
        """The values that are allowed, in words."""
        text = " or ".join(self.choices) or NAMES.get(self.type, f"a {self.type}")
        if self.minimum is not None and self.maximum is not None:
            text += f" {'between' if self.exclusive else 'from'} {self.minimum:,} "
            text += f"{'and' if self.exclusive else 'to'} {self.maximum:,}"
        elif self.minimum is not None:
            text += f" of at least {self.minimum:,}"
        return text + (" or null" if self.nullable else "")

    def faults(self, holder: Mapping[str, object], prefix: str = "") -> Iterator[str]:
        """What is wrong with the field in the object that holds it, and with the fields inside it."""
        label = prefix + self.name
        if self.name not in holder:
            if not self.optional:
                yield f"{label} is missing, expected {self.allowed}"
            return
        value = holder[self.name]
        if value is None and self.nullable:
            return
        if not self._allows(value):
            yield f"{label} is {_shown(value)}, expected {self.allowed}"
            return
        items = value if isinstance(value, list) else [value]
        for number, item in enumerate(items if self.fields else []):
            place = f"{label}[{number}]." if isinstance(value, list) else f"{label}."
            for field in self.fields:
                yield from field.faults(item, place)

    def _allows(self, value: Any) -> bool:
        if not TYPES[self.type](value) or (self.choices and value not in self.choices):
            return False
        if self.exclusive and value in (self.minimum, self.maximum):
            return False
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)

    def columns(self, prefix: str = "") -> Iterator[Column]:
        """The field and those inside it, as `pipeline schema` shows them."""
        bounded = self.choices or self.minimum is not None
        text = self.description + (f": {self.allowed}" if bounded else "")
        yield Column(
            name=prefix + self.name,
            type=LISTS.get(self.type, self.type),
            nullable=self.nullable or self.optional,
            description=text + ("; absent in files of earlier releases" if self.optional else ""),
        )
        for field in self.fields:
            yield from field.columns(f"{prefix}{self.name}{'[]' if self.type in LISTS else ''}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Document(Versioned):
    """The contract of a JSON object. Its field `version` holds the version of the contract, and is not in `fields`.

    `noun` is the name of such a file in messages.
    """

    noun: str
    fields: tuple[Field, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields, `version` first."""
        return ("version", *(field.name for field in self.fields))

    def to_json(self, values: Mapping[str, Any]) -> str:
        """The text of a file: indented, keys sorted, UTF-8, a line break at the end.

        Args:
            values: all fields but `version`.

        Raises:
            ContractError: they do not keep the contract.
        """
        document = {**values, "version": self.version}
        self.check(document, f"the {self.noun} that is to be written")
        return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"

    def parse(self, content: bytes, where: str) -> dict[str, Any]:
        """The object in a file's content, checked.

        Raises:
            ContractError: it is not JSON, or does not keep the contract.
        """
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ContractError(f"{where} is not a {self.noun}: it is not JSON ({error}). {self.remedy}") from error
        return self.check(found, where)

    def check(self, found: object, where: str) -> dict[str, Any]:
        """Checks an object; fields that the contract does not have are allowed.

        Raises:
            ContractError: no object, a version that cannot be read, a field missing, or with another value than allowed.
        """
        if not isinstance(found, dict) or type(found.get("version")) is not int:
            raise ContractError(
                f"{where} is not a {self.noun}: it has no version. Expected a JSON object with "
                f"{', '.join(self.names)}. {self.remedy}"
            )
        self.check_version(str(found["version"]), where)
        faults = [fault for field in self.fields for fault in field.faults(found)]
        if faults:
            raise ContractError(f"{where} is not a valid {self.noun}: {'; '.join(faults)}. {self.remedy}")
        return found

    def listing(self) -> Sequence[Column]:
        """The fields, those inside objects with the object's name before a dot."""
        version = Column(name="version", type="integer", nullable=False, description="version of this contract")
        return [version, *(column for field in self.fields for column in field.columns())]


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
