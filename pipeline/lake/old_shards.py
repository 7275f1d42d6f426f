"""Token shards of earlier releases: named by 16 digits, without page checksums. They are read whole to be verified."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.lake.content import is_named_by_footer
from pipeline.lake.shard_writer import rows_written, write_shard
from pipeline.lake.shards import Shard, open_shard
from pipeline.lake.table import Listed


def old_shards(listed: Sequence[Listed]) -> list[str]:
    """The names of a table's shards written by earlier releases."""
    return [entry.name for entry in listed if not is_named_by_footer(entry.name)]


def write_again(shard: Shard, folder: Path) -> Path:
    """Writes a shard's rows, unchanged and in order, as a shard of this release into `folder`.

    Raises:
        DataError: the shard is damaged.
        CannotWriteError: for example, the disk is full.
        PipelineError: the new shard does not contain all rows.
    """
    with open_shard(shard.path) as file:
        path = write_shard(folder, shard.split, file.read(), shard.vocabulary)
    if rows_written(path) != shard.rows:
        raise PipelineError(f"{shard.path} has {shard.rows:,} rows, its copy {rows_written(path):,}. Please report this.")
    return path
