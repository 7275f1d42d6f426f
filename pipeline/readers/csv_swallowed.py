"""Whether a quoted value of several lines is one, or rows between two stray quotation marks.

Both are valid CSV. Rows give themselves away: every line has the table's width and, in its columns, what other rows have
there: a label that they have or, where there is no label, numbers or one of a few values.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.readers.csv_cells import parsed
from pipeline.readers.csv_split import LINE_END, SOUND, Marks, Pieces, lines_of, next_record

MAX_LABELS = 10_000
"""More different values are no labels."""
FEW_VALUES = 20
MIN_ROWS = 20
MAX_ROWS = 1000
"""As many rows are looked at to see what a column holds."""
NUMBER = re.compile(rb"-?(0|[1-9]\d{0,17})(\.\d+)?")

Cells = Sequence[bytes]
Fits = Callable[[Cells], bool]
"""Whether the cells of a line are those of a row."""


def doubtful(data: bytes, pieces: Pieces, marks: Marks, width: int) -> npt.NDArray[np.int64]:
    """Positions of the records over several lines whose lines, all but the last, have the table's width."""
    if width == 1 or not marks.quote:
        return np.empty(0, np.int64)
    several = np.flatnonzero((pieces.inner > 0) & (pieces.fault == SOUND))
    places = zip(several.tolist(), pieces.start[several].tolist(), pieces.stop[several].tolist(), strict=True)
    found = [at for at, start, stop in places if _has_width(data, start, stop, marks.delimiter, width)]
    return np.array(found, np.int64)


def has_spaces(rows: pa.RecordBatch) -> bool:
    """Whether a space follows the delimiter, as in `text, label`, in most of the rows; `rows` has columns as `parsed`."""
    columns = [column for name, column in zip(rows.schema.names, rows.columns, strict=True) if name != "0"]
    return any((pc.sum(pc.starts_with(column, b" ")).as_py() or 0) * 2 > len(rows) for column in columns)


def are_rows(record: bytes, marks: Marks, width: int, fits: Fits, spaces: bool) -> bool:
    """Whether every line of a doubtful record is a row.

    A space after a delimiter is a sign of prose, unless rows have `spaces` there.
    """
    *lines, last = lines_of(record)
    if not spaces and marks.delimiter + b" " in record:
        return False
    if not all(fits(line.split(marks.delimiter)) for line in lines):
        return False
    alone = next_record(last, marks, final=True)
    if alone.fault[0] != SOUND or alone.columns[0] != width:
        return False
    return fits([column[0].as_py() or b"" for column in parsed(last, marks, width, range(width)).columns])


class Labels:
    """The labels of rows without doubt, and whether a line has one of them."""

    def __init__(self, column: int) -> None:
        self.column = column
        self.known: set[bytes] = set()

    def learn(self, labels: pa.Array) -> None:
        """Takes the labels of further rows."""
        if len(self.known) < MAX_LABELS:
            self.known.update(label for label in labels.unique().to_pylist() if label)

    def __call__(self, cells: Cells) -> bool:
        return cells[self.column] in self.known


class Shapes:
    """What the columns of a table without labels hold, and whether a line holds the same.

    Args:
        rows: rows without doubt, all columns of the table.
    """

    def __init__(self, rows: pa.RecordBatch) -> None:
        self.fits: dict[int, Callable[[bytes], bool]] = {}
        for position, column in enumerate(rows.slice(0, MAX_ROWS).columns):
            if fits := _shape_of([value or b"" for value in column.to_pylist()]):
                self.fits[position] = fits

    def __call__(self, cells: Cells) -> bool:
        return bool(self.fits) and all(fits(cells[position]) for position, fits in self.fits.items())


def _has_width(data: bytes, start: int, stop: int, delimiter: bytes, width: int) -> bool:
    for end in LINE_END.finditer(data, start, stop):
        # Blank lines say nothing.
        if end.start() > start and data.count(delimiter, start, end.start()) != width - 1:
            return False
        start = end.end()
    return True


def _shape_of(values: list[bytes]) -> Callable[[bytes], bool] | None:
    """What all values have in common: numbers of so many digits, or a few values; None where there is nothing."""
    if len(values) < MIN_ROWS:
        return None
    different = set(values)
    if len(different) <= min(FEW_VALUES, len(values) // 5) and different != {b""}:
        return different.__contains__
    if all(NUMBER.fullmatch(value) for value in different):
        shortest, longest = min(map(len, different)), max(map(len, different))
        return lambda value: shortest <= len(value) <= longest and NUMBER.fullmatch(value) is not None
    return None
