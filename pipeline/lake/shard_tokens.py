"""How many tokens shards hold, and how many of them the vocabulary does not know: noted in each shard's footer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from schemas.token import KEY_TOKENS, KEY_UNKNOWN


@dataclass(frozen=True, slots=True)
class ShardTokens:
    """Tokens, and those among them that are `<unk>`."""

    tokens: int = 0
    unknown: int = 0

    @classmethod
    def noted(cls, metadata: Mapping[bytes, bytes]) -> "ShardTokens | None":
        """The counts in a shard's metadata; None in shards of earlier releases, which do not have them."""
        tokens, unknown = metadata.get(KEY_TOKENS, b""), metadata.get(KEY_UNKNOWN, b"")
        return cls(int(tokens), int(unknown)) if tokens.isdigit() and unknown.isdigit() else None

    @property
    def unknown_share(self) -> float | None:
        """Unknown tokens / tokens; None without a token."""
        return self.unknown / self.tokens if self.tokens else None


def counted(path: Path) -> ShardTokens | None:
    """The counts of a finished shard."""
    return ShardTokens.noted(pq.read_metadata(path).metadata or {})


def total(counts: Iterable[ShardTokens | None]) -> ShardTokens | None:
    """The sum; None if a shard does not note its own."""
    tokens = unknown = 0
    for one in counts:
        if one is None:
            return None
        tokens += one.tokens
        unknown += one.unknown
    return ShardTokens(tokens, unknown)
