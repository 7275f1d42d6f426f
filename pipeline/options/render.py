"""Renders a config dataclass: plain values for the run record, the identity of its result, a command line."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from pipeline.options.option import fields_of
from pipeline.printable import shown


def rendered(config: Any) -> dict[str, Any]:
    """Every field as plain JSON values; options parsed from text become text."""
    texts = {
        field.name: field.option.to_text(getattr(config, field.name))
        for field in fields_of(type(config))
        if dataclasses.is_dataclass(getattr(config, field.name))
    }
    return {name: texts.get(name, _plain(value)) for name, value in dataclasses.asdict(config).items()}


def restored(config: type, record: Mapping[str, Any]) -> dict[str, Any]:
    """Field values of a config rendered by this or an earlier release; unknown fields are dropped."""
    fields = {field.name: field for field in fields_of(config)}
    values: dict[str, Any] = {}
    for name in (entry.name for entry in dataclasses.fields(config)):
        if name not in record:
            continue
        value, field = record[name], fields.get(name)
        if isinstance(value, str) and field is not None and field.option.from_text is not None:
            value = field.option.from_text(value)
        values[name] = tuple(value) if isinstance(value, list) else value
    return values


def identity(config: Any) -> dict[str, Any]:
    """The options that determine the result, by field name, without those that only say where things are."""
    decisive = {field.name for field in fields_of(type(config)) if field.option.identity}
    return {name: value for name, value in dataclasses.asdict(config).items() if name in decisive}


def arguments(config: Any) -> list[str]:
    """The command line that gives this config to a launcher's workers; `config.lake` is a `Lake`."""
    found = [f"--lake={config.lake.root}"]
    for field in fields_of(type(config)):
        value = getattr(config, field.name)
        if not field.option.launched or value is None:
            continue
        if field.option.group is not None:
            found += [f"{field.label}={name}={json.dumps(item)}" for name, item in value.items()]
        elif field.kind is bool:
            found.append(field.label if value else f"--no-{field.key}")
        elif field.kind is tuple and field.option.from_text is None:
            found += [f"{field.label}={item}" for item in value]
        else:
            found.append(f"{field.label}={field.option.to_text(value)}")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | bool | None) else printable_text(str(value))


def printable_text(text: str) -> str:
    """Text with a UTF-8 form: lone surrogates are escaped. Places in a working copy are those in its store."""
    return shown(text).encode("utf-8", "backslashreplace").decode()
