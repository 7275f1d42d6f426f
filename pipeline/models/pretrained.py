"""A pretrained model as a folder: pretrained.safetensors, pretrained.json, manifest.json, and metrics of a language model.

It is no classifier: `pipeline train --init` takes word vectors and recurrent weights from it. It knows tokens by the IDs of
one vocabulary, and which reviews it has not read.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError, InputNotFoundError, PipelineError
from pipeline.lake.atomic import PREFIX, write_bytes, write_text
from pipeline.lake.documents import parsed
from pipeline.lake.manifest import verify_content, verify_folder, write_manifest
from pipeline.lake.paths import FoldLake, Lake
from schemas.pretrained import PRETRAINED

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, DESCRIPTION = "pretrained.safetensors", "pretrained.json"
LATEST = "LATEST"
_KEPT = tuple(field.name for field in PRETRAINED.fields)
"""Fields of pretrained.json, all of which a `Pretrained` has under the same names."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """The content of pretrained.json (contract: `schemas.pretrained`), and where it is."""

    folder: Path
    objective: str
    arch: str | None
    model_config: dict[str, Any]
    vocabulary: str
    table_version: int | None
    fold: str | None
    holdout: float
    metrics: dict[str, Any]
    training: dict[str, Any]
    created: str
    weights_sha256: str

    @property
    def pretrained_id(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of what was learned, wherever it is: weights, what they belong to, and what they have not read."""
        content = [self.arch, self.weights_sha256, self.vocabulary, self.fold, self.holdout]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def load_weights(self) -> "dict[str, Tensor]":
        """The tensors by name, on the CPU.

        Raises:
            InputNotFoundError: the file is not there.
            DataError: it is not the file that pretrained.json names.
        """
        import safetensors
        import safetensors.torch

        path = self.folder / WEIGHTS
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise InputNotFoundError(f"{path} does not exist. {PRETRAINED.remedy}") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}. {PRETRAINED.remedy}") from error
        if hashlib.sha256(content).hexdigest() != self.weights_sha256:
            raise DataError(f"{path} is not the file listed in {DESCRIPTION}: its SHA-256 differs. {PRETRAINED.remedy}")
        try:
            return safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise DataError(f"{path} cannot be read: {error}. {PRETRAINED.remedy}") from error


def save_pretrained(folder: Path, weights: "Mapping[str, Tensor]", **described: Any) -> None:
    """Writes the files into `folder`: a temporary one, which the caller renames to the ID. `described`: the fields of
    `schemas.pretrained` but the digest.

    Raises:
        CannotWriteError: the folder cannot be written.
    """
    import safetensors.torch

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    content = safetensors.torch.save(plain)
    write_bytes(folder / WEIGHTS, content)
    digest = hashlib.sha256(content).hexdigest()
    write_text(folder / DESCRIPTION, PRETRAINED.to_json({**described, "weights_sha256": digest}))
    write_manifest(folder, (DESCRIPTION, WEIGHTS))


def read_pretrained(folder: Path) -> Pretrained:
    """Reads pretrained.json and checks it against the manifest.

    Raises:
        InputNotFoundError: there is none.
        DataError: it is damaged, or of a newer version.
    """
    path = folder / DESCRIPTION
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputNotFoundError(f"{path} does not exist, so {folder} is no pretrained model.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Check its owner and permissions.") from error
    verify_content(folder, DESCRIPTION, content)
    described = parsed(content, path, PRETRAINED)
    return Pretrained(folder=folder, **{name: described[name] for name in _KEPT})


def verify_pretrained(pretrained: Pretrained) -> None:
    """Reads every file and compares it with what was written.

    Raises:
        InputNotFoundError: a file is not there.
        DataError: one has changed.
    """
    verify_folder(pretrained.folder)


def pretrained_ids(lake: Lake) -> list[str]:
    """The IDs of the lake's pretrained models, sorted; of a `FoldLake`, those with a fold held out."""
    found = lake.pretrained.glob(f"*/{DESCRIPTION}")
    return sorted(path.parent.name for path in found if not path.parent.name.startswith(PREFIX))


def all_pretrained(lake: Lake, skipped: Callable[[Path, PipelineError], None]) -> list[Pretrained]:
    """The intact descriptions, newest first; `skipped` is called with the others."""
    found = []
    for name in pretrained_ids(lake):
        try:
            found.append(read_pretrained(lake.pretrained / name))
        except (DataError, InputNotFoundError) as error:
            skipped(lake.pretrained / name, error)
    return sorted(found, key=lambda one: (one.created, _written(one.folder)), reverse=True)


def _written(folder: Path) -> int:
    """When it was written, in nanoseconds; 0 where it went away just now."""
    try:
        return (folder / DESCRIPTION).stat().st_mtime_ns
    except OSError:
        return 0


def find_pretrained(lake: Lake, name: str, fold: str | None = None) -> Pretrained | None:
    """The pretrained model that `name` names: LATEST, an ID in the lake, or a path; None if there is none.

    With a fold, LATEST is the newest that has not read this fold.

    Raises:
        DataError: it is damaged.
    """
    places = (lake, Lake(lake.root), FoldLake(lake.root))
    if name == LATEST:
        place = FoldLake(lake.root) if fold is not None else Lake(lake.root)
        return next((one for one in all_pretrained(place, lambda *_: None) if one.fold == fold), None)
    if name and name != ".." and "/" not in name:
        for place in places:
            if (place.pretrained / name / DESCRIPTION).is_file():
                return read_pretrained(place.pretrained / name)
    path = Path(name).expanduser()
    return read_pretrained(path) if (path / DESCRIPTION).is_file() else None
