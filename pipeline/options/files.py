"""Options in files: the lake's `pipeline.toml`, with a table for each command, and the file or preset of `--config`."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError, unknown_choice
from pipeline.options.values import combined, from_toml

LAKE_FILE = "pipeline.toml"


def file_values(
    config: type, command: str, commands: Callable[[], Iterable[str]], lake: Path, preset: str | None = None
) -> dict[str, Any]:
    """Field values of a command's options in files: `preset` (given by `--config`) takes precedence over the lake's file.

    Raises:
        UsageError: a file that is not TOML, an unknown key or table, a value that is not allowed.
        InputNotFoundError: the file of `--config` does not exist.
    """
    return combined(*file_layers(config, command, commands, lake, preset).values())


def file_layers(
    config: type, command: str, commands: Callable[[], Iterable[str]], lake: Path, preset: str | None = None
) -> dict[str, dict[str, Any]]:
    """The layers that `file_values` combines, by file, in increasing precedence."""
    path = lake / LAKE_FILE
    tables = read_lake_file(path, commands)
    layers = {str(path): from_toml(config, tables.get(command, {}), f"{path}: [{command}]", lake)}
    if preset is not None:
        from pipeline.presets import read_options

        layers[f"--config {preset}"] = from_toml(config, read_options(preset), f"--config {preset}")
    return layers


def read_lake_file(path: Path, commands: Callable[[], Iterable[str]]) -> Mapping[str, dict[str, Any]]:
    """The tables of a lake's `pipeline.toml`, by command; empty without such a file. `commands` gives the allowed table
    names.

    Raises:
        UsageError: it cannot be read, or contains anything but tables of these commands.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):  # if the lake is a file, writing to it reports that
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}. Check its owner and permissions.") from error
    import tomllib

    try:
        tables = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}. Fix it, or move it away.") from error
    known = sorted(commands()) if tables else []
    for name, table in tables.items():
        if name not in known:
            raise unknown_choice(str(path), name, known, "Put options into a table named after their command.")
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} = {table!r}: expected a table [{name}] of options.")
    return tables
