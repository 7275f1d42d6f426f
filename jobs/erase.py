"""`pipeline erase`: takes reviews out of everything that the lake holds, and says what it could not reach.

The order makes a killed run repeatable: first the list that keeps the reviews from coming in again, then the table, then
what was made of it, and last the old shards, in which a repetition finds the reviews of a group.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.runtime import Run, commit_record, committing, recorded_run
from jobs.trained_on import pretrained_on, trained_on
from jobs.workplace import table_locked
from pipeline.config.erase import EraseConfig
from pipeline.errors import DataError, PipelineError
from pipeline.lake import log as delta_log
from pipeline.lake import table as token_table
from pipeline.lake.atomic import make_folder, writing
from pipeline.lake.brought import note_brought
from pipeline.lake.erasure import (
    delete_shards,
    erase_from_lists,
    erase_from_rejects,
    find_targets,
    has_groups,
    keys_to_erase,
    rows_of_files,
    shard_files,
    shards_with_moved,
    standing,
    unreadable,
)
from pipeline.lake.paths import Lake
from pipeline.lake.publish import change_of, publish, rewrite_shards
from pipeline.lake.review_keys import key_files, write_keys
from pipeline.lake.runs import read_records
from pipeline.lake.store import divided, is_object_uri, open_store
from pipeline.lake.table import TokenTable
from pipeline.lake.table_index import forget_removed
from pipeline.lake.targets import targets_of
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.lake.withheld import Withheld
from pipeline.models.bundle import model_ids
from pipeline.reports.erase import erase_from_bundle, erase_from_folds
from pipeline.scoring.erase import Sought, erase_from_predictions, prediction_files
from pipeline.scoring.notes import noted_outputs
from pipeline.signals import deferred_stop, raise_if_swallowed
from schemas.run import Receipt

log = logging.getLogger(__name__)

COUNTS = ("noted", "removed", "versions", "lists", "rejects", "crossval", "targets")
NAMED = 5
"""Number of rows of a file, or of names, that a message lists."""


@dataclass
class Erased:
    """What was found and taken out; in a dry run, what would be. Counts are rows."""

    noted: int = 0
    removed: int = 0
    versions: int = 0
    """Shards of older versions that were deleted."""
    lists: int = 0
    rejects: int = 0
    predictions: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    """Entries in the lists and on the pages of models, by model."""
    crossval: int = 0
    targets: int = 0
    """Files of soft targets that were deleted: a teacher's answers about shards that held the reviews."""
    inputs: list[str] = field(default_factory=list)
    """Inputs of predictions that the reviews were in."""

    def anything(self) -> bool:
        """Whether something was, or would be, changed."""
        return any(getattr(self, name) for name in COUNTS) or bool(self.predictions) or bool(self.models)


def run(config: EraseConfig) -> Receipt:
    """Erases reviews; ends with 99 when the lake holds nothing of them.

    Raises:
        InputNotFoundError: no lake, or no file of ids.
        DataError: the table or a prediction file is damaged; what comes before it in the order is done.
        LockedError: another run changes the table or writes predictions.
    """
    lake = Lake(config.lake)
    lake.check_there()
    given = config.ids()
    with recorded_run("erase", lake, config, record=not config.dry_run) as this:
        lake.fetch(lake.root)
        # The record must not hold what is to be forgotten.
        this.config |= {"review_id": len(given), "from_file": None, "group": len(config.group)}
        if config.dry_run:
            _Erasure(config, lake, this, given, None).run()
        else:
            with table_locked(lake, this.run_id, f"the token table of {lake.root}") as scratch:
                _Erasure(config, lake, this, given, scratch).run()
    return this.receipt()


