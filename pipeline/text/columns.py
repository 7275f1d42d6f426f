"""The loops over the rows of columns of text: compiled (`_columns.c`) if a compiler was available at installation.

Without one, hashlib, NumPy and Arrow give the same results, slower and with the GIL held. SHA-256 is compiled only for
processors that have instructions for it; OpenSSL, which Python calls for one row at a time, knows those of all the others.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

try:
    from pipeline.text import _columns
except ImportError:
    COMPILED = False
else:
    COMPILED = True

NOT_UTF8, HAS_NUL, CHANGES = 1, 2, 4
"""Bits of `text_states`."""
WORD_BYTES = 1 << 30
"""Of the words that `sum_counts` gives to the kernel at once; their bounds are int32."""
CODE_POINTS = 0x110000
CASED = 0x20000
"""Code points from here on have no case."""
BECOMES_TWO = 0x130
"""The only character whose lower-case form has two: I with a dot above."""
CASED_RANGES = ((0x80, BECOMES_TWO), (BECOMES_TWO + 1, 0xD800), (0xE000, CASED))
"""The others beyond ASCII that may have a case; surrogates are no characters."""

NUMBERED = re.compile(rb"([0-9]{1,9})(?=[._])(?:_([0-9]{1,3})(?=[.]|\Z))?")
"""The numbers of a file name, see `name_numbers`."""

Digests = npt.NDArray[np.uint8]
"""(N, 32) SHA-256."""
Bounds = npt.NDArray[np.int32]


def text_buffers(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], Bounds]:
    """The bytes of all texts (string or binary), and the (N + 1,) bounds of each."""
    offsets, values = texts.buffers()[1:]
    if not len(texts) or values is None:
        return np.empty(0, np.uint8), np.zeros(len(texts) + 1, np.int32)
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(values, np.uint8)[bounds[0] : bounds[-1]], bounds - bounds[0]


def sha256_rows(texts: pa.Array, tails: list[bytes] | None = None, which: npt.NDArray[np.int32] | None = None) -> Digests:
    """SHA-256 of each row.

    Args:
        texts: (N,) string or binary, without nulls.
        tails: bytes that are hashed behind a row.
        which: (N,) the tail of each row.
    """
    if tails is None or which is None:
        tails, which = [b""], np.zeros(len(texts), np.int32)
    if not COMPILED or not hasattr(_columns, "sha256"):
        return hashed_by_openssl(texts, tails, which)
    data, bounds = text_buffers(texts)
    tail_bounds = np.zeros(len(tails) + 1, np.int32)
    np.cumsum([len(tail) for tail in tails], out=tail_bounds[1:])
    return _digests(_columns.sha256(data, bounds, b"".join(tails), tail_bounds, which))


def hashed_by_openssl(texts: pa.Array, tails: list[bytes], which: npt.NDArray[np.int32]) -> Digests:
    """`sha256_rows`, row by row."""
    rows = zip(texts.cast(pa.binary()).to_pylist(), which.tolist(), strict=True)
    return _digests(b"".join([hashlib.sha256(text + tails[tail]).digest() for text, tail in rows]))


def hexadecimal(digests: Digests) -> pa.StringArray:
    """(N,) digests in lower case."""
    width = 2 * digests.shape[1]
    offsets = np.arange(len(digests) + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(offsets), pa.py_buffer(_hex_pairs()[digests]))


def text_states(texts: pa.Array) -> npt.NDArray[np.uint8]:
    """(N,) bits for each text (string or binary): NOT_UTF8, HAS_NUL, and CHANGES if it is UTF-8 and has a character beyond
    ASCII that differs from its lower-case form. Those of nulls mean nothing."""
    if not COMPILED:
        return text_states_of_numpy(texts)
    data, bounds = text_buffers(texts)
    return np.frombuffer(_columns.text_states(data, bounds, _changing()), np.uint8)


def text_states_of_numpy(texts: pa.Array) -> npt.NDArray[np.uint8]:
    """`text_states` without a compiler."""
    data, bounds = text_buffers(texts)
    states = np.zeros(len(texts), np.uint8)
    odd = np.flatnonzero((data >= 0x80) | (data == 0))
    for row in np.unique(np.searchsorted(bounds, odd, side="right") - 1).tolist():
        text = bytes(data[bounds[row] : bounds[row + 1]])
        states[row] = HAS_NUL if b"\0" in text else 0
        try:
            states[row] |= CHANGES if _changing_characters().search(text.decode()) else 0
        except UnicodeDecodeError:
            states[row] |= NOT_UTF8
    return states


def occurrences(tokens: pa.DictionaryArray) -> npt.NDArray[np.int64]:
    """How often each entry of the dictionary (int32 indices) is there."""
    indices, distinct = tokens.indices.to_numpy(), len(tokens.dictionary)
    if not COMPILED:
        return np.bincount(indices, minlength=distinct).astype(np.int64)
    return np.frombuffer(_columns.occurrences(indices, distinct), np.int64)


def sum_counts(parts: Sequence[pa.Table]) -> pa.Table:
    """The distinct tokens of all parts, in the order in which they are met first, and the sum of their counts.

    Args:
        parts: token: string, count: int64, without nulls.
    """
    chunks = [batch for part in parts for batch in part.to_batches()]
    if not COMPILED or sum(batch["token"].get_total_buffer_size() for batch in chunks) > WORD_BYTES:
        return sum_counts_of_arrow(parts)
    counted = [(*text_buffers(batch["token"]), batch["count"].to_numpy()) for batch in chunks]
    words, bounds, sums = map(pa.py_buffer, _columns.sum_counts(counted))
    size = bounds.size // 4 - 1
    tokens = pa.StringArray.from_buffers(size, bounds, words)
    return pa.table({"token": tokens, "count": pa.Array.from_buffers(pa.int64(), size, [None, sums])})


def sum_counts_of_arrow(parts: Sequence[pa.Table]) -> pa.Table:
    """`sum_counts` without a compiler, or with more than an array of strings can hold."""
    empty = pa.table({"token": pa.array([], pa.string()), "count": pa.array([], pa.int64())})
    table = pa.concat_tables([empty, *parts])
    table = table.append_column("place", pa.array(np.arange(len(table))))
    table = table.group_by("token", use_threads=False).aggregate([("count", "sum"), ("place", "min")])
    return table.sort_by("place_min").select(["token", "count_sum"]).rename_columns(["token", "count"])


def find_keys(keys: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """(N,) the place of each of the wanted keys; -1 if it is not there.

    Args:
        keys: distinct and sorted.
        wanted: (N,) sorted.
    """
    return np.frombuffer(_columns.find_keys(keys, wanted), np.int64) if COMPILED else find_keys_of_numpy(keys, wanted)


def find_keys_of_numpy(keys: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """`find_keys` without a compiler."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, places, -1)


