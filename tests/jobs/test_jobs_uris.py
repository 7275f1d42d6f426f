"""Sources and outputs as URIs: what is done with objects is what is done with files, under another name."""

import gzip
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest

from pipeline.errors import CannotWriteError, DataError, InputNotFoundError, LockedError, StorageUnavailableError, UsageError
from pipeline.lake.object_store import ObjectStore
from pipeline.readers import mirror
from tests.support.commands import Run
from tests.support.faulty_proxy import Faults, faulty
from tests.support.ingested import ingest, left_out, rows_of, texts_of
from tests.support.machines import Machine
from tests.support.s3_server import empty_store, environment, s3_server
from tests.support.scoring import make_lake, make_words, run_score
from tests.support.tables import write_table

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def faults() -> Faults:
    """None yet: a test adds its own."""
    return Faults()


@pytest.fixture
def store(server: str, faults: Faults) -> Iterator[ObjectStore]:
    """An empty store behind the faults."""
    with faulty(server, faults) as url, environment(url):
        yield empty_store()


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return make_lake(tmp_path / "lake")


def put(store: ObjectStore, folder: Path, prefix: str = "") -> None:
    """Puts all files of a folder into a store."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.write(prefix + path.relative_to(folder).as_posix(), path)


def mixed_delivery(folder: Path) -> Path:
    """Files of all kinds, with a column in a folder's name, a hidden file, and one of a kind that is not read."""
    for number, (split, label) in enumerate([("train", "pos"), ("train", "neg"), ("test", "pos")]):
        for review in range(3):
            path = folder / "aclImdb" / split / label / f"{review}_{8 if label == 'pos' else 2}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"film {number} was {label} {review}")
    (folder / "aclImdb" / "train" / "urls_pos.txt").write_text("".join(f"http://film/tt000{n}/u\n" for n in range(3)))
    (folder / "partner=7").mkdir()
    (folder / "partner=7" / "a.csv").write_text("text,label\ngood film,pos\nbad film,neg\n")
    (folder / "b c+é.jsonl.gz").write_bytes(gzip.compress(b'{"text": "dull", "label": "neg", "partner": 9}\n'))
    write_table(folder / "partner=7" / "d.parquet", text=["great", "long"], label=["pos", "neg"])
    with zipfile.ZipFile(folder / "e.zip", "w") as archive:
        archive.writestr("inner.csv", "text,label,partner\nvery good,pos,8\n")
    (folder / ".hidden.csv").write_text("text\nhidden\n")
    (folder / "notes.md").write_text("not read")
    return folder


def test_a_delivery_in_a_bucket_is_ingested_like_one_in_a_folder(store: ObjectStore, tmp_path: Path) -> None:
    folder = mixed_delivery(tmp_path / "delivery")
    put(store, folder, "raw/")
    local = ingest(tmp_path / "one", folder, group_column="partner")
    remote = ingest(tmp_path / "two", f"{store.uri}/raw/", group_column="partner")
    assert (local.read, local.written, local.rejected) == (remote.read, remote.written, remote.rejected)
    assert remote.written == 15
    assert [row["ids"] for row in rows_of(tmp_path / "one")] == [row["ids"] for row in rows_of(tmp_path / "two")]
    local_names = {unquote(name).replace(unquote(folder.as_uri()), "HOME") for name in texts_of(tmp_path / "one")}
    assert {name.replace(f"{store.uri}/raw", "HOME") for name in texts_of(tmp_path / "two")} == local_names
    assert list((tmp_path / "two" / ".scratch").rglob("*")) in ([], [tmp_path / "two" / ".scratch" / "sources"])
    again = ingest(tmp_path / "two", f"{store.uri}/raw", group_column="partner")
    assert (again.exit_code, again.known, again.written) == (99, 15, 0)


def test_only_what_is_new_is_written(store: ObjectStore, tmp_path: Path) -> None:
    store.write("raw/a.csv", b"text,label\ngood,pos\nbad,neg\n")
    ingest(tmp_path / "lake", f"{store.uri}/raw/")
    store.write("raw/b.csv", b"text,label\ndull,neg\n")
    store.write("raw/a.csv", b"text,label\ngood,pos\nworse,neg\n")
    receipt = ingest(tmp_path / "lake", f"{store.uri}/raw/")
    assert (receipt.written, receipt.known, receipt.metrics["replaced"]) == (2, 1, 1)
    assert {name.rpartition("/")[2] for name in texts_of(tmp_path / "lake")} == {"a.csv:0", "a.csv:1", "b.csv:0"} or {
        row["source"] for row in rows_of(tmp_path / "lake")
    } == {f"{store.uri}/raw/a.csv", f"{store.uri}/raw/b.csv"}


