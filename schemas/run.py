"""What a run leaves behind: a receipt on stdout, a record in `runs/`."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from schemas.contract import Contract

RUN = Contract(
    name="run",
    version=1,
    description="runs/<run_id>.json: one JSON object a run, written when it ends, however it ends.",
    schema=pa.schema(
        [
            pa.field("version", pa.int64(), nullable=False),
            pa.field("run_id", pa.string(), nullable=False),
            pa.field("command", pa.string(), nullable=False),
            pa.field("started", pa.string(), nullable=False),
            pa.field("finished", pa.string(), nullable=False),
            pa.field("outcome", pa.string(), nullable=False),
            pa.field("exit_code", pa.int64(), nullable=False),
            pa.field("config", pa.string(), nullable=False),
            pa.field("receipt", pa.string(), nullable=False),
            pa.field("error", pa.string()),
            pa.field("versions", pa.string(), nullable=False),
            pa.field("peak_memory_bytes", pa.int64(), nullable=False),
            pa.field("recovered", pa.bool_()),
        ]
    ),
    columns={
        "version": "version of this contract",
        "run_id": "sorts by time: 20260131T040000.123Z-ingest-1a2b3c",
        "command": "ingest, train, score, …",
        "started": "UTC, ISO 8601",
        "finished": "UTC, ISO 8601",
        "outcome": "done, nothing-new, failed or stopped",
        "exit_code": "the process's exit status",
        "config": "object: every option as the run saw it",
        "receipt": "object: what was printed on stdout: rows read, written, rejected, known; outputs; metrics",
        "error": "the message of a run that failed or was stopped",
        "versions": "object: of this package, Python and the libraries that decide what is written",
        "peak_memory_bytes": "peak resident memory of the process",
        "recovered": "true when the run died after its commit and a later run wrote this record from the table's log",
    },
)
RUN_VERSION = RUN.version


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The last line of stdout. Rows: `read` = `written` + `rejected` + `known` for ingest and score.

    `quarantined` counts files that could not be read and were left out whole; their rows are in none of the four.

    `exit_code` is 0, or 99 when there was nothing new to do; it is the process's exit status and not printed.
    """

    run_id: str
    command: str
    seconds: float
    read: int = 0
    written: int = 0
    rejected: int = 0
    known: int = 0
    quarantined: int = 0
    outputs: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0

    def to_json(self) -> str:
        """One line of JSON."""
        plain = asdict(self)
        del plain["exit_code"]
        return json.dumps(plain, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """`runs/<run_id>.json`: what a run was asked, read, wrote, rejected, took and cost."""

    version: int = RUN_VERSION
    run_id: str
    command: str
    started: str
    finished: str
    outcome: str
    """`done`, `nothing-new`, `failed` or `stopped`."""
    exit_code: int
    config: dict[str, Any]
    receipt: dict[str, Any]
    error: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    peak_memory_bytes: int = 0
    recovered: bool = False

    def to_json(self) -> str:
        """Indented JSON, sorted keys."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
