"""What a run leaves behind: a receipt on stdout, a record in `runs/`."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

RUN_VERSION = 1
"""Version of the run record. Fields may be added within a version; a record of a newer version is refused."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The last line of stdout. Rows: `read` = `written` + `rejected` + `known` for ingest and score.

    `exit_code` is 0, or 99 when there was nothing new to do; it is the process's exit status and not printed.
    """

    run_id: str
    command: str
    seconds: float
    read: int = 0
    written: int = 0
    rejected: int = 0
    known: int = 0
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

    def to_json(self) -> str:
        """Indented JSON, sorted keys."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
