"""Vocabulary files: immutable, checked when they are read."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.lake import manifest
from pipeline.lake.atomic import atomic_path
from pipeline.lake.content import READ_ERRORS, open_parquet
from pipeline.lake.damage import damaged
from pipeline.text.vocabulary import Vocabulary
from schemas.vocabulary import KEY_FINGERPRINT, KEY_LABELS, KEY_OPTIONS, KEY_TOKENIZER, VOCABULARY

REMEDY = f"If it is the lake's, run 'pipeline repair'. If it is a model's: {manifest.REMEDY}"


def write_vocabulary(vocabulary: Vocabulary, path: Path) -> None:
    """Writes the vocabulary file atomically; the same vocabulary gives the same bytes."""
    metadata = {
        **VOCABULARY.metadata,
        KEY_FINGERPRINT: vocabulary.fingerprint.encode(),
        KEY_TOKENIZER: vocabulary.tokenizer.encode(),
        KEY_LABELS: json.dumps(list(vocabulary.labels)).encode(),
        KEY_OPTIONS: json.dumps(dict(vocabulary.options), sort_keys=True).encode(),
    }
    ids = pa.array(np.arange(len(vocabulary), dtype=np.int32))
    table = pa.table([ids, vocabulary.tokens, vocabulary.counts], schema=VOCABULARY.schema.with_metadata(metadata))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_vocabulary(path: Path, expected: str | None = None) -> Vocabulary:
    """Reads a vocabulary file and checks contract, ids and fingerprint.

    Args:
        expected: the fingerprint that it has to have; None leaves that to the caller.

    Raises:
        InputNotFoundError: no such file.
        DataError: the file is damaged or was changed.
        ContractError: the file is of another contract or a newer version.
    """
    try:
        with open_parquet(path) as file:
            table = file.read()
    except READ_ERRORS as error:
        raise damaged(path, error, "the vocabulary", REMEDY) from error
    VOCABULARY.check(table.schema, str(path))
    table = table.combine_chunks()
    metadata = table.schema.metadata
    try:
        vocabulary = Vocabulary(
            tokens=_whole(table["token"].cast(pa.string())),
            counts=_whole(table["count"]),
            tokenizer=metadata[KEY_TOKENIZER].decode(),
            labels=tuple(json.loads(metadata[KEY_LABELS])),
            options=json.loads(metadata[KEY_OPTIONS]),
        )
        promised = metadata[KEY_FINGERPRINT].decode()
        found = vocabulary.fingerprint
    except (KeyError, ValueError, TypeError, RecursionError, pa.ArrowException) as error:
        raise damaged(path, error, "the vocabulary", REMEDY) from error
    if found != promised or not np.array_equal(table["id"].to_numpy(), np.arange(len(table))):
        raise DataError(
            f"the vocabulary {path} was changed: its content has the fingerprint {found}, its metadata {promised}. {REMEDY}"
        )
    if expected is not None and found != expected:
        raise DataError(f"{path} contains the vocabulary {found}, not {expected}. {REMEDY}")
    return vocabulary


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
