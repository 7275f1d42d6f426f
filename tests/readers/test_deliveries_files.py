"""Files and folders as people deliver them: without rows, hidden, linked, closed, compressed, cut short, changing."""

import bz2
import gzip
import io
import logging
import os
import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.readers import csv_records
from pipeline.readers.limits import Limit
from pipeline.readers.walk import Walker
from tests.support.commands import Run
from tests.support.fork_server import forked_python
from tests.support.ingested import ingest, left_out, rows_of, texts_of
from tests.support.paths import ROOT
from tests.support.tables import write_csv, write_table

GOOD = ("text,label", "fine,pos", "dull,neg")

WITHOUT_ROWS = {
    "empty.csv": b"",
    "header.csv": b"text,label\n",
    "header_cut.csv": b"text,label",
    "blanks.csv": b"\n \n",
    "mark.csv": b"\xef\xbb\xbf",
    "empty.tsv": b"",
    "empty.jsonl": b"",
    "blanks.jsonl": b"\n\n",
    "empty.json": b"",
    "array.json": b"[ ]\n",
    "empty.csv.gz": gzip.compress(b""),
    "empty.jsonl.bz2": bz2.compress(b""),
    "empty.tsv.zst": bytes(pa.compress(b"", codec="zstd", asbytes=True)),
}


