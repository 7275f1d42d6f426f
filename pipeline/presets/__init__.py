"""Options in TOML files: presets that come with us, and people's own. A key is an option's name."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pipeline.errors import InputNotFoundError, UsageError, unknown_choice


def preset_names() -> tuple[str, ...]:
    """The presets that `--config` takes by name."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def read_options(given: str) -> dict[str, Any]:
    """The options in a preset or a file, with keys as written there.

    Raises:
        UsageError: neither a preset nor a file's path, or not TOML.
        InputNotFoundError: no such file.
    """
    if "/" not in given and not given.endswith(".toml"):
        if given not in preset_names():
            raise unknown_choice("--config", given, preset_names(), "Or give the path of a TOML file.")
        text = resources.files(__name__).joinpath(f"{given}.toml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(given).read_text(encoding="utf-8")
        except OSError as error:
            raise InputNotFoundError(f"--config {given}: {error.strerror or error}. Give a TOML file of options.") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"--config {given} is no UTF-8, so it is no TOML: {error}.") from error
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"--config {given} is no TOML: {error}.") from error
