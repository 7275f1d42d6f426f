"""Two launchers train together on a lake on a store, each in a working copy of its own; nodes are lost and others come."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.lake.store import Store, open_store
from tests.cluster.launchers import Node, finish, two_nodes, wait_for
from tests.support.commands import run_process
from tests.support.s3_server import empty_uri, environment, s3_server, settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SMALL = (
    *("--arch", "bilstm", "--embedding-dim", "16", "--hidden-dim", "16", "--region-dim", "8", "--batch-size", "32"),
    *("--checkpoint-every", "5", "--epochs", "3", "--linear-bits", "16", "--workers", "1", "--holdout", "0"),
)


@dataclass(frozen=True)
class Shared:
    """A lake on a store, and the environment in which its URI means this store."""

    uri: str
    store: Store
    environment: dict[str, str]

    def nodes(self, folder: Path, run_id: str) -> tuple[Node, Node]:
        """Two nodes with working copies of their own."""
        first, second = two_nodes(folder, run_id, **self.environment)
        for node in (first, second):
            node.environment["PIPELINE_CACHE"] = str(folder / f"cache-of-{node.name}")
        return first, second

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints in the store."""
        return [one.name for one in self.store.list("checkpoints/") if one.name.endswith(".safetensors")]

    def models(self) -> set[str]:
        """IDs of the models in the store."""
        return {one.name.split("/")[1] for one in self.store.list("models/bilstm-")}

    def weights(self) -> bytes:
        """Those of the live model."""
        live = self.store.read("models/LATEST")[0].decode().strip()
        return self.store.read(f"models/{live}/model.safetensors")[0]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of random words, of which one tells the label; a third of the reviews have none."""
    folder = tmp_path_factory.mktemp("raw")
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.csv" for number in range(4)]
    for path in paths:
        lines = ["id,text,label"]
        for row in range(300):
            label = ("neg", "pos", "")[row % 3]
            words = [f"w{number}" for number in random.integers(0, 300, random.integers(8, 40))]
            lines.append(f"{path.stem}-{row},{' '.join([*words, f'tells{label}' if label else 'w1'])},{label}")
        path.write_text("\n".join(lines) + "\n")
    return paths


@pytest.fixture(scope="module")
def undisturbed(raw: list[Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of two nodes that share a folder, and lose nothing."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ingest(raw, str(folder / "lake"), {})
    nodes = two_nodes(folder, "undisturbed")
    with ExitStack() as stack:
        for node in nodes:
            stack.callback(node.kill)
            node.start("--lake", folder / "lake", "train", *SMALL)
        finish(*nodes)
    live = (folder / "lake/models/LATEST").read_text().strip()
    return (folder / "lake/models" / live / "model.safetensors").read_bytes()


@pytest.fixture(params=["s3", "folder"])
def shared(request: pytest.FixtureRequest, raw: list[Path], tmp_path: Path) -> Iterator[Shared]:
    with ExitStack() as stack:
        if request.param == "s3":
            url = stack.enter_context(s3_server())
            stack.enter_context(environment(url))
            uri = empty_uri()
            lake = Shared(uri, open_store(uri), settings(url))
        else:
            (tmp_path / "store").mkdir()
            lake = Shared(f"file+store://{tmp_path / 'store'}", open_store(f"file://{tmp_path / 'store'}"), {})
        ingest(raw, lake.uri, {**lake.environment, "PIPELINE_CACHE": str(tmp_path / "cache-of-ingest")})
        yield lake


def ingest(raw: list[Path], lake: str, environment: dict[str, str]) -> None:
    """Each file in a run of its own, so that there are several shards."""
    for path in raw:
        outcome = run_process("--lake", lake, "ingest", path, **environment)
        assert outcome.code == 0, outcome.stderr


@pytest.mark.parametrize("shared", ["s3"], indirect=True)
def test_a_lost_node_comes_back_as_a_new_machine(
    shared: Shared, undisturbed: bytes, tmp_path: Path, running: list[Node]
) -> None:
    first, second = shared.nodes(tmp_path, "new-machine")
    running += [first, second]
    for node in (first, second):
        node.start("--lake", shared.uri, "train", *SMALL)
    wait_for(lambda: len(shared.checkpoints()) > 1, (first, second))
    second.kill()
    second.environment["PIPELINE_CACHE"] = str(tmp_path / "cache-of-new-machine")
    second.start("--lake", shared.uri, "train", *SMALL)
    finish(first, second)
    assert "resuming training" in first.said + second.said
    assert shared.weights() == undisturbed
    assert len(shared.models()) == 1 and not shared.checkpoints()


@pytest.mark.parametrize("shared", ["folder"], indirect=True)
def test_a_training_continues_on_other_machines(
    shared: Shared, undisturbed: bytes, tmp_path: Path, running: list[Node]
) -> None:
    first, second = shared.nodes(tmp_path, "other-machines")
    running += [first, second]
    for node in (first, second):
        node.start("--lake", shared.uri, "train", *SMALL)
    wait_for(lambda: len(shared.checkpoints()) > 1, (first, second))
    first.kill()
    second.kill()
    others = [f"{tmp_path}/other-cache-of-{node.name}" for node in (first, second)]
    for node, other in zip((first, second), others, strict=True):
        node.environment["PIPELINE_CACHE"] = other
        node.start("--lake", shared.uri, "train", *SMALL)
    finish(first, second)
    assert "resuming training" in first.said + second.said
    assert shared.weights() == undisturbed
    assert len(shared.models()) == 1 and not shared.checkpoints()
    for other in others:
        assert any(Path(other).rglob("tokens/*.parquet")), "both have fetched the shards that they read"
