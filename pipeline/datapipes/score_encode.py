"""Worker function of scoring: from rows with text to kept columns and token IDs, or at once to probabilities."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datapipes.score_read import Part
from pipeline.errors import OutOfMemoryError, out_of_memory
from pipeline.progress import AS_IT_IS
from pipeline.readers import json_text
from pipeline.readers.base import FileFault
from pipeline.readers.tables import Table
from pipeline.readers.unify import aligned
from pipeline.text.encode import IDS, TokenIds, token_ids
from pipeline.text.vocabulary import Vocabulary
from schemas.bad_row import BadRow
from schemas.prediction import NO_KNOWN_TOKEN, NO_TEXT

log = logging.getLogger(__name__)

REASONS = (None, NO_TEXT, NO_KNOWN_TOKEN)
"""Why a row is not scored, by its code."""

Reasons = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Rows on their way to the model.

    Args:
        kept: (N,) the columns to keep.
        reason: (N,) indices into `REASONS`.
        length_N: number of tokens of each row.
        unknown_N: how many of them are not in the vocabulary.
        ids: (N,) list<int32>, null if the row cannot be scored; None if the rows are scored already.
        probability_NC: float32, NaN if the row cannot be scored; None if the rows are not scored yet.
        num_bytes: of columns and ids: a function of their values, so that the same rows make the same windows wherever they
            come from.
        bad: rejected rows.
        faults: unreadable files of one review each.
    """

    kept: pa.RecordBatch
    reason: Reasons
    length_N: npt.NDArray[np.int32]
    unknown_N: npt.NDArray[np.int32]
    ids: pa.ListArray | None
    probability_NC: npt.NDArray[np.float32] | None
    num_bytes: int
    bad: list[BadRow] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)


Score = Callable[[pa.ListArray], npt.NDArray[np.float32]]
"""From list<int32> (N,), null if a row cannot be scored, to probabilities, float32 (N, C)."""


def text_encoder(
    vocabulary: Vocabulary, kept: pa.Schema, *, json_as_is: bool = False, score: Score | None = None
) -> Callable[[Part], Encoded]:
    """Creates the worker function. It runs in several threads at once; the kernels release the GIL.

    Args:
        kept: the columns to keep.
        json_as_is: keep members of JSON objects as their JSON text; null for absent ones.
        score: scores the rows at once; their IDs are not kept then.
    """

    def encode(part: Part) -> Encoded:
        try:
            batch = part.table.batch(part.item)
            found, reason = _encoded(vocabulary, batch.texts)
            ids = _scorable(found, reason)
            columns = (_as_is if json_as_is else _kept)(part.table, batch.columns, kept)
            scored = None if score is None else score(ids)
        except MemoryError as error:
            raise OutOfMemoryError(out_of_memory(f"in the middle of {part.table.source.name}")) from error
        return Encoded(
            kept=columns,
            reason=reason,
            length_N=found.lengths(),
            unknown_N=found.unknown_N,
            ids=ids if scored is None else None,
            probability_NC=scored,
            num_bytes=sum(map(bytes_of, columns.columns)) + (bytes_of(ids) if scored is None else 0),
            bad=batch.bad,
            faults=batch.faults,
        )

    return encode


def encode_texts(vocabulary: Vocabulary, texts: pa.Array) -> tuple[pa.ListArray, Reasons]:
    """Token IDs of texts, by the vocabulary's own tokenizer, and why some texts cannot be scored.

    Args:
        texts: (N,) strings or bytes; invalid UTF-8 counts as no text.

    Returns:
        list<int32> (N,), null if the text cannot be scored; indices into `REASONS`, int8 (N,).
    """
    found, reason = _encoded(vocabulary, texts)
    return _scorable(found, reason), reason


def _encoded(vocabulary: Vocabulary, texts: pa.Array) -> tuple[TokenIds, Reasons]:
    texts = _strings(texts)
    found = token_ids(vocabulary, texts)
    length_N = found.lengths()
    reason = np.where(length_N > found.unknown_N, 0, REASONS.index(NO_KNOWN_TOKEN)).astype(np.int8)
    for row in np.flatnonzero(length_N == 0).tolist():
        if not (texts[row].as_py() or "").strip():
            reason[row] = REASONS.index(NO_TEXT)
    return found, reason


def _scorable(found: TokenIds, reason: Reasons) -> pa.ListArray:
    """The IDs, null where there is a reason against scoring."""
    if not reason.any():
        return found.ids
    return pa.ListArray.from_arrays(found.ids.offsets, found.ids.values, type=IDS, mask=pa.array(reason != 0))


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


def bytes_of(column: pa.Array) -> int:
    """Bytes of the values of a column, without what Arrow may or may not keep beside them."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind):
        return 4 * len(column) + int(pc.sum(pc.binary_length(column)).as_py() or 0)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return 4 * len(column) + bytes_of(column.flatten())
    if pa.types.is_struct(kind):
        return sum(map(bytes_of, column.flatten()))
    try:
        return int(kind.bit_width) * len(column) // 8
    except ValueError:  # a type without a width, of which there are few
        return 8 * len(column)


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
