"""Which architectures there are: every file of this folder but the helpers. Importable without torch.

A file `grid_lstm.py` is `--arch grid-lstm`. It holds one `ReviewClassifier`; being there is all the registration it needs.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline import models
from pipeline.errors import PipelineError, UsageError, unknown_choice

if TYPE_CHECKING:
    from pipeline.models.interface import ReviewClassifier

HELPERS = frozenset({"interface", "registry", "bundle"})
"""Files of the folder that are no architecture; further helpers belong into `layers/`."""


def architectures() -> tuple[str, ...]:
    """The names that `--arch` takes, sorted. No architecture is imported."""
    found = (module.name for module in pkgutil.iter_modules(models.__path__) if not module.ispkg)
    return tuple(sorted(name.replace("_", "-") for name in found if name not in HELPERS and not name.startswith("_")))


def check_architecture(name: str) -> None:
    """Raises `UsageError`, which lists all architectures, the nearest first, unless `name` is one."""
    known = architectures()
    if name not in known:
        raise unknown_choice("--arch", name, known, "'pipeline models --archs' tells what each one is.")


def load_architecture(name: str) -> "type[ReviewClassifier]":
    """Imports one architecture's file and gives its class.

    Raises:
        UsageError: no such architecture.
        PipelineError: the file does not hold exactly one whole `ReviewClassifier`.
    """
    check_architecture(name)
    from pipeline.models.interface import ReviewClassifier

    module = importlib.import_module(f"{models.__name__}.{name.replace('-', '_')}")
    classes = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, ReviewClassifier)
        and member.__module__ == module.__name__
        and not inspect.isabstract(member)
    ]
    if len(classes) != 1:
        raise PipelineError(
            f"{module.__file__} defines {len(classes)} classes that are a whole ReviewClassifier; an architecture's file "
            "has exactly one. Finish its 'encode', or move helpers into pipeline/models/layers/."
        )
    missing = [attribute for attribute in ("year", "paper", "summary") if not hasattr(classes[0], attribute)]
    if missing:
        raise PipelineError(
            f"{module.__file__}: {classes[0].__name__} lacks the class attributes {', '.join(missing)}. Set them."
        )
    return classes[0]


def build_model(arch: str, config: Mapping[str, Any], vocabulary_tokens: Sequence[str] | None = None) -> "ReviewClassifier":
    """A new model. `config` holds the options that differ from the architecture's defaults, and always `vocab_size` and
    `num_classes`; a bundle's `model_config` serves as it stands.

    `vocabulary_tokens` (token of id i at place i) lets an architecture fill in what follows from the vocabulary, such
    as which tokens end a sentence; what `config` says goes before it.

    Raises:
        UsageError: no such architecture, an option that it does not have, a value that cannot be.
    """
    from pipeline.models.interface import option

    architecture = load_architecture(arch)
    fields = [field.name for field in dataclasses.fields(architecture.Config)]
    lacking = [name for name in ("vocab_size", "num_classes") if name not in config]
    if lacking:
        raise UsageError(f"the model's configuration lacks {', '.join(lacking)}; every architecture needs both.")
    foreign = [name for name in config if name not in fields]
    if foreign:
        raise UsageError(
            f"{', '.join(map(option, foreign))}: the architecture {arch!r} has no such option. It has: "
            f"{', '.join(option(name) for name in fields if name not in ('vocab_size', 'num_classes'))}."
        )
    derived = architecture.Config.from_vocabulary(vocabulary_tokens) if vocabulary_tokens is not None else {}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in {**derived, **config}.items()}
    # The interface's own __init__ takes the width of the states; an architecture's takes its config alone.
    make: Any = architecture
    make_config: Any = architecture.Config
    model: ReviewClassifier = make(make_config(**values))
    return model
