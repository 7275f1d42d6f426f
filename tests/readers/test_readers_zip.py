"""Zip archives: of `.txt` files, or of a single table, as sources of every command that reads."""

import json
import logging
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.readers import ratio, zip_members
from tests.support.ingested import ingest, rejects_of, rows_of, texts_of

TABLE = b"text,label\nfine film,pos\ndull film,neg\n"
TEXTS = {"train/pos/0_9.txt": b"good", "train/neg/0_1.txt": b"bad", "train/urls_pos.txt": b"a film\n"}


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def encrypted(path: Path) -> Path:
    """The archive, with all of its members marked as encrypted."""
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for match in re.finditer(re.escape(signature), bytes(content)):
            content[match.start() + flags] |= 1
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_reviews_of_a_zip_are_those_of_the_same_tar(tmp_path: Path, compression: int) -> None:
    zipped(tmp_path / "a.zip", TEXTS | {"train/pos/": b"", "__MACOSX/train/pos/._0_9.txt": b"x"}, compression)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, tarfile.open(tmp_path / "a.tar", "w") as tar:
        archive.extractall(tmp_path / "unpacked")
        tar.add(tmp_path / "unpacked", ".")

    def found(name: str) -> list[tuple[object, ...]]:
        receipt = ingest(tmp_path / f"lake-{name}", tmp_path / name)
        assert (receipt.read, receipt.written) == (2, 2)
        columns = ("label", "split", "group", "stars", "source")
        rows = [[row[column] for column in columns] for row in rows_of(tmp_path / f"lake-{name}")]
        return sorted((*row[:-1], str(row[-1]).partition("!/")[2]) for row in rows)

    assert found("a.zip") == found("a.tar")


@pytest.mark.parametrize(("name", "content"), [("r.csv", TABLE), ("r.jsonl", b'{"text": "fine film", "label": "pos"}\n')])
def test_a_zip_of_one_table_is_read_like_the_table(
    tmp_path: Path, name: str, content: bytes, run_main: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = zipped(tmp_path / "archive.zip", {f"data/{name}": content, f"__MACOSX/data/._{name}": b"x", "LICENSE": b"x"})
    (tmp_path / name).write_bytes(content)
    assert ingest(tmp_path / "lake", path).written == ingest(tmp_path / "plain", tmp_path / name).written
    assert [*texts_of(tmp_path / "lake").values()] == [*texts_of(tmp_path / "plain").values()]
    assert run_main("inspect", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["rows"] == content.count(b"film")


def test_a_link_in_a_zip_is_a_reject(tmp_path: Path) -> None:
    with zipfile.ZipFile(zipped(tmp_path / "a.zip", {"a.txt": b"good"}), "a") as archive:
        link = zipfile.ZipInfo("b.txt")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "a.txt")
    receipt = ingest(tmp_path / "lake", tmp_path / "a.zip")
    assert (receipt.written, rejects_of(receipt)) == (1, [(0, "link")])


@pytest.mark.parametrize("members", [TEXTS, {"r.csv": TABLE}], ids=["texts", "table"])
def test_an_encrypted_zip_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = encrypted(zipped(tmp_path / "a.zip", members))
    with pytest.raises(DataError, match=r"a\.zip: .* is encrypted\. Unpack the archive and pass the folder"):
        ingest(tmp_path / "lake", path)


@pytest.mark.parametrize("members", [TEXTS, {"r.csv": TABLE * 100}], ids=["texts", "table"])
@pytest.mark.parametrize("damage", ["cut", "content"])
def test_a_damaged_zip_is_left_out_whole(
    tmp_path: Path, members: dict[str, bytes], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = zipped(tmp_path / "a.zip", members, zipfile.ZIP_STORED)
    content = path.read_bytes()
    last = next(iter(members.values()))[-4:]
    path.write_bytes(content[:-30] if damage == "cut" else content.replace(last, b"\xff" * len(last), 1))
    (tmp_path / "b.csv").write_bytes(TABLE)
    with caplog.at_level(logging.WARNING):
        receipt = ingest(tmp_path / "lake", path, tmp_path / "b.csv")
    assert (receipt.written, receipt.quarantined) == (2, 1)
    assert "damaged" in caplog.text


def test_a_zip_of_several_tables_is_to_be_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.csv": TABLE, "b.csv": TABLE})
    with pytest.raises(DataError, match=r"contains no \.txt files, but a\.csv, b\.csv\. Unpack it and pass the folder"):
        ingest(tmp_path / "lake", path)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert ingest(tmp_path / "lake", tmp_path / "unpacked").written == 4


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_the_ratio_of_a_zip_is_limited(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 MB of the same line; for `.txt`, in files of half a MB."""
    monkeypatch.setattr(ratio, "RATIO_FLOOR_BYTES", 1 << 20)
    line = b"good " * 1000 + b"\n"
    members = {name: b"text\n" + line * 800} if name == "a.csv" else {f"{n}.txt": line * 100 for n in range(8)}
    path = zipped(tmp_path / "a.zip", members)
    with pytest.raises(DataError, match="decompresses to more than 250 times its size, the limit of --max-ratio"):
        ingest(tmp_path / "lake", path)


def test_a_directory_beyond_its_bound_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", TEXTS)
    content = path.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    path.write_bytes(content[: end + 12] + struct.pack("<L", 1 << 30) + content[end + 16 :])
    monkeypatch.setattr(zip_members.zipfile, "ZipFile", None)
    with pytest.raises(DataError, match=r"its directory takes more than 32 MiB\. Unpack the archive"):
        ingest(tmp_path / "lake", path)
