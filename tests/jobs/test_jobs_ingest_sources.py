"""Ingest, and where reviews lie: damaged archives, folders that cannot be read, loops, odd files and odd names."""

import gzip
import io
import logging
import os
import tarfile
from pathlib import Path

import pytest

from pipeline.datapipes.sources import find_sources
from pipeline.errors import DataError
from pipeline.lake.paths import Lake
from tests.jobs.test_jobs_ingest import ingest


def archived(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"good"))
    return path


@pytest.mark.parametrize(
    ("start", "end"),
    [(1024, 1024), (2048, 2048), (2048, 2500), (1024, 1030)],
    ids=["cut", "cut later", "cut header", "hole"],
)
def test_a_damaged_archive_is_no_shorter_one(tmp_path: Path, start: int, end: int) -> None:
    """Each member takes two blocks of 512 bytes."""
    whole = archived(tmp_path / "a.tar", [f"{n}.txt" for n in range(4)]).read_bytes()
    damaged = whole[:end] if end != 1030 else whole[:start] + b"\xff" * 6 + whole[end:]
    (tmp_path / "a.tar").write_bytes(damaged)
    with pytest.raises(DataError, match="damaged or cut short"):
        ingest(tmp_path / "lake", tmp_path / "a.tar")
    assert not (tmp_path / "lake" / "tokens").exists()


def test_a_folder_that_cannot_be_read_ends_the_run(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = corpus / "aclImdb" / "test" / "neg"
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=rf"the folder {closed} cannot be read: Permission denied"):
        ingest(tmp_path / "lake", corpus)


def test_links_that_lead_back_are_followed_once(tmp_path: Path, corpus: Path) -> None:
    for name in ("one", "two", "aclImdb/three"):
        (corpus / name).symlink_to(corpus)
    assert ingest(tmp_path / "lake", corpus).read == 130


def test_pipes_are_passed_over_and_counted(tmp_path: Path, corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("pipe.txt", "pipe.csv"):
        os.mkfifo(corpus / name)
    (corpus / "link.txt").symlink_to(corpus / "pipe.txt")
    with caplog.at_level(logging.INFO):
        assert ingest(tmp_path / "lake", corpus).read == 130
    assert "3 files of kinds that are not read were passed over" in caplog.text


def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path: Path, corpus: Path) -> None:
    (corpus / "link.txt").symlink_to(corpus / "gone.txt")
    with pytest.raises(DataError, match=r"link\.txt cannot be read: No such file"):
        ingest(tmp_path / "lake", corpus)


def test_a_folder_of_compressed_texts_is_one_source(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.txt.gz").write_bytes(gzip.compress(b"good"))
    (tmp_path / "plain.txt").write_text("good")
    sources = find_sources([tmp_path], Lake.find(tmp_path / "lake"))
    assert [len(source.files) for source in sources] == [21]
    assert ingest(tmp_path / "lake", tmp_path).written == 21
