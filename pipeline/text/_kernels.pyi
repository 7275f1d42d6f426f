from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

def split(
    data: Bytes, bounds: npt.NDArray[np.int32], classes: Bytes, lower: Bytes, mark: bytes, wide: bytes, /
) -> tuple[Any, Any, Any, Any]: ...
def folder_names(folder: bytes, suffix: bytes, /) -> tuple[bytes, bytes]: ...
def word_slots(words: Bytes, word_bounds: Ints, /) -> Any: ...
def encode(
    data: Bytes,
    bounds: Ints,
    classes: Bytes,
    lower: Bytes,
    mark: bytes,
    wide: bytes,
    words: Bytes,
    word_bounds: Ints,
    slots: Any,
    first: int,
    unknown: int,
    /,
) -> tuple[Any, Any, Any]: ...
def ngram_sums(
    ids: Ints, starts: Longs, lengths: Longs, ngrams: int, bits: int, weights: Floats, sums: Floats, /
) -> None: ...
def bag_sums(ids: Ints, starts: Longs, lengths: Longs, ngrams: int, words: int, table: Floats, sums: Floats, /) -> None: ...
def join(values: Ints, starts: Longs, lengths: Longs, tokens: Longs, /) -> None: ...
def pack(values: Ints, starts: Longs, lengths: Longs, counts: Longs, tokens: Ints, mirrored: Ints, /) -> None: ...
def pad(values: Ints, starts: Longs, lengths: Longs, positions: int, padded: Ints, /) -> None: ...
def read_files(folder: bytes, names: bytes, limit: int, /) -> tuple[Any, Any]: ...
def csv_records(data: bytes, delimiter: int, quote: int, limit: int, /) -> tuple[Any, bool]: ...
