"""Bounds: what asks for too much is left out by name, the option in its message lets it pass, and memory stays bounded."""

import gzip
import io
import logging
import os
import re
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.ingest import IngestConfig
from pipeline.errors import DataError, OutOfMemoryError, UsageError
from pipeline.options.values import from_command_line
from pipeline.readers import text_files
from pipeline.readers.base import FileFault, Reading, Source
from pipeline.readers.bounds import DEFAULT_BOUNDS, MIB, Bounds, in_units, size_of
from pipeline.readers.formats import arrow, parquet
from pipeline.readers.limits import Limit
from tests.support.bombs import BOMBS
from tests.support.commands import Run
from tests.support.ingested import ingest
from tests.support.paths import ROOT
from tests.support.tables import write_csv

PEAK_MIB = 1024
GOOD = ("text,label", "fine,pos", "dull,neg")


def archive_of(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def long_json(folder: Path) -> None:
    (folder / "b.jsonl").write_text('{"text": "good", "label": "pos"}\n{"text": "%s", "label": "pos"}\n' % ("x" * 3000))


def long_array(folder: Path) -> None:
    (folder / "b.json").write_text('[{"text": "%s", "label": "pos"}]' % ("x" * 3000))


def long_csv(folder: Path) -> None:
    write_csv(folder / "b.csv", "text,label", "good,pos", f"{'x' * 3000},pos")


def long_shared_value(folder: Path) -> None:
    pq.write_table(pa.table({"text": ["x" * 3000] * 4, "label": ["pos"] * 4}), folder / "b.parquet")


def long_shared_arrow_value(folder: Path) -> None:
    table = pa.table({"text": pa.array(["x" * 3000] * 4).dictionary_encode(), "label": ["pos"] * 4})
    with pa.ipc.new_file(str(folder / "b.arrow"), table.schema) as writer:
        writer.write_table(table)


def large_page(folder: Path) -> None:
    pq.write_table(
        pa.table({"text": [f"good {number}" for number in range(500)]}), folder / "b.parquet", use_dictionary=False
    )


def long_name(folder: Path) -> None:
    archive_of(folder / "b.tar.gz", {f"{'n' * 2000}.txt": b"good"})


def long_list(folder: Path) -> None:
    archive_of(folder / "b.tar.gz", {"train/pos/0_9.txt": b"good", "train/urls_pos.txt": b"film\n" * 500})


def many_columns(folder: Path) -> None:
    write_csv(folder / "b.csv", "text,label,a,b,c", "good,pos,1,2,3")


def many_names(folder: Path) -> None:
    (folder / "b.jsonl").write_text('{"text": "good", "label": "pos", "a": 1}\n{"text": "bad", "b": 2, "c": 3}\n')


REFUSED: list[tuple[Callable[[Path], None], str, str]] = [
    (long_json, "max_row_bytes", "2048"),
    (long_array, "max_row_bytes", "2048"),
    (long_csv, "max_row_bytes", "2048"),
    (long_shared_value, "max_row_bytes", "2048"),
    (long_shared_arrow_value, "max_row_bytes", "2048"),
    (large_page, "max_page_bytes", "1024"),
    (long_name, "max_name_bytes", "1024"),
    (long_list, "max_list_bytes", "1024"),
    (many_columns, "max_columns", "4"),
    (many_names, "max_columns", "4"),
]


@pytest.mark.parametrize(("make", "option", "value"), REFUSED, ids=[make.__name__ for make, *_ in REFUSED])
def test_what_passes_a_bound_is_left_out_and_the_option_that_the_message_names_lets_it_pass(
    make: Callable[[Path], None], option: str, value: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make(folder)
    write_csv(folder / "good.csv", *GOOD)
    caplog.set_level(logging.WARNING)
    receipt = ingest(tmp_path / "lake", folder, **from_command_line(IngestConfig, {option: size_of(value)}))
    assert (receipt.written, receipt.quarantined) == (2, 1)
    (said,) = [message for message in caplog.messages if "skipped" in message]
    named = re.search(r"the limit of (--[a-z-]+)\. .*raise", said, re.IGNORECASE)
    assert named and named[1] == f"--{option.replace('_', '-')}" and "/b." in said
    receipt = ingest(tmp_path / "lake", folder, **from_command_line(IngestConfig, {option: size_of(value) * 100}))
    assert receipt.quarantined == 0 and receipt.written > 0


def test_a_review_of_more_bytes_than_allowed_is_a_reject_that_names_the_option(tmp_path: Path) -> None:
    for name in ("a.csv", "b.txt", "c.tar.gz", "d.parquet"):
        place = tmp_path / name.replace(".", "_")
        place.mkdir()
        text = "x " * 1000
        if name == "a.csv":
            write_csv(place / name, *GOOD, f"{text},pos")
        elif name == "b.txt":
            (place / name).write_text(text)
            (place / "good.txt").write_text("good")
        elif name == "c.tar.gz":
            archive_of(place / name, {"long.txt": text.encode(), "good.txt": b"good"})
        else:
            pq.write_table(pa.table({"text": [text, "good"]}), place / name)
        receipt = ingest(tmp_path / f"lake_{place.name}", place, max_value_bytes=1024, max_bad=Limit(share=1.0))
        (reject,) = pq.read_table(receipt.outputs["rejects"]).to_pylist()
        assert reject["reason"] == "too_large" and "larger than 1KiB, the limit of --max-value-bytes" in reject["detail"]
        assert ingest(tmp_path / f"lake_{place.name}", place, max_value_bytes=4096).written == 1


def test_a_small_file_may_expand_as_it_likes_and_a_large_one_only_within_its_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"text,label\n" + b"good,pos\n" * 20_000
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(content))
    assert ingest(tmp_path / "lake", tmp_path / "b.csv.gz", max_ratio=10).written == 20_000
    monkeypatch.setattr("pipeline.readers.opening.RATIO_FLOOR_BYTES", 1000)
    with pytest.raises(
        DataError, match=r"b\.csv\.gz: decompresses to more than 10 times its size, the limit of --max-ratio"
    ):
        ingest(tmp_path / "other", tmp_path / "b.csv.gz", max_ratio=10)
    assert ingest(tmp_path / "other", tmp_path / "b.csv.gz", max_ratio=100_000).written == 20_000


def test_text_files_are_read_in_batches_of_bounded_bytes(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number:03}.txt").write_bytes(b"good " * 200)
    names = "/".join(sorted(path.name for path in tmp_path.iterdir()))
    source = Source(path=tmp_path, name="in", format="txt", listing=names)
    batches = [item.files for item in text_files.text_folder(source, Bounds(batch=10_000))]  # type: ignore[union-attr]
    assert [len(files) for files in batches] == [10] * 10
    assert "/".join(name for files in batches for name in files) == names


@pytest.mark.parametrize("codec", ["none", "snappy", "zstd", "lz4"])
def test_rows_that_share_a_long_value_are_decoded_a_few_at_a_time(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    texts = ["x" * (1 << 20)] * 40 + [f"good {number}" for number in range(100)]
    pq.write_table(pa.table({"a": pa.array([{"text": text} for text in texts])}), path, compression=codec)
    source = Source(path=path, name="b.parquet", format="parquet")
    sizes = [rows.table.nbytes for rows in parquet.read(source, Reading(columns=("a.text",)))]
    assert max(sizes) <= 17 << 20 and sum(sizes) > 40 << 20
    rows = [row for part in parquet.read(source, Reading()) for row in part.table.column("a").to_pylist()]
    assert [row["text"] for row in rows] == texts


def test_ordinary_rows_are_decoded_by_the_thousand(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    table = {"text": [f"review {number} " * 90 for number in range(5000)], "tags": [["a", "b"]] * 5000, "n": range(5000)}
    pq.write_table(pa.table(table), path, row_group_size=2000)
    source = Source(path=path, name="b.parquet", format="parquet")
    assert [len(rows.row) for rows in parquet.read(source, Reading())] == [1024] * 4 + [904]


def test_views_of_one_text_are_decoded_a_few_at_a_time(tmp_path: Path) -> None:
    text = b"x" * (4 << 20)
    view = struct.pack("<i4sii", len(text), text[:4], 0, 0)
    views = pa.Array.from_buffers(pa.string_view(), 40, [None, pa.py_buffer(view * 40), pa.py_buffer(text)])
    batch = pa.record_batch({"text": views})
    path = tmp_path / "b.arrow"
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        writer.write(batch)
    source = Source(path=path, name="b.arrow", format="arrow")
    assert {len(rows.row) for rows in arrow.read(source, Reading())} == {4}


def test_a_file_whose_pages_cannot_be_found_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    pq.write_table(pa.table({"text": ["good"] * 10}), path)
    content = bytearray(path.read_bytes())
    content[4:14] = b"\xff" * 10
    path.write_bytes(content)
    source = Source(path=path, name="b.parquet", format="parquet")
    with pytest.raises(FileFault, match=r"b\.parquet: cannot be read as parquet: no page at byte 4"):
        list(parquet.read(source, Reading()))


def test_sizes_are_read_and_written_with_units() -> None:
    for text, size in (("16MiB", 16 << 20), ("64 kib", 65536), ("1GB", 10**9), ("1000", 1000), (2048, 2048)):
        assert size_of(text) == size
    for size in (1, 1024, 1000, 16 << 20, 1 << 30, (1 << 30) + 1024):
        assert size_of(in_units(size)) == size
    with pytest.raises(UsageError, match=r"--max-row-bytes 5x: expected a size such as 16MiB"):
        from_command_line(IngestConfig, {"max_row_bytes": "5x"})
    with pytest.raises(UsageError, match=r"--max-row-bytes 5: expected a size from 1KiB to 1GiB"):
        IngestConfig(lake=Path("lake"), max_row_bytes=5)


def test_memory_that_runs_out_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    write_csv(tmp_path / "in" / "good.csv", *GOOD)
    (tmp_path / "in" / "large.txt").write_text("good")

    def without_memory(paths: list[bytes], limit: int) -> tuple[bytes, bytes]:
        raise MemoryError

    monkeypatch.setattr(text_files, "read_files", without_memory)
    with pytest.raises(OutOfMemoryError, match=r"out of memory in the middle of .*/in\. Lower .*--workers") as caught:
        ingest(tmp_path / "lake", tmp_path / "in")
    assert caught.value.exit_code == 75

    def read(*arguments: object) -> object:
        raise pa.ArrowMemoryError("malloc of size 5000000000 failed")

    monkeypatch.setattr("pipeline.readers.csv_records.parsed", read)
    with pytest.raises(DataError, match=r"good\.csv: needs more memory than available; give the process more memory"):
        ingest(tmp_path / "other", tmp_path / "in" / "good.csv")


def test_pipes_and_devices_are_refused_where_named_and_passed_over_in_folders(tmp_path: Path, command: Run) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "link.csv").symlink_to("/dev/zero")
    write_csv(tmp_path / "good.csv", *GOOD)
    receipt = ingest(tmp_path / "lake", tmp_path)
    assert (receipt.written, receipt.quarantined) == (2, 0)
    for name in ("pipe.csv", "link.csv"):
        for verb in ("ingest", "inspect", "init"):
            outcome = command(verb, tmp_path / name, "--lake", tmp_path / "lake")
            assert outcome.code in (2, 65) and "is a pipe or a device" in outcome.stderr, (verb, outcome.stderr)


PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
print(done.stderr)
"""


TAKE_MORE = {
    "shared_value": "3,000 texts of 1 MiB take up to 1.9 GiB",
    "shared_arrow_value": "3,000 texts of 1 MiB take 1.7 GiB",
    "text_files": "1,100 files of 1 MiB take 1,051 MiB",
}


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """Most take long; some kinds take too much memory still."""
    known = [pytest.mark.xfail(reason=TAKE_MORE[name])] if name in TAKE_MORE else []
    return known + ([] if name == "list_of_films" else [pytest.mark.slow])


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in BOMBS])
def test_a_bomb_takes_less_than_a_gibibyte_and_hinders_nobody(name: str, tmp_path: Path) -> None:
    make, option = BOMBS[name]
    folder = tmp_path / "in"
    folder.mkdir()
    make(folder)
    write_csv(folder / "good.csv", *GOOD)
    command = [sys.executable, "-m", "pipeline", "ingest", str(folder), "--lake", str(tmp_path / "lake")]
    done = subprocess.run([sys.executable, "-c", PEAK, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    first, _, said = done.stdout.partition("\n")
    code, peak = map(int, first.split())
    print(f"{name}: {peak} MiB, exit code {code}")
    assert code == 0 and peak < PEAK_MIB
    assert (option in said) if option else "skipped" not in said


def test_the_largest_pages_that_duckdb_writes_are_read() -> None:
    largest = 100_000_000 + 8 * MIB  # its MAX_UNCOMPRESSED_PAGE_SIZE, and the row with which a page goes beyond
    assert largest < DEFAULT_BOUNDS.page
