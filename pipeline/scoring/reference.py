"""`reference.json` in a bundle's folder: written by training, read by scoring."""

from pathlib import Path

from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake.atomic import write_text
from pipeline.lake.damage import damaged
from pipeline.lake.documents import parsed
from pipeline.lake.manifest import MANIFEST, read_manifest, verify_content, write_manifest
from pipeline.models.bundle import FILES
from pipeline.scoring.drift import Reference
from schemas.reference import REFERENCE

REFERENCE_FILE = "reference.json"


def write_reference(folder: Path, reference: Reference) -> None:
    """Writes the file into an unfinished bundle and lists it in the manifest."""
    write_text(folder / REFERENCE_FILE, REFERENCE.to_json(reference.to_dict()))
    write_manifest(folder, (*FILES, REFERENCE_FILE))


def read_reference(folder: Path) -> Reference | None:
    """The reference of a bundle; None if it was trained by an earlier release, or training could not make one.

    Raises:
        InputNotFoundError: it is listed in the manifest, but not there.
        DataError: it is damaged.
    """
    path = folder / REFERENCE_FILE
    if not (folder / MANIFEST).exists() or REFERENCE_FILE not in read_manifest(folder):
        return None
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputNotFoundError(f"{path} does not exist, although the manifest lists it. {REFERENCE.remedy}") from None
    except OSError as error:
        raise damaged(path, error, "the reference", REFERENCE.remedy) from error
    verify_content(folder, REFERENCE_FILE, content)
    try:
        return Reference.from_dict(parsed(content, path, REFERENCE))
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged: {error}. {REFERENCE.remedy}") from error
