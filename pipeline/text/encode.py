"""From texts to token IDs at once, without the tokens between them where the tokenizer allows it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.text.columns import text_buffers
from pipeline.text.kernels import encode
from pipeline.text.tokenizers import LOWER, RULES, WIDE, check_tokenizer, lower_beyond_ascii, tokenize
from pipeline.text.vocabulary import Vocabulary
from schemas.vocabulary import SPECIALS, UNK_ID

IDS = pa.list_(pa.field("element", pa.int32()))


class TokenIds(NamedTuple):
    """The tokens of N texts."""

    ids: pa.ListArray
    """list<int32> (N,), without nulls."""
    unknown_N: npt.NDArray[np.int32]
    """How many of a text's tokens are not in the vocabulary."""

    def lengths(self) -> npt.NDArray[np.int32]:
        """Number of tokens of each text, (N,)."""
        lengths_N: npt.NDArray[np.int32] = np.diff(self.ids.offsets.to_numpy())
        return lengths_N


def token_ids(vocabulary: Vocabulary, texts: pa.StringArray) -> TokenIds:
    """The IDs of each text's tokens, by the vocabulary's own tokenizer; a null text has none.

    Raises:
        UsageError: no tokenizer of that name.
    """
    check_tokenizer(vocabulary.tokenizer)
    rules = RULES[vocabulary.tokenizer]
    if texts.null_count:
        texts = texts.fill_null("")  # bytes may stand where a text is null
    if rules.split_chunks is not None:
        ids = vocabulary.encode(tokenize(vocabulary.tokenizer, texts))
        return TokenIds(ids, _unknown(ids))
    data, bounds = text_buffers(lower_beyond_ascii(texts))
    words = vocabulary.word_table
    found, row_bounds, unknown = map(
        pa.py_buffer, encode(data, bounds, rules.classes, LOWER, rules.mark, WIDE, *words, len(SPECIALS), UNK_ID)
    )
    values = pa.Array.from_buffers(pa.int32(), found.size // 4, [None, found])
    ends = pa.Array.from_buffers(pa.int32(), len(texts) + 1, [None, row_bounds])
    return TokenIds(pa.ListArray.from_arrays(ends, values, type=IDS), np.frombuffer(unknown, np.int32))


def _unknown(ids: pa.ListArray) -> npt.NDArray[np.int32]:
    offsets = ids.offsets.to_numpy()
    total = np.concatenate([[0], np.cumsum(ids.values.to_numpy() == UNK_ID)])
    counts_N: npt.NDArray[np.int32] = np.diff(total[offsets]).astype(np.int32)
    return counts_N
