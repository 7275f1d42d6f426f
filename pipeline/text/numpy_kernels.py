"""`_kernels.c` in NumPy, for installations without a compiler."""

import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bytes = npt.NDArray[np.uint8]
Bounds = npt.NDArray[np.int64]

WORD, BLANK, DROP, LEAD = 0, 2, 3, 4
READ_BYTES = 1 << 16


def split(
    data: Bytes, bounds: npt.NDArray[np.int32], classes: Bytes, lower: Bytes, mark: bytes, wide: bytes
) -> tuple[Bytes, npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Splits the texts `data[bounds[i]:bounds[i + 1]]` (UTF-8) into tokens.

    Args:
        classes: (256,) the class of each byte, see `tokenizers.py`.
        lower: (256,) each byte in lower case.
        mark: a sequence of bytes that counts as a blank; b"" for none.
        wide: white space beyond ASCII; for each, its number of bytes and its bytes.

    Returns:
        the distinct tokens concatenated in order of first occurrence, the bounds of each, the index of every
        token, and the bounds of each text's tokens.
    """
    data = lower.take(data, mode="clip")
    rows = bounds.astype(np.int64)
    kinds = classes.take(data, mode="clip")
    drop = np.flatnonzero(kinds == DROP)
    if len(drop):
        keep = kinds != DROP
        data, kinds = data[keep], kinds[keep]
        rows = rows - np.searchsorted(drop, rows)
    _blank_wide_white_space(kinds, data, wide)
    if mark:
        _blank_marks(kinds, data, rows, mark)
    tokens, row_bounds = _cut(kinds, data, rows)
    encoded = tokens.dictionary_encode()
    words = encoded.dictionary
    word_bounds = np.frombuffer(words.buffers()[1], np.int32)[: len(words) + 1] if len(words) else np.zeros(1, np.int32)
    content = np.frombuffer(words.buffers()[2] or b"", np.uint8)[: word_bounds[-1]]
    return content, word_bounds, encoded.indices.to_numpy(), row_bounds


def word_slots(words: Bytes, word_bounds: npt.NDArray[np.int32]) -> bytes:
    """What `encode` needs beside the words: nothing here."""
    return b""


def encode(
    data: Bytes,
    bounds: npt.NDArray[np.int32],
    classes: Bytes,
    lower: Bytes,
    mark: bytes,
    wide: bytes,
    words: Bytes,
    word_bounds: npt.NDArray[np.int32],
    slots: bytes,
    first: int,
    unknown: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Splits texts as `split` does, and looks up each token.

    Args:
        words: distinct words side by side, with their bounds.
        first: the ID of the first word; the others follow.
        unknown: the ID of tokens that are none of the words.

    Returns:
        the ID of every token, the bounds of each text's tokens, and the number of unknown tokens of each text.
    """
    content, token_bounds, indices, row_bounds = split(data, bounds, classes, lower, mark, wide)
    distinct, known = (
        pa.StringArray.from_buffers(len(edges) - 1, pa.py_buffer(edges), pa.py_buffer(np.ascontiguousarray(joined)))
        for joined, edges in ((content, token_bounds), (words, word_bounds))
    )
    found = pc.fill_null(pc.index_in(distinct, value_set=known), -1).to_numpy()
    ids = np.where(found < 0, unknown, found + first).astype(np.int32)[indices]
    is_unknown = np.concatenate([[0], np.cumsum(found[indices] < 0)])
    return ids, row_bounds, np.diff(is_unknown[row_bounds]).astype(np.int32)


def read_files(folder: bytes, names: bytes, limit: int) -> tuple[bytes, Bounds]:
    """Reads up to `limit` bytes of each file of a folder; returns their concatenated contents and the bounds of each.

    Args:
        names: the names, concatenated, a NUL behind each.

    Raises:
        OSError: a file cannot be read; it carries the file's name.
    """
    contents = [_read(folder, name, limit) for name in names.split(b"\0")[:-1]]
    return b"".join(contents), np.cumsum([0, *map(len, contents)], dtype=np.int64)


def folder_names(folder: bytes, suffix: bytes) -> tuple[bytes, bytes]:
    """The names in a folder that do not begin with a dot or an underscore, as the compiled kernel gives them.

    Returns:
        those of files that end with `suffix`, in the order of their bytes, slashes between them; and all others, a NUL
        behind each, their kind before it: f (a file), d (a folder) or ? (anything else).

    Raises:
        OSError: the folder cannot be read.
    """
    files, rest = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((b".", b"_")):
                continue
            is_file = entry.is_file(follow_symlinks=False)
            if is_file and entry.name.endswith(suffix):
                files.append(entry.name)
            else:
                kind = b"f" if is_file else b"d" if entry.is_dir(follow_symlinks=False) else b"?"
                rest.append(kind + entry.name + b"\0")
    return b"/".join(sorted(files)), b"".join(rest)


def _read(folder: bytes, name: bytes, limit: int) -> bytes:
    descriptor = os.open(folder + b"/" + name, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        content = os.read(descriptor, min(READ_BYTES, limit))  # enough for nearly every review
        parts = [content]
        while len(content) and sum(map(len, parts)) < limit and len(parts[0]) == READ_BYTES:
            content = os.read(descriptor, limit - sum(map(len, parts)))
            parts.append(content)
        return b"".join(parts)
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from error
    finally:
        os.close(descriptor)


def _places_of(encoded: bytes, data: Bytes, starts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The `starts` at which all of the bytes occur."""
    starts = starts[starts <= len(data) - len(encoded)]
    for place, byte in enumerate(encoded):
        starts = starts[data[starts + place] == byte]
    return starts


def _blank_wide_white_space(kinds: Bytes, data: Bytes, wide: bytes) -> None:
    leads = np.flatnonzero(kinds == LEAD)
    if not len(leads):
        return
    kinds[leads] = WORD
    for encoded in _wide_characters(wide):
        places = _places_of(encoded, data, leads)
        kinds[(places[:, None] + np.arange(len(encoded))).ravel()] = BLANK


def _wide_characters(wide: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(wide):
        yield wide[place + 1 : place + 1 + wide[place]]
        place += 1 + wide[place]


def _blank_marks(kinds: Bytes, data: Bytes, rows: Bounds, mark: bytes) -> None:
    """Replaces each mark inside a text by a blank."""
    starts = _places_of(mark, data, np.flatnonzero(data == mark[0]))
    # A null or empty text has no width; a byte belongs to the last text that begins at or before it.
    starts = starts[starts + len(mark) <= rows[np.searchsorted(rows, starts, side="right")]]
    kinds[(starts[:, None] + np.arange(len(mark))).ravel()] = BLANK


def _cut(kinds: Bytes, data: Bytes, rows: Bounds) -> tuple[pa.StringArray, npt.NDArray[np.int32]]:
    """The tokens of all texts, concatenated, and the bounds of each text's tokens."""
    word, kept = kinds == WORD, kinds != BLANK
    continues = np.zeros(len(word) + 1, np.bool_)  # whether a byte continues the word of the byte before it
    np.logical_and(word[1:], word[:-1], out=continues[1:-1])
    continues[rows] = False  # a text starts a new word
    starts = np.flatnonzero(kept & ~continues[:-1])
    ends = np.flatnonzero(kept & ~continues[1:])
    # Without the blanks, tokens are contiguous, so their lengths give their starts.
    offsets = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(ends - starts + 1, out=offsets[1:])
    tokens = pa.StringArray.from_buffers(len(starts), pa.py_buffer(offsets), pa.py_buffer(data[kept]))
    return tokens, np.searchsorted(starts, rows).astype(np.int32)
