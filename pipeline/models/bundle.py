"""A trained model as a folder: model.safetensors, model.json, vocabulary.parquet. Nothing in it is ever executed.

`manifest.json` contains the size and SHA-256 of all three; bundles of earlier releases have none. `model.json` (contract:
`schemas.model`) contains everything needed to rebuild and feed the model, and the SHA-256 of the weights. The vocabulary is
included, so a bundle can score without its lake.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError, InputNotFoundError, UsageError, meant, unknown_choice
from pipeline.lake.atomic import PREFIX, make_folder, write_bytes, write_text
from pipeline.lake.documents import parsed
from pipeline.lake.manifest import MANIFEST, verify_content, verify_folder, write_manifest
from pipeline.lake.manifest import REMEDY as RESTORE
from pipeline.lake.paths import Lake
from pipeline.lake.vocabularies import read_vocabulary, write_vocabulary
from pipeline.models.registry import build_model, check_architecture
from schemas.model import MODEL

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from pipeline.models.interface import Classifier
    from pipeline.text.vocabulary import Vocabulary

WEIGHTS, DESCRIPTION, VOCABULARY = "model.safetensors", "model.json", "vocabulary.parquet"
FILES = (DESCRIPTION, WEIGHTS, VOCABULARY)
"""The files that make the model, and that its manifest names."""
LATEST = "LATEST"
LIVE = (LATEST, "LIVE")
"""Names of whichever model is live."""
_KEPT = (
    "arch",
    "model_config",
    "labels",
    "tokenizer",
    "max_length",
    "vocabulary",
    "table_version",
    "metrics",
    "training",
    "created",
    "weights_sha256",
)
"""Fields of model.json that a `Bundle` has under the same names."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The content of model.json. Reviews are cut to their first `max_length` tokens, in training and in scoring. `blend` is
    empty for a bare architecture, as in bundles of older releases, else a `models.blend.BlendConfig`."""

    folder: Path
    model_id: str
    arch: str
    model_config: dict[str, Any]
    labels: tuple[str, ...]
    tokenizer: str
    max_length: int
    vocabulary: str
    """Fingerprint of the vocabulary."""
    table_version: int | None
    """Version of the token table that the model saw; None when it was trained on plain shards."""
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    weights_sha256: str = ""
    blend: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    """What is learned, see `tasks.registry.task_of`; empty for classification."""
    judged: bool = False
    """Whether a decision about going live belongs to the model; not so in earlier releases, where every model did."""

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of what the model has learned, wherever it is: weights, and the words and labels that they are of."""
        content: list[Any] = [self.arch, self.weights_sha256, self.vocabulary, list(self.labels)]
        content += [self.task] if self.task else []
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def content_key(self) -> str:
        """16 hex digits over everything that decides the model's probabilities. Its soft targets are filed under it, and
        its predictions name it."""
        content = [self.fingerprint, self.model_config, self.blend, self.max_length]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def load_model(self, device: "str | torch.device" = "cpu") -> "Classifier":
        """The whole model with its weights, on `device`, in eval mode.

        Raises:
            InputNotFoundError: the weights are not there.
            DataError: the weights are not those that model.json names, or do not fit the architecture.
        """
        import safetensors
        import safetensors.torch

        path, content = self.folder / WEIGHTS, self._weights()
        try:
            model = self._build()
        except (UsageError, RuntimeError, TypeError, ValueError, ArithmeticError, MemoryError) as error:
            raise DataError(f"{self.folder / DESCRIPTION} describes a model that cannot be built: {error}") from error
        try:
            model.load_state_dict(safetensors.torch.load(content))
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise DataError(
                f"{path} does not fit the architecture {self.arch!r} as {DESCRIPTION} configures it: {error}. {RESTORE}"
            ) from error
        return model.to(device).eval()

    def load_tensors(self) -> "dict[str, npt.NDArray[Any]]":
        """The weights by name, as arrays of their own types; torch is not imported.

        Raises:
            InputNotFoundError: the weights are not there.
            DataError: the weights are not those that model.json names, or no tensors.
            KeyError: tensors of a type that NumPy lacks, such as bfloat16.
        """
        import safetensors
        import safetensors.numpy

        content = self._weights()
        try:
            return safetensors.numpy.load(content)
        except safetensors.SafetensorError as error:
            raise DataError(f"{self.folder / WEIGHTS} does not contain tensors: {error}. {RESTORE}") from error

    def _weights(self) -> bytes:
        """The file of the weights, once it is the one that model.json names."""
        path = self.folder / WEIGHTS
        content = _read(path)
        if hashlib.sha256(content).hexdigest() != self.weights_sha256:
            raise DataError(f"{path} is not the file listed in {DESCRIPTION}: its SHA-256 differs. {RESTORE}")
        return content

    def _build(self) -> "Classifier":
        model = build_model(self.arch, self.model_config)
        if not self.blend:
            return model
        from pipeline.models.blend import Blend, BlendConfig

        return Blend(model, BlendConfig(**self.blend))

    def load_vocabulary(self) -> "Vocabulary":
        """The vocabulary that the model was trained with.

        Raises:
            InputNotFoundError: the file is not there.
            DataError: it is another vocabulary than the one that model.json names.
        """
        return self._vocabulary

    @cached_property
    def _vocabulary(self) -> "Vocabulary":

        path = self.folder / VOCABULARY
        vocabulary = read_vocabulary(path)
        if vocabulary.fingerprint != self.vocabulary:
            raise DataError(
                f"{path} has the fingerprint {vocabulary.fingerprint}, but the model was trained with {self.vocabulary}. "
                f"Token IDs would not match. {RESTORE}"
            )
        return vocabulary