def test_objects_and_patterns_are_named(store: ObjectStore, tmp_path: Path) -> None:
    for name in ("a/1.csv", "a/2.csv", "b/1.csv", "b/1.jsonl", "c/[x].csv"):
        store.write(name, b"text\ngood\n" if name.endswith("csv") else b'{"text": "good"}\n')
    receipt = ingest(tmp_path / "one", f"{store.uri}/a/1.csv", f"{store.uri}/b/*.jsonl", f"{store.uri}/c/[x].csv")
    assert receipt.written == 3
    assert ingest(tmp_path / "two", f"{store.uri}/*/1.csv").written == 2
    assert ingest(tmp_path / "three", f"{store.uri}/**/*.csv").written == 4
    assert ingest(tmp_path / "four", f"{store.uri}/a/*.csv", f"{store.uri}/a/").written == 2


def test_a_prefix_that_looks_like_a_pattern_is_that_prefix(store: ObjectStore, tmp_path: Path) -> None:
    for name in ("[ab]/1.csv", "a/1.csv", "a/2.csv", "what?/100% [1]/1.csv"):
        store.write(name, b"text\ngood\n")
    assert ingest(tmp_path / "one", f"{store.uri}/[ab]/").written == 1
    assert ingest(tmp_path / "two", f"{store.uri}/[ab]", f"{store.uri}/what?").written == 2
    assert ingest(tmp_path / "three", f"{store.uri}/what?/100% [1]/").written == 1
    assert ingest(tmp_path / "four", f"{store.uri}/[ab]/*.csv").written == 2


def test_what_is_not_there_is_named_by_its_uri(store: ObjectStore, tmp_path: Path) -> None:
    for uri in (f"{store.uri}/no.csv", f"{store.uri}/no/", f"{store.uri}/*.csv", "s3://no-such-bucket/raw/"):
        with pytest.raises(InputNotFoundError) as missing:
            ingest(tmp_path / "lake", uri)
        assert uri.removesuffix("/raw/") in str(missing.value)


def test_messages_name_uris_and_not_the_place_where_objects_are_fetched_to(
    store: ObjectStore, tmp_path: Path, command: Run
) -> None:
    store.write("raw/notes.md", b"1")
    store.write("raw/a.parquet", b"PAR1 damaged")
    refused = command("--lake", tmp_path / "lake", "ingest", f"{store.uri}/raw/notes.md")
    assert refused.code == 2 and f"{store.uri}/raw/notes.md: unsupported file type" in refused.stderr
    damaged = command("--lake", tmp_path / "lake", "ingest", f"{store.uri}/raw/")
    assert damaged.code == 65 and f"{store.uri}/raw/a.parquet" in damaged.stderr
    assert ".scratch" not in refused.stderr + damaged.stderr
    inspected = command("--lake", tmp_path / "lake", "inspect", f"{store.uri}/raw/")
    assert inspected.code == 65 and f"{store.uri}/raw/a.parquet" in inspected.stderr + inspected.stdout


def test_a_bucket_is_inspected_and_evaluated(store: ObjectStore, lake: Path, command: Run, tmp_path: Path) -> None:
    reviews = ["a great film with good actors in it,pos", "the story was very long and not good,neg"]
    store.write("a.csv", "\n".join(["text,label", *reviews, ""]).encode())
    inspected = command("--lake", lake, "inspect", f"{store.uri}/a.csv", "--json")
    assert inspected.code == 0 and f"{store.uri}/a.csv" in inspected.stdout and ".scratch" not in inspected.stdout
    initialised = command("--lake", tmp_path / "new", "init", f"{store.uri}/a.csv")
    assert initialised.code == 0 and f"{store.uri}/a.csv" in initialised.stdout and ".scratch" not in initialised.stdout
    settings = tomllib.loads((tmp_path / "new" / "pipeline.toml").read_text())
    assert settings["ingest"]["source"] == [f"{store.uri}/a.csv"]
    assert command("--lake", tmp_path / "new", "ingest", "--json").receipt["written"] == 2
    evaluated = command("--lake", lake, "evaluate", f"{store.uri}/a.csv")
    assert evaluated.code == 0 and evaluated.receipt["read"] == 2


