"""Fixtures that several folders use: a small corpus, a lake, the command line as a child process."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Kernels of tests are small; threads that wait for each other on a busy machine make them a hundred times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no failure: examples have no deadline of their own, tests have pytest-timeout's.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")

ROOT = Path(__file__).resolve().parents[1]
IMDB_ARCHIVE = ROOT.parent / "shared" / "data" / "imdb-train.tar.gz"


@pytest.fixture(scope="session", autouse=True)
def _no_other_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A command that names no lake finds an empty one, never ./data_lake or the one of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PIPELINE_LAKE", str(tmp_path_factory.mktemp("nowhere") / "lake"))
        yield


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code, the receipt on the last line of stdout, what it said on stderr."""

    code: int
    stdout: str
    stderr: str

    @property
    def receipt(self) -> dict[str, Any]:
        return json.loads(self.stdout.strip().splitlines()[-1])


Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def pipeline() -> Run:
    """Runs `pipeline ARGUMENTS…` as a person would, in a process of its own."""

    def run(
        *arguments: object, cwd: Path | None = None, timeout: float = 240, stdin: str | None = None, **environment: str
    ) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=cwd or ROOT,
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def imdb_archive() -> Path:
    """The real reviews, where they are at hand."""
    if not IMDB_ARCHIVE.exists():
        pytest.skip(f"the real reviews are not at {IMDB_ARCHIVE.name} beside the checkout")
    return IMDB_ARCHIVE


def write_corpus(root: Path, reviews_per_label: int = 30) -> Path:
    """A corpus in aclImdb's layout: train and test, neg and pos, unsup, films; deterministic, two labels that differ."""
    verdicts = {"neg": "bad dull awful boring", "pos": "good fine lovely moving"}
    for split in ("train", "test"):
        for label, words in verdicts.items():
            folder = root / "aclImdb" / split / label
            folder.mkdir(parents=True)
            for number in range(reviews_per_label):
                word = words.split()[number % 4]
                text = f"Film {number} was {word}, and {split} is its split.<br />It's {'so ' * (number % 7)}{word}!"
                (folder / f"{number}_{9 if label == 'pos' else 2}.txt").write_text(text, encoding="utf-8")
            films = [f"http://films.example/{split}{number // 3}\n" for number in range(reviews_per_label)]
            (folder.parent / f"urls_{label}.txt").write_text("".join(films))
    unsup = root / "aclImdb" / "train" / "unsup"
    unsup.mkdir()
    for number in range(10):
        (unsup / f"{number}_0.txt").write_text(f"Nobody has judged film {number} yet.", encoding="utf-8")
    return root


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """See `write_corpus`: 60 train, 60 test, 10 unsup."""
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def run_main(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Runs the command line in this process and gives its exit code; signal handlers and logging are put back."""
    from pipeline.cli.app import run_command_line

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    before = (root.level, list(root.handlers))

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["pipeline", *map(str, arguments)])
        return run_command_line()

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
    root.setLevel(before[0])
    root.handlers[:] = before[1]
