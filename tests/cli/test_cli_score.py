"""`pipeline score` as a process: receipts, exit codes, signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT
from tests.scoring.parts import make_lake, make_texts


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return make_lake(tmp_path / "lake")


def write(path: Path, count: int) -> Path:
    pq.write_table(pa.table({"text": make_texts(min(count, 2000)) * max(1, count // 2000)}), path)
    return path


def test_the_receipt_is_the_last_line_and_the_second_run_ends_with_99(pipeline: Any, lake: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", 30)
    first = pipeline("score", source, "--lake", lake)
    assert first.code == 0, first.stderr
    assert (first.receipt["read"], first.receipt["written"]) == (30, 30)
    assert first.receipt["outputs"] == {"predictions": str(lake / "predictions" / "in.parquet"), "model": "first"}
    second = pipeline("score", source, "--lake", lake)
    assert (second.code, second.receipt["known"], second.receipt["written"]) == (99, 30, 0)
    assert "Error" not in first.stderr + second.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.parquet"], 66, "no such file or folder: absent.parquet"),
        (["inn.parquet"], 66, "Did you mean 'in.parquet'?"),
        (["in.parquet", "--text-column", "txt"], 65, "no column 'txt'. Did you mean 'text'? Its columns: 'text'"),
        (["in.parquet", "--model", "frist"], 66, "Did you mean 'first'?"),
        (["in.parquet", "--device", "gpu"], 2, "--device: 'gpu' is not known"),
        (["in.parquet", "--output", "in.parquet"], 2, "never changes"),
        (["in.parquet", "--batch-size", "0"], 2, "--batch-size 0: expected 1 or more"),
    ],
)
def test_a_mistake_is_one_message_without_a_traceback(
    pipeline: Any, lake: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    write(tmp_path / "in.parquet", 3)
    outcome = pipeline("score", *arguments, "--lake", lake, cwd=tmp_path)
    assert outcome.code == code
    assert message in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (lake / "predictions").exists()


def test_sigterm_leaves_nothing_half_written(lake: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", 400_000)
    command = [sys.executable, "-m", "pipeline", "score", source, "--lake", lake]
    child = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    deadline = time.monotonic() + 120
    while not list((lake / "predictions").glob(".tmp-*")):
        assert child.poll() is None and time.monotonic() < deadline, "the run ended before it could be stopped"
        time.sleep(0.02)
    time.sleep(0.3)
    child.send_signal(signal.SIGTERM)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 143, stderr.decode()
    assert "Traceback" not in stderr.decode()
    assert list((lake / "predictions").iterdir()) == []


def test_help_shows_defaults_and_an_example(pipeline: Any) -> None:
    shown = " ".join(pipeline("score", "--help").stdout.split())
    assert "Example: pipeline score" in shown
    for default in ("[default: LATEST]", "[default: text]", "[default: all]", "[default: 64]", "[default: auto]"):
        assert default in shown, default
