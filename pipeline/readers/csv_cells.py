"""The cells of records, by Arrow."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv

from pipeline.readers.csv_split import Marks

ARROW_BYTES = 1 << 30
"""More than a block can have, so that Arrow takes each whole."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parsed(data: bytes, marks: Marks, width: int, columns: Sequence[int], stop: int | None = None) -> pa.RecordBatch:
    """Records of `width` fields without a fault as a batch of binary columns, named by their positions; empty is null.

    Args:
        stop: where the records end, if not with the data; nothing is copied for it.
    """
    records = pa.py_buffer(data).slice(0, len(data) if stop is None else stop)
    if data.startswith(BYTE_ORDER_MARK):
        records = pa.py_buffer(b"\n" + records.to_pybytes())  # Arrow would pass it over
    names = [str(column) for column in columns]
    table = pa_csv.read_csv(
        pa.BufferReader(records),
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=ARROW_BYTES, column_names=[str(column) for column in range(width)]
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=marks.delimiter.decode(), quote_char=marks.quote.decode() or False, newlines_in_values=True
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=names,
            column_types=dict.fromkeys(names, pa.binary()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,
        ),
    )
    return table.combine_chunks().to_batches()[0]
