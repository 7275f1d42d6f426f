"""A model on its way to the tasks that score with it, and what they keep of it between their calls."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.datapipes.score_encode import Encoded, text_encoder
from pipeline.datapipes.score_read import Part
from pipeline.errors import PipelineError
from pipeline.lake.manifest import MANIFEST
from pipeline.models.bundle import DESCRIPTION, FILES, Bundle, read_bundle
from pipeline.scoring.sums_predictor import SumsPredictor

if TYPE_CHECKING:
    from pipeline.scoring.predictor import Predictor
    from pipeline.text.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class SentModel:
    """A bundle by its path, and its files for machines that do not see it there.

    Args:
        key: a task keeps what it has loaded under it.
        description: content of model.json: a folder with another one is another model.
        files: a list with the reference to the contents by name, not the reference itself, which each task would fetch;
            empty where all tasks see the folder.
        planned_for: see `Predictor`.
    """

    key: str
    folder: Path
    description: bytes
    files: list[Any]
    at_once: bool
    explain: bool
    device: str
    batch_size: int
    precision: str
    planned_for: int

    @classmethod
    def of(cls, bundle: Bundle, put: Callable[[Any], Any] | None, **options: Any) -> "SentModel":
        """A bundle; `put` makes a value available to tasks, if they may run where its folder is not visible."""
        folder = bundle.folder.resolve()
        names = [name for name in (*FILES, MANIFEST) if (folder / name).exists()]
        files = [] if put is None else [put({name: (folder / name).read_bytes() for name in names})]
        return cls(key=token_hex(8), folder=folder, description=(folder / DESCRIPTION).read_bytes(), files=files, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How rows are encoded; see `text_encoder`."""

    key: str
    kept: pa.Schema
    json_as_is: bool


_kept: dict[tuple[str, str], Any] = {}
"""What this process has loaded, by the key of its model. That of one model: a run has one."""


def encoder(model: SentModel, asked: Asked) -> Callable[[Part], Encoded]:
    """What encodes rows; scores them, too, where the model does so at once."""

    def make() -> Callable[[Part], Encoded]:
        score = _once(model, "sums", lambda: _sums(model)).score if model.at_once else None
        words: Vocabulary = _once(model, "vocabulary", lambda: _vocabulary(model))
        return text_encoder(words, asked.kept, json_as_is=asked.json_as_is, score=score)

    before: tuple[str, Callable[[Part], Encoded]] | None = _kept.get((model.key, "encoder"))
    if before is None or before[0] != asked.key:
        before = asked.key, make()
        _kept[model.key, "encoder"] = before
    return before[1]


def predictor(model: SentModel) -> "Predictor":
    """The model, ready to score."""

    def make() -> "Predictor":
        from pipeline.scoring.predictor import Predictor

        with _bundle(model) as bundle:
            bundle.load_vocabulary()  # while it is there
            threads = 1 if model.device == "cpu" else None
            return Predictor(
                bundle, model.device, model.batch_size, model.precision, threads=threads, planned_for=model.planned_for
            )

    loaded: Predictor = _once(model, "predictor", make)
    return loaded


def _once(model: SentModel, what: str, make: Callable[[], Any]) -> Any:
    if (model.key, what) not in _kept:
        for key in [key for key in _kept if key[0] != model.key]:
            del _kept[key]
        _kept[model.key, what] = make()
    return _kept[model.key, what]


def _vocabulary(model: SentModel) -> "Vocabulary":
    with _bundle(model) as bundle:
        return bundle.load_vocabulary()


def _sums(model: SentModel) -> SumsPredictor:
    with _bundle(model) as bundle:
        found = SumsPredictor.of(bundle, model.device, model.precision)
        assert found is not None
        return found


@contextmanager
def _bundle(model: SentModel) -> Iterator[Bundle]:
    """The bundle, at its path or else in a temporary folder for the block."""
    try:
        is_there = (model.folder / DESCRIPTION).read_bytes() == model.description
    except OSError:
        is_there = False
    if is_there or not model.files:
        yield read_bundle(model.folder)
        return
    import ray

    contents: Mapping[str, bytes] = ray.get(model.files[0])
    with tempfile.TemporaryDirectory(prefix="pipeline-model-") as temporary:
        folder = Path(temporary) / model.folder.name  # the model's ID
        try:
            folder.mkdir()
            for name, content in contents.items():
                (folder / name).write_bytes(content)
        except OSError as error:
            raise PipelineError(f"a Ray worker cannot write {folder}: {error}. Free some space there.") from error
        yield read_bundle(folder)
