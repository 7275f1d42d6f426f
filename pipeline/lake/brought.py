"""Which rows a run brought: those of the shards that its commit added, without the rows that only moved into them.

A commit that replaces rows writes their shards again, so rows of earlier runs are in its shards, too; they are also in the
shards that it removed. The log names both, so this costs ingest nothing. Before shards are deleted, what they tell is noted
beside the run record (`runs/<run_id>.rows.parquet`), in 17 bytes a row.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake import log as delta_log
from pipeline.lake.known import OTHER, SAME, KeyIndex, Keys, contents_of, keys_of
from pipeline.lake.log import Commit
from pipeline.lake.paths import Lake
from pipeline.lake.review_keys import ReviewKeys, read_keys, write_keys
from pipeline.lake.shards import open_shard


@dataclass(frozen=True, slots=True)
class Brought:
    """(N,) keys and contents of rows, and whether each replaced another row of the same id."""

    keys: Keys
    contents: Keys
    replaced: npt.NDArray[np.bool_]

    def index(self) -> KeyIndex:
        """The rows by key."""
        index = KeyIndex()
        index.add(self.keys, self.contents)
        return index


def rows_path(lake: Lake, run_id: str) -> Path:
    """Where the rows of a run are noted."""
    return lake.runs / f"{run_id}.rows.parquet"


def brought_by(lake: Lake, commit: Commit) -> Brought | None:
    """The rows that a commit brought; None where its shards were deleted and nothing was noted before.

    Raises:
        DataError: a shard or the note is damaged.
    """
    path = rows_path(lake, commit.run_id)
    if path.exists():
        noted = read_keys(path)
        return Brought(noted.review, noted.content[0], noted.replaced)
    if any(not (lake.tokens / name).exists() for name in commit.added | commit.removed):
        return None
    keys, contents = read_shard_keys(lake.tokens / name for name in sorted(commit.added))
    before = KeyIndex()
    before.add(*read_shard_keys(lake.tokens / name for name in sorted(commit.removed)))
    states = before.states(keys, contents)
    new = states != SAME
    return Brought(keys[new], contents[new], states[new] == OTHER)


def note_brought(lake: Lake, going: Collection[str]) -> list[str]:
    """Notes the rows of the runs for which shards that are about to be deleted are needed; gives the runs' ids."""
    noted = []
    for commit in delta_log.commits(lake.tokens):
        path = rows_path(lake, commit.run_id)
        if not commit.brings or (commit.added | commit.removed).isdisjoint(going):
            continue
        if path.exists():
            continue
        try:
            brought = brought_by(lake, commit)
        except (DataError, InputNotFoundError):
            continue  # the rows of a damaged old shard cannot be listed; it is deleted anyway
        if brought is not None:
            write_keys(path, ReviewKeys.of(brought.keys, brought.contents, replaced=brought.replaced), commit.run_id)
            noted.append(commit.run_id)
    return noted


def read_shard_keys(paths: Iterable[Path]) -> tuple[Keys, Keys]:
    """(N,) keys and contents of all rows of shards.

    Raises:
        InputNotFoundError, DataError: a shard is missing or damaged.
    """
    keys, contents = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for path in paths:
        with open_shard(path) as file:
            for batch in file.iter_batches(columns=["review_id", "content_sha256"]):
                keys.append(keys_of(batch["review_id"]))
                contents.append(contents_of(batch["content_sha256"].to_pylist()))
    return np.concatenate(keys), np.concatenate(contents)
