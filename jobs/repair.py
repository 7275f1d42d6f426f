"""`pipeline repair`: makes a damaged lake whole again, from the raw reviews and the models' own vocabularies.

The order: the log, for everything else is known through it; then the vocabulary, which ids belong to; then the shards, whose
reviews are read again from the sources that earlier runs named; then LATEST and the run records. What cannot be used any
more is set aside in `.damaged/`, which `pipeline vacuum` empties.
"""

import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs import ingest
from jobs.runtime import Run, recorded_run
from pipeline.config.ingest import IngestConfig
from pipeline.config.repair import RepairConfig
from pipeline.errors import DataError, InputNotFoundError, PipelineError
from pipeline.lake import log as delta_log
from pipeline.lake import table as token_table
from pipeline.lake.atomic import make_folder, sync_folder, writing
from pipeline.lake.decisions import decision_of
from pipeline.lake.health import DAMAGE, damaged_shards, table_vocabulary
from pipeline.lake.leftovers import find_leftovers
from pipeline.lake.live import REPAIRED, history, make_live
from pipeline.lake.locks import locked
from pipeline.lake.log import LOG
from pipeline.lake.paths import Lake
from pipeline.lake.publish import ensure_vocabulary
from pipeline.lake.recover import complete_records
from pipeline.lake.runs import read_record, read_records, record_paths
from pipeline.lake.store import is_object_uri
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.models.bundle import VOCABULARY, find_bundle, model_ids, read_bundle, verify_bundle
from pipeline.options.render import restored
from pipeline.text.vocabulary import Vocabulary
from schemas.run import Receipt

log = logging.getLogger(__name__)

VOCABULARY_OPTIONS = ("tokenizer", "max_vocab", "min_count")
HOW = {
    *VOCABULARY_OPTIONS,
    "rebuild_vocab",
    "workers",
    "dry_run",
    "lake",
    "prune",
    "settle",
    "strict",
    "sources",
    "replacing",
}
HOW |= {"accept_loss", "max_bad", "max_bad_rows", "max_bad_files"}
"""Options of an earlier ingest that say how it worked, not what it read."""
DEFAULTS = {entry.name: entry.default for entry in dataclasses.fields(IngestConfig)}
"""Options that have them need not be told apart: an earlier release may not have known them."""


@dataclass
class Findings:
    """What was repaired. `lost_vocabulary`: the table's vocabulary is lost. `again`: committed reviews have to be read
    again although no shard is damaged."""

    torn_entries: list[int] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)
    vocabularies: list[str] = field(default_factory=list)
    latest: str = ""
    lost_vocabulary: bool = False
    again: bool = False
    lost_rows: int = 0
    """Reviews added by lost commits, according to the run records."""

    def anything(self) -> bool:
        """Whether something was repaired."""
        return any(bool(getattr(self, entry.name)) for entry in dataclasses.fields(self))


def run(config: RepairConfig) -> Receipt:
    """Repairs the lake; exits with 99 if nothing is damaged.

    Raises:
        InputNotFoundError: the lake or a source does not exist.
        DataError: the sources no longer contain every review of the damaged shards.
        LockedError: an ingest is running.
    """
    lake = Lake(config.lake)
    lake.check_there()
    with recorded_run("repair", lake, config) as this:
        found = Findings()
        lake.fetch(lake.tokens)
        with locked(lake.locks / "ingest.lock", f"the token table of {lake.root}"):
            _repair_records(lake, found)
            _repair_log(lake, found)
            if found.anything():
                lake.push("repair")  # an entry that was set aside must be gone before another takes its version
            if token_table.exists(lake.tokens):
                found.records = complete_records(lake)
                _find_damage(lake, found)
        if found.shards or found.lost_vocabulary or found.again:
            _read_again(config, lake, this, found)
        _repair_latest(lake, found)
        this.nothing_new = not found.anything()
        this.metrics |= {
            "torn_entries": len(found.torn_entries),
            "shards": len(found.shards),
            "vocabularies": found.vocabularies,
            "records": found.records,
            "set_aside": found.set_aside,
            "leftover_bytes": sum(leftover.bytes for leftover in find_leftovers(lake)),
        }
    _name_bundles(lake)
    return this.receipt()