def save_bundle(
    folder: Path,
    *,
    model: "Classifier",
    arch: str,
    labels: tuple[str, ...],
    tokenizer: str,
    max_length: int,
    vocabulary: "Vocabulary",
    table_version: int | None,
    metrics: dict[str, Any],
    training: dict[str, Any],
    created: str,
    judged: bool = False,
    task: dict[str, Any] | None = None,
) -> Bundle:
    """Writes a bundle's files into `folder`: a temporary one, which the caller renames to the model's id.

    Raises:
        CannotWriteError: the folder cannot be written.
    """
    import safetensors.torch

    from pipeline.models.blend import Blend

    check_architecture(arch)
    make_folder(folder)
    # Copies on the CPU: cuDNN keeps a layer's weights as views of one buffer, which safetensors refuses to write.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    weights = safetensors.torch.save(tensors)
    description = {
        "arch": arch,
        "model_config": model.config.to_dict(),
        "parameters": model.num_parameters(),
        "labels": list(labels),
        "tokenizer": tokenizer,
        "max_length": max_length,
        "vocabulary": vocabulary.fingerprint,
        "table_version": table_version,
        "metrics": metrics,
        "training": training,
        "created": created,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "blend": model.blend.to_dict() if isinstance(model, Blend) else {},
        "judged": judged,
        "manifest": MANIFEST,
        **({"task": task} if task else {}),
    }
    write_bytes(folder / WEIGHTS, weights)
    write_vocabulary(vocabulary, folder / VOCABULARY)
    write_text(folder / DESCRIPTION, MODEL.to_json(description))
    write_manifest(folder, FILES)
    return read_bundle(folder)


def read_bundle(folder: Path) -> Bundle:
    """Reads model.json and checks it; weights and vocabulary are read, and checked, when they are asked for.

    Raises:
        InputNotFoundError: no bundle there.
        DataError: model.json is damaged, of a newer version, or names an architecture that this release does not have.
    """
    path = folder / DESCRIPTION
    content = _read(path)
    if (folder / MANIFEST).exists():
        verify_content(folder, DESCRIPTION, content)
    described = parsed(content, path, MODEL)
    if described.get("manifest") and not (folder / MANIFEST).exists():
        raise InputNotFoundError(f"{folder / MANIFEST} does not exist, so the bundle cannot be verified. {RESTORE}")
    try:
        check_architecture(described["arch"])
    except UsageError as error:
        raise DataError(f"{path} names an architecture that this release does not have. {error}") from error
    num_labels = len(described["labels"]) if not described.get("task") else 1
    num_classes = described["model_config"].get("num_classes", num_labels)
    if num_labels != num_classes:
        raise DataError(f"{path}: {num_labels} labels, but the model has {num_classes} classes. {RESTORE}")
    values = {name: described[name] for name in _KEPT} | {"labels": tuple(described["labels"])}
    values |= {name: described[name] for name in ("blend", "judged", "task") if name in described}
    return Bundle(folder=folder, model_id=folder.resolve().name, **values)


def verify_bundle(bundle: Bundle) -> None:
    """Reads every file of a bundle and compares it with what was written; of an earlier release's, weights and vocabulary.

    Raises:
        InputNotFoundError: a file is not there.
        DataError: one has changed.
    """
    if (bundle.folder / MANIFEST).exists():
        verify_folder(bundle.folder)
    elif hashlib.sha256(_read(bundle.folder / WEIGHTS)).hexdigest() != bundle.weights_sha256:
        raise DataError(f"{bundle.folder / WEIGHTS} does not match {DESCRIPTION}. {RESTORE}")
    bundle.load_vocabulary()


def find_bundle(lake: Lake, model: str = LATEST, option: str = "model", also: Sequence[str] = ()) -> Bundle:
    """The bundle that `model` names: LATEST or LIVE, the id of a model in the lake, or a path to a bundle. `option`: what
    messages call the name; `also`: other names that the option takes.

    Raises:
        InputNotFoundError: no such model, or none was trained yet.
        DataError: see `read_bundle`.
    """
    if model in LIVE:
        folder = lake.models / lake.latest_model()
        if not folder.is_dir():
            raise InputNotFoundError(
                f"{lake.latest} names {folder.name}, which does not exist. Run 'pipeline repair' to point it to the "
                "newest intact model, or pass the folder of a bundle."
            )
        return read_bundle(folder)
    if model and model != ".." and "/" not in model and (lake.models / model / DESCRIPTION).is_file():
        return read_bundle(lake.models / model)
    if (Path(model).expanduser() / DESCRIPTION).is_file():
        return read_bundle(Path(model).expanduser())
    known = model_ids(lake)
    if not known:
        lake.check_there()
        raise InputNotFoundError(
            f"{option} {model!r}: no such bundle, and {lake.models} is empty.{meant(model, also)} "
            "Run 'pipeline train' first."
        )
    remedy = "A path to a bundle's folder also works."
    raise InputNotFoundError(str(unknown_choice(option, model, [*LIVE, *also, *known], remedy)))


def model_ids(lake: Lake) -> list[str]:
    """The ids of the lake's finished bundles, sorted."""
    return sorted(
        path.parent.name for path in lake.models.glob(f"*/{DESCRIPTION}") if not path.parent.name.startswith(PREFIX)
    )


def readable_bundles(lake: Lake) -> list[Bundle]:
    """The lake's finished bundles, without damaged ones."""
    found = []
    for model_id in model_ids(lake):
        with suppress(ValueError):  # damaged, or removed in this moment
            found.append(read_bundle(lake.models / model_id))
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputNotFoundError(
            f"{path} does not exist, so {path.parent} is not a complete model bundle. Choose another model. {RESTORE}"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}. Check its name, owner and permissions.") from error
