"""A damaged footer is a fault of its file: Arrow throws some of what it finds there where nobody catches it."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.paths import ROOT

SWEEP = """
import sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from pipeline.readers.base import FileFault, Source
from pipeline.readers.bounds import DEFAULT_BOUNDS
from pipeline.readers.rows_at_once import rows_of_parquet

path = Path(sys.argv[1])
content = path.read_bytes()
footer = int.from_bytes(content[-8:-4], "little")
refused = 0
for at in range(len(content) - 8 - footer, len(content) - 8):
    for bit in range(8):
        changed = bytearray(content)
        changed[at] ^= 1 << bit
        path.write_bytes(changed)
        print(at, bit, file=sys.stderr, flush=True)
        try:
            with pq.ParquetFile(path) as file:
                rows_of_parquet(Source(path=path, name=path.name, format="parquet"), file, None, DEFAULT_BOUNDS)
        except (FileFault, OSError, pa.ArrowException, ValueError, MemoryError):
            refused += 1
print(refused)
"""


def test_no_flipped_bit_of_a_footer_ends_the_process(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    stars = pa.field("stars", pa.int32(), nullable=False)
    table = pa.table({"text": ["good", None], "stars": [1, 2]}, schema=pa.schema([("text", pa.string()), stars]))
    pq.write_table(table, path, store_schema=False)
    done = subprocess.run([sys.executable, "-c", SWEEP, path], capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert done.returncode == 0, done.stderr[-300:]
    assert int(done.stdout) > 100
