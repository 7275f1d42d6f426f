"""The mapping step of ingest: checks and tokenizes raw batches. Runs in worker threads, or in the tasks of a cluster; has no
state."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datapipes.source_reader import Marked, SourceBegins, SourceEnds
from pipeline.datapipes.tokens_elsewhere import TokensElsewhere
from pipeline.errors import OutOfMemoryError, out_of_memory
from pipeline.lake.identity import content_digests, place_ids
from pipeline.lake.known import OTHER, SAME, KeyIndex, Keys, Known, first_bits, keys_of
from pipeline.lake.standing import STANDING_SCHEMA
from pipeline.lake.withheld import FREE, RETRACTED, Withheld, blank, placed_id
from pipeline.readers.base import EXCERPT_BYTES, FileFault
from pipeline.readers.encoding import likely_encoding
from pipeline.readers.labels import LabelMap, SkippedLabels
from pipeline.readers.reviews import Groups, RawBatch, TableRows, TextFiles, reviews_of_table, without
from pipeline.readers.text_files import open_files
from pipeline.readers.values import RULE_VERSION, as_bytes, as_text, value_of
from pipeline.text.columns import HAS_NUL, NOT_UTF8, Digests, hexadecimal, text_states
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
TOKENIZED_SCHEMA = ROW_SCHEMA.append(pa.field("tokens", pa.list_(pa.field("item", pa.dictionary(pa.int32(), pa.string())))))
"""The same with the tokens, as they are kept between the two passes."""

NONE_STANDING = pa.RecordBatch.from_pylist([], STANDING_SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedBatch:
    """New or changed rows with their tokens, and the outcome of the other rows.

    `rows` follows `ROW_SCHEMA`; `tokens` is list<dictionary<string>>, one list per row. `keys` and `contents` are those of
    `rows`; `known_keys` and `known_contents` those of reviews already in the table, and `known_rows` is where they
    are. Where another process keeps the tokens, `rows` has the columns of `ROWS_BESIDE` alone.
    """

    rows: pa.RecordBatch
    tokens: pa.ListArray | TokensElsewhere
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
    withheld_pairs: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    """Their sources and contents, as `Withheld.elsewhere` gives them."""
    standing: pa.RecordBatch = field(default_factory=lambda: NONE_STANDING)
    """Under `STANDING_SCHEMA`, those in whose place a row of the table stands."""

    @property
    def read(self) -> int:
        """Number of input rows."""
        return len(self.rows) + len(self.known_keys) + len(self.withheld_keys) + len(self.bad)

    @property
    def num_tokens(self) -> int:
        """Number of tokens of `rows`."""
        return self.tokens.num_tokens if isinstance(self.tokens, TokensElsewhere) else len(self.tokens.values)

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
            withheld_pairs=self.withheld_pairs,
            standing=self.standing,
        )


VALUE_CHARACTERS = 40
"""As much of a label or a group is quoted."""
ROWS_BESIDE = ("review_id", "label", "split", "source", "row", "target")
"""The columns that are looked at while batches are collected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBatch:
    """Rows that may come in unless they are known: `rows` under `ROW_SCHEMA`, their texts, keys and contents.

    `withheld` is why each is withheld, as in `pipeline.lake.withheld`, whether or not the table holds it; `bad` and `faults`
    are the others.
    """

    rows: pa.RecordBatch
    texts: pa.StringArray
    keys: Keys
    contents: Keys
    withheld: npt.NDArray[np.int8]
    bad: list[BadRow]
    faults: Sequence[FileFault]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeReviews:
    """Callable for a `ParallelMap`: reads, checks, hashes, drops known reviews, tokenizes.

    Its three steps are `check`, `judge` and `finish`. Only `judge` looks up what is known, and it does not need the texts.

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

    def __call__(self, item: Marked) -> TokenizedBatch | Groups | SourceBegins | SourceEnds:
        """Tokenizes one batch; groups and marks pass through.

        Raises:
            OutOfMemoryError: names the source.
        """
        checked = self.check(item)
        if not isinstance(checked, CheckedBatch):
            return checked
        return self.finish(checked, *self.judge(checked.keys, checked.contents, checked.withheld))

    def check(self, item: Marked) -> CheckedBatch | Groups | SourceBegins | SourceEnds:
        """Reads and checks one batch; groups and marks pass through.

        Raises:
            OutOfMemoryError: names the source.
        """
        if not isinstance(item, TextFiles | TableRows | RawBatch):
            return item
        with _in_the_middle_of(item):
            if isinstance(item, TextFiles):
                return self._checked(open_files(item))
            return self._checked(reviews_of_table(item, self.rule) if isinstance(item, TableRows) else item)

    def judge(
        self, keys: Keys, contents: Keys, withheld: npt.NDArray[np.int8]
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
        """Looks up (N,) rows: their states in the table, and why they are withheld, unless the table holds them as they are.

        Args:
            withheld: as in `CheckedBatch`.
        """
        states = self.known.states(keys, contents)
        if self.withheld:
            held = (states == SAME) | (self.held.states(keys, contents) == SAME)
            withheld = np.where(held, np.int8(FREE), withheld)
        return states, withheld

    def finish(self, checked: CheckedBatch, states: npt.NDArray[np.int8], withheld: npt.NDArray[np.int8]) -> TokenizedBatch:
        """Tokenizes the rows that are new or changed, by what `judge` has found.

        Raises:
            OutOfMemoryError: names the source.
        """
        with _in_the_middle_of(checked):
            return self._finished(checked, states, withheld)

    def _checked(self, raw: RawBatch) -> CheckedBatch:
        bad = self.withheld.blanked(raw.bad)
        kept = self._check(raw, bad)
        targets = _numbers(kept.target)
        digests = _digests(kept, targets)
        keys, contents = keys_of(kept.review_id), first_bits(digests)
        withheld = np.zeros(len(keys), np.int8)
        if self.withheld:
            withheld = self.withheld.states(keys, contents, kept.source)
        return CheckedBatch(
            rows=_rows(kept, targets, digests),
            texts=kept.text.view(pa.string()),
            keys=keys,
            contents=contents,
            withheld=withheld,
            bad=bad,
            faults=raw.faults,
        )

    def _finished(
        self, checked: CheckedBatch, states: npt.NDArray[np.int8], withheld: npt.NDArray[np.int8]
    ) -> TokenizedBatch:
        rows, texts, keys, contents = checked.rows, checked.texts, checked.keys, checked.contents
        known = states == SAME
        fresh = ~known & (withheld == FREE)
        known_rows = rows.select(["review_id", "source", "row"])
        held = withheld != FREE
        pairs = self.withheld.elsewhere(keys[held], contents[held], rows["source"].filter(pa.array(held)))
        if fresh.all():
            known_rows = known_rows.slice(0, 0)
        else:
            mask = pa.array(fresh)
            known_rows = known_rows.filter(pa.array(known))
            rows, texts = rows.filter(mask), texts.filter(mask)
        batch = TokenizedBatch(
            rows=rows,
            tokens=tokenize(self.tokenizer, texts),
            replaced=states[fresh] == OTHER,
            keys=keys[fresh],
            contents=contents[fresh],
            known_keys=keys[known],
            known_contents=contents[known],
            known_rows=known_rows,
            bad=checked.bad,
            faults=checked.faults,
            withheld_keys=keys[held],
            withheld=withheld[held],
            withheld_pairs=pairs,
            standing=self._standing(checked, withheld),
        )
        return _reject_empty(batch, texts, checked.bad)

    def _standing(self, checked: CheckedBatch, withheld: npt.NDArray[np.int8]) -> pa.RecordBatch:
        retracted = np.flatnonzero(withheld == RETRACTED)
        if not len(retracted):
            return NONE_STANDING
        rows = checked.rows.take(pa.array(retracted))
        stands_for = self.withheld.stands_for(checked.contents[retracted], rows["source"])
        placed = pc.equal(rows["review_id"], place_ids(rows["source"], rows["row"])).to_numpy(zero_copy_only=False)
        found = pa.RecordBatch.from_arrays([rows["source"], rows["row"], pa.array(stands_for)], schema=STANDING_SCHEMA)
        return found.filter(pa.array(placed & (stands_for != 0)))

    def _check(self, raw: RawBatch, bad: list[BadRow]) -> RawBatch:
        """Rejects rows without text or ID, or with an invalid split or label; fills in splits, maps labels.

        Withheld rows stay whatever their label: their labels need not be known to the lake, which does not have them.
        """
        faults = _text_faults(raw.text)
        if self.target_column == STARS and raw.stars is not None:
            raw = replace(raw, target=raw.stars.cast(pa.string()).cast(pa.binary()))
        for name in ("review_id", "label", "target", "split", "group"):
            for i, fault in _value_faults(name.removeprefix("review_"), getattr(raw, name)):
                faults.setdefault(i, fault)
        places, which = _places(raw)
        judged = [self._judge(*place) for place in places]
        misplaced: dict[int, Fault] = {}
        for number, (_, wrong) in enumerate(judged):
            if wrong is not None:
                misplaced |= dict.fromkeys(np.flatnonzero(which == number).tolist(), wrong)
        others: dict[int, Fault] = {}
        for i, detail in _not_numbers(raw.target):
            others[i] = ("invalid_target", detail, "")
        for i in np.flatnonzero(_lengths(raw.review_id) == 0).tolist():
            others.setdefault(i, ("missing_id", "the id is empty", ""))
        labels, splits = (_encoded([place[at] for place, _ in judged]).take(pa.array(which)) for at in (0, 1))
        raw = replace(raw, label=None if raw.label is None else labels, split=splits)
        if self.withheld and (sound := sorted(misplaced.keys() - faults.keys() - others.keys())):
            for i in self._withheld_among(raw, sound):
                del misplaced[i]
        faults = {**others, **misplaced, **faults}
        return _without(raw, faults, bad, self.withheld) if faults else raw

    def _withheld_among(self, raw: RawBatch, places: list[int]) -> list[int]:
        """Which of the rows at some places are withheld."""
        mask = np.zeros(len(raw.row), np.bool_)
        mask[places] = True
        rows = without(raw, pa.array(mask))
        contents = first_bits(_digests(rows, _numbers(rows.target)))
        states = self.withheld.states(keys_of(rows.review_id), contents, rows.source)
        return [place for place, state in zip(places, states.tolist(), strict=True) if state != FREE]

    def _judge(self, label: str | None, split: str | None, has_target: bool) -> tuple[Place, Fault | None]:
        """Label and split of a review whose source has both, as they come in, and what is wrong with them."""
        label, split = value_of(label, self.rule), value_of(split, self.rule)
        if split is None:
            split = self.split or ("train" if label is not None or has_target else "unsup")
        if split not in SPLITS:
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
        return (label, split), None


@contextmanager
def _in_the_middle_of(item: TextFiles | TableRows | RawBatch | CheckedBatch) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError(out_of_memory(f"in the middle of {_place(item)}")) from error


def _place(item: TextFiles | TableRows | RawBatch | CheckedBatch) -> str:
    if isinstance(item, TextFiles):
        return item.name
    if isinstance(item, TableRows):
        return item.source
    return str((item.source if isinstance(item, RawBatch) else item.rows["source"])[0])


def _places(raw: RawBatch) -> tuple[list[tuple[str | None, str | None, bool]], npt.NDArray[np.int64]]:
    """The distinct labels and splits that go together, with or without a target; the (N,) place in them of each row's."""
    nothing = pa.nulls(len(raw.row), pa.binary())
    encoded = [
        (nothing if column is None else column).dictionary_encode(null_encoding="encode")
        for column in (raw.label, raw.split)
    ]
    labels, splits = ([as_text(value) for value in column.dictionary.to_pylist()] for column in encoded)
    label, split = (column.indices.to_numpy().astype(np.int64) for column in encoded)
    both = label * max(len(splits), 1) + split
    if raw.target is None:
        codes, which = np.unique(both, return_inverse=True)
        return [(labels[code // len(splits)], splits[code % len(splits)], False) for code in codes.tolist()], which
    codes, which = np.unique(2 * both + raw.target.is_valid().to_numpy(zero_copy_only=False), return_inverse=True)
    found = [(code // 2, bool(code % 2)) for code in codes.tolist()]
    return [(labels[code // len(splits)], splits[code % len(splits)], has) for code, has in found], which


def _digests(raw: RawBatch, targets: pa.DoubleArray | None) -> Digests:
    """(N,) of the contents."""
    return content_digests(raw.text, raw.label, raw.stars, raw.split, raw.group, targets)


def _rows(raw: RawBatch, targets: pa.DoubleArray | None, digests: Digests) -> pa.RecordBatch:
    """The columns beside the text; all of them are UTF-8 by now."""
    nothing = pa.nulls(len(raw.row), pa.binary())
    return pa.RecordBatch.from_arrays(
        [
            raw.review_id.view(pa.string()),
            (nothing if raw.label is None else raw.label).view(pa.string()),
            pa.nulls(len(raw.row), pa.int32()) if raw.stars is None else raw.stars,
            (nothing if raw.split is None else raw.split).view(pa.string()),
            (nothing if raw.group is None else raw.group).view(pa.string()),
            raw.source,
            raw.row,
            hexadecimal(digests),
            pa.nulls(len(raw.row), pa.float64()) if targets is None else targets,
        ],
        schema=ROW_SCHEMA,
    )


def _without(raw: RawBatch, faults: Mapping[int, Fault], bad: list[BadRow], withheld: Withheld) -> RawBatch:
    """The batch without faulty rows, which are added to `bad`, those of erased reviews without a word of theirs."""
    places = sorted(faults)
    there = pa.array(places, pa.int64())
    ids, sources, rows, texts = (column.take(there).to_pylist() for column in (raw.review_id, raw.source, raw.row, raw.text))
    labels, groups = (
        [None] * len(places) if column is None else column.take(there).to_pylist() for column in (raw.label, raw.group)
    )
    erased = withheld.blanks([as_text(review_id) for review_id in ids]).tolist()
    for i, source, row, review_id, text, label, group, is_erased in zip(
        places, sources, rows, ids, texts, labels, groups, erased, strict=True
    ):
        reason, detail, value = faults[i]
        if text is None:
            detail += _named(source, row, as_text(review_id), as_text(label), as_text(group))
        excerpt = (text or b"")[:EXCERPT_BYTES]
        found = BadRow(source=source, row=row, reason=reason, detail=detail, excerpt=excerpt, value=value)
        bad.append(blank(found) if is_erased else found)
    keep = np.ones(len(raw.row), np.bool_)
    keep[places] = False
    return without(raw, pa.array(keep))


def _named(source: str, row: int, review_id: str | None, label: str | None, group: str | None) -> str:
    """What there is of a row without text, so that a person finds it. An ID is quoted whole: `erase` looks for it so."""
    if review_id == placed_id(source, row):
        review_id = None
    values = {"id": review_id, "label": (label or "")[:VALUE_CHARACTERS], "group": (group or "")[:VALUE_CHARACTERS]}
    found = ", ".join(f"{name} {value!r}" for name, value in values.items() if value)
    return f"; {found}" if found else ""


def _text_faults(texts: pa.BinaryArray) -> dict[int, Fault]:
    """Rows whose text is not a valid review: row in the batch → reason and detail."""
    faults: dict[int, Fault] = {}
    for i in _nulls(texts):
        faults[i] = ("missing_text", "the text is null", "")
    for i, text in _ill(texts):
        if b"\0" in text:
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


def _value_faults(name: str, column: pa.BinaryArray | None) -> Iterator[tuple[int, Fault]]:
    """Rows whose label, split, group or ID is not UTF-8 or has a NUL."""
    for i, raw in () if column is None else _ill(column):
        value = raw.decode("utf-8", "surrogateescape")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            detail = f"{value!r} contains a lone surrogate or a byte that is not UTF-8 at offset {error.start}"
            yield i, ("invalid_utf8", f"the {name} {detail}", likely_encoding(raw))
        else:
            yield i, ("nul_byte", f"the {name} contains a NUL byte", "")


def _ill(column: pa.BinaryArray) -> Iterator[tuple[int, bytes]]:
    """Positions of values that are not UTF-8 or have a NUL, and the values."""
    places = np.flatnonzero(text_states(column) & (NOT_UTF8 | HAS_NUL))
    for i in places.tolist():
        value = column[i].as_py()
        if value is not None:  # bytes may stand where a value is null
            yield i, value


def _nulls(column: pa.BinaryArray) -> list[int]:
    """Their positions."""
    return np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist() if column.null_count else []


def _lengths(column: pa.BinaryArray) -> npt.NDArray[np.int32]:
    """(N,) bytes of each value, none of a null."""
    return np.asarray(pc.binary_length(column).fill_null(0), np.int32)


def _encoded(values: Sequence[str | None]) -> pa.BinaryArray:
    return pa.array([None if value is None else as_bytes(value) for value in values], pa.binary())


def _numbers(targets: pa.BinaryArray | None) -> pa.DoubleArray | None:
    """The targets as numbers, all of which were checked."""
    if targets is None:
        return None
    encoded = targets.dictionary_encode()
    return pa.array([float(target) for target in encoded.dictionary.to_pylist()], pa.float64()).take(encoded.indices)


def _not_numbers(targets: pa.BinaryArray | None) -> Iterator[tuple[int, str]]:
    """Positions of targets that are not finite numbers, and what is wrong with them."""
    if targets is None:
        return
    encoded = targets.dictionary_encode()
    for code, target in enumerate(map(as_text, encoded.dictionary.to_pylist())):
        if target is not None and not _is_number(target):
            for i in pc.indices_nonzero(pc.equal(encoded.indices, code)).to_pylist():
                yield i, f"target {target[:40]!r} is not a finite number"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _reject_empty(batch: TokenizedBatch, texts: pa.StringArray, bad: list[BadRow]) -> TokenizedBatch:
    assert not isinstance(batch.tokens, TokensElsewhere)
    empty = np.diff(batch.tokens.offsets.to_numpy()) == 0
    if not empty.any():
        return batch
    for i in np.flatnonzero(empty).tolist():
        row = batch.rows.slice(i, 1).to_pylist()[0]
        detail = "the text has no tokens"
        detail += _named(row["source"], row["row"], row["review_id"], row["label"], row["group"])
        excerpt = texts[i].as_py().encode()[:EXCERPT_BYTES]
        bad.append(BadRow(source=row["source"], row=row["row"], reason="empty_text", detail=detail, excerpt=excerpt))
    return batch.take(~empty)
