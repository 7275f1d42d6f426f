"""Commands on a lake while its store fails, other machines write, or the holder of a lock is suspended: nothing is lost or
doubled."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.lake import object_store
from pipeline.lake.object_store import ObjectStore
from pipeline.lake.store import Stored, open_store
from tests.support.commands import Run
from tests.support.faulty_proxy import Faults, faulty
from tests.support.fork_server import forked_pipeline
from tests.support.machines import Machine
from tests.support.paths import ROOT
from tests.support.s3_server import empty_uri, environment, s3_server
from tests.support.table_rows import table_rows


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def uri(server: str, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty lake in a bucket, behind a proxy with faults."""
    monkeypatch.setattr(object_store, "PATIENCE_SECONDS", 1.0)
    with faulty(server, faults) as url, environment(url):
        yield empty_uri()


def reviews(path: Path, name: str, count: int) -> Path:
    """A file of reviews."""
    lines = (f"{name} {n} says that it was {('bad', 'good')[n % 2]},{('neg', 'pos')[n % 2]}\n" for n in range(count))
    path.write_text("text,label\n" + "".join(lines))
    return path


def rows_in(uri: str, folder: Path) -> list[int]:
    """How often each review is in the table."""
    store = open_store(uri.replace("file+store://", "file://"))
    for stored in store.list("tokens/"):
        store.fetch(stored.name, folder / stored.name)
    return list(table_rows(folder).values())


@pytest.mark.s3
@pytest.mark.parametrize("landed", [False, True])
def test_the_server_dies_in_the_commit(
    landed: bool, uri: str, faults: Faults, command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Machine(command, uri, tmp_path / "one"), Machine(command, uri, tmp_path / "two")
    first, second = reviews(tmp_path / "first.csv", "first", 20), reviews(tmp_path / "second.csv", "second", 20)
    one.done("ingest", first)
    write = ObjectStore.write

    def dying(self: ObjectStore, name: str, content: Any, **options: Any) -> Stored:
        if name.startswith("tokens/_delta_log/"):
            if landed:
                write(self, name, content, **options)
            faults.refuse_every = 1
        return write(self, name, content, **options)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "write", dying)
        outcome = one.run("ingest", second)
    assert outcome.code == 69 and uri in outcome.stderr, outcome.stderr
    faults.refuse_every = 0
    assert one.done("ingest", second, code=99 if landed else 0)["written"] == (0 if landed else 20)
    assert two.done("ingest", first, second, code=99)["known"] == 40
    assert rows_in(uri, tmp_path / "seen") == [1] * 40
    assert two.run("doctor", "--verify").code == 0


@pytest.mark.s3
def test_without_a_server_a_command_ends_with_69_and_says_what_to_do(
    uri: str, faults: Faults, command: Run, tmp_path: Path
) -> None:
    machine = Machine(command, uri, tmp_path / "one")
    machine.done("ingest", reviews(tmp_path / "first.csv", "first", 20))
    faults.refuse_every = 1
    for words in (("status",), ("runs",), ("ingest", tmp_path / "first.csv")):
        outcome = machine.run(*words)
        assert outcome.code == 69, outcome.stderr
        assert uri in outcome.stderr and "Nothing was done" in outcome.stderr and "the-secret" not in outcome.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", pytest.param("s3", marks=pytest.mark.s3)])
def test_two_machines_that_ingest_at_the_same_time(
    kind: str, request: pytest.FixtureRequest, pipeline: Run, tmp_path: Path
) -> None:
    uri = request.getfixturevalue("uri") if kind == "s3" else f"file+store://{tmp_path}/store"
    files = [reviews(tmp_path / f"{number}.csv", f"film {number}", 30) for number in range(6)]

    def ingest_all(name: str, mine: list[Path]) -> int:
        machine = Machine(pipeline, uri, tmp_path / name)
        told = 0
        for file in mine:
            until = time.monotonic() + 120
            while (outcome := machine.run("ingest", file, "--workers", 0)).code == 75:
                assert time.monotonic() < until, outcome.stderr
                told += 1
            assert outcome.code == 0, outcome.stderr
        return told

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(ingest_all, ("one", "two"), (files[::2], files[1::2])))
    assert rows_in(uri, tmp_path / "seen") == [1] * 180
    print(f"told to run again: {told}")


@pytest.mark.slow
def test_a_run_that_is_suspended_until_another_took_over_commits_nothing(pipeline: Run, tmp_path: Path) -> None:
    store = tmp_path / "store"
    uri = f"file+store://{store}"
    other = Machine(pipeline, uri, tmp_path / "two")
    mine, theirs = reviews(tmp_path / "mine.csv", "mine", 20_000), reviews(tmp_path / "theirs.csv", "theirs", 30)
    other.done("ingest", reviews(tmp_path / "first.csv", "first", 30))
    lease = store / ".locks" / "ingest.lease"
    before = lease.read_bytes()
    words = [*forked_pipeline(), "--lake", uri, "ingest", str(mine), "--json"]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "PIPELINE_CACHE": str(tmp_path / "one")}
    with subprocess.Popen(words, env=settings, cwd=ROOT, stderr=subprocess.PIPE, text=True, process_group=0) as child:
        while lease.read_bytes() == before:
            assert child.poll() is None
            time.sleep(0.002)
        time.sleep(0.2)  # it has written the lease, and reads
        os.killpg(child.pid, signal.SIGSTOP)
        note = json.loads(lease.read_bytes())
        lease.write_text(json.dumps(note | {"expires": "2026-01-01T00:00:00+00:00"}))  # as if it had slept for so long
        try:
            assert other.done("ingest", theirs)["written"] == 30
        finally:
            os.killpg(child.pid, signal.SIGCONT)
        _, said = child.communicate(timeout=120)
    assert child.returncode == 75, said
    assert "run the same command again" in said
    assert sum(table_rows(store).values()) == 60
    machine = Machine(pipeline, uri, tmp_path / "one")
    assert machine.done("ingest", mine)["written"] == 20_000
    assert set(table_rows(store).values()) == {1}
    assert machine.run("doctor", "--verify").code == 0
