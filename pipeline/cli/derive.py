"""Derives a command from a config dataclass: every field that is an option becomes an option of the command.

What is not given on the command line comes from `--config`, then from the lake's `pipeline.toml`, then from the default.
"""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from pipeline.cli.app import LakeOption, app, finish_of, in_lake, lake_of, load_commands
from pipeline.cli.complete import complete_preset, completion
from pipeline.cli.finish import Finish, JsonOption
from pipeline.cli.numbers import FLOAT, INTEGER
from pipeline.cli.panels import PanelCommand
from pipeline.lake.paths import Lake
from pipeline.options.check import check_path
from pipeline.options.files import file_layers, file_values
from pipeline.options.option import ConfigField, fields_of
from pipeline.options.values import combined, from_command_line

log = logging.getLogger(__name__)

Config = TypeVar("Config")
Command = Callable[[Config, Finish], None]
Chosen = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Inherits:
    """Field values that another command's table in the lake's pipeline.toml gives where nothing else does.

    Args:
        command: whose table, such as ingest.
        chosen: from the field values of that table, and those that were given to the inheriting command.
    """

    command: str
    chosen: Chosen


METAVARS = {int: INTEGER, float: FLOAT, Path: "PATH"}
"""What help shows in place of a value by its type, if not TEXT."""
WIDEST = 24
"""As many characters of choices are shown in place of a value."""
TABLES: dict[str, type] = {}
"""The commands whose options `pipeline.toml` may hold, and their configs."""

PresetOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="NAME|FILE",
        show_default=False,
        autocompletion=complete_preset,
        help="TOML file of options, or a preset: fast, default, best, demo, book-…. The command line wins.  [default: none]",
    ),
]


def config_command(
    config: type[Config],
    *,
    presets: bool = False,
    words: Callable[[], dict[str, str]] = dict,
    inherits: Inherits | None = None,
) -> Callable[[Command[Config]], Command[Config]]:
    """Registers a function that takes a config, and how to end, as a command; its docstring is the help.

    Args:
        presets: with `--config`.
        words: replacements for `{names}` in the docstring.
        inherits: values from another command's table.
    """

    def register(function: Command[Config]) -> Command[Config]:
        name = function.__name__
        TABLES[name] = config

        def command(**given: Any) -> None:
            finish = finish_of(given["context"], given["lake"], given.pop("as_json"))
            function(config_of(config, name, given, inherits), finish)

        command.__doc__ = (function.__doc__ or "").format(**words())
        parameters = list(_parameters(config, presets))
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(name, cls=PanelCommand)(command)
        return function

    return register


def config_of(config: type[Config], command: str, given: dict[str, Any], inherits: Inherits | None = None) -> Config:
    """The config that the command line, the files and the defaults give together.

    Raises:
        UsageError: a value that is not allowed, wherever it stands.
        InputNotFoundError: the file of `--config` does not exist.
    """
    lake = lake_of(given.pop("context"), given.pop("lake"))
    preset = in_lake(lake, given.get("config"))
    check_path("--config", Path(preset or ""))
    layers = file_layers(config, command, configs, lake.root, preset)
    layers["the command line"] = from_command_line(config, given)
    layers = {source: {name: in_lake(lake, value) for name, value in values.items()} for source, values in layers.items()}
    if inherits is not None:
        theirs = file_values(configs()[inherits.command], inherits.command, configs, lake.root)
        layers = {f"[{inherits.command}] of the lake": inherits.chosen(theirs, combined(*layers.values()))} | layers
    for source, values in layers.items():
        for name, value in values.items():
            log.debug("%s = %s, from %s", name, value, source)
    place = lake if get_type_hints(config)["lake"] is Lake else lake.root
    make: Callable[..., Config] = config
    return make(lake=place, **combined(*layers.values()))


def configs() -> Mapping[str, type]:
    """The configs of all commands that have one, by command."""
    load_commands()
    return TABLES


def _parameters(config: type, presets: bool) -> Iterator[inspect.Parameter]:
    make = partial(inspect.Parameter, kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required, optional = [], []
    fields = fields_of(config)
    for field in fields:
        group = field.option.group
        for member in (group() if group is not None else {}).values():
            optional.append(make(member.name, annotation=_annotation(member), default=None))
        if field.required:
            required.append(make(field.name, annotation=_annotation(field)))
        else:
            optional.append(make(field.name, annotation=_annotation(field), default=None))
    yield make("context", annotation=typer.Context)
    yield from required
    if presets:
        yield make("config", annotation=PresetOption, default=None)
    yield from optional
    yield make("as_json", annotation=JsonOption, default=False)
    yield make("lake", annotation=LakeOption, default=None)


def _annotation(field: ConfigField) -> Any:
    """What Typer reads: the type on the command line, and how the option is shown."""
    option = field.option
    kind: Any = field.kind
    if option.group is not None or option.separator or (kind is tuple and option.from_text is None):
        kind = list[str]
    elif option.from_text is not None or kind in (int, float):
        kind = str  # parsed by `from_command_line`, whose messages say what is allowed
    text = option.help
    if not field.required:
        text += f"  [default: {_default(field)}]"
    shown: dict[str, Any] = {"help": text, "metavar": _metavar(field), "show_default": False}
    shown["autocompletion"] = completion(field)
    if option.positional:
        argument = typer.Argument(**shown)
        return Annotated[kind, argument] if field.required else Annotated[kind | None, argument]
    names = [f"--{field.key}/--no-{field.key}" if kind is bool else f"--{field.key}"]
    return Annotated[kind | None, typer.Option(*names, rich_help_panel=option.panel, **shown)]


def _metavar(field: ConfigField) -> str | None:
    """What help shows in place of the value: the choices if they are short, else what kind of value it is."""
    option = field.option
    if option.metavar or option.positional or field.kind is bool:
        return option.metavar
    choices = "" if callable(option.choices) else "|".join(map(str, option.choices or ()))
    if 0 < len(choices) <= WIDEST:
        return choices
    return "COLUMN" if field.key.endswith("-column") else METAVARS.get(field.kind, "TEXT")


def _default(field: ConfigField) -> str:
    value = field.default
    if field.option.default is not None:
        return field.option.default
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == () else field.option.to_text(value)
