"""The test part that a lake without labelled test reviews holds out."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lake.shards import plain_shards
from pipeline.order.folds import Fold
from pipeline.order.holdout import FEWEST_ROWS, held_out
from pipeline.order.selection import PARTS, UNLABELLED, Part, Selection, has_labelled, select, select_as_trained
from tests.support.tasks import TWO_LABELS
from tests.support.token_corpus import write_corpus

SHARE = 0.1


def column(part: Part, name: str) -> list[str]:
    found = []
    for group, rows in zip(part.groups, part.selected, strict=True):
        values = pq.ParquetFile(group.path).read_row_group(group.index, columns=[name])[name]
        found += values.take(rows).to_pylist()
    return found


def groups(selection: Selection, part: str) -> set[str]:
    return set(column(selection.part(part), "group"))


@given(st.lists(st.tuples(st.text(), st.none() | st.sampled_from("abcdefgh"))), st.floats(0, 0.99), st.floats(0, 0.99))
def test_what_is_held_out_depends_on_the_review_alone_and_shares_are_nested(
    reviews: list[tuple[str, str | None]], first: float, second: float
) -> None:
    def held(some: Sequence[tuple[str, str | None]], share: float) -> list[bool]:
        return held_out([review_id for review_id, _ in some], [group for _, group in some], share).tolist()

    fewer, more = sorted((first, second))
    assert held(reviews, fewer) == [held([review], fewer)[0] for review in reviews]
    assert all(wide or not narrow for narrow, wide in zip(held(reviews, fewer), held(reviews, more), strict=True))


def test_the_share_is_what_was_asked_for() -> None:
    names = [f"review {number}" for number in range(20_000)]
    for share in (0.0, 0.05, 0.1, 0.5):
        assert held_out(names, [None] * len(names), share).mean() == pytest.approx(share, abs=0.01)


def test_whole_groups_are_held_out_and_neither_trained_nor_validated_on(tmp_path: Path) -> None:
    shards = plain_shards(write_corpus(tmp_path, 2000).shards)
    selection, counts = select(shards, TWO_LABELS, 0.1, holdout=SHARE)
    assert selection.part("test").rows / 2000 == pytest.approx(SHARE, abs=0.03)
    assert sum(selection.part(part).rows for part in PARTS) == 2000
    assert not groups(selection, "test") & (groups(selection, "train") | groups(selection, "valid"))
    assert sum(counts) == selection.part("train").rows
    earlier = select_as_trained(shards, TWO_LABELS, {"valid_fraction": 0.1})
    assert earlier.part("test").rows == 0  # models of earlier releases were trained without
    again = select_as_trained(shards, TWO_LABELS, {"valid_fraction": 0.1, "holdout": SHARE})
    assert np.array_equal(again.codes, selection.codes)


def test_unlabelled_reviews_of_held_out_groups_are_not_learned_from(tmp_path: Path) -> None:
    shards = plain_shards(write_corpus(tmp_path, 2000, unsup_rows=2000).shards)  # with groups of the same names
    selection, _ = select(shards, TWO_LABELS, 0.1, unlabelled=1000, holdout=SHARE)
    assert selection.part(UNLABELLED).rows > 1500
    assert not groups(selection, "test") & groups(selection, UNLABELLED)


def test_a_labelled_test_split_or_a_fold_is_the_test_part_itself(tmp_path: Path) -> None:
    shards = plain_shards(write_corpus(tmp_path, 400, test_rows=8).shards)
    assert has_labelled(shards, "test", TWO_LABELS) and not has_labelled(shards, "valid", TWO_LABELS)
    for fold in (None, Fold(1, 4)):
        without, with_share = (select(shards, TWO_LABELS, 0.1, fold, holdout=share)[0].codes for share in (0.0, SHARE))
        assert np.array_equal(without, with_share)


def test_few_reviews_are_all_learned_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    shards = plain_shards(write_corpus(tmp_path, 40).shards)
    assert select(shards, TWO_LABELS, 0.1, holdout=SHARE)[0].part("test").rows == 0
    assert re.search(rf"held out as the test part: \d+ labelled ones fall .* at least {FEWEST_ROWS} are needed", caplog.text)


def test_no_label_loses_its_last_reviews(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = write_corpus(tmp_path, 600, shard_groups=100)
    (shard,) = corpus.shards.iterdir()
    table = pq.read_table(shard)
    held = held_out(table["review_id"].to_pylist(), table["group"].to_pylist(), SHARE)
    labels = np.zeros(600, np.int32)
    labels[np.flatnonzero(held)[:5]] = 1  # the only ones of their label
    labels[np.flatnonzero(~held)[0]] = 1
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, table.schema.field("label"), [labels]), shard)
    selection, counts = select(plain_shards(corpus.shards), TWO_LABELS, 0.1, holdout=SHARE)
    assert selection.part("test").rows == 0 and counts[1] > 0
    assert "no reviews are held out as the test part" in caplog.text
