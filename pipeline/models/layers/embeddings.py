"""Word vectors that others trained, as the start of an embedding: GloVe's text files, or Parquet."""

import hashlib
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
from pipeline.text.types import is_text
from schemas.vocabulary import PAD_ID, SPECIALS

log = logging.getLogger(__name__)

SEED = 0
"""Of the vectors of tokens that the file lacks."""

Vectors = Iterator[tuple[str, npt.NDArray[np.float32]]]


def load_embeddings(path: Path, vocabulary_tokens: Sequence[str]) -> Tensor:
    """A float32 matrix (tokens, features), row i for token i, for `ReviewClassifier.set_embedding`; as wide as the file.

    `path`: text with a token and its numbers on each line, separated by single spaces (GloVe's format; the first line of
    fastText's `.vec` files is skipped), or `.parquet` with the columns `token` (string) and `vector` (list of floats).
    For repeated tokens, the first vector counts. Tokens missing from the file are drawn from a normal
    distribution of the same spread as those found, always the same; `<pad>` is zero.

    Raises:
        InputNotFoundError: no such file.
        DataError: not such a file, vectors of different widths, numbers that are none, or not one token of the vocabulary.
    """
    id_of_token = {token: number for number, token in enumerate(vocabulary_tokens) if token not in SPECIALS}
    found: dict[int, npt.NDArray[np.float32]] = {}
    try:
        for token, vector in _parquet_rows(path) if path.suffix == ".parquet" else _text_rows(path, id_of_token):
            if token in id_of_token:
                found.setdefault(id_of_token[token], vector)
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"--embeddings {path} cannot be read: {error}.") from error
    if not found:
        raise DataError(
            f"--embeddings {path}: none of the vocabulary's {len(id_of_token):,} tokens is in it. Its tokens have to be "
            "written as the tokenizer writes them (lower case)."
        )
    vectors = np.stack(list(found.values()))
    if not (finite := np.isfinite(vectors).all(axis=1)).all():
        token = vocabulary_tokens[list(found)[int(finite.argmin())]]
        raise DataError(f"--embeddings {path}: the vector of {token!r} holds infinite numbers or NaN.")
    shape = (len(vocabulary_tokens), vectors.shape[1])
    with np.errstate(over="ignore"):
        spread = float(vectors.std())
    if not np.isfinite(spread):
        raise DataError(f"--embeddings {path}: its numbers are too large to train with, up to {abs(vectors).max():g}.")
    matrix = np.random.default_rng(SEED).normal(scale=spread, size=shape).astype(np.float32)
    matrix[list(found)] = vectors
    matrix[PAD_ID] = 0.0
    log.info("embeddings: %s of the %s tokens are in %s", f"{len(found):,}", f"{len(id_of_token):,}", path)
    return torch.from_numpy(matrix)


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file of word vectors: their content, regardless of the path.

    Raises:
        InputNotFoundError: no such file.
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise DataError(f"--embeddings {path} cannot be read: {error}.") from error


def _missing(path: Path) -> InputNotFoundError:
    return InputNotFoundError(f"--embeddings {path}: no such file. Give word vectors as GloVe's text or as Parquet.")


def _text_rows(path: Path, wanted: dict[str, int]) -> Vectors:
    """Token and vector of each line whose token is wanted; every line has to be as wide as the first."""
    dim = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.rstrip()
            spaces = fields.count(b" ")
            if number == 1 and spaces == 1 and fields.replace(b" ", b"").isdigit():
                continue
            dim = dim or spaces
            # From the right: a few of GloVe's tokens hold spaces.
            token, *values = fields.rsplit(b" ", dim) if dim else [fields]
            if not dim or len(values) < dim or (spaces > dim and _is_number(token.rsplit(b" ", 1)[-1])):
                raise DataError(
                    f"--embeddings {path}, line {number}: expected a token and {dim or 'its'} numbers, found "
                    f"{spaces + 1} fields. All vectors have to be as long as the first, and the text unpacked."
                )
            if (text := token.decode("utf-8", errors="replace")) in wanted:
                try:
                    yield text, np.array(values, dtype=np.float32)
                except ValueError as error:
                    raise DataError(f"--embeddings {path}, line {number}: {error}.") from error


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    # GloVe knows numbers as tokens too, but vectors are written with a fraction.
    return b"." in field


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _parquet_rows(path: Path) -> Vectors:
    """Token and vector of each row; all vectors have to be as wide as the first."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        for name in ("token", "vector"):
            if name not in schema.names:
                raise DataError(
                    f"--embeddings {path} lacks the column {name!r}; expected token (string) and vector (list of floats), "
                    f"found {', '.join(schema.names)}."
                )
        for name, is_kind, expected in (("token", is_text, "text"), ("vector", _is_list, "a list of numbers")):
            if not is_kind(schema.field(name).type):
                raise DataError(
                    f"--embeddings {path}: the column {name!r} is {schema.field(name).type}, expected {expected}."
                )
        widths: set[int | None] = set()
        for batch in file.iter_batches(columns=["token", "vector"]):
            vectors = batch.column("vector")
            widths |= set(vectors.value_lengths().to_pylist())
            if len(widths) > 1 or not widths.isdisjoint({None, 0}):
                found = ", ".join(sorted(map(str, widths)))
                raise DataError(f"--embeddings {path}: vectors of {found} numbers; all have to be of one length.")
            values = vectors.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False).reshape(len(vectors), -1)
            # Copies: a view would keep its whole batch in memory.
            yield from ((token, row.copy()) for token, row in zip(batch.column("token").to_pylist(), values, strict=True))