def _repair_records(lake: Lake, found: Findings) -> None:
    for path in record_paths(lake):
        try:
            read_record(path)
        except DataError as error:
            log.warning("%s", error)
            _set_aside(lake, path, found)


def _repair_log(lake: Lake, found: Findings) -> None:
    """Removes torn entries; sets the newest one aside when it is damaged, and the whole log when that is not enough."""
    found.torn_entries = delta_log.remove_torn(lake.tokens)
    token_table.sweep_staging(lake.tokens)
    if not delta_log.versions(lake.tokens):
        return
    for entry in (delta_log.entry_name(delta_log.versions(lake.tokens)[-1]), ""):
        try:
            token_table.list_shards(lake.tokens)
            return
        except DataError as error:
            log.warning("%s", error)
            found.again = True
            found.lost_rows = _rows_since(lake, delta_log.versions(lake.tokens)[-1] if entry else 0)
            _set_aside(lake, lake.tokens / LOG / entry if entry else lake.tokens / LOG, found)
        except InputNotFoundError:  # the entry that was set aside was the only one
            return


def _find_damage(lake: Lake, found: Findings) -> None:
    _, listed = token_table.list_shards(lake.tokens)
    for damage in damaged_shards(lake.tokens, listed, whole=True):
        log.warning("%s", damage.error)
        found.shards.append(damage.path.name)
    needed = table_vocabulary(lake)
    for path in sorted({*lake.vocabulary.glob("[!.]*.parquet"), *([_vocabulary_path(lake, needed)] if needed else [])}):
        try:
            read_vocabulary(path, path.stem)
        except DAMAGE as error:
            log.warning("%s", error)
            if path.exists():
                _set_aside(lake, path, found)
            if (copy := _from_a_bundle(lake, path.stem)) is not None:
                ensure_vocabulary(lake, copy)
                found.vocabularies.append(path.stem)
            elif path.stem == needed:
                found.lost_vocabulary = True


def _vocabulary_path(lake: Lake, fingerprint: str) -> Path:
    return lake.vocabulary / f"{fingerprint}.parquet"


def _from_a_bundle(lake: Lake, fingerprint: str) -> Vocabulary | None:
    for name in model_ids(lake):
        with suppress(*DAMAGE):
            return read_vocabulary(lake.models / name / VOCABULARY, fingerprint)
    return None


def _read_again(config: RepairConfig, lake: Lake, this: Run, found: Findings) -> None:
    """Reads the reviews of damaged shards again; makes the vocabulary again when it is nowhere. One commit, but where
    earlier runs read their sources with different options: then one for each, and damaged shards go with the last."""
    groups = list(earlier_ingests(lake, config.sources))
    if not groups:
        raise InputNotFoundError(
            f"no source exists to read {lake.root}'s reviews again. Pass their location: pipeline repair SOURCE…"
        )
    if found.lost_vocabulary and len(groups) > 1:
        raise DataError(
            f"the vocabulary is lost, and the reviews were ingested with {len(groups)} different sets of options, which a "
            f"single rebuild cannot reproduce. Move {lake.tokens} out of the lake and ingest each source again."
        )
    for number, options in enumerate(groups, 1):
        last = number == len(groups)
        receipt = ingest.run(
            IngestConfig(
                **options,
                lake=lake.root,
                workers=config.workers,
                replacing=tuple(found.shards),
                accept_loss=config.accept_loss or not last,
                rebuild_vocab=found.lost_vocabulary,
            )
        )
        this.outputs |= receipt.outputs
        this.written += receipt.written
    if found.lost_vocabulary:
        found.vocabularies.append(table_vocabulary(lake))
    if this.written < found.lost_rows and not config.accept_loss:
        raise DataError(
            f"the damaged log entries had added {found.lost_rows:,} reviews; {this.written:,} were read again from the "
            "sources. The table is intact without the rest. Ingest the missing sources."
        )


