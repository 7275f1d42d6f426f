"""`pipeline retract`: the table is as it was before the run, and stays so although the files still hold its rows."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from jobs import repair, retract, vacuum
from pipeline.config.repair import RepairConfig
from pipeline.config.retract import RetractConfig
from pipeline.config.vacuum import VacuumConfig
from pipeline.doctor.lake import lake_checks
from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.lake.live import PROMOTED, make_live
from pipeline.lake.paths import Lake
from pipeline.lake.table import TokenTable
from pipeline.readers.labels import LabelMap, SkippedLabels
from pipeline.training.data import open_data
from schemas.run import Receipt
from tests.support.commands import Run
from tests.support.ingested import ingest, rejects_of, rows_of
from tests.support.models import save_rnn
from tests.support.tables import write_csv

WITH_IDS = {"id_column": "id", "workers": 0}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake with a night of four reviews, the third of which has an older content too."""
    folder = tmp_path / "lake"
    (folder / "raw").mkdir(parents=True)
    write_csv(
        folder / "raw" / "first.csv",
        *("id,text,label", "a,a good film,pos", "b,a bad film,neg", "c,so good,pos", "d,so bad,neg"),
    )
    ingest(folder, **WITH_IDS)
    return folder


def take_back(lake: Path, run: str = "latest", **options: Any) -> Receipt:
    return retract.run(RetractConfig(lake=lake, run=run, **options))


def content(lake: Path) -> list[tuple[Any, ...]]:
    """All columns of all rows of the newest version, sorted."""
    return sorted((tuple(map(repr, row.values())) for row in rows_of(lake)), key=str)


def poison(lake: Path, *lines: str, **options: Any) -> Receipt:
    """Another night: b's and c's labels are flipped, and e is new."""
    lines = lines or ("b,a bad film,pos", "c,so good,neg", "e,a new film,pos")
    write_csv(lake / "raw" / "second.csv", "id,text,label", *lines)
    # The rows of the first file would be duplicates of the ids within one run.
    return ingest(lake, lake / "raw" / "second.csv", **{**WITH_IDS, **options})


def test_new_rows_go_and_replaced_ones_come_back(lake: Path) -> None:
    before = content(lake)
    bad = poison(lake)
    assert (bad.written, bad.metrics["replaced"]) == (3, 2)
    receipt = take_back(lake)
    assert content(lake) == before
    found = {name: receipt.metrics[name] for name in ("run", "removed", "restored", "lost", "kept", "sources", "models")}
    assert found == {
        "run": bad.run_id,
        "removed": 3,
        "restored": 2,
        "lost": 0,
        "kept": 0,
        "models": [],
        "sources": {"raw/second.csv": 3},
    }
    assert receipt.outputs["table_version"] == bad.outputs["table_version"] + 1
    assert [check.state for check in lake_checks(Lake(lake), verify=True)].count("FAIL") == 0
    names = [shard.path for shard in TokenTable.open(lake / "tokens").shards]
    assert duckdb.execute("select count(*) from read_parquet(?)", [list(map(str, names))]).fetchall() == [(4,)]
    assert take_back(lake, bad.run_id).exit_code == 99


def test_the_next_ingest_does_not_bring_them_back(lake: Path) -> None:
    poison(lake)
    take_back(lake)
    before = content(lake)
    again = ingest(lake, lake / "raw" / "second.csv", **WITH_IDS)
    assert (again.exit_code, again.read, again.known, again.metrics["retracted"]) == (99, 3, 3, 3)
    assert content(lake) == before
    pruned = ingest(lake, lake / "raw" / "second.csv", prune=True, **WITH_IDS)
    assert (pruned.exit_code, pruned.metrics["missing"]) == (99, 0)


def test_a_corrected_delivery_comes_in_beside_the_retracted_one(lake: Path) -> None:
    poison(lake)
    take_back(lake)
    fixed = write_csv(lake / "raw" / "third.csv", "id,text,label", "b,a bad film indeed,neg", "e,a new film,neg")
    receipt = ingest(lake, lake / "raw" / "second.csv", fixed, **WITH_IDS)
    assert (receipt.written, receipt.known, receipt.rejected) == (2, 3, 0)
    assert {row["review_id"]: row["label"] for row in rows_of(lake)}["e"] == 0


