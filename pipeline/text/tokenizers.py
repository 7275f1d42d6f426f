"""Tokenizers on whole Arrow batches: the bytes of all texts at once, never a text at a time.

`basic_english` follows the rules of torchtext's tokenizer of that name: lower-case; quotation marks go; each of
`. , ( ) ! ? '` becomes a token; `<br />`, `;` and `:` become blanks; split at white space.
`punctuation` is the book's: lower-case, strip ASCII punctuation, split at white space.
Both agree with Python's `str.lower` and `str.split` on every character that this Python's Unicode knows.

A tokenizer is a table of 256 classes, one for each byte. In UTF-8 every byte of a letter beyond ASCII is above 127, so a
byte below 128 is always the character itself. Arrow's own kernels (a regex for the punctuation, then
`utf8_split_whitespace`) do the same in half as much time again.
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import unknown_choice

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]

WORD, SINGLE, BLANK, DROP = 0, 1, 2, 3
"""Classes of bytes: part of a word; a token of its own; ends a word; vanishes as if it had never been there."""

WHITE_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f "
WIDE_WHITE_SPACE = (
    "\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
SPECIAL_CASES = "\u0130\u03a3"
FIRST_LEAD = 0xC2
"""The least byte that begins a character beyond ASCII."""
LINE_BREAK = b"<br />"


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """What each byte means, and whether `<br />` is a blank."""

    classes: Bytes
    line_breaks: bool


def _tokenizer(single: str, blank: str, drop: str, *, line_breaks: bool) -> Tokenizer:
    classes = np.full(256, WORD, np.uint8)
    for kind, characters in ((SINGLE, single), (BLANK, WHITE_SPACE + blank), (DROP, drop)):
        classes[list(characters.encode())] = kind
    return Tokenizer(classes, line_breaks)


_TOKENIZERS = {
    "basic_english": _tokenizer(".,()!?'", ";:", '"', line_breaks=True),
    "punctuation": _tokenizer("", "", string.punctuation, line_breaks=False),
}
TOKENIZERS: tuple[str, ...] = tuple(_TOKENIZERS)
DEFAULT_TOKENIZER = "basic_english"


def check_tokenizer(name: str) -> None:
    """Raises `UsageError` when there is no tokenizer `name`."""
    if name not in _TOKENIZERS:
        raise unknown_choice("--tokenizer", name, TOKENIZERS)


def tokenize(name: str, texts: pa.StringArray) -> pa.ListArray:
    """Splits each text into tokens.

    Args:
        name: one of `TOKENIZERS`.
        texts: strings, less than 2 GiB of them; null gives null, a text without tokens an empty list.

    Returns:
        list<string>, one a text.

    Raises:
        UsageError: no tokenizer of that name.
    """
    check_tokenizer(name)
    tokenizer = _TOKENIZERS[name]
    data, rows = _buffers(_lower(texts))
    classes = tokenizer.classes.take(data, mode="clip")
    drop = np.flatnonzero(classes == DROP)
    if len(drop):
        keep = classes != DROP
        data, classes = data[keep], classes[keep]
        rows = rows - np.searchsorted(drop, rows)
    _blank_wide_white_space(classes, data)
    if tokenizer.line_breaks:
        _blank_line_breaks(classes, data, rows)
    tokens, counts = _split(classes, data, rows)
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    null = pc.is_null(texts) if texts.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets), tokens, mask=null)


def _lower(texts: pa.StringArray) -> pa.StringArray:
    """`str.lower` of each text. Two letters grow or depend on context, which the kernel ignores; Python lowers those."""
    lowered = pc.utf8_lower(texts)
    data, _ = _buffers(texts)
    if any(len(places) for _, places in _places_of(SPECIAL_CASES, data)):
        special = pc.match_substring_regex(texts, f"[{SPECIAL_CASES}]")
        patched = [None if text is None else text.lower() for text in texts.filter(special).to_pylist()]
        lowered = pc.replace_with_mask(lowered, pc.fill_null(special, False), pa.array(patched, lowered.type))
    return lowered


def _places_of(characters: str, data: Bytes) -> Iterator[tuple[bytes, npt.NDArray[np.intp]]]:
    """Each of the characters, all beyond ASCII, as UTF-8, and where in the data it begins. They are few in most texts."""
    leads = np.flatnonzero(data >= FIRST_LEAD)
    if not len(leads):
        return
    first = data[leads]
    for encoded in map(str.encode, characters):
        places = leads[first == encoded[0]]
        for place, byte in enumerate(encoded[1:], start=1):  # in UTF-8 the bytes after a lead are always there
            places = places[data[places + place] == byte]
        yield encoded, places


def _buffers(texts: pa.StringArray) -> tuple[Bytes, Offsets]:
    offsets, values = texts.buffers()[1:]
    if not len(texts) or values is None:
        return np.empty(0, np.uint8), np.zeros(len(texts) + 1, np.int64)
    rows = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    return np.frombuffer(values, np.uint8)[rows[0] : rows[-1]], rows - rows[0]


def _blank_wide_white_space(classes: Bytes, data: Bytes) -> None:
    """Makes each white space beyond ASCII a blank."""
    for encoded, places in _places_of(WIDE_WHITE_SPACE, data):
        classes[(places[:, None] + np.arange(len(encoded))).ravel()] = BLANK


def _blank_line_breaks(classes: Bytes, data: Bytes, rows: Offsets) -> None:
    """Makes each `<br />` that lies within one text a blank."""
    starts = np.flatnonzero(data[: max(len(data) - len(LINE_BREAK) + 1, 0)] == LINE_BREAK[0])
    for place, byte in enumerate(LINE_BREAK[1:], start=1):
        starts = starts[data[starts + place] == byte]
    # A null or empty text has no width; the text of a byte is the last one that begins at or before it.
    starts = starts[starts + len(LINE_BREAK) <= rows[np.searchsorted(rows, starts, side="right")]]
    classes[(starts[:, None] + np.arange(len(LINE_BREAK))).ravel()] = BLANK


def _split(classes: Bytes, data: Bytes, rows: Offsets) -> tuple[pa.StringArray, npt.NDArray[np.int64]]:
    """The tokens of all texts one after the other, and how many each text has."""
    word, kept = classes == WORD, classes != BLANK
    continues = np.zeros(len(word) + 1, np.bool_)  # whether a byte goes on with the word of the byte before it
    np.logical_and(word[1:], word[:-1], out=continues[1:-1])
    continues[rows] = False  # a text begins anew
    starts = np.flatnonzero(kept & ~continues[:-1])
    ends = np.flatnonzero(kept & ~continues[1:])
    # Without the blanks the tokens stand one after the other, so their lengths alone tell where each begins.
    offsets = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(ends - starts + 1, out=offsets[1:])
    tokens = pa.StringArray.from_buffers(len(starts), pa.py_buffer(offsets), pa.py_buffer(data[kept]))
    return tokens, np.diff(np.searchsorted(starts, rows))
