"""`pipeline vacuum`: deletes what nothing needs any more: old shards, leftovers of dead runs, old models and run records."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.runtime import recorded_run
from pipeline.config.vacuum import VacuumConfig
from pipeline.errors import InputNotFoundError, PipelineError
from pipeline.lake import log as delta_log
from pipeline.lake import table as token_table
from pipeline.lake.brought import note_brought
from pipeline.lake.leftovers import Leftover, find_leftovers, remove_abandoned, set_aside, size_of
from pipeline.lake.live import before_live
from pipeline.lake.locks import locked
from pipeline.lake.paths import Lake
from pipeline.lake.runs import read_record, record_paths
from pipeline.lake.table_index import forget_removed
from pipeline.lake.targets import is_needed, remove_empty_folders, target_files
from pipeline.models.bundle import model_ids, read_bundle, readable_bundles
from pipeline.models.pretrained import all_pretrained
from schemas.prediction import KEY_MODEL
from schemas.run import Receipt


def run(config: VacuumConfig) -> Receipt:
    """Deletes shards that only versions older than `keep_hours` need, and leftovers of runs that were killed.

    Raises:
        InputNotFoundError: no lake, or nothing in it to clean.
        LockedError: an ingest is at work.
    """
    lake = Lake(config.lake)
    with recorded_run("vacuum", lake, config, record=not config.dry_run) as this:
        lake.fetch(lake.checkpoints, lake.crossval().folder, lake.damaged, *([lake.predictions] if config.models else []))
        has_table = token_table.exists(lake.tokens)
        if not has_table and not lake.models.is_dir() and not lake.checkpoints.is_dir():
            lake.check_there()
            raise InputNotFoundError(f"no token table in {lake.tokens}. Create one with 'pipeline ingest'.")
        names: list[str] = []
        with locked(lake.locks / "ingest.lock", f"the token table of {lake.root}"):
            if has_table:
                names = token_table.vacuum(lake.tokens, keep_hours=config.keep_hours, dry_run=True)
                if names and not config.dry_run:
                    note_brought(lake, [unquote(name) for name in names])  # 'pipeline retract' needs to know
                    names = token_table.vacuum(lake.tokens, keep_hours=config.keep_hours, dry_run=False)
            if not config.dry_run:
                forget_removed(lake)
                lake.push("vacuum")  # while the lock keeps out whoever might use an old shard again
        gone = [*_leftovers(config, lake), *_targets(config, lake)]
        if config.models:
            gone += [*_models(config, lake), *_crossvals(config, lake), *_pretrained(config, lake)]
        if config.runs:
            gone += _records(config, lake)
        if not config.dry_run:
            gone = [leftover for leftover in gone if remove_abandoned(leftover)]
            remove_empty_folders(lake)
        if lake.origin is not None and not config.dry_run:
            lake.origin.sweep_store()
        names += [leftover.path.relative_to(lake.root).as_posix() for leftover in gone]
        this.nothing_new = not names
        this.outputs = {"tokens": lake.tokens}
        this.metrics = {
            "deleted": 0 if config.dry_run else len(names),
            "files": sorted(names),
            "leftover_bytes": sum(leftover.bytes for leftover in gone),
        }
    return this.receipt()


def _leftovers(config: VacuumConfig, lake: Lake) -> Iterator[Leftover]:
    """What dead runs left; unfinished trainings and files set aside only after `keep_hours`."""
    for leftover in [*find_leftovers(lake), *set_aside(lake)]:
        kept = leftover.resumable or leftover.path.parent == lake.damaged
        if not kept or _age_hours(leftover.path) >= config.keep_hours:
            yield leftover


def _targets(config: VacuumConfig, lake: Lake) -> Iterator[Leftover]:
    """Soft targets of models that are gone, and for shards that no version has; young ones may be of a model or of shards
    elsewhere, whose training goes on."""
    files = target_files(lake)
    teachers = (
        {bundle.content_key for place in (lake, lake.crossval()) for bundle in readable_bundles(place)} if files else set()
    )
    for path in files:
        if not is_needed(path, lake, teachers) and _age_hours(path) >= config.keep_hours:
            yield Leftover(path, size_of(path))


def _models(config: VacuumConfig, lake: Lake) -> Iterator[Leftover]:
    """All bundles but the newest `keep`, the live one, the one before it, and those that a prediction file names."""
    needed = set(_referenced(lake))
    with suppress(PipelineError):
        needed.add(lake.latest_model())
    if before := before_live(lake, frozenset(model_ids(lake))):
        needed.add(before)
    created = {}
    for name in model_ids(lake):
        with suppress(PipelineError):  # a damaged bundle is somebody's to look at
            created[name] = read_bundle(lake.models / name).created
    newest = sorted(created, key=lambda name: (created[name], name), reverse=True)
    for name in newest[config.keep :]:
        if name not in needed:
            folder = lake.models / name
            yield Leftover(folder, size_of(folder))


def _crossvals(config: VacuumConfig, lake: Lake) -> Iterator[Leftover]:
    """All cross-validations but the newest `keep`, and models of folds that no other one names, unless they are young:
    one at work has models before it names them."""
    crossval = lake.crossval()
    parts = (crossval.models, crossval.pretrained, crossval.checkpoints)
    runs = [path for path in crossval.folder.glob("[!.]*") if path.is_dir() and path not in parts]
    newest = sorted(runs, key=lambda path: (-_age_hours(path), path.name), reverse=True)
    old = [path for path in newest[config.keep :] if _age_hours(path) >= config.keep_hours]
    needed = {_fold_model(path) for run in runs if run not in old for path in run.glob("fold-*.parquet")}
    models = [crossval.models / name for name in model_ids(crossval) if name not in needed]
    for folder in [*old, *(folder for folder in models if _age_hours(folder) >= config.keep_hours)]:
        yield Leftover(folder, size_of(folder))


def _pretrained(config: VacuumConfig, lake: Lake) -> Iterator[Leftover]:
    """All pretrained models but the newest `keep`, and those of folds, unless they are young: no model needs what it started
    from, but a training at work does."""
    newest = all_pretrained(lake, lambda *_: None)  # a damaged one is somebody's to look at
    of_folds = all_pretrained(lake.crossval(), lambda *_: None)
    for found in (*newest[config.keep :], *of_folds):
        if _age_hours(found.folder) >= config.keep_hours:
            yield Leftover(found.folder, size_of(found.folder))


def _fold_model(path: Path) -> str:
    """The model in the name of a fold's predictions: `fold-0-<model>.parquet`."""
    return path.stem.split("-", 2)[-1]


def _referenced(lake: Lake) -> Iterator[str]:
    for path in lake.predictions.glob("**/*.parquet"):
        with suppress(OSError, pa.ArrowException):
            yield (pq.read_metadata(path).metadata or {}).get(KEY_MODEL, b"").decode(errors="replace")


def _records(config: VacuumConfig, lake: Lake) -> Iterator[Leftover]:
    """Records of runs that ended more than `keep_days` ago, except that of the newest commit and those that say how
    sources were read: `pipeline repair` needs them."""
    newest = delta_log.newest(lake.tokens)
    needed = str(newest.info.get("run_id", "")) if newest else ""
    for path in record_paths(lake):
        with suppress(PipelineError, ValueError):
            record = read_record(path)
            ended = datetime.fromisoformat(record["finished"]).timestamp()
            ingested = record["command"] == "ingest" and record["outcome"] == "done"
            if time.time() - ended >= config.keep_days * 86_400 and path.stem != needed and not ingested:
                yield Leftover(path, size_of(path))


def _age_hours(path: Path) -> float:
    newest = 0.0
    for inner in [path, *path.rglob("*")]:
        with suppress(OSError):  # it went away just now
            newest = max(newest, inner.stat().st_mtime)
    return (time.time() - newest) / 3600