def _rows_since(lake: Lake, version: int) -> int:
    """Reviews that the commits from `version` on added to the table, those that replaced others left out."""
    rows = 0
    for record in read_records(lake):
        receipt = record["receipt"]
        committed = receipt.get("outputs", {}).get("table_version", -1)
        metrics = receipt.get("metrics", {})
        if record["outcome"] != "done" or committed < version:
            continue
        if record["command"] == "ingest":
            rows += max(0, receipt["written"] - metrics.get("replaced", 0))
        elif record["command"] in ("retract", "erase"):
            rows -= metrics.get("removed", 0) - metrics.get("restored", 0)
    return max(0, rows)


def earlier_ingests(lake: Lake, given_sources: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The options of earlier runs of ingest, once for each way of reading, with all the sources that were read so.

    Args:
        given_sources: where the reviews are now, in place of what the records say.
    """
    vocabulary: dict[str, Any] = {}
    groups: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for record in read_records(lake):
        if record["command"] != "ingest" or record["outcome"] not in ("done", "nothing-new"):
            continue
        given = restored(IngestConfig, record["config"])
        if record["outcome"] == "done" and (given.get("rebuild_vocab") or not vocabulary):
            vocabulary = {name: given.get(name) for name in VOCABULARY_OPTIONS}
        options = {name: value for name, value in given.items() if name not in HOW and value != DEFAULTS.get(name)}
        key = json.dumps(options, sort_keys=True, default=str)
        sources = given.get("sources") or [str(lake.raw)]
        groups.setdefault(key, (options, []))[1].extend(str(source) for source in sources)
    if not groups:
        groups[""] = ({}, [])
    if given_sources:
        options, _ = list(groups.values())[-1]
        groups = {"": (options, list(given_sources))}
    for options, sources in groups.values():
        sources = [_local(lake, source) for source in sources]
        lake.fetch(*(Path(source) for source in sources))
        present = [source for source in dict.fromkeys(sources) if _is_there(source)]
        for source in dict.fromkeys(sources):
            if source not in present:
                log.warning("%s, which an earlier run read, no longer exists", source)
        if present or not sources:
            yield {**vocabulary, **options, "sources": tuple(present)}


def _local(lake: Lake, source: str) -> str:
    """The path of a source; a URI stays one unless it is in the lake."""
    path = lake.local(source)
    return source if is_object_uri(source) and not path.is_absolute() else str(path)


def _is_there(source: str) -> bool:
    if not is_object_uri(source):
        return Path(source).exists()
    from pipeline.readers.mirror import is_anything_at

    return is_anything_at(source)


def _repair_latest(lake: Lake, found: Findings) -> None:
    """Points LATEST to the newest intact bundle if it does not name one. Models that were not promoted come last."""
    if not lake.latest.exists() and not lake.latest.is_symlink() and not model_ids(lake):
        return
    try:
        find_bundle(lake)
        return
    except DAMAGE as error:
        log.warning("%s", error)
    whole = sorted(_whole_bundles(lake))
    if whole:
        *_, found.latest = whole[-1]
        if lake.latest.is_dir():
            _set_aside(lake, lake.latest, found)
        make_live(lake, found.latest, REPAIRED)
        log.info("LATEST is now %s", found.latest)
    elif lake.latest.exists():
        _set_aside(lake, lake.latest, found)


def _whole_bundles(lake: Lake) -> Iterator[tuple[bool, str, str]]:
    """Of each intact bundle, whether it may be live, when it was made, and its ID."""
    went_live = {entry.model_id for entry in history(lake)}
    for name in model_ids(lake):
        with suppress(*DAMAGE):
            bundle = read_bundle(lake.models / name)
            verify_bundle(bundle)
            decision = decision_of(lake, name)
            yield decision is None or decision.promoted or name in went_live, bundle.created, name


def _name_bundles(lake: Lake) -> None:
    """Says which bundles are damaged: nothing here can make a model again."""
    for name in model_ids(lake):
        try:
            verify_bundle(read_bundle(lake.models / name))
        except PipelineError as error:
            log.warning("%s", error)


def _set_aside(lake: Lake, path: Path, found: Findings) -> None:
    folder = make_folder(lake.damaged / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    target = folder / path.name
    count = 0
    while target.exists():
        count += 1
        target = folder / f"{path.name}.{count}"
    with writing(path):
        path.rename(target)
        sync_folder(path.parent)
    found.set_aside.append(str(target))
