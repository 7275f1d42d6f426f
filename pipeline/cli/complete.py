"""Shell completion of names found in the lake or the package. Imports neither torch nor pyarrow."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from pipeline.options.option import ConfigField

Complete = Callable[[typer.Context, str], list[str]]


def completion(field: ConfigField) -> Any:
    """The function that completes an option's value; None if any value is possible."""
    option = field.option
    if option.names_model:
        return complete_model
    if option.names_pretrained:
        return complete_initial
    if option.names_run:
        return complete_run
    if option.choices is None:
        return None
    return lambda incomplete: _beginning(map(str, option.known()), incomplete)


def complete_preset(incomplete: str) -> list[str]:
    """Names of presets."""
    from pipeline.presets import preset_names

    return _beginning(preset_names(), incomplete)


def complete_model(context: typer.Context, incomplete: str) -> list[str]:
    """LATEST, LIVE and IDs of the lake's models, newest first."""
    bundles = _in_lake(context, "models", "*/model.json")
    newest = sorted(bundles, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return _beginning(["LATEST", "LIVE", *(path.parent.name for path in newest if path.parent.name[0] != ".")], incomplete)


def complete_initial(context: typer.Context, incomplete: str) -> list[str]:
    """What a training can start from: LATEST and IDs of pretrained models, LIVE and IDs of models; each newest first."""
    found = []
    for first, folder, pattern in (("LATEST", "pretrained", "*/pretrained.json"), ("LIVE", "models", "*/model.json")):
        newest = sorted(_in_lake(context, folder, pattern), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        found += [first, *(path.parent.name for path in newest if path.parent.name[0] != ".")]
    return _beginning(found, incomplete)


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """What names a run: latest, and IDs, newest first."""
    names = (path.stem for path in _in_lake(context, "runs", "*.json") if path.name[0] != ".")
    return _beginning(["latest", *sorted(names, reverse=True)], incomplete)


def _in_lake(context: typer.Context, folder: str, pattern: str) -> list[Path]:
    """Files of the lake given earlier on the command line."""
    from pipeline.errors import UsageError
    from pipeline.lake.paths import Lake

    given, place = None, context
    while place is not None and given is None:
        given, place = place.params.get("lake"), place.parent  # type: ignore[assignment]
    with suppress(OSError, UsageError):  # a shell asks for words and takes no errors
        return list(getattr(Lake.find(given), folder).glob(pattern))
    return []


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
