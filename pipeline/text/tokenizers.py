"""Tokenizers on whole Arrow batches: the bytes of all texts at once, never one text at a time.

`basic_english` follows torchtext's tokenizer of that name: lower-case; remove quotation marks; make each of
`. , ( ) ! ? '` a token; replace `<br />`, `;` and `:` by blanks; split at white space.
`punctuation` is the book's: lower-case, strip ASCII punctuation, split at white space.
`unicode` is for every language: lower-case; replace `<br />` by a blank; split at white space, then at word boundaries of
UAX #29, see `uax29.py`. Punctuation stays, each mark a token, for the same reason as in `basic_english`: it carries
sentiment.
All agree with Python's `str.lower` and `str.split`.

A tokenizer is a table of 256 classes, one for each byte, for the kernels (`kernels.py`). In UTF-8, every byte of a
letter beyond ASCII is above 127, so a byte below 128 is always the character itself. Where bytes do not decide, a
function splits the distinct chunks of a batch further: there are few of them compared with the text.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import unknown_choice
from pipeline.text.columns import CHANGES, text_buffers, text_states
from pipeline.text.kernels import split
from schemas.tokenizers import TOKENIZERS

WORD, SINGLE, BLANK, DROP, LEAD = 0, 1, 2, 3, 4
"""Classes of bytes: part of a word; a token by itself; ends a word; removed; first byte of a character of several bytes
that may be white space, else part of a word."""

WHITE_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f "
WIDE_WHITE_SPACE = (
    "\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
WIDE = b"".join(bytes([len(encoded)]) + encoded for encoded in map(str.encode, WIDE_WHITE_SPACE))
"""White space beyond ASCII, in the kernels' format: the number of bytes, then the bytes, for each character."""
LOWER = np.frombuffer(bytes(range(256)).lower(), np.uint8)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """The class of each byte, and a sequence of bytes that counts as a blank (b"" for none).

    `split_chunks`, where bytes alone do not decide: distinct chunks between white space → list<string>, one per chunk.
    """

    classes: npt.NDArray[np.uint8]
    mark: bytes
    split_chunks: Callable[[pa.StringArray], pa.ListArray] | None = None


def _tokenizer(
    single: str, blank: str, drop: str, mark: bytes, split_chunks: Callable[[pa.StringArray], pa.ListArray] | None = None
) -> Tokenizer:
    classes = np.full(256, WORD, np.uint8)
    for kind, characters in ((SINGLE, single), (BLANK, WHITE_SPACE + blank), (DROP, drop)):
        classes[list(characters.encode())] = kind
    classes[[character.encode()[0] for character in WIDE_WHITE_SPACE]] = LEAD
    return Tokenizer(classes, mark, split_chunks)


def _split_words(chunks: pa.StringArray) -> pa.ListArray:
    """See `uax29.split_chunks`."""
    from pipeline.text.uax29 import split_chunks  # 20 ms to import, which the other tokenizers save

    return split_chunks(chunks)


RULES = {
    "basic_english": _tokenizer(".,()!?'", ";:", '"', b"<br />"),
    "punctuation": _tokenizer("", "", string.punctuation, b""),
    "unicode": _tokenizer("", "", "", b"<br />", _split_words),
}
assert tuple(RULES) == tuple(TOKENIZERS), "schemas/tokenizers.py names what there is"


def described(name: str) -> dict[str, Any]:
    """A tokenizer's rules, to implement it in another language. It lower-cases the text, replaces `blank_mark` by a blank,
    removes the characters of `dropped`, makes each of `single` a token and splits at white space and `blank`; `words`
    describes how chunks between white space are split further."""
    tokenizer = RULES[name]
    ascii_of = {
        kind: "".join(chr(byte) for byte in range(128) if tokenizer.classes[byte] == kind) for kind in (SINGLE, BLANK, DROP)
    }
    return {
        "lowercase": True,
        "blank_mark": tokenizer.mark.decode(),
        "dropped": ascii_of[DROP],
        "single": ascii_of[SINGLE],
        "blank": ascii_of[BLANK],
        "words": None if tokenizer.split_chunks is None else "UAX #29",
    }


def check_tokenizer(name: str) -> None:
    """Raises `UsageError` if there is no tokenizer `name`."""
    if name not in RULES:
        raise unknown_choice("--tokenizer", name, TOKENIZERS)


def tokenize(name: str, texts: pa.StringArray) -> pa.ListArray:
    """Splits each text into tokens.

    Args:
        name: one of `TOKENIZERS`.
        texts: less than 2 GiB of strings; null gives null, a text without tokens an empty list.

    Returns:
        list<dictionary<int32, string>>, one per text; the dictionary has the distinct tokens in order of first
        occurrence.

    Raises:
        UsageError: no tokenizer of that name.
    """
    check_tokenizer(name)
    tokenizer = RULES[name]
    data, bounds = text_buffers(lower_beyond_ascii(texts))
    words, word_bounds, indices, row_bounds = map(
        pa.py_buffer, split(data, bounds, tokenizer.classes, LOWER, tokenizer.mark, WIDE)
    )
    dictionary = pa.StringArray.from_buffers(word_bounds.size // 4 - 1, word_bounds, words)
    tokens, ends = pa.DictionaryArray.from_arrays(_int32(indices), dictionary), _int32(row_bounds)
    if tokenizer.split_chunks is not None and len(dictionary):
        tokens, ends = _split_again(tokens, ends, tokenizer.split_chunks(dictionary))
    return pa.ListArray.from_arrays(ends, tokens, mask=pc.is_null(texts) if texts.null_count else None)


def _split_again(
    chunks: pa.DictionaryArray, row_bounds: pa.Int32Array, words: pa.ListArray
) -> tuple[pa.DictionaryArray, pa.Int32Array]:
    """Replaces chunk i of the dictionary by `words[i]`, and adjusts `row_bounds`.

    The order of first occurrence is preserved, because words keep the order of their chunks.
    """
    encoded = words.values.dictionary_encode()
    word_ids, starts = encoded.indices.to_numpy(), words.offsets.to_numpy()
    places = chunks.indices.to_numpy()
    lengths = np.diff(starts)[places]
    bounds = np.zeros(len(places) + 1, np.int32)
    np.cumsum(lengths, out=bounds[1:])
    # Word k of a chunk is k places after the chunk's first word.
    taken = np.arange(bounds[-1]) + np.repeat(starts[places] - bounds[:-1], lengths)
    tokens = pa.DictionaryArray.from_arrays(pa.array(word_ids[taken]), encoded.dictionary)
    return tokens, pa.array(bounds[row_bounds.to_numpy()])


def _int32(values: pa.Buffer) -> pa.Int32Array:
    return pa.Array.from_buffers(pa.int32(), values.size // 4, [None, values])


def lower_beyond_ascii(texts: pa.StringArray) -> pa.StringArray:
    """Lower-cases texts that have capitals beyond ASCII using Python's own tables; the kernels do the others."""
    changes = (text_states(texts) & CHANGES) != 0
    if not changes.any():
        return texts
    wide = pa.array(changes) if not texts.null_count else pc.and_(pa.array(changes), pc.is_valid(texts))
    return pc.replace_with_mask(texts, wide, pa.array([text.lower() for text in texts.filter(wide).to_pylist()], texts.type))
