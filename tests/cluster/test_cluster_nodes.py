"""Two launchers on loopback train together: over a shared folder, with disks of their own, one lost and back."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cluster.launchers import Node, finish, two_nodes, wait_for
from tests.support.token_corpus import Corpus, write_corpus

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SMALL = (
    *("--arch", "bilstm", "--embedding-dim", "16", "--hidden-dim", "16", "--region-dim", "8", "--batch-size", "32"),
    *("--checkpoint-every", "5", "--epochs", "6", "--linear-bits", "16", "--workers", "1"),
)
"""A network combined with n-grams, as by default, which labels unlabelled reviews."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("corpus"), 1200, test_rows=60, unsup_rows=240)


def train(corpus: Corpus, lake: Path) -> tuple[object, ...]:
    return ("--lake", lake, "train", "--tokens", corpus.shards, *SMALL)


def checkpoints(lake: Path) -> set[str]:
    return {path.name for path in lake.glob("checkpoints/*/epoch-*.safetensors")}


def model_of(lake: Path) -> Path:
    return lake / "models" / (lake / "models" / "LATEST").read_text().strip()


def weights(lake: Path) -> bytes:
    return (model_of(lake) / "model.safetensors").read_bytes()


def records(lake: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(lake.glob("runs/*.json"))]


@pytest.fixture(scope="module")
def uninterrupted(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a training that nothing disturbs, on two nodes with one disk."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    nodes = two_nodes(folder, "uninterrupted")
    for node in nodes:
        node.start(*train(corpus, folder / "lake"))
    try:
        finish(*nodes)
    finally:
        for node in nodes:
            node.kill()
    assert [record["outcome"] for record in records(folder / "lake")] == ["done"], "one rank alone writes a record"
    assert len(list((folder / "lake" / "models").glob("bilstm-*"))) == 1
    assert not list(folder.glob("lake/checkpoints/*"))
    metrics = json.loads((model_of(folder / "lake") / "model.json").read_text())["metrics"]
    assert metrics["unlabelled_rows"] == 240 and "baseline" in metrics
    return weights(folder / "lake")


def test_only_the_main_rank_needs_and_writes_more_than_the_shards(
    corpus: Corpus, uninterrupted: bytes, tmp_path: Path, running: list[Node]
) -> None:
    first, second = two_nodes(tmp_path, "disks")
    running += [first, second]
    own = tmp_path / "second-disk"
    shutil.copytree(corpus.shards.parent, own)
    other = Corpus(own / "shards", corpus.vocabulary, corpus.vocabulary_file)
    first.start(*train(corpus, tmp_path / "lake"))
    second.start(*train(other, tmp_path / "other-lake"))
    finish(first, second)
    assert weights(tmp_path / "lake") == uninterrupted
    assert not (tmp_path / "other-lake").exists(), "the rank of the second node writes nothing"


def test_a_node_with_other_shards_is_refused_on_both(corpus: Corpus, tmp_path: Path, running: list[Node]) -> None:
    first, second = two_nodes(tmp_path, "differ")
    running += [first, second]
    first.restarts = second.restarts = 0
    own = tmp_path / "second-disk"
    write_corpus(own, 1200, test_rows=60, unsup_rows=240, seed=1)
    first.start(*train(corpus, tmp_path / "lake"))
    second.start("--lake", tmp_path / "lake", "train", "--tokens", own / "shards", *SMALL)
    assert first.wait() and second.wait()
    assert all("differ from those on the node of rank 0" in node.said for node in (first, second))
    assert [record["exit_code"] for record in records(tmp_path / "lake")] == [65]


def test_a_lost_node_comes_back_and_the_weights_are_the_same(
    corpus: Corpus, uninterrupted: bytes, tmp_path: Path, running: list[Node]
) -> None:
    lake = tmp_path / "lake"
    first, second = two_nodes(tmp_path, "lost")
    running += [first, second]
    for node in (first, second):
        node.start(*train(corpus, lake))
    wait_for(lambda: len(checkpoints(lake)) > 1, (first, second))
    second.kill()
    at_loss = checkpoints(lake)
    second.start(*train(corpus, lake))
    finish(first, second)
    assert "resuming training" in first.said + second.said
    assert at_loss and weights(lake) == uninterrupted
    assert len(list((lake / "models").glob("bilstm-*"))) == 1


@pytest.mark.slow
def test_with_four_ranks_gradients_are_summed_in_the_same_order(corpus: Corpus, tmp_path: Path, running: list[Node]) -> None:
    found = []
    for name in ("undisturbed", "lost"):
        lake = tmp_path / name
        first, second = two_nodes(tmp_path / f"nodes-{name}", f"four-{name}")
        running += [first, second]
        for node in (first, second):
            node.ranks = 2
            node.start(*train(corpus, lake))
        if name == "lost":
            wait_for(lambda lake=lake: len(checkpoints(lake)) > 1, (first, second))
            second.kill()
            second.start(*train(corpus, lake))
        finish(first, second)
        found.append(weights(lake))
    assert found[0] == found[1]


def test_all_nodes_lost_go_on_under_the_same_name(
    corpus: Corpus, uninterrupted: bytes, tmp_path: Path, running: list[Node]
) -> None:
    """The first node holds the launchers' store: with it, the other launcher ends, too."""
    lake = tmp_path / "lake"
    first, second = two_nodes(tmp_path, "all")
    running += [first, second]
    for node in (first, second):
        node.start(*train(corpus, lake))
    wait_for(lambda: len(checkpoints(lake)) > 1, (first, second))
    first.kill()
    assert second.wait() != 0
    for node in (first, second):
        node.start(*train(corpus, lake))
    finish(first, second)
    assert "resuming training" in first.said + second.said
    assert weights(lake) == uninterrupted
    for node in (first, second):
        node.start(*train(corpus, lake))
    finish(first, second)
    assert "was trained on the same data with the same options" in first.said + second.said


def test_nodes_with_other_options_are_refused(corpus: Corpus, tmp_path: Path, running: list[Node]) -> None:
    first, second = two_nodes(tmp_path, "options")
    running += [first, second]
    first.start(*train(corpus, tmp_path / "lake"))
    second.start(*train(corpus, tmp_path / "lake"), "--seed", "7")
    assert (first.wait(), second.wait()) != (0, 0)
    assert "the nodes do not train the same: --seed is" in first.said + second.said
    assert not list(tmp_path.glob("lake/models/*"))
