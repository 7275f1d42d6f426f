"""What dead runs left goes, what living ones are at work on stays; and what vacuum removes beside it."""

import json
import os
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from jobs.vacuum import run as vacuum
from pipeline.config.vacuum import VacuumConfig
from pipeline.doctor import lake as doctor_lake
from pipeline.lake.atomic import abandoned, claimed, is_claimed, write_text
from pipeline.lake.leftovers import find_leftovers, sweep_leftovers
from pipeline.lake.paths import Lake
from pipeline.models.bundle import model_ids
from pipeline.models.pretrained import pretrained_ids
from pipeline.training.checkpoint import Checkpoint, TrainingFolder
from tests.support.models import make_vocabulary, save_rnn
from tests.support.pretrained import save_vectors


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def litter(lake: Lake) -> list[Path]:
    """Something unfinished in every folder that commands write."""
    files = [
        *(folder / ".tmp-1-x" for folder in (lake.vocabulary, lake.rejects, lake.predictions, lake.runs, lake.locks)),
        lake.predictions / ".notes" / ".tmp-2-x",
        lake.models / ".tmp-dead" / "model.json",
        lake.crossval().models / ".tmp-dead" / "model.json",
        lake.pretrained / ".tmp-dead" / "pretrained.safetensors",
        lake.crossval().pretrained / ".tmp-dead" / "pretrained.json",
        lake.pretrained / "one" / ".tmp-4-pretrained.json",
        lake.crossval().checkpoints / "dead" / "training.json",
        lake.crossval().folder / "rnn-1" / ".tmp-3-predictions.parquet",
        lake.tokens / ".tmp-commit-dead" / "_delta_log" / "0.json",
        lake.scratch / "ingest" / "dead" / "spill.arrow",
    ]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return files


def test_what_the_dead_left_goes_and_the_living_keep_theirs(lake: Lake) -> None:
    files = litter(lake)
    living = lake.runs / ".tmp-3-living"
    living.write_text("half")
    at_work = lake.scratch / "ingest" / "living"
    at_work.mkdir()
    with claimed(living), claimed(at_work):
        assert is_claimed(living) and not is_claimed(files[0])
        assert sum(leftover.bytes for leftover in find_leftovers(lake)) == 5 * len(files)
        assert len(sweep_leftovers(lake)) == len(files)
        assert living.exists() and at_work.exists() and not any(path.exists() for path in files)
    assert {leftover.path for leftover in sweep_leftovers(lake)} == {living, at_work}


def test_what_another_run_sweeps_away_before_it_is_claimed_is_made_again(lake: Lake) -> None:
    made = []

    def make(path: Path) -> None:
        path.mkdir(parents=True)
        made.append(path)
        if len(made) == 1:
            sweep_leftovers(lake)

    with claimed(lake.scratch / "ingest" / "new", make):
        sweep_leftovers(lake)
        assert len(made) == 2 and made[0].is_dir()


def test_a_writer_waits_for_the_one_who_is_removing_its_file(lake: Lake) -> None:
    path = lake.runs / ".tmp-1-x"
    path.parent.mkdir(parents=True)
    removing, claiming = Event(), Event()

    def sweeper() -> None:
        with abandoned(path) as free:
            assert free
            removing.set()
            claiming.wait(5)
            time.sleep(0.05)
            path.unlink()

    def make(path: Path) -> None:
        path.touch()
        if not removing.is_set():
            thread.start()
            removing.wait(5)
            claiming.set()

    thread = Thread(target=sweeper)
    with claimed(path, make):
        thread.join()
        assert path.exists() and is_claimed(path)


def test_trainings_that_may_be_resumed_stay_until_vacuum_finds_them_old(lake: Lake) -> None:
    for name, checkpoints in (("resumable", 1), ("empty", 0)):
        folder = TrainingFolder(lake.checkpoints / name)
        folder.begin({"seed": name})
        for step in range(checkpoints):
            folder.write(Checkpoint({"epoch": 0, "step": step}))
    sweep_leftovers(lake)
    assert [path.name for path in lake.checkpoints.iterdir()] == ["resumable"]
    vacuum(VacuumConfig(lake=lake.root))
    assert lake.checkpoints.joinpath("resumable").exists()
    for path in [*lake.checkpoints.rglob("*")]:
        os.utime(path, (1, 1))
    assert vacuum(VacuumConfig(lake=lake.root, dry_run=True)).metrics["files"] == ["checkpoints/resumable"]
    assert vacuum(VacuumConfig(lake=lake.root)).metrics["deleted"] == 1
    assert not lake.checkpoints.joinpath("resumable").exists()