def test_files_without_rows_are_no_fault(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_table(folder / "empty.parquet", text=pa.array([], pa.string()))
    write_table(folder / "untyped.feather", text=pa.nulls(0))
    for name, content in WITHOUT_ROWS.items():
        (folder / name).write_bytes(content)
    write_csv(folder / "good.csv", *GOOD)
    receipt = ingest(tmp_path / "lake", folder, strict=True)
    assert (receipt.read, receipt.written, receipt.quarantined) == (2, 2, 0)


@pytest.mark.parametrize("name", WITHOUT_ROWS)
def test_a_file_without_rows_alone_is_nothing_new_or_said(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WITHOUT_ROWS[name])
    with pytest.raises(DataError, match="no reviews to read"):
        ingest(tmp_path / "lake", tmp_path / name)
    ingest(tmp_path / "lake", write_csv(tmp_path / "good.csv", *GOOD))
    assert ingest(tmp_path / "lake", tmp_path / name).exit_code == 99


def test_blank_lines_before_the_header_are_passed_over(tmp_path: Path) -> None:
    ingest(tmp_path / "lake", write_csv(tmp_path / "r.csv", "", "  ", *GOOD))
    assert [row["label"] for row in rows_of(tmp_path / "lake")] == [1, 0]


def test_a_column_of_nulls_beside_one_of_text(tmp_path: Path) -> None:
    write_table(tmp_path / "in/mon.parquet", text=["fine"], label=["pos"])
    write_table(tmp_path / "in/tue.parquet", text=["so so"], label=pa.nulls(1))
    write_table(tmp_path / "in/wed.parquet", text=pa.nulls(1), label=["pos"])
    receipt = ingest(tmp_path / "lake", tmp_path / "in")
    assert (receipt.read, receipt.written, receipt.rejected, receipt.quarantined) == (3, 2, 1, 0)


def test_hidden_folders_and_files_are_passed_over(tmp_path: Path) -> None:
    """Spark's unfinished parts, Delta's log, an editor's backup."""
    columns = {"text": ["fine", "dull"], "label": ["pos", "neg"]}
    for name in ("part-0.parquet", "_temporary/0/part-0.parquet", ".staging/part-0.parquet", "_part-1.parquet"):
        write_table(tmp_path / "in" / name, **columns)
    write_table(tmp_path / "in/_delta_log/00000000000000000010.checkpoint.parquet", add=["x"])
    (tmp_path / "in/_SUCCESS").touch()
    receipt = ingest(tmp_path / "lake", tmp_path / "in")
    assert (receipt.read, receipt.quarantined) == (2, 0)


def test_what_the_lake_writes_is_no_delivery(tmp_path: Path) -> None:
    """The lake lies in the folder that is ingested, as `./data_lake` does in `pipeline ingest .`."""
    lake = tmp_path / "data_lake"
    write_csv(tmp_path / "r.csv", "text,label", "fine,pos", "dull,neg", "a,b,c")
    write_table(lake / "predictions/r.parquet", text=["fine"])
    (lake / "raw").mkdir()
    write_csv(lake / "raw/more.csv", *GOOD)
    first = ingest(lake, tmp_path)
    assert (first.read, first.written, first.quarantined) == (5, 4, 0)
    again = ingest(lake, tmp_path)
    assert (again.exit_code, again.read, again.quarantined) == (99, 5, 0)
    assert ingest(tmp_path / "other", lake / "predictions").read == 1


def test_suffixes_mind_no_case(tmp_path: Path) -> None:
    write_table(tmp_path / "in/A.PARQUET", text=["fine"])
    write_csv(tmp_path / "in/B.Csv", *GOOD)
    (tmp_path / "in/C.JSONL.GZ").write_bytes(gzip.compress(b'{"text": "so so"}\n'))
    assert ingest(tmp_path / "lake", tmp_path / "in").written == 4


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    write_csv(tmp_path / "other/r.csv", *GOOD)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to("../other")
    (tmp_path / "in/again").symlink_to("../other")
    (tmp_path / "other/circle").symlink_to("..")
    assert ingest(tmp_path / "lake", tmp_path / "in").read == 2


AS_NOBODY = """
import os, sys
from pathlib import Path
from tests.support.fork_server import forked_python
from tests.support.ingested import ingest
lake, folder = map(Path, sys.argv[1:])
ingest(lake.with_name("root's"), folder)  # everything is imported by then
os.setegid(65534); os.seteuid(65534)
print(ingest(lake, folder).to_json())
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach; pytest closes those above its own."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        if any(path.stat().st_mode & 0o005 != 0o005 for path in Path(folder).parents):
            pytest.skip("other users cannot reach the folder for temporary files")
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_this_user_may_not_read_is_left_out_and_named(open_folder: Path) -> None:
    folder = open_folder / "in"
    (folder / "closed").mkdir(parents=True)
    write_csv(folder / "closed/r.csv", *GOOD)
    write_csv(folder / "open.csv", *GOOD)
    write_csv(folder / "secret.csv", *GOOD)
    (folder / "closed").chmod(0o700)
    (folder / "secret.csv").chmod(0o600)
    lake = open_folder / "lake"
    lake.mkdir()
    lake.chmod(0o777)
    done = subprocess.run([*forked_python(), AS_NOBODY, lake, folder], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"read": 2' in done.stdout
    assert '"quarantined": 2' in done.stdout
    assert all(f"skipped: {(folder / name).as_uri()}" in done.stderr for name in ("closed", "secret.csv"))


def test_a_source_below_a_folder_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputNotFoundError, match=r"is not accessible: permission denied\. Check the owner"):
        Walker(name_of=str).find([tmp_path / "closed/r.csv"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_csv(folder / "open.csv", *GOOD)
    write_csv(folder / "secret.csv", *GOOD).chmod(0)
    receipt = ingest(tmp_path / "lake", folder)
    assert (receipt.read, left_out(receipt)) == (2, [("secret.csv", "unreadable")])


def tar_of(name: str, text: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return out.getvalue()


def test_archives_one_behind_the_other_are_read_whole(tmp_path: Path) -> None:
    content = tar_of("train/pos/0_9.txt", b"good") + tar_of("train/neg/0_1.txt", b"bad")
    (tmp_path / "a.tar").write_bytes(content)
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(content))
    for name in ("a.tar", "b.tar.gz"):
        receipt = ingest(tmp_path / "lakes" / name, tmp_path / name)
        assert (receipt.written, receipt.metrics["labels"]) == (2, ["neg", "pos"])


PARTS = (b"text,label\nfine,pos\n", b"dull,neg\nso so,neg\n")


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("gz", b"".join(map(gzip.compress, PARTS))),
        ("bz2", b"".join(map(bz2.compress, PARTS))),
        ("zst", b"".join(bytes(pa.compress(part, codec="zstd", asbytes=True)) for part in PARTS)),
    ],
    ids=["gz", "bz2", "zst"],
)
def test_compressed_files_one_behind_the_other_are_read_whole(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"r.csv.{suffix}").write_bytes(content)
    assert ingest(tmp_path / "lake", tmp_path / f"r.csv.{suffix}").written == 3


def test_gzip_may_be_padded_with_zeros(tmp_path: Path) -> None:
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(b"".join(PARTS)) + bytes(1024))
    assert ingest(tmp_path / "lake", tmp_path / "r.csv.gz").written == 3


def test_a_file_that_is_cut_short_is_left_out_until_it_is_whole(tmp_path: Path) -> None:
    """The others are committed, rows of its earlier version stay, and it is read once it is whole."""
    lake, folder = tmp_path / "lake", tmp_path / "in"
    folder.mkdir()
    write_csv(folder / "a.csv", *GOOD)
    rows = "".join(f"film {number} {os.urandom(8).hex()},pos\n" for number in range(200))
    whole = gzip.compress(f"text,label\n{rows}".encode())
    (folder / "b.csv.gz").write_bytes(gzip.compress(b"text,label\nearlier,neg\n"))
    assert ingest(lake, folder).written == 3
    (folder / "b.csv.gz").write_bytes(whole[: len(whole) // 2])
    write_csv(folder / "c.csv", "text,label", "new,pos")
    cut = ingest(lake, folder)
    assert (cut.exit_code, cut.read, cut.written, cut.known, cut.rejected, cut.quarantined) == (0, 3, 1, 2, 0, 1)
    assert left_out(cut) == [("b.csv.gz", "damaged")]
    assert len(rows_of(lake)) == 4
    still = ingest(lake, folder)
    assert (still.exit_code, still.known, still.quarantined) == (99, 3, 1)
    (folder / "b.csv.gz").write_bytes(whole)
    mended = ingest(lake, folder)
    assert (mended.written, mended.quarantined, mended.metrics["replaced"]) == (200, 0, 1)
    assert len(rows_of(lake)) == 203


def test_what_a_damaged_file_brought_is_taken_back(tmp_path: Path) -> None:
    """Its labels, its tokens, its rejects and its ids: the lake is as without it."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_csv(folder / "a.csv", "id,text,label", *(f"{number},film,pos" for number in range(3000)))
    rows = "".join(f"{number},unheard {number % 7} {os.urandom(4).hex()},strange\nx,y\n" for number in range(9000))
    content = bytearray(gzip.compress(f"id,text,label\n{rows}".encode()))
    content[-6] ^= 1  # the checksum at its end
    write_csv(folder / "c.csv", "id,text,label", "1,dull,neg", "9000,dull,neg")
    alone = ingest(tmp_path / "alone", folder, id_column="id")
    (folder / "b.csv.gz").write_bytes(content)
    beside = ingest(tmp_path / "beside", folder, id_column="id")
    assert (beside.quarantined, left_out(beside)) == (1, [("b.csv.gz", "damaged")])
    for name in ("read", "written", "rejected", "known"):
        assert getattr(alone, name) == getattr(beside, name)
    same = ("tokens", "vocabulary_size", "labels", "duplicates")
    assert [alone.metrics[name] for name in same] == [beside.metrics[name] for name in same]
    assert texts_of(tmp_path / "alone") == texts_of(tmp_path / "beside")


def test_a_damaged_page_of_parquet_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "in/r.parquet"
    path.parent.mkdir()
    texts = [f"film {number}" for number in range(100)]
    pq.write_table(pa.table({"text": texts}), path, write_page_checksum=True, compression="none", use_dictionary=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"film 50", b"film 05"))
    write_csv(tmp_path / "in/good.csv", *GOOD)
    receipt = ingest(tmp_path / "lake", tmp_path / "in")
    assert (receipt.read, left_out(receipt)) == (2, [("r.parquet", "damaged")])


