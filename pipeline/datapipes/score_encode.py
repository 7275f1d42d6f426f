"""Worker function of scoring: a record batch with text in, the same batch with token ids out."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text.tokenizers import tokenize
from pipeline.text.vocabulary import Vocabulary

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Rows on their way to the model: `kept` the input's columns, `ids` list<int32>, null where there is no text."""

    kept: pa.RecordBatch
    ids: pa.ListArray

    @property
    def nbytes(self) -> int:
        """Bytes that the rows hold in memory."""
        return int(self.kept.nbytes + self.ids.nbytes)


def text_encoder(vocabulary: Vocabulary, text_column: str, kept: Sequence[str]) -> Callable[[pa.RecordBatch], Encoded]:
    """Makes the worker function; it runs in several threads at once, the Arrow kernels release the GIL."""
    names = list(kept)

    def encode(batch: pa.RecordBatch) -> Encoded:
        return Encoded(batch.select(names), encode_texts(vocabulary, batch.column(text_column)))

    return encode


def encode_texts(vocabulary: Vocabulary, texts: pa.Array) -> pa.ListArray:
    """Token ids of each text with the vocabulary's own tokenizer; null for null and for text that is not UTF-8."""
    texts = texts.cast(pa.string())
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        texts = _without_broken(texts)
    ids = vocabulary.encode(tokenize(vocabulary.tokenizer, pc.fill_null(texts, "")))
    if not texts.null_count:
        return ids
    return pa.ListArray.from_arrays(ids.offsets, ids.values, type=ids.type, mask=texts.is_null())


def _without_broken(texts: pa.StringArray) -> pa.StringArray:
    """Null in place of what is not UTF-8: Parquet files may hold it, nobody checks when they are read."""
    whole = []
    for raw in texts.view(pa.binary()).to_pylist():
        try:
            whole.append(None if raw is None else raw.decode())
        except UnicodeDecodeError:
            whole.append(None)
    result = pa.array(whole, pa.string())
    log.warning(
        "%d texts are not valid UTF-8; their rows are kept without a prediction", result.null_count - texts.null_count
    )
    return result
