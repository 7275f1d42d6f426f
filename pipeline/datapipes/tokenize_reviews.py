"""The mapping step of ingest: checks and tokenizes raw batches. Runs in worker threads; has no state."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datapipes.read_reviews import SourceBegins, SourceEnds
from pipeline.errors import OutOfMemoryError, out_of_memory
from pipeline.lake.identity import content_digests
from pipeline.lake.known import OTHER, SAME, KeyIndex, Keys, Known, contents_of, keys_of
from pipeline.lake.withheld import FREE, Withheld, blank
from pipeline.readers.base import EXCERPT_BYTES, FileFault
from pipeline.readers.encoding import likely_encoding
from pipeline.readers.labels import LabelMap, SkippedLabels
from pipeline.readers.reviews import Groups, Item, RawBatch, TableRows, TextFiles, reviews_of_table, without
from pipeline.readers.text_files import open_files
from pipeline.readers.values import RULE_VERSION, value_of
from pipeline.text.tokenizers import tokenize
from schemas.reject import BadRow
from schemas.review import REVIEW, SPLITS

Fault = tuple[str, str, str]
"""Reason and detail of a reject, and its `BadRow.value`."""
Place = tuple[str | None, str | None]
"""Label and split of a review."""
STARS = "stars"
"""The value of `--target-column` that means the stars in the names of aclImdb's files."""

