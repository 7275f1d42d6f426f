"""Word boundaries by Unicode's default rules (UAX #29), also for text written without blanks.

Source: Unicode Standard Annex #29, "Unicode Text Segmentation", section 4, implemented by the library `regex`.

- Letters, digits and marks of an alphabet stay together: `don't`, `3.14`, `хорошо`, `좋아요`, `naïve`.
- Each ideograph (Han) and each letter of Hiragana is a word by itself. A run of Katakana is one word (rule WB13).
- Thai, Lao, Khmer and Burmese need a dictionary, which is outside UAX #29: each letter with its marks is a word.
- An emoji sequence is one word: a family, a flag, a skin tone, a keycap.
- Each punctuation mark and each symbol is a word: `!` and `？` carry sentiment, in every script.
- White space, controls and isolated format characters (such as a zero-width space) are not words.

The tables are those of the Unicode version in `regex`; a newer version may split newly assigned characters differently.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import regex

_BOUNDARY = regex.compile(r"(?V1w)\b")
_INVISIBLE = regex.compile(r"[\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]+")
_SEPARATOR = "\n"
"""Always a boundary on either side (rules WB3a and WB3b), so joined chunks are split as if each were alone."""
GROUP_BYTES = 1 << 18
"""Bytes of UTF-8 to split at once: as a Python string, a word takes some 80 bytes."""


def split_chunks(chunks: pa.StringArray) -> pa.ListArray:
    """Splits each chunk of text into its words.

    Args:
        chunks: strings without white space and nulls.

    Returns:
        list<string>, one per chunk.
    """
    alone = pc.ascii_is_alnum(chunks).to_numpy(zero_copy_only=False)  # ASCII letters and digits are never split
    lengths = np.ones(len(chunks), np.int32)
    words, cut_lengths = _cut(chunks.filter(pa.array(~alone)))
    lengths[~alone] = cut_lengths
    offsets = np.zeros(len(chunks) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    places = np.empty(offsets[-1], np.int64)  # of each word in `chunks`, and after them in `words`
    is_cut = np.repeat(~alone, lengths)
    places[is_cut] = len(chunks) + np.arange(len(words))
    places[~is_cut] = np.flatnonzero(alone)
    values = pa.concat_arrays([chunks, words]).take(pa.array(places))
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _cut(chunks: pa.StringArray) -> tuple[pa.StringArray, npt.NDArray[np.int32]]:
    """The words of all chunks, concatenated, and the number of words of each chunk."""
    words, lengths = [pa.array([], pa.string())], [np.empty(0, np.int32)]
    for group in _groups(chunks):
        pieces = pa.array(_BOUNDARY.split(_SEPARATOR.join(group.to_pylist())), pa.string()).dictionary_encode()
        kinds = np.array([_kind(piece) for piece in pieces.dictionary.to_pylist()], np.int8)[pieces.indices.to_numpy()]
        chunk_of_piece = np.cumsum(kinds == _END)
        lengths.append(np.bincount(chunk_of_piece[kinds == _KEPT], minlength=len(group)).astype(np.int32))
        words.append(pieces.filter(pa.array(kinds == _KEPT)).dictionary_decode())
    return pa.concat_arrays(words), np.concatenate(lengths)


_KEPT, _LEFT_OUT, _END = 0, 1, 2


def _kind(piece: str) -> int:
    if piece == _SEPARATOR:
        return _END
    return _LEFT_OUT if not piece or _INVISIBLE.fullmatch(piece) else _KEPT


def _groups(chunks: pa.StringArray) -> Iterator[pa.StringArray]:
    """Slices of about `GROUP_BYTES`; a longer chunk gets its own slice."""
    if not len(chunks):
        return
    ends = np.cumsum(pc.binary_length(chunks).to_numpy(), dtype=np.int64)
    starts = np.flatnonzero(np.diff(ends // GROUP_BYTES, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(chunks)], strict=True):
        yield chunks.slice(start, stop - start)
