"""A streaming pipeline for review sentiment: raw files to token shards, to a recurrent classifier, to predictions.

`load` opens a trained model for scoring in Python. Importing the package imports neither torch nor pyarrow.
"""

from typing import TYPE_CHECKING, Any

from pipeline.version import __version__

if TYPE_CHECKING:
    from pipeline.api import Model, Prediction, TokenWeight, load

__all__ = ["Model", "Prediction", "TokenWeight", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
