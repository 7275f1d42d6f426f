"""Rows that the table has and their source no longer does: counted in every run, removed with `--prune`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake.known import UNSEEN, KeyIndex, keys_of
from pipeline.lake.shards import open_shard

if TYPE_CHECKING:
    from pipeline.lake.table_index import TableIndex

INSIDE = "!/"
"""Between an archive's name and a member's."""


def missing_reviews(known: "TableIndex", seen: KeyIndex, sources: Iterable[str]) -> pa.StringArray:
    """Ids of the rows that came from `sources`, which this run read whole, and were not met in it.

    Args:
        known: every review of the table.
        seen: every review that the run met.
        sources: tables and archives, by the names that the rows carry.
    """
    shards = known.shards_from(sources)
    met = seen.keys()
    if not shards or np.count_nonzero(known.states(met, met) != UNSEEN) == len(known):
        return pa.array([], pa.string())
    names = pa.array(sorted(set(sources)), pa.string())
    missing = []
    for shard in shards:
        with open_shard(shard.path) as file:
            here = homes_of(file.read(columns=["source"])["source"].combine_chunks())
            mask = pc.is_in(here, value_set=names)
            if not pc.any(mask).as_py():
                continue
            ids = file.read(columns=["review_id"])["review_id"].combine_chunks().filter(mask)
        keys = keys_of(ids)
        missing.append(ids.filter(pa.array(seen.states(keys, keys) == UNSEEN)))
    return pa.concat_arrays([pa.array([], pa.string()), *missing])


def homes_of(sources: pa.StringArray) -> pa.StringArray:
    """The files that rows came from: the archive of a member."""
    if not pc.any(pc.match_substring(sources, INSIDE)).as_py():
        return sources
    return pc.replace_substring_regex(sources, f"{INSIDE}.*$", "")
