"""Two machines and the store that they share; tests of stores themselves have a `store` of their own."""

from pathlib import Path

import pytest

from tests.support.commands import Run
from tests.support.machines import Machine


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of a store."""
    return tmp_path / "store"


@pytest.fixture
def machine(command: Run, store: Path, tmp_path: Path) -> Machine:
    """Works on a lake in the store."""
    return Machine(command, f"file+store://{store}", tmp_path / "cache")


@pytest.fixture
def other(command: Run, store: Path, tmp_path: Path) -> Machine:
    """Works on the same lake."""
    return Machine(command, f"file+store://{store}", tmp_path / "other-cache")
