"""The mapping step of the second pass: spilled tokens in, rows of the token contract out."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text.vocabulary import Vocabulary
from schemas.token import TOKEN

NUMBERED = r"^(?P<folder>.*)/(?P<number>[0-9]{1,9})[_.][^/]*$"
"""Folder and number of a review in a file of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeReviews:
    """Callable for a `ParallelMapper`. `groups` maps a folder to the groups of its reviews, by their number."""

    vocabulary: Vocabulary
    groups: Mapping[str, pa.DictionaryArray]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Maps tokens to ids, labels to indices, and fills in groups that stand in a file of their own."""
        columns = {
            **{name: batch[name] for name in batch.schema.names if name != "tokens"},
            "ids": self.vocabulary.encode(batch["tokens"]),
            "label": self.vocabulary.label_ids(batch["label"]),
            "group": self._with_groups(batch),
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in TOKEN.schema.names], schema=TOKEN.schema)

    def _with_groups(self, batch: pa.RecordBatch) -> pa.Array:
        if not self.groups or not batch["group"].null_count:
            return batch["group"]
        place = pc.extract_regex(batch["source"], NUMBERED)
        folders, numbers = place.field("folder"), place.field("number").cast(pa.int32())
        groups = batch["group"]
        for folder in pc.unique(folders).drop_null().to_pylist():
            lines = self.groups.get(folder)
            if lines is None:
                continue
            here = pc.and_(pc.equal(folders, folder), pc.less(numbers, len(lines)))
            found = lines.take(pc.if_else(here, numbers, None)).dictionary_decode()
            groups = pc.coalesce(groups, found)
        return groups
