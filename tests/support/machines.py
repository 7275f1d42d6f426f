"""Machines that share a lake on a store, each with a working copy of its own."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tests.support.commands import Outcome, Run

OWN = (".origin/", ".locks/", ".index/", ".scratch/", ".targets/", ".store.lock")
"""Beginnings of names of files that are not of the lake, in a store or in a working copy."""


@dataclass(frozen=True)
class Machine:
    """Runs commands on the lake at `lake`, a URI, with working copies in `cache`."""

    command: Run
    lake: str
    cache: Path

    def run(self, *arguments: object, **environment: str) -> Outcome:
        """Runs a command."""
        return self.command("--lake", self.lake, *arguments, PIPELINE_CACHE=str(self.cache), **environment)

    def done(self, *arguments: object, code: int = 0, **environment: str) -> dict[str, Any]:
        """Runs a command that ends with `code`; gives its receipt."""
        outcome = self.run(*arguments, "--json", **environment)
        assert outcome.code == code, outcome.stderr
        receipt: dict[str, Any] = json.loads(outcome.stdout.strip().splitlines()[-1])
        return receipt

    def said(self, *arguments: object, code: int = 0) -> str:
        """Runs a command that ends with `code`; gives what it printed."""
        outcome = self.run(*arguments)
        assert outcome.code == code, outcome.stderr
        return outcome.stdout + outcome.stderr

    @property
    def root(self) -> Path:
        """The folder of the working copy."""
        (root,) = self.cache.glob("*/lake")
        return root


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a lake by name, without those that stay on one machine or are unfinished."""
    named = ((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return {name: path.read_bytes() for name, path in named if not name.startswith(OWN) and "/.tmp-" not in name}


def review_ids(shards: Iterable[Path]) -> list[str]:
    """The IDs of the reviews in shards, sorted; read by DuckDB."""
    names = [str(path) for path in shards]
    found = duckdb.execute("select review_id from read_parquet(?)", [names]).fetchall() if names else []
    return sorted(row[0] for row in found)
