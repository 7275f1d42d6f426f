"""What every architecture has to do in the pipeline, as tests that a class in a test module inherits."""

from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.models.bundle import Bundle, read_bundle
from tests.support.commands import invoke
from tests.support.killed_training import killed_after
from tests.support.reviews import order_reviews
from tests.support.small_models import small

UNSEEN = 500
OPTIONS = ("--lr", "0.003", "--warmup", "60", "--average", "0.9", "--epochs", "6", "--workers", "0")


def train(lake: Path, arch: str, *arguments: object) -> dict[str, Any]:
    # A little dropout, so that a resumed training has to find its random numbers again.
    settings = [f"--set={name}={value}" for name, value in {**small(arch), "dropout": 0.1}.items()]
    return invoke("train", "--lake", lake, "--arch", arch, *OPTIONS, *settings, *arguments)


@cache
def trained(lake: Path, arch: str) -> tuple[dict[str, Any], Bundle]:
    """The metrics and the bundle of a training that nothing disturbed."""
    receipt = train(lake, arch, "--checkpoint-every", "0")
    assert receipt["code"] == 0
    return receipt["metrics"], read_bundle(Path(receipt["outputs"]["model"]))


class TrainingChecks:
    def test_learns_and_scores(self, arch: str, order_lake: Path, tmp_path: Path) -> None:
        metrics, bundle = trained(order_lake, arch)
        assert metrics["valid_accuracy"] > 0.95, "on films that training never saw"
        unseen = order_reviews(UNSEEN, seed=1)
        pq.write_table(unseen, tmp_path / "unseen.parquet")
        receipt = invoke("score", tmp_path / "unseen.parquet", "--lake", order_lake, "--model", bundle.model_id, "--force")
        scored = pq.read_table(receipt["outputs"]["predictions"])
        right = sum(map(str.__eq__, scored["prediction"].to_pylist(), unseen["label"].to_pylist()))
        assert right > 0.95 * UNSEEN

    def test_killed_in_the_middle_and_resumed_gives_the_same_bits(self, arch: str, order_lake: Path) -> None:
        metrics, whole = trained(order_lake, arch)
        often = ("--checkpoint-every", "7", "--force")
        with killed_after(metrics["steps"] // 2 + 3):
            train(order_lake, arch, *often)
        (left,) = (order_lake / "checkpoints").glob(f"{arch}-*")
        assert list(left.glob("epoch-*")), "checkpoints of the killed training"
        resumed = train(order_lake, arch, *often, "--resume")
        assert resumed["outputs"]["model_id"] == left.name != whole.model_id
        assert read_bundle(Path(resumed["outputs"]["model"])).weights_sha256 == whole.weights_sha256
