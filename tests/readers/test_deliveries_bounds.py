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
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.ingest import IngestConfig
from pipeline.errors import DataError, OutOfMemoryError, UsageError
from pipeline.options.values import from_command_line
from pipeline.readers import text_files
from pipeline.readers.arrow_messages import messages
from pipeline.readers.base import BATCH_ROWS, FileFault, Reading, Source
from pipeline.readers.bounds import DEFAULT_BOUNDS, MIB, Bounds, in_units, size_of
from pipeline.readers.formats import arrow, parquet
from pipeline.readers.limits import Limit
from pipeline.readers.parquet_pages import pages
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
    monkeypatch.setattr("pipeline.readers.ratio.RATIO_FLOOR_BYTES", 1000)
    with pytest.raises(
        DataError, match=r"b\.csv\.gz: decompresses to more than 10 times its size, the limit of --max-ratio"
    ):
        ingest(tmp_path / "other", tmp_path / "b.csv.gz", max_ratio=10)
    assert ingest(tmp_path / "other", tmp_path / "b.csv.gz", max_ratio=100_000).written == 20_000


@pytest.mark.parametrize("kind", [tarfile.XGLTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_extended_headers_without_end_leave_the_archive_out(
    kind: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, 512
    block = header.tobuf(format=tarfile.USTAR_FORMAT) + b"9 path=n\n".ljust(512, b"\0")
    (tmp_path / "b.tar").write_bytes(block * 2000 + bytes(1024))
    write_csv(tmp_path / "good.csv", *GOOD)
    caplog.set_level(logging.WARNING)
    receipt = ingest(tmp_path / "lake", tmp_path)
    assert (receipt.written, receipt.quarantined) == (2, 1)
    assert any("b.tar: the archive is damaged: extended headers follow each other" in said for said in caplog.messages)


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


def sizes_of(path: Path, table: pa.Table, **options: Any) -> list[int]:
    """Writes a table and reads it back; gives the bytes of the batches."""
    pq.write_table(table, path, **options)
    batches = [rows.table for rows in parquet.read(Source(path=path, name="b.parquet", format="parquet"), Reading())]
    found = pa.Table.from_batches(batches)
    assert found.cast(table.schema).equals(table), "what is read is what was written"
    return [batch.nbytes for batch in batches]


SHARED = "x" * (1 << 20)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize("null", [None, "y"])
def test_strings_that_share_a_prefix_are_decoded_a_few_at_a_time(
    version: str, codec: str, null: str | None, tmp_path: Path
) -> None:
    table = pa.table({"text": [null, *[SHARED] * 40, *(f"good {number}" for number in range(100))]})
    options = {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}, "data_page_size": 1 << 30}
    sizes = sizes_of(tmp_path / "b.parquet", table, compression=codec, data_page_version=version, **options)
    assert max(sizes) <= 17 << 20 and sum(sizes) > 40 << 20
    assert (tmp_path / "b.parquet").stat().st_size < 2 << 20


@pytest.mark.parametrize(
    "column",
    [
        pa.array([SHARED.encode()] * 40, pa.binary(len(SHARED))),
        pa.array([SHARED] * 40, pa.large_string()),
        pa.array([SHARED] * 40, pa.binary()),
        pa.array([SHARED] * 40).dictionary_encode(),
        pa.array([{"a": {"b": SHARED}}] * 40),
    ],
    ids=["fixed", "large_string", "binary", "dictionary", "struct"],
)
def test_values_that_a_dictionary_holds_once_are_decoded_a_few_at_a_time(column: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": column}), tmp_path / "b.parquet")
    source = Source(path=tmp_path / "b.parquet", name="b.parquet", format="parquet")
    assert max(len(rows.row) for rows in parquet.read(source, Reading())) <= 16


@given(
    st.lists(st.text("abé", max_size=9), min_size=1, max_size=300),
    st.sampled_from(["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"]),
    st.sampled_from(["1.0", "2.0"]),
    st.sampled_from(["none", "snappy", "lz4"]),
)
def test_the_longest_string_of_a_page_is_known_before_it_is_decoded(
    texts: list[str], encoding: str, version: str, codec: str
) -> None:
    file = io.BytesIO()
    options = {"use_dictionary": False, "column_encoding": {"a": encoding}, "compression": codec}
    pq.write_table(pa.table({"a": texts}), file, data_page_version=version, **options)
    with tempfile.NamedTemporaryFile() as written:
        written.write(file.getvalue())
        written.flush()
        opened = pq.ParquetFile(written.name)
        chunk, leaf = opened.metadata.row_group(0).column(0), opened.schema.column(0)
        found = list(pages(Path(written.name), chunk, leaf, allowed=-1))
    longest = max(len(text.encode()) for text in texts)
    # The size of a page's only value includes its length and levels.
    assert [page.longest for page in found] == [longest if len(texts) > 1 else found[0].size]
    assert [page.shared for page in found] == [found[0].longest if encoding == "DELTA_BYTE_ARRAY" else 0]


def test_one_text_beyond_the_bound_of_a_row_is_refused_before_its_page_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    source = Source(path=path, name="b.parquet", format="parquet")
    for encoding in ("PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"):
        table = pa.table({"a": ["good"] * 300 + ["x" * (9 << 20)]})
        options = {"use_dictionary": False, "column_encoding": {"a": encoding}, "data_page_size": 1 << 30}
        pq.write_table(table, path, compression="zstd", **options)
        with pytest.raises(
            FileFault, match=r"a row of column 'a', of up to 9,437,\d+ bytes, is larger than 8MiB, .*max-row"
        ):
            next(parquet.read(source, Reading()))
        assert sum(len(rows.row) for rows in parquet.read(source, Reading(bounds=Bounds(row=10 << 20)))) == 301


def test_a_list_that_may_hold_the_values_of_a_whole_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    source = Source(path=path, name="b.parquet", format="parquet")
    numbers = pa.array(np.zeros(2_000_000, np.int64))
    texts = pa.array(["x" * 100_000] * 100)
    for items, options in ((numbers, {}), (texts, {"use_dictionary": False, "compression": "zstd"})):
        rows = pa.ListArray.from_arrays(pa.array([0, 1, len(items)], pa.int32()), items)
        pq.write_table(pa.table({"a": rows}), path, **options)
        with pytest.raises(FileFault, match=r"a list of column 'a\..*', of up to .* the limit of --max-page-bytes"):
            next(parquet.read(source, Reading(bounds=Bounds(page=4 << 20))))
        assert sum(len(part.row) for part in parquet.read(source, Reading())) == 2


def test_lists_of_different_numbers_are_read_whatever_their_sum(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    numbers = pa.array(np.random.default_rng(0).integers(0, 1000, 400_000))
    rows = pa.FixedSizeListArray.from_arrays(numbers, 100).cast(pa.list_(pa.int64()))
    pq.write_table(pa.table({"a": rows}), path)
    source = Source(path=path, name="b.parquet", format="parquet")
    assert sum(len(part.row) for part in parquet.read(source, Reading(bounds=Bounds(page=1 << 20)))) == 4000


def test_ordinary_rows_are_decoded_by_the_thousand(tmp_path: Path) -> None:
    path = tmp_path / "b.parquet"
    table = {"text": [f"review {number} " * 90 for number in range(5000)], "tags": [["a", "b"]] * 5000, "n": range(5000)}
    pq.write_table(pa.table(table), path, row_group_size=2000)
    source = Source(path=path, name="b.parquet", format="parquet")
    assert [len(rows.row) for rows in parquet.read(source, Reading())] == [BATCH_ROWS, BATCH_ROWS, 1000]


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


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize("opener", [pa.ipc.new_file, pa.ipc.new_stream])
def test_a_compressed_batch_is_measured_before_it_is_decompressed(
    opener: Callable[..., Any], compression: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "b.arrow"
    source = Source(path=path, name="b.arrow", format="arrow")
    texts = pa.array(["x" * 10_000] * 500)
    small = Reading(bounds=Bounds(page=1 << 20))
    for column in (texts, pa.DictionaryArray.from_arrays(pa.array(range(500), pa.int32()), texts)):
        batch = pa.record_batch({"text": column})
        with opener(str(path), batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write(batch)
        found = list(messages(path))
        assert [message.is_dictionary for message in found] == ([True, False] if column is not texts else [False])
        largest = max(message.decompressed for message in found)
        assert largest == 0 if compression is None else 5_000_000 < largest < 5_100_000
        assert sum(len(rows.row) for rows in arrow.read(source, Reading())) == 500
        if compression is None:
            assert sum(len(rows.row) for rows in arrow.read(source, small)) == 500
            continue
        for read in (lambda: next(arrow.read(source, small)), lambda: arrow.schema(source, small)):
            with pytest.raises(
                FileFault, match=r"a batch, decompressed to 5,0.* bytes, .*1MiB, the limit of --max-page-bytes"
            ):
                read()


def test_an_arrow_file_of_something_else_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "b.arrow"
    path.write_bytes(b"ARROW1\0\0" + b"\x10\0\0\0" + b"\xff" * 16)
    with pytest.raises(FileFault, match=r"b\.arrow: cannot be read as arrow: no Arrow message at byte 8"):
        next(arrow.read(Source(path=path, name="b.arrow", format="arrow"), Reading()))


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

    def without_memory(folder: bytes, names: bytes, limit: int) -> tuple[bytes, bytes]:
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


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
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
