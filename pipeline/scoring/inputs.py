"""What is to be scored: files, folders, patterns and standard input, looked at before anything is scored."""

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.score import STDIN
from pipeline.errors import DataError, InputNotFoundError, meant
from pipeline.lake.atomic import writing
from pipeline.progress import AS_IT_IS
from pipeline.readers.base import FileFault, Format, Reading, Source
from pipeline.readers.layout import is_urls_file
from pipeline.readers.opening import READ_ERRORS
from pipeline.readers.registry import described, format_named
from pipeline.readers.tables import Table, open_table
from pipeline.readers.unify import TableColumns, unified
from pipeline.readers.walk import Found, Walker, some_of
from schemas.contract import KEY_NAME, KEY_VERSION
from schemas.prediction import PREDICTION

log = logging.getLogger(__name__)


SMALL_BYTES = 64 << 10
STDIN_NAME = "stdin"
STDIN_FORMAT = "lines"


@dataclass(frozen=True, kw_only=True)
class ScoreInput:
    """Sources whose columns make one table.

    Args:
        name: how the lake calls all of them together.
        tables: those that can be scored, in the order in which they were given.
        faults: those that cannot, and why.
        files: how many there are, with the faulty ones.
        keep: see `open_input`.
        sources: all that were found, for the digest.
    """

    name: str
    tables: tuple[Table, ...]
    faults: tuple[FileFault, ...]
    files: int
    keep: tuple[str, ...]
    sources: tuple[Source, ...] = field(repr=False)
    schema: pa.Schema = field(init=False)
    """The columns that are kept."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", _kept(self.tables, self.keep))

    @property
    def is_json(self) -> bool:
        """Whether all of it is JSON, so that values can be kept as they were written."""
        return all(table.is_json for table in self.tables)

    def is_small(self) -> bool:
        """Whether starting threads would take longer than reading all of it."""
        sizes = [None if table.found is None else table.found.size for table in self.tables]
        return len(sizes) == 1 and sizes[0] is not None and sizes[0] <= SMALL_BYTES

    def rows(self) -> int | None:
        """The rows, where the files say how many there are."""
        if any(table.format.name != "parquet" for table in self.tables):
            return None
        try:
            return sum(int(pq.read_metadata(table.source.path).num_rows) for table in self.tables)
        except READ_ERRORS:
            return None  # reading it reports what is wrong with it

    def without(self, fault: FileFault) -> "ScoreInput":
        """The input without a source that turned out to be faulty, and without whatever else is found to be so.

        Raises:
            FileFault: nothing would be left.
        """
        faults = [fault]
        names = [table.source.name for table in self.tables]
        if fault.place not in names:
            raise fault
        place = names.index(fault.place)
        rest = list(self.tables[:place])
        for table in self.tables[place + 1 :]:
            try:
                for _ in table.items(self.schema.names):
                    pass
            except FileFault as another:
                faults.append(another)
            else:
                rest.append(table)
        if not rest:
            raise fault
        return replace(self, tables=tuple(rest), faults=(*self.faults, *faults))

    def sha256(self) -> str:
        """Hex SHA-256 of the file; of several: over each one's name and hash. Streams."""
        total = hashlib.sha256()
        digest = ""
        for source in self.sources:
            for path in [source.path / name for name in source.files] or [source.path]:
                try:
                    with path.open("rb") as file:
                        digest = hashlib.file_digest(file, "sha256").hexdigest()
                except OSError as error:
                    digest = f"unreadable: {error.errno}"
                total.update(f"{path.name} {digest}\n".encode("utf-8", "surrogateescape"))
        whole = len(self.sources) == 1 and not self.sources[0].files and not self.sources[0].partitions
        return digest if whole else total.hexdigest()


def find_sources(
    places: Sequence[str],
    name_of: Callable[[Path], str],
    *,
    format: Format | None = None,
    settle_seconds: float = 0.0,
    stdin: Path | None = None,
) -> Found:
    """The sources at the given places, in the order in which these were given.

    Args:
        stdin: where standard input was put, for the place `-`.

    Raises:
        InputNotFoundError: a path is not there, or there is nothing to read.
        UsageError: a file of a kind that is not read.
    """
    found = Found()
    walker = Walker(name_of=name_of, format=format, settle_seconds=settle_seconds)
    sources: dict[Path, Source] = {}
    for place in places:
        if place == STDIN:
            assert stdin is not None
            kind = format or format_named(STDIN_FORMAT)
            sources[stdin] = Source(path=stdin, name=STDIN_NAME, format=kind.name)
            continue
        new = walker.find([place])
        found.faults += new.faults
        found.passed_over += new.passed_over
        found.unsettled += new.unsettled
        for source in new.sources:
            known = sources.get(source.path)
            if known:
                source = replace(source, listing="/".join(sorted({*source.files, *known.files})))
            sources[source.path] = source
    found.sources = [source for source in sources.values() if not _lists_films(source)]
    if found.passed_over:
        log.info("skipped: %s; unsupported file types", some_of(found.passed_over))
    if found.unsettled:
        log.info("left for the next run, modified less than %g s ago: %s", settle_seconds, some_of(found.unsettled))
    if not (found.sources or found.faults or found.unsettled):
        raise InputNotFoundError(f"nothing to score in {', '.join(places)}. Supported: {described()}.")
    return found


