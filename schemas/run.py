"""What a run leaves behind: a receipt on stdout, a record in `runs/`."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from schemas.document import Document, Field

OUTCOMES = ("done", "nothing-new", "failed", "stopped")
COUNTS = ("read", "written", "rejected", "known")

RUN = Document(
    name="run",
    noun="run record",
    version=1,
    description="runs/<run_id>.json: one JSON object per run, written when it ends, even if it fails.",
    remedy="Run 'pipeline repair'.",
    fields=(
        Field(name="run_id", type="string", description="sorts by time: 20260131T040000.123Z-ingest-1a2b3c"),
        Field(name="command", type="string", description="ingest, train, score, …"),
        Field(name="started", type="string", description="UTC, ISO 8601"),
        Field(name="finished", type="string", description="UTC, ISO 8601"),
        Field(name="outcome", type="string", description="how it ended", choices=OUTCOMES),
        Field(name="exit_code", type="integer", description="the process's exit status"),
        Field(name="config", type="object", description="all options of the run"),
        Field(
            name="receipt",
            type="object",
            description="the receipt printed on stdout: rows read, written, rejected, known; outputs; metrics",
            fields=(
                Field(name="seconds", type="number", description="how long the run took"),
                *(Field(name=name, type="number", description=f"rows {name}") for name in COUNTS),
            ),
        ),
        Field(
            name="error",
            type="string",
            description="the error message, if the run failed or was stopped",
            optional=True,
            nullable=True,
        ),
        Field(
            name="warnings",
            type="strings",
            description="the warnings logged by the run, each once, at most 20",
            optional=True,
        ),
        Field(
            name="error_brief",
            type="string",
            description="the error in words that quote nothing of the input but names of files",
            optional=True,
            nullable=True,
        ),
        Field(
            name="warning_briefs",
            type="object",
            description='the same for warnings, by warning; "" if the receipt\'s figures say it',
            optional=True,
        ),
        Field(
            name="part_of",
            type="string",
            description="run ID of the nightly run that started this one",
            optional=True,
            nullable=True,
        ),
        Field(
            name="versions",
            type="object",
            description="versions of this package, Python and the libraries that affect the output",
        ),
        Field(name="peak_memory_bytes", type="integer", description="peak resident memory of the process"),
        Field(
            name="recovered",
            type="boolean",
            description="true if the run crashed after its commit and a later run restored this record from the table's log",
            optional=True,
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The last line of stdout. Rows: `read` = `written` + `rejected` + `known` for ingest and score.

    `quarantined` counts files that could not be read and were left out whole; their rows are in none of the four.

    `exit_code` is 0, 99 when there was nothing new to do, or 65 when the work was done but failed a check that was asked for
    (`score --fail-on-drift`); it is the process's exit status and not printed.
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

    run_id: str
    command: str
    started: str
    finished: str
    outcome: str
    """One of `OUTCOMES`."""
    exit_code: int
    config: dict[str, Any]
    receipt: dict[str, Any]
    error: str | None = None
    warnings: list[str] = field(default_factory=list)
    error_brief: str | None = None
    warning_briefs: dict[str, str] = field(default_factory=dict)
    part_of: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    peak_memory_bytes: int = 0
    recovered: bool = False

    def to_json(self) -> str:
        """The text of the file."""
        return RUN.to_json(asdict(self))