def test_a_file_that_grows_while_it_is_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last row is a half one, whose label would be a class for ever."""
    path = write_csv(tmp_path / "growing.csv", "text,label", "fine,pos")
    with path.open("a") as file:
        file.write("last one,ne")
    split = csv_records.split

    def written_meanwhile(*arguments: object) -> object:
        with path.open("a") as file:
            file.write("g\n")
        return split(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(csv_records, "split", written_meanwhile)
        with pytest.raises(DataError, match="the file changed while being read"):
            ingest(tmp_path / "lake", path)
    path.write_text("text,label\nfine,pos\nlast one,neg\n")
    assert ingest(tmp_path / "lake", path).metrics["labels"] == ["neg", "pos"]


def test_a_file_that_is_cut_while_it_is_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"film {number},{'pos' if number % 2 else 'neg'}" for number in range(200_000)]
    path = write_csv(tmp_path / "in.csv", "text,label", *lines)
    good = write_csv(tmp_path / "good.csv", *GOOD)
    split = csv_records.split

    def cut_meanwhile(*arguments: object) -> object:
        os.truncate(path, 1_000_000)
        return split(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(csv_records, "split", cut_meanwhile)
    receipt = ingest(tmp_path / "lake", path, good)
    assert (receipt.read, left_out(receipt)) == (2, [("in.csv", "changed")])


def test_files_that_were_written_a_moment_ago_wait_for_the_next_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = write_csv(tmp_path / "old.csv", *GOOD), write_csv(tmp_path / "new.csv", *GOOD)
    os.utime(old, (time.time() - 100, time.time() - 100))
    with caplog.at_level(logging.INFO):
        receipt = ingest(tmp_path / "lake", old, new, settle=30.0)
    assert (receipt.read, receipt.quarantined) == (2, 0)
    assert any("new.csv" in line and "left for the next run" in line for line in caplog.messages)
    assert ingest(tmp_path / "lake", old, new).written == 2


def test_settle_on_the_command_line(tmp_path: Path, command: Run) -> None:
    old, new = write_csv(tmp_path / "old.csv", *GOOD), write_csv(tmp_path / "new.csv", *GOOD)
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    done = command("ingest", old, new, "--lake", tmp_path / "lake", "--settle", "30m")
    assert (done.code, done.receipt["read"]) == (0, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_bad_files": Limit(number=1)}, r"2 of 4 files cannot be read; --max-bad-files allows 1; nothing was"),
        ({"max_bad_files": Limit(share=0.25)}, r"2 of 4 files cannot be read; --max-bad-files allows 25%"),
        ({"strict": True}, r"2 of 4 files cannot be read; --max-bad-files allows 0"),
    ],
)
def test_more_unreadable_files_than_allowed_commit_nothing(tmp_path: Path, options: dict[str, object], message: str) -> None:
    for name in ("a.csv", "b.csv"):
        write_csv(tmp_path / name, *GOOD)
    for name in ("c.parquet", "d.csv.gz"):
        (tmp_path / name).write_bytes(b"no such format")
    with pytest.raises(DataError, match=message):
        ingest(tmp_path / "lake", tmp_path, **options)
    assert not (tmp_path / "lake/tokens").exists()
    receipt = ingest(tmp_path / "lake", tmp_path, max_bad_files=Limit(share=0.5))
    assert (receipt.written, receipt.quarantined) == (4, 2)


def test_all_files_unreadable_is_an_error(tmp_path: Path) -> None:
    for name in ("c.parquet", "d.csv.gz"):
        (tmp_path / name).write_bytes(b"no such format")
    with pytest.raises(DataError, match="2 of 2 files cannot be read; none are left"):
        ingest(tmp_path / "lake", tmp_path)


def archive_of(path: Path, **members: bytes) -> Path:
    """A tar archive of files; `__` in a name stands for its dot."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name.replace("__", "."))
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def test_an_archive_of_tables_is_left_out_with_the_remedy_that_reads_it(tmp_path: Path) -> None:
    table = "\n".join([*GOOD, ""]).encode()
    archive = archive_of(tmp_path / "r.tar", **{f"r{number}__csv": table for number in range(7)})
    names = r"r0\.csv, r1\.csv, r2\.csv, r3\.csv, r4\.csv and 2 more"
    with pytest.raises(DataError, match=rf"contains no \.txt files, but {names}\. Unpack it and pass the folder"):
        ingest(tmp_path / "lake", archive)
    receipt = ingest(tmp_path / "lake", archive, write_csv(tmp_path / "good.csv", *GOOD))
    assert (receipt.written, receipt.quarantined) == (2, 1)
    (tmp_path / "unpacked").mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert ingest(tmp_path / "lake", tmp_path / "unpacked").written == 14


