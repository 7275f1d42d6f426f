"""Figures of a night for Prometheus, in its textfile format: node_exporter's textfile collector reads such a file.

Names, units and labels follow Prometheus' conventions; every sample has the label `lake`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobs.night.step import Step
from pipeline.errors import PipelineError
from pipeline.lake.atomic import write_bytes
from pipeline.lake.paths import Lake
from schemas.bad_row import num_chosen

PREFIX = "review_pipeline"

Sample = tuple[Mapping[str, str], float]


def write_metrics(path: Path, lake: Lake, steps: Sequence[Step], figures: Mapping[str, float]) -> None:
    """Writes the file atomically; a reader never sees a half of it.

    Args:
        figures: those of the night itself: `finished`, `exit_code`, `seconds`, `attention`.

    Raises:
        CannotWriteError: no permission, no space.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    for name, text, samples in _metrics(lake, steps, figures):
        if samples:
            names = ("lake", *samples[0][0])
            gauge = Gauge(f"{PREFIX}_{name}", text, names, registry=registry)
            for labels, value in samples:
                gauge.labels(lake.place, *labels.values()).set(value)
    write_bytes(path, generate_latest(registry))


def _metrics(lake: Lake, steps: Sequence[Step], figures: Mapping[str, float]) -> Iterator[tuple[str, str, list[Sample]]]:
    """Name, help and samples of each metric. Of steps of the same command, the last one counts."""
    last = {step.command: step for step in steps}
    rows: list[Sample] = [
        ({"step": name, "rows": kind}, count) for name, step in last.items() for kind, count in _rows(step).items()
    ]
    yield "nightly_last_run_timestamp_seconds", "When the last night ended.", [({}, figures["finished"])]
    yield "nightly_exit_code", "Exit code of the last night; 99 if there was nothing to do.", [({}, figures["exit_code"])]
    yield "nightly_duration_seconds", "How long the last night took.", [({}, figures["seconds"])]
    yield "nightly_attention", "Lines of the last night that a person must know.", [({}, figures["attention"])]
    yield "step_exit_code", "Exit code of a step; 99 if it had nothing to do.", _each(last, "exit_code")
    yield "step_duration_seconds", "How long a step took.", _each(last, "seconds")
    yield "step_rows", "Rows that a step read, wrote, rejected, left out by --skip-labels, or knew.", rows
    yield "step_quarantined_files", "Files that a step could not read and skipped.", _each(last, "quarantined")
    yield "model_accuracy", "Accuracy of the live model on the reviews that were held out.", list(_accuracy(lake))
    yield "unknown_token_ratio", "Share of tokens that the vocabulary lacks.", list(_unknown(last))
    yield "drift_psi", "Population stability index of the scored input against the training data.", list(_drift(last))


def _rows(step: Step) -> dict[str, int]:
    """Rows by what became of them: those read are the sum of the others."""
    skipped = num_chosen(step.metrics.get("rejects", {}))
    rejected = step.rejected - skipped
    return {"read": step.read, "written": step.written, "rejected": rejected, "skipped": skipped, "known": step.known}


def _each(steps: Mapping[str, Step], name: str) -> list[Sample]:
    return [({"step": command}, float(getattr(step, name))) for command, step in steps.items()]


def _accuracy(lake: Lake) -> Iterator[Sample]:
    with suppress(PipelineError, OSError, ValueError, KeyError, TypeError):
        live = lake.latest_model()
        metrics = json.loads((lake.models / live / "model.json").read_bytes())["metrics"]
        part = next(part for part in ("test", "valid", "") if not part or f"{part}_accuracy" in metrics)
        if part:
            yield {"model": live, "part": part}, float(metrics[f"{part}_accuracy"])


def _unknown(steps: Mapping[str, Step]) -> Iterator[Sample]:
    for command, name, of in (
        ("ingest", "unknown_share_table", "table"),
        ("ingest", "unknown_share", "ingested"),
        ("score", "unknown_share", "scored"),
    ):
        if command in steps and (value := _number(steps[command].metrics.get(name))) is not None:
            yield {"of": of}, value


def _drift(steps: Mapping[str, Step]) -> Iterator[Sample]:
    drift = (steps["score"].metrics.get("drift") or {}) if "score" in steps else {}
    for name, given in (drift.get("psi") or {}).items():
        if (value := _number(given)) is not None:
            yield {"figure": str(name)}, value


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
