"""Run records that are missing although the run has committed: written from what the commit noted."""

import logging
import time
from dataclasses import asdict
from typing import Any

from pipeline.lake import log as delta_log
from pipeline.lake.atomic import PREFIX
from pipeline.lake.log import Entry
from pipeline.lake.paths import Lake
from pipeline.lake.runs import write_record
from pipeline.printable import shown
from pipeline.progress import AS_IT_IS
from schemas.run import Receipt, RunRecord

log = logging.getLogger(__name__)

COUNTS = ("read", "written", "rejected", "known")


def complete_records(lake: Lake) -> list[str]:
    """Writes the records of commits that have none, from the newest back to the first that has one; gives their ids.

    The caller holds the table's lock: a living run of ingest has its record still to write.
    """
    delta_log.remove_half_written(lake.tokens)
    completed: list[str] = []
    for version in reversed(delta_log.versions(lake.tokens)):
        entry = None if delta_log.is_torn(lake.tokens, version) else delta_log.read_entry(lake.tokens, version)
        if entry is None:
            continue
        run_id = entry.info.get("run_id")
        if not isinstance(run_id, str) or "/" in run_id or run_id.startswith(PREFIX):
            break
        if (lake.runs / f"{run_id}.json").exists() or not isinstance(entry.info.get("counts"), dict):
            break  # commits of earlier releases noted no counts
        write_record(lake, _record(lake, entry, run_id))
        completed.append(run_id)
        text = "%s committed version %d without a run record; restored it"
        log.warning(text, run_id, version, extra=AS_IT_IS)
    return completed


def _record(lake: Lake, entry: Entry, run_id: str) -> RunRecord:
    info: dict[str, Any] = entry.info
    counts: dict[str, Any] = {name: int(info["counts"].get(name, 0)) for name in COUNTS}
    command = str(info.get("command", "ingest"))
    metrics = info.get("metrics")
    committed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(info.get("timestamp", 0)) / 1000))
    outputs = {"tokens": shown(str(lake.tokens)), "table_version": entry.version}
    if info.get("vocabulary"):
        outputs["vocabulary"] = shown(str(lake.vocabulary / f"{info['vocabulary']}.parquet"))
    return RunRecord(
        run_id=run_id,
        command=command,
        started=str(info.get("started", committed)),
        finished=committed,
        outcome="done",
        exit_code=0,
        config=dict(info.get("config") or {}),
        receipt=asdict(
            Receipt(
                run_id=run_id,
                command=command,
                seconds=0.0,
                **counts,
                outputs=outputs,
                metrics=metrics if isinstance(metrics, dict) else {},
            )
        ),
        recovered=True,
    )
