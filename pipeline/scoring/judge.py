"""The reviews that models are compared on: a bundle's list of its test part, and a model's answers to those that are still
the same.

A list is frozen when its model is trained. So what a later delivery brings cannot judge the model that learned from it:
new reviews are not on the list, and a review whose text, label, split or group has changed has another digest.
"""

import hashlib
import heapq
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.datapipes.part_rows import check_ids, read_part, rows_of
from pipeline.lake.contract_files import read_contract_file, write_contract_file
from pipeline.models.bundle import Bundle
from pipeline.order.selection import Part
from pipeline.scoring.predictor import Predictor
from pipeline.text.vocabulary import Vocabulary
from schemas.judge import JUDGE
from schemas.vocabulary import SPECIALS

JUDGE_FILE = "judge.parquet"
MOST_ROWS = 10_000
"""A larger test part is represented by this many of its reviews, chosen by a hash of their IDs."""
REMEDY = "Restore the bundle from a backup, or remove the file to compare on the whole test split."

Merits = NDArray[np.float64]
"""What each answer is worth, (N,): 1 for the right label and 0 for another; of numbers, the negative absolute error."""


def write_judge(folder: Path, part: Part) -> None:
    """Writes the list of a test part; none where the part is empty."""
    if not part.rows:
        return
    listed = pa.concat_tables(read_part(_most(part), ["review_id", "content_sha256"]))
    write_contract_file(folder / JUDGE_FILE, listed.cast(pa.schema(list(JUDGE.schema))), JUDGE)


def read_judge(folder: Path) -> dict[str, str] | None:
    """A bundle's list, from review ID to digest; None where it has none.

    Raises:
        DataError: the file is damaged.
    """
    if not (folder / JUDGE_FILE).is_file():
        return None
    listed = read_contract_file(folder / JUDGE_FILE, JUDGE, REMEDY)
    return dict(zip(listed["review_id"].to_pylist(), listed["content_sha256"].to_pylist(), strict=True))


def judging_rows(part: Part, listed: Mapping[str, str] | None) -> Part:
    """The rows of today's test part that are on a list; without a list, all of them, up to `MOST_ROWS`."""
    if listed is None:
        return _most(part)
    kept: list[int] = []
    number = 0
    for table in read_part(part, ["review_id", "content_sha256"]):
        pairs = zip(table["review_id"].to_pylist(), table["content_sha256"].to_pylist(), strict=True)
        kept += [number + row for row, (review_id, digest) in enumerate(pairs) if listed.get(review_id) == digest]
        number += len(table)
    return rows_of(part, np.array(kept, np.int64))


def merits(bundle: Bundle, part: Part, vocabulary: Vocabulary, device: str = "auto") -> Merits:
    """How good a model's answer to each row is, (N,). The model reads as it does in `pipeline score`.

    Args:
        bundle: a model with the same labels, in any order. IDs of another vocabulary are translated by token, and tokens
            that it does not have are `<unk>` to it.
        vocabulary: that of the shards.

    Raises:
        InputNotFoundError, DataError: a shard is gone or damaged, or the model gives no finite probabilities.
    """
    own = bundle.load_vocabulary()
    ids_of = None if own.fingerprint == vocabulary.fingerprint else _translation(vocabulary, own)
    found = []
    with Predictor(bundle, device) as predictor:
        column = predictor.task.column
        assert column is not None, bundle.task
        for table in read_part(part, [column, "ids"]):
            ids = table["ids"].combine_chunks()
            check_ids(ids, vocabulary)
            if ids_of is not None:
                values = pa.array(ids_of[ids.flatten().to_numpy()], pa.int32())
                offsets = pa.array(np.concatenate([[0], np.cumsum(ids.value_lengths().to_numpy())]), pa.int32())
                ids = pa.ListArray.from_arrays(offsets, values, type=ids.type)
            found.append(predictor.task.merits(predictor.predict(ids), table[column], vocabulary.labels))
    return np.concatenate(found) if found else np.zeros(0)


def _translation(vocabulary: Vocabulary, own: Vocabulary) -> NDArray[np.int32]:
    """For each ID of a vocabulary, that of the same token in a model's own (V,)."""
    tokens = pa.ListArray.from_arrays([0, len(vocabulary)], vocabulary.tokens)
    ids: NDArray[np.int32] = own.encode(tokens).flatten().to_numpy().copy()
    ids[: len(SPECIALS)] = range(len(SPECIALS))
    return ids


def _most(part: Part) -> Part:
    """The part, or `MOST_ROWS` of its rows by the hash of their IDs: a row stays chosen as others come, while it is among
    the first."""
    if part.rows <= MOST_ROWS:
        return part
    ids = (review_id for table in read_part(part, ["review_id"]) for review_id in table["review_id"].to_pylist())
    hashed = ((hashlib.blake2b(review_id.encode(), digest_size=8).digest(), row) for row, review_id in enumerate(ids))
    return rows_of(part, np.array(sorted(row for _, row in heapq.nsmallest(MOST_ROWS, hashed)), np.int64))
