"""A row that is lost on its way, at whichever stage, fails the run before its commit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs import ingest as job
from pipeline.datapipes import tokenize_reviews
from pipeline.datapipes.collect import Collector
from pipeline.datapipes.cut_shards import CutShards, ShardRows
from pipeline.datapipes.encode_reviews import EncodeReviews
from pipeline.datapipes.read_reviews import ReadReviews
from pipeline.datapipes.spill import SpillWriter
from pipeline.datapipes.spilled_batches import SpilledBatches
from pipeline.datapipes.tokenize_reviews import TokenizedBatch, TokenizeReviews
from pipeline.engines import threads as engine
from pipeline.errors import PipelineError
from pipeline.lake import publish
from pipeline.lake.reject_writer import RejectWriter
from pipeline.lake.table import TokenTable
from pipeline.readers.base import Rows
from pipeline.readers.reviews import RawBatch, TableRows, TextFiles, without
from tests.support.ingested import ingest
from tests.support.tables import write_csv


def without_one(value: Any) -> Any:
    """What flows through the pipeline without its last row; None where it has none, or is a mark between sources."""
    if isinstance(value, TableRows) and len(value.rows.row):
        rows = value.rows
        return replace(value, rows=Rows(table=rows.table[:-1], row=rows.row[:-1], bad=rows.bad))
    if isinstance(value, TextFiles):
        return replace(value, files=value.files[:-1])
    if isinstance(value, RawBatch):
        return without(value, pa.array([True] * (len(value.row) - 1) + [False]))
    if isinstance(value, TokenizedBatch):
        return value.take(np.arange(len(value.rows)) < len(value.rows) - 1)
    if isinstance(value, ShardRows):
        return ShardRows(split=value.split, rows=value.rows[:-1])
    return value[:-1] if isinstance(value, list | pa.RecordBatch | pa.Table) and len(value) else None


def lose(monkeypatch: pytest.MonkeyPatch, target: Any, name: str, argument: int | None) -> list[bool]:
    """Lets a function lose one row, once: of its result, or of the argument at that position.

    Returns:
        a list that has an element when it happened.
    """
    original = getattr(target, name)
    happened: list[bool] = []

    def shortened(value: Any) -> Any:
        if happened or (shorter := without_one(value)) is None:
            return value
        happened.append(True)
        return shorter

    def function(*arguments: Any, **options: Any) -> Any:
        if argument is None:
            return shortened(original(*arguments, **options))
        changed = [shortened(value) if place == argument else value for place, value in enumerate(arguments)]
        return original(*changed, **options)

    monkeypatch.setattr(target, name, function)
    return happened


STAGES: dict[str, tuple[Any, str, int | None]] = {
    "reader node": (ReadReviews, "next", None),
    "reviews of a table": (tokenize_reviews, "reviews_of_table", None),
    "texts of a folder": (tokenize_reviews, "open_files", None),
    "check": (TokenizeReviews, "_check", 1),
    "tokenize": (TokenizeReviews, "finish", None),
    "rejects": (RejectWriter, "write", 1),
    "collector": (Collector, "_keep", 1),
    "encode": (EncodeReviews, "__call__", None),
    "read of the spill": (SpilledBatches, "next", None),
    "cut": (CutShards, "next", None),
    "write": (engine, "write_shard", 2),
    "list of shards": (job, "_second_pass", None),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_a_row_that_is_lost_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, workers: int) -> None:
    lake = tmp_path / "lake"
    ingest(lake, write_csv(tmp_path / "known.csv", "text,label", "fine,pos", "dull,neg"))
    folder = tmp_path / "new"
    (folder / "texts").mkdir(parents=True)
    for number in range(5):
        (folder / f"texts/{number}.txt").write_text(f"film {number}")
    lines = [f"film {number},{'pos' if number % 2 else 'neg'}" for number in range(2500)]
    write_csv(folder / "r.csv", "text,label", *lines, "a,b,c")
    with monkeypatch.context() as patch:
        happened = lose(patch, *STAGES[stage])
        with pytest.raises(PipelineError, match=r"rows read, but \d+ written .* Please report this") as raised:
            ingest(lake, folder, workers=workers)
    assert happened
    assert raised.value.exit_code == 70
    assert (TokenTable.open(lake / "tokens").version, TokenTable.open(lake / "tokens").rows) == (0, 2)
    assert ingest(lake, folder, workers=workers).written == 2505


def test_a_row_that_the_spill_loses_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = SpillWriter.write
    monkeypatch.setattr(SpillWriter, "write", lambda self, rows, tokens: write(self, rows[:-1], tokens[:-1]))
    source = write_csv(tmp_path / "r.csv", "text,label", "fine,pos", "dull,neg")
    with pytest.raises(PipelineError, match="2 rows read, but 1 written"):
        ingest(tmp_path / "lake", source)
    assert not (tmp_path / "lake/tokens").exists()


def test_a_row_that_is_lost_when_a_shard_is_written_again_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, source = tmp_path / "lake", write_csv(tmp_path / "r.csv", "text,label", "fine,pos", "dull,neg", "so,neg")
    ingest(lake, source)
    write_csv(source, "text,label", "fine,pos", "dull,neg", "changed,neg")
    with monkeypatch.context() as patch:
        happened = lose(patch, publish, "write_shard", 2)
        with pytest.raises(PipelineError, match="written again without 1 of them, but the new shards hold 1"):
            ingest(lake, source)
    assert happened
    assert (TokenTable.open(lake / "tokens").version, TokenTable.open(lake / "tokens").rows) == (0, 3)
    assert ingest(lake, source).metrics["replaced"] == 1
