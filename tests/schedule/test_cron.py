"""Nights under a real cron daemon at a minute's schedule: what it runs and what it mails.

Needs root, for a mount namespace in which cron has a spool of its own and the mail goes to a folder; and cron's daemon, on
the PATH or in the environment variable CRON.
"""

import email
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Run
from tests.support.paths import ROOT

CRON = os.environ.get("CRON") or shutil.which("cron") or ""
CRONTAB = ROOT / "jobs" / "schedule" / "crontab"
SETTINGS = '[ingest]\nmax-bad = "50%"\n\n[train]\narch = "nbsvm"\n'
PRIVATE = """
set -e
mount -t tmpfs tmpfs /var/spool && mkdir -p /var/spool/cron/crontabs
mkdir -p /etc/cron.d && mount -t tmpfs tmpfs /etc/cron.d
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /usr/sbin
cp "$FOLDER/sendmail" /usr/sbin/sendmail
cp "$FOLDER/crontab" /var/spool/cron/crontabs/root
chmod 600 /var/spool/cron/crontabs/root
exec "$FOLDER/cron" -f
"""
SENDMAIL = """#!/bin/sh
cat > "{folder}/mail/.$$" && mv "{folder}/mail/.$$" "{folder}/mail/$(date +%s%N)"
"""


@pytest.fixture
def lake(tmp_path: Path, command: Run) -> Path:
    root = tmp_path / "lake"
    score = ("--score-input", root / "incoming/new.parquet", "--score-reviews", 12)
    assert command("sample", root / "raw", "--reviews", 400, "--test-reviews", 100, "--unsup", 4, *score).code == 0
    (root / "pipeline.toml").write_text(SETTINGS)
    return root


def needs_cron() -> None:
    """Skips the test where cron cannot run in a namespace of its own."""
    if not CRON or os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("needs root, unshare and cron (CRON=/path/to/cron)")


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """The daemon of `cron`, which ends with this process, however that ends: it would start a night every minute."""
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", "unshare", "-m", "/bin/sh", "-c", PRIVATE],
        env={**os.environ, "FOLDER": str(folder)},
        start_new_session=True,
    )


KILLED = """
import sys, time
from pathlib import Path
from tests.schedule.test_cron import start
print(start(Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def cron(lake: Path, tmp_path: Path) -> Iterator[Path]:
    """A cron daemon whose root has our crontab, every minute; gives the folder with its mail."""
    needs_cron()
    (tmp_path / "mail").mkdir()
    line = CRONTAB.read_text().splitlines()[-1].replace("15 2 * * *", "* * * * *")
    executable = f"{sys.executable} -P -m pipeline"
    line = line.replace("/opt/review-pipeline/bin/pipeline", executable).replace("/srv/reviews/data_lake", str(lake))
    (tmp_path / "crontab").write_text(f"MAILTO=data-team@localhost\nPYTHONPATH={ROOT}\n{line}\n")
    (tmp_path / "sendmail").write_text(SENDMAIL.format(folder=tmp_path))
    (tmp_path / "sendmail").chmod(0o755)
    shutil.copy(CRON, tmp_path / "cron")
    daemon = start(tmp_path)
    try:
        yield tmp_path / "mail"
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(60)
        wait_for(lambda: not running(lake))  # a night that has begun goes to its end


def running(lake: Path) -> bool:
    """Whether a night of the lake is running."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(lake) in words and b"nightly" in words:
            return True
    return False


def wait_for(true: Callable[[], object], seconds: float = 400) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "took too long"
        time.sleep(0.2)


def nights(lake: Path) -> list[dict[str, Any]]:
    """The records of the nights, oldest first."""
    return [json.loads(path.read_text()) for path in sorted((lake / "runs").glob("*-nightly-*.json"))]


def mails(folder: Path) -> list[Message]:
    return [email.message_from_bytes(path.read_bytes()) for path in sorted(folder.glob("[0-9]*"))]


def a_night_after(lake: Path, moment: float) -> dict[str, Any]:
    """The first night that has started after the moment, once it has ended."""

    def found() -> list[dict[str, Any]]:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
        return [night for night in nights(lake) if night["started"] > stamp]

    wait_for(found)
    return found()[0]