def name_numbers(paths: pa.StringArray) -> npt.NDArray[np.int32]:
    """The numbers in file names such as `12_8.txt`, in ASCII digits; -1 for none.

    Args:
        paths: (N,) names, with or without their folders.

    Returns:
        (N, 3): where the name begins, in bytes; its number of up to 9 digits, if a dot or an underscore follows; and the
        one of up to 3 digits between an underscore behind that number and the first dot or the end.
    """
    if not COMPILED:
        return name_numbers_of_python(paths)
    return np.frombuffer(_columns.name_numbers(*text_buffers(paths)), np.int32).reshape(-1, 3)


def name_numbers_of_python(paths: pa.StringArray) -> npt.NDArray[np.int32]:
    """`name_numbers` without a compiler."""
    parts = []
    for path in paths.cast(pa.binary()).to_pylist():
        folder, slash, name = path.rpartition(b"/")
        match = NUMBERED.match(name)
        number, second = match.groups() if match else (None, None)
        parts.append((len(folder + slash), -1 if number is None else int(number), -1 if second is None else int(second)))
    return np.array(parts, np.int32).reshape(-1, 3)


class WordIndex:
    """Looks up tokens in a list of distinct words."""

    def __init__(self, words: pa.StringArray) -> None:
        self.words = words

    def ids(self, tokens: pa.DictionaryArray, first: int, unknown: int) -> pa.Int32Array:
        """The place of each token in the words, counted from `first`; `unknown` if it is not there.

        Args:
            tokens: dictionary<int32, string> or dictionary<uint16, string>, without nulls.
        """
        if not COMPILED:
            return self.ids_of_arrow(tokens, first, unknown)
        data, bounds = text_buffers(self.words)
        dictionary, token_bounds = text_buffers(tokens.dictionary)
        indices = tokens.indices.to_numpy()
        ids = _columns.word_ids(
            self._table, data, bounds, dictionary, token_bounds, indices, indices.itemsize, first, unknown
        )
        return pa.Array.from_buffers(pa.int32(), len(tokens), [None, pa.py_buffer(ids)])

    def ids_of_arrow(self, tokens: pa.DictionaryArray, first: int, unknown: int) -> pa.Int32Array:
        """`ids` without a compiler."""
        known = pc.index_in(tokens.dictionary, value_set=self.words)
        return pc.fill_null(pc.add(known, pa.scalar(first, pa.int32())), unknown).take(tokens.indices)

    @cached_property
    def _table(self) -> bytes:
        return _columns.word_table(*text_buffers(self.words))


def _digests(data: bytes) -> Digests:
    return np.frombuffer(data, np.uint8).reshape(-1, hashlib.sha256().digest_size)


@cache
def _hex_pairs() -> npt.NDArray[np.uint16]:
    return np.frombuffer(bytes(range(256)).hex().encode(), np.uint16)


@cache
def _changing_codes() -> npt.NDArray[np.intp]:
    """Code points beyond ASCII whose lower-case form is another one."""
    codes = np.concatenate([np.arange(first, end, dtype="<u4") for first, end in CASED_RANGES])
    lowered = np.frombuffer(codes.tobytes().decode("utf-32-le").lower().encode("utf-32-le"), "<u4")
    return np.sort(np.append(codes[codes != lowered], BECOMES_TWO)).astype(np.intp)


@cache
def _changing() -> npt.NDArray[np.uint8]:
    flags = np.zeros(CODE_POINTS, np.bool_)
    flags[_changing_codes()] = True
    return np.packbits(flags, bitorder="little")


@cache
def _changing_characters() -> re.Pattern[str]:
    return re.compile(f"[{''.join(map(chr, _changing_codes().tolist()))}]")
