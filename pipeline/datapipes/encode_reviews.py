"""The mapping step of the second pass: from spilled tokens to rows of the token contract."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text.vocabulary import Vocabulary
from schemas.token import TOKEN

NAME = r"^(?P<number>[0-9]{1,9})[_.][^/]*$"
"""A folder, and the number of a review in a file of its own."""


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
                places = pc.if_else(pc.less(numbers, len(lines)), numbers, None)
                groups = pc.coalesce(groups, lines.take(places).dictionary_decode())
        return groups


def _numbered(sources: pa.StringArray) -> Iterator[tuple[str, pa.Int32Array]]:
    """Folders of reviews in files of their own; for each, the (N,) numbers of its reviews, null for all others."""
    folder = sources[0].as_py().rpartition("/")[0]
    if pc.all(pc.starts_with(sources, f"{folder}/")).as_py():  # nearly always true, and four times as fast
        numbers = _numbers(pc.utf8_slice_codeunits(sources, len(folder) + 1), NAME)
        if not numbers.null_count:
            yield folder, numbers
            return
    numbers = _numbers(sources, f"^.*/{NAME[1:]}")
    folders = pc.replace_substring_regex(sources, "/[^/]*$", "")
    for folder in pc.unique(folders).to_pylist():
        yield folder, pc.if_else(pc.equal(folders, folder), numbers, None)


def _numbers(names: pa.StringArray, pattern: str) -> pa.Int32Array:
    return pc.struct_field(pc.extract_regex(names, pattern), "number").cast(pa.int32())
