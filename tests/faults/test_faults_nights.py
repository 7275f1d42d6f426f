"""Seven nights by themselves, each with a mishap: every morning the rows are exact, and no hand was needed."""

import errno
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.doctor.lake import lake_checks
from pipeline.lake.paths import Lake
from tests.faults.harness import Commands, Fault, leftovers
from tests.faults.scenarios import TRAIN, make_raw
from tests.support.table_rows import table_rows

NIGHT = ("ingest", "--workers", 0)


class Nights:
    """A lake and what is delivered to it."""

    def __init__(self, commands: Commands, lake: Path) -> None:
        self.commands, self.lake = commands, lake
        make_raw(commands, lake)

    def deliver(self, name: str, rows: int, word: str = "good") -> Path:
        """Adds a CSV file of so many reviews."""
        path = self.lake / "raw" / name
        lines = [f"{name} {number} was {word},{'pos' if number % 2 else 'neg'}" for number in range(rows)]
        path.write_text("\n".join(["text,label", *lines, ""]))
        return path

    def night(self, *allowed: int, fault: Fault | None = None) -> None:
        """Runs ingest; the exit code has to be one of these."""
        ending = self.commands.run(self.lake, *NIGHT, "--lake", self.lake, fault=fault)
        assert ending.code in allowed, (ending.code, ending.stderr)

    def morning(self, rows: int) -> None:
        """The table holds so many reviews, each once, and nothing lies around."""
        found = table_rows(self.lake)
        assert (sum(found.values()), max(Counter(row[0] for row in found).values())) == (rows, 1)
        assert leftovers(self.lake) == []
        assert [check for check in lake_checks(Lake(self.lake)) if check.state == "FAIL" and check.name != "space"] == []


def seven_nights(nights: Nights) -> None:
    """The mishaps, one a night."""
    nights.night(0)
    first = sum(table_rows(nights.lake).values())
    nights.morning(first)
    nights.deliver("two.csv", 5)
    (nights.lake / "raw" / "bad.parquet").write_bytes(b"PAR1 and no more")
    nights.night(0)
    nights.morning(first + 5)
    nights.deliver("two.csv", 6, "better")  # changed, and one more
    nights.night(0)
    nights.morning(first + 6)
    nights.night(99)  # delivered again
    nights.morning(first + 6)
    nights.deliver("five.csv", 4)
    command = [sys.executable, "-m", "pipeline", *map(str, NIGHT), "--lake", str(nights.lake)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert {process.returncode for process in both} <= {0, 75, 99}, outputs
    nights.morning(first + 10)
    nights.deliver("six.csv", 3)
    nights.night(-9, fault=Fault(action="kill", kinds="l", at=2))  # between the log entry's content and its name
    nights.night(0, 99)
    nights.morning(first + 13)
    nights.deliver("seven.csv", 2)
    nights.night(73, fault=Fault(action="fail", kinds="wcmnl", at=25, errno=errno.ENOSPC, sticky=True))
    nights.night(0, 99)
    nights.morning(first + 15)


@pytest.mark.slow
def test_seven_nights_of_ingest(commands: Commands, tmp_path: Path) -> None:
    seven_nights(Nights(commands, tmp_path / "lake"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 60 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount")
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", place], check=False).returncode:
        pytest.skip("no small file system can be mounted here: that needs root")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.faults
def test_seven_nights_on_a_small_disk(commands: Commands, small_disk: Path) -> None:
    nights = Nights(commands, small_disk / "lake")
    seven_nights(nights)
    assert commands.run(nights.lake, "train", "--lake", nights.lake, *TRAIN).code == 0
    rows = sum(table_rows(nights.lake).values())
    filler = small_disk / "filler"
    with filler.open("wb") as file:  # a disk that is really full
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
    ending = commands.run(nights.lake, "train", "--lake", nights.lake, *TRAIN, "--seed", 9)
    assert ending.code == 73, ending.stderr
    filler.unlink()
    assert commands.run(nights.lake, "train", "--lake", nights.lake, *TRAIN, "--seed", 9).code == 0
    nights.night(0, 99)
    nights.morning(rows)
