"""Commands at the same time: exact rows, and no other exit codes than 0, 75 and 99."""

import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.doctor.lake import lake_checks
from pipeline.lake.paths import Lake
from tests.faults.harness import Commands, leftovers, table_rows
from tests.faults.scenarios import TRAIN, make_ingested, make_trained
from tests.support.paths import ROOT

ALLOWED = {0, 75, 99}


def together(*lines: "tuple[object, ...]") -> list[int]:
    """Starts all of them at once; gives their exit codes."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "pipeline", *map(str, line)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
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


def test_two_lakes_that_score_to_one_output(commands: Commands, tmp_path: Path) -> None:
    first, second, output = tmp_path / "first", tmp_path / "second", tmp_path / "out.parquet"
    make_trained(commands, first)
    shutil.copytree(first, second)
    lines = [("score", first / "input.parquet", "--lake", lake, "--output", output, "--force") for lake in (first, second)]
    together(*lines)
    assert pq.read_table(output).num_rows == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "out.parquet", "second"]


@pytest.mark.faults
def test_scoring_beside_training(commands: Commands, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    make_trained(commands, lake)
    score = ("score", lake / "input.parquet", "--lake", lake)
    together(score, ("train", "--lake", lake, *TRAIN, "--seed", 3), score, ("score", lake / "input.parquet", "--lake", lake))
    together(score)
    assert pq.read_table(lake / "predictions" / "input.parquet").num_rows == 20
    assert leftovers(lake) == []
