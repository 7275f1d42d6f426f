"""A lake to score in, and files to be scored."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.scoring import make_lake
from tests.support.tables import Write


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake whose LATEST is a small random bilstm."""
    return make_lake(tmp_path / "lake")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes columns as a Parquet file in the test's folder."""

    def write_file(name: str = "reviews.parquet", row_group_size: int = 100, **columns: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
        return path

    return write_file
