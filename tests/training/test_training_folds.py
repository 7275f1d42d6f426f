"""Folds: by group, by SHA-256, each review in one of them; and what a fold does to the parts."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError, UsageError
from pipeline.lake.shards import plain_shards
from pipeline.order.folds import Fold, folds_of
from pipeline.order.selection import PARTS, Selection, select
from tests.support.tasks import TWO_LABELS
from tests.support.token_corpus import write_corpus


def test_the_fold_is_the_hash_of_the_group_or_of_the_id() -> None:
    def expected(name: str) -> int:
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 5

    found = folds_of(["a", "b", "c"], ["film", "film", None], 5)

    assert found.tolist() == [expected("film"), expected("film"), expected("c")]


@pytest.mark.parametrize("text", ["5/5", "0/1", "-1/5", "1", "1/5/2", "0/1001", ""])
def test_a_fold_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected INDEX/COUNT"):
        Fold.parse(text)


def _ids_by_part(selection: Selection) -> dict[str, set[str]]:
    found = {}
    for name in PARTS:
        part = selection.part(name)
        found[name] = {
            id_
            for group, rows in zip(part.groups, part.selected, strict=True)
            for id_ in pq.ParquetFile(group.path)
            .read_row_group(group.index, columns=["review_id"])["review_id"]
            .take(rows)
            .to_pylist()
        }
    return found


def test_folds_are_disjoint_and_together_all_of_the_training_split(tmp_path: Path) -> None:
    shards = plain_shards(write_corpus(tmp_path, 300, test_rows=50).shards)
    whole = _ids_by_part(select(shards, TWO_LABELS, 0.2)[0])

    folds = [_ids_by_part(select(shards, TWO_LABELS, 0.2, Fold(index, 4))[0]) for index in range(4)]

    held = [fold["test"] for fold in folds]
    assert sum(map(len, held)) == len(set.union(*held)) == 300
    assert set.union(*held) == whole["train"] | whole["valid"]
    for fold in folds:
        assert fold["train"] | fold["valid"] | fold["test"] == whole["train"] | whole["valid"]
        assert not fold["test"] & (fold["train"] | fold["valid"]) and not fold["test"] & whole["test"]


def test_a_group_is_held_out_whole(tmp_path: Path) -> None:
    shards = plain_shards(write_corpus(tmp_path, 300, group_size=5).shards)
    groups = {
        row["review_id"]: row["group"]
        for shard in shards
        for row in pq.read_table(shard.path, columns=["review_id", "group"]).to_pylist()
    }

    parts = _ids_by_part(select(shards, TWO_LABELS, 0.2, Fold(1, 3))[0])

    by_part = [{groups[id_] for id_ in ids} for ids in parts.values()]
    assert not by_part[0] & by_part[2] and not by_part[1] & by_part[2] and not by_part[0] & by_part[1]


def test_a_fold_without_reviews_is_refused(tmp_path: Path) -> None:
    shards = plain_shards(write_corpus(tmp_path, 40, group_size=40).shards)
    empty = next(index for index in range(2) if index not in np.unique(folds_of(["x"], _groups(tmp_path), 2)))

    with pytest.raises(DataError, match="Use fewer folds"):
        select(shards, TWO_LABELS, 0.2, Fold(empty, 2))


def _groups(folder: Path) -> list[str | None]:
    path = next((folder / "shards").glob("*.parquet"))
    return [pq.read_table(path, columns=["group"])["group"][0].as_py()]
