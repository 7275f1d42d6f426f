"""Entries of the Delta log as files: the newest one, whether it is whole, and what we noted in it.

deltalake reads and writes the log; this module looks at single entries without it, where a reader has to know whether the
newest one was cut short.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from pipeline.lake.atomic import sync_folder
from pipeline.lake.damage import REPAIR, damaged

if TYPE_CHECKING:
    from pipeline.lake.table import Listed

LOG = "_delta_log"
COMPACT = "compact"
"""The command whose commits leave the rows as they are."""
_ENTRY = re.compile(r"(\d{20})\.json")


@dataclass(frozen=True, slots=True)
class Entry:
    """A whole entry. `info` is its commitInfo: what deltalake and we noted about the commit."""

    LISTING: ClassVar[str] = "listing_sha256"

    version: int
    info: dict[str, Any]

    @property
    def listing_sha256(self) -> str:
        """Digest of the shards that the version lists; "" in entries of earlier releases."""
        return str(self.info.get(self.LISTING, ""))


@dataclass(frozen=True, slots=True)
class Commit:
    """What a version changed: the names of the shards that it added and removed, and what was noted about its run."""

    version: int
    run_id: str
    command: str
    added: frozenset[str]
    removed: frozenset[str]
    brings: bool = True
    """Whether it may bring rows: an ingest that did not only read damaged shards again."""


def entry_name(version: int) -> str:
    """The file name of a version's entry."""
    return f"{version:020d}.json"


def listing_sha256(listed: "Iterable[Listed]") -> str:
    """Hex SHA-256 over names, sizes and rows of shards in the order of their names."""
    lines = (f"{entry.name}\0{entry.size}\0{entry.rows}\n" for entry in sorted(listed, key=lambda entry: entry.name))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def versions(folder: Path) -> list[int]:
    """The versions whose entries are there, whole or torn, sorted."""
    try:
        return sorted(int(match[1]) for path in (folder / LOG).iterdir() if (match := _ENTRY.fullmatch(path.name)))
    except (FileNotFoundError, NotADirectoryError):
        return []


def newest(folder: Path) -> Entry | None:
    """The newest entry that is not torn; None where there is none.

    Raises:
        DataError: it is damaged.
    """
    for version in reversed(versions(folder)):
        if not is_torn(folder, version):
            return read_entry(folder, version)
    return None


def is_torn(folder: Path, version: int) -> bool:
    """Whether an entry was cut short by a power cut, so that its commit never was: it is empty, ends in zeros, or ends in
    the middle of an action."""
    try:
        content = (folder / LOG / entry_name(version)).read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise damaged(folder / LOG / entry_name(version), error, "the log entry", REPAIR) from error
    return is_torn_entry(content)


def is_torn_entry(content: bytes) -> bool:
    """Whether this is the content of an entry that was cut short."""
    if not content.strip(b"\0 \n") or content.endswith(b"\0"):
        return True
    last = content.rstrip().splitlines()[-1]
    if last.endswith(b"}"):
        return _ends_too_early(last)
    return not _parses(last[:-1] + b"}")  # if it does, its last byte is damaged


def read_entry(folder: Path, version: int) -> Entry | None:
    """A version's entry; None where it is not there (deltalake removes old ones).

    Raises:
        DataError: it is damaged.
    """
    found = _read(folder, version)
    return None if found is None else Entry(version, found[1])


def commits(folder: Path) -> list[Commit]:
    """What each version changed, oldest first; torn entries and those that are not there are left out.

    Raises:
        DataError: an entry is damaged.
    """
    found = []
    for version in versions(folder):
        read = None if is_torn(folder, version) else _read(folder, version)
        if read is None:
            continue
        actions, info = read
        added, removed = (
            frozenset(unquote(str(action[kind]["path"])) for action in actions if kind in action)
            for kind in ("add", "remove")
        )
        config = info.get("config")
        repairs = isinstance(config, dict) and bool(config.get("replacing"))
        # Earlier releases noted no command; only ingest committed.
        run_id, command = str(info.get("run_id", "")), str(info.get("command", "ingest"))
        brings = command == "ingest" and bool(run_id) and not repairs
        found.append(Commit(version, run_id, command, added, removed, brings))
    return found


def added_by(content: bytes) -> set[str]:
    """The names of the shards that an entry with this content adds."""
    actions = (json.loads(line) for line in content.splitlines() if line.strip())
    return {unquote(str(action["add"]["path"])) for action in actions if "add" in action}


def changed_at(folder: Path, version: int) -> int:
    """The version that brought the table to what it holds at `version`: later ones, such as those of vacuum, neither added
    nor removed shards. Where entries are not there any more, the oldest that is known to hold the same.

    Raises:
        DataError: an entry is damaged.
    """
    while version > 0 and (read := _read(folder, version)) is not None:
        if any("add" in action or "remove" in action for action in read[0]):
            break
        version -= 1
    return version


def same_rows_since(folder: Path, version: int) -> int:
    """The version that brought the rows which `version` holds: since then, shards were at most merged.

    Raises:
        DataError: an entry is damaged.
    """
    version = changed_at(folder, version)
    while version > 0 and (read := _read(folder, version)) is not None and read[1].get("command") == COMPACT:
        version = changed_at(folder, version - 1)
    return version


def with_merged(commits: Sequence[Commit], names: Collection[str]) -> set[str]:
    """The shards, and those that were merged into them."""
    found = set(names)
    for commit in reversed(commits):
        if commit.command == COMPACT and not found.isdisjoint(commit.added):
            found |= commit.removed
    return found


def _read(folder: Path, version: int) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
    """An entry's actions and its commitInfo."""
    path = folder / LOG / entry_name(version)
    try:
        actions = [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
        info: Any = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
        if not isinstance(info, dict):
            raise ValueError("its commitInfo is not an object")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise damaged(path, error, "the log entry", REPAIR) from error
    return actions, info


def torn_versions(folder: Path) -> list[int]:
    """The newest entries that are torn: those after the last whole one."""
    found: list[int] = []
    for version in reversed(versions(folder)):
        if not is_torn(folder, version):
            break
        found.append(version)
    return found


def remove_torn(folder: Path) -> list[int]:
    """Deletes torn entries, whose commits never were; gives their versions. The caller holds the table's lock."""
    found = torn_versions(folder)
    for version in found:
        (folder / LOG / entry_name(version)).unlink(missing_ok=True)
    if found:
        sync_folder(folder / LOG)
    return found


def remove_half_written(folder: Path) -> None:
    """Deletes entries that deltalake, in earlier releases, did not get to give their names. The caller holds the lock."""
    for path in (folder / LOG).glob("*.json#*"):
        path.unlink(missing_ok=True)


def _ends_too_early(line: bytes) -> bool:
    """Whether a line of JSON is sound as far as it goes, and would have to go on. One that ends as whole lines do, within a
    string, may be a whole one whose last quotation mark is damaged."""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        in_string = error.msg.startswith("Unterminated string") and not line.endswith(b"}}")
        return in_string or error.pos >= len(error.doc)
    except ValueError:
        return False
    return False


def _parses(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
