"""A small bundle with random weights."""

from pathlib import Path

import pytest

from pipeline.models.bundle import Bundle
from tests.support.scoring import make_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")
