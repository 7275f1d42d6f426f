"""Deliveries that are small on the disk and ask for gigabytes."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MIB = 1 << 20
LONG = "x" * MIB
SCHEMA = pa.schema([("text", pa.string()), ("label", pa.string())])


def list_of_films(folder: Path) -> None:
    """60 MB of line ends as a list of films."""
    _archive(folder / "bomb.tar.gz", {"train/pos/0_9.txt": b"good", "train/urls_pos.txt": b"\n" * 60_000_000})


def largest_list_of_films(folder: Path) -> None:
    """A list of films as large as is allowed, all of it line ends."""
    _archive(folder / "bomb.tar.gz", {"train/pos/0_9.txt": b"good", "train/urls_pos.txt": b"\n" * (16 * MIB)})


def name_of_a_member(folder: Path) -> None:
    """A member whose name has 300 MB."""
    size = 300_000_000
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, size
    with gzip.open(folder / "bomb.tar.gz", "wb", 6) as out:
        out.write(header.tobuf() + b"n" * size + bytes(-size % 512) + bytes(1024))


def json_line(folder: Path) -> None:
    """A line of 700 MB."""
    _repeated(folder / "bomb.jsonl", b'{"text":"', b"x" * 1_000_000, 700, b'","label":"pos"}\n')


def nested_json(folder: Path) -> None:
    """An object as large as is allowed, all of it empty lists, each of which takes 20 times as many bytes in memory."""
    lists = b"[]," * (8 * MIB // 3 - 40)
    (folder / "bomb.jsonl").write_bytes(b'{"text":"good","label":"pos","x":[' + lists + b"[]]}\n")


def csv_line(folder: Path) -> None:
    """A line of 700 MB."""
    _repeated(folder / "bomb.csv", b"text,label\n", b"x" * 1_000_000, 700, b",pos\n")


def csv_columns(folder: Path) -> None:
    """A header of two million columns."""
    (folder / "bomb.csv").write_bytes(b"text,label" + b",x" * 1_900_000 + b"\ngood,pos\n")


def shared_value(folder: Path) -> None:
    """3,000 rows of Parquet that share one text of 1 MiB: 50 KB."""
    table = pa.table({"text": [LONG] * 500, "label": ["pos"] * 500}, schema=SCHEMA)
    with pq.ParquetWriter(folder / "bomb.parquet", SCHEMA, dictionary_pagesize_limit=8 * MIB) as writer:
        writer.write_table(pa.concat_tables([table] * 6), row_group_size=3000)


def shared_prefix(folder: Path) -> None:
    """3,000 texts of 1 MiB, each stored as the length of what it shares with the one before: 50 KB."""
    table = pa.table({"text": [LONG] * 500, "label": ["pos"] * 500}, schema=SCHEMA)
    encoding = {"text": "DELTA_BYTE_ARRAY", "label": "PLAIN"}
    with pq.ParquetWriter(
        folder / "bomb.parquet", SCHEMA, use_dictionary=False, column_encoding=encoding, data_page_size=1 << 30
    ) as writer:
        for _ in range(6):
            writer.write_table(table)


def long_parquet_value(folder: Path) -> None:
    """A text of 250 MB among short ones: the page is within its bound, the row is not."""
    with pq.ParquetWriter(
        folder / "bomb.parquet", SCHEMA, compression="zstd", use_dictionary=False, data_page_size=1 << 30
    ) as writer:
        writer.write_table(pa.table({"text": ["x" * 250_000_000, *["good"] * 300], "label": ["pos"] * 301}, schema=SCHEMA))


def distinct_tokens(folder: Path) -> None:
    """300 MB of tokens of 1 KB that all differ."""
    tokens = b"y" * 1000
    with gzip.open(folder / "bomb.csv.gz", "wb", 1) as out:
        out.write(b"text,label\n")
        for row in range(3000):
            out.write(b" ".join(b"%d-%d%s" % (row, place, tokens) for place in range(100)) + b",pos\n")


def parquet_page(folder: Path) -> None:
    """A page of 500 MiB, compressed to a few KB."""
    with pq.ParquetWriter(
        folder / "bomb.parquet", SCHEMA, compression="zstd", use_dictionary=False, data_page_size=1 << 30
    ) as writer:
        writer.write_table(pa.table({"text": [LONG] * 500, "label": ["pos"] * 500}, schema=SCHEMA))


def shared_arrow_value(folder: Path) -> None:
    """3,000 rows of Arrow that share one text of 1 MiB."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), pa.array([LONG]))
    batch = pa.record_batch({"text": texts, "label": pa.array(["pos"] * 3000)})
    with pa.ipc.new_file(str(folder / "bomb.arrow"), batch.schema) as writer:
        writer.write(batch)


def compressed_batch(folder: Path) -> None:
    """A batch of 1,900 texts of 1 MiB, compressed to 70 KB."""
    batch = pa.record_batch({"text": pa.array([LONG] * 1900), "label": pa.array(["pos"] * 1900)})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(folder / "bomb.arrow"), batch.schema, options=options) as writer:
        writer.write(batch)


def text_files(folder: Path) -> None:
    """1,100 reviews of 1 MiB, each in a file of its own."""
    inner = folder / "train" / "pos"
    inner.mkdir(parents=True)
    for number in range(1100):
        (inner / f"{number}_9.txt").write_bytes((b"good film " * 120_000)[:MIB])


def endless(folder: Path) -> None:
    """3 GB of the same line in 100 KB."""
    with pa.CompressedOutputStream(str(folder / "bomb.csv.zst"), "zstd") as out:
        out.write(b"text,label\n")
        for _ in range(3000):
            out.write(b"good one,pos\n" * 80_000)


def zipped_table(folder: Path) -> None:
    """300 MB of the same line of CSV in 900 KB."""
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w") as out:
        out.write(b"text,label\n")
        for _ in range(300):
            out.write((b"good " * 200 + b",pos\n") * 1000)


def largest_directory(folder: Path) -> None:
    """A zip archive of one member and a directory of 600,000 others, as large as is allowed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("0.txt", b"good")
    content = out.getvalue()
    start, end = content.index(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    entry = content[start:end]
    others = (entry.replace(b"0.txt", b"%05x" % number) for number in range(32 * MIB // len(entry) - 1))
    directory = entry + b"".join(others)
    sizes = struct.pack("<LL", len(directory), start)
    (folder / "bomb.zip").write_bytes(content[:start] + directory + content[end : end + 12] + sizes + content[end + 20 :])


BOMBS: dict[str, tuple[Callable[[Path], None], str]] = {
    make.__name__: (make, option)
    for make, option in (
        (list_of_films, "--max-list-bytes"),
        (largest_list_of_films, ""),
        (name_of_a_member, "--max-name-bytes"),
        (json_line, "--max-row-bytes"),
        (nested_json, ""),
        (csv_line, "--max-row-bytes"),
        (csv_columns, "--max-columns"),
        (shared_value, ""),
        (shared_prefix, ""),
        (long_parquet_value, "--max-row-bytes"),
        (parquet_page, "--max-page-bytes"),
        (shared_arrow_value, ""),
        (compressed_batch, "--max-page-bytes"),
        (text_files, ""),
        (distinct_tokens, ""),
        (endless, "--max-ratio"),
        (zipped_table, "--max-ratio"),
        (largest_directory, ""),
    )
}
"""Each with the option that refuses it, or none where it is read within bounds."""


def _archive(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _repeated(path: Path, head: bytes, block: bytes, times: int, tail: bytes) -> None:
    with path.open("wb") as file:
        file.write(head)
        for _ in range(times):
            file.write(block)
        file.write(tail)
