"""Simulates ingest on the beginning of a source: the same reading and checking, without writing."""

from collections import Counter
from dataclasses import dataclass, field, replace

from pipeline.datapipes.read_reviews import ReadReviews
from pipeline.datapipes.source_reader import SourceEnds
from pipeline.datapipes.tokenize_reviews import TokenizedBatch, TokenizeReviews
from pipeline.lake.known import KeyIndex
from pipeline.readers.base import FileFault, Reading, Source
from pipeline.readers.labels import LabelMap, SkippedLabels
from pipeline.readers.roles import Columns
from schemas.reject import num_chosen
from schemas.tokenizers import DEFAULT_TOKENIZER


@dataclass(kw_only=True)
class Rehearsal:
    """The outcome of the first rows of a source.

    Args:
        read: rows read, including rejected ones.
        rejects: number of rows that would be rejected, by reason.
        details: the first row of each reason, and what is wrong with it.
        labels: rows that would be kept, by class; "" for unlabelled ones.
        splits: the same by split.
        whole: whether these are all rows.
        fault: why the whole source would be skipped.
    """

    read: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    details: dict[str, str] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    whole: bool = False
    fault: FileFault | None = None

    @property
    def rejected(self) -> int:
        """Number of rows that would be rejected, without those that are left out on purpose."""
        return self.rejects.total() - num_chosen(self.rejects)


def rehearse(
    source: Source,
    columns: Columns,
    reading: Reading,
    rows: int,
    *,
    label_map: LabelMap | None = None,
    skip_labels: SkippedLabels | None = None,
) -> Rehearsal:
    """Reads and checks the first rows of a source like ingest."""
    cut = len(source.files) > rows
    if cut:
        source = replace(source, listing="/".join(source.files[:rows]))
    node = ReadReviews([source], columns, reading)
    node.reset()
    tokenize = TokenizeReviews(tokenizer=DEFAULT_TOKENIZER, known=KeyIndex(), label_map=label_map, skip_labels=skip_labels)
    done = Rehearsal()
    contents: dict[int, int] = {}
    for item in node:
        if isinstance(item, SourceEnds):
            done.fault, done.whole = item.fault, not cut
            break
        batch = tokenize(item)
        if isinstance(batch, TokenizedBatch):
            _count(done, batch, contents)
        if done.read >= rows:
            break
    return done


def _count(done: Rehearsal, batch: TokenizedBatch, contents: dict[int, int]) -> None:
    done.read += batch.read
    for bad in batch.bad:
        done.rejects[bad.reason] += 1
        done.details.setdefault(bad.reason, f"{bad.source}, row {bad.row}: {bad.detail}")
    done.fault = done.fault or next(iter(batch.faults), None)
    labels, splits = batch.rows["label"].to_pylist(), batch.rows["split"].to_pylist()
    for key, content, label, split in zip(batch.keys.tolist(), batch.contents.tolist(), labels, splits, strict=True):
        if contents.setdefault(key, content) != content:
            done.rejects["duplicate_id"] += 1
            continue
        done.labels[label or ""] += 1
        done.splits[split] += 1
