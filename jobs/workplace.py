"""Where a run that changes the token table works: under the table's lock, in a scratch folder on its disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.lake.atomic import claimed, make_folder
from pipeline.lake.locks import locked
from pipeline.lake.paths import Lake
from pipeline.lake.recover import complete_records


@contextmanager
def table_locked(lake: Lake, run_id: str, what: str) -> Iterator[Path]:
    """Holds the table's lock for the block and yields an empty scratch folder, which goes with the block.

    Raises:
        LockedError: another run changes the table.
        CannotWriteError: no permission, no space.
    """
    with locked(lake.locks / "ingest.lock", what):
        shutil.rmtree(lake.scratch / "ingest", ignore_errors=True)  # of a run that was killed: the lock is ours now
        scratch = lake.scratch / "ingest" / run_id
        try:
            with claimed(scratch, make_folder):
                complete_records(lake)
                yield scratch
        finally:
            shutil.rmtree(lake.scratch / "ingest", ignore_errors=True)
