"""Files that list reviews by digest (contract: `schemas.review_key`)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake.atomic import PREFIX, atomic_path
from pipeline.lake.content import READ_ERRORS, open_parquet
from pipeline.lake.damage import damaged
from pipeline.lake.known import Keys
from schemas.review_key import KEY_RUN, REVIEW_KEY, STANDS_FOR

Masked = tuple[Keys, npt.NDArray[np.bool_]]
"""(N,) keys, and which of them are null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewKeys:
    """N reviews. `content` and `source` may be null, see the contract."""

    review: Keys
    content: Masked
    source: Masked
    replaced: npt.NDArray[np.bool_]
    stands_for: Masked

    @classmethod
    def of(
        cls,
        review: Keys,
        content: Masked | Keys | None = None,
        source: Masked | None = None,
        replaced: npt.NDArray[np.bool_] | None = None,
        stands_for: Masked | None = None,
    ) -> "ReviewKeys":
        """Fills in what is not known."""
        nothing = np.zeros(len(review), np.uint64), np.ones(len(review), np.bool_)
        if isinstance(content, np.ndarray):
            content = content, np.zeros(len(content), np.bool_)
        return cls(
            review=review,
            content=content or nothing,
            source=source or nothing,
            replaced=np.zeros(len(review), np.bool_) if replaced is None else replaced,
            stands_for=stands_for or nothing,
        )

    def __len__(self) -> int:
        return len(self.review)

    def take(self, keep: npt.NDArray[np.bool_]) -> "ReviewKeys":
        """The reviews of a (N,) mask."""
        return ReviewKeys(
            review=self.review[keep],
            content=(self.content[0][keep], self.content[1][keep]),
            source=(self.source[0][keep], self.source[1][keep]),
            replaced=self.replaced[keep],
            stands_for=(self.stands_for[0][keep], self.stands_for[1][keep]),
        )


def key_files(folder: Path) -> list[Path]:
    """The lists in a folder, sorted by name."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith(PREFIX))


def write_keys(path: Path, keys: ReviewKeys, run_id: str) -> None:
    """Writes a list atomically; the same reviews give the same bytes.

    Raises:
        CannotWriteError: no permission, no space.
    """
    columns = {
        "review": pa.array(keys.review),
        "content": pa.array(keys.content[0], mask=keys.content[1]),
        "source": pa.array(keys.source[0], mask=keys.source[1]),
        "replaced": pa.array(keys.replaced),
    }
    if not keys.stands_for[1].all():  # else the list is what it was before there was the column
        columns[STANDS_FOR] = pa.array(keys.stands_for[0], mask=keys.stands_for[1])
    schema = pa.schema([REVIEW_KEY.schema.field(name) for name in columns])
    schema = schema.with_metadata({**REVIEW_KEY.metadata, KEY_RUN: run_id.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns, schema=schema), temporary, compression="zstd", write_page_checksum=True)


def read_keys(path: Path) -> ReviewKeys:
    """Reads a list.

    Raises:
        InputNotFoundError: it is not there.
        DataError: it is damaged.
        ContractError: it is of another contract, or of a newer version.
    """
    try:
        with open_parquet(path) as file:
            REVIEW_KEY.check(file.schema_arrow, str(path))
            table = file.read(columns=REVIEW_KEY.schema.names).combine_chunks()
    except READ_ERRORS as error:
        raise damaged(path, error, "the list of reviews", REVIEW_KEY.remedy) from error
    return ReviewKeys.of(
        review=table["review"].to_numpy(),
        content=_masked(table["content"]),
        source=_masked(table["source"]),
        replaced=table["replaced"].fill_null(False).to_numpy(),
        stands_for=_masked(table[STANDS_FOR]) if STANDS_FOR in table.column_names else None,
    )


def _masked(column: pa.ChunkedArray) -> Masked:
    return column.fill_null(0).to_numpy(), column.is_null().to_numpy()
