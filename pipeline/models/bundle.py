"""A trained model as a folder: model.safetensors, model.json, vocabulary.parquet. Nothing in it is ever executed.

`manifest.json` holds size and SHA-256 of the three; a bundle of an earlier release has none. `model.json` carries the
version of this layout, what is needed to rebuild and to feed the model, and the SHA-256 of the weights. The vocabulary
travels along, so that a bundle scores without its lake.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError, InputNotFoundError, UsageError, unknown_choice
from pipeline.lake.atomic import PREFIX, make_folder, write_bytes, write_text
from pipeline.lake.manifest import MANIFEST, verify_content, verify_folder, write_manifest
from pipeline.lake.manifest import REMEDY as RESTORE
from pipeline.lake.paths import Lake
from pipeline.lake.vocabularies import read_vocabulary, write_vocabulary
from pipeline.models.configs.base import MAX_LENGTH
from pipeline.models.registry import build_model, check_architecture

if TYPE_CHECKING:
    import torch

    from pipeline.models.interface import Classifier
    from pipeline.text.vocabulary import Vocabulary

BUNDLE_VERSION = 1
"""Version of model.json. Fields may be added within a version; a bundle of a newer version is refused."""
WEIGHTS, DESCRIPTION, VOCABULARY = "model.safetensors", "model.json", "vocabulary.parquet"
LATEST = "LATEST"

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "arch": str,
    "model_config": dict,
    "labels": list,
    "tokenizer": str,
    "max_length": int,
    "vocabulary": str,
    "table_version": (int, type(None)),
    "metrics": dict,
    "training": dict,
    "created": str,
    "weights_sha256": str,
}
_RANGES = {"max_length": (1, MAX_LENGTH), "table_version": (0, 2**63 - 1), "parameters": (0, 2**63 - 1)}
"""Whole numbers of model.json; null is left to `_FIELDS`."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What model.json says. A review is cut to its first `max_length` tokens, in training as in scoring. `blend` is empty
    where the architecture stands alone, as in bundles of older releases, else what `models.blend.BlendConfig` holds."""

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

    def load_model(self, device: "str | torch.device" = "cpu") -> "Classifier":
        """The whole model with its weights, on `device`, in eval mode.

        Raises:
            InputNotFoundError: the weights are not there.
            DataError: the weights are not those that model.json names, or do not fit the architecture.
        """
        import safetensors
        import safetensors.torch

        path = self.folder / WEIGHTS
        content = _read(path)
        if hashlib.sha256(content).hexdigest() != self.weights_sha256:
            raise DataError(f"{path} is not the file that {DESCRIPTION} names: its SHA-256 differs. {RESTORE}")
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
                f"Ids would mean other words. {RESTORE}"
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
        "version": BUNDLE_VERSION,
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
        "manifest": MANIFEST,
    }
    write_bytes(folder / WEIGHTS, weights)
    write_vocabulary(vocabulary, folder / VOCABULARY)
    write_text(folder / DESCRIPTION, json.dumps(description, ensure_ascii=False, indent=2, sort_keys=True) + "\n")
    write_manifest(folder, (DESCRIPTION, WEIGHTS, VOCABULARY))
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
    try:
        described = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error}). {RESTORE}") from error
    if not isinstance(described, dict) or type(described.get("version")) is not int:
        raise DataError(f"{path} has no version, so it is no model description. Name a bundle that 'pipeline train' wrote.")
    if described["version"] > BUNDLE_VERSION:
        raise DataError(
            f"{path} has version {described['version']}; this release reads up to {BUNDLE_VERSION}. "
            "Upgrade review-pipeline, or train again with this release."
        )
    wrong = [name for name, kind in _FIELDS.items() if name not in described or not isinstance(described[name], kind)]
    if wrong:
        raise DataError(f"{path}: {', '.join(wrong)} missing or of a wrong type. {RESTORE}")
    if described.get("manifest") and not (folder / MANIFEST).exists():
        raise InputNotFoundError(f"{folder / MANIFEST} is not there, so nothing proves the bundle's content. {RESTORE}")
    _check_ranges(path, described)
    try:
        check_architecture(described["arch"])
    except UsageError as error:
        raise DataError(f"{path} names an architecture that this release does not have. {error}") from error
    num_labels, num_classes = (
        len(described["labels"]),
        described["model_config"].get("num_classes", len(described["labels"])),
    )
    if num_labels != num_classes:
        raise DataError(f"{path}: {num_labels} labels, but the model tells {num_classes} classes apart. {RESTORE}")
    blend = described.get("blend", {})
    if not isinstance(blend, dict):
        raise DataError(f"{path}: blend is of a wrong type. {RESTORE}")
    values = {name: described[name] for name in _FIELDS} | {"blend": blend, "labels": tuple(map(str, described["labels"]))}
    return Bundle(folder=folder, model_id=folder.resolve().name, **values)


def _check_ranges(path: Path, described: dict[str, Any]) -> None:
    share = described["training"].get("valid_fraction", 0.1)
    wrong = [] if type(share) is float and 0 < share < 1 else [f"valid_fraction is {share!r:.40}, expected between 0 and 1"]
    for name, (least, most) in _RANGES.items():
        value = described.get(name)
        if value is not None and (type(value) is not int or not least <= value <= most):
            wrong.append(f"{name} is {value!r:.40}, expected {least} to {most}")
    if wrong:
        raise DataError(f"{path}: {'; '.join(wrong)}. {RESTORE}")


def verify_bundle(bundle: Bundle) -> None:
    """Reads every file of a bundle and compares it with what was written; of an earlier release's, weights and vocabulary.

    Raises:
        InputNotFoundError: a file is not there.
        DataError: one has changed.
    """
    if (bundle.folder / MANIFEST).exists():
        verify_folder(bundle.folder)
    elif hashlib.sha256(_read(bundle.folder / WEIGHTS)).hexdigest() != bundle.weights_sha256:
        raise DataError(f"{bundle.folder / WEIGHTS} is not what {DESCRIPTION} names. {RESTORE}")
    bundle.load_vocabulary()


def find_bundle(lake: Lake, model: str = LATEST) -> Bundle:
    """The bundle that `model` names: LATEST, the id of a model in the lake, or a path to a bundle.

    Raises:
        InputNotFoundError: no such model, or none was trained yet.
        DataError: see `read_bundle`.
    """
    if model == LATEST:
        folder = lake.models / lake.latest_model()
        if not folder.is_dir():
            raise InputNotFoundError(
                f"{lake.latest} names {folder.name}, which is not there. Run 'pipeline repair', which points it to the "
                "newest whole model, or name a bundle with --model."
            )
        return read_bundle(folder)
    if model and model != ".." and "/" not in model and (lake.models / model / DESCRIPTION).is_file():
        return read_bundle(lake.models / model)
    if (Path(model).expanduser() / DESCRIPTION).is_file():
        return read_bundle(Path(model).expanduser())
    known = model_ids(lake)
    if not known:
        raise InputNotFoundError(
            f"--model {model}: no such bundle, and {lake.models} holds none. Run 'pipeline train' first."
        )
    raise InputNotFoundError(
        str(unknown_choice("--model", model, [LATEST, *known], "A path to a bundle's folder will do too."))
    )


def model_ids(lake: Lake) -> list[str]:
    """The ids of the lake's finished bundles, sorted."""
    return sorted(
        path.parent.name for path in lake.models.glob(f"*/{DESCRIPTION}") if not path.parent.name.startswith(PREFIX)
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputNotFoundError(
            f"{path} is not there, so {path.parent} is no whole model bundle. Name another one with --model. {RESTORE}"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}. Check its name, owner and permissions.") from error