@pytest.mark.parametrize("ids", [{}, {"id_column": "id"}], ids=["places", "ids"])
def test_rows_stay_out_under_a_label_that_the_lake_no_longer_knows(tmp_path: Path, ids: dict[str, str]) -> None:
    lake = tmp_path / "lake"
    (lake / "raw").mkdir(parents=True)
    bad = write_csv(lake / "raw" / "a.csv", "id,text,label", "a,fine,pos", "b,dull,neg", "c,so bad,neg")
    ingest(lake, workers=0, **ids)
    take_back(lake)
    write_csv(lake / "raw" / "b.csv", "id,text,label", "d,good,pos")
    assert ingest(lake, workers=0, **ids).metrics["labels"] == ["pos"]
    again = ingest(lake, workers=0, **ids)
    assert (again.exit_code, again.known, again.rejected, again.metrics["retracted"]) == (99, 4, 0, 3)
    with bad.open("a") as file:
        file.write("e,so dull,neg\nb,dull,odd\n")  # neither is a row that was retracted
    more = ingest(lake, workers=0, **ids)
    assert (more.known, more.metrics["retracted"], rejects_of(more)) == (4, 3, [(3, "unknown_label"), (4, "unknown_label")])


@pytest.mark.parametrize(
    "options",
    [{"label_map": LabelMap.parse("pos=pos")}, {"skip_labels": SkippedLabels.parse("neg")}],
    ids=["unmapped", "skipped"],
)
def test_rows_stay_out_under_a_label_that_is_left_out_since(lake: Path, options: dict[str, Any]) -> None:
    poison(lake)
    take_back(lake)
    receipt = ingest(lake, lake / "raw" / "second.csv", **WITH_IDS, **options)
    assert (receipt.known, receipt.rejected, receipt.metrics["retracted"]) == (3, 0, 3)


def test_undo_lets_them_in_again(lake: Path) -> None:
    bad = poison(lake)
    after = content(lake)
    take_back(lake)
    assert take_back(lake, bad.run_id, undo=True).exit_code == 0
    assert take_back(lake, bad.run_id, undo=True).exit_code == 99
    assert ingest(lake, lake / "raw" / "second.csv", **WITH_IDS).written == 3
    assert content(lake) == after


