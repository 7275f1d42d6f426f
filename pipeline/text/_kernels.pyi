from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

def split(
    data: Bytes, bounds: npt.NDArray[np.int32], classes: Bytes, lower: Bytes, mark: bytes, wide: bytes, /
) -> tuple[Any, Any, Any, Any]: ...
def read_files(folder: bytes, names: bytes, limit: int, /) -> tuple[Any, Any]: ...
def csv_records(data: bytes, delimiter: int, quote: int, limit: int, /) -> tuple[Any, bool]: ...
