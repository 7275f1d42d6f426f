"""Whole commands with `--engine ray`: workers that are killed, signals, what is said, and clusters that see other files."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.commands import Run
from tests.support.ingested import files_of, ingest
from tests.support.paths import ROOT
from tests.support.ray_cluster import processes_under
from tests.support.scoring import make_bundle, make_texts, run_score
from tests.support.tables import write_csv

pytest.importorskip("ray", reason="Ray is not installed: pip install 'review-pipeline[ray]'")

pytestmark = pytest.mark.cluster

WITHOUT_TOKEN = {"RAY_AUTH_MODE": "disabled"}
BUSY = "ray::guarded"
"""The title of a worker's process while it runs one of our tasks."""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for temporary files: the names of Ray's sockets in it must be short."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


def start(short: Path, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
    """A command with two Ray tasks at a time."""
    command = [sys.executable, "-P", "-m", "pipeline", *map(str, arguments), "--engine", "ray"]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(short), **environment},
    )


def finished(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """The exit code of a command, and what it said."""
    _, stderr = process.communicate(timeout=240)
    return process.returncode, stderr


KINDS = ("guarded_stream", "guarded_pair", "guarded")
"""Tasks: those that read, those that tokenize, and those that count, write shards and score."""


def kill_workers(process: "subprocess.Popen[str]") -> list[str]:
    """Kills a worker in the middle of a task of each kind, one after another; gives the kinds that were met."""
    killed = list[str]()
    while process.poll() is None and len(killed) < len(KINDS):
        for child, title in processes_under(process.pid).items():
            if title.split(" ")[0] == f"ray::{KINDS[len(killed)]}":
                os.kill(child, signal.SIGKILL)
                killed.append(KINDS[len(killed)])
                break
        time.sleep(0.02)
    return killed


def write_reviews(folder: Path, rows: int) -> Path:
    folder.mkdir()
    for number in range(4):
        labels = ("neg" if row % 3 else "pos" for row in range(rows))
        texts = (f"film {number} was word{row % 997} {'and so on ' * 40}" for row in range(rows))
        write_csv(folder / f"{number}.csv", "text,label", *map(",".join, zip(texts, labels, strict=True)))
    return folder


def test_ingest_with_killed_workers(tmp_path: Path, short: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews", 20_000)
    receipt = ingest(tmp_path / "local", reviews)
    process = start(short, "--lake", tmp_path / "ray", "ingest", reviews, "--workers", 2)
    assert kill_workers(process) == list(KINDS)
    code, stderr = finished(process)
    assert code == 0, stderr
    assert receipt.written == 80_000
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


@pytest.mark.parametrize("arch", ["bilstm", "attention-rnn"])
def test_score_with_killed_workers(tmp_path: Path, short: Path, arch: str) -> None:
    make_bundle(tmp_path / "lake/models/first", arch=arch)
    (tmp_path / "lake/models/LATEST").write_text("first\n")
    pq.write_table(pa.table({"text": make_texts(20_000) * 8}), tmp_path / "in.parquet", row_group_size=10_000)
    assert run_score(tmp_path / "lake", tmp_path / "in.parquet", output=tmp_path / "local.parquet").written == 160_000
    process = start(
        short,
        "--lake",
        tmp_path / "lake",
        "score",
        tmp_path / "in.parquet",
        "--output",
        tmp_path / "ray.parquet",
        "--workers",
        2,
    )
    assert kill_workers(process) == list(KINDS)
    code, stderr = finished(process)
    assert code == 0, stderr
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "local.parquet").read_bytes()


def at_work(process: "subprocess.Popen[str]") -> dict[int, str]:
    """All processes under a command, as soon as one of them runs a task."""
    family: dict[int, str] = {}
    while not any(title.startswith(BUSY) for title in family.values()):
        assert process.poll() is None
        family = processes_under(process.pid)
        time.sleep(0.05)
    return family


def left_of(family: dict[int, str], seconds: float) -> dict[int, str]:
    """Which of the processes are still there after so many seconds, or as soon as there are none."""
    deadline = time.monotonic() + seconds
    while left := {pid: title for pid, title in family.items() if Path(f"/proc/{pid}").exists()}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_leaves_nothing_running(tmp_path: Path, short: Path, number: signal.Signals) -> None:
    reviews = write_reviews(tmp_path / "reviews", 20_000)
    process = start(short, "--lake", tmp_path / "lake", "ingest", reviews, "--workers", 2)
    family = at_work(process)
    process.send_signal(number)
    code, stderr = finished(process)
    assert code == 128 + number, stderr
    assert "Traceback" not in stderr
    assert left_of(family, 10) == {}
    assert list(short.iterdir()) == []
    assert not files_of(tmp_path / "lake")
    assert not (tmp_path / "lake/.scratch/ingest").exists()


def test_a_killed_command_leaves_nothing_running(tmp_path: Path, short: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews", 20_000)
    process = start(short, "--lake", tmp_path / "lake", "ingest", reviews, "--workers", 2)
    family = at_work(process)
    process.kill()
    assert finished(process)[0] == -signal.SIGKILL
    # Ray's agents look after their parent once in a while; they do no work.
    assert left_of({pid: title for pid, title in family.items() if "Agent" not in title}, 60) == {}
    assert finished(start(short, "--lake", tmp_path / "lake", "ingest", reviews, "--workers", 2))[0] == 0


def test_nothing_of_ray_is_said(tmp_path: Path, short: Path) -> None:
    reviews = write_csv(tmp_path / "reviews.csv", "text,label", "good,pos", "bad,neg")
    process = start(short, "--quiet", "--lake", tmp_path / "lake", "ingest", reviews, "--workers", 2)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")
    assert len(stdout.splitlines()) == 1
    assert list(short.iterdir()) == []


def test_a_process_may_start_several_clusters_and_leaves_its_environment(tmp_path: Path, short: Path) -> None:
    reviews = write_csv(tmp_path / "reviews.csv", "text,label", "good,pos", "bad,neg")
    script = f"""
import os, pathlib
from tests.support.ingested import ingest
before = dict(os.environ)
for number in range(2):
    assert ingest(pathlib.Path({str(tmp_path)!r}, str(number)), pathlib.Path({str(reviews)!r}), engine="ray").written == 2
assert os.environ == before, set(os.environ.items()) ^ set(before.items())
"""
    home = {"HOME": str(tmp_path), "TMPDIR": str(short)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, **home}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".ray").exists()


def test_no_cluster_at_the_address(tmp_path: Path, short: Path) -> None:
    reviews = write_csv(tmp_path / "reviews.csv", "text,label", "good,pos", "bad,neg")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        process = start(short, "--lake", tmp_path / "lake", "ingest", reviews, RAY_ADDRESS=address)
        code, stderr = finished(process)
    assert code == 69, stderr
    assert f"no Ray cluster at RAY_ADDRESS={address}" in stderr
    assert "unset RAY_ADDRESS to start a cluster for the run" in stderr
    with socket.create_server(("127.0.0.1", 0)) as other:  # it never answers
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, stderr = finished(start(short, "--lake", tmp_path / "lake", "ingest", reviews, RAY_ADDRESS=address))
    assert code == 69, stderr
    assert finished(start(short, "--lake", tmp_path / "lake", "ingest", reviews, "--workers", 2))[0] == 0


@pytest.mark.parametrize(
    "address", ["foo", "http://127.0.0.1:8265", "127.0.0.1:99999", "127.0.0.1", "ray://127.0.0.1:10001"]
)
def test_what_is_not_the_address_of_a_cluster(
    tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    reviews = write_csv(tmp_path / "reviews.csv", "text,label", "good,pos", "bad,neg")
    done = command("--lake", tmp_path / "lake", "ingest", reviews, "--engine", "ray")
    assert (done.code, f"RAY_ADDRESS={address}" in done.stderr) == (2, True), done.stderr


def test_the_address_local_is_a_cluster_for_the_run(tmp_path: Path, short: Path) -> None:
    reviews = write_csv(tmp_path / "reviews.csv", "text,label", "good,pos", "bad,neg")
    process = start(short, "--lake", tmp_path / "lake", "ingest", reviews, "--workers", 2, RAY_ADDRESS="local")
    code, stderr = finished(process)
    assert (code, "a cluster of its own on this machine" in stderr) == (0, True), stderr


@contextmanager
def head(short: Path, *prefix: str, first: str = "true") -> Iterator[tuple[str, int]]:
    """A cluster of its own: its address, and the process under which its own run.

    Args:
        prefix: words before the command.
        first: a command of the shell that runs before it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray = shutil.which("ray", path=str(Path(sys.executable).parent))
    assert ray is not None
    start_ray = (
        f"{first} && exec '{ray}' start --head --block --port {port} --num-cpus 2 "
        f"--object-store-memory {300 << 20} --include-dashboard false --node-ip-address 127.0.0.1 --temp-dir '{short}' "
        "--disable-usage-stats"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **WITHOUT_TOKEN}
    with subprocess.Popen(
        [*prefix, "sh", "-c", start_ray], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "--block" in line:
                break
        else:
            pytest.fail("".join(said))
        family = processes_under(process.pid)
        try:
            yield f"127.0.0.1:{port}", process.pid
        finally:
            for pid in {process.pid, *family, *processes_under(process.pid)}:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def elsewhere(tmp_path: Path, short: Path) -> Iterator[str]:
    """The address of a cluster whose workers see an empty folder in place of `tmp_path / "here"`."""
    (tmp_path / "here").mkdir()
    if shutil.which("unshare") is None or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make a mount namespace")
    with head(short, "unshare", "--mount", first=f"mount -t tmpfs none '{tmp_path / 'here'}'") as (address, _):
        yield address


def kill_one(parent: int, name: str) -> None:
    """Kills the process of Ray with a name, which runs under another."""
    (pid,) = (pid for pid, command in processes_under(parent).items() if command.split(" ")[0].endswith(f"/{name}"))
    os.kill(pid, signal.SIGKILL)


def test_a_cluster_that_loses_its_head(tmp_path: Path, short: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews", 20_000)
    with head(short) as (address, parent):
        process = start(short, "--lake", tmp_path / "lake", "ingest", reviews, RAY_ADDRESS=address, **WITHOUT_TOKEN)
        while not any(title.startswith(BUSY) for title in processes_under(parent).values()):
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(parent, signal.SIGSTOP)  # 'ray start --block' ends what is left on its machine; ours stands for another one
        kill_one(parent, "gcs_server")
        code, stderr = finished(process)
    assert code == 69, stderr
    assert "the head of the Ray cluster at " in stderr and "has not answered for 3" in stderr
    (record,) = (tmp_path / "lake/runs").glob("*.json")
    assert json.loads(record.read_text())["outcome"] == "failed"
    assert not (tmp_path / "lake/.scratch/ingest").exists()
    assert ingest(tmp_path / "lake", reviews).written == 80_000


def test_ray_ends_on_the_machine_of_the_command(tmp_path: Path, short: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews", 20_000)
    process = start(short, "--lake", tmp_path / "lake", "ingest", reviews, "--workers", 2)
    at_work(process)
    kill_one(process.pid, "raylet")
    assert finished(process)[0] != 0  # Ray ends the process, which cannot say anything
    assert not (tmp_path / "lake/tokens").exists()
    assert ingest(tmp_path / "lake", reviews).written == 80_000
    assert not (tmp_path / "lake/.scratch/ingest").exists()


def test_workers_that_do_not_see_the_sources_or_the_model(tmp_path: Path, short: Path, elsewhere: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    hidden = write_csv(here / "reviews.csv", "text,label", "good,pos", "bad,neg")
    process = start(short, "--lake", tmp_path / "lake", "ingest", hidden, RAY_ADDRESS=elsewhere, **WITHOUT_TOKEN)
    code, stderr = finished(process)
    assert code == 66, stderr
    assert f"{hidden} is not visible on the Ray worker" in stderr
    assert "put them on a file system that all machines mount at the same path" in stderr

    shared = there / "reviews.csv"
    shared.write_bytes(hidden.read_bytes())
    assert (
        finished(start(short, "--lake", tmp_path / "lake", "ingest", shared, RAY_ADDRESS=elsewhere, **WITHOUT_TOKEN))[0] == 0
    )

    make_bundle(here / "models/first")
    (here / "models/LATEST").write_text("first\n")
    process = start(
        short, "--lake", here, "score", hidden, "--output", tmp_path / "out.csv", RAY_ADDRESS=elsewhere, **WITHOUT_TOKEN
    )
    code, stderr = finished(process)
    assert code == 66, stderr
    process = start(
        short, "--lake", here, "score", shared, "--output", tmp_path / "out.csv", RAY_ADDRESS=elsewhere, **WITHOUT_TOKEN
    )
    code, stderr = finished(process)
    assert code == 0, stderr
    run_score(here, shared, output=tmp_path / "local.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
