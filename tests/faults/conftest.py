"""The shim, and a process that runs commands under it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import Commands, build_shim


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled shim."""
    built = build_shim(tmp_path_factory.mktemp("shim"))
    if built is None:
        pytest.skip("no C compiler, or not Linux: file operations cannot be made to fail")
    return built


@pytest.fixture(scope="session")
def commands(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Runs command lines under the shim."""
    with Commands(shim, tmp_path_factory.mktemp("commands"), torch=True) as running:
        yield running
