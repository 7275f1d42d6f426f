"""The fixture of the reports' tests."""

from pathlib import Path

import pytest

from tests.support.report_bundles import make_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """See `make_bundle`."""
    return make_bundle(tmp_path)
