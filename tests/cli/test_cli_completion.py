"""Completion in a shell: commands, architectures, presets, ids of models and runs; quickly, without the heavy libraries."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import run_here
from tests.support.paths import ROOT

SHOW_MODULES = (
    "import sys, atexit\n"
    "atexit.register(lambda: print('MODULES', *sorted(set(m.partition('.')[0] for m in sys.modules)), file=sys.stderr))\n"
    "from pipeline.cli.app import run_command_line\nsys.argv = ['pipeline']\nsys.exit(run_command_line())"
)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for name in ("bilstm-20260131T040000Z-1a2b3c", "nbsvm-20260131T040000Z-1a2b3c", ".tmp-x"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.json").write_text("{}")
    (tmp_path / "pretrained" / "vectors-20260131T040000Z-1a2b3c").mkdir(parents=True)
    (tmp_path / "pretrained" / "vectors-20260131T040000Z-1a2b3c" / "pretrained.json").write_text("{}")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "20260131T040000.123Z-ingest-1a2b3c.json").write_text("{}")
    return tmp_path


def of_bash(line: str) -> dict[str, str]:
    """The environment with which bash asks for the last word of a line."""
    words = line.split(" ")
    return {"_PIPELINE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}


def completed(line: str, lake: Path) -> list[str]:
    """What bash is offered for the last word of a line."""
    return run_here(PIPELINE_LAKE=str(lake), **of_bash(line)).stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("pipeline tr", {"train"}),
        ("pipeline train --arch bil", {"bilru", "bilstm"}),
        ("pipeline train --config book-b", {"book-bigru", "book-bilstm"}),
        ("pipeline score --model ", {"LATEST", "LIVE", "bilstm-20260131T040000Z-1a2b3c", "nbsvm-20260131T040000Z-1a2b3c"}),
        ("pipeline train --init L", {"LATEST", "LIVE"}),
        ("pipeline train --init v", {"vectors-20260131T040000Z-1a2b3c"}),
        ("pipeline train --init nb", {"nbsvm-20260131T040000Z-1a2b3c"}),
        ("pipeline evaluate --model nb", {"nbsvm-20260131T040000Z-1a2b3c"}),
        ("pipeline report --compare nb", {"nbsvm-20260131T040000Z-1a2b3c"}),
        ("pipeline models show bi", {"bilstm-20260131T040000Z-1a2b3c"}),
        ("pipeline runs show 2026", {"20260131T040000.123Z-ingest-1a2b3c"}),
        ("pipeline runs show la", {"latest"}),
        ("pipeline runs --command ing", {"ingest"}),
        ("pipeline score --device c", {"cpu", "cuda"}),
    ],
)
def test_words_are_offered(lake: Path, line: str, offered: set[str]) -> None:
    assert set(completed(line, lake)) == offered


@pytest.mark.parametrize("line", ["pipeline train --arch bil", "pipeline score --model "])
def test_the_heavy_libraries_are_not_imported_for_it(lake: Path, line: str) -> None:
    environment = {**os.environ, "PIPELINE_LAKE": str(lake), **of_bash(line)}
    done = subprocess.run([sys.executable, "-c", SHOW_MODULES], capture_output=True, text=True, cwd=ROOT, env=environment)
    modules = set(done.stderr.rpartition("MODULES")[2].split())
    assert set(done.stdout.split()) == set(completed(line, lake)) != set()
    assert "typer" in modules and not {"torch", "pyarrow", "numpy", "deltalake"} & modules


def test_the_lake_that_the_line_names_is_the_one(lake: Path, tmp_path: Path) -> None:
    line = "pipeline score --lake {} --model nb"
    assert completed(line.format(lake), tmp_path / "other") == ["nbsvm-20260131T040000Z-1a2b3c"]
    assert completed(line.format("s3://bucket/lake"), lake) == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_script_that_is_shown_is_one_that_bash_takes() -> None:
    command = [sys.executable, "-m", "pipeline", "--show-completion", "bash"]
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True).stdout
    assert "_PIPELINE_COMPLETE=complete_bash" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