def test_old_models_go_but_the_live_one_and_those_that_predictions_name(lake: Lake) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    vocabulary = make_vocabulary()
    for number in range(5):
        bundle = save_rnn(lake.models / f"m{number}", vocabulary)
        path = bundle.folder / "model.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "created": f"2026-01-0{number + 1}", "manifest": None}))
        (bundle.folder / "manifest.json").unlink()
    lake.latest.write_text("m0\n")
    lake.predictions.mkdir()
    named = pa.table({"text": ["a"]}).replace_schema_metadata({b"review_pipeline.model_id": b"m1"})
    pq.write_table(named, lake.predictions / "p.parquet")
    receipt = vacuum(VacuumConfig(lake=lake.root, models=True, keep=1))
    assert receipt.metrics["files"] == ["models/m2", "models/m3"]
    assert model_ids(lake) == ["m0", "m1", "m4"]


def test_old_pretrained_models_go_and_young_ones_of_folds_stay(lake: Lake) -> None:
    lake.models.mkdir()
    places = [lake.pretrained / f"p{number}" for number in range(3)]
    places += [lake.crossval().pretrained / name for name in ("old", "young")]
    for number, folder in enumerate(places):
        save_vectors(folder, f"2026-01-0{number + 1}")
        for path in [folder, *folder.iterdir()] if folder.name != "young" else []:
            os.utime(path, (1, 1))
    receipt = vacuum(VacuumConfig(lake=lake.root, models=True, keep=2))
    assert receipt.metrics["files"] == ["crossval/pretrained/old", "pretrained/p0"]
    assert pretrained_ids(lake) == ["p1", "p2"]
    assert pretrained_ids(lake.crossval()) == ["young"]


def test_old_cross_validations_go_with_their_models_and_young_ones_stay(lake: Lake) -> None:
    crossval, vocabulary = lake.crossval(), make_vocabulary()
    lake.models.mkdir()
    for number, name in enumerate(("first", "second", "third")):
        save_rnn(crossval.models / name, vocabulary)
        write_text(crossval.folder / f"rnn-{number}" / f"fold-0-{name}.parquet", "")
    save_rnn(crossval.models / "orphan", vocabulary)
    save_rnn(crossval.models / "young", vocabulary)  # of a cross-validation at work
    for place, then in (("rnn-0", 1), ("rnn-1", 2), ("models/first", 1), ("models/second", 1), ("models/orphan", 1)):
        for path in [crossval.folder / place, *(crossval.folder / place).iterdir()]:
            os.utime(path, (then, then))
    receipt = vacuum(VacuumConfig(lake=lake.root, models=True, keep=2))
    assert receipt.metrics["files"] == [f"crossval/{name}" for name in ("models/first", "models/orphan", "rnn-0")]
    assert model_ids(crossval) == ["second", "third", "young"]
    assert vacuum(VacuumConfig(lake=lake.root, models=True, keep=0)).metrics["files"] == [
        "crossval/models/second",
        "crossval/rnn-1",
    ]


def test_a_model_that_scores_is_not_removed(lake: Lake) -> None:
    save_rnn(lake.models / "old", make_vocabulary())
    with claimed(lake.models / "old"):
        vacuum(VacuumConfig(lake=lake.root, models=True, keep=0))
        assert model_ids(lake) == ["old"]
    vacuum(VacuumConfig(lake=lake.root, models=True, keep=0))
    assert model_ids(lake) == []


def test_what_is_removed_while_it_is_claimed_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    waiting = Event()

    def remover() -> None:
        with abandoned(path) as free:
            assert free
            waiting.set()
            time.sleep(0.2)  # the other one waits for the lock by now
            path.rmdir()

    thread = Thread(target=remover)
    thread.start()
    waiting.wait()
    with pytest.raises(FileNotFoundError), claimed(path):
        pytest.fail("claimed what is gone")
    thread.join()


def test_doctor_beside_a_run_that_sweeps_finds_the_lake_writable(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = doctor_lake.sync_file

    def swept(path: Path) -> None:
        sweep_leftovers(lake)
        sync(path)

    monkeypatch.setattr(doctor_lake, "sync_file", swept)
    lake.models.mkdir()
    assert [check.state for check in doctor_lake.lake_checks(lake) if check.name == "lake"] == ["OK"]
    assert not list(lake.root.rglob(".tmp-*"))


def test_old_records_go_but_those_that_committed_reviews(lake: Lake) -> None:
    lake.models.mkdir()
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    receipt = dict.fromkeys(("seconds", "read", "written", "rejected", "known"), 0)
    for run_id, command, finished in (
        ("1-ingest", "ingest", "2020-01-01T00:00:00Z"),
        ("2-score", "score", "2020-01-01T00:00:00Z"),
        ("3-score", "score", now),
    ):
        record = {
            "version": 1,
            "run_id": run_id,
            "command": command,
            "started": finished,
            "finished": finished,
            "outcome": "done",
            "exit_code": 0,
            "config": {},
            "receipt": receipt,
            "versions": {},
            "peak_memory_bytes": 0,
        }
        write_text(lake.runs / f"{run_id}.json", json.dumps(record))
    assert vacuum(VacuumConfig(lake=lake.root, runs=True, keep_days=30)).metrics["files"] == ["runs/2-score.json"]
    assert {path.name for path in lake.runs.iterdir()} >= {"1-ingest.json", "3-score.json"}
