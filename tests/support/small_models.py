"""The architectures, and sizes with which any of them trains in seconds."""

from typing import Any

from pipeline.models.registry import architectures, config_class, load_architecture

SIZES = {"embedding_dim": 16, "hidden_dim": 32, "buckets": 4096}


def networks() -> tuple[str, ...]:
    """The architectures that are trained by gradient descent: all but the linear model of n-grams."""
    return tuple(name for name in architectures() if not config_class(name).linear)


def small(arch: str) -> dict[str, Any]:
    """The sizes among an architecture's options; no dropout of any kind."""
    fields = load_architecture(arch).Config.__dataclass_fields__
    sizes = {name: size for name, size in SIZES.items() if name in fields}
    return sizes | {name: 0.0 for name in fields if name.endswith("dropout")}
