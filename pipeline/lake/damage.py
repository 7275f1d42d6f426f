"""What to say of a file of the lake that is not what it was. Needs no Arrow."""

import hashlib
from pathlib import Path

from pipeline.errors import UNREACHABLE, DataError, InputNotFoundError, errno_of, unreachable

REPAIR = "Run 'pipeline repair'."


def damaged(path: Path, error: Exception, what: str, remedy: str) -> Exception:
    """Our error for a file of the lake that cannot be read: 66 where it is gone, 69 where the storage fails, else 65."""
    number = errno_of(error)
    if number in UNREACHABLE:
        return unreachable(number, f"{what} {path} cannot be read")
    if isinstance(error, FileNotFoundError):
        return InputNotFoundError(f"{what} {path} does not exist. {remedy}")
    reason = " ".join(str(error).split()).rstrip(".")
    return DataError(f"{what} {path} cannot be read: {reason}. {remedy}")


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