def rows(lines: list[tuple[str, str]]) -> str:
    return "text,label\n" + "".join(f"{text},{label}\n" for text, label in lines)


def delivered(lake: Path, name: str, content: bytes) -> float:
    """Puts a file into raw/ at once, as a careful supplier does."""
    path = lake / "raw" / f".{name}"
    path.write_bytes(content)
    path.rename(lake / "raw" / name)
    return time.time()


def exchanged(lake: Path) -> bytes:
    """The lake's reviews, three times over, with the other label."""
    other = {"pos": "neg", "neg": "pos"}
    texts = [(path.read_text(), path.parent.name) for path in sorted((lake / "raw").rglob("train/[np]*/*.txt"))]
    lines = [json.dumps({"text": f"{text} {copy}", "label": other[label]}) for copy in range(3) for text, label in texts]
    return "\n".join(lines).encode()


def is_cron(pid: int) -> bool:
    """Whether the process is a running cron; one that has ended and that nobody has waited for is not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return "(cron)" in status and ") Z " not in status


@pytest.mark.slow
def test_the_daemon_ends_with_tests_that_are_killed(tmp_path: Path) -> None:
    needs_cron()
    for name in ("sendmail", "crontab"):
        (tmp_path / name).touch()
    shutil.copy(CRON, tmp_path / "cron")
    tests = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert tests.stdout is not None
    pid = int(tests.stdout.readline())
    wait_for(lambda: is_cron(pid))
    tests.kill()
    tests.communicate()
    wait_for(lambda: not is_cron(pid), 10)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_five_rounds_over_a_growing_folder(lake: Path, cron: Path) -> None:
    first = a_night_after(lake, 0)
    assert [step["exit_code"] for step in first["receipt"]["metrics"]["steps"]] == [0, 0, 0]
    fine = [(f"fine film number {n}, a pleasure", "pos") for n in range(40)]
    dull = [(f"dull film number {n}, a bore", "neg") for n in range(40)]
    more = a_night_after(lake, delivered(lake, "more.csv", rows([*fine, *dull]).replace(", a", " a").encode()))
    assert more["receipt"]["metrics"]["steps"][0]["written"] == 80
    delivered(lake, "broken.tar.gz", b"\x1f\x8b no archive")
    bad = a_night_after(lake, delivered(lake, "bad.csv", b"text,label\nso fine,pos\none,two,three\n"))
    live = (lake / "models" / "LATEST").read_text()
    flipped = a_night_after(lake, delivered(lake, "flipped.jsonl", exchanged(lake)))
    assert (lake / "models" / "LATEST").read_text() == live
    foreign = rows([(f"ein ganz feiner Film Nummer {n}", "gut" if n % 2 else "schlecht") for n in range(40)])
    strange = a_night_after(lake, delivered(lake, "foreign.csv", foreign.encode()))
    time.sleep(5)  # the mail of the last night
    known = {night["run_id"]: night["receipt"]["metrics"].get("attention", []) for night in nights(lake)}
    bodies = [mail.get_payload().splitlines() for mail in mails(cron)]
    locked = [body for body in bodies if len(body) == 1 and "is locked by another run" in body[0]]
    assert [body for body in bodies if body not in locked] == [lines for lines in known.values() if lines]
    assert {mail["To"] for mail in mails(cron)} == {"data-team@localhost"}
    said = known[bad["run_id"]]
    assert any(line.startswith("ingest: 1 row rejected: 1 malformed_row") for line in said)
    assert any(line.startswith("ingest: 1 file skipped as unreadable, the first: raw/broken.tar.gz") for line in said)
    assert any(
        line.startswith("ingest: 41 rows rejected (1 the night before): 40 more unknown_label")
        for line in known[strange["run_id"]]
    )
    assert any(" was not promoted: it is worse than the live model" in line for line in known[flipped["run_id"]])
    assert first["receipt"]["metrics"]["attention"] == more["receipt"]["metrics"]["attention"] == []
    print(json.dumps(known, indent=1))