def _lists_films(source: Source) -> bool:
    """Whether a folder's texts are the lists of films of aclImdb's layout, and no reviews."""
    return "urls_" in source.listing and all(is_urls_file(source.name, name) for name in source.files)


def open_input(name: str, found: Found, text: tuple[str, ...], keep: tuple[str, ...], reading: Reading) -> ScoreInput:
    """Looks at each source: its columns, and where they hold the text.

    Args:
        name: how the lake calls all of them together.
        keep: columns to keep, in any order; `("all",)` for all, `("none",)` for none.

    Raises:
        FileFault: the only source cannot be scored.
        DataError: none of them can, a column to keep is missing, or the columns of two sources are not of one type.
        ContractError: predictions of a newer release.
    """
    tables, faults = [], list(found.faults)
    for source in found.sources:
        try:
            tables.append(open_table(source, text, reading))
        except FileFault as fault:
            faults.append(fault)
    files = sum(len(source.files) or 1 for source in found.sources) + len(found.faults)
    if not tables:
        if len(faults) == 1:
            raise faults[0]
        problem = f"none of {files:,} files can be scored. The first: "
        raise DataError(f"{problem}{faults[0]}.", brief=f"{problem}{faults[0].brief}.")
    for table in tables:
        _check_version(table)
    return ScoreInput(
        name=name, tables=tuple(tables), faults=tuple(faults), files=files, keep=keep, sources=tuple(found.sources)
    )


def warn_of_table(stdin: Path, text: Sequence[str]) -> None:
    """Warns if standard input, which is read as one review a line, begins as a table with the text columns does."""
    with stdin.open("rb") as file:
        line = file.readline(1 << 16).decode(errors="replace").strip()
    found = None
    if line.startswith("{") and any(f'"{name}"' in line for name in text):
        found = "jsonl"
    elif any({name.strip("\"' ") for name in line.split(mark)} >= set(text) for mark in ",;\t|" if mark in line):
        found = "csv"
    if found is not None:
        log.warning("every line of standard input is taken for a review. If it is a table, add --format %s", found)


@contextmanager
def spooled_stdin(places: Sequence[str]) -> Iterator[Path | None]:
    """Copies stdin to a temporary file if `-` is among the places, because it is read more than once."""
    if STDIN not in places:
        yield None
        return
    if sys.stdin.isatty():
        log.info("reading from the terminal; end with Ctrl-D")
    with TemporaryDirectory(prefix="pipeline-score-") as folder:
        path = Path(folder) / STDIN_NAME
        with writing(path), path.open("wb") as file:
            # `read` reads on after a short read, so a terminal would need two Ctrl-Ds.
            read = getattr(sys.stdin.buffer, "read1", sys.stdin.buffer.read)
            while chunk := read(1 << 20):
                file.write(chunk)
            if not file.tell():
                log.warning("standard input is empty (0 bytes). Check the command before the pipe", extra=AS_IT_IS)
        yield path


def _check_version(table: Table) -> None:
    metadata = table.schema.metadata or {}
    if metadata.get(KEY_NAME) == PREDICTION.name.encode():
        PREDICTION.check_version(metadata.get(KEY_VERSION, b"").decode(errors="replace"), table.source.name)


def _kept(tables: Sequence[Table], keep: tuple[str, ...]) -> pa.Schema:
    """The columns to keep, in the order of the input."""
    names = list(dict.fromkeys(name for table in tables for name in table.schema.names))
    wanted = [] if keep == ("none",) else names if keep == ("all",) else keep
    for name in wanted:
        if name not in names:
            hint = meant(name, names)
            known = ", ".join(map(repr, names)) or "none"
            raise DataError(
                f"--keep: {tables[0].source.name} has no column {name!r}.{hint} Its columns: {known}.",
                brief=f"--keep: {tables[0].source.name} lacks one of the columns.",
            )
    columns = []
    for table in tables:
        for name in wanted:
            if table.schema.names.count(name) > 1:
                remedy = "Rename all but one, or exclude it with --keep."
                raise DataError(
                    f"{table.source.name} has several columns named {name!r}. {remedy}",
                    brief=f"{table.source.name} has several columns of the same name. {remedy}",
                )
        schema = pa.schema([field for field in table.schema if field.name in wanted], table.schema.metadata)
        columns.append(TableColumns(place=table.source.name, schema=schema, loose=table.is_json))
    return unified(columns)
