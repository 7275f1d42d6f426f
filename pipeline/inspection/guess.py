"""Guesses the role of each column from names and values. Options given by the user take precedence."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.config.ingest import DEFAULT_LABEL_COLUMN, LAST
from pipeline.inspection.columns import BOOLEAN, EMPTY, INTEGER, NUMBER, TEXT, TIME, Column
from pipeline.inspection.names import NO_LABELS, SENTIMENTS, SPLIT_NAMES, is_group, is_id, label_rank, plain, words
from pipeline.inspection.scales import Scale, are_few, stars_scale, stray_values
from pipeline.readers.labels import LabelMap, SkippedLabels
from schemas.review import SPLITS

MAX_CLASSES = 20
MAX_NAMED_CLASSES = 100
"""A column named `label` or similar may have more classes than others."""
MIN_GROUPS = 20
"""With fewer groups, a validation split of whole groups is too random."""
MAX_LABEL_LENGTH = 40
MOST_LISTED = 5
"""As many names and values are listed in a note; the rest is counted."""
NEARLY_UNIQUE = 0.99
"""A column with an ID's name and this share of distinct values is proposed as the ID, but not used unasked."""
CODES_SHARE = 0.9
"""A column with a larger share of machine-readable values contains addresses, hashes or JSON, not reviews."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Columns named by the user, which are not guessed."""

    text: tuple[str, ...] = ()
    label: str | None = None
    label_map: str | None = None
    skip_labels: str | None = None
    target: str | None = None
    id: str | None = None
    group: str | None = None
    split: str | None = None


@dataclass(kw_only=True)
class Guess:
    """Columns by role, and notes about those not found.

    Args:
        label_map: as for `--label-map`.
        skip_labels: as for `--skip-labels`.
        target: the column with numbers to predict, which is never guessed.
        id_conflict: as for `--id-conflict`; None if the default will do.
        label_optional: the label has its default name, and some files lack it: their reviews are unlabelled.
        notes: sentences for the user.
    """

    text: tuple[str, ...] = ()
    label: str | None = None
    label_map: str | None = None
    skip_labels: str | None = None
    target: str | None = None
    id: str | None = None
    id_conflict: str | None = None
    group: str | None = None
    split: str | None = None
    label_optional: bool = False
    notes: list[str] = field(default_factory=list)

    def role_of(self, name: str) -> str | None:
        """The role of a column."""
        if name in self.text:
            return "text"
        return next((role for role in ("label", "target", "id", "group", "split") if getattr(self, role) == name), None)


def guess(columns: Sequence[Column], files: Sequence[Mapping[str, Column]], given: Given) -> Guess:
    """The role of every column.

    Args:
        columns: over all files.
        files: the columns of each file, by name.
    """
    found = Guess(text=given.text, label=given.label, target=given.target, id=given.id, group=given.group, split=given.split)
    common = [column for column in columns if column.files * 2 >= len(files)] or list(columns)
    if not found.text:
        _guess_text(found, common)
    rest = [column for column in common if column.name not in found.text and column.present]
    if found.split is None:
        _guess_split(found, rest)
    if found.group is None:
        _guess_group(found, [column for column in rest if found.role_of(column.name) is None])
    if found.id is None:
        _guess_id(found, [column for column in rest if found.role_of(column.name) is None], files)
    else:
        _settle_conflicts(found, columns, files)
    if found.label is None and (given.target is None or given.label_map or given.skip_labels):
        _guess_label(found, [column for column in rest if found.role_of(column.name) is None])
    found.label_optional = found.label == DEFAULT_LABEL_COLUMN and any(found.label not in file for file in files)
    label = next((column for column in columns if column.name == found.label), None)
    _map_labels(found, label, given)
    return found


def _map_labels(found: Guess, label: Column | None, given: Given) -> None:
    """The classes of a column of stars, without those in the middle, and a note about values that have none."""
    found.label_map, found.skip_labels = given.label_map, given.skip_labels
    if given.target is not None and not given.label_map:
        return  # a review without a class may have a number
    scale = _stars(label) if label is not None and not given.label_map else None
    if scale is not None:
        found.label_map = scale.label_map
        if found.skip_labels is None:
            found.skip_labels = scale.skip_labels
    if label is not None and not found.label_map:
        _note_many_strays(found, label)
    if label is None or not found.label_map:
        return
    label_map, skipped = LabelMap.parse(found.label_map), SkippedLabels.parse(found.skip_labels or "")
    counts = (label.counts or {}).items()
    left = [(value, count) for value, count in counts if label_map(value) is None and value not in skipped]
    if left:
        found.notes.append(
            f"{label.name!r} has values without a class; these rows are rejected: {_counted(left)}. To use them, add them "
            f"to --label-map; to leave them out on purpose, set {_skipping(found, left)}."
        )


def _note_many_strays(found: Guess, label: Column) -> None:
    """A note about a column of stars that has too many other values to derive classes."""
    counts: Mapping[str, int] = label.counts or {}
    strays = stray_values(counts)
    scale = stars_scale(label.name, [value for value in counts if value not in strays])
    if strays and scale is not None:
        found.notes.append(
            f"{label.name!r} has stars, but also {_counted(list(strays.items()))}, so no classes are derived: each value is "
            f"a class of its own. To derive them, set --label-map '{scale.label_map}'."
        )


def _counted(values: Sequence[tuple[str, int]]) -> str:
    """Values with their numbers of rows."""
    listed = ", ".join(f"{value!r} ({count:,})" for value, count in values[:MOST_LISTED])
    return listed + (f" and {len(values) - MOST_LISTED:,} more" if len(values) > MOST_LISTED else "")


