"""Checks that a lake contains what was committed. `doctor` reports the results, `repair` acts on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake import log as delta_log
from pipeline.lake.content import READ_ERRORS, verify_data
from pipeline.lake.damage import REPAIR, damaged
from pipeline.lake.paths import Lake
from pipeline.lake.table import Listed, check_listed, list_shards
from schemas.contract import ContractError

DAMAGE = (DataError, InputNotFoundError, ContractError)
"""What a damaged or missing file raises. A storage that does not answer raises another error: that proves no damage."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what was committed."""

    path: Path
    error: Exception


def damaged_shards(folder: Path, listed: list[Listed], *, whole: bool) -> Iterator[Damage]:
    """The shards that are not as committed.

    Args:
        whole: every byte is read; otherwise presence, size, rows and footer are checked.
    """
    origin = Lake(folder.parent).origin
    if whole and origin is not None:
        origin.fetch_shards(entry.name for entry in listed)
    for entry in listed:
        path = folder / entry.name
        if not whole and origin is not None and origin.has(path, entry.size):
            continue  # it is in the store, and verified by its name when it is fetched
        try:
            try:
                _check(folder, entry, whole)
            except DAMAGE:
                if origin is None or not origin.refetch(path):
                    raise
                _check(folder, entry, whole)
        except DAMAGE as error:
            yield Damage(path, error)


def _check(folder: Path, entry: Listed, whole: bool) -> None:
    check_listed(folder, entry, whole_if_old=whole)
    if whole:
        verify_file(folder / entry.name, "the token shard")


def verify_file(path: Path, what: str) -> None:
    """Reads every byte of a Parquet file of ours and compares it with the digest in its footer.

    Raises:
        InputNotFoundError: it is not there.
        DataError: it has changed.
    """
    try:
        verify_data(path)
    except READ_ERRORS as error:
        raise damaged(path, error, what, REPAIR) from error


def table_vocabulary(lake: Lake) -> str:
    """Fingerprint of the vocabulary that the newest version's ids belong to; "" when nothing says.

    Raises:
        DataError: the log is damaged.
    """
    version, listed = list_shards(lake.tokens)
    newest = delta_log.read_entry(lake.tokens, version)
    noted = str(newest.info.get("vocabulary", "")) if newest else ""
    if noted and lake.origin is not None and not any((lake.tokens / entry.name).exists() for entry in listed):
        return noted
    for entry in listed:
        try:
            return check_listed(lake.tokens, entry, whole_if_old=False).vocabulary
        except DAMAGE:
            continue
    return noted
