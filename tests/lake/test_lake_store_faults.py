"""Machines that write to one lake on a failing S3 server: nothing is lost, and nothing is there twice."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.lake.store import open_store
from tests.support.commands import Run
from tests.support.faulty_proxy import Faults, faulty
from tests.support.machines import Machine, review_ids
from tests.support.paths import ROOT
from tests.support.s3_server import empty_uri, environment, s3_server

pytestmark = pytest.mark.s3

DELIVERIES, REVIEWS = 5, 20
WITH_SHORT_LEASES = """
import os, signal, sys

import pipeline.lake.lease
from pipeline.cli.app import run_command_line
from pipeline.lake.working_copy import WorkingCopy

pipeline.lake.lease.LEASE_SECONDS = 2.0
commit = WorkingCopy.commit

def stop_and_commit(*arguments):
    os.kill(os.getpid(), signal.SIGSTOP)
    return commit(*arguments)

if sys.argv[1] == "stops before it commits":
    WorkingCopy.commit = stop_and_commit
sys.argv = ["pipeline", *sys.argv[2:]]
sys.exit(run_command_line())
"""


@pytest.fixture
def faults() -> Faults:
    """Every tenth request is refused, every fifth download breaks off, and every seventh answer to a write is lost."""
    return Faults(refuse_every=10, hang_up_every=5, lose_every=7)


@pytest.fixture
def lake(faults: Faults) -> Iterator[str]:
    """The URI of an empty lake."""
    with s3_server() as server, faulty(server, faults) as url, environment(url):
        yield empty_uri()


@pytest.fixture
def deliveries(tmp_path: Path) -> list[Path]:
    paths = []
    for number in range(2 * DELIVERIES):
        rows = [f"film {number} was good or bad {row},{'pos' if row % 2 else 'neg'}" for row in range(REVIEWS)]
        paths.append(tmp_path / f"{number}.csv")
        paths[-1].write_text("\n".join(["text,label", *rows]) + "\n")
    return paths


def check_whole(machine: Machine, lake: str, deliveries: list[Path]) -> None:
    """Each review of the deliveries is in the table once, and the log has no gap."""
    assert machine.said("doctor", "--verify")
    store = open_store(lake)
    entries = [stored.name for stored in store.list("tokens/_delta_log/0")]
    assert entries == [f"tokens/_delta_log/{version:020}.json" for version in range(len(entries))]
    found = review_ids((machine.root / "tokens").glob("*.parquet"))
    assert found == sorted(f"{path.as_uri()}#{row}" for path in deliveries for row in range(REVIEWS))


@pytest.mark.parametrize(("header", "named"), [("if-none-match", "If-None-Match"), ("if-match", "If-Match")])
def test_a_lake_on_a_store_without_conditional_writes_is_refused(
    lake: str, faults: Faults, deliveries: list[Path], command: Run, tmp_path: Path, header: str, named: str
) -> None:
    faults.drop = (header,)
    machine = Machine(command, lake, tmp_path / "one")
    ingested = machine.run("ingest", deliveries[0])
    assert ingested.code == 69
    assert f"{lake} does not support conditional writes ({named})" in ingested.stderr
    assert list(open_store(lake).list("tokens/")) == []
    doctor = machine.run("doctor")
    assert doctor.code == 69 and f"does not support conditional writes ({named})" in doctor.stdout


def test_two_writers_on_a_failing_server_lose_nothing_and_double_nothing(
    lake: str, faults: Faults, deliveries: list[Path], pipeline: Run, tmp_path: Path
) -> None:
    machines = [Machine(pipeline, lake, tmp_path / name) for name in ("one", "two")]
    codes: list[int] = []

    def deliver(machine: Machine, paths: list[Path]) -> None:
        for path in paths:
            for _ in range(60):
                code = machine.run("ingest", path).code
                codes.append(code)
                if code not in (69, 75):
                    break

    threads = [
        threading.Thread(target=deliver, args=(machine, deliveries[number::2])) for number, machine in enumerate(machines)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes.count(0) == 2 * DELIVERIES and set(codes) <= {0, 69, 75}
    assert min(faults.counts[what] for what in ("refused", "hung up", "lost")) > 0, faults.counts
    check_whole(machines[0], lake, deliveries)


def test_a_writer_that_was_suspended_longer_than_its_lease_commits_nothing_twice(
    lake: str, deliveries: list[Path], pipeline: Run, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    first = Machine(pipeline, lake, one)
    first.done("ingest", deliveries[0])

    def started(way: str, cache: Path, path: Path) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", WITH_SHORT_LEASES, way, "--lake", lake, "ingest", path]
        environment = {**os.environ, "PIPELINE_CACHE": str(cache)}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)

    suspended = started("stops before it commits", one, deliveries[1])
    _, status = os.waitpid(suspended.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    for _ in range(20):
        other = started("commits", two, deliveries[2])
        said = other.communicate()[1]
        if other.returncode != 75:
            break
        assert "is locked by another run (process" in said
    assert other.returncode == 0, said
    suspended.send_signal(signal.SIGCONT)
    said = suspended.communicate()[1]
    assert suspended.returncode == 75, said
    first.done("ingest", deliveries[1])
    check_whole(first, lake, deliveries[:3])
