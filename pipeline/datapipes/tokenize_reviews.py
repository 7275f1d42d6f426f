"""The mapping step of ingest: raw batch in, checked and tokenized batch out. Runs in worker threads; holds no state."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datapipes.raw import Groups, Item, RawBatch, TextFiles
from pipeline.datapipes.text_files import open_files
from pipeline.lake.known import OTHER, SAME, KeyIndex, Keys, contents_of, keys_of
from pipeline.text.tokenizers import tokenize
from schemas.reject import BadRow
from schemas.review import REVIEW, SPLITS

ROW_SCHEMA = pa.schema([REVIEW.schema.field(name) for name in REVIEW.schema.names if name != "text"])
"""A review without its text: what accompanies the tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedBatch:
    """Rows that are new or changed, with their tokens; beside them what became of the others.

    `rows` follows `ROW_SCHEMA`; `tokens` is list<dictionary<string>>, one list a row. `keys` and `contents` are those of
    `rows`; `known_keys` and `known_contents` those of the reviews that the table holds already.
    """

    rows: pa.RecordBatch
    tokens: pa.ListArray
    replaced: npt.NDArray[np.bool_]
    keys: Keys
    contents: Keys
    known_keys: Keys
    known_contents: Keys
    bad: Sequence[BadRow]

    @property
    def read(self) -> int:
        """Rows that went in."""
        return len(self.rows) + len(self.known_keys) + len(self.bad)

    def take(self, keep: npt.NDArray[np.bool_]) -> "TokenizedBatch":
        """The batch with only the rows of the (N,) mask; `read` then no longer counts the others."""
        mask = pa.array(keep)
        return TokenizedBatch(
            rows=self.rows.filter(mask),
            tokens=self.tokens.filter(mask),
            replaced=self.replaced[keep],
            keys=self.keys[keep],
            contents=self.contents[keep],
            known_keys=self.known_keys,
            known_contents=self.known_contents,
            bad=self.bad,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeReviews:
    """Callable for a `ParallelMapper`: opens, checks, hashes, drops what is known, tokenizes.

    `labels` are those that the lake knows; None when the vocabulary is yet to be made and every label is welcome.
    `split` is for reviews whose source tells none; None means train for labelled ones and unsup for the others.
    """

    tokenizer: str
    known: KeyIndex
    labels: frozenset[str] | None = None
    split: str | None = None

    def __call__(self, item: Item) -> TokenizedBatch | Groups:
        """Tokenizes one batch; groups pass through."""
        if isinstance(item, Groups):
            return item
        raw = open_files(item) if isinstance(item, TextFiles) else item
        return self._tokenize(raw)

    def _tokenize(self, raw: RawBatch) -> TokenizedBatch:
        bad = list(raw.bad)
        kept = self._check(raw, bad)
        contents_hex = _content_hashes(kept)
        keys, contents = keys_of(kept.review_id), contents_of(contents_hex)  # type: ignore[arg-type]  # checked: no null
        states = self.known.states(keys, contents)
        fresh = states != SAME
        rows = pa.RecordBatch.from_arrays(
            [
                pa.array(kept.review_id, pa.string()),
                pa.array(kept.label or [None] * len(kept.row), pa.string()),
                pa.array(kept.stars or [None] * len(kept.row), pa.int32()),
                pa.array(kept.split, pa.string()),
                pa.array(kept.group or [None] * len(kept.row), pa.string()),
                pa.array(kept.source, pa.string()),
                pa.array(kept.row, pa.int64()),
                pa.array(contents_hex, pa.string()),
            ],
            schema=ROW_SCHEMA,
        )
        texts = pa.array(kept.text, pa.binary())
        if not fresh.all():
            mask = pa.array(fresh)
            rows, texts = rows.filter(mask), texts.filter(mask)
        tokens = tokenize(self.tokenizer, texts.cast(pa.string()))
        batch = TokenizedBatch(
            rows=rows,
            tokens=_dictionary_lists(tokens),
            replaced=states[fresh] == OTHER,
            keys=keys[fresh],
            contents=contents[fresh],
            known_keys=keys[~fresh],
            known_contents=contents[~fresh],
            bad=bad,
        )
        return _reject_empty(batch, texts, bad)

    def _check(self, raw: RawBatch, bad: list[BadRow]) -> RawBatch:
        """Rejects what is no text, has no id or an impossible split; fills in the splits."""
        faults = _text_faults(raw)
        splits = []
        for i in range(len(raw.row)):
            label = raw.label[i] if raw.label else None
            split = raw.split[i] if raw.split else None
            if split is None:
                split = self.split or ("unsup" if label is None else "train")
            elif split not in SPLITS:
                faults.setdefault(i, ("unknown_split", f"split {split!r}; allowed: {', '.join(SPLITS)}"))
            if label is not None and self.labels is not None and label not in self.labels:
                known = ", ".join(sorted(self.labels)) or "none"
                faults.setdefault(i, ("unknown_label", f"label {label!r}; known are {known}"))
            if not raw.review_id[i]:
                faults.setdefault(i, ("missing_id", "the id column holds nothing"))
            splits.append(split)
        raw.split = list(splits)
        if not faults:
            return raw
        for i, (reason, detail) in sorted(faults.items()):
            excerpt = (raw.text[i] or b"")[:800]
            bad.append(BadRow(source=raw.source[i], row=raw.row[i], reason=reason, detail=detail, excerpt=excerpt))
        keep = [i for i in range(len(raw.row)) if i not in faults]
        return RawBatch(
            source=[raw.source[i] for i in keep],
            row=[raw.row[i] for i in keep],
            text=[raw.text[i] for i in keep],
            review_id=[raw.review_id[i] for i in keep],
            label=[raw.label[i] for i in keep] if raw.label else None,
            stars=[raw.stars[i] for i in keep] if raw.stars else None,
            split=[splits[i] for i in keep],
            group=[raw.group[i] for i in keep] if raw.group else None,
        )


def _text_faults(raw: RawBatch) -> dict[int, tuple[str, str]]:
    """Rows whose text cannot be a review: row in the batch → reason and detail."""
    faults: dict[int, tuple[str, str]] = {}
    for i, text in enumerate(raw.text):
        if text is None:
            faults[i] = ("missing_text", "the text is null")
        elif b"\0" in text:
            faults[i] = ("nul_byte", f"NUL byte at offset {text.index(0)}")
        elif not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError as error:
                faults[i] = ("invalid_utf8", f"{error.reason} at offset {error.start}")
    return faults


def _content_hashes(raw: RawBatch) -> list[str]:
    """Hex SHA-256 of text, label, stars, split and the source's own group.

    Groups that stand in a file of their own (`urls_*.txt`) are left out: an archive may tell them after the reviews.
    """
    labels = raw.label or [None] * len(raw.row)
    stars = raw.stars or [None] * len(raw.row)
    groups = raw.group or [None] * len(raw.row)
    splits = raw.split or [None] * len(raw.row)
    suffixes: dict[tuple[object, ...], bytes] = {}
    hashes = []
    for text, facts in zip(raw.text, zip(labels, stars, splits, groups, strict=True), strict=True):
        suffix = suffixes.get(facts)
        if suffix is None:
            suffix = suffixes[facts] = b"\0" + repr(list(facts)).encode("utf-8", "surrogatepass")
        hashes.append(hashlib.sha256((text or b"") + suffix).hexdigest())
    return hashes


def _dictionary_lists(tokens: pa.ListArray) -> pa.ListArray:
    encoded = tokens.flatten().dictionary_encode()
    return pa.ListArray.from_arrays(tokens.offsets, encoded)


def _reject_empty(batch: TokenizedBatch, texts: pa.BinaryArray, bad: list[BadRow]) -> TokenizedBatch:
    empty = pc.equal(pc.list_value_length(batch.tokens), 0).to_numpy(zero_copy_only=False)
    if not empty.any():
        return batch
    for i in np.flatnonzero(empty).tolist():
        row = batch.rows.slice(i, 1).to_pylist()[0]
        detail = "no token is left of the text"
        excerpt = texts[i].as_py()[:800]
        bad.append(BadRow(source=row["source"], row=row["row"], reason="empty_text", detail=detail, excerpt=excerpt))
    return batch.take(~empty)
