"""A lake on a store, and a command that is killed at an operation on a file of its working copy or of the store.

Then it runs again, on the same machine or on another one that has an older working copy. Nothing is lost or doubled, and
both find the same.
"""

import json
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.faults.harness import MUTATING, Commands, Ending, Fault, sliced
from tests.faults.scenarios import TRAIN
from tests.support.machines import contents, review_ids
from tests.support.reviews import write_corpus
from tests.support.table_rows import table_rows

ENDED = (0, 99)


@dataclass(frozen=True)
class Place:
    """A store and two machines, all under `root`; what they read is beside it."""

    commands: Commands
    root: Path

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def inputs(self) -> Path:
        return self.root.with_name("inputs")

    def run(self, machine: str, *argv: object, fault: Fault | None = None) -> Ending:
        lake = f"file+store://{self.store}"
        words = [str(word).replace("{inputs}", str(self.inputs)) for word in argv]
        cache = str(self.root / machine)
        return self.commands.run(self.root, "--lake", lake, *words, "--json", fault=fault, PIPELINE_CACHE=cache)

    def done(self, machine: str, *argv: object) -> None:
        ending = self.run(machine, *argv)
        assert ending.code in ENDED, ending.stderr


def ingested(place: Place) -> None:
    """Both machines know of one night; then a file changed and another came."""
    corpus = write_corpus(place.inputs / "raw", 8)
    place.done("one", "ingest", "{inputs}/raw", "--workers", 0)
    place.done("two", "runs")
    (corpus / "aclImdb" / "train" / "pos" / "0_9.txt").write_text("This one was written again, and is good.")
    (corpus / "late.csv").write_text("text,label\n" + "".join(f"late and good {number},pos\n" for number in range(5)))


def twice_ingested(place: Place) -> None:
    """Two nights are done, the second on the first machine, so that there are shards which nothing needs any more."""
    ingested(place)
    place.done("one", "ingest", "{inputs}/raw", "--workers", 0)


def trained(place: Place) -> None:
    """A model is there, and reviews to be scored."""
    ingested(place)
    place.done("one", "train", *TRAIN)
    (place.inputs / "new.csv").write_text("text\n" + "".join(f"film {number} was so good\n" for number in range(20)))


SCENARIOS: dict[str, tuple[Callable[[Place], None], tuple[object, ...]]] = {
    "ingest": (ingested, ("ingest", "{inputs}/raw", "--workers", 0)),
    "compact": (twice_ingested, ("compact", "--min-shards", 2)),
    "vacuum": (twice_ingested, ("vacuum", "--keep-hours", 0)),
    "erase": (twice_ingested, ("erase", "--review-id", "file://{inputs}/raw/aclImdb/train/neg/0_2.txt")),
    "train": (ingested, ("train", *TRAIN, "--resume")),
    "score": (trained, ("score", "{inputs}/new.csv")),
}


class Trial:
    """A scenario, done once without faults, and then with one at each of some points.

    It takes place in the same folder each time: a working copy is found by the URI of its lake.
    """

    def __init__(self, name: str, commands: Commands, folder: Path) -> None:
        make, self.command = SCENARIOS[name]
        self.here, self.made = folder / "here", folder / "made"
        self.place = Place(commands, self.here / "root")
        self.place.root.mkdir(parents=True)
        make(self.place)
        self.here.rename(self.made)
        self._again()
        self.before = table_rows(self.place.store)
        ending = self.place.run("one", *self.command)
        assert ending.code == 0, ending.stderr
        self.operations = ending.counted
        self.after = table_rows(self.place.store)

    def probe(self, at: int, machine: str) -> None:
        """Kills the command at an operation, and runs it again on a machine."""
        self._again()
        place = self.place
        killed = place.run("one", *self.command, fault=Fault(action="kill", kinds=MUTATING, at=at))
        assert killed.code in (-signal.SIGKILL, 0), killed.stderr
        assert table_rows(place.store) in (self.before, self.after), f"killed at {at}: half a commit"
        if machine == "two":  # it waits until the leases of the killed run have expired; the first knows that it is dead
            for lease in place.store.glob(".locks/*.lease"):
                lease.unlink()
        ending = place.run(machine, *self.command)
        assert ending.code in ENDED, f"killed at {at}: {ending.stderr}"
        assert table_rows(place.store) == self.after, f"killed at {at}: rows lost or doubled"
        for other in ("one", "two", "one"):  # what was left unpushed is pushed now, and reaches the other one
            place.done(other, *self.command)
        assert table_rows(place.store) == self.after, f"killed at {at}: rows lost or doubled"
        for other in ("one", "two"):
            checks = place.run(other, "doctor", "--verify")
            assert checks.code == 0, f"killed at {at}: {checks.stdout}"
        assert not list(disagreements(place)), f"killed at {at}"
        self._check_results(at)

    def _check_results(self, at: int) -> None:
        store = self.place.store
        if self.command[0] == "train":
            (model,) = [path.parent.name for path in store.glob("models/*/model.json")]
            assert (store / "models" / "LATEST").read_text().strip() == model, f"killed at {at}"
            (decision,) = (store / "models" / "decisions.jsonl").read_text().splitlines()
            assert json.loads(decision)["model_id"] == model, f"killed at {at}"
        if self.command[0] == "erase":
            (erased,) = [str(row[0]) for row in self.before - self.after]
            assert erased not in review_ids(store.glob("tokens/[!.]*.parquet")), f"killed at {at}: still in an old shard"
        if self.command[0] == "score":
            (output,) = store.glob("predictions/*.parquet")
            assert pq.read_table(output).num_rows == 20, f"killed at {at}"

    def _again(self) -> None:
        shutil.rmtree(self.here, ignore_errors=True)
        shutil.copytree(self.made, self.here)


def disagreements(place: Place) -> Iterator[str]:
    """The files that a machine has otherwise than the store, or lacks although they are no large ones."""
    stored = contents(place.store)
    for machine in ("one", "two"):
        (root,) = (place.root / machine).glob("*/lake")
        here = contents(root)
        yield from (f"{machine}: {name}" for name, content in here.items() if stored.get(name) != content)
        eager = (name for name in stored if name.startswith(("tokens/_delta_log/", "models/", "vocabulary/", "runs/")))
        yield from (f"{machine} lacks {name}" for name in eager if name not in here)


def points(trial: Trial, most: int | None) -> list[int]:
    everywhere = range(1, trial.operations + 1)
    return sorted(random.Random(0).sample(everywhere, most)) if most and most < len(everywhere) else list(everywhere)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_that_is_killed_is_made_good_by_the_next(name: str, commands: Commands, tmp_path: Path) -> None:
    trial = Trial(name, commands, tmp_path)
    for number, at in enumerate(points(trial, 4)):
        trial.probe(at, ("one", "two")[number % 2])


@pytest.mark.faults
@pytest.mark.parametrize("machine", ["one", "two"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_everywhere(name: str, machine: str, commands: Commands, tmp_path: Path) -> None:
    trial = Trial(name, commands, tmp_path)
    where = sliced(points(trial, None))
    for at in where:
        trial.probe(at, machine)
    print(f"{name}, then on machine {machine}: killed at {len(where)} of {trial.operations} operations")