ROW_SCHEMA = pa.schema([REVIEW.schema.field(name) for name in REVIEW.schema.names if name != "text"])
"""A review without its text: the columns beside the tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedBatch:
    """New or changed rows with their tokens, and the outcome of the other rows.

    `rows` follows `ROW_SCHEMA`; `tokens` is list<dictionary<string>>, one list per row. `keys` and `contents` are those of
    `rows`; `known_keys` and `known_contents` those of reviews already in the table, and `known_rows` is where they
    are.
    """

    rows: pa.RecordBatch
    tokens: pa.ListArray
    replaced: npt.NDArray[np.bool_]
    keys: Keys
    contents: Keys
    known_keys: Keys
    known_contents: Keys
    known_rows: pa.RecordBatch
    bad: Sequence[BadRow]
    faults: Sequence[FileFault] = ()
    withheld_keys: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    """Reviews that were retracted or erased."""
    withheld: npt.NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    """Why, as in `pipeline.lake.withheld`."""

    @property
    def read(self) -> int:
        """Number of input rows."""
        return len(self.rows) + len(self.known_keys) + len(self.withheld_keys) + len(self.bad)

    def take(self, keep: npt.NDArray[np.bool_]) -> "TokenizedBatch":
        """The batch with only the rows of the (N,) mask; `read` then excludes the others."""
        mask = pa.array(keep)
        return TokenizedBatch(
            rows=self.rows.filter(mask),
            tokens=self.tokens.filter(mask),
            replaced=self.replaced[keep],
            keys=self.keys[keep],
            contents=self.contents[keep],
            known_keys=self.known_keys,
            known_contents=self.known_contents,
            known_rows=self.known_rows,
            bad=self.bad,
            faults=self.faults,
            withheld_keys=self.withheld_keys,
            withheld=self.withheld,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeReviews:
    """Callable for a `ParallelMap`: reads, checks, hashes, drops known reviews, tokenizes.

    `labels` are those known to the lake; None if the vocabulary is not built yet and any label is allowed.
    `label_map` maps labels to classes; None keeps labels as they are. Rows with one of `skip_labels` are rejected as chosen.
    `split` applies to reviews whose source has none; None means train for labelled ones and unsup for the others.
    `target_column` is the value of `--target-column`: files of one review have their stars for it, and no other.
    `rule` is the version of the rule for values.
    `withheld` holds what must not come in again; it does not concern the reviews that are `held` in the table.
    """

    tokenizer: str
    known: Known
    labels: frozenset[str] | None = None
    label_map: LabelMap | None = None
    skip_labels: SkippedLabels | None = None
    split: str | None = None
    target_column: str | None = None
    rule: int = RULE_VERSION
    withheld: Withheld = field(default_factory=Withheld)
    held: Known = field(default_factory=KeyIndex)

    def __call__(self, item: Item | SourceBegins | SourceEnds) -> TokenizedBatch | Groups | SourceBegins | SourceEnds:
        """Tokenizes one batch; groups and marks pass through.

        Raises:
            OutOfMemoryError: names the source.
        """
        if not isinstance(item, TextFiles | TableRows | RawBatch):
            return item
        try:
            if isinstance(item, TextFiles):
                return self._tokenize(open_files(item))
            return self._tokenize(reviews_of_table(item, self.rule) if isinstance(item, TableRows) else item)
        except MemoryError as error:
            raise OutOfMemoryError(out_of_memory(f"in the middle of {_place(item)}")) from error

    def _tokenize(self, raw: RawBatch) -> TokenizedBatch:
        bad = self.withheld.blanked(raw.bad)
        kept = self._check(raw, bad)
        contents_hex = _digests(kept)
        keys, contents = keys_of(kept.review_id), contents_of(contents_hex)  # type: ignore[arg-type]  # checked: no null
        states = self.known.states(keys, contents)
        known = states == SAME
        withheld = self._withheld(keys, contents, kept.source)
        fresh = ~known & (withheld == FREE)
        rows = _rows(kept, contents_hex)
        texts = kept.text
        known_rows = rows.select(["review_id", "source", "row"])
        if fresh.all():
            known_rows = known_rows.slice(0, 0)
        else:
            mask = pa.array(fresh)
            known_rows = known_rows.filter(pa.array(known))
            rows, texts = rows.filter(mask), texts.filter(mask)
        batch = TokenizedBatch(
            rows=rows,
            tokens=tokenize(self.tokenizer, texts.cast(pa.string())),
            replaced=states[fresh] == OTHER,
            keys=keys[fresh],
            contents=contents[fresh],
            known_keys=keys[known],
            known_contents=contents[known],
            known_rows=known_rows,
            bad=bad,
            faults=raw.faults,
            withheld_keys=keys[withheld != FREE],
            withheld=withheld[withheld != FREE],
        )
        return _reject_empty(batch, texts, bad)

    def _withheld(self, keys: Keys, contents: Keys, sources: Sequence[str]) -> npt.NDArray[np.int8]:
        if not self.withheld:
            return np.zeros(len(keys), np.int8)
        states = self.withheld.states(keys, contents, sources)
        states[(self.known.states(keys, contents) == SAME) | (self.held.states(keys, contents) == SAME)] = FREE
        return states

    def _check(self, raw: RawBatch, bad: list[BadRow]) -> RawBatch:
        """Rejects rows without text or ID, or with an invalid split or label; fills in splits, maps labels."""
        faults = _text_faults(raw.text)
        if self.target_column == STARS and raw.stars is not None:
            raw = replace(raw, target=[None if stars is None else str(stars) for stars in raw.stars])
        for name in ("review_id", "label", "target", "split", "group"):
            for i, detail, codec in _surrogates(getattr(raw, name) or ()):
                faults.setdefault(i, ("invalid_utf8", f"the {name.removeprefix('review_')} {detail}", codec))
            for i in _with_nul(getattr(raw, name) or ()):
                faults.setdefault(i, ("nul_byte", f"the {name.removeprefix('review_')} contains a NUL byte", ""))
        nothing: list[str | None] = [None] * len(raw.row)
        has_target = [target is not None for target in raw.target or nothing]
        places = list(zip(raw.label or nothing, raw.split or nothing, has_target, strict=True))
        judged = {place: self._judge(*place) for place in set(places)}
        if any(fault for _, fault in judged.values()):
            for i, place in enumerate(places):
                if fault := judged[place][1]:
                    faults.setdefault(i, fault)
        for i, detail in _not_numbers(raw.target or ()):
            faults.setdefault(i, ("invalid_target", detail, ""))
        if not all(raw.review_id):
            for i in (i for i, review_id in enumerate(raw.review_id) if not review_id):
                faults.setdefault(i, ("missing_id", "the id is empty", ""))
        label = None if raw.label is None else [judged[place][0][0] for place in places]
        raw = replace(raw, label=label, split=[judged[place][0][1] for place in places])
        return _without(raw, faults, bad, self.withheld) if faults else raw

    def _judge(self, label: str | None, split: str | None, has_target: bool) -> tuple[Place, Fault | None]:
        """Label and split of a review whose source has both, and what is wrong with them."""
        label, split = value_of(label, self.rule), value_of(split, self.rule)
        if split is not None and split not in SPLITS:
            return (label, split), ("unknown_split", f"split {split!r}; allowed: {', '.join(SPLITS)}", split)
        if label is not None and self.skip_labels is not None and label in self.skip_labels:
            return (label, split), ("skipped_label", f"--skip-labels leaves {label!r} out", label)
        if label is not None and self.label_map is not None:
            given, label = label, self.label_map(label)
            if label is None:
                return (given, split), ("unmapped", f"--label-map has no class for {given!r}", given)
        if label is not None and self.labels is not None and label not in self.labels:
            known = ", ".join(sorted(self.labels)) or "none"
            return (label, split), ("unknown_label", f"label {label!r}; known labels: {known}", label)
        return (label, split or self.split or ("train" if label is not None or has_target else "unsup")), None


def _place(item: TextFiles | TableRows | RawBatch) -> str:
    if isinstance(item, TextFiles):
        return item.name
    return item.source if isinstance(item, TableRows) else item.source[0]


def _rows(raw: RawBatch, contents_hex: list[str]) -> pa.RecordBatch:
    nothing = [None] * len(raw.row)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(raw.review_id, pa.string()),
            pa.array(raw.label or nothing, pa.string()),
            pa.array(raw.stars or nothing, pa.int32()),
            pa.array(raw.split, pa.string()),
            pa.array(raw.group or nothing, pa.string()),
            pa.array(raw.source, pa.string()),
            pa.array(raw.row, pa.int64()),
            pa.array(contents_hex, pa.string()),
            pa.array(_numbers(raw.target) or nothing, pa.float64()),
        ],
        schema=ROW_SCHEMA,
    )


def _without(raw: RawBatch, faults: Mapping[int, Fault], bad: list[BadRow], withheld: Withheld) -> RawBatch:
    """The batch without faulty rows, which are added to `bad`, those of erased reviews without a word of theirs."""
    places = sorted(faults)
    erased = withheld.erases([raw.review_id[i] for i in places])
    for i, is_erased in zip(places, erased.tolist(), strict=True):
        reason, detail, value = faults[i]
        excerpt = (raw.text[i].as_py() or b"")[:EXCERPT_BYTES]
        row = BadRow(source=raw.source[i], row=raw.row[i], reason=reason, detail=detail, excerpt=excerpt, value=value)
        bad.append(blank(row) if is_erased else row)
    return without(raw, [i not in faults for i in range(len(raw.row))])


def _text_faults(texts: pa.BinaryArray) -> dict[int, Fault]:
    """Rows whose text is not a valid review: row in the batch → reason and detail."""
    if not texts.null_count and _is_utf8(texts) and not _holds_nul(texts):
        return {}
    faults: dict[int, Fault] = {}
    for i, text in enumerate(texts.to_pylist()):
        if text is None:
            faults[i] = ("missing_text", "the text is null", "")
        elif b"\0" in text:
            detail = (
                f"NUL byte at offset {text.index(0)}: binary data, or UTF-16 without a byte order mark; save it as UTF-8"
            )
            faults[i] = ("nul_byte", detail, "")
        else:
            try:
                text.decode()
            except UnicodeDecodeError as error:
                faults[i] = ("invalid_utf8", f"{error.reason} at offset {error.start}", likely_encoding(text))
    return faults


def _surrogates(column: Sequence[str | None]) -> Iterator[tuple[int, str, str]]:
    """Positions of values that are not UTF-8, what is wrong with them, and their likely encoding."""
    try:
        "".join(filter(None, column)).encode()
    except UnicodeEncodeError:
        for i, value in enumerate(column):
            try:
                (value or "").encode()
            except UnicodeEncodeError as error:
                detail = f"{value!r} contains a lone surrogate or a byte that is not UTF-8 at offset {error.start}"
                yield i, detail, likely_encoding((value or "").encode("utf-8", "surrogateescape"))


def _with_nul(column: Sequence[str | None]) -> list[int]:
    """Positions of values with a NUL byte."""
    if "\0" not in "".join(filter(None, column)):
        return []
    return [i for i, value in enumerate(column) if value and "\0" in value]


def _holds_nul(texts: pa.BinaryArray) -> bool:
    content = texts.buffers()[2]
    return content is not None and content.size > 0 and int(np.frombuffer(content, np.uint8).min()) == 0


def _is_utf8(texts: pa.BinaryArray) -> bool:
    try:
        texts.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _digests(raw: RawBatch) -> list[str]:
    """Content digests of the reviews. Groups from a separate file (`urls_*.txt`) are not known yet."""
    nothing = [None] * len(raw.row)
    return content_digests(
        raw.text.to_pylist(),
        raw.label or nothing,
        raw.stars or nothing,
        raw.split or nothing,
        raw.group or nothing,
        _numbers(raw.target),
    )


def _numbers(targets: Sequence[str | None] | None) -> list[float | None] | None:
    """The targets as numbers, all of which were checked."""
    return None if targets is None else [None if target is None else float(target) for target in targets]


def _not_numbers(targets: Sequence[str | None]) -> Iterator[tuple[int, str]]:
    """Positions of targets that are not finite numbers, and what is wrong with them."""
    for i, target in enumerate(targets):
        if target is not None and not _is_number(target):
            yield i, f"target {target[:40]!r} is not a finite number"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _reject_empty(batch: TokenizedBatch, texts: pa.BinaryArray, bad: list[BadRow]) -> TokenizedBatch:
    empty = pc.equal(pc.list_value_length(batch.tokens), 0).to_numpy(zero_copy_only=False)
    if not empty.any():
        return batch
    for i in np.flatnonzero(empty).tolist():
        row = batch.rows.slice(i, 1).to_pylist()[0]
        detail = "the text has no tokens"
        excerpt = texts[i].as_py()[:EXCERPT_BYTES]
        bad.append(BadRow(source=row["source"], row=row["row"], reason="empty_text", detail=detail, excerpt=excerpt))
    return batch.take(~empty)
