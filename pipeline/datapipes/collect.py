"""What the first pass of ingest keeps in order, one batch after the other: counts, labels, duplicates, the spill."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datapipes.raw import Groups
from pipeline.datapipes.spill import SpillWriter
from pipeline.datapipes.tokenize_reviews import TokenizedBatch
from pipeline.lake.known import OTHER, SAME, UNSEEN, KeyIndex
from pipeline.lake.reject_writer import RejectWriter
from pipeline.text.vocabulary import TokenCounts
from schemas.reject import BadRow

COUNTED_SPLITS = ("train", "unsup")
"""Only these splits make the vocabulary; text of valid and test never does."""


@dataclass(kw_only=True)
class Collector:
    """Takes the batches of the first pass in their order. Counts are rows.

    `dedupe_against` holds the contents of the table when reviews whose content stands elsewhere are to be left out.
    """

    spill: SpillWriter
    rejects: RejectWriter
    counts: TokenCounts | None
    dedupe_against: KeyIndex | None = None
    seen: KeyIndex = field(default_factory=KeyIndex)
    labels: set[str] = field(default_factory=set)
    groups: dict[str, pa.DictionaryArray] = field(default_factory=dict)
    replaced_ids: list[pa.Array] = field(default_factory=list)
    read: int = 0
    new: int = 0
    known: int = 0
    duplicates: int = 0
    tokens: int = 0

    def take(self, batch: TokenizedBatch | Groups) -> int:
        """Takes one batch; gives the number of rows that it brought."""
        if isinstance(batch, Groups):
            self.groups[batch.folder] = batch.lines
            return 0
        read = batch.read
        self.read += read
        self.rejects.write(batch.bad)
        self._take_known(batch)
        batch = self._without_repeated(batch)
        if self.dedupe_against is not None:
            batch = self._without_duplicates(batch, self.dedupe_against)
        self._keep(batch)
        return read

    def _take_known(self, batch: TokenizedBatch) -> None:
        # Known reviews count as seen, so that a later row with the same id and other content is told apart every time.
        states = self.seen.classify_and_add(batch.known_keys, batch.known_contents)
        self.known += int(np.count_nonzero(states != OTHER))
        self._reject_repeated(batch.known_rows, states)

    def _without_repeated(self, batch: TokenizedBatch) -> TokenizedBatch:
        """Drops rows whose id came before in this run: with the same content they are known, with another, rejected."""
        states = self.seen.classify_and_add(batch.keys, batch.contents)
        fresh = states == UNSEEN
        if fresh.all():
            return batch
        self.known += int(np.count_nonzero(states == SAME))
        self._reject_repeated(batch.rows, states)
        return batch.take(fresh)

    def _reject_repeated(self, rows: pa.RecordBatch, states: npt.NDArray[np.int8]) -> None:
        bad = []
        for i in np.flatnonzero(states == OTHER).tolist():
            row = rows.slice(i, 1).to_pylist()[0]
            detail = f"the id {row['review_id']!r} came before in this run, with other content"
            bad.append(BadRow(source=row["source"], row=row["row"], reason="duplicate_id", detail=detail))
        self.rejects.write(bad)

    def _without_duplicates(self, batch: TokenizedBatch, contents: KeyIndex) -> TokenizedBatch:
        """Drops new reviews whose content stands elsewhere, in the table or earlier in this run."""
        states = contents.classify_and_add(batch.contents, batch.contents)
        keep = (states == UNSEEN) | batch.replaced
        self.duplicates += int(np.count_nonzero(~keep))
        self.known += int(np.count_nonzero(~keep))
        return batch if keep.all() else batch.take(keep)

    def _keep(self, batch: TokenizedBatch) -> None:
        if not len(batch.rows):
            return
        self.new += len(batch.rows)
        self.tokens += len(batch.tokens.values)
        self.labels.update(pc.unique(batch.rows["label"]).drop_null().to_pylist())
        if batch.replaced.any():
            self.replaced_ids.append(batch.rows["review_id"].filter(pa.array(batch.replaced)))
        if self.counts is not None:
            counted = pc.is_in(batch.rows["split"], value_set=pa.array(COUNTED_SPLITS))
            lists = batch.tokens if pc.all(counted).as_py() else batch.tokens.filter(counted)
            self.counts.add(lists.flatten())
        self.spill.write(batch.rows, batch.tokens)


def content_index(known: Iterable[KeyIndex]) -> KeyIndex:
    """An index of contents alone: key and content are both the content."""
    index = KeyIndex()
    for other in known:
        contents = np.unique(other.contents())
        index.add(contents, contents)
    return index
