"""Small Parquet files with a contract, written and read as a whole, such as the report files of a bundle."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake.atomic import atomic_path
from pipeline.lake.content import READ_ERRORS
from pipeline.lake.damage import damaged
from schemas.contract import KEY_VERSION, Contract


def write_contract_file(path: Path, table: pa.Table, contract: Contract) -> Path:
    """Writes a table atomically, with the contract's columns and metadata; metadata of the table's own are kept.

    Raises:
        ContractError: the table's columns are others.
        CannotWriteError: no permission, no space.
    """
    contract.check_columns(table.schema, path.name)
    schema = pa.schema([field for field in contract.schema if field.name in table.schema.names])
    columns = table.select(schema.names).cast(schema)
    metadata = {**(table.schema.metadata or {}), **contract.metadata}
    with atomic_path(path) as temporary:
        pq.write_table(columns.replace_schema_metadata(metadata), temporary, compression="zstd")
    return path


def contract_version(path: Path, remedy: str) -> str | None:
    """The contract version of a file; "" if it has none, None if there is no file.

    Args:
        remedy: what to do when the file is damaged.

    Raises:
        DataError: it is not a whole Parquet file.
    """
    if not path.is_file():
        return None
    try:
        metadata = pq.read_schema(path).metadata or {}
        return str(metadata.get(KEY_VERSION, b"").decode(errors="replace"))
    except READ_ERRORS as error:
        raise damaged(path, error, "the file", remedy) from error


def read_contract_file(path: Path, contract: Contract, remedy: str) -> pa.Table:
    """Reads those of the contract's columns that the file has, and the file's metadata.

    Args:
        remedy: what to do when the file is damaged.

    Raises:
        FileNotFoundError: it is not there.
        DataError: it is not a whole Parquet file.
        ContractError: it does not keep the contract.
    """
    try:
        with pq.ParquetFile(path) as file:
            contract.check(file.schema_arrow, str(path))
            return file.read(columns=[name for name in contract.schema.names if name in file.schema_arrow.names])
    except FileNotFoundError:
        raise
    except READ_ERRORS as error:
        raise damaged(path, error, "the file", remedy) from error
