"""`pipeline compact`: fewer shards, the same rows; nobody who reads or trains is disturbed."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import compact, erase, retract, vacuum
from jobs.compact import CompactConfig
from jobs.retract import RetractConfig
from pipeline.config.erase import EraseConfig
from pipeline.config.vacuum import VacuumConfig
from pipeline.datapipes import cut_shards
from pipeline.errors import InputNotFoundError
from pipeline.lake.paths import Lake
from pipeline.lake.table import TokenTable
from pipeline.training.data import open_data
from schemas.run import Receipt
from tests.support.commands import Run
from tests.support.ingested import ingest, rows_of
from tests.support.tables import write_csv

TRAIN = ("--arch", "rnn", "--epochs", 2, "--embedding-dim", 4, "--hidden-dim", 4, "--batch-size", 16, "--no-baseline")


def nights(folder: Path, count: int = 4, rows: int = 12) -> Path:
    """A lake after some nights with few reviews each, train and test."""
    lake = folder / "lake"
    for night in range(count):
        lines = [
            f"r{night}-{n},film {n} of night {night} was {('bad', 'good')[n % 2]},{('neg', 'pos')[n % 2]},{split}"
            for n in range(rows)
            for split in (("test",) if n % 4 == 3 else ("train",))
        ]
        ingest(
            lake,
            write_csv(folder / f"night{night}.csv", "id,text,label,split", *lines),
            id_column="id",
            split_column="split",
        )
    return lake


def merge(lake: Path, **options: int | bool) -> Receipt:
    return compact.run(CompactConfig(lake=lake, **options))  # type: ignore[arg-type]


def shards_of(lake: Path) -> Counter[str]:
    return Counter(shard.split for shard in TokenTable.open(lake / "tokens").shards)


def in_order(lake: Path, split: str) -> list[object]:
    return [row for row in rows_of(lake) if row["split"] == split]


def test_small_shards_become_one_of_each_split_with_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    lake = nights(tmp_path)
    before = {split: in_order(lake, split) for split in ("train", "test")}
    assert shards_of(lake) == {"train": 4, "test": 4}
    receipt = merge(lake)
    assert (receipt.exit_code, receipt.metrics["merged"], receipt.metrics["into"], receipt.metrics["rows"]) == (0, 8, 2, 48)
    assert shards_of(lake) == {"train": 1, "test": 1}
    assert {split: in_order(lake, split) for split in ("train", "test")} == before
    assert receipt.outputs["table_version"] == TokenTable.open(lake / "tokens").version == 4
    entry = (lake / "tokens/_delta_log" / f"{4:020}.json").read_text().splitlines()
    actions = [json.loads(line) for line in entry]
    assert {action[kind]["dataChange"] for action in actions for kind in ("add", "remove") if kind in action} == {False}
    again = merge(lake)
    assert (again.exit_code, again.metrics["merged"]) == (99, 0)
    assert TokenTable.open(lake / "tokens", 3).rows == 48, "the older version is still there"


def test_shards_that_are_half_full_stay_and_merged_ones_are_at_most_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = nights(tmp_path, count=9, rows=4)  # 3 rows of train a night
    ingest(lake, write_csv(tmp_path / "many.csv", "text,label", *(f"one of many {n},pos" for n in range(6))))
    for module in (cut_shards, compact):
        monkeypatch.setattr(module, "SHARD_ROWS", 10)
    receipt = merge(lake)
    sizes = {
        split: [shard.rows for shard in TokenTable.open(lake / "tokens").shards if shard.split == split]
        for split in ("train", "test")
    }
    assert {split: sorted(found) for split, found in sizes.items()} == {"train": [6, 9, 9, 9], "test": [9]}
    assert receipt.metrics["into"] == 4
    assert merge(lake).exit_code == 99


def test_too_few_small_shards_are_left_alone(tmp_path: Path) -> None:
    lake = nights(tmp_path)
    assert merge(lake, min_shards=9).exit_code == 99
    assert shards_of(lake) == {"train": 4, "test": 4}
    assert merge(lake, min_shards=8).exit_code == 0


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    lake = nights(tmp_path)
    receipt = merge(lake, dry_run=True)
    assert (receipt.exit_code, receipt.metrics["merged"], receipt.metrics["into"]) == (0, 8, 2)
    assert shards_of(lake) == {"train": 4, "test": 4}
    assert sorted(path.name for path in (lake / "runs").glob("*compact*")) == []


def test_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="there is no lake at"):
        merge(tmp_path / "lake")
    (tmp_path / "lake").mkdir()
    with pytest.raises(InputNotFoundError, match="pipeline ingest"):
        merge(tmp_path / "lake")


def test_known_reviews_stay_known(tmp_path: Path) -> None:
    lake = nights(tmp_path)
    merge(lake)
    receipt = ingest(lake, tmp_path / "night2.csv", id_column="id", split_column="split")
    assert (receipt.exit_code, receipt.known) == (99, 12)


@pytest.mark.slow
def test_a_finished_training_stays_finished_and_an_unfinished_one_goes_on(tmp_path: Path, command: Run) -> None:
    lake = nights(tmp_path)
    trained = command("--lake", lake, "train", *TRAIN)
    assert trained.code == 0
    before = open_data(Lake(lake))
    assert command("--lake", lake, "compact").code == 0
    after = open_data(Lake(lake))
    assert (after.identity, after.shards) == (before.identity, before.shards)
    assert command("--lake", lake, "train", *TRAIN).code == 99
    again = command("--lake", lake, "train", *TRAIN, "--force")
    models = [lake / "models" / done.receipt["outputs"]["model_id"] for done in (trained, again)]
    weights = [(model / "model.safetensors").read_bytes() for model in models]
    assert weights[0] == weights[1]


def test_after_vacuum_the_merged_shards_are_trained_on(tmp_path: Path) -> None:
    lake = nights(tmp_path)
    before = open_data(Lake(lake))
    merge(lake)
    vacuum.run(VacuumConfig(lake=lake, keep_hours=0))
    after = open_data(Lake(lake))
    assert sum(shard.rows for shard in after.shards) == 48
    assert after.identity != before.identity


def test_new_reviews_after_a_merge_are_trained_on_with_the_merged_shards(tmp_path: Path) -> None:
    lake = nights(tmp_path)
    merge(lake)
    ingest(lake, write_csv(tmp_path / "new.csv", "text,label", "a new one,pos"))
    data = open_data(Lake(lake))
    assert sorted(shard.rows for shard in data.shards) == [1, 12, 36]


@pytest.mark.slow
@pytest.mark.parametrize("vacuumed", [False, True])
def test_a_night_can_be_retracted_and_its_models_are_named_although_its_shards_were_merged(
    tmp_path: Path, command: Run, vacuumed: bool
) -> None:
    lake = nights(tmp_path, count=2)
    trained = command("--lake", lake, "train", *TRAIN).receipt["outputs"]["model_id"]
    merge(lake)
    if vacuumed:
        vacuum.run(VacuumConfig(lake=lake, keep_hours=0))
    receipt = retract.run(RetractConfig(lake=lake, run="latest"))
    assert (receipt.metrics["removed"], receipt.metrics["models"]) == (12, [trained])
    assert {row["review_id"].partition("-")[0] for row in rows_of(lake)} == {"r0"}


def test_an_erased_review_leaves_the_merged_shards_and_those_before(tmp_path: Path) -> None:
    lake = nights(tmp_path)
    merge(lake)
    receipt = erase.run(EraseConfig(lake=lake, review_id=("r1-2",)))
    assert (receipt.metrics["removed"], receipt.metrics["versions"]) == (1, 2)
    for path in (lake / "tokens").glob("*.parquet"):
        assert "r1-2" not in pq.read_table(path, columns=["review_id"])["review_id"].to_pylist()


def test_on_the_command_line(tmp_path: Path, command: Run) -> None:
    lake = nights(tmp_path)
    assert command("--lake", lake, "compact", "--min-shards", 1).code == 2
    done = command("--lake", lake, "compact", "--min-shards", 3)
    assert (done.code, done.receipt["metrics"]["into"]) == (0, 2)
    assert command("--lake", lake, "runs", "--command", "compact").code == 0
    assert command("--lake", lake, "doctor", "--verify").code == 0
