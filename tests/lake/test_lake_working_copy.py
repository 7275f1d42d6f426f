"""A lake on a store, worked on in local copies: what one machine commits, another finds; nothing is lost or doubled."""

import json
from pathlib import Path

import pytest

from tests.support.commands import Outcome, Run


class Machine:
    """A machine with working copies of its own. Lakes are on a store in a folder, `store`."""

    def __init__(self, command: Run, store: Path, cache: Path) -> None:
        self.command, self.store, self.cache = command, store, cache
        self.lake = f"file+store://{store}"

    def run(self, *arguments: object, **environment: str) -> Outcome:
        return self.command("--lake", self.lake, *arguments, PIPELINE_CACHE=str(self.cache), **environment)

    def done(self, *arguments: object, code: int = 0, **environment: str) -> dict:
        outcome = self.run(*arguments, "--json", **environment)
        assert outcome.code == code, outcome.stderr
        return outcome.receipt

    @property
    def copy(self) -> Path:
        (root,) = self.cache.glob("*/lake")
        return root


@pytest.fixture
def machine(command: Run, tmp_path: Path) -> Machine:
    return Machine(command, tmp_path / "store", tmp_path / "cache")


@pytest.fixture
def other(command: Run, tmp_path: Path) -> Machine:
    return Machine(command, tmp_path / "store", tmp_path / "other-cache")


def test_another_machine_finds_what_was_ingested(machine: Machine, other: Machine, corpus: Path) -> None:
    receipt = machine.done("ingest", corpus)
    again = other.done("ingest", corpus, code=99)
    assert again["known"] == receipt["written"] == 130
    assert receipt["outputs"]["tokens"] == f"{machine.lake}/tokens"


TINY = ("--arch", "bilstm", "--epochs", 1, "--embedding-dim", 8, "--hidden-dim", 8, "--no-baseline")


def test_the_whole_way_gives_what_it_gives_in_a_folder(
    machine: Machine, other: Machine, corpus: Path, tmp_path: Path
) -> None:
    def steps(run: object) -> dict:
        run("ingest", corpus)
        run("train", *TINY)

    steps(machine.done)
    inputs = tmp_path / "new.csv"
    inputs.write_text("text,n\n" + "".join(f"film {n} was {('bad', 'good')[n % 2]},{n}\n" for n in range(20)))
    r = machine.done("score", inputs)
    print(json.dumps(r, indent=1))
    r = other.done("score", inputs, code=99)
    print(json.dumps(r, indent=1))
    r = other.done("evaluate")
    print(json.dumps(r["outputs"], indent=1))
    print(other.run("status").stdout)
    print(other.run("doctor").stdout)
    print(other.run("runs").stdout)
    print(other.run("models").stdout)
    v = machine.run("vacuum", "--keep-hours", 0, "--json")
    print(v)
    v = machine.run("nightly")
    print(v)
    print(sorted(str(p.relative_to(machine.store)) for p in machine.store.rglob("*") if p.is_file()))
    print(sorted(str(p.relative_to(machine.copy)) for p in machine.copy.rglob("*") if p.is_file()))
    print(sorted(str(p.relative_to(other.copy)) for p in other.copy.rglob("*") if p.is_file()))
    assert 0
