"""The demo on a store: what it leaves is what it leaves in a folder, on a shared folder and on a real S3 server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.lake.store import Store, open_store
from tests.support.commands import Run
from tests.support.faulty_proxy import Faults, faulty
from tests.support.machines import OWN, Machine, contents
from tests.support.s3_server import empty_uri, environment, s3_server

TRAIN = ("train", "--arch", "rnn", "--epochs", 2, "--embedding-dim", 4, "--hidden-dim", 4, "--batch-size", 32)
SAMPLE = ("--reviews", 120, "--test-reviews", 60, "--unsup", 20, "--score-reviews", 40)
NAMES = {
    r"\b(rnn|nbsvm|bilstm)-\d{8}T\d{6}Z-[0-9a-f]{6}\b": "MODEL",
    r"\d{8}T\d{6}\.\d{3}Z-(\w+)-[0-9a-f]{6}": r"RUN-\1",
    r"\d{8}T\d{6}\.\d{3}Z": "RUN",
    r"\.notes/[0-9a-f]{16}": ".notes/PLACE",
}
"""What differs from run to run in the names of files."""

FAULTS = Faults(refuse_every=10, hang_up_every=4, lose_every=5)
"""Every tenth request fails, every fourth download ends in the middle, every fifth write gets no answer."""


def demo(machine: Machine, inside: str) -> None:
    """The commands of `make demo`, then a night with nothing new, and what a person does in a week.

    Args:
        inside: the lake, for places in it.
    """
    machine.done("sample", f"{inside}/raw", *SAMPLE, "--score-input", f"{inside}/incoming/reviews.parquet")
    machine.done("ingest")
    machine.done(*TRAIN)
    machine.done("score", f"{inside}/incoming/reviews.parquet")
    machine.done("report", "--predictions", f"{inside}/predictions/reviews.parquet")
    machine.done("evaluate")
    machine.done("nightly", "--retrain", "never")
    machine.done("ingest", code=99)
    machine.done("compact", "--min-shards", 2, code=99)
    machine.done("vacuum", "--keep-hours", 0, code=99)
    assert machine.run("doctor", "--verify").code == 0


def named_alike(files: dict[str, bytes]) -> dict[str, list[bytes]]:
    """The files under names that do not differ from run to run, sorted by content where several have one."""
    found: dict[str, list[bytes]] = {}
    for name, content in files.items():
        for pattern, word in NAMES.items():
            name = re.sub(pattern, word, name)
        found.setdefault(name, []).append(content)
    return {name: sorted(content) for name, content in found.items()}


def stored(store: Store) -> dict[str, bytes]:
    return {one.name: store.read(one.name)[0] for one in store.list() if not one.name.startswith(OWN)}


def check_same(ours: dict[str, bytes], folders: dict[str, bytes]) -> None:
    """The same files; byte for byte where neither time nor a random ID is in them."""
    here, there = named_alike(ours), named_alike(folders)
    assert sorted(here) == sorted(there)
    fixed = ("tokens/test-", "tokens/train-", "tokens/unsup-", "vocabulary/", "raw/", "incoming/")
    fixed_ends = ("/model.safetensors", "/vocabulary.parquet", "/manifest.json/")
    names = [name for name in there if name.startswith(fixed) or name.endswith(fixed_ends)]
    assert len(names) > 200
    for name in names:
        assert here[name] == there[name], name


def predictions(file: Path) -> object:
    return pq.read_table(file).drop_columns(["model_id"])


@contextmanager
def served(kind: str, tmp_path: Path) -> Iterator[str]:
    """The URI of an empty lake."""
    if kind == "folder":
        yield f"file+store://{tmp_path}/store"
        return
    faults = FAULTS if kind == "failing-s3" else Faults()
    with s3_server() as server, faulty(server, faults) as url, environment(url):
        yield empty_uri()
    print(f"{kind}: {dict(faults.counts)}")
    assert kind != "failing-s3" or min(faults.counts[what] for what in ("refused", "hung up", "lost")) > 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", *(pytest.param(kind, marks=pytest.mark.s3) for kind in ("s3", "failing-s3"))])
def test_the_demo_leaves_in_a_store_what_it_leaves_in_a_folder(kind: str, command: Run, tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    local = Machine(command, str(folder), tmp_path / "none")
    demo(local, str(folder))
    with served(kind, tmp_path) as uri:
        one, two = Machine(command, uri, tmp_path / "one"), Machine(command, uri, tmp_path / "two")
        demo(one, uri)
        store = open_store(uri.replace("file+store://", "file://"))
        check_same(stored(store), contents(folder))
        assert two.done("ingest", code=99)["known"] == 200
        assert two.done("score", f"{uri}/incoming/reviews.parquet", code=99)["known"] == 40
        assert predictions(two.root / "predictions" / "reviews.parquet") == predictions(
            folder / "predictions" / "reviews.parquet"
        )
        bundle = next(folder.glob("models/*/model.json")).parent
        again = ("--model", bundle, "--force")
        local.done("score", folder / "incoming" / "reviews.parquet", *again)
        two.done("score", f"{uri}/incoming/reviews.parquet", *again)
        theirs, _ = store.read("predictions/reviews.parquet")
        assert theirs == (folder / "predictions" / "reviews.parquet").read_bytes()
