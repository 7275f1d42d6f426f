"""Taking the rows of a review out of prediction files, in their place: the other rows stay as they are, byte for byte.

A prediction file holds the columns of its input, and nothing says which of them is the review's id in the lake. A row is the
review's if a column that was ever an `--id-column` has its id, or if its text is the review's, token by token.
"""

import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.output_format import OutputFormat, output_format
from pipeline.errors import UsageError
from pipeline.lake.atomic import atomic_path
from pipeline.lake.content import READ_ERRORS, open_parquet
from pipeline.lake.damage import damaged
from pipeline.lake.erasure import HeldReview
from pipeline.lake.locks import locked_output
from pipeline.readers.reviews import joined
from pipeline.readers.values import RULE_VERSION, holds_text, is_nested, plain, values_of
from pipeline.scoring.notes import current_note, write_note
from pipeline.scoring.writers import ParquetWriter
from pipeline.text.tokenizers import tokenize
from pipeline.text.vocabulary import Vocabulary
from schemas.contract import KEY_NAME
from schemas.prediction import KEY_OPTIONS, KEY_SOURCE, PREDICTION

Mask = npt.NDArray[np.bool_]
LONG = 10
"""A text of so many tokens that is the same as a review's is the review, wherever it was scored from."""
ROWS = 1024
"""Rows that are looked at together."""
_CELL = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^,\r\n]*))(,|\r?\n|$)')


@dataclass(frozen=True, kw_only=True)
class Sought:
    """What to look for in tables.

    Args:
        id_columns: columns that may hold ids.
        texts: for each vocabulary, the token ids of the reviews as bytes, and the files that they came from.
    """

    review_ids: frozenset[str]
    id_columns: tuple[str, ...]
    texts: Sequence[tuple[Vocabulary, Mapping[bytes, frozenset[str]]]]

    @classmethod
    def of(
        cls,
        review_ids: Collection[str],
        id_columns: Collection[str],
        held: Iterable[HeldReview],
        vocabularies: Mapping[str, Vocabulary],
    ) -> "Sought":
        """Of reviews, as the shards hold them; `vocabularies` by fingerprint."""
        texts: dict[str, dict[bytes, frozenset[str]]] = {}
        for row in held:
            if row.vocabulary in vocabularies:
                known = texts.setdefault(row.vocabulary, {})
                key = np.array(row.ids, np.int32).tobytes()
                known[key] = known.get(key, frozenset()) | {row.home}
        return cls(
            review_ids=frozenset(review_ids),
            id_columns=tuple(sorted(id_columns)),
            texts=[(vocabularies[name], known) for name, known in sorted(texts.items())],
        )

    def rows(self, table: pa.RecordBatch, text_columns: Sequence[str], sources: Sequence[str] | None) -> Mask:
        """Which of the (N,) rows are of the reviews.

        Args:
            sources: files that the rows come from; None if every text that is the same counts, however short.
        """
        mask = np.zeros(len(table), np.bool_)
        for name in self.id_columns:
            if name in table.schema.names and not is_nested(table[name].type):
                mask |= np.array([value in self.review_ids for value in values_of(table[name], RULE_VERSION)], np.bool_)
        present = [name for name in text_columns if name in table.schema.names and holds_text(plain(table[name]).type)]
        if self.texts and present and len(table):
            texts = _utf8(joined([plain(table[name]).cast(pa.binary()) for name in present])).fill_null("")
            for vocabulary, known in self.texts:
                lists = vocabulary.encode(tokenize(vocabulary.tokenizer, texts))
                values, offsets = lists.values.to_numpy().astype(np.int32), lists.offsets.to_numpy()
                for place in range(len(table)):
                    homes = known.get(values[offsets[place] : offsets[place + 1]].tobytes())
                    if homes is None:
                        continue
                    tokens = offsets[place + 1] - offsets[place]
                    mask[place] |= sources is None or tokens >= LONG or any(_is_from(home, sources) for home in homes)
        return mask


