"""Shards that were verified once: what their footers told, for as long as the files stay as they were."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.lake.damage import REPAIR, damaged
from pipeline.lake.shard_tokens import ShardTokens
from pipeline.lake.shards import Shard

Identity = tuple[str, int, int]
"""Name, size (bytes) and time of modification (ns) of a file."""


def identity_of(path: Path) -> Identity:
    """By what a file is known to be the same.

    Raises:
        InputNotFoundError: it is not there.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise damaged(path, error, "the token shard", REPAIR) from error
    return path.name, found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class NotedShard:
    """A shard whose footer was verified when the file had this size (bytes) and this time of modification."""

    shard: Shard
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, shard: Shard) -> "NotedShard":
        """Notes a shard as it is on the disk.

        Raises:
            InputNotFoundError: it is not there.
        """
        return cls(shard, *identity_of(shard.path)[1:])

    @property
    def identity(self) -> Identity:
        """By what it is the same file."""
        return self.shard.path.name, self.size, self.mtime_ns

    def to_json(self) -> dict[str, Any]:
        """As the header has it."""
        shard, tokens = self.shard, self.shard.tokens
        return {
            "name": shard.path.name,
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "split": shard.split,
            "rows": shard.rows,
            "row_groups": shard.row_groups,
            "vocabulary": shard.vocabulary,
            "tokens": None if tokens is None else [tokens.tokens, tokens.unknown],
        }

    @classmethod
    def from_json(cls, noted: dict[str, Any], folder: Path) -> "NotedShard":
        """From the header; `folder` is the table's."""
        tokens = noted["tokens"]
        shard = Shard(
            path=folder / noted["name"],
            split=noted["split"],
            rows=noted["rows"],
            row_groups=tuple(noted["row_groups"]),
            vocabulary=noted["vocabulary"],
            tokens=None if tokens is None else ShardTokens(*tokens),
        )
        return cls(shard, noted["size"], noted["mtime_ns"])