class _Erasure:
    """One run: what it looks for, and what it has done. `scratch` is None in a dry run."""

    def __init__(self, config: EraseConfig, lake: Lake, this: Run, given: Sequence[str], scratch: Path | None) -> None:
        self.config, self.lake, self.this, self.scratch = config, lake, this, scratch
        self.done = Erased()
        self.has_table = token_table.exists(lake.tokens)
        files = shard_files(lake.tokens)
        live = {entry.name for entry in token_table.list_shards(lake.tokens)[1]} if self.has_table else set()
        self.unread = unreadable(path for path in files if path.name not in live)
        readable = [path for path in files if path not in self.unread]
        in_table = [path for path in files if path.name in live]
        withheld = Withheld.load(lake)
        self.held = find_targets(readable, in_table, given, config.group, withheld)
        self.standing = standing(self.held, in_table)
        self.without_groups = bool(config.group and readable and not self.held) and not has_groups(readable)
        self.ids = frozenset({*given, *(row.review_id for row in self.held)})
        self.commits = delta_log.commits(lake.tokens)
        known = {row.review_id for row in self.held}
        here = {(row.source, row.content_sha256) for row in self.standing}
        gone = {(row.source, row.content_sha256) for row in self.held} - here
        self.found = len({row.review_id for row in self.standing}) + len(gone)
        self.unknown = [name for name in given if name not in known]
        self.places = rows_of_files(self.unknown, readable, key_files(lake.rejects))
        noted = zip(self.unknown, withheld.has_erased(self.unknown), withheld.erases(self.unknown), strict=True)
        self.places |= {name for name, in_some_way, whatever_it_says in noted if in_some_way and not whatever_it_says}
        moved = shards_with_moved([path for path in readable if path.name not in live], self.standing)
        self.holding = holding = {row.shard for row in self.held} | moved
        self.trained = trained_on(lake, self.commits, holding, 0) if holding else None
        self.folds = trained_on(lake.crossval(), self.commits, holding, 0).models if holding else ()
        self.pretrained = pretrained_on(lake, self.commits, holding) if holding else {}

    def run(self) -> None:
        """Does it all."""
        self._note()
        if self.has_table:
            self._erase_from_table()
        self._erase_from_the_rest()
        if self.has_table:
            self._delete_old_shards()
        if self.scratch is not None:
            forget_removed(self.lake)
            if self.lake.origin is not None:
                self.lake.origin.sweep_store()
        self._say()
        self.this.nothing_new = not self.done.anything()

    def _note(self) -> None:
        keys = keys_to_erase(self.ids, self.held, self.places, Withheld.load(self.lake))
        self.done.noted = len(keys)
        if len(keys) and self.scratch is not None:
            write_keys(self.lake.erased / f"{self.this.run_id}.parquet", keys, self.this.run_id)

    def _erase_from_table(self) -> None:
        table = TokenTable.open(self.lake.tokens)
        names = {shard.path.name for shard in table.shards}
        gone = pa.array(sorted({row.review_id for row in self.held if row.shard in names}), pa.string())
        self.done.removed = len(gone)
        if not len(gone) or self.scratch is None:
            return
        fingerprint = table.vocabulary
        shards, removed = rewrite_shards(table, gone, make_folder(self.scratch / "shards"), fingerprint)
        vocabulary = read_vocabulary(self.lake.vocabulary / f"{fingerprint}.parquet", fingerprint)
        change = change_of(table, shards, removed)
        record = commit_record(self.this)
        raise_if_swallowed()
        with deferred_stop():  # the run is not done yet, so a signal still stops it afterwards
            version = publish(self.lake, table, vocabulary, change, self.this.run_id, record)
        self.this.outputs["table_version"] = version

    def _erase_from_the_rest(self) -> None:
        dry_run = self.scratch is None
        if self.has_table and not dry_run:
            note_brought(self.lake, self.holding)  # before they are deleted
        self.done.lists = erase_from_lists(self.lake, self.ids - self.places, self.held, dry_run=dry_run)
        self.done.rejects = erase_from_rejects(self.lake, self.ids, self.held, self.scratch)
        sought = self._sought()
        for path, format in prediction_files(self.lake.predictions):
            rows, source = erase_from_predictions(self.lake.predictions, path, format, sought, dry_run=dry_run)
            if rows:
                self.done.predictions[path.relative_to(self.lake.root).as_posix()] = rows
                self.done.inputs += [name for name in source.split(", ") if name and name not in self.done.inputs]
        for name in model_ids(self.lake):
            if entries := erase_from_bundle(self.lake.models / name, self.ids, sought, self.lake.models, dry_run=dry_run):
                self.done.models[name] = entries
        self._erase_targets()
        self.done.crossval = erase_from_folds(self.lake.crossval().folder, self.ids, dry_run=dry_run)

    def _erase_targets(self) -> None:
        """What teachers answered about shards that held the reviews, or that are not the table's, so that nobody knows."""
        files = targets_of(self.lake, self.holding) if self.held else []
        self.done.targets = len(files)
        if files and self.scratch is not None:
            with writing(self.lake.targets):
                for path in files:
                    path.unlink(missing_ok=True)

    def _sought(self) -> Sought:
        columns = {"review_id", *self.config.id_column}
        with suppress(DataError):
            columns |= {str(name) for record in read_records(self.lake) if (name := record["config"].get("id_column"))}
        vocabularies = {}
        for fingerprint in {row.vocabulary for row in self.held}:
            with suppress(PipelineError):
                vocabularies[fingerprint] = read_vocabulary(self.lake.vocabulary / f"{fingerprint}.parquet", fingerprint)
        return Sought.of(self.ids, columns, self.held, vocabularies)

    def _delete_old_shards(self) -> None:
        live = {entry.name for entry in token_table.list_shards(self.lake.tokens)[1]}
        old = self.holding - (live if self.scratch is not None else set())
        self.done.versions = len(old)
        if old and self.scratch is not None:
            with committing(self.this, self.lake):
                delete_shards(self.lake.tokens, old)

    def _say(self) -> None:
        """Puts into the receipt, and into words, what was done and what is out of reach."""
        done, trained = self.done, self.trained
        raw, raw_ids = self._raw()
        outside = list(self._outside())
        self.this.metrics = {
            "dry_run": self.config.dry_run,
            "reviews": self.found,
            "unknown": len(self.unknown),
            "places": len(self.places),
            "without_groups": self.without_groups,
            **{name: getattr(done, name) for name in COUNTS},
            "predictions": done.predictions,
            "pages": done.models,
            "raw": raw,
            "raw_ids": raw_ids,
            "inputs": [name for name in done.inputs if (self.lake.root / name).exists() and name not in {*raw, *raw_ids}],
            "outside": outside,
            "models": [
                *(trained.models if trained else ()),
                *(f"crossval/models/{name}" for name in self.folds),
                *self.pretrained,
            ],
            "live": trained.live if trained else "",
            "unread": [path.name for path in self.unread],
            "set_aside": self.lake.damaged.exists() and any(self.lake.damaged.iterdir()),
        }
        self.this.outputs |= {"tokens": self.lake.tokens}
        if self.without_groups:
            log.warning(
                "--group finds nothing: no review of this lake has a group, which ingest reads with --group-column. Name "
                "reviews with --review-id or --from"
            )
        unknown = len(self.unknown) - len(self.places)
        if unknown == 1:
            log.warning("1 of the IDs is not in the table; ingest will skip it if it comes")
        elif unknown:
            text = "%s of the IDs are not in the table; ingest will skip them if they come"
            log.warning(text, f"{unknown:,}")
        if len(self.places) == 1:
            log.warning("1 of the IDs is a row of a file, not of the table. Take it out: what stands there later comes in")
        elif self.places:
            text = "%s of the IDs are rows of files, not of the table. Take them out: what stands there later comes in"
            log.warning(text, f"{len(self.places):,}")
        for text in out_of_reach(self.this.metrics, by_group=bool(self.config.group)):
            log.warning("not erased: %s", text)

    def _raw(self) -> tuple[dict[str, list[int]], dict[str, int]]:
        """The files that the reviews came from, as far as they are still there: the rows of reviews whose id is their place,
        and the number of those with an id of their own, which may be in other rows by now. The record must not hold the ids.

        Where a file or a member of an archive is a review, its name is the review's id: its folder or archive stands for it.
        """
        places: dict[str, set[int]] = {}
        named: dict[str, set[str]] = {}
        there = {home for home in {row.home for row in self.standing} if self._is_there(home)}
        for row in self.standing:
            if row.home not in there:
                continue
            if row.source == row.review_id:
                places.setdefault(f"{row.home.rpartition('/')[0]}/" if row.home == row.review_id else row.home, set())
            elif row.is_placed:
                places.setdefault(row.home, set()).add(row.row)
            else:
                named.setdefault(row.home, set()).add(row.review_id)
        return (
            {home: sorted(rows) for home, rows in sorted(places.items())},
            {home: len(ids) for home, ids in sorted(named.items())},
        )

    def _is_there(self, home: str) -> bool:
        """Whether a file or an object is still there; one that cannot be asked for may be."""
        if is_object_uri(home):
            bucket, name = divided(home)
            try:
                return open_store(bucket).stat(name) is not None
            except PipelineError:
                return True
        return (Path(home.removeprefix("file://")) if home.startswith("file://") else self.lake.root / home).exists()

    def _outside(self) -> Iterator[str]:
        """Predictions of this lake elsewhere: paths of this machine, and URIs."""
        found = noted_outputs(self.lake.predictions)
        with suppress(DataError):
            for record in read_records(self.lake):
                place = record["receipt"].get("outputs", {}).get("predictions")
                found += [place] if record["command"] == "score" and isinstance(place, str) else []
        for place in sorted(set(found)):
            path = self.lake.local(place)
            if path.is_relative_to(self.lake.predictions):
                continue
            if (path.is_absolute() and path.is_file()) or (is_object_uri(place) and self._is_there(place)):
                yield place


