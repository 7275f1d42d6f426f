"""Word vectors that others trained, as the start of an embedding: GloVe's text files, or Parquet."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from pipeline.errors import DataError, InputNotFoundError
from schemas.vocabulary import SPECIALS

log = logging.getLogger(__name__)

SEED = 0
"""Of the vectors of tokens that the file lacks."""


def load_embeddings(path: Path, vocabulary_tokens: Sequence[str], dim: int) -> Tensor:
    """A float32 matrix (tokens, dim), row i for token i, for `ReviewClassifier.set_embedding`.

    `path`: text with a token and `dim` numbers a line, separated by single spaces (GloVe's format; the first line of
    fastText's `.vec` files is skipped), or `.parquet` with the columns `token` (string) and `vector` (list of floats).
    A token that stands there twice has its first vector. Tokens that the file lacks are drawn from a normal
    distribution of the same spread as those found, always the same; `<pad>` is zero.

    Raises:
        InputNotFoundError: no such file.
        DataError: not such a file, vectors of another width, numbers that are none, or not one token of the vocabulary.
    """
    id_of_token = {token: number for number, token in enumerate(vocabulary_tokens) if token not in SPECIALS}
    found = np.zeros(len(vocabulary_tokens), dtype=bool)
    matrix: npt.NDArray[np.float32] = np.zeros((len(vocabulary_tokens), dim), dtype=np.float32)
    try:
        rows = _parquet_rows(path, dim) if path.suffix == ".parquet" else _text_rows(path, dim, id_of_token)
        for token, vector in rows:
            number = id_of_token.get(token)
            if number is not None and not found[number]:
                matrix[number], found[number] = vector, True
    except FileNotFoundError:
        raise InputNotFoundError(f"--embeddings {path}: no such file.") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"--embeddings {path} cannot be read: {error}.") from error
    if not found.any():
        raise DataError(
            f"--embeddings {path}: none of the vocabulary's {len(id_of_token):,} tokens is in it. Its tokens have to be "
            "written as the tokenizer writes them (lower case)."
        )
    if not np.isfinite(matrix).all():
        token = vocabulary_tokens[int(np.argmin(np.isfinite(matrix).all(axis=1)))]
        raise DataError(f"--embeddings {path}: the vector of {token!r} holds infinite numbers or NaN.")
    spread = float(matrix[found].std())
    drawn = np.random.default_rng(SEED).normal(scale=spread, size=matrix.shape).astype(np.float32)
    matrix[~found] = drawn[~found]
    matrix[0] = 0.0
    log.info("embeddings: %s of the %s tokens are in %s", f"{found.sum():,}", f"{len(id_of_token):,}", path)
    return torch.from_numpy(matrix)


def _text_rows(path: Path, dim: int, wanted: dict[str, int]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Token and vector of each line whose token is wanted; every line's width is checked."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            # From the right: a few of GloVe's tokens hold spaces.
            parts = line.rstrip().rsplit(b" ", dim)
            if number == 1 and len(line.split()) == 2 and dim != 1:
                continue
            if len(parts) != dim + 1 or (dim < line.count(b" ") and _is_number(parts[0].rsplit(b" ", 1)[-1])):
                raise DataError(
                    f"--embeddings {path}, line {number}: expected a token and {dim} numbers, found "
                    f"{len(line.split())} fields. Ask for the file's width with --embedding-dim."
                )
            token = parts[0].decode("utf-8", errors="replace")
            if token in wanted:
                try:
                    yield token, np.array(parts[1:], dtype=np.float32)
                except ValueError as error:
                    raise DataError(f"--embeddings {path}, line {number}: {error}.") from error


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    # GloVe knows numbers as tokens too, but vectors are written with a fraction.
    return b"." in field


def _parquet_rows(path: Path, dim: int) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Token and vector of each row."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        for name in ("token", "vector"):
            if name not in schema.names:
                raise DataError(
                    f"--embeddings {path} lacks the column {name!r}; expected token (string) and vector (list of floats), "
                    f"found {', '.join(schema.names)}."
                )
        if not hasattr(schema.field("vector").type, "value_type"):
            raise DataError(f"--embeddings {path}: the column 'vector' is {schema.field('vector').type}, expected a list.")
        for batch in file.iter_batches(columns=["token", "vector"]):
            vectors = batch.column("vector")
            widths = set(vectors.value_lengths().to_pylist()) if len(vectors) else {dim}
            if widths != {dim}:
                found = ", ".join(sorted(map(str, widths)))
                raise DataError(
                    f"--embeddings {path}: vectors of {found} numbers, expected {dim}. "
                    "Ask for the file's width with --embedding-dim."
                )
            values = vectors.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False).reshape(-1, dim)
            yield from zip(batch.column("token").to_pylist(), values, strict=True)
