"""`pipeline erase`: after it, no file of the lake knows the review, and the next runs do not bring it back."""

import gzip
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import erase, repair, retract, vacuum
from pipeline.cli.summary import summary
from pipeline.config.erase import EraseConfig
from pipeline.config.repair import RepairConfig
from pipeline.config.retract import RetractConfig
from pipeline.config.vacuum import VacuumConfig
from pipeline.doctor.lake import lake_checks
from pipeline.errors import InputNotFoundError, UsageError
from pipeline.lake.content import verify_data
from pipeline.lake.identity import content_sha256
from pipeline.lake.live import PROMOTED, make_live
from pipeline.lake.paths import Lake
from pipeline.lake.table import TokenTable
from pipeline.reports.files import read_evaluation, read_examples, write_evaluation, write_examples
from pipeline.training.data import open_data
from schemas.report import EVALUATION, EXAMPLE
from schemas.run import Receipt
from tests.support.commands import Run
from tests.support.ingested import ingest, rows_of
from tests.support.models import save_rnn
from tests.support.pretrained import save_vectors
from tests.support.scoring import run_score
from tests.support.tables import write_csv

WITH_IDS = {"id_column": "order", "group_column": "customer", "workers": 0}
LONG = "zebra quokka platypus that nobody else would ever write about in a shop review"
REVIEWS = (
    "order,customer,text,label",
    "o-1001,ann,a good film,pos",
    f"o-1002,bob,{LONG},neg",
    'o-1003,bob,"so good, and ""fine""",pos',
    "o-1004,cid,so bad,neg",
)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake with a night of four reviews and a live model."""
    folder = tmp_path / "lake"
    (folder / "raw").mkdir(parents=True)
    write_csv(folder / "raw" / "first.csv", *REVIEWS)
    ingest(folder, **WITH_IDS)
    data = open_data(Lake(folder))
    save_rnn(folder / "models" / "one", data.vocabulary, table_version=data.table_version)
    make_live(Lake(folder), "one", PROMOTED)
    return folder


def remove(lake: Path, *ids: str, **options: Any) -> Receipt:
    return erase.run(EraseConfig(lake=lake, review_id=ids, **options))


def ids_of(lake: Path) -> list[str]:
    return sorted(row["review_id"] for row in rows_of(lake))


def holders(lake: Path, *needles: str) -> list[str]:
    """The files of the lake beside raw/ that hold any of the strings, however compressed."""
    found = []
    for path in sorted(lake.rglob("*")):
        if not path.is_file() or path.is_relative_to(lake / "raw") or path.is_relative_to(lake / "incoming"):
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content = repr(pq.read_table(path).to_pylist()).encode()
        elif path.suffix == ".gz":
            content = gzip.decompress(content)
        if any(needle.encode() in content for needle in needles):
            found.append(str(path.relative_to(lake)))
    return found


def health(lake: Path) -> list[str]:
    return [check.detail for check in lake_checks(Lake(lake), verify=True) if check.state == "FAIL"]


def test_pretrained_models_that_read_a_review_are_named(lake: Path) -> None:
    version = open_data(Lake(lake)).table_version
    save_vectors(lake / "pretrained" / "whole", table_version=version)
    save_vectors(lake / "crossval" / "pretrained" / "fold", table_version=version)
    save_vectors(lake / "pretrained" / "elsewhere")
    found = remove(lake, "o-1002").metrics["models"]
    assert found == ["one", "pretrained/whole", "crossval/pretrained/fold"]


def test_a_review_leaves_every_version_and_does_not_come_back(lake: Path) -> None:
    write_csv(lake / "raw" / "first.csv", *REVIEWS[:2], f"o-1002,bob,{LONG} again,neg", *REVIEWS[3:])
    ingest(lake, **WITH_IDS)
    assert len(holders(lake, "o-1002")) >= 2
    receipt = remove(lake, "o-1002")
    assert (receipt.metrics["removed"], receipt.metrics["unknown"], receipt.metrics["models"]) == (1, 0, ["one"])
    assert ids_of(lake) == ["o-1001", "o-1003", "o-1004"]
    assert holders(lake, "o-1002") == [] and health(lake) == []
    assert (receipt.metrics["raw"], receipt.metrics["raw_ids"]) == ({}, {"raw/first.csv": 1})
    again = ingest(lake, **WITH_IDS)
    assert (again.exit_code, again.read, again.known, again.metrics["erased"]) == (99, 4, 4, 1)
    assert remove(lake, "o-1002").exit_code == 99
    # Nor with other words, nor with a new vocabulary, nor by repair.
    write_csv(lake / "raw" / "first.csv", *REVIEWS[:2], "o-1002,bob,other words,pos", *REVIEWS[3:])
    assert ingest(lake, **WITH_IDS).metrics["erased"] == 1
    ingest(lake, rebuild_vocab=True, max_vocab=5, **WITH_IDS)
    TokenTable.open(lake / "tokens").shards[0].path.unlink()
    assert repair.run(RepairConfig(lake=lake, workers=0)).exit_code == 0
    assert ids_of(lake) == ["o-1001", "o-1003", "o-1004"] and holders(lake, "o-1002") == []


def test_a_group_is_every_review_of_it(lake: Path) -> None:
    receipt = erase.run(EraseConfig(lake=lake, group=("bob",)))
    assert (receipt.metrics["removed"], ids_of(lake)) == (2, ["o-1001", "o-1004"])
    assert ingest(lake, **WITH_IDS).metrics["erased"] == 2
    assert holders(lake, "o-1002", "o-1003", "bob") == []
    assert erase.run(EraseConfig(lake=lake, group=("bob",))).exit_code == 99
    # A later review of the group is another one.
    more = write_csv(lake / "raw" / "more.csv", REVIEWS[0], "o-1005,bob,a new one,pos")
    assert ingest(lake, more, **WITH_IDS).written == 1


def test_other_reviews_may_stand_where_those_of_a_group_were(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    rows = [f"c{i},text number {i},{'pos' if i % 2 else 'neg'}" for i in range(6)]
    write_csv(tmp_path / "raw" / "a.csv", "customer,text,label", *rows)
    ingest(tmp_path, group_column="customer", workers=0)
    write_csv(tmp_path / "raw" / "a.csv", "customer,text,label", *rows[1:])
    ingest(tmp_path, group_column="customer", workers=0)
    # c3 has moved from row 3 to row 2, and c4 to where it was.
    receipt = erase.run(EraseConfig(lake=tmp_path, group=("c3",)))
    assert (receipt.metrics["reviews"], receipt.metrics["removed"], receipt.metrics["raw"]) == (1, 1, {"raw/a.csv": [2]})
    assert sorted(row["group"] for row in rows_of(tmp_path)) == ["c1", "c2", "c4", "c5"]
    by_place = remove(tmp_path, "raw/a.csv#4")
    assert (by_place.metrics["reviews"], by_place.metrics["raw"]) == (1, {"raw/a.csv": [4]})
    write_csv(tmp_path / "raw" / "a.csv", "customer,text,label", rows[1], rows[2], rows[4])
    ingest(tmp_path, group_column="customer", prune=True, workers=0)
    assert sorted(row["group"] for row in rows_of(tmp_path)) == ["c1", "c2", "c4"]


def test_older_versions_forget_a_review_where_it_stood_then(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    rows = [f"text number {i},{'pos' if i % 2 else 'neg'}" for i in range(6)]
    for kept in (rows, rows[1:]):
        write_csv(tmp_path / "raw" / "a.csv", "text,label", *kept)
        ingest(tmp_path, workers=0)
    (content,) = (row["content_sha256"] for row in rows_of(tmp_path) if row["row"] == 2)
    assert remove(tmp_path, "raw/a.csv#2").metrics["versions"] == 2
    held = [table["content_sha256"].to_pylist() for table in map(pq.read_table, (tmp_path / "tokens").glob("*.parquet"))]
    assert held and not any(content in contents for contents in held)


def test_a_retracted_review_stays_out_when_the_one_in_its_place_is_erased(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    good, wrong = ["text number 0,neg", "text number 1,pos"], "text number 2,pos"
    for kept in (good, [*good, wrong]):
        write_csv(tmp_path / "raw" / "a.csv", "text,label", *kept)
        receipt = ingest(tmp_path, workers=0)
    retract.run(RetractConfig(lake=tmp_path, run=receipt.run_id))
    write_csv(tmp_path / "raw" / "a.csv", "text,label", *good, "text number 3,neg", wrong)
    ingest(tmp_path, workers=0)
    vacuum.run(VacuumConfig(lake=tmp_path, keep_hours=0))
    remove(tmp_path, "raw/a.csv#2")
    assert remove(tmp_path, "raw/a.csv#2").exit_code == 99
    write_csv(tmp_path / "raw" / "a.csv", "text,label", *good, wrong)
    assert ingest(tmp_path, workers=0).metrics["retracted"] == 1
    assert sorted(row["row"] for row in rows_of(tmp_path)) == [0, 1]


def test_what_came_back_for_a_retracted_row_stays_when_its_former_place_is_erased(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    good, wrong = ["text number 0,neg", "text number 1,pos", "text number 2,pos"], "text number 2,neg"
    for kept in (good, [*good[:2], wrong]):
        source = write_csv(tmp_path / "raw" / "a.csv", "text,label", *kept)
        receipt = ingest(tmp_path, workers=0)
    retract.run(RetractConfig(lake=tmp_path, run=receipt.run_id))
    write_csv(source, "text,label", "text number 3,neg", *good[:2], wrong)
    ingest(tmp_path, workers=0)
    assert remove(tmp_path, "raw/a.csv#2").metrics["reviews"] == 1
    assert ingest(tmp_path, prune=True, workers=0).metrics["retracted"] == 1
    assert ids_of(tmp_path) == [f"raw/a.csv#{row}" for row in (0, 1, 3)]


def test_erasing_a_place_again_leaves_the_review_that_stood_there_before(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for kept in (["first,pos", "second,neg"], ["second,neg"], ["second,neg", "third,pos"]):
        source = write_csv(tmp_path / "raw" / "a.csv", "text,label", *kept)
        ingest(tmp_path, workers=0)
    assert remove(tmp_path, "raw/a.csv#1").metrics["removed"] == 1
    assert remove(tmp_path, "raw/a.csv#1").exit_code == 99
    for line in ("fourth,neg", "second,neg"):
        ingest(tmp_path, write_csv(source, "text,label", line), workers=0)
    assert [row["content_sha256"] for row in rows_of(tmp_path)] == [content_sha256(b"second", "neg", None, "train", None)]


def test_the_place_of_a_rejected_row_is_free_once_it_is_taken_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "raw").mkdir()
    source = write_csv(tmp_path / "raw" / "a.csv", "text,label", "first,pos", "second,neg", "bob's secret,pos,more")
    ingest(tmp_path, workers=0)
    receipt = remove(tmp_path, "raw/a.csv#2")
    assert (receipt.metrics["places"], receipt.metrics["rejects"]) == (1, 1)
    assert summary(receipt).headline == "The table has no row with the ID."
    assert "1 of the IDs is a row of a file, not of the table. Take it out: what stands there later comes in" in caplog.text
    rejects = ingest(tmp_path, workers=0).outputs["rejects"]
    assert [(row["excerpt"], row["detail"]) for row in pq.read_table(rejects).to_pylist()] == [("", "erased on request")]
    assert remove(tmp_path, "raw/a.csv#2").metrics["noted"] == 0
    ingest(tmp_path, write_csv(source, "text,label", "first,pos", "second,neg", "third,pos"), workers=0)
    assert ids_of(tmp_path) == [f"raw/a.csv#{row}" for row in range(3)]


def test_a_lake_without_groups_is_told_apart_from_one_without_the_group(lake: Path, tmp_path: Path, command: Run) -> None:
    headline = "Nothing to erase: the lake holds nothing of these reviews."
    assert summary(erase.run(EraseConfig(lake=lake, group=("nobody",)))).headline == headline
    (tmp_path / "other").mkdir()
    ingest(tmp_path / "other", lake / "raw" / "first.csv", id_column="order", workers=0)
    done = command("erase", "--group", "bob", "--lake", tmp_path / "other", "--yes")
    assert done.code == 99
    assert "no review of this lake has a group, which ingest reads with --group-column" in done.stderr
    receipt = erase.run(EraseConfig(lake=tmp_path / "other", group=("bob",)))
    assert summary(receipt).headline.startswith("Nothing to erase: no review of the lake has a group.")


def test_a_place_is_erased_by_its_content_so_the_next_row_may_move_there(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    (lake / "raw").mkdir(parents=True)
    write_csv(lake / "raw" / "a.csv", "text,label", "first,pos", "second,neg", "third,pos")
    ingest(lake, workers=0)
    remove(lake, "raw/a.csv#1")
    assert ids_of(lake) == ["raw/a.csv#0", "raw/a.csv#2"]
    assert remove(lake, "raw/a.csv#1").exit_code == 99
    assert ingest(lake, workers=0).metrics["erased"] == 1
    # A row before it goes: the erased review moves up, and stays out all the same.
    write_csv(lake / "raw" / "a.csv", "text,label", "second,neg", "third,pos", "fourth,neg")
    assert ingest(lake, prune=True, workers=0).metrics["erased"] == 1
    assert sorted(row["row"] for row in rows_of(lake)) == [1, 2]
    # Its row is taken out, as the message asks: the others move up and come in.
    write_csv(lake / "raw" / "a.csv", "text,label", "third,pos", "fourth,neg")
    ingest(lake, prune=True, workers=0)
    assert ids_of(lake) == ["raw/a.csv#0", "raw/a.csv#1"]


def test_a_review_with_an_id_is_not_said_to_be_in_the_row_of_its_first_ingest(lake: Path, command: Run) -> None:
    write_csv(lake / "raw" / "first.csv", REVIEWS[0], *REVIEWS[2:])
    assert ingest(lake, **WITH_IDS).exit_code == 99
    done = command("erase", "--review-id", "o-1003", "--lake", lake, "--yes")
    assert "raw/first.csv still has 1 review; take out the row with its ID" in done.stderr
    assert "row 2" not in done.stderr
    group = command("erase", "--group", "cid", "--lake", lake, "--yes")
    assert "raw/first.csv still has 1 review; take out the row with its ID or group" in group.stderr


def test_rows_that_are_not_named_are_counted(tmp_path: Path, command: Run) -> None:
    (tmp_path / "raw").mkdir()
    rows = [f"{'bob' if i % 2 else 'ann'},text {i},{'pos' if i % 3 else 'neg'}" for i in range(40)]
    write_csv(tmp_path / "raw" / "a.csv", "customer,text,label", *rows)
    ingest(tmp_path, group_column="customer", workers=0)
    done = command("erase", "--group", "bob", "--lake", tmp_path, "--yes")
    assert "raw/a.csv still has rows 1, 3, 5, 7, 9 and 15 more, counted from 0; take them out" in done.stderr
    assert done.receipt["metrics"]["raw"] == {"raw/a.csv": list(range(1, 40, 2))}


def test_a_review_that_is_a_file_is_erased_whatever_it_says_later(corpus: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    (lake / "raw").mkdir(parents=True)
    shutil.move(corpus / "aclImdb", lake / "raw" / "aclImdb")
    with tarfile.open(lake / "raw" / "more.tar.gz", "w:gz") as archive:
        archive.add(lake / "raw" / "aclImdb" / "train", "more/train")
    ingest(lake, workers=0)
    names = ("raw/aclImdb/train/pos/3_9.txt", "raw/more.tar.gz!/more/train/pos/4_9.txt")
    receipt = remove(lake, *names)
    assert receipt.metrics["raw"] == {"raw/aclImdb/train/pos/": [], "raw/more.tar.gz": []}
    assert holders(lake, *names) == []
    (lake / names[0]).write_text("Something else altogether.")
    assert ingest(lake, workers=0).metrics["erased"] == 2
    assert not set(names) & set(ids_of(lake))


def test_an_erased_review_is_no_reject_under_a_label_that_the_lake_does_not_know(lake: Path) -> None:
    remove(lake, "o-1002")
    write_csv(lake / "raw" / "first.csv", *(line.replace(",neg", ",odd") for line in REVIEWS if "o-1004" not in line))
    receipt = ingest(lake, **WITH_IDS)
    assert (receipt.exit_code, receipt.known, receipt.rejected, receipt.metrics["erased"]) == (99, 3, 0, 1)


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl", "out.csv.gz"])
def test_predictions_lose_the_row_and_score_has_nothing_new(lake: Path, name: str) -> None:
    write_csv(lake / "incoming.csv", *REVIEWS)
    options = {"output": lake / "predictions" / name}
    run_score(lake, lake / "incoming.csv", **options)
    lines = _lines(lake / "predictions" / name)
    receipt = remove(lake, "o-1003")
    assert receipt.metrics["predictions"] == {f"predictions/{name}": 1}
    assert receipt.metrics["inputs"] == ["incoming.csv"]
    left = _lines(lake / "predictions" / name)
    assert left == [line for line in lines if "o-1003" not in str(line)] and len(left) == len(lines) - 1
    again = run_score(lake, lake / "incoming.csv", **options)
    assert (again.exit_code, again.known) == (99, 3)
    assert _lines(lake / "predictions" / name) == left
    if name.endswith(".parquet"):
        assert verify_data(lake / "predictions" / name)
    assert health(lake) == []


def _lines(path: Path) -> list[Any]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return content.splitlines()


def test_predictions_without_ids_are_found_by_their_text(lake: Path) -> None:
    texts = [LONG, 'so good, and "fine"', LONG + " indeed", "so bad"]
    pq.write_table(pa.table({"text": texts}), lake / "elsewhere.parquet")
    run_score(lake, lake / "elsewhere.parquet")
    run_score(lake, lake / "raw" / "first.csv", keep=("text",))
    receipt = remove(lake, "o-1002", "o-1003")
    # A short text counts only where the input is the review's own file.
    assert receipt.metrics["predictions"] == {"predictions/elsewhere.parquet": 1, "predictions/first.parquet": 2}
    assert pq.read_table(lake / "predictions" / "elsewhere.parquet")["text"].to_pylist() == texts[1:]


def test_rejects_lose_the_row_and_never_show_it_again(lake: Path) -> None:
    bad = write_csv(
        lake / "raw" / "bad.csv", REVIEWS[0], "o-2001,eve,secret words,unheard-of", "o-2002,fay,other words,unheard-of"
    )
    sources = (lake / "raw" / "first.csv", bad)
    before = ingest(lake, *sources, **WITH_IDS)
    assert before.rejected == 2
    # The id is not in the reject, but its place may be named.
    remove(lake, "raw/bad.csv#0")
    assert holders(lake, "secret words") == [] and len(holders(lake, "other words")) == 1
    assert health(lake) == []
    again = ingest(lake, *sources, **WITH_IDS)
    assert (again.rejected, holders(lake, "secret words")) == (2, ["rejects/" + Path(again.outputs["rejects"]).name])
    remove(lake, "o-2001")
    remove(lake, "raw/bad.csv#0")
    now = ingest(lake, *sources, **WITH_IDS)
    assert (now.rejected, now.metrics["erased"], holders(lake, "secret words")) == (1, 1, [])
    write_csv(bad, REVIEWS[0], "o-2001,eve,secret words,un\0known")
    assert ingest(lake, *sources, **WITH_IDS).rejected == 1
    assert holders(lake, "secret words") == []


@pytest.mark.parametrize("options", [{"group": ("nobody",)}, {"review_id": ("1",)}])
def test_rejects_without_an_excerpt_stay_if_no_id_is_long_enough_to_be_looked_for(lake: Path, options: Any) -> None:
    bad = write_csv(lake / "raw" / "bad.csv", REVIEWS[0], "o-2001,eve,,pos")
    before = ingest(lake, lake / "raw" / "first.csv", bad, **WITH_IDS)
    assert pq.read_table(before.outputs["rejects"])["excerpt"].to_pylist() == [""]
    assert erase.run(EraseConfig(lake=lake, **options)).metrics["rejects"] == 0
    assert Path(before.outputs["rejects"]).exists()


def test_pages_and_lists_of_models_forget_it(lake: Path) -> None:
    bundle = lake / "models" / "one"
    evaluation = [
        {"split": "valid", "review_id": name, "label": 0, "length": 3, "probabilities": [0.5, 0.5]}
        for name in ("o-1001", "o-1002")
    ]
    write_evaluation(bundle, pa.Table.from_pylist(evaluation, schema=EVALUATION.schema))
    example = {"label": "pos", "prediction": "pos", "probability": 0.9, "kind": "right", "explanation": []}
    texts = [{**example, "text": text} for text in (LONG, "a good film")]
    write_examples(bundle, pa.Table.from_pylist(texts, schema=EXAMPLE.schema))
    pq.write_table(pa.table({"review_id": ["o-1001", "o-1002"]}), bundle / "judge.parquet")
    folds = lake / "crossval" / "one"
    folds.mkdir(parents=True)
    pq.write_table(pa.table({"review_id": ["o-1001", "o-1002"]}), folds / "fold-0-x.parquet")
    receipt = remove(lake, "o-1002")
    assert (receipt.metrics["pages"], receipt.metrics["crossval"]) == ({"one": 3}, 1)
    assert holders(lake, "o-1002", "quokka platypus that") == []
    read = read_evaluation(bundle)
    assert read is not None and read["review_id"].to_pylist() == ["o-1001", "erased"]
    shown = read_examples(bundle, ("neg", "pos"))
    assert shown is not None and shown["text"].to_pylist() == ["a good film"]


def test_what_retract_knows_forgets_it_and_an_erased_row_is_not_restored(lake: Path) -> None:
    second = write_csv(lake / "raw" / "second.csv", REVIEWS[0], f"o-1002,bob,{LONG},pos", "o-1004,cid,so bad,pos")
    bad = ingest(lake, second, **WITH_IDS)
    remove(lake, "o-1002")
    receipt = retract.run(RetractConfig(lake=lake, run=bad.run_id))
    # The shard with o-1004's earlier content held the erased review, too, and is gone.
    assert (receipt.metrics["removed"], receipt.metrics["restored"], receipt.metrics["lost"]) == (1, 0, 1)
    assert "o-1002" not in ids_of(lake)
    assert len(pq.read_table(lake / "retracted" / f"{bad.run_id}.parquet")) == 1
    assert ingest(lake, lake / "raw" / "first.csv", **WITH_IDS).written == 1
    assert ids_of(lake) == ["o-1001", "o-1003", "o-1004"]


def test_the_record_and_the_log_do_not_name_it(lake: Path, command: Run, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("o-1002\n\no-9999\n")
    done = command("erase", "--from", names, "--review-id", "o-1001", "--lake", lake, "--yes")
    assert done.code == 0
    assert "1 of the IDs is not in the table" in done.stderr
    assert "raw/first.csv still has 2 reviews; take out the rows with their IDs" in done.stderr
    assert "models trained on it: one (live: one); train again" in done.stderr
    assert "backups" in done.stderr
    assert "o-100" not in done.stderr + done.stdout
    assert holders(lake, "o-1002", "o-9999") == []
    # It was not in the table, yet is kept out.
    late = write_csv(lake / "raw" / "late.csv", REVIEWS[0], "o-9999,zoe,late words,pos")
    assert ingest(lake, late, **WITH_IDS).metrics["erased"] == 1
    assert command("runs", "--command", "erase", "--lake", lake).code == 0


def test_ids_that_are_not_in_the_table_do_not_count_as_erased(lake: Path) -> None:
    both = remove(lake, "o-1002", "o-9998")
    assert (both.metrics["reviews"], both.metrics["removed"], both.metrics["unknown"]) == (1, 1, 1)
    assert summary(both).headline == "Erased 1 review."
    planned = remove(lake, "o-9999", dry_run=True)
    assert summary(planned).headline == "The ID is not in the table; it would be kept out from now on."
    two = remove(lake, "o-9999", "o-10000")
    assert (two.exit_code, two.metrics["reviews"], two.metrics["noted"]) == (0, 0, 2)
    assert summary(two).headline == "None of the IDs is in the table; they are kept out from now on."


def test_a_dry_run_counts_and_changes_nothing(lake: Path) -> None:
    run_score(lake, lake / "raw" / "first.csv")
    before = {path: path.read_bytes() for path in lake.rglob("*") if path.is_file() and ".locks" not in str(path)}
    receipt = remove(lake, "o-1002", dry_run=True)
    assert (receipt.metrics["removed"], receipt.metrics["noted"], receipt.metrics["versions"]) == (1, 1, 1)
    assert receipt.metrics["predictions"] == {"predictions/first.parquet": 1}
    after = {path: path.read_bytes() for path in lake.rglob("*") if path.is_file() and ".locks" not in str(path)}
    assert after == before


def test_what_is_not_there(lake: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Pass --review-id ID, --from FILE or --group GROUP"):
        EraseConfig(lake=lake)
    with pytest.raises(InputNotFoundError, match="one ID per line"):
        erase.run(EraseConfig(lake=lake, from_file=tmp_path / "none"))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(UsageError, match="has no ID"):
        erase.run(EraseConfig(lake=lake, from_file=tmp_path / "empty"))
    with pytest.raises(InputNotFoundError, match="there is no lake at"):
        remove(tmp_path / "no-lake", "x")


def test_everything_can_be_erased(lake: Path) -> None:
    erase.run(EraseConfig(lake=lake, group=("ann", "bob", "cid")))
    assert ids_of(lake) == [] and health(lake) == []
    more = write_csv(lake / "raw" / "more.csv", REVIEWS[0], "o-1005,dan,a new one,pos", "o-1006,dan,an old one,neg")
    assert ingest(lake, more, **WITH_IDS).written == 2


def test_it_removes_by_id_where_retract_cannot_tell(lake: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("o-1003\no-1004\n")
    assert erase.run(EraseConfig(lake=lake, from_file=names)).metrics["removed"] == 2
    assert json.loads((sorted((lake / "runs").glob("*-erase-*.json"))[-1]).read_text())["config"]["from_file"] is None
