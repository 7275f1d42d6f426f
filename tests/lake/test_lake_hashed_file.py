"""A file that is hashed while it is written: its digest is that of what stands before the footer."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from pipeline.lake.content import HashedFile, verify_data

TABLE = pa.table({"number": range(5_000), "text": [f"review {number}" for number in range(5_000)]})


def written(path: Path) -> Path:
    file = HashedFile(path)
    with pq.ParquetWriter(file, TABLE.schema, compression="zstd") as writer:
        for start in range(0, 5_000, 1_000):
            writer.write_table(TABLE.slice(start, 1_000))
        file.note_sha256(writer)
    file.close()
    return path


def test_the_digest_is_that_of_every_byte_before_the_footer(tmp_path: Path) -> None:
    path = written(tmp_path / "näme.parquet")
    assert verify_data(path)
    assert pq.read_table(path).equals(TABLE)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "data.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError):
        verify_data(path)