def _skipping(found: Guess, left: Sequence[tuple[str, int]]) -> str:
    """The option that leaves these values out besides those that are left out anyway."""
    values = [value for value, _ in left]
    if len(values) > MOST_LISTED or any("," in value or ".." in value for value in values):
        return "--skip-labels"
    return f"--skip-labels {shlex.quote(','.join([*filter(None, [found.skip_labels]), *values]))}"


def _stars(column: Column) -> Scale | None:
    """The scale of a column of stars, of which a few rows may have other values."""
    counts: Mapping[str, int] = column.counts or {}
    strays = stray_values(counts)
    if not are_few(strays, counts):
        return None
    return stars_scale(column.name, [value for value in column.values if value not in strays])


def _guess_text(found: Guess, columns: Iterable[Column]) -> None:
    texts = [column for column in columns if column.kind == TEXT and column.codes < CODES_SHARE * column.present]
    if texts:
        found.text = (max(texts, key=lambda column: column.mean_length).name,)
    else:
        found.notes.append("No column contains text. Set the column with --text-column.")


def _guess_split(found: Guess, columns: Iterable[Column]) -> None:
    for column in columns:
        if plain(column.name) not in SPLIT_NAMES or not column.values:
            continue
        others = [value for value in column.values if value not in SPLITS]
        if not others:
            found.split = column.name
            return
        if set(column.values) & set(SPLITS):
            found.notes.append(
                f"{column.name!r} looks like a split, but has {_listed(others)}; a split is one of {', '.join(SPLITS)}. "
                f"Rewrite it to use it with --split-column {shlex.quote(column.name)}."
            )


def _guess_group(found: Guess, columns: Iterable[Column]) -> None:
    groups = [column for column in columns if is_group(column.name) and MIN_GROUPS <= len(column.distinct) < column.present]
    if groups:
        found.group = groups[0].name
    else:
        found.notes.append(
            "No column for groups: validation splits by review. If several reviews are about the same thing, set its "
            "column with --group-column."
        )


def _guess_id(found: Guess, columns: Iterable[Column], files: Sequence[Mapping[str, Column]]) -> None:
    is_said, named = False, [column for column in columns if is_id(column.name)]
    for column in sorted(named, key=lambda column: "review" not in words(column.name)):
        if column.is_unique:
            found.id = column.name
            return
        option = f"--id-column {shlex.quote(column.name)}"
        empty, repeated = column.rows - column.present, column.present - len(column.distinct)
        faults = f"of {column.rows:,} rows, {empty:,} without a value, {repeated:,} with that of another"
        if all(file[column.name].is_unique for file in files if column.name in file):
            is_said = True
            found.notes.append(
                f"{column.name!r} is not an ID: its values repeat across files. If later files correct reviews of earlier "
                f"ones, ingest with {option} --id-conflict {LAST}; 'pipeline init {option}' writes both."
            )
        elif len(column.distinct) >= NEARLY_UNIQUE * column.rows:
            found.notes.append(
                f"{column.name!r} is nearly an ID: {faults}. To use it all the same, set {option}: rows without an ID, or "
                "with that of another review, are rejected."
            )
            return
        else:
            found.notes.append(f"{column.name!r} is not an ID: {faults}.")
    if not is_said:
        found.notes.append(
            "No column for IDs: reviews are identified by file and row. If a column identifies reviews, set it with "
            "--id-column."
        )


def _settle_conflicts(found: Guess, columns: Sequence[Column], files: Sequence[Mapping[str, Column]]) -> None:
    """Lets the last row with an ID count where the IDs of a column that was named repeat across files."""
    column = next((column for column in columns if column.name == found.id), None)
    if column is not None and len(column.distinct) < sum(
        len(file[column.name].distinct) for file in files if found.id in file
    ):
        found.id_conflict = LAST
        found.notes.append(
            f"IDs in {column.name!r} repeat across files: of several rows with one, the last counts (--id-conflict {LAST})."
        )


def _guess_label(found: Guess, columns: Sequence[Column]) -> None:
    ranked = sorted((rank, place) for place, column in enumerate(columns) if (rank := label_rank(column.name)) is not None)
    named = [columns[place] for _, place in ranked]
    for column in named:
        if _is_label(column, MAX_NAMED_CLASSES, once=True):
            found.label = column.name
            return
    for column in named:
        if column.kind in (INTEGER, NUMBER):
            found.notes.append(
                f"{column.name!r} has {len(column.distinct):,} values, too many for classes. To map ranges to classes, "
                f"use --label-column {shlex.quote(column.name)} --label-map 'neg=LOW..HIGH pos=LOW..HIGH'."
            )
    others = [column for column in columns if not NO_LABELS & set(words(column.name)) and _is_label(column, MAX_CLASSES)]
    telling = [column for column in others if _tells_sentiment(column)]
    if len(telling or others) == 1:
        found.label = (telling or others)[0].name
        return
    candidates = f" It may be one of {_listed([column.name for column in others])}." if others else ""
    found.notes.append(
        f"No column for labels: the reviews count as unlabelled.{candidates} Set the column with --label-column."
    )


def _is_label(column: Column, most: int, *, once: bool = False) -> bool:
    """Whether values can be classes: few and short, and each repeated, unless `once` is enough."""
    if column.kind in (EMPTY, TIME) or column.counts is None or column.mean_length > MAX_LABEL_LENGTH:
        return False
    if once:
        return len(column.counts) <= min(most, max(2, column.present // 2))
    return 2 <= len(column.counts) <= most and min(column.counts.values()) > 1


def _tells_sentiment(column: Column) -> bool:
    values = column.values
    return column.kind != BOOLEAN and (all(plain(value) in SENTIMENTS for value in values) or _stars(column) is not None)


def _listed(names: Sequence[str], most: int = MOST_LISTED) -> str:
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + rest
