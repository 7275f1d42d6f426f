"""Ingest and the location of reviews: damaged archives, unreadable folders, loops, odd files and odd names."""

import gzip
import io
import logging
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from pipeline.readers import walk
from pipeline.readers.walk import Walker
from tests.support.ingested import ingest, left_out, rejects_of, rows_of, texts_of


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
    with pytest.raises(DataError, match="damaged or truncated"):
        ingest(tmp_path / "lake", tmp_path / "a.tar")
    assert not (tmp_path / "lake" / "tokens").exists()


def test_a_folder_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = corpus / "aclImdb" / "test" / "neg"
    folder_names = walk.folder_names

    def refusing(path: bytes, suffix: bytes) -> tuple[bytes, bytes]:
        if path == bytes(closed):
            raise PermissionError(13, "Permission denied", os.fsdecode(path))
        return folder_names(path, suffix)

    monkeypatch.setattr(walk, "folder_names", refusing)
    receipt = ingest(tmp_path / "lake", corpus)
    assert (receipt.read, receipt.quarantined, left_out(receipt)) == (100, 1, [("neg", "unreadable")])
    with pytest.raises(DataError, match=r"1 of 131 files cannot be read|1 of 1\d\d files cannot be read"):
        ingest(tmp_path / "lake", corpus, strict=True)


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
    passed_over = next(line for line in caplog.messages if line.startswith("skipped"))
    assert all(name in passed_over for name in ("pipe.txt", "pipe.csv"))


def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path: Path, corpus: Path) -> None:
    (corpus / "link.txt").symlink_to(corpus / "gone.txt")
    receipt = ingest(tmp_path / "lake", corpus)
    assert (receipt.read, left_out(receipt)) == (130, [("link.txt", "unreadable")])


LINKS = ["link.txt", "link.txt.gz", "link.csv", "link.jsonl", "link.parquet", "link.tar", "link.zip"]


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("pattern", ["", "/[al]*"], ids=["folder", "pattern"])
def test_links_in_a_circle_are_left_out_alone(tmp_path: Path, corpus: Path, name: str, pattern: str) -> None:
    (corpus / name).symlink_to(name)
    (corpus / "one").symlink_to("other")
    (corpus / "other").symlink_to("one")
    receipt = ingest(tmp_path / "lake", f"{corpus}{pattern}")
    assert (receipt.read, left_out(receipt)) == (130, [(name, "unreadable")])


def test_a_link_that_leads_nowhere_does_not_end_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\ngood\n")
    (tmp_path / "b.csv").symlink_to("gone.csv")
    receipt = ingest(tmp_path / "lake", tmp_path / "*.csv")
    assert (receipt.read, left_out(receipt)) == (1, [("gone.csv", "unreadable")])


