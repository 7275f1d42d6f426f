"""Locks in a store: one holder at a time, also when holders crash, are suspended, or lose the store."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.errors import LockedError, StorageUnavailableError
from pipeline.lake.lease import Lease, LeaseLostError, free_leases, leased
from pipeline.lake.store import Store
from tests.support.paths import ROOT
from tests.support.stores import EmptyStores, stores

HOLDER = """
import sys
from pipeline.lake.lease import LeaseLostError, leased
from pipeline.lake.store import open_store
with leased(open_store(sys.argv[1]), "work", "the work", seconds=float(sys.argv[2])) as lease:
    print("held", flush=True)
    for line in sys.stdin:
        try:
            lease.check()
            print("still held", flush=True)
        except LeaseLostError as error:
            print(error, flush=True)
"""


@pytest.fixture(params=stores(), scope="module")
def empty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptyStores]:
    """Makes empty stores of one kind."""
    with request.param(tmp_path_factory) as make:
        yield make


@pytest.fixture
def store(empty: EmptyStores) -> Store:
    return empty()


@contextmanager
def holder(store: Store, seconds: float) -> "Iterator[subprocess.Popen[str]]":
    """A process that holds the lease and, for each line of its input, says whether it still does."""
    command = [sys.executable, "-c", HOLDER, store.uri, str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def ask(process: "subprocess.Popen[str]") -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_one_holds_it_and_the_next_after_it(store: Store) -> None:
    with leased(store, "work", "the work") as lease:
        lease.check()
        with (
            pytest.raises(LockedError, match=r"is locked by another run \(process \d+ on .*, renewed until [0-9:]{8} UTC\)"),
            leased(store, "work", "the work"),
        ):
            pass
        with leased(store, "other", "other work"):
            pass
    with leased(store, "work", "the work"):
        pass


def test_it_is_renewed_while_it_is_held(store: Store) -> None:
    with leased(store, "work", "the work", seconds=0.4) as lease:
        time.sleep(1.5)
        with pytest.raises(LockedError), leased(store, "work", "the work", seconds=0.4):
            pass
        lease.check()


@pytest.mark.slow
def test_who_waits_gets_it_when_it_is_released(store: Store) -> None:
    entered = threading.Event()

    def wait() -> None:
        with leased(store, "work", "the work", wait_seconds=30):
            entered.set()

    waiting = threading.Thread(target=wait)
    with leased(store, "work", "the work"):
        waiting.start()
        assert not entered.wait(0.3)
    assert entered.wait(20)
    waiting.join()


@pytest.mark.slow
def test_that_of_a_killed_holder_expires(store: Store) -> None:
    with holder(store, seconds=1.0) as process:
        process.kill()
        process.wait()
        with pytest.raises(LockedError, match="expires after 1 seconds"), leased(store, "work", "the work", seconds=1.0):
            pass
        with leased(store, "work", "the work", wait_seconds=20, seconds=1.0) as lease:
            lease.check()


@pytest.mark.slow
def test_a_holder_that_was_suspended_for_too_long_finds_that_it_lost(store: Store) -> None:
    with holder(store, seconds=1.0) as process:
        assert ask(process) == "still held\n"
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        with leased(store, "work", "the work", wait_seconds=20, seconds=1.0) as lease:
            process.send_signal(signal.SIGCONT)
            assert "the work was locked by this run, but the lock expired" in ask(process)
            time.sleep(1.5)  # it must not take it back, either
            lease.check()
        assert "another run took over" in ask(process)


def test_a_holder_that_was_suspended_and_that_nobody_replaced_goes_on(store: Store) -> None:
    with holder(store, seconds=0.5) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        assert ask(process) == "still held\n"
        with pytest.raises(LockedError), leased(store, "work", "the work", seconds=0.5):
            pass


def test_of_many_that_take_over_one_wins(store: Store) -> None:
    with leased(store, "work", "the work"):
        pass
    won: list[int] = []
    start = threading.Barrier(8)

    def take(number: int) -> None:
        lease = Lease(store, ".locks/work.lease", "the work", 60.0)
        start.wait()
        try:
            lease.acquire(0.0)
        except LockedError:
            return
        won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_store_that_is_away_for_a_moment_does_not_cost_the_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with leased(store, "work", "the work", seconds=0.4) as lease:
        with monkeypatch.context() as patched:

            def fail(*_: object, **__: object) -> None:
                raise StorageUnavailableError("away")

            patched.setattr(type(store), "write", fail)
            time.sleep(0.6)
            with pytest.raises(StorageUnavailableError, match="away"):
                lease.check()
        lease.check()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", json.dumps({"expires": 5, "holder": "x"}).encode()])
def test_an_object_that_is_no_lease_is_replaced(store: Store, content: bytes) -> None:
    store.write(".locks/work.lease", content)
    with leased(store, "work", "the work"):
        pass


def test_a_lease_of_a_clock_that_is_wrong_does_not_lock_for_years(store: Store) -> None:
    note = {"holder": "process 1 on elsewhere", "expires": "2099-01-01T00:00:00+00:00", "serial": "1", "owner": ""}
    store.write(".locks/work.lease", json.dumps(note).encode())
    assert free_leases(store) == [".locks/work.lease"]
    with leased(store, "work", "the work"), pytest.raises(LockedError), leased(store, "work", "the work"):
        pass


def test_the_message_of_a_lost_lease_says_what_to_do(store: Store) -> None:
    with leased(store, "work", "the work", seconds=0.2) as lease:
        store.write(".locks/work.lease", b"taken by another")
        time.sleep(0.4)
        with pytest.raises(LeaseLostError, match="run the same command again") as lost:
            lease.check()
    assert lost.value.exit_code == 75
    assert store.read(".locks/work.lease")[0] == b"taken by another"