def prediction_files(folder: Path) -> list[tuple[Path, OutputFormat]]:
    """The files under a folder of predictions that 'pipeline score' may have written, and their formats."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            try:
                found.append((path, output_format(path, None)))
            except UsageError:
                continue
    return found


def erase_from_predictions(
    predictions: Path, path: Path, format: OutputFormat, sought: Sought, *, dry_run: bool
) -> tuple[int, str]:
    """Takes rows out of a file of predictions, with its note; gives their number and the name of the file's input.

    Raises:
        LockedError: it is being written.
        DataError: it is damaged.
    """
    with nullcontext() if dry_run else locked_output(path, f"erasing from {path}"):
        try:
            if format.name == "parquet":
                return _erase_from_parquet(path, sought, dry_run)
            return _erase_from_text(predictions, path, format, sought, dry_run)
        except READ_ERRORS as error:
            remedy = "Score its input again with --force, or delete it; then erase again."
            raise damaged(path, error, "the prediction file", remedy) from error


def _erase_from_parquet(path: Path, sought: Sought, dry_run: bool) -> tuple[int, str]:
    with open_parquet(path) as file:
        schema = file.schema_arrow
        metadata = schema.metadata or {}
        if metadata.get(KEY_NAME) != PREDICTION.name.encode():
            metadata = {}
        text_columns, source = _told(metadata)
        looked_at = [name for name in {*sought.id_columns, *text_columns} if name in schema.names]

        def mask(group: int) -> Mask:
            table = file.read_row_group(group, columns=looked_at)
            parts = [sought.rows(batch, text_columns, source.split(", ")) for batch in table.to_batches(ROWS)]
            return np.concatenate([np.zeros(0, np.bool_), *parts])

        masks = [mask(group) for group in range(file.num_row_groups)] if looked_at else []
        gone = sum(int(part.sum()) for part in masks)
        if gone and not dry_run:
            with atomic_path(path) as temporary, ParquetWriter(temporary, schema) as writer:
                for group, part in enumerate(masks):
                    writer.write_table(file.read_row_group(group).filter(pa.array(~part)))
    return gone, source


def _erase_from_text(predictions: Path, path: Path, format: OutputFormat, sought: Sought, dry_run: bool) -> tuple[int, str]:
    note = current_note(predictions, path)
    metadata = {key.encode(): value.encode() for key, value in note["metadata"].items()} if note else {}
    text_columns, source = _told(metadata)
    gone = sum(int(mask.sum()) for _, mask in _records(path, format, sought, text_columns, source))
    if not gone or dry_run:
        return gone, source
    rows = 0
    with atomic_path(path) as temporary:
        with _writer(temporary, format) as out:
            for records, mask in _records(path, format, sought, text_columns, source):
                kept = [record for record, is_gone in zip(records, mask.tolist(), strict=True) if not is_gone]
                rows += len(kept)
                out.write(b"".join(kept))
        if note is not None:
            write_note(predictions, path, temporary, metadata, rows - (format.name == "csv"))
    return gone, source


def _told(metadata: Mapping[bytes, bytes]) -> tuple[list[str], str]:
    """The columns of the text and the name of the input, as far as the metadata of predictions say."""
    try:
        columns = json.loads(metadata.get(KEY_OPTIONS, b"{}")).get("text_column", ["text"])
    except (ValueError, AttributeError):
        columns = ["text"]
    return list(map(str, columns)), metadata.get(KEY_SOURCE, b"").decode(errors="replace")


def _records(
    path: Path, format: OutputFormat, sought: Sought, text_columns: Sequence[str], source: str
) -> Iterator[tuple[list[bytes], Mask]]:
    """Raw records, the header of a CSV file among them, and which of them are of the reviews."""
    wanted = list(dict.fromkeys([*sought.id_columns, *text_columns]))
    with _reader(path, format) as file:
        names: list[str] = []
        records = _csv_records(file) if format.name == "csv" else iter(file)
        if format.name == "csv":
            header = next(records, b"")
            names = _cells(header)
            yield [header], np.zeros(1, np.bool_)
        parse: Callable[[bytes], Mapping[str, Any]] = _members if format.name == "jsonl" else _row_of(names)
        while chunk := [record for record, _ in zip(records, range(ROWS), strict=False)]:
            rows = [parse(record) for record in chunk]
            columns = {name: [_text(row.get(name)) for row in rows] for name in wanted}
            table = pa.RecordBatch.from_pydict({name: pa.array(column, pa.string()) for name, column in columns.items()})
            yield chunk, sought.rows(table, text_columns, source.split(", "))


def _csv_records(file: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a CSV file, those within quotation marks together."""
    pending: list[bytes] = []
    is_open = False
    for line in file:
        pending.append(line)
        is_open ^= line.count(b'"') % 2 == 1
        if not is_open:
            yield b"".join(pending)
            pending = []
    if pending:
        yield b"".join(pending)


def _row_of(names: Sequence[str]) -> Callable[[bytes], Mapping[str, Any]]:
    return lambda record: dict(zip(names, _cells(record), strict=False))


def _cells(record: bytes) -> list[str]:
    cells = []
    for match in _CELL.finditer(record.decode("utf-8", "replace")):
        quoted, bare, end = match.groups()
        cells.append(bare if quoted is None else quoted.replace('""', '"'))
        if end != ",":
            break
    return cells


def _members(record: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(record)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    return str(value).encode("utf-8", "replace").decode()


def _utf8(texts: pa.BinaryArray) -> pa.StringArray:
    try:
        return texts.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([text if text is None else text.decode("utf-8", "replace") for text in texts.to_pylist()])


def _is_from(home: str, sources: Sequence[str]) -> bool:
    return any(home == source or home.startswith(source.rstrip("/") + "/") for source in sources if source)


def _reader(path: Path, format: OutputFormat) -> BinaryIO:
    if format.compression is None:
        return path.open("rb")
    return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(os.fsencode(path), "rb"), format.compression))


def _writer(path: Path, format: OutputFormat) -> Any:
    file = pa.OSFile(os.fsencode(path), "wb")  # names that are not UTF-8 only as bytes
    return pa.CompressedOutputStream(file, format.compression) if format.compression else file
