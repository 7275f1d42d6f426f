"""Which sources the reviews of a table came from."""

from collections.abc import Iterable, Set

from pipeline.lake.missing import INSIDE
from pipeline.lake.shards import Shard, open_shard


def sources_with_reviews(shards: Iterable[Shard], names: Set[str]) -> list[str]:
    """Those of the sources `names` that have reviews in the shards, sorted.

    Raises:
        InputNotFoundError, DataError: a shard is missing or damaged.
    """
    found: set[str] = set()
    for shard in shards:
        with open_shard(shard.path) as file:
            for batch in file.iter_batches(columns=["source"]):
                for source in batch.column(0).unique().to_pylist():
                    found.update(place for place in _places(source) if place in names)
    return sorted(found)


def _places(source: str) -> tuple[str, str, str]:
    """The source as stored, its archive, and its folder, for files of one review each."""
    return source, source.partition(INSIDE)[0], source.rpartition("/")[0]
