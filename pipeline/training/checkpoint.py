"""Checkpoints: one safetensors file each, whole or absent, under `checkpoints/<training id>/`.

Tensors are named `<section>.<name>`: model, optimizer, average, best, sums. The rest is JSON in the file's metadata. Random
states are not stored: every step seeds its own (see `loop`). Nothing is ever unpickled.
"""

import json
import logging
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import UNREACHABLE, DataError, errno_of, unreachable
from pipeline.lake.atomic import PREFIX, make_folder, sync_file, sync_folder, write_text, writing
from pipeline.lake.damage import file_sha256
from pipeline.lake.documents import read_document
from pipeline.lake.paths import share
from pipeline.training.world import World, unshared
from schemas.training import TRAINING

log = logging.getLogger(__name__)

VERSION = 1
"""Version of the checkpoints' own format."""
RECORD = "training.json"
FILE = re.compile(r"epoch-(\d+)-step-(\d+)(?:-([0-9a-f]{64}))?\.safetensors")
"""A checkpoint's name contains its SHA-256, except in earlier releases."""


@dataclass(frozen=True)
class Checkpoint:
    """`state` is JSON, `tensors` are by section and name, on the CPU."""

    state: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingFolder:
    """The folder of one unfinished training; its name is the training's id, and later the model's."""

    path: Path
    keep: int = 3

    @property
    def training_id(self) -> str:
        """The id."""
        return self.path.name

    def begin(self, identity: Mapping[str, Any], launch: str | None = None) -> None:
        """Records what is trained, so `--resume` can check whether it is the same, and the ID of the launch that trains
        it."""
        write_text(self.path / RECORD, TRAINING.to_json({"identity": dict(identity), "launch": launch}))

    def launch(self) -> str | None:
        """The ID of the launch that began it; None without one.

        Raises:
            DataError: the record is damaged or of a newer version.
        """
        launch: str | None = read_document(self.path / RECORD, TRAINING).get("launch")
        return launch

    def identity(self) -> dict[str, Any]:
        """What is trained.

        Raises:
            DataError: the record is damaged or of a newer version.
        """
        identity: dict[str, Any] = read_document(self.path / RECORD, TRAINING)["identity"]
        return identity

    def files(self) -> list[Path]:
        """The checkpoints, oldest first."""
        found = [
            (tuple(map(int, match.groups()[:2])), path)
            for path in self.path.glob("*.safetensors")
            if (match := FILE.fullmatch(path.name))
        ]
        return [path for _, path in sorted(found)]

    def write(self, checkpoint: Checkpoint) -> Path:
        """Writes a checkpoint named by its epoch and step, and deletes all but the newest `keep`."""
        stem = f"epoch-{checkpoint.state['epoch']:05d}-step-{checkpoint.state['step']:09d}"
        flat = {name: unshared(tensor) for name, tensor in _flat(checkpoint.tensors).items()}
        state = json.dumps({"version": VERSION, **checkpoint.state})
        temporary = make_folder(self.path) / f"{PREFIX}{secrets.token_hex(4)}-{stem}"
        try:
            with writing(self.path / stem):
                save_file(flat, temporary, metadata={"state": state})
                path = self.path / f"{stem}-{file_sha256(temporary)}.safetensors"
                sync_file(temporary)
                temporary.replace(path)
                sync_folder(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        for old in self.files()[: -self.keep]:
            old.unlink(missing_ok=True)
        share(self.path, "train")
        return path

    def read(self) -> Checkpoint | None:
        """Reads the newest intact checkpoint; None if there is none.

        Warns about damaged ones and renames them, so they are neither tried first nor counted among those to keep.
        """
        for path in reversed(self.files()):
            try:
                return self._read(path)
            except DataError as error:
                log.warning("%s Using an older one, if there is any.", error)
                with suppress(OSError):
                    path.rename(path.with_suffix(".damaged"))
        return None

    def read_on_main(self, world: World) -> Checkpoint | None:
        """`read` on the main rank, for all of them: other nodes may not have the file, or another one."""

        def read() -> tuple[dict[str, Any], dict[str, Tensor]]:
            found = self.read()
            return ({}, {}) if found is None else ({"state": found.state}, _flat(found.tensors))

        values, flat = world.tensors_from_main(read)
        return Checkpoint(values["state"], _by_section(flat)) if values else None

    def _read(self, path: Path) -> Checkpoint:
        try:
            promised = FILE.fullmatch(path.name)
            if promised and promised[3] and promised[3] != file_sha256(path):
                raise DataError(f"the checkpoint {path} is not the file that was written: its content has changed.")
            with safe_open(path, framework="pt") as file:
                state = json.loads(file.metadata()["state"])
                flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no dict
                tensors = _by_section(flat)
        except DataError:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            if errno_of(error) in UNREACHABLE:  # it may be intact, so it stays
                raise unreachable(errno_of(error), f"the checkpoint {path} cannot be read") from error
            raise DataError(f"the checkpoint {path} cannot be read: {error}.") from error
        version = int(state.pop("version", 0))
        if version != VERSION:
            raise DataError(f"{path} has version {version} of the checkpoint format; this release reads {VERSION}.")
        return Checkpoint(state, tensors)

    def remove(self) -> None:
        """Deletes the folder, once the model is safe elsewhere."""
        shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        """Deletes what a killed run left half-written."""
        for path in self.path.glob(".tmp*"):  # ours, and those of safetensors
            path.unlink(missing_ok=True)


def unfinished(checkpoints: Path, keep: int = 3) -> list[TrainingFolder]:
    """The unfinished trainings of a lake, newest first."""
    found = []
    for path in checkpoints.glob("*"):
        with suppress(OSError):  # not a training folder, or just removed
            found.append(((path / RECORD).stat().st_mtime_ns, path))
    return [TrainingFolder(path, keep) for _, path in sorted(found, reverse=True)]


def remove_unfinished(checkpoints: Path, identity: Mapping[str, Any]) -> None:
    """Deletes the unfinished trainings of an identity, left by killed runs. The caller holds its lock."""
    for folder in unfinished(checkpoints):
        with suppress(DataError):
            if folder.identity() == dict(identity):
                folder.remove()
                log.info("removing the unfinished training %s: the same one is finished", folder.training_id)


def same_training(one: Mapping[str, Any], other: Mapping[str, Any], ignored: frozenset[str] = frozenset()) -> bool:
    """Whether two identities are equal, apart from the names in `ignored`."""
    return {name: one[name] for name in one if name not in ignored} == {
        name: other[name] for name in other if name not in ignored
    }


def was_begun_by(
    launch: str | None, checkpoints: Path, identity: Mapping[str, Any], ignored: frozenset[str] = frozenset()
) -> bool:
    """Whether an unfinished training with the same identity, apart from the names in `ignored`, was begun by a launch."""
    for folder in unfinished(checkpoints) if launch else []:
        with suppress(DataError):
            if folder.launch() == launch and same_training(folder.identity(), identity, ignored):
                return True
    return False


def find_resumable(
    checkpoints: Path, identity: Mapping[str, Any], keep: int = 3, ignored: frozenset[str] = frozenset()
) -> TrainingFolder | None:
    """The newest unfinished training with the same identity, apart from the names in `ignored`; None if there is none, so
    a new one should start.

    Warns about folders whose record cannot be read, which are skipped, and about differences from the newest one.
    """
    readable: list[tuple[TrainingFolder, dict[str, Any]]] = []
    for folder in unfinished(checkpoints, keep):
        try:
            found = folder.identity()
        except DataError as error:
            log.warning("--resume: skipped %s: %s", folder.path, error)
            continue
        if same_training(found, identity, ignored):
            return folder
        if ("objective" in found) == ("objective" in identity):  # else one of them is a pretraining
            readable.append((folder, found))
    if readable:
        newest, before = readable[0]
        log.warning(
            "--resume: the unfinished training %s was started with other options: %s. Leaving it unchanged and "
            "starting a new one; delete %s if you no longer need it.",
            newest.training_id,
            describe_differences(before, identity),
            newest.path,
        )
    return None


def describe_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The values that differ, in words: `batch size 64, now 32`."""
    found = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [
                f"{key.replace('_', ' ')} {old.get(key)}, now {new.get(key)}"
                for key in sorted({*old, *new})
                if old.get(key) != new.get(key)
            ]
        elif old != new:
            found.append(f"{name.replace('_', ' ')} {old}, now {new}")
    return "; ".join(found)


def _flat(sections: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{section}.{name}": tensor for section, tensors in sections.items() for name, tensor in tensors.items()}


def _by_section(flat: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    sections: dict[str, dict[str, Tensor]] = {}
    for full, tensor in flat.items():
        section, _, name = full.partition(".")
        sections.setdefault(section, {})[name] = tensor
    return sections
