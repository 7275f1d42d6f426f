"""Fixtures that several folders use: a small corpus, and the command line as a process or in this one."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Kernels of tests are small; threads that wait for each other on a busy machine make them a hundred times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.register_assert_rewrite("tests.support")  # before the first import of it

from tests.support.commands import Run, logging_and_signals_put_back, run_here, run_process  # noqa: E402
from tests.support.paths import IMDB_ARCHIVE  # noqa: E402
from tests.support.reviews import write_corpus  # noqa: E402

# A busy machine is no failure: examples have no deadline of their own, tests have pytest-timeout's.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


@pytest.fixture(scope="session", autouse=True)
def _no_other_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A command that names no lake finds an empty one, never ./data_lake or the one of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as environment:
        nowhere = tmp_path_factory.mktemp("nowhere")
        environment.setenv("PIPELINE_LAKE", str(nowhere / "lake"))
        environment.setenv("PIPELINE_CACHE", str(nowhere / "cache"))
        yield


@pytest.fixture(scope="session")
def pipeline() -> Run:
    """See `run_process`: for what the process itself does, such as its streams."""
    return run_process


@pytest.fixture(scope="session")
def command() -> Run:
    """See `run_here`: for what a command reads, writes and says."""
    return run_here


@pytest.fixture
def imdb_archive() -> Path:
    """The real reviews, where they are at hand."""
    if not IMDB_ARCHIVE.exists():
        pytest.skip(f"the real reviews are not at {IMDB_ARCHIVE.name} beside the checkout")
    return IMDB_ARCHIVE


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """See `write_corpus`: 60 train, 60 test, 10 unsup."""
    return write_corpus(tmp_path / "corpus")


@pytest.fixture(scope="module")
def without_pages() -> Iterator[None]:
    """Trainings write no report.html: to draw it takes most of a small training's time. Its tests are in tests/reports/."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipeline.reports.write.write_report", lambda *_, **__: None)
        yield


@pytest.fixture
def run_main(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Runs the command line in this process and gives its exit code; `capsys` and `caplog` take what it says."""
    from pipeline.cli.app import run_command_line

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["pipeline", *map(str, arguments)])
        return run_command_line()

    with logging_and_signals_put_back():
        yield run
