"""What the rules look at, the limits that they know, and what they find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.lake.live import WentLive
from pipeline.status.lake import Disk, Table
from pipeline.status.models import Live
from pipeline.status.nights import NIGHTLY, Night, night_of
from pipeline.status.records import Record
from schemas.status import KINDS

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When something needs a person. `max_age`: seconds, 0 for any age; `min_free`: bytes.

    `max_unknown` None stands for the limit of each run, its option --unknown-warn.
    """

    max_age: float = 36 * 3600.0
    max_unknown: float | None = None
    min_free: int = 2 * GIB


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that needs a person: what, and the command that helps with it, without `pipeline` in front."""

    kind: str
    message: str
    command: tuple[str, ...] = ()
    run_id: str = ""

    about: str = ""
    """The command of the night that it is about."""

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the rules look at.

    Args:
        last: the newest records of each command, newest first; three are enough.
        live: the live model, None if there is none.
        changes: the models that went live, oldest first.
        unreadable: names of run records that are needed and damaged.
    """

    last: Mapping[str, Sequence[Record]]
    live: Live | None = None
    changes: Sequence[WentLive] = ()
    table: Table | None = None
    disk: Disk | None = None
    unreadable: Sequence[str] = ()
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def newest(self, command: str) -> Record | None:
        """The last run of a command."""
        return next(iter(self.last.get(command, ())), None)

    @property
    def night(self) -> Night | None:
        """The last `nightly` run."""
        record = self.newest(NIGHTLY)
        return night_of(record) if record else None