def test_an_archive_of_files_that_no_format_reads_is_not_to_be_unpacked(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "mails.tar", a__eml=b"Subject: fine", b__eml=b"Subject: dull")
    with pytest.raises(DataError, match=r"a\.eml, b\.eml\. Save the reviews as \.txt files or as a CSV table") as told:
        ingest(tmp_path / "lake", archive)
    assert "Unpack" not in str(told.value)


def test_tables_beside_the_reviews_of_an_archive_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    archive = archive_of(tmp_path / "r.tar", a__txt=b"fine", README=b"about", b__csv=b"text\ndull\n")
    assert ingest(tmp_path / "lake", archive).written == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [message.split("r.tar: ")[1] for message in warnings] == [
        "only .txt files are read from archives; skipped: b.csv. Unpack it and pass the folder to read them"
    ]


def as_parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["fine", "dull"]}), sink)
    return sink.getvalue()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".tsv", ".json"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(b"text\nfine\n"), "is compressed with gzip, but its name lacks the suffix. Add .gz to its name"),
        (bz2.compress(b"text\nfine\n"), "is compressed with bzip2, but its name lacks the suffix. Add .bz2"),
        (b"PK\x03\x04\x14\0\x06\0,\n", "is a ZIP archive or an Excel workbook, not"),
        (as_parquet(), "is a Parquet file, not"),
        (b"%PDF-1.7\n", "is a PDF, not"),
    ],
    ids=["gzip", "bzip2", "zip", "parquet", "pdf"],  # the bytes of gzip hold the time, and workers have to agree on names
)
def test_a_file_of_another_format_than_its_name_is_called_what_it_is(
    tmp_path: Path, suffix: str, content: bytes, problem: str
) -> None:
    (tmp_path / f"r{suffix}").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(problem)) as raised:
        ingest(tmp_path / "lake", tmp_path / f"r{suffix}")
    assert "--text-column" not in str(raised.value)


