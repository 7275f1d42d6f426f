"""From finished shards to the table's next version: old rows of replaced reviews go, new shards move in, one commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError, InputNotFoundError, PipelineError
from pipeline.lake import table as token_table
from pipeline.lake.atomic import make_folder, writing
from pipeline.lake.known import KeyIndex, keys_of, shards_holding
from pipeline.lake.paths import Lake
from pipeline.lake.shard_writer import rows_written, write_shard
from pipeline.lake.shards import open_shard
from pipeline.lake.table import TokenTable
from pipeline.lake.vocabularies import read_vocabulary, write_vocabulary
from pipeline.lake.withheld import placed_id
from pipeline.text.vocabulary import Vocabulary
from schemas.contract import ContractError


@dataclass(frozen=True, slots=True)
class Change:
    """The content of a commit: finished shards, and the names of removed ones. False if nothing changes."""

    added: tuple[Path, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def change_of(base: TokenTable | None, shards: Sequence[Path], removed: Sequence[str]) -> Change:
    """What becomes of the `base` with `shards` in place of the `removed` ones.

    A name that the base has already is the same shard.
    """
    old = {shard.path.name for shard in base.shards} if base else set()
    names = {path.name: path for path in shards}
    return Change(tuple(names[name] for name in sorted(names.keys() - old)), tuple(sorted(set(removed) - names.keys())))


def publish(
    lake: Lake,
    base: TokenTable | None,
    vocabulary: Vocabulary,
    change: Change,
    run_id: str,
    record: Mapping[str, Any],
    *,
    data_change: bool = True,
) -> int:
    """Moves shards into the table's folder and commits them in place of the removed ones.

    Args:
        base: the version that the run started from; None when there was no table.
        change: its shards are on the same disk as the lake.
        record: what the commit notes about the run, so that a lost run record can be written again.
        data_change: whether the rows change; followers of the Delta log skip commits that only move them.

    Returns:
        the new version.

    Raises:
        LockedError: somebody else committed since.
        CannotWriteError: the disk is full, say.
    """
    ensure_vocabulary(lake, vocabulary)
    make_folder(lake.tokens)
    with writing(lake.tokens):
        for shard in change.added:
            shard.rename(lake.tokens / shard.name)
    return token_table.commit(
        lake.tokens,
        added=[lake.tokens / shard.name for shard in change.added],
        removed=[lake.tokens / name for name in change.removed],
        run_id=run_id,
        metadata={"vocabulary": vocabulary.fingerprint, **record},
        base=base.version if base else None,
        data_change=data_change,
    )


def ensure_vocabulary(lake: Lake, vocabulary: Vocabulary) -> None:
    """Writes the vocabulary's file, unless it is there and whole."""
    path = lake.vocabulary / f"{vocabulary.fingerprint}.parquet"
    try:
        read_vocabulary(path, vocabulary.fingerprint)
    except (DataError, InputNotFoundError, ContractError):
        write_vocabulary(vocabulary, path)


def rewrite_shards(table: TokenTable, gone: pa.Array, folder: Path, vocabulary: str) -> tuple[list[Path], list[str]]:
    """Writes shards again, into `folder`: those that hold rows to go, without them; all of them for another vocabulary.

    Args:
        gone: ids of the rows that leave the table.
        vocabulary: fingerprint; the ids of the table have to mean the same in it.

    Returns:
        the new shards' paths, and the names of the shards they replace.

    Raises:
        PipelineError: the finished shards do not hold all the other rows.
    """
    written, removed = [], []
    held = 0
    others = vocabulary != table.vocabulary
    for shard, keep in shards_holding(table.shards, gone, all_of_them=others):
        with open_shard(shard.path) as file:
            rows = file.read().filter(keep)
        if len(rows):
            written.append(write_shard(folder, shard.split, rows, vocabulary))
        removed.append(shard.path.name)
        held += shard.rows
    left = sum(map(rows_written, written))
    if left != held - len(gone):
        raise PipelineError(
            f"{held:,} rows were to be written again without {len(gone):,} of them, but the new shards hold {left:,}. "
            "Please report this."
        )
    return written, removed


def move_rows(table: TokenTable, places: Mapping[str, tuple[str, int]], folder: Path, vocabulary: str) -> list[Path]:
    """Writes rows of the table, known by file and row, under another row; `places` has their ids, and where they stand now.
    Gives the paths of their shards, which are in `folder`."""
    written = []
    for shard, others in shards_holding(table.shards, pa.array(list(places), pa.string())):
        with open_shard(shard.path) as file:
            rows = file.read().filter(pc.invert(others))
        numbers = [places[review_id][1] for review_id in rows["review_id"].to_pylist()]
        ids = [placed_id(*places[review_id]) for review_id in rows["review_id"].to_pylist()]
        for name, values in (("row", pa.array(numbers, pa.int64())), ("review_id", pa.array(ids, pa.string()))):
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, rows.schema.field(name), values.cast(rows.schema.field(name).type))
        written.append(write_shard(folder, shard.split, rows, vocabulary))
    return written


class LostReviewsError(DataError):
    """The sources no longer contain all reviews of the shards to replace."""


def check_recovered(folder: Path, replacing: Sequence[str], written: int) -> None:
    """Damaged shards may only go when the sources have brought back as many reviews.

    Raises:
        LostReviewsError: some are missing.
    """
    lost = sum(max(entry.rows, 0) for entry in token_table.list_shards(folder)[1] if entry.name in replacing)
    if written < lost:
        raise LostReviewsError(
            f"the damaged shards contained {lost:,} reviews, but only {written:,} of them are in the sources. Nothing "
            "was changed. Pass every source that was ever ingested (pipeline repair SOURCE…), or drop the rest with "
            "--accept-loss."
        )


def check_covered(table: TokenTable, seen: KeyIndex) -> None:
    """Checks that every review of the table was read again, because a rebuilt vocabulary invalidates old IDs.

    Raises:
        DataError: one was not; names the first one's source.
    """
    for shard in table.shards:
        with open_shard(shard.path) as file:
            for batch in file.iter_batches(columns=["review_id", "source"]):
                keys = keys_of(batch["review_id"])
                missing = seen.states(keys, keys) == 0
                if missing.any():
                    source = batch["source"][int(missing.argmax())].as_py()
                    raise DataError(
                        "--rebuild-vocab: the table contains reviews that are not in the given sources, the first from "
                        f"{source}; new IDs require their text. Pass all sources, or use a new lake. If reviews were "
                        "removed from their files, run 'pipeline ingest --prune' with all sources first."
                    )
