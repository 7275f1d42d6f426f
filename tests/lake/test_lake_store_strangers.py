"""A lake on a store to which others do what they like: objects that are not the lake's, files that are damaged or gone."""

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import CannotWriteError
from pipeline.lake.working_copy import WorkingCopy
from tests.support.commands import Run
from tests.support.machines import Machine, contents
from tests.support.s3_server import BUCKET, empty_uri, environment, put_object, s3_server
from tests.support.table_rows import table_rows

CSV = b"text,label\nit was good,pos\nit was bad,neg\n"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_bytes(CSV)
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url, environment(url):
        yield url


@pytest.mark.s3
def test_folders_that_a_console_made_are_empty(server: str, command: Run, tmp_path: Path, reviews: Path) -> None:
    uri = empty_uri()
    prefix = uri.removeprefix(f"s3://{BUCKET}/")
    for marker in ("", "raw/", "incoming/", "models/", "tokens/", "raw/monday/"):
        put_object(server, f"{prefix}/{marker}")
    machine = Machine(command, uri, tmp_path / "cache")
    assert machine.done("ingest", reviews)["written"] == 2
    put_object(server, f"{prefix}/raw/monday/a.csv", CSV)
    assert machine.done("ingest")["written"] == 2
    for marker in ("monday/", "monday/early/", "tuesday/"):
        put_object(server, f"{prefix} of others/{marker}")
    put_object(server, f"{prefix} of others/monday/early/a.csv", CSV)
    assert machine.done("ingest", f"{uri} of others/")["written"] == 2


def test_what_is_not_of_the_lake_is_not_fetched(machine: Machine, store: Path, reviews: Path, command: Run) -> None:
    Machine(command, f"{machine.lake}/inner", machine.cache.parent / "inner").done("ingest", reviews)
    (store / "deliveries").mkdir()
    for name in ("big.tar.gz", "deliveries/a.csv"):
        (store / name).write_bytes(CSV)
    assert machine.done("ingest", f"{machine.lake}/deliveries/")["written"] == 2
    assert machine.done("ingest", reviews)["written"] == 2
    here = contents(machine.root)
    assert not [name for name in here if name.startswith(("inner/", "big"))]
    before = contents(store / "inner")
    machine.run("vacuum", "--keep-hours", 0)
    assert contents(store / "inner") == before and (store / "big.tar.gz").exists()


def test_of_an_emptied_lake_the_working_copy_stays_and_restores_it(
    machine: Machine, other: Machine, store: Path, reviews: Path
) -> None:
    machine.done("ingest", reviews)
    shutil.rmtree(store)
    for words in (("status",), ("ingest", reviews), ("runs",)):
        outcome = machine.run(*words)
        assert outcome.code == 65, outcome.stderr
        assert f"{machine.lake} has no table any more" in outcome.stderr and str(machine.root.parent) in outcome.stderr
        assert "Nothing was done" in outcome.stderr
    assert not list(store.rglob("*.parquet"))
    shutil.copytree(machine.root, store)  # the first remedy
    assert machine.done("ingest", reviews, code=99)["known"] == 2
    assert other.done("ingest", reviews, code=99)["known"] == 2
    assert other.run("doctor", "--verify").code == 0
    shutil.rmtree(store)
    shutil.rmtree(machine.root.parent)  # the second
    assert machine.done("ingest", reviews)["written"] == 2


def test_of_another_lake_under_the_same_name_nothing_is_taken(
    machine: Machine, other: Machine, store: Path, reviews: Path, tmp_path: Path
) -> None:
    machine.done("ingest", reviews)
    store.rename(tmp_path / "first")
    late = tmp_path / "late.csv"
    late.write_text("text,label\nlater it was good,pos\n")
    other.done("ingest", late)
    outcome = machine.run("ingest", reviews)
    assert outcome.code == 65 and "has another table" in outcome.stderr, outcome.stderr
    assert list(table_rows(store).values()) == [1]
    elsewhere = replace(machine, cache=tmp_path / "elsewhere")  # one remedy
    assert elsewhere.done("ingest", late, code=99)["known"] == 1
    shutil.rmtree(machine.root.parent)  # another one
    assert machine.done("ingest", late, code=99)["known"] == 1


@pytest.mark.parametrize("after_a_brace", [False, True])
def test_a_damaged_newest_entry_in_the_store_is_named_and_repaired(
    after_a_brace: bool, machine: Machine, other: Machine, store: Path, reviews: Path, tmp_path: Path
) -> None:
    machine.done("ingest", reviews)
    (entry,) = store.glob("tokens/_delta_log/*.json")
    whole = entry.read_bytes()
    entry.write_bytes(whole[: whole.index(b"}") + 1] if after_a_brace else whole[: whole.index(b"}")])
    late = tmp_path / "late.csv"
    late.write_text("text,label\nlater it was good,pos\n")
    for one in (machine, other):
        outcome = one.run("ingest", late)
        assert outcome.code == 65 and f"{entry.name}, the newest entry" in outcome.stderr, outcome.stderr
        assert "damaged in the store" in outcome.stderr and "pipeline repair" in outcome.stderr
    assert other.done("repair")["metrics"]["torn_entries"] == 1
    for one in (machine, other):
        one.run("ingest", reviews, late)
        assert sorted(table_rows(store).values()) == [1] * 3
        assert one.run("doctor", "--verify").code == 0


@pytest.mark.parametrize("content", ["", "garbage", "[]", '{"version": 1}', '{"version": 1, "uri": 3}'])
def test_a_working_copy_that_forgot_whose_it_is_learns_it_again(
    content: str, machine: Machine, reviews: Path, pipeline: Run
) -> None:
    machine.done("ingest", reviews)
    (machine.root / ".origin" / "origin.json").write_text(content)
    fresh = Machine(pipeline, machine.lake, machine.cache)  # a process that has not read it before
    assert fresh.done("ingest", reviews, code=99)["known"] == 2


def test_a_checkpoint_that_may_not_be_written_to_the_store_does_not_end_the_training(
    machine: Machine, reviews: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine.done("ingest", reviews)

    def denied(*_: object) -> None:
        raise CannotWriteError("the store denies writing")

    monkeypatch.setattr(WorkingCopy, "push", denied)
    WorkingCopy(machine.root, machine.lake).push_if_possible("train")
    assert "only on this machine until the next push: the store denies writing" in caplog.text


def test_a_working_copy_that_cannot_be_written_is_named_by_its_place_on_this_machine(
    machine: Machine, other: Machine, store: Path, reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.cache.write_text("not a folder")
    machine.done("ingest", reviews)
    before = contents(store)
    outcome = other.run("runs")
    assert outcome.code == 73 and str(other.cache) in outcome.stderr and "PIPELINE_CACHE" in outcome.stderr

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    late = reviews.with_name("late.csv")
    late.write_bytes(CSV)
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", full)
        outcome = machine.run("ingest", late)
    assert outcome.code == 73 and "No space left on device" in outcome.stderr
    assert str(machine.root.parent) in outcome.stderr and "PIPELINE_CACHE" in outcome.stderr
    assert {name: content for name, content in contents(store).items() if name in before} == before
    assert machine.done("ingest", late)["written"] == 2
