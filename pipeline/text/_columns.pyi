import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Bounds = npt.NDArray[np.int32]

def sha256(data: Bytes, bounds: Bounds, tails: bytes, tail_bounds: Bounds, which: Bounds, /) -> bytes: ...
def text_states(data: Bytes, bounds: Bounds, changing: Bytes, /) -> bytes: ...
def word_table(words: Bytes, bounds: Bounds, /) -> bytes: ...
def word_ids(
    table: bytes,
    words: Bytes,
    bounds: Bounds,
    tokens: Bytes,
    token_bounds: Bounds,
    indices: Bounds,
    first: int,
    unknown: int,
    /,
) -> bytes: ...
def occurrences(indices: Bounds, distinct: int, /) -> bytes: ...
def name_numbers(paths: Bytes, bounds: Bounds, /) -> bytes: ...
