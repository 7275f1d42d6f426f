"""The mapping step of the second pass: spilled tokens in, rows of the token contract out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.text.vocabulary import Vocabulary
from schemas.token import TOKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeReviews:
    """Callable for a `ParallelMapper`. `groups` maps a folder to the groups of its reviews, by their number."""

    vocabulary: Vocabulary
    groups: Mapping[str, Sequence[str]]

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
        filled = []
        for group, source in zip(batch["group"].to_pylist(), batch["source"].to_pylist(), strict=True):
            folder, _, name = source.rpartition("/")
            lines = self.groups.get(folder)
            number = name.partition("_")[0].partition(".")[0]
            if group is None and lines is not None and number.isdecimal() and int(number) < len(lines):
                group = lines[int(number)]
            filled.append(group)
        return pa.array(filled, pa.string())
