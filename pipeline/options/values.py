"""From the texts of a command line and the values of a TOML table to the values of a config's fields."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError, unknown_choice
from pipeline.options.check import check_value, expected
from pipeline.options.option import ConfigField, fields_of

_TRUTHS = {"true": True, "false": False}


def from_command_line(config: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Field values of the options given on the command line; None if an option was not given.

    `given` holds the fields and the members of groups by name.

    Raises:
        UsageError: a value that its option cannot parse.
    """
    values: dict[str, Any] = {}
    for field in fields_of(config):
        value = given.get(field.name)
        if field.option.group is not None:
            members = {
                name: _of_text(member, given[name], member.label)
                for name, member in field.option.group().items()
                if given.get(name) is not None
            }
            members |= parse_settings(value or (), field.label)
            if members:
                values[field.name] = members
        elif value is not None and value != []:
            values[field.name] = _of_text(field, value, field.label)
    return values


def from_toml(config: type, table: Mapping[str, Any], source: str, folder: Path | None = None) -> dict[str, Any]:
    """Field values of a TOML table, checked. Keys are names of options, with `-` or `_`.

    `source` names the file, and the table where it has several, in messages. `folder`: where relative paths begin, if not
    in the working folder.

    Raises:
        UsageError: an unknown key, two keys of one option, or a value that is not allowed; it names source and key.
    """
    fields = {field.key.replace("_", "-"): field for field in fields_of(config)}
    owners: dict[str, ConfigField] = {}
    for field in fields_of(config):
        fields.setdefault(field.name.replace("_", "-"), field)
        for member in (field.option.group() if field.option.group else {}).values():
            owners[member.key] = field
            fields.setdefault(member.key, member)
    values: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for key, raw in table.items():
        name = key.replace("_", "-")
        if name not in fields:
            raise unknown_choice(source, key, fields)
        field, label = fields[name], f"{source}: {key}"
        if (before := keys.setdefault(field.key, key)) != key:
            raise _given_twice(source, before, key)
        if field.option.group is not None:
            values[field.name] = values.get(field.name, {}) | _settings(raw, label)
            continue
        value = _of_toml(field, raw, label)
        check_value(field, value, label)
        if folder is not None:
            value = _located(field, value, folder)
        if (owner := owners.get(name)) is not None:
            values[owner.name] = {field.name: value} | values.get(owner.name, {})
        else:
            values[field.name] = value
    return values


def combined(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The values of several layers, the strongest last. Dicts are combined by key."""
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            before = values.get(name)
            values[name] = before | value if isinstance(value, dict) and isinstance(before, dict) else value
    return values


def parse_settings(settings: Sequence[str], label: str) -> dict[str, Any]:
    """`name=value` pairs; values are read as JSON where they are JSON (numbers, true, lists), else as text.

    Raises:
        UsageError: a text that is not such a pair.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"{label} {setting}: expected name=value, such as {label} window=20.")
        try:
            found[name.replace("-", "_")] = json.loads(text)
        except ValueError:
            found[name.replace("-", "_")] = text
    return found


def _located(field: ConfigField, value: Any, folder: Path) -> Any:
    """Relative paths made to begin at the folder."""
    if isinstance(value, Path):
        return folder / value
    if field.option.paths and isinstance(value, tuple):
        return tuple(text if "://" in text else str(folder / Path(text).expanduser()) for text in value)
    return value


def _given_twice(source: str, first: str, second: str) -> UsageError:
    return UsageError(f"{source}: {first} and {second} are one option. Remove one of them.")


def _settings(raw: Any, label: str) -> dict[str, Any]:
    if isinstance(raw, dict):
        keys: dict[str, str] = {}
        for key in raw:
            if (before := keys.setdefault(key.replace("-", "_"), key)) != key:
                raise _given_twice(label, before, key)
        return {name: raw[key] for name, key in keys.items()}
    if isinstance(raw, list) and all(isinstance(item, str) for item in raw):
        return parse_settings(raw, label)
    raise UsageError(f"{label} {raw!r}: expected a table of names and values.")


def _of_text(field: ConfigField, value: Any, label: str) -> Any:
    if field.option.separator and isinstance(value, list):
        value = field.option.separator.join(value)
    if field.option.from_text is not None and isinstance(value, str):
        try:
            return field.option.from_text(value)
        except ValueError as error:
            raise UsageError(f"{label} {value}: {error}") from error
    if isinstance(value, Path):
        return value.expanduser()
    if field.kind in (int, float) and isinstance(value, str):
        return _number(field, value, f"{label} {value}")
    return tuple(value) if field.kind is tuple else value


def _of_toml(field: ConfigField, raw: Any, label: str) -> Any:
    """A TOML value as the field's type. A string is read as on the command line, and a number where text is wanted."""
    option = field.option
    if option.from_toml is not None:
        try:
            return option.from_toml(raw)
        except ValueError as error:
            raise UsageError(f"{label} {raw!r}: {error}") from error
    if isinstance(raw, int | float) and not isinstance(raw, bool) and field.kind is str:
        raw = str(raw)
    if field.kind is tuple and isinstance(raw, list):
        if not all(isinstance(item, str) for item in raw):
            raise UsageError(f"{label} {raw!r}: expected a list of texts.")
        return tuple(raw)
    if not isinstance(raw, str):
        return _float(raw) if field.kind is float and type(raw) is int else raw
    if option.from_text is not None:
        return _of_text(field, raw, label)
    if field.kind is tuple:
        return (raw,)
    if field.kind is Path:
        return Path(raw).expanduser()
    if field.kind is bool:
        return _TRUTHS.get(raw.lower(), raw)
    if field.kind in (int, float):
        return _number(field, raw, f"{label} {raw!r}")
    return raw


def _number(field: ConfigField, text: str, given: str) -> Any:
    """The number in a text; `given` is option and value, for the message."""
    try:
        return field.kind(text)
    except ValueError:
        words = "a whole number" if field.kind is int else "a number"
        raise UsageError(f"{given}: expected {expected(field, words)}.") from None


def _float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