def test_a_misnamed_file_is_read_as_the_message_says(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(as_parquet())
    assert ingest(tmp_path / "lake", tmp_path / "a.csv", format="parquet").written == 2
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"text\nfine\n"))
    assert ingest(tmp_path / "lake", tmp_path / "b.csv.gz").written == 1
    (tmp_path / "twice.csv.gz").write_bytes(gzip.compress(gzip.compress(b"text\nfine\n")))
    with pytest.raises(DataError, match=r"is gzip inside gzip\. Decompress it once"):
        ingest(tmp_path / "lake", tmp_path / "twice.csv.gz")


def test_a_header_may_begin_with_the_name_of_a_format(tmp_path: Path) -> None:
    assert ingest(tmp_path / "lake", write_csv(tmp_path / "r.csv", "PAR1,text", "7,fine", "8,dull")).written == 2


@pytest.mark.parametrize("name", ["r.rar", "r.csv.xz", "r.parquet.gz", "R.7Z"])
def test_packed_files_that_are_not_read_are_to_be_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"unsupported file type\. Unpack it\. Supported: "):
        ingest(tmp_path / "lake", tmp_path / name)


def test_files_that_all_were_written_a_moment_ago_are_nothing_new(
    tmp_path: Path, run_main: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    source = write_csv(tmp_path / "r.csv", *GOOD)
    for _ in range(2):  # in a lake that is not there yet, and in one that is
        with caplog.at_level(logging.INFO):
            assert run_main("ingest", source, "--lake", tmp_path / "lake", "--settle", "30m") == 99
        assert "left for the next run, modified less than 1800 s ago: " in caplog.text
    assert ingest(tmp_path / "lake", source).written == 2
    assert run_main("ingest", source, "--lake", tmp_path / "lake", "--settle", "30m") == 99
