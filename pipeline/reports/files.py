"""The two files that a bundle may hold for its report (contracts in `schemas.report`): review lengths, scored examples."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.lake.atomic import atomic_path
from schemas.contract import Contract
from schemas.report import EXAMPLE, LENGTH

LENGTHS, EXAMPLES = "lengths.parquet", "examples.parquet"


class LengthCounter:
    """Counts reviews by split and length, batch by batch; memory grows with the number of different lengths only."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()

    def add(self, split: str, ids: pa.ListArray | pa.ChunkedArray) -> None:
        """Counts the reviews of a batch of token ids, list<int32>; null lists are passed over."""
        for pair in pc.value_counts(pc.drop_null(pc.list_value_length(ids))).to_pylist():
            self._counts[split, int(pair["values"])] += int(pair["counts"])

    def table(self) -> pa.Table:
        """The counts as lengths.parquet holds them, sorted by split and length."""
        rows = [{"split": s, "length": n, "count": c} for (s, n), c in sorted(self._counts.items())]
        return pa.Table.from_pylist(rows, schema=LENGTH.schema)


def lengths_table(counts: Mapping[str, Iterable[int]]) -> pa.Table:
    """Lengths as lengths.parquet holds them, from each split's `bincount`: entry n is the number of reviews of n tokens."""
    rows = [
        {"split": split, "length": length, "count": int(count)}
        for split in sorted(counts)
        for length, count in enumerate(counts[split])
        if count
    ]
    return pa.Table.from_pylist(rows, schema=LENGTH.schema)


def write_lengths(folder: Path, table: pa.Table) -> Path:
    """Writes lengths.parquet into a bundle's folder. Raises `ContractError` when the columns are others."""
    return _write(folder / LENGTHS, table, LENGTH)


def write_examples(folder: Path, table: pa.Table) -> Path:
    """Writes examples.parquet into a bundle's folder. Raises `ContractError` when the columns are others."""
    return _write(folder / EXAMPLES, table, EXAMPLE)


def read_lengths(folder: Path) -> pa.Table | None:
    """The bundle's lengths.parquet, None when there is none."""
    return _read(folder / LENGTHS, LENGTH)


def read_examples(folder: Path) -> pa.Table | None:
    """The bundle's examples.parquet, None when there is none."""
    return _read(folder / EXAMPLES, EXAMPLE)


def _write(path: Path, table: pa.Table, contract: Contract) -> Path:
    contract.check_columns(table.schema, path.name)
    columns = table.select(contract.schema.names).cast(contract.schema)
    with atomic_path(path) as temporary:
        pq.write_table(columns.replace_schema_metadata(contract.metadata), temporary, compression="zstd")
    return path


def _read(path: Path, contract: Contract) -> pa.Table | None:
    if not path.is_file():
        return None
    try:
        with pq.ParquetFile(path) as file:
            contract.check(file.schema_arrow, str(path))
            return file.read(columns=contract.schema.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is no whole Parquet file ({error}). Remove it, or train again.") from error
