"""What an option is: a field of a frozen config dataclass, with an `Option` in its annotation.

    epochs: Annotated[int, Option(help="Passes over the training part.", minimum=1)] = 3

The command line, the checks, TOML files, the identity of a training and the arguments of its workers derive from it.
Importable without typer, torch and pyarrow.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

MAIN, DATA, INPUT, MODEL, OPTIMISATION = "Options", "Data", "Input files", "Model", "Optimisation"
REGULARISATION, LINEAR, HARDWARE = "Regularisation", "Linear model of n-grams", "Hardware"
CHECKPOINTS, OUTPUT, BOUNDS = "Checkpoints", "Output", "Input limits"
PANELS = (MAIN, DATA, INPUT, MODEL, OPTIMISATION, REGULARISATION, LINEAR, HARDWARE, CHECKPOINTS, OUTPUT, BOUNDS)
"""The panels of `--help`, in order. `MAIN` has the most common options."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """The metadata in a field's annotation.

    Bounds are inclusive (`minimum`, `maximum`) or exclusive (`above`, `below`). `choices` may be a function, called only
    when a value is checked. For other checks, set `accepts`, and describe allowed values in `expected`.
    """

    help: str
    panel: str = MAIN
    name: str | None = None
    """The option's name if it differs from the field's, such as `timeout` for `timeout_seconds`."""
    metavar: str | None = None
    default: str | None = None
    """A description of the default, if the value itself is not descriptive."""
    positional: bool = False
    paths: bool = False
    """Whether values are paths or URIs; relative ones in a lake's file are resolved against the lake."""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    example: str | None = None
    """An example value, for messages."""
    choices: Iterable[Any] | Callable[[], Iterable[Any]] | None = None
    names_model: bool = False
    """Whether the value is a model of the lake, for shell completion."""
    names_pretrained: bool = False
    """Whether the value is a pretrained model, or a model, of the lake, for shell completion."""
    names_run: bool = False
    """Whether the value is a run of the lake, for shell completion."""
    unlisted: tuple[str, ...] = ()
    """Choices that messages do not offer, because they fit few uses."""
    remedy: str = ""
    """A hint for values that are not among the choices."""
    accepts: Callable[[Any], bool] | None = None
    expected: str = ""
    identity: bool = True
    """Whether the value affects the trained model."""
    launched: bool = True
    """Whether the launcher passes the option on to its workers."""
    from_text: Callable[[str], Any] | None = None
    """Parses a command-line value. Raises `ValueError` with a description of what is expected."""
    from_toml: Callable[[Any], Any] | None = None
    """Parses a value from a TOML file, if `from_text` and the type are not enough. Raises `ValueError` in the same way."""
    separator: str = ""
    """What separates the items of a list that `from_text` parses; the option can be repeated as well."""
    to_text: Callable[[Any], str] = str
    """The inverse of `from_text`."""
    group: "Callable[[], Mapping[str, ConfigField]] | None" = None
    """For a field that is a dict: the options in it, which are also options of the command. Other entries are passed as
    NAME=VALUE."""

    def known(self) -> tuple[Any, ...]:
        """The choices; empty if any value is allowed."""
        return tuple((self.choices() if callable(self.choices) else self.choices) or ())


@dataclass(frozen=True)
class ConfigField:
    """A field that is an option. `kind` is its type without None; `tuple` for tuples of strings."""

    name: str
    kind: Any
    optional: bool
    default: Any
    """`dataclasses.MISSING` where the option is required."""
    option: Option

    @property
    def key(self) -> str:
        """The option's name without dashes in front, as in TOML."""
        return self.option.name or self.name.replace("_", "-")

    @property
    def label(self) -> str:
        """The option as messages name it."""
        return self.key.upper() if self.option.positional else f"--{self.key}"

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is dataclasses.MISSING


def fields_of(config: type) -> tuple[ConfigField, ...]:
    """The options of a config dataclass, in the order of its fields. Fields without an `Option` are none."""
    if config not in _FIELDS:
        _FIELDS[config] = tuple(_fields(config))
    return _FIELDS[config]


_FIELDS: dict[type, tuple[ConfigField, ...]] = {}


def _fields(config: type) -> Iterator[ConfigField]:
    hints = typing.get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        options = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Option)]
        if not options:
            continue
        kind, optional = _kind(hint)
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        assert options[0].panel in PANELS, (field.name, options[0].panel)
        yield ConfigField(field.name, kind, optional, default, options[0])


def _kind(hint: Any) -> tuple[Any, bool]:
    """A type without its annotations and None, and whether it allows None."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        optional = len(kinds) < len(typing.get_args(hint))
        hint = kinds[0] if len(kinds) == 1 else object
    return typing.get_origin(hint) or hint, optional
