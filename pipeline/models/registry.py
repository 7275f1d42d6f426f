"""The registry of architectures: every file in this folder except helpers. Importable without torch.

The file `grid_lstm.py` is `--arch grid-lstm`. It defines one `Classifier`; no further registration is needed.
"""

import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline import models
from pipeline.errors import PipelineError, UsageError, unknown_choice
from pipeline.models import configs
from pipeline.models.configs.base import ArchitectureConfig, ModelConfig, RecurrentConfig
from pipeline.options.option import ConfigField, fields_of

if TYPE_CHECKING:
    from pipeline.models.interface import Classifier

HELPERS = frozenset({"interface", "registry", "bundle", "blend", "pretrained", "language_model"})
"""Files of the folder that are not architectures; further helpers belong in `layers/`."""
GIVEN = ("vocab_size", "num_classes")
"""Fields of every config that the data decide."""
REMEDY = "'pipeline models --archs' describes each one."


def architectures() -> tuple[str, ...]:
    """The values of `--arch`, sorted. Imports no architecture."""
    found = (module.name for module in pkgutil.iter_modules(models.__path__) if not module.ispkg)
    return tuple(sorted(name.replace("_", "-") for name in found if name not in HELPERS and not name.startswith("_")))


def check_architecture(name: str) -> None:
    """Raises `UsageError`, which lists all architectures, the nearest first, unless `name` is one."""
    known = architectures()
    if name not in known:
        raise unknown_choice("--arch", name, known, REMEDY)


def load_architecture(name: str) -> "type[Classifier]":
    """Imports one architecture's file and gives its class.

    Raises:
        UsageError: no such architecture.
        PipelineError: the file does not hold exactly one whole `Classifier`.
    """
    check_architecture(name)
    from pipeline.models.interface import Classifier

    module = importlib.import_module(f"{models.__name__}.{name.replace('-', '_')}")
    classes = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, Classifier)
        and member.__module__ == module.__name__
        and not inspect.isabstract(member)
    ]
    if len(classes) != 1:
        raise PipelineError(
            f"{module.__file__} defines {len(classes)} complete Classifier classes; an architecture's file "
            "has exactly one. Finish its 'encode', or move helpers into pipeline/models/layers/."
        )
    missing = [attribute for attribute in ("year", "paper", "summary") if not hasattr(classes[0], attribute)]
    if missing:
        raise PipelineError(
            f"{module.__file__}: {classes[0].__name__} lacks the class attributes {', '.join(missing)}. Set them."
        )
    return classes[0]


def build_model(arch: str, config: Mapping[str, Any], vocabulary_tokens: Sequence[str] | None = None) -> "Classifier":
    """A new model. `config` holds the options that differ from the architecture's defaults, and always `vocab_size` and
    `num_classes`; a bundle's `model_config` serves as it stands.

    `vocabulary_tokens` (token of id i at index i) lets an architecture set what depends on the vocabulary, such as which
    tokens end a sentence; `config` takes precedence.

    Raises:
        UsageError: no such architecture, an option that it does not have, or an invalid value.
    """
    architecture = load_architecture(arch)
    lacking = [name for name in GIVEN if name not in config]
    if lacking:
        raise UsageError(f"the model's configuration lacks {', '.join(lacking)}; every architecture needs both.")
    derived = architecture.Config.from_vocabulary(vocabulary_tokens) if vocabulary_tokens is not None else {}
    # The interface's own __init__ takes the width of the states; an architecture's takes its config alone.
    make: Any = architecture
    model: Classifier = make(_made(arch, architecture.Config, {**derived, **config}))
    return model


def check_model_options(arch: str, options: Mapping[str, Any]) -> None:
    """Checks an architecture's options before any data is seen.

    Raises:
        UsageError: an option that the architecture does not have, that the data decide, or a value that is not allowed.
    """
    for name in GIVEN:
        if name in options:
            raise UsageError(f"--set {name}: determined by the data. Remove it.")
    _made(arch, config_class(arch), {**dict.fromkeys(GIVEN, 2), **options})


def config_class(arch: str) -> type[ArchitectureConfig]:
    """The config dataclass of an architecture. torch is imported only if the class is in the architecture's own file.

    Raises:
        UsageError: no such architecture.
    """
    check_architecture(arch)
    found = _own_config(arch.replace("-", "_"))
    return load_architecture(arch).Config if found is None else found


@cache
def model_options() -> Mapping[str, ConfigField]:
    """The options of all architectures with configs in `configs/`, by field name; shared ones come first."""
    found = {
        field.name: replace(field, option=replace(field.option, default="the architecture's"))
        for config in (ModelConfig, RecurrentConfig)
        for field in fields_of(config)
    }
    for module in sorted(pkgutil.iter_modules(configs.__path__), key=lambda module: module.name):
        config = _own_config(module.name)
        for field in () if config is None else fields_of(config):
            words = f"{field.option.help} Only for {module.name.replace('_', '-')}."
            found.setdefault(field.name, replace(field, option=replace(field.option, help=words)))
    return found


def _own_config(name: str) -> type[ArchitectureConfig] | None:
    """The config of `configs/<name>.py`; None without such a file."""
    path = f"{configs.__name__}.{name}"
    if importlib.util.find_spec(path) is None:
        return None
    members = vars(importlib.import_module(path)).values()
    own = (member for member in members if inspect.isclass(member) and member.__module__ == path)
    return next((member for member in own if issubclass(member, ArchitectureConfig)), None)


def _made(arch: str, config: type[ArchitectureConfig], options: Mapping[str, Any]) -> ArchitectureConfig:
    """The config with these options; lists, as JSON and TOML have them, become tuples."""
    names = [field.name for field in dataclasses.fields(config)]
    foreign = [name for name in options if name not in names]
    if foreign:
        known = ", ".join(_label(name) for name in names if name not in GIVEN)
        raise UsageError(
            f"{', '.join(map(_label, foreign))}: the architecture {arch!r} has no such option. It has: {known}."
        )
    make: Any = config
    made: ArchitectureConfig = make(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    )
    return made


def _label(name: str) -> str:
    return "--" + name.replace("_", "-")