def out_of_reach(metrics: dict[str, Any], *, by_group: bool) -> Iterator[str]:
    """What erasing left, in words. `by_group`: whether the user named a group, and may not know the ids."""
    for name, rows in metrics["raw"].items():
        if not rows:
            yield f"{name} still has it as a file of its own; take it out"
        elif len(rows) == 1:
            yield f"{name} still has row {rows[0]}, counted from 0; take it out"
        else:
            yield f"{name} still has rows {_some([str(row) for row in rows])}, counted from 0; take them out"
    for name, reviews in metrics["raw_ids"].items():
        its, their = ("ID or group", "IDs or groups") if by_group else ("ID", "IDs")
        if reviews == 1:
            yield f"{name} still has 1 review; take out the row with its {its}"
        else:
            yield f"{name} still has {reviews:,} reviews; take out the rows with their {their}"
    if metrics["inputs"]:
        yield f"inputs of predictions: {_some(metrics['inputs'])}"
    if metrics["outside"]:
        yield f"predictions outside the lake: {_some(metrics['outside'])}"
    if metrics["models"]:
        live = f" (live: {metrics['live']})" if metrics["live"] else ""
        yield f"models trained on it: {_some(metrics['models'])}{live}; train again, then delete their folders"
    if metrics["unread"] or metrics["set_aside"]:
        yield "damaged files, which may hold it: 'pipeline vacuum --keep-hours 0' deletes them"
    if metrics["removed"] or metrics["versions"]:
        yield "its words in the vocabulary, which counts them: 'pipeline ingest --rebuild-vocab'"
        yield "backups and copies of the lake"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
