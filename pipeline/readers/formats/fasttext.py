"""fastText's training files: one review per line, with its label before it as `__label__pos`. Use `--format fasttext`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.readers.base import EXCERPT_BYTES, Format, Reading, Rows, Source
from schemas.bad_row import BadRow

if TYPE_CHECKING:
    import pyarrow as pa

TEXT, LABEL = "text", "label"
PREFIX = b"__label__"


def read(source: Source, reading: Reading) -> Iterator[Rows]:
    """A row per line, with columns `text` and `label`; a line without a label has none.

    Raises:
        FileFault: the file cannot be read.
    """
    import numpy as np
    import pyarrow as pa

    from pipeline.readers.line_batches import line_batches

    names = (TEXT, LABEL) if reading.columns is None else reading.columns
    for lines, first in line_batches(source, reading):
        found: dict[str, list[bytes | None]] = {TEXT: [], LABEL: []}
        numbers, bad = [], []
        for number, line in enumerate(lines, first):
            labels, text = _parts(line)
            if len(labels) > 1:
                detail = f"{len(labels)} labels; a review has one"
                bad.append(
                    BadRow(
                        source=source.name,
                        row=number,
                        reason="malformed_row",
                        detail=detail,
                        excerpt=line[:EXCERPT_BYTES],
                    )
                )
                continue
            found[TEXT].append(text)
            found[LABEL].append(labels[0] if labels else None)
            numbers.append(number)
        arrays = [pa.array(found[name], pa.binary()) for name in names]
        table = pa.RecordBatch.from_arrays(arrays, names=list(names))
        yield Rows(table=table, row=np.array(numbers, np.int64), bad=bad)


def _parts(line: bytes) -> tuple[list[bytes], bytes]:
    """The labels at a line's beginning, without their prefix, and the rest."""
    labels = []
    rest = line.lstrip()
    while rest.startswith(PREFIX):
        label, _, rest = rest.partition(b" ")
        labels.append(label.removeprefix(PREFIX))
        rest = rest.lstrip()
    return labels, rest


def schema(source: Source, reading: Reading) -> "pa.Schema":
    """Both columns, binary."""
    import pyarrow as pa

    return pa.schema([(TEXT, pa.binary()), (LABEL, pa.binary())])


FORMAT = Format(
    name="fasttext",
    suffixes=(),
    summary="one review per line, with its label before it as __label__pos",
    text_cells=True,
    read=read,
    schema=schema,
)
