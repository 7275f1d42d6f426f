"""The vocabulary: tokens and their IDs. Immutable, a pure function of the text, named by its fingerprint."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text.columns import WordIndex, occurrences, sum_counts, text_buffers
from pipeline.text.kernels import word_slots
from schemas.vocabulary import SPECIALS, UNK_ID, VOCABULARY


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens in the order of their IDs, special tokens first; `labels[i]` is the name of label i."""

    tokens: pa.StringArray
    counts: pa.Int64Array
    tokenizer: str
    labels: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over tokens, counts, tokenizer, labels and options."""
        digest = hashlib.sha256()
        header = [VOCABULARY.version, self.tokenizer, list(self.labels), dict(self.options)]
        digest.update(json.dumps(header, sort_keys=True).encode())
        digest.update("\n".join(self.tokens.to_pylist()).encode())
        digest.update(self.counts.to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def with_labels(self, labels: tuple[str, ...]) -> "Vocabulary":
        """The same IDs with labels, for a lake whose first reviews had none."""
        return replace(self, labels=labels)

    @cached_property
    def _words(self) -> WordIndex:
        # A text may contain "<pad>" literally; only the words are looked up, so it becomes <unk> like any unknown token.
        return WordIndex(self.tokens[len(SPECIALS) :])

    @cached_property
    def word_table(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], Any]:
        """The words side by side, their bounds, and the table by which the kernel `encode` finds them."""
        words, bounds = text_buffers(self.tokens[len(SPECIALS) :])
        return words, bounds, word_slots(words, bounds)

    def encode(self, tokens: pa.ListArray) -> pa.ListArray:
        """Token ids of each list.

        Args:
            tokens: list<string> or list<dictionary<string>>, without null lists.

        Returns:
            list<int32> of the same lengths; tokens outside the vocabulary have the ID of `<unk>`.
        """
        flat = tokens.flatten()
        encoded = flat if pa.types.is_dictionary(flat.type) else flat.dictionary_encode()
        values = self._words.ids(encoded, len(SPECIALS), UNK_ID)
        offsets = pc.subtract(tokens.offsets, tokens.offsets[0]) if len(tokens) else tokens.offsets
        return pa.ListArray.from_arrays(offsets, values, type=pa.list_(pa.field("element", pa.int32())))

    def label_ids(self, labels: pa.StringArray) -> pa.Int32Array:
        """Index of each label; null for null and for unknown labels."""
        return pc.index_in(labels, value_set=pa.array(self.labels, pa.string()), skip_nulls=True)


class Counts(Protocol):
    """How often each token occurs, and a state to go back to: `TokenCounts`, or something that keeps them elsewhere."""

    @property
    def dropped(self) -> int:
        """How often a distinct token was dropped to stay within the memory."""
        ...

    def add_lists(self, tokens: Any) -> None:
        """Adds the tokens of a batch: lists of dictionary-encoded tokens, or where another process keeps them."""
        ...

    def snapshot(self) -> Any:
        """A state for `restore`."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Makes the counts what they were when the snapshot was taken."""
        ...

    def total(self) -> pa.Table:
        """token: string, count: int64; rows in no particular order, none with count 0."""
        ...


def build_vocabulary(
    counts: Counts,
    tokenizer: str,
    labels: Iterable[str],
    *,
    max_vocab: int,
    min_count: int,
    options: Mapping[str, Any] | None = None,
) -> Vocabulary:
    """Builds a vocabulary from counted tokens, ordered by count descending, then token ascending.

    Args:
        max_vocab: maximum number of tokens, not counting the special ones; 0 for all.
        min_count: minimum count of a token.
        options: other settings that determined the IDs, stored with these two.
    """
    table = counts.total()
    table = table.filter(pc.greater_equal(table["count"], min_count))
    table = table.filter(pc.invert(pc.is_in(table["token"], value_set=pa.array(SPECIALS))))
    if max_vocab and len(table) > max_vocab:
        least = np.partition(table["count"].to_numpy(), -max_vocab)[-max_vocab]
        table = table.filter(pc.greater_equal(table["count"], least))  # leaves a tenth to sort
    table = table.sort_by([("count", "descending"), ("token", "ascending")])
    if max_vocab:
        table = table.slice(0, max_vocab)
    table = table.combine_chunks()
    return Vocabulary(
        tokens=pa.concat_arrays([pa.array(SPECIALS, pa.string()), _whole(table["token"])]),
        counts=pa.concat_arrays([pa.array([0] * len(SPECIALS), pa.int64()), _whole(table["count"])]),
        tokenizer=tokenizer,
        labels=ordered_labels(labels),
        options={"max_vocab": max_vocab, "min_count": min_count, **(options or {})},
    )