def test_an_object_that_vanishes_is_left_out(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        store.write(name, b"text\ngood\n")
    fetch = mirror.Mirror.fetch

    def fetch_after_removal(self: mirror.Mirror, source: Any) -> Any:
        if source.name.endswith("b.csv"):
            store.remove(["b.csv"])
        return fetch(self, source)

    monkeypatch.setattr(mirror.Mirror, "fetch", fetch_after_removal)
    receipt = ingest(tmp_path / "lake", store.uri)
    assert (receipt.written, left_out(receipt)) == (2, [("b.csv", "unreadable")])


def test_of_large_files_two_are_there_at_a_time(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        store.write(f"{number}.csv", b"text\ngood %d\n" % number)
    fetch, most = mirror.Mirror.fetch, []

    def watched(self: mirror.Mirror, source: Any) -> Any:
        fetched = fetch(self, source)
        most.append(len(list(self.root.rglob("*.csv"))))
        return fetched

    monkeypatch.setattr(mirror.Mirror, "fetch", watched)
    monkeypatch.setattr(mirror, "AHEAD_BYTES", 1)
    assert ingest(tmp_path / "lake", store.uri).written == 8
    assert len(most) == 8 and max(most) <= 2


def test_a_dry_run_leaves_the_lake_alone(store: ObjectStore, tmp_path: Path) -> None:
    store.write("a.csv", b"text\ngood\n")
    assert ingest(tmp_path / "lake", store.uri, dry_run=True).written == 1
    assert not (tmp_path / "lake").exists()


def test_every_tenth_request_fails_and_downloads_break_off_and_nothing_is_lost(
    store: ObjectStore, faults: Faults, tmp_path: Path
) -> None:
    for number in range(30):
        rows = b"".join(b"good %d,pos\n" % row for row in range(number, number + 40))
        store.write(f"raw/{number:02}.csv", b"text,label\n" + rows)
    before = ingest(tmp_path / "one", f"{store.uri}/raw/")
    faults.refuse_every, faults.hang_up_every = 10, 3
    after = ingest(tmp_path / "two", f"{store.uri}/raw/")
    assert faults.counts["refused"] >= 3 and faults.counts["hung up"] >= 10
    assert (after.read, after.written) == (before.read, before.written) == (1200, 1200)
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two")


def test_a_store_that_goes_away_ends_the_run_and_leaves_nothing(
    store: ObjectStore, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("a.csv", b"text\ngood\n")

    def fail(*_: object) -> None:
        raise StorageUnavailableError(f"{store.uri} does not answer")

    monkeypatch.setattr(mirror.Mirror, "fetch", fail)
    with pytest.raises(StorageUnavailableError):
        ingest(tmp_path / "lake", store.uri)
    assert not (tmp_path / "lake" / "tokens").exists()
    assert list((tmp_path / "lake" / ".scratch" / "sources").iterdir()) == []


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_table_in_a_bucket_is_scored_into_a_bucket(store: ObjectStore, lake: Path, tmp_path: Path, kind: str) -> None:
    write_table(tmp_path / "in.parquet", text=make_words(20), number=list(range(20)))
    store.write("in.parquet", tmp_path / "in.parquet")
    run_score(lake, tmp_path / "in.parquet", output=tmp_path / f"out.{kind}")
    scored = {"source": f"{store.uri}/in.parquet", "output": f"{store.uri}/out.{kind}"}
    receipt = run_score(lake, scored["source"], output=scored["output"])
    assert receipt.written == 20 and receipt.outputs["predictions"] == scored["output"]
    store.fetch(f"out.{kind}", tmp_path / f"fetched.{kind}")
    here, there = tmp_path / f"out.{kind}", tmp_path / f"fetched.{kind}"
    if kind == "parquet":
        assert pq.read_table(there).equals(pq.read_table(here))
    else:
        assert there.read_bytes() == here.read_bytes()
    before = store.stat(f"out.{kind}")
    again = run_score(lake, scored["source"], output=scored["output"])
    assert (again.exit_code, again.known) == (99, 20) and store.stat(f"out.{kind}") == before
    write_table(tmp_path / "more.parquet", text=make_words(30), number=list(range(30)))
    store.write("in.parquet", tmp_path / "more.parquet")
    assert run_score(lake, scored["source"], output=scored["output"]).written == 30


def test_one_object_is_scored_into_the_lake_under_its_name(store: ObjectStore, lake: Path, tmp_path: Path) -> None:
    store.write("in.csv", b"text\ngood\nbad\n")
    receipt = run_score(lake, f"{store.uri}/in.csv")
    assert receipt.outputs["predictions"] == str(lake / "predictions" / "in.parquet") and receipt.written == 2


def test_inputs_below_a_prefix_are_scored_one_by_one_and_not_fetched_again(
    store: ObjectStore, lake: Path, faults: Faults
) -> None:
    for name in ("day/a.csv", "day/b/c.csv"):
        store.write(name, b"text\ngood\nbad\n")
    for review in range(3):
        store.write(f"day/texts/{review}.txt", b"good")
    receipt = run_score(lake, f"{store.uri}/day/")
    assert (receipt.written, receipt.metrics["inputs"]["scored"]) == (7, 3)
    folder = Path(receipt.outputs["predictions"])
    assert folder == lake / "predictions" / "day"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")) == [
        "a.csv.parquet",
        "b/c.csv.parquet",
        "texts/reviews.txt.parquet",
    ]
    faults.counts.clear()
    again = run_score(lake, f"{store.uri}/day/")
    assert (again.exit_code, again.known) == (99, 7)
    assert faults.counts["GET"] <= 2  # the listing
    store.write("day/a.csv", b"text\ngood\nbad\nlong\n")
    changed = run_score(lake, f"{store.uri}/day/")
    assert (changed.written, changed.known) == (3, 5)


def test_an_output_that_somebody_else_has_written_meanwhile_stays(
    store: ObjectStore, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("in.csv", b"text\ngood\n")
    output = mirror.Mirror.output

    def written_meanwhile(self: mirror.Mirror, uri: str) -> Any:
        found = output(self, uri)
        store.write("out.csv", b"theirs")
        return found

    monkeypatch.setattr(mirror.Mirror, "output", written_meanwhile)
    with pytest.raises(LockedError, match=r"out\.csv exists already"):
        run_score(lake, f"{store.uri}/in.csv", output=f"{store.uri}/out.csv")
    assert store.read("out.csv")[0] == b"theirs"


def test_a_score_that_cannot_write_says_so(store: ObjectStore, lake: Path, faults: Faults) -> None:
    store.write("in.csv", b"text\ngood\n")
    faults.deny = ("PUT",)
    with pytest.raises(CannotWriteError, match="denies writing"):
        run_score(lake, f"{store.uri}/in.csv", output=f"{store.uri}/out.csv")


def test_an_output_over_its_input_or_in_a_folder_is_refused(store: ObjectStore, lake: Path) -> None:
    store.write("day/in.csv", b"text\ngood\n")
    with pytest.raises(UsageError, match="part of the input"):
        run_score(lake, f"{store.uri}/day/in.csv", output=f"{store.uri}/day/in.csv")
    with pytest.raises(UsageError, match="part of the input"):
        run_score(lake, f"{store.uri}/day/", output=f"{store.uri}/day/out.csv")
    with pytest.raises(UsageError, match="one output per input can only be written to a folder"):
        run_score(lake, f"{store.uri}/day/", output=f"{store.uri}/out/")


def test_an_object_that_is_replaced_after_the_listing_waits_for_the_next_run(
    store: ObjectStore, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("in.csv", b"text\ngood\n")
    fetch = mirror.Mirror.fetch

    def replaced(self: mirror.Mirror, source: Any) -> Any:
        store.write("in.csv", b"text\ngood\nbad\n")
        return fetch(self, source)

    with monkeypatch.context() as patched:
        patched.setattr(mirror.Mirror, "fetch", replaced)
        with pytest.raises(DataError, match="replaced or removed after this run had listed it"):
            run_score(lake, f"{store.uri}/in.csv", output=f"{store.uri}/out.csv")
    assert run_score(lake, f"{store.uri}/in.csv", output=f"{store.uri}/out.csv").written == 2


def test_a_file_uri_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "a b.csv").write_text("text\ngood\n")
    ingest(tmp_path / "one", (tmp_path / "a b.csv").as_uri())
    ingest(tmp_path / "two", tmp_path / "a b.csv")
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two")


def test_a_damaged_shard_is_read_again_from_the_bucket(store: ObjectStore, tmp_path: Path, command: Run) -> None:
    store.write("raw/a.csv", b"text,label\ngood,pos\nbad,neg\n")
    assert command("--lake", tmp_path / "lake", "ingest", f"{store.uri}/raw/").code == 0
    before = rows_of(tmp_path / "lake")
    (shard,) = (tmp_path / "lake" / "tokens").glob("*.parquet")
    shard.write_bytes(b"damaged")
    repaired = command("--lake", tmp_path / "lake", "repair")
    assert repaired.code == 0, repaired.stderr
    assert rows_of(tmp_path / "lake") == before


def test_a_night_reads_and_scores_a_bucket(store: ObjectStore, lake: Path, command: Run) -> None:
    (lake / "pipeline.toml").write_text(
        f'[ingest]\nsource = ["{store.uri}/raw/"]\n[nightly]\ninput = ["{store.uri}/new/"]\n'
    )
    store.write("raw/a.csv", b"text,label\ngood,pos\nbad,neg\n")
    night = command("--lake", lake, "nightly", "--retrain", "never")
    assert night.code == 0, night.stderr
    assert [step["command"] for step in night.receipt["metrics"]["steps"]] == ["ingest"]
    store.write("new/b.csv", b"text\ngood\n")
    night = command("--lake", lake, "nightly", "--retrain", "never")
    assert night.code == 0, night.stderr
    assert [step["command"] for step in night.receipt["metrics"]["steps"]] == ["ingest", "score"]
    assert (lake / "predictions" / "new" / "b.csv.parquet").exists()


def test_erase_names_objects_that_still_have_the_review(store: ObjectStore, tmp_path: Path, command: Run) -> None:
    store.write("raw/a.csv", b"text,label\ngood,pos\nbad,neg\n")
    assert command("--lake", tmp_path / "lake", "ingest", f"{store.uri}/raw/").code == 0
    erased = command("--lake", tmp_path / "lake", "erase", "--review-id", f"{store.uri}/raw/a.csv#1", "--yes")
    assert erased.code == 0, erased.stderr
    assert f"{store.uri}/raw/a.csv still has row 1" in erased.stderr


@pytest.fixture
def machine(store: ObjectStore, command: Run, tmp_path: Path) -> Machine:
    """Has its lake in the store, beside the sources."""
    return Machine(command, f"{store.uri}/lake", tmp_path / "cache")


def test_sources_and_outputs_beside_a_lake_in_a_bucket_are_named_by_their_uris(store: ObjectStore, machine: Machine) -> None:
    rows = [f"film {number} was {('bad', 'good')[number % 2]},{('neg', 'pos')[number % 2]}" for number in range(40)]
    store.write("raw/a.csv", "\n".join(["text,label", *rows, ""]).encode())
    machine.said("init", f"{store.uri}/raw/")
    content, _ = store.read("lake/pipeline.toml")
    assert tomllib.loads(content.decode())["ingest"]["source"] == [f"{store.uri}/raw/"]
    assert machine.done("ingest")["written"] == 40
    unmatched = machine.said("ingest", f"{store.uri}/raw/*.jsonl", code=66)
    assert f"no file or folder matches {store.uri}/raw/*.jsonl" in unmatched and ".scratch" not in unmatched
    machine.done("train", "--arch", "rnn", "--epochs", 1, "--embedding-dim", 4, "--hidden-dim", 4, "--no-baseline")
    scoring = ("score", f"{store.uri}/raw/a.csv", "--output")
    for code in (0, 99):
        receipt = machine.done(*scoring, f"{store.uri}/scored.parquet", code=code)
        assert receipt["outputs"]["predictions"] == f"{store.uri}/scored.parquet"
    refused = machine.said(*scoring, f"{store.uri}/raw/a.csv", code=2)
    assert f"--output {store.uri}/raw/a.csv is part of the input" in refused
    erased = machine.done("erase", "--review-id", f"{store.uri}/raw/a.csv#1", "--yes")
    assert erased["metrics"]["outside"] == [f"{store.uri}/scored.parquet"]


def test_a_prefix_around_the_lake_is_read_without_what_the_lake_has_written(store: ObjectStore, machine: Machine) -> None:
    store.write("lake/raw/a.csv", b"text,label\ngood,pos\nbad,neg\n")
    assert machine.done("ingest")["written"] == 2
    store.write("b.csv", b"text,label\ndull,neg\n")
    receipt = machine.done("ingest", f"{store.uri}/")
    assert (receipt["read"], receipt["known"], receipt["written"], receipt["quarantined"]) == (3, 2, 1, 0)