def test_rows_of_files_without_ids_stay_out_when_the_file_is_edited(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    (lake / "raw").mkdir(parents=True)
    write_csv(lake / "raw" / "good.csv", "text,label", "fine,pos", "dull,neg")
    ingest(lake, workers=0)
    bad = write_csv(lake / "raw" / "bad.csv", "text,label", "one,pos", "two,neg", "three,pos")
    ingest(lake, workers=0)
    take_back(lake)
    write_csv(bad, "text,label", "two,neg", "three,pos", "four,neg")  # each row has moved up by one
    receipt = ingest(lake, workers=0)
    assert (receipt.written, receipt.metrics["retracted"], receipt.known) == (1, 2, 4)


def test_rows_that_a_later_run_replaced_stay(lake: Path) -> None:
    bad = poison(lake)
    later = write_csv(lake / "raw" / "third.csv", "id,text,label", "b,a bad film after all,neg")
    ingest(lake, later, **WITH_IDS)
    rows = {row["review_id"]: row["content_sha256"] for row in rows_of(lake)}
    receipt = take_back(lake, bad.run_id)
    assert (receipt.metrics["removed"], receipt.metrics["restored"], receipt.metrics["kept"]) == (2, 1, 1)
    left = {row["review_id"]: row["content_sha256"] for row in rows_of(lake)}
    assert sorted(left) == ["a", "b", "c", "d"] and left["b"] == rows["b"] and left["c"] != rows["c"]


def test_rows_that_a_later_run_brought_again_are_its_own(lake: Path) -> None:
    bad = poison(lake)
    ingest(lake, write_csv(lake / "raw" / "third.csv", "id,text,label", "e,another film,pos"), **WITH_IDS)
    write_csv(lake / "raw" / "third.csv", "id,text,label", "e,a new film,pos")
    ingest(lake, lake / "raw" / "third.csv", **WITH_IDS)
    assert take_back(lake, bad.run_id).metrics["removed"] == 2
    assert "e" in {row["review_id"] for row in rows_of(lake)}


def test_pruned_rows_come_back(lake: Path) -> None:
    before = content(lake)
    write_csv(lake / "raw" / "first.csv", "id,text,label", "a,a good film,pos")
    assert ingest(lake, prune=True, **WITH_IDS).metrics["pruned"] == 3
    receipt = take_back(lake)
    assert (receipt.metrics["removed"], receipt.metrics["restored"]) == (0, 3)
    assert content(lake) == before


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_runs_are_taken_back_in_either_order(lake: Path, order: tuple[int, int]) -> None:
    before = content(lake)
    runs = [poison(lake), poison(lake, "b,a bad film indeed,pos", "e,a newer film,pos")]
    for place in order:
        take_back(lake, runs[place].run_id)
    assert content(lake) == before


@pytest.mark.parametrize("keep_bad_shards", [True, False])
def test_vacuum_notes_what_retract_needs(lake: Path, keep_bad_shards: bool) -> None:
    bad = poison(lake)
    if not keep_bad_shards:  # rewritten, so that no shard of the run's commit is left
        ingest(lake, write_csv(lake / "raw" / "third.csv", "id,text,label", "e,rewritten,pos", "f,more,neg"), **WITH_IDS)
        ingest(lake, write_csv(lake / "raw" / "third.csv", "id,text,label", "d,rewritten,pos"), **WITH_IDS)
    vacuum.run(VacuumConfig(lake=lake, keep_hours=0))
    assert (lake / "runs" / f"{bad.run_id}.rows.parquet").exists()
    receipt = take_back(lake, bad.run_id)
    # The older shards are gone: what was replaced cannot come back.
    assert (receipt.metrics["lost"], receipt.metrics["restored"]) == (2, 0)
    assert receipt.metrics["removed"] == (3 if keep_bad_shards else 2)
    assert not {"b", "c"} & {row["review_id"] for row in rows_of(lake)}
    # The remedy: the older file again.
    assert ingest(lake, lake / "raw" / "first.csv", **WITH_IDS).written >= 2


def test_a_vacuum_of_an_earlier_release_leaves_nothing_to_tell_by(lake: Path, tmp_path: Path) -> None:
    bad = poison(lake)
    vacuum.run(VacuumConfig(lake=lake, keep_hours=0))
    for noted in (lake / "runs").glob("*.rows.parquet"):
        noted.unlink()
    before = content(lake)
    with pytest.raises(DataError, match=r"kept no list.*pipeline erase --from FILE"):
        take_back(lake, bad.run_id)
    assert content(lake) == before


def test_a_new_vocabulary_does_not_hide_whose_rows_are_whose(lake: Path) -> None:
    bad = poison(lake, "b,a bad film,pos", "e,a new film,pos")
    write_csv(lake / "raw" / "first.csv", "id,text,label", "a,a good film,pos", "c,so good,pos", "d,so bad,neg")
    ingest(lake, rebuild_vocab=True, max_vocab=3, **WITH_IDS)
    receipt = take_back(lake, bad.run_id)
    # b's earlier ids are those of another vocabulary.
    assert (receipt.metrics["removed"], receipt.metrics["restored"], receipt.metrics["lost"]) == (2, 0, 1)
    assert sorted(row["review_id"] for row in rows_of(lake)) == ["a", "c", "d"]


def test_retracted_rows_stay_out_of_a_rebuilt_vocabulary(lake: Path) -> None:
    poison(lake, "e,unheard-of,pos", "f,unheard-of,neg")
    take_back(lake)
    receipt = ingest(lake, rebuild_vocab=True, **WITH_IDS)
    assert (receipt.metrics["retracted"], receipt.rejected) == (2, 0)
    assert sorted(row["review_id"] for row in rows_of(lake)) == ["a", "b", "c", "d"]
    # What came back lives in no file, so a new vocabulary would lose it.
    poison(lake, "a,a good film,neg")
    take_back(lake)
    (lake / "raw" / "first.csv").unlink()
    with pytest.raises(DataError, match="not in the given sources"):
        ingest(lake, lake / "raw" / "second.csv", rebuild_vocab=True, **WITH_IDS)


def test_a_dry_run_changes_nothing(lake: Path) -> None:
    poison(lake)
    before = {path: path.read_bytes() for path in lake.rglob("*") if path.is_file() and ".locks" not in str(path)}
    receipt = take_back(lake, dry_run=True)
    assert (receipt.metrics["removed"], receipt.metrics["restored"]) == (3, 2)
    after = {path: path.read_bytes() for path in lake.rglob("*") if path.is_file() and ".locks" not in str(path)}
    assert after == before


def test_models_that_saw_the_rows_are_named_and_the_remedy_works(lake: Path, command: Run) -> None:
    where = Lake(lake)

    def train(name: str) -> None:
        data = open_data(where)
        save_rnn(where.models / name, data.vocabulary, table_version=data.table_version)
        make_live(where, name, PROMOTED)

    train("before")
    poison(lake)
    train("after")
    done = command("retract", "latest", "--lake", lake)
    receipt = json.loads(done.stdout.splitlines()[-1])
    assert (receipt["metrics"]["models"], receipt["metrics"]["live"]) == (["after"], "after")
    assert "the live model after is one of them; to replace it: pipeline models rollback" in done.stderr
    assert command(*receipt["metrics"]["go_back"].split()[1:], "--lake", lake).code == 0
    assert where.latest_model() == "before"
    train("clean")
    assert "clean" not in take_back(lake, receipt["metrics"]["run"], dry_run=True).metrics["models"]


def test_a_name_that_is_no_run_of_ingest(lake: Path) -> None:
    bad = poison(lake)
    with pytest.raises(InputNotFoundError, match=f"Runs of ingest that committed: {bad.run_id}"):
        take_back(lake, "yesterday")
    with pytest.raises(UsageError, match="fits 2 runs"):
        take_back(lake, bad.run_id[:2])
    nothing = ingest(lake, lake / "raw" / "second.csv", **WITH_IDS)
    with pytest.raises(UsageError, match="added no reviews to the table"):
        take_back(lake, nothing.run_id)
    with pytest.raises(InputNotFoundError, match="there is no lake at"):
        take_back(lake.parent / "elsewhere")
    (lake.parent / "elsewhere").mkdir()
    with pytest.raises(InputNotFoundError, match="nothing to take back"):
        take_back(lake.parent / "elsewhere")


def test_repair_after_a_retraction_reads_only_what_was_left(lake: Path) -> None:
    poison(lake)
    take_back(lake)
    before = sorted((row["review_id"], row["content_sha256"]) for row in rows_of(lake))
    for path in (lake / "tokens" / "_delta_log").glob("*.json"):
        path.write_bytes(b"damaged" + path.read_bytes())
    assert repair.run(RepairConfig(lake=lake, workers=0)).exit_code == 0
    assert sorted((row["review_id"], row["content_sha256"]) for row in rows_of(lake)) == before


def test_a_damaged_shard_of_the_run_is_repaired_before_it_is_taken_back(lake: Path) -> None:
    before = content(lake)
    bad = poison(lake, "e,a new film,pos")
    paths = [shard.path for shard in TokenTable.open(lake / "tokens").shards]
    (added,) = [path for path in paths if pq.read_table(path)["review_id"].to_pylist() == ["e"]]
    added.write_bytes(added.read_bytes()[:-9])
    with pytest.raises(DataError, match="Run 'pipeline repair'"):
        take_back(lake, bad.run_id)
    assert repair.run(RepairConfig(lake=lake, workers=0)).exit_code == 0
    assert take_back(lake, bad.run_id).metrics["removed"] == 1
    assert content(lake) == before


def test_a_damaged_list_stops_ingest_until_it_is_deleted(lake: Path) -> None:
    poison(lake)
    take_back(lake)
    (noted,) = (lake / "retracted").glob("*.parquet")
    noted.write_bytes(noted.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"list of reviews .* cannot be read.*or delete it; its reviews then come in again"):
        ingest(lake, lake / "raw" / "second.csv", **WITH_IDS)
    assert [check.name for check in lake_checks(Lake(lake)) if check.state == "FAIL"] == ["withheld"]
    noted.unlink()
    assert ingest(lake, lake / "raw" / "second.csv", **WITH_IDS).written == 3
