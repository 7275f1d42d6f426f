"""Tokens that another process keeps: what the collecting process has to know of them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.lake.known import Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensElsewhere:
    """The token lists of N rows: where they are, and how long.

    Args:
        place: names the batch, of which these are the rows `row_N`.
        length_N: tokens of each row.
        contents: of each row; by these, whoever reads the batch knows that it is still the same.
    """

    place: Any
    row_N: npt.NDArray[np.int32]
    length_N: npt.NDArray[np.int32]
    contents: Keys

    @property
    def num_tokens(self) -> int:
        """Tokens of all rows."""
        return int(self.length_N.sum())

    def filter(self, mask: pa.BooleanArray) -> "TokensElsewhere":
        """Only the rows of the mask, as `pa.Array.filter`."""
        keep = mask.to_numpy(zero_copy_only=False)
        return replace(self, row_N=self.row_N[keep], length_N=self.length_N[keep], contents=self.contents[keep])
