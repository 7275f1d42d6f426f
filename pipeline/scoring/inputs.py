"""What is to be scored: one Parquet file, or a folder of them, looked at before anything is read."""

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError, InputNotFoundError, PipelineError
from pipeline.text.types import is_text
from schemas.prediction import PREDICTION

BUFFER_BYTES = 1 << 20
"""Column chunks are read in pieces of this size, so that one huge row group costs no more memory than many small ones."""


@dataclass(frozen=True)
class ScoreInput:
    """Parquet files of one schema, in the order of their paths. `rows` is their sum, `columns` are those to be kept."""

    path: Path
    files: tuple[Path, ...]
    schema: pa.Schema
    rows: int
    text_column: str
    columns: tuple[str, ...]
    stamps: tuple[tuple[int, int], ...]
    """Size in bytes and modification time in nanoseconds of each file, as they were found."""

    @property
    def kept_schema(self) -> pa.Schema:
        """The fields that are kept, with the schema's metadata."""
        return pa.schema([self.schema.field(name) for name in self.columns], self.schema.metadata)

    @property
    def read_columns(self) -> list[str]:
        """Columns to read: the kept ones and the text."""
        return [name for name in self.schema.names if name in self.columns or name == self.text_column]

    def sha256(self) -> str:
        """Hex SHA-256 of the file; of a folder: over each file's name and hash. Streams."""
        total = hashlib.sha256()
        digest = ""
        for path in self.files:
            with readable(path), path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.name} {digest}\n".encode())
        return digest if self.files == (self.path,) else total.hexdigest()

    def check_unchanged(self) -> None:
        """Raises `DataError` when a file is not what it was when the run began."""
        for path, stamp in zip(self.files, self.stamps, strict=True):
            if not path.exists() or _stamp(path) != stamp:
                raise DataError(
                    f"{path} changed while it was being scored; nothing was written. Score it again when it is whole."
                )


def open_input(path: Path, text_column: str, keep: Sequence[str] = ("all",)) -> ScoreInput:
    """Reads the footers and checks that the files can be scored.

    Args:
        keep: columns to keep, in any order; `("all",)` for all, `("none",)` for none.

    Raises:
        InputNotFoundError: nothing there, or no Parquet file in the folder.
        DataError: no Parquet file, no such column, a text column that holds no strings, files of different schemas.
    """
    files = _files(path)
    with readable(files[0]):
        schema = _footer(files[0]).schema_arrow
    rows = 0
    for file in files:
        with readable(file):
            footer = _footer(file)
            found = footer.schema_arrow
            rows += footer.metadata.num_rows
        if not found.equals(schema):
            raise DataError(f"{file} has other columns than {files[0]}: {_difference(schema, found)}. Score them apart.")
        version = (found.metadata or {}).get(b"review_pipeline.schema_version", b"").decode(errors="replace")
        if (found.metadata or {}).get(b"review_pipeline.schema") == PREDICTION.name.encode():
            PREDICTION.check_version(version, str(file))
    _check_text(files[0], schema, text_column)
    return ScoreInput(path, files, schema, rows, text_column, _kept(files[0], schema, keep), tuple(map(_stamp, files)))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what pyarrow and the system say about a file that cannot be read into `DataError` or `InputNotFoundError`."""
    try:
        yield
    except PipelineError:
        raise
    except FileNotFoundError:
        raise InputNotFoundError(f"no such input: {path}.") from None
    except PermissionError:
        raise InputNotFoundError(f"{path} may not be read by this user. Check its owner and permissions.") from None
    except (pa.ArrowException, OSError, EOFError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{path} cannot be read as a Parquet file: {reason.rstrip('.')}. It may be empty, cut short, encrypted or of "
            "another format; score a whole, unencrypted Parquet file."
        ) from error


def _files(path: Path) -> tuple[Path, ...]:
    if not path.exists():
        siblings = [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, siblings, 1)
        raise InputNotFoundError(
            f"no such input: {path}.{f' Did you mean {close[0]!r}?' if close else ''} Give a Parquet file."
        )
    if not path.is_dir():
        return (path,)
    found = [file for file in path.rglob("*") if file.suffix in (".parquet", ".pq") and file.is_file()]
    files = sorted(file for file in found if not any(part[0] in "._" for part in file.relative_to(path).parts))
    if not files:
        raise InputNotFoundError(f"no .parquet file in the folder {path}. Put some there, or name a file.")
    return tuple(files)


def _footer(path: Path) -> pq.ParquetFile:
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes): no Parquet file. Was it written to the end?")
    with pq.ParquetFile(path) as file:
        return file


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _check_text(path: Path, schema: pa.Schema, name: str) -> None:
    texts = [field.name for field in schema if is_text(field.type)]
    count = len(schema.get_all_field_indices(name))
    if count == 1 and (name in texts or pa.types.is_null(schema.field(name).type)):  # a day without any text has no type
        return
    ranked = sorted(texts, key=lambda other: -difflib.SequenceMatcher(None, name, other).ratio())
    choice = (
        f"Columns of strings: {', '.join(ranked)}. Name one with --text-column." if texts else "It has no column of strings."
    )
    if count == 0:
        raise DataError(f"{path} has no column {name!r}. {choice}")
    if count > 1:
        raise DataError(f"{path} has {count} columns named {name!r}. Rename all but one.")
    raise DataError(f"{path}: the column {name!r} is {schema.field(name).type}, not strings. {choice}")


def _kept(path: Path, schema: pa.Schema, keep: Sequence[str]) -> tuple[str, ...]:
    if tuple(keep) == ("none",):
        return ()
    wanted = list(schema.names) if tuple(keep) == ("all",) else list(keep)
    for name in wanted:
        if name not in schema.names:
            ranked = sorted(schema.names, key=lambda other: -difflib.SequenceMatcher(None, name, other).ratio())
            raise DataError(f"--keep: {path} has no column {name!r}. Its columns: {', '.join(ranked)}.")
        if len(schema.get_all_field_indices(name)) > 1:
            raise DataError(f"{path} has several columns named {name!r}. Rename all but one, or leave it out with --keep.")
    return tuple(name for name in schema.names if name in wanted)


def _difference(first: pa.Schema, other: pa.Schema) -> str:
    for field in first:
        if field.name not in other.names:
            return f"it lacks {field.name!r}"
        if other.field(field.name).type != field.type:
            return f"{field.name!r} is {other.field(field.name).type}, not {field.type}"
    more = [name for name in other.names if name not in first.names]
    return f"it has {more[0]!r} besides" if more else "the order or nullability differs"
