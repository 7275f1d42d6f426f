"""Commands at the same time: exact rows, and no other exit codes than 0, 75 and 99."""

import shutil
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.doctor.lake import lake_checks
from pipeline.lake.paths import Lake
from tests.faults.harness import Commands, leftovers
from tests.faults.scenarios import TRAIN, make_folder, make_ingested, make_trained
from tests.support.fork_server import forked_pipeline, forked_python
from tests.support.paths import ROOT
from tests.support.table_rows import table_rows

ALLOWED = {0, 75, 99}


def together(*lines: "tuple[object, ...]") -> list[int]:
    """Starts all of them at once; gives their exit codes."""
    started = [
        subprocess.Popen([*forked_pipeline(), *map(str, line)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for line in lines
    ]
    outputs = [process.communicate() for process in started]
    codes = [process.returncode for process in started]
    assert set(codes) <= ALLOWED, [(code, output[1][-500:]) for code, output in zip(codes, outputs, strict=True)]
    return codes


def check(lake: Path, rows: int) -> None:
    found = table_rows(lake)
    assert (sum(found.values()), len({row[0] for row in found})) == (rows, rows)
    assert leftovers(lake) == []
    assert [check for check in lake_checks(Lake(lake), verify=True) if check.state == "FAIL"] == []


@pytest.mark.slow
@pytest.mark.parametrize("copies", [2, pytest.param(4, marks=pytest.mark.faults)])
def test_ingest_and_ingest(copies: int, commands: Commands, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    make_ingested(commands, lake)
    rows = sum(table_rows(lake).values())
    codes = together(*[("ingest", "--lake", lake, "--workers", 0)] * copies)
    if 0 not in codes:  # each turned the other away
        together(("ingest", "--lake", lake, "--workers", 0))
    check(lake, rows + 5)


@pytest.mark.faults
@pytest.mark.parametrize("copies", [1, 2])
def test_ingest_beside_training_beside_vacuum(copies: int, commands: Commands, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    make_ingested(commands, lake)
    rows = sum(table_rows(lake).values())
    lines = [("ingest", "--lake", lake), ("train", "--lake", lake, *TRAIN), ("vacuum", "--lake", lake)]
    together(*lines * copies)
    together(("ingest", "--lake", lake))
    check(lake, rows + 5)


@pytest.mark.slow
def test_two_lakes_that_score_to_one_output(commands: Commands, tmp_path: Path) -> None:
    first, second, output = tmp_path / "first", tmp_path / "second", tmp_path / "out.parquet"
    make_trained(commands, first)
    shutil.copytree(first, second)
    lines = [("score", first / "input.parquet", "--lake", lake, "--output", output, "--force") for lake in (first, second)]
    together(*lines)
    assert pq.read_table(output).num_rows == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "out.parquet", "second"]


@pytest.mark.slow
@pytest.mark.parametrize("copies", [2, pytest.param(4, marks=pytest.mark.faults)])
def test_scoring_to_one_output(copies: int, commands: Commands, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    make_trained(commands, lake)
    line = ("score", lake / "input.parquet", "--lake", lake)
    codes = together(*[line] * copies)
    assert 0 in codes
    together(line)
    assert pq.read_table(lake / "predictions" / "input.parquet").num_rows == 20
    assert sorted(path.name for path in (lake / "predictions").iterdir()) == ["input.parquet"]


@pytest.mark.slow
@pytest.mark.parametrize("copies", [2, pytest.param(4, marks=pytest.mark.faults)])
def test_scoring_one_folder(copies: int, commands: Commands, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    make_folder(commands, lake)
    line = ("score", lake / "incoming", "--lake", lake)
    codes = together(*[line] * copies)
    assert 0 in codes
    together(line)
    found = {path.name: pq.ParquetFile(path).metadata.num_rows for path in (lake / "predictions").rglob("*.parquet")}
    assert found == {"known.csv.parquet": 1, "changed.csv.parquet": 2, "new.csv.parquet": 1, "new.parquet": 20}
    assert leftovers(lake) == [] and not list((lake / "predictions").rglob(".*.lock"))


@pytest.mark.slow
def test_a_new_live_model_in_the_middle_of_scoring(commands: Commands, tmp_path: Path) -> None:
    """The run ends with the model that it began with, although another one goes live and vacuum wants the old one away."""
    lake = tmp_path / "lake"
    make_trained(commands, lake)
    first = Lake(lake).latest_model()
    assert commands.run(lake, "train", "--lake", lake, *TRAIN, "--seed", 3).code == 0
    second = Lake(lake).latest_model()
    Lake(lake).latest.write_text(f"{first}\n")
    script = SLOW_SCORE.format(lake=str(lake), gate=str(tmp_path / "gate"))
    scoring = subprocess.Popen([*forked_python(), script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (tmp_path / "gate").exists():  # the bundle is found, nothing of it is loaded yet
        assert scoring.poll() is None, scoring.communicate()
        time.sleep(0.02)
    Lake(lake).latest.write_text(f"{second}\n")
    assert commands.run(lake, "vacuum", "--lake", lake, "--models", "--keep", 0, "--keep-hours", 0).code in (0, 99)
    assert (lake / "models" / first).is_dir()
    (tmp_path / "gate").unlink()
    output = scoring.communicate(timeout=120)
    assert scoring.returncode == 0, output
    predictions = lake / "predictions" / "input.parquet"
    assert set(pq.read_table(predictions)["model_id"].to_pylist()) == {first}
    together(("score", lake / "input.parquet", "--lake", lake))
    assert set(pq.read_table(predictions)["model_id"].to_pylist()) == {second}
    assert pq.read_table(predictions).num_rows == 20 and leftovers(lake) == []


SLOW_SCORE = """
import pathlib, sys, time
from jobs import score
from pipeline.config.score import ScoreConfig
whole = score._score
def waiting(*arguments):
    gate = pathlib.Path({gate!r})
    gate.touch()
    while gate.exists():
        time.sleep(0.02)
    return whole(*arguments)
score._score = waiting
receipt = score.run(ScoreConfig(lake=pathlib.Path({lake!r}), sources=({lake!r} + "/input.parquet",), workers=1))
sys.exit(receipt.exit_code)
"""


@pytest.mark.faults
@pytest.mark.parametrize("copies", [1, 2])
def test_training_beside_vacuum_beside_training(copies: int, commands: Commands, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    make_trained(commands, lake)
    rows = sum(table_rows(lake).values())
    vacuum = ("vacuum", "--lake", lake, "--models", "--keep", 1, "--runs", "--keep-days", 0, "--keep-hours", 0)
    trains = [("train", "--lake", lake, *TRAIN, "--seed", seed) for seed in range(7, 7 + copies)]
    together(*trains, *[vacuum] * copies)
    check(lake, rows)


@pytest.mark.faults
def test_scoring_beside_training(commands: Commands, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    make_trained(commands, lake)
    score = ("score", lake / "input.parquet", "--lake", lake)
    together(score, ("train", "--lake", lake, *TRAIN, "--seed", 3), score, ("score", lake / "input.parquet", "--lake", lake))
    together(score)
    assert pq.read_table(lake / "predictions" / "input.parquet").num_rows == 20
    assert leftovers(lake) == []
