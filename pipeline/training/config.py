"""The options of `pipeline train`: checked when made, rendered for the run record, the bundle and the workers."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError, unknown_choice
from pipeline.lake.paths import Lake
from pipeline.models.bundle import MAX_LENGTH
from pipeline.models.registry import check_architecture
from pipeline.training.order import DEFAULT_LANES, WINDOW_ROWS, OrderOptions
from pipeline.training.schedule import SCHEDULES

if TYPE_CHECKING:
    from pipeline.training.control import Interval

CLASS_WEIGHTS = ("none", "balanced")
NOT_IDENTITY = frozenset(
    {"lake", "tokens", "vocabulary", "table_version", "embeddings", "device", "workers", "resume", "force", "tensorboard"}
    | {"checkpoint_every", "keep_checkpoints", "nproc", "max_restarts"}
)
"""Options that do not change what is trained, or whose value does not say what: `TrainingData.identity` tells the data."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of `pipeline train`. `batch_size` is global, in reviews; `max_length` in tokens; `model` holds the options
    of the architecture that differ from its defaults."""

    lake: Lake
    arch: str = "bilstm"
    tokens: Path | None = None
    vocabulary: Path | None = None
    table_version: int | None = None
    model: dict[str, Any] = field(default_factory=dict)
    embeddings: Path | None = None
    epochs: int = 3
    batch_size: int = 64
    lr: float = 1e-3
    schedule: str = "constant"
    warmup: int = 0
    clip_norm: float = 1.0
    average: float = 0.998
    patience: int = 0
    class_weights: str = "none"
    embedding_update: str = "auto"
    max_length: int = 400
    valid_fraction: float = 0.1
    seed: int = 0
    lanes: int = DEFAULT_LANES
    window_rows: int = WINDOW_ROWS
    device: str = "auto"
    precision: str = "auto"
    workers: int = 2
    nproc: str = "1"
    max_restarts: int = 3
    checkpoint_every: str = "60s"
    keep_checkpoints: int = 3
    resume: bool = False
    force: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_architecture(self.arch)
        for name, least in (("epochs", 1), ("max_length", 1), ("workers", 0), ("keep_checkpoints", 1), ("max_restarts", 0)):
            _at_least(name, getattr(self, name), least)
        for name in ("warmup", "patience", "clip_norm"):
            _at_least(name, getattr(self, name), 0)
        if self.max_length > MAX_LENGTH:
            raise UsageError(f"--max-length {self.max_length}: expected 1 to {MAX_LENGTH}.")
        if not math.isfinite(self.clip_norm):
            raise UsageError(f"--clip-norm {self.clip_norm}: expected a number, 0 (off) or more.")
        if not 0 < self.lr < math.inf:
            raise UsageError(f"--lr {self.lr}: expected a number more than 0.")
        for name in ("vocab_size", "num_classes"):
            if name in self.model:
                raise UsageError(f"--set {name}: the data decide it. Leave it out.")
        if not 0 < self.valid_fraction < 1:
            raise UsageError(f"--valid-fraction {self.valid_fraction}: expected between 0 and 1, such as 0.1.")
        if not 0 <= self.average < 1:
            raise UsageError(f"--average {self.average}: expected 0 (off) up to, but below, 1, such as 0.999.")
        for name, choices in (
            ("schedule", SCHEDULES), ("class_weights", CLASS_WEIGHTS), ("embedding_update", ("auto", "dense", "sparse")),
            ("device", ("auto", "cpu", "cuda")), ("precision", ("auto", "fp32", "bf16")),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise unknown_choice(f"--{name.replace('_', '-')}", getattr(self, name), choices)
        if self.nproc != "gpu" and not (self.nproc.isdecimal() and int(self.nproc) > 0):
            raise UsageError(f"--nproc {self.nproc}: expected a number of processes, or 'gpu' for one on each GPU.")
        if self.tokens is not None and self.table_version is not None:
            raise UsageError("--tokens and --table-version: plain shards have no versions. Give one of the two.")
        _ = self.order, self.interval

    @property
    def order(self) -> OrderOptions:
        """The options that decide the order of training."""
        return OrderOptions(batch_size=self.batch_size, seed=self.seed, lanes=self.lanes, window_rows=self.window_rows)

    @property
    def interval(self) -> "Interval":
        """How often checkpoints are written."""
        from pipeline.training.control import Interval

        return Interval.parse(self.checkpoint_every)

    def identity(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that decides what is trained: the options that matter, the content of `embeddings`, and the data.

        Raises:
            InputNotFoundError: `embeddings` is not there.
        """
        options = {name: value for name, value in asdict(self).items() if name not in NOT_IDENTITY}
        if self.embeddings is not None:
            from pipeline.models.layers.embeddings import fingerprint

            options["embeddings"] = fingerprint(self.embeddings)
        return {**options, **data}


def arguments(config: TrainConfig) -> list[str]:
    """The command line that gives this config, for the workers."""
    found = [f"--lake={config.lake.root}"]
    for name, value in asdict(config).items():
        option = f"--{name.replace('_', '-')}"
        if name in ("lake", "nproc", "max_restarts") or value is None or value is False:
            continue
        if name == "model":
            found += [f"--set={key}={json.dumps(item)}" for key, item in value.items()]
        else:
            found.append(option if value is True else f"{option}={value}")
    return found


def _at_least(name: str, value: float, least: int) -> None:
    if value < least:
        raise UsageError(f"--{name.replace('_', '-')} {value}: expected {least} or more.")
