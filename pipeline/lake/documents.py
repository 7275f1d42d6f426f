"""Reading files of one JSON object under a contract of ours."""

from pathlib import Path
from typing import Any

from pipeline.errors import UNREACHABLE, DataError, errno_of, unreachable
from schemas.contract import ContractError
from schemas.document import Document


def read_document(path: Path, contract: Document) -> dict[str, Any]:
    """Reads a file and checks it.

    Raises:
        DataError: it cannot be read, or does not keep the contract.
        StorageUnavailableError: the storage does not answer.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        if errno_of(error) in UNREACHABLE:
            raise unreachable(errno_of(error), f"{path} cannot be read") from error
        raise DataError(f"{path} cannot be read: {error.strerror}. {contract.remedy}") from error
    return parsed(content, path, contract)


def parsed(content: bytes, path: Path, contract: Document) -> dict[str, Any]:
    """The object in a file's content, checked.

    Raises:
        DataError: it does not keep the contract.
    """
    try:
        return contract.parse(content, str(path))
    except ContractError as error:
        raise DataError(str(error)) from error
