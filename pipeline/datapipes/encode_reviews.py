"""The mapping step of the second pass: from spilled tokens to rows of the token contract."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text.columns import name_numbers
from pipeline.text.vocabulary import Vocabulary
from schemas.token import TOKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeReviews:
    """Callable for a `ParallelMap`. `groups` maps a folder to the groups of its reviews, by their number."""

    vocabulary: Vocabulary
    groups: Mapping[str, pa.DictionaryArray]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Maps tokens to IDs and labels to indices, and fills in groups that come from a separate file."""
        columns = {
            **{name: batch[name] for name in batch.schema.names if name != "tokens"},
            "ids": self.vocabulary.encode(batch["tokens"]),
            "label": self.vocabulary.label_ids(batch["label"]),
            "group": self._with_groups(batch),
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in TOKEN.schema.names], schema=TOKEN.schema)

    def _with_groups(self, batch: pa.RecordBatch) -> pa.Array:
        groups = batch["group"]
        if not self.groups or not groups.null_count:
            return groups
        for folder, numbers in _numbered(batch["source"]):
            lines = self.groups.get(folder)
            if lines is not None:
                found = lines.take(pa.array(numbers, mask=(numbers < 0) | (numbers >= len(lines)))).dictionary_decode()
                groups = found if groups.null_count == len(groups) else pc.coalesce(groups, found)
        return groups


def _numbered(sources: pa.StringArray) -> Iterator[tuple[str, npt.NDArray[np.int32]]]:
    """Folders of reviews in files of their own; for each, the (N,) numbers of its reviews, -1 for all others."""
    starts, numbers, _ = name_numbers(sources).T
    folder = sources[0].as_py().rpartition("/")[0]
    if (starts == len(folder.encode()) + 1).all() and pc.all(pc.starts_with(sources, f"{folder}/")).as_py():
        yield folder, numbers  # nearly always
        return
    folders = pc.replace_substring_regex(sources, "/[^/]*$", "")
    for folder in pc.unique(folders).to_pylist():
        here = pc.equal(folders, folder).to_numpy(zero_copy_only=False) & (starts > 0)
        yield folder, np.where(here, numbers, -1).astype(np.int32)