def ordered_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels in the order of their IDs: by number if all are integers, else alphabetically."""
    distinct = set(labels)
    try:
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    except ValueError:
        return tuple(sorted(distinct))


class TokenCounts:
    """Counts tokens of many batches in bounded memory, by merging partial sums from time to time.

    Once the distinct tokens take more than `KEPT_BYTES`, the rarest are dropped until half of that is left, so that the
    counts of rare tokens become lower bounds. Text of a language does not get there; text of random letters does.

    Source: `reduce_vocab` of word2vec, `Dictionary::threshold` of fastText.
    """

    MERGE_ROWS = 1_000_000
    MERGE_BYTES = 32 << 20
    KEPT_BYTES = 64 << 20

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []
        self._rows = self._bytes = self._dropped = 0

    @property
    def dropped(self) -> int:
        """How often a distinct token was dropped to stay within the memory."""
        return self._dropped

    def add(self, tokens: pa.DictionaryArray) -> None:
        """Adds one batch of tokens, dictionary-encoded."""
        self.add_counts(pa.table({"token": tokens.dictionary, "count": pa.array(occurrences(tokens))}))

    def add_lists(self, tokens: pa.ListArray) -> None:
        """Adds lists of tokens, dictionary-encoded."""
        self.add(tokens.flatten())

    def add_counts(self, part: pa.Table) -> None:
        """Adds what was counted elsewhere: token: string, count: int64."""
        self._parts.append(part)
        self._rows += len(part)
        self._bytes += int(_sizes(part).sum())
        if self._rows > self.MERGE_ROWS or self._bytes > self.MERGE_BYTES:
            self._merge()

    def snapshot(self) -> tuple[list[pa.Table], int, int, int]:
        """A state for `restore`. Costs nothing, because the tables are never changed."""
        return list(self._parts), self._rows, self._bytes, self._dropped

    def restore(self, snapshot: tuple[list[pa.Table], int, int, int]) -> None:
        """Makes the counts what they were when the snapshot was taken."""
        self._parts = list(snapshot[0])
        self._rows = snapshot[1]
        self._bytes = snapshot[2]
        self._dropped = snapshot[3]

    def total(self) -> pa.Table:
        """token: string, count: int64; rows in no particular order, none with count 0."""
        self._merge()
        table = self._parts[0]
        return table.filter(pc.greater(table["count"], 0))

    def _merge(self) -> None:
        table = sum_counts(self._parts)
        if int(_sizes(table).sum()) > self.KEPT_BYTES:
            table = self._without_rarest(table)
        self._parts = [table]
        # The merged table counts for half of each threshold at most; otherwise, every batch would trigger a merge.
        self._rows = min(len(table), self.MERGE_ROWS // 2)
        self._bytes = min(int(_sizes(table).sum()), self.MERGE_BYTES // 2)

    def _without_rarest(self, table: pa.Table) -> pa.Table:
        """The most frequent tokens, in half of the memory. Which ones is a function of the batches and their order."""
        sizes = _sizes(table)
        order = np.argsort(-table["count"].to_numpy(), kind="stable")
        keep = np.zeros(len(table), bool)
        keep[order[np.cumsum(sizes[order]) <= self.KEPT_BYTES // 2]] = True
        self._dropped += int(np.count_nonzero(~keep))
        return table.filter(pa.array(keep))


def _sizes(counts: pa.Table) -> npt.NDArray[np.int64]:
    """Bytes of each token and its count. Unlike the size of buffers, a function of the text alone."""
    lengths: npt.NDArray[np.int64] = pc.binary_length(counts["token"]).to_numpy().astype(np.int64)
    return lengths + 12  # an offset of 4, a count of 8


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
