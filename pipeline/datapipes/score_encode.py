"""Worker function of scoring: from rows with text to kept columns and token IDs."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.datapipes.score_read import Part
from pipeline.errors import OutOfMemoryError, out_of_memory
from pipeline.progress import AS_IT_IS
from pipeline.readers import json_text
from pipeline.readers.base import FileFault
from pipeline.readers.tables import Table
from pipeline.readers.unify import aligned
from pipeline.text.tokenizers import tokenize
from pipeline.text.vocabulary import Vocabulary
from schemas.bad_row import BadRow
from schemas.prediction import NO_KNOWN_TOKEN, NO_TEXT
from schemas.vocabulary import UNK_ID

log = logging.getLogger(__name__)

REASONS = (None, NO_TEXT, NO_KNOWN_TOKEN)
"""Why a row is not scored, by its code."""

Reasons = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Rows on their way to the model.

    Args:
        kept: (N,) the columns to keep.
        ids: (N,) list<int32>, null if the row cannot be scored.
        reason: (N,) indices into `REASONS`.
        bad: rejected rows.
        faults: unreadable files of one review each.
    """

    kept: pa.RecordBatch
    ids: pa.ListArray
    reason: Reasons
    bad: list[BadRow] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Memory used by the rows, in bytes."""
        return int(self.kept.nbytes + self.ids.nbytes)


def text_encoder(vocabulary: Vocabulary, kept: pa.Schema, *, json_as_is: bool = False) -> Callable[[Part], Encoded]:
    """Creates the worker function. It runs in several threads at once; the Arrow kernels release the GIL.

    Args:
        kept: the columns to keep.
        json_as_is: keep members of JSON objects as their JSON text; null for absent ones.
    """

    def encode(part: Part) -> Encoded:
        try:
            batch = part.table.batch(part.item)
            ids, reason = encode_texts(vocabulary, batch.texts)
            columns = (_as_is if json_as_is else _kept)(part.table, batch.columns, kept)
        except MemoryError as error:
            raise OutOfMemoryError(out_of_memory(f"in the middle of {part.table.source.name}")) from error
        return Encoded(columns, ids, reason, batch.bad, batch.faults)

    return encode


def encode_texts(vocabulary: Vocabulary, texts: pa.Array) -> tuple[pa.ListArray, Reasons]:
    """Token IDs of texts, by the vocabulary's own tokenizer, and why some texts cannot be scored.

    Args:
        texts: (N,) strings or bytes; invalid UTF-8 counts as no text.

    Returns:
        list<int32> (N,), null if the text cannot be scored; indices into `REASONS`, int8 (N,).
    """
    texts = _strings(texts)
    ids = vocabulary.encode(tokenize(vocabulary.tokenizer, texts.fill_null("")))
    offsets = ids.offsets.to_numpy()
    starts, lengths = offsets[:-1], np.diff(offsets)
    filled = lengths > 0
    known = np.zeros(len(texts), bool)
    if filled.any():
        known[filled] = np.maximum.reduceat(ids.values.to_numpy(), starts[filled]) > UNK_ID
    if known.all():
        return ids, np.zeros(len(texts), np.int8)
    reason = np.where(known, 0, REASONS.index(NO_KNOWN_TOKEN)).astype(np.int8)
    for row in np.flatnonzero(~filled).tolist():
        if not (texts[row].as_py() or "").strip():
            reason[row] = REASONS.index(NO_TEXT)
    return pa.ListArray.from_arrays(ids.offsets, ids.values, type=ids.type, mask=pa.array(~known)), reason


def _as_is(table: Table, columns: pa.RecordBatch, kept: pa.Schema) -> pa.RecordBatch:
    """The kept columns as JSON text."""
    schema = pa.schema([(name, pa.string()) for name in kept.names])
    return aligned(columns, schema, {name: json.dumps(value) for name, value in table.constants.items()})


def _kept(table: Table, columns: pa.RecordBatch, kept: pa.Schema) -> pa.RecordBatch:
    """The kept columns in the types of the output.

    Raises:
        FileFault: a value cannot be converted to its column's type in the output.
    """
    try:
        if table.is_json:
            present = [field for field in kept if field.name in columns.schema.names]
            typed = [json_text.typed(columns[field.name], field.type) for field in present]
            columns = pa.RecordBatch.from_arrays(typed, names=[field.name for field in present])
        return aligned(columns, kept, table.constants)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError) as error:
        detail = f"its columns cannot be converted to the types of the others: {error}. Score it separately"
        raise FileFault(table.source.name, "column", detail) from error


def _strings(texts: pa.Array) -> pa.StringArray:
    if pa.types.is_string(texts.type):
        texts = texts.cast(pa.binary())
    try:
        return texts.cast(pa.string())
    except pa.ArrowInvalid:
        return _without_broken(texts)


def _without_broken(texts: pa.BinaryArray) -> pa.StringArray:
    """Replaces invalid UTF-8 by null: Parquet files may contain it, because readers don't check."""
    whole = []
    for raw in texts.cast(pa.binary()).to_pylist():
        try:
            whole.append(None if raw is None else raw.decode())
        except UnicodeDecodeError:
            whole.append(None)
    result = pa.array(whole, pa.string())
    text = "%d texts are not valid UTF-8; their rows are kept without a prediction"
    log.warning(text, result.null_count - texts.null_count, extra=AS_IT_IS)
    return result
