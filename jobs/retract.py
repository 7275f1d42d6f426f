"""`pipeline retract`: takes back what a run of ingest brought.

What holds the rows off afterwards is a list in `retracted/`, written before the commit: a run that is killed in between has
changed nothing that anybody sees, for ingest looks into the table first; the same command again finishes it.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from jobs.runtime import Run, commit_record, committing, recorded_run
from jobs.trained_on import TrainedOn, trained_on
from jobs.workplace import table_locked
from pipeline.config.retract import LATEST, RetractConfig
from pipeline.errors import InputNotFoundError, UsageError
from pipeline.lake import log as delta_log
from pipeline.lake import table as token_table
from pipeline.lake.atomic import make_folder, sync_folder, writing
from pipeline.lake.known import shards_holding
from pipeline.lake.log import Commit
from pipeline.lake.paths import Lake
from pipeline.lake.publish import change_of, publish, rewrite_shards
from pipeline.lake.retraction import ROWS, Retraction, plan_retraction
from pipeline.lake.review_keys import write_keys
from pipeline.lake.runs import record_paths
from pipeline.lake.shard_writer import write_shard
from pipeline.lake.table import TokenTable
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.progress import AS_IT_IS
from schemas.run import Receipt

log = logging.getLogger(__name__)

NAMED = 5
"""Number of runs that an error lists."""


def run(config: RetractConfig) -> Receipt:
    """Takes back a run, or lifts that; ends with 99 when nothing is left to do.

    Raises:
        InputNotFoundError: no table, or no such run.
        UsageError: the name fits several runs, or one that brings no rows.
        DataError: the run's rows cannot be told from others any more.
        LockedError: another run changes the table.
    """
    lake = Lake(config.lake)
    with recorded_run("retract", lake, config, record=not config.dry_run) as this:
        lake.fetch(lake.tokens)
        if not token_table.exists(lake.tokens):
            lake.check_there()
            raise InputNotFoundError(f"no token table in {lake.tokens}: nothing to take back. Choose a lake with --lake.")
        if config.dry_run:
            _retract(config, lake, this, None)
        else:
            with table_locked(lake, this.run_id, f"the token table of {lake.root}") as scratch:
                _retract(config, lake, this, scratch)
    return this.receipt()


def _retract(config: RetractConfig, lake: Lake, this: Run, scratch: Path | None) -> None:
    commits = delta_log.commits(lake.tokens)
    commit = _find(lake, commits, config.run)
    this.config["run"] = commit.run_id
    noted = lake.retracted / f"{commit.run_id}.parquet"
    this.metrics = {"run": commit.run_id, "version": commit.version, "undone": config.undo, "dry_run": config.dry_run}
    if config.undo:
        this.nothing_new = not noted.exists()
        if scratch is not None and noted.exists():
            _lift(noted, lake, this)
        return
    table = TokenTable.open(lake.tokens)
    plan = plan_retraction(lake, table, commits, commit)
    holding = [shard.path.name for shard, _ in shards_holding(table.shards, plan.gone)]
    models = trained_on(lake, commits, holding, commit.version) if plan else TrainedOn(models=(), live="", remedy="")
    this.metrics |= {
        "removed": len(plan.gone),
        "restored": plan.num_restored,
        "lost": plan.lost,
        "kept": plan.kept,
        "sources": plan.sources,
        "models": list(models.models),
        "live": models.live,
        "go_back": models.remedy,
    }
    _say(plan, models)
    this.nothing_new = not plan
    if not plan and plan.kept and not noted.exists():
        text = "later runs replaced, moved or removed the %s rows of this run. Retract those runs first, the newest first"
        log.warning(text, f"{plan.kept:,}", extra=AS_IT_IS)
    if plan and scratch is not None:
        write_keys(noted, plan.keys, commit.run_id)
        _commit(lake, this, table, plan, scratch)
    this.outputs |= {"tokens": lake.tokens}


def _find(lake: Lake, commits: Sequence[Commit], name: str) -> Commit:
    """The commit of a run of ingest.

    Raises:
        InputNotFoundError: no such run, or none that committed.
        UsageError: several, or a run of another command.
    """
    ingests = {commit.run_id: commit for commit in commits if commit.brings}
    newest = list(reversed(ingests))
    if name == LATEST and newest:
        return ingests[newest[0]]
    found = [run_id for run_id in newest if run_id.startswith(name)]
    if name in ingests or len(found) == 1:
        return ingests[name if name in ingests else found[0]]
    if found:
        raise UsageError(f"RUN {name!r} fits {len(found):,} runs: {_some(found)}. Type more of the ID.")
    listed = f"Runs of ingest that committed: {_some(newest)}." if newest else "No run of ingest has committed."
    others = [path.stem for path in record_paths(lake) if path.stem.startswith(name)]
    if others == [name]:
        raise UsageError(f"RUN {name!r} added no reviews to the table. {listed}")
    if others:
        raise UsageError(f"RUN {name!r} is {_some(others)}, which added no reviews to the table. {listed}")
    raise InputNotFoundError(f"no run {name!r}. {listed} 'pipeline runs --command ingest' lists them all.")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _lift(noted: Path, lake: Lake, this: Run) -> None:
    with committing(this, lake), writing(noted):
        noted.unlink()
        sync_folder(noted.parent)
    log.info("its rows come back with the next 'pipeline ingest' of their files")


def _say(plan: Retraction, models: TrainedOn) -> None:
    """Says what cannot be brought back, and which models saw the rows."""
    if plan.lost:
        text = (
            "%s rows had replaced others whose shards were deleted or have another vocabulary. They are removed, and the "
            "earlier ones cannot be brought back: ingest the earlier files again"
        )
        log.warning(text, f"{plan.lost:,}")
    if models.models:
        log.warning("trained on these rows: %s", _some(list(reversed(models.models))))
    if models.live:
        log.warning("the live model %s is one of them; to replace it: %s", models.live, models.remedy)


def _commit(lake: Lake, this: Run, table: TokenTable, plan: Retraction, scratch: Path) -> None:
    """Removes and restores the rows in one commit."""
    fingerprint = table.vocabulary or plan.vocabulary
    folder = make_folder(scratch / "shards")
    shards, removed = rewrite_shards(table, plan.gone, folder, fingerprint)
    for rows in plan.restored:
        split = rows["split"][0].as_py()
        shards += [write_shard(folder, split, rows.slice(at, ROWS), fingerprint) for at in range(0, len(rows), ROWS)]
    vocabulary = read_vocabulary(lake.vocabulary / f"{fingerprint}.parquet", fingerprint)
    change = change_of(table, shards, removed)
    with committing(this):
        this.outputs["table_version"] = publish(lake, table, vocabulary, change, this.run_id, commit_record(this))
