"""Lakes with a history: run records, decisions and models as nights leave them, without running any."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.lake.paths import Lake
from pipeline.lake.runs import write_record
from schemas.model import MODEL
from schemas.run import RunRecord

NOW = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)
"""When the lakes are looked at."""


def iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def add_run(
    lake: Lake,
    command: str,
    when: datetime,
    exit_code: int = 0,
    *,
    error: str | None = None,
    outputs: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    outcome: str = "",
    seconds: float = 60.0,
    **counts: int,
) -> dict[str, Any]:
    """Writes the record of a run that started at `when`, and gives what a night notes about it."""
    run_id = f"{when:%Y%m%dT%H%M%S}.{when.microsecond // 1000:03d}Z-{command}-1a2b3c"
    rows = dict.fromkeys(("read", "written", "rejected", "known", "quarantined"), 0) | counts
    receipt = {"run_id": run_id, "command": command, "seconds": seconds, **rows}
    receipt |= {"outputs": dict(outputs or {}), "metrics": dict(metrics or {})}
    outcome = outcome or {0: "done", 99: "nothing-new", 130: "stopped", 143: "stopped"}.get(exit_code, "failed")
    write_record(
        lake,
        RunRecord(
            run_id=run_id,
            command=command,
            started=iso(when),
            finished=iso(when + timedelta(seconds=seconds)),
            outcome=outcome,
            exit_code=exit_code,
            config=dict(config or {}),
            receipt=receipt,
            error=error,
        ),
    )
    return {**receipt, "exit_code": exit_code}


def add_model(lake: Lake, model_id: str, accuracy: float | None = 0.9, metrics: Mapping[str, Any] | None = None) -> None:
    """Writes the description of a model, without its weights."""
    folder = lake.models / model_id
    folder.mkdir(parents=True)
    measured = {} if accuracy is None else {"test_accuracy": accuracy, "test_rows": 2000}
    values: dict[str, Any] = {
        "arch": model_id.partition("-")[0],
        "model_config": {},
        "labels": ["neg", "pos"],
        "tokenizer": "basic_english",
        "max_length": 400,
        "vocabulary": "0123456789abcdef",
        "table_version": 0,
        "metrics": measured if metrics is None else metrics,
        "training": {},
        "created": "2026-01-01T00:00:00Z",
        "weights_sha256": "0" * 64,
    }
    (folder / "model.json").write_text(MODEL.to_json(values), encoding="utf-8")
    (folder / "report.html").write_text("<!doctype html>")


def go_live(lake: Lake, model_id: str, when: datetime, reason: str = "trained") -> None:
    """Makes a model live, as of a moment."""
    lake.latest.write_text(f"{model_id}\n")
    add_line(lake.live_history, model_id=model_id, since=iso(when), reason=reason)


def promotion(decision: str = "promoted", reason: str = "not worse", **values: Any) -> dict[str, Any]:
    """`metrics.promotion` of a training."""
    return {
        "decision": decision,
        "reason": reason,
        "message": "88.1% against 90.2% on 2,000 reviews" if decision == "not promoted" else "90.4% against 90.2%",
        "live": "bilstm-20260101T020000Z-000000",
        "rows": 2000,
        "challenger_accuracy": 0.881 if decision == "not promoted" else 0.904,
        "live_accuracy": 0.902,
        "p_value": 0.0002 if decision == "not promoted" else 0.4,
        "margin": 0.005,
        **values,
    }


def decide(lake: Lake, model_id: str, when: datetime, decision: Mapping[str, Any]) -> None:
    """Writes a line of `models/decisions.jsonl`."""
    add_line(lake.models / "decisions.jsonl", **decision, model_id=model_id, decided=iso(when))


def add_line(path: Path, **values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def drift(drifted: bool = False, psi: float = 0.02, over: tuple[str, ...] = ()) -> dict[str, Any]:
    """`metrics.drift` of a run of score."""
    names = ("length", "unknown", "prediction", "confidence")
    return {
        "measured": True,
        "drifted": drifted,
        "rows": 500,
        "unknown_share": {"now": 0.05, "reference": 0.03},
        "psi": {name: psi * (number + 1) for number, name in enumerate(names)},
        "p_value": dict.fromkeys(names, 0.4),
        "over": list(over),
    }


def add_night(lake: Lake, when: datetime, number: int = 0, *, failed: str = "", attention: tuple[str, ...] = ()) -> None:
    """A night of `pipeline nightly`: its steps' records, the model that it trained, and its own record.

    Args:
        number: of the night, from which the figures vary.
        failed: a step that ends with 65.
    """
    model_id = f"bilstm-{when:%Y%m%dT%H%M%S}Z-{number:06x}"
    promoted = number % 7 != 3
    decision = promotion() if promoted else promotion("not promoted", "worse")
    drifted = number % 11 == 5
    wave = (number % 9) / 300
    folder = lake.root
    steps = {
        "ingest": {
            "read": 1000 + 31 * number,
            "written": 300 + number,
            "rejected": 12 if number % 5 == 2 else 0,
            "known": 688 + 30 * number if number % 5 == 2 else 700 + 30 * number,
            "quarantined": 1 if number % 13 == 6 else 0,
            "outputs": {"rejects": str(folder / "rejects" / f"{number:016x}.parquet")} if number % 5 == 2 else {},
            "metrics": {
                "rejects": {"unknown_label": 9, "empty_text": 3} if number % 5 == 2 else {},
                "unknown_share": 0.03 + wave,
                "unknown_share_table": 0.03 + number / 3000,
            },
        },
        "train": {
            "read": 5000,
            "seconds": 840.0 + number,
            "outputs": {"model_id": model_id, "report": str(folder / "models" / model_id / "report.html")},
            "metrics": {"test_accuracy": 0.9 + wave, "test_rows": 2000, "promotion": decision},
        },
        "score": {
            "read": 1204,
            "written": 1204,
            "seconds": 31.5,
            "outputs": {"predictions": str(folder / "predictions" / f"{when:%Y-%m-%d}.parquet"), "model": model_id},
            "metrics": {
                "unknown_share": 0.035 + wave,
                "drift": drift(drifted, 0.09 if drifted else 0.015 + wave, ("length", "unknown") if drifted else ()),
            },
        },
    }
    notes, at = [], when
    for command, values in steps.items():
        fails = command == failed
        at += timedelta(seconds=1)
        notes.append(
            add_run(lake, command, at, 65, error="DataError: 7 of 100 rows are malformed. Fix them.")
            if fails
            else add_run(lake, command, at, **values)  # type: ignore[arg-type]
        )
        at += timedelta(seconds=notes[-1]["seconds"])
    if failed != "train":
        add_model(lake, model_id, 0.9 + wave)
        decide(lake, model_id, at, decision)
        if promoted:
            go_live(lake, model_id, at)
    for path in (*texts_of(notes), *([folder / "logs" / f"{when:%Y-%m-%d}.log"])):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")
    own = {"steps": notes, "attention": list(attention), "log": str(folder / "logs" / f"{when:%Y-%m-%d}.log")}
    add_run(
        lake,
        "nightly",
        when,
        65 if failed else 0,
        metrics=own,
        seconds=(at - when).total_seconds(),
        error=f"DataError: {failed} failed" if failed else None,
    )


def texts_of(notes: list[dict[str, Any]]) -> list[Path]:
    """Files that the steps name and that are no models."""
    return [Path(path) for note in notes for name, path in note["outputs"].items() if name in ("rejects", "predictions")]


def lake_of_nights(root: Path, number: int, **last: Any) -> Lake:
    """A lake after so many nights, the last of them before `NOW`. `last`: for the last of them, see `add_night`."""
    lake = Lake(root.resolve())
    lake.root.mkdir(parents=True, exist_ok=True)
    for night in range(number):
        when = NOW.replace(hour=2, minute=15) - timedelta(days=number - 1 - night)
        add_night(lake, when, night, **(last if night == number - 1 else {}))
    return lake
