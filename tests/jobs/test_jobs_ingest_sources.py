"""Ingest, and where reviews lie: damaged archives, folders that cannot be read, loops, odd files and odd names."""

import io
import tarfile
from pathlib import Path

import pytest

from pipeline.errors import DataError
from tests.jobs.test_jobs_ingest import ingest, rejects_of, rows_of


def archived(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"good"))
    return path


@pytest.mark.parametrize(
    ("start", "end"), [(1024, 1024), (2048, 2048), (2048, 2500), (1024, 1030)], ids=["cut", "cut later", "cut header", "hole"]
)
def test_a_damaged_archive_is_no_shorter_one(tmp_path: Path, start: int, end: int) -> None:
    """Each member takes two blocks of 512 bytes."""
    whole = archived(tmp_path / "a.tar", [f"{n}.txt" for n in range(4)]).read_bytes()
    damaged = whole[:end] if end != 1030 else whole[:start] + b"\xff" * 6 + whole[end:]
    (tmp_path / "a.tar").write_bytes(damaged)
    with pytest.raises(DataError, match="damaged or cut short"):
        ingest(tmp_path / "lake", tmp_path / "a.tar")
    assert not (tmp_path / "lake" / "tokens").exists()
