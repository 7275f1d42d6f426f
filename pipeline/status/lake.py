"""The lake's table and its use of the disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import InputNotFoundError, PipelineError
from pipeline.lake.paths import Lake

MOST_FILES = 200_000
"""So many files of a part are counted; `raw/` may hold millions."""
OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Table:
    """The newest version of the token table. `labelled` is None where it is not known."""

    version: int = 0
    rows: int = 0
    labelled: int | None = None
    labels: tuple[str, ...] = ()
    has_numbers: bool = False
    """Whether there are numbers for regression."""
    fault: str = ""
    """Why it cannot be read; "" if it can."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes: what each part of the lake takes, largest first, and what its file system has left.

    `partial` names the parts with more files than are counted.
    """

    free: int
    total: int
    parts: dict[str, int] = field(default_factory=dict)
    partial: frozenset[str] = frozenset()

    @property
    def used(self) -> int:
        """Bytes of the whole lake."""
        return sum(self.parts.values())


def read_table(lake: Lake) -> Table | None:
    """The table as its log and the footers of its shards describe it; None where there is none yet."""
    from pipeline.lake import log
    from schemas.contract import ContractError

    try:
        if not log.versions(lake.tokens):
            return None
        return _table(lake)
    except InputNotFoundError as error:
        return Table(fault=str(error)) if log.versions(lake.tokens) else None
    except (PipelineError, ContractError) as error:
        return Table(fault=str(error))


def _table(lake: Lake) -> Table:
    import pyarrow.parquet as pq

    from pipeline.lake.content import READ_ERRORS
    from pipeline.lake.damage import REPAIR, damaged
    from pipeline.lake.table import list_shards
    from schemas.token import KEY_VOCABULARY, TARGET

    version, listed = list_shards(lake.tokens)
    origin = lake.origin
    labelled: int | None = 0
    vocabulary = ""
    rows = 0
    has_numbers = False
    for entry in listed:
        path = lake.tokens / entry.name
        if origin is not None and origin.has(path, entry.size):
            rows, labelled = rows + entry.rows, None
            continue
        try:
            metadata = pq.read_metadata(path)
        except READ_ERRORS as error:
            raise damaged(path, error, "the token shard", REPAIR) from error
        rows += metadata.num_rows
        has_numbers |= TARGET in metadata.schema.names
        unlabelled = _nulls(metadata, "label")
        labelled = None if labelled is None or unlabelled is None else labelled + metadata.num_rows - unlabelled
        vocabulary = (metadata.metadata or {}).get(KEY_VOCABULARY, b"").decode(errors="replace") or vocabulary
    return Table(version=version, rows=rows, labelled=labelled, labels=_labels(lake, vocabulary), has_numbers=has_numbers)


def _nulls(metadata: Any, column: str) -> int | None:
    """Nulls of a column by the statistics of a Parquet footer; None where they do not say."""
    found = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunk = next((c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == column), None)
        if chunk is None or chunk.statistics is None or not chunk.statistics.has_null_count:
            return None
        found += chunk.statistics.null_count
    return found


def _labels(lake: Lake, fingerprint: str) -> tuple[str, ...]:
    """The labels of a vocabulary; none where its file cannot be read, which `pipeline doctor` explains."""
    import json

    import pyarrow.parquet as pq

    from pipeline.lake.content import READ_ERRORS
    from schemas.vocabulary import KEY_LABELS

    with suppress(*READ_ERRORS, ValueError):
        found = (pq.read_metadata(lake.vocabulary / f"{fingerprint}.parquet").metadata or {}).get(KEY_LABELS, b"[]")
        labels = json.loads(found)
        return tuple(map(str, labels)) if isinstance(labels, list) else ()
    return ()


def read_disk(lake: Lake) -> Disk:
    """What the parts of the lake take: its folders by name, and other files together. Links are not followed.

    Raises:
        OSError: the lake cannot be listed.
    """
    parts: dict[str, int] = {}
    partial = set()
    known = {path.name for path in (*lake.own, lake.raw, lake.incoming, lake.checkpoints, lake.scratch, lake.damaged)}
    known |= {lake.crossval().folder.name, "logs"}
    with os.scandir(lake.root) as entries:
        for entry in entries:
            name = entry.name if entry.name in known else OTHER
            sizes = _sizes(entry)
            taken = 0
            for number, size in enumerate(sizes, 1):
                taken += size
                if number == MOST_FILES:
                    partial.add(name)
                    break
            parts[name] = parts.get(name, 0) + taken
    usage = shutil.disk_usage(lake.root)
    ordered = dict(sorted(((name, size) for name, size in parts.items() if size), key=lambda item: (-item[1], item[0])))
    return Disk(free=usage.free, total=usage.total, parts=ordered, partial=frozenset(partial))


def _sizes(entry: "os.DirEntry[str]") -> Iterator[int]:
    """Bytes of a file, or of each file in a folder; what goes away or may not be read counts nothing."""
    waiting = [entry]
    while waiting:
        found = waiting.pop()
        with suppress(OSError):
            if not found.is_dir(follow_symlinks=False):
                yield found.stat(follow_symlinks=False).st_size
                continue
            with os.scandir(found) as inner:
                waiting += inner