def test_a_folder_of_compressed_texts_is_one_source(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.txt.gz").write_bytes(gzip.compress(b"good"))
    (tmp_path / "plain.txt").write_text("good")
    sources = Walker(name_of=str).find([tmp_path]).sources
    assert [len(source.files) for source in sources] == [21]
    assert ingest(tmp_path / "lake", tmp_path).written == 21


def test_links_in_an_archive_are_rejected_and_hidden_members_passed_over(tmp_path: Path) -> None:
    path = archived(tmp_path / "a.tar", ["./a/1.txt", "a/._2.txt", ".git/3.txt", "./../4.txt"])
    with tarfile.open(path, "a") as tar:
        for name, kind in (("a/5.txt", tarfile.LNKTYPE), ("a/6.txt", tarfile.SYMTYPE), ("b/7.txt", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "a/1.txt"
            tar.addfile(member)
    receipt = ingest(tmp_path / "lake", path)
    assert (receipt.read, receipt.written, rejects_of(receipt)) == (4, 2, [(0, "link"), (0, "link")])
    found = {row["source"].partition("!/")[2] for row in rows_of(tmp_path / "lake")}
    assert found == {"a/1.txt", "../4.txt"}


NOT_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("inside", [True, False])
def test_names_that_are_not_utf8_are_escaped(tmp_path: Path, inside: bool) -> None:
    lake = tmp_path / "lake"
    folder = (lake / "raw" if inside else tmp_path) / NOT_UTF8
    folder.mkdir(parents=True)
    (folder / f"{NOT_UTF8}.txt").write_text("good")
    (folder / f"{NOT_UTF8}.txt.gz").write_bytes(gzip.compress(b"good"))
    (folder / f"{NOT_UTF8}.csv").write_text("text\ngood\n")
    (folder / f"{NOT_UTF8}.jsonl").write_text('{"text": "good"}\n')
    pq.write_table(pa.table({"text": ["good"]}), tmp_path / "p.parquet")
    (tmp_path / "p.parquet").rename(folder / f"{NOT_UTF8}.parquet")
    archived(folder / f"{NOT_UTF8}.tar", [f"{NOT_UTF8}/{NOT_UTF8}.txt"])
    assert ingest(lake, folder).written == 6
    name = r"raw/caf\xe9" if inside else f"{tmp_path.as_uri()}/caf%E9"
    names = {row["source"] for row in rows_of(lake)}
    assert {rf"{name}/caf\xe9.txt", rf"{name}/caf\xe9.txt.gz"} < names
    assert sum(source.endswith(r"!/caf\xe9/caf\xe9.txt") for source in names) == 1
    assert len(list((lake / "runs").iterdir())) == 1
    assert ingest(lake, folder).exit_code == 99


def test_label_and_group_of_a_folder_outside_the_lake_are_its_name(tmp_path: Path) -> None:
    for folder in (tmp_path / "train" / "très bon", tmp_path / "lake" / "raw" / "train" / "très bon"):
        folder.mkdir(parents=True)
        (folder / "0_9.txt").write_text("good")
        (folder.parent / "urls_très bon.txt").write_bytes("a\u2028film\r\nanother\r\n".encode())
    for number, root in enumerate((tmp_path / "train", tmp_path / "lake" / "raw")):
        receipt = ingest(tmp_path / str(number), root)
        assert receipt.metrics["labels"] == ["très bon"]
        assert [row["group"] for row in rows_of(tmp_path / str(number))] == ["a\u2028film"]
    assert ingest(tmp_path / "lake").metrics["labels"] == ["très bon"]
    assert [row["group"] for row in rows_of(tmp_path / "lake")] == ["a\u2028film"]


def test_reviews_wait_for_their_list_of_films(tmp_path: Path, corpus: Path) -> None:
    path = corpus / "aclImdb/train/urls_neg.txt"
    path.unlink()
    path.symlink_to("gone")
    receipt = ingest(tmp_path / "lake", corpus)
    assert (receipt.read, left_out(receipt)) == (100, [("urls_neg.txt", "unreadable")])
    path.unlink()
    path.write_text("film\n" * 30)
    assert ingest(tmp_path / "lake", corpus).written == 30
    neg = [row["group"] for row in rows_of(tmp_path / "lake") if "/train/neg/" in row["source"]]
    assert neg == ["film"] * 30


def test_damaged_compressed_texts_end_the_run(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b"good film " * 1000))
    content[12] ^= 0xFF
    (tmp_path / "a.txt.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.txt\.gz: cannot be read as text \(gzip\)"):
        ingest(tmp_path / "lake", tmp_path / "a.txt.gz")


def test_endings_in_capitals_and_a_mark_of_the_byte_order(tmp_path: Path) -> None:
    (tmp_path / "A.TXT.GZ").write_bytes(gzip.compress(b"good"))
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfgood")
    archived(tmp_path / "C.TAR", ["c.txt"])
    ingest(tmp_path / "lake", tmp_path)
    assert list(texts_of(tmp_path / "lake").values()) == ["good"] * 3
