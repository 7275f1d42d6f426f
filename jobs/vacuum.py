"""`pipeline vacuum`: deletes files of the token table that no kept version needs."""

from jobs.runtime import recorded_run
from pipeline.config.vacuum import VacuumConfig
from pipeline.errors import InputNotFoundError
from pipeline.lake import table as token_table
from pipeline.lake.locks import locked
from pipeline.lake.paths import Lake
from schemas.run import Receipt


def run(config: VacuumConfig) -> Receipt:
    """Deletes shards that only versions older than `keep_hours` need, and leftovers of runs that were killed.

    Raises:
        InputNotFoundError: no token table.
        LockedError: an ingest is at work.
    """
    lake = Lake(config.lake)
    with recorded_run("vacuum", lake, config, record=not config.dry_run) as this:
        if not token_table.exists(lake.tokens):
            raise InputNotFoundError(f"no token table in {lake.tokens}. Make one with 'pipeline ingest'.")
        with locked(lake.locks / "ingest.lock", f"the token table of {lake.root}"):
            names = token_table.vacuum(lake.tokens, keep_hours=config.keep_hours, dry_run=config.dry_run)
        this.nothing_new = not names
        this.outputs = {"tokens": lake.tokens}
        this.metrics = {"deleted": 0 if config.dry_run else len(names), "files": sorted(names)}
    return this.receipt()
