"""What every architecture has to do in the pipeline, as checks that tests call."""

from pathlib import Path

import pyarrow.parquet as pq
import torch

from pipeline.config.interval import Interval
from pipeline.datapipes.train_loader import LoaderOptions
from pipeline.engines import local
from pipeline.lake.shards import plain_shards
from pipeline.models.bundle import read_bundle
from pipeline.models.registry import build_model
from pipeline.order.options import OrderOptions
from pipeline.order.selection import shared_selection
from pipeline.tasks.registry import trained_task
from pipeline.training.checkpoint import TrainingFolder
from pipeline.training.loop import LoopOptions, Trainer
from tests.support.commands import invoke
from tests.support.killed_training import killed_after
from tests.support.reviews import order_reviews
from tests.support.small_models import small
from tests.support.tasks import TASKS
from tests.support.token_corpus import Corpus

UNSEEN = 500
OPTIONS = ("--lr", "0.003", "--warmup", "60", "--average", "0.9", "--epochs", "6", "--workers", "0")
ALONE = ("--no-wide", "--no-baseline", "--checkpoint-every", "0")


def check_learns_and_scores(arch: str, order_lake: Path, tmp_path: Path, *more: str) -> None:
    """On the reviews of `order_lake`, with `more` options of training."""
    sizes = [f"--set={name}={value}" for name, value in small(arch).items()]
    receipt = invoke("train", "--lake", order_lake, "--arch", arch, *OPTIONS, *ALONE, *sizes, "--set=dropout=0.1", *more)
    assert receipt["code"] == 0
    assert receipt["metrics"]["valid_accuracy"] > 0.95, "on films that training never saw"
    bundle = read_bundle(Path(receipt["outputs"]["model"]))
    unseen = order_reviews(UNSEEN, seed=1)
    pq.write_table(unseen, tmp_path / "unseen.parquet")
    scores = invoke("score", tmp_path / "unseen.parquet", "--lake", order_lake, "--model", bundle.model_id, "--force")
    scored = pq.read_table(scores["outputs"]["predictions"])
    right = sum(map(str.__eq__, scored["prediction"].to_pylist(), unseen["label"].to_pylist()))
    assert right > 0.95 * UNSEEN


def check_killed_and_resumed(arch: str, small_corpus: Corpus, tmp_path: Path, task: str = "classification") -> None:
    """A training that is killed in the middle and resumed gives the same bits as one that is not."""
    whole = make_trainer(arch, small_corpus, TrainingFolder(tmp_path / "whole"), task=task)
    whole.run()
    folder = TrainingFolder(tmp_path / "killed")
    with killed_after(whole.steps + 3):
        make_trainer(arch, small_corpus, folder, task=task).run()
    resumed = make_trainer(arch, small_corpus, folder, task=task)
    checkpoint = folder.read()
    assert checkpoint is not None
    resumed.restore(checkpoint)
    assert (resumed.progress.epoch, resumed.progress.step) == (1, 2)
    resumed.run()
    assert [(row.loss, row.figures) for row in resumed.rows()] == [(row.loss, row.figures) for row in whole.rows()]
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name
        assert torch.equal(resumed.best[name], whole.best[name]), name


def make_trainer(
    arch: str, corpus: Corpus, folder: TrainingFolder, device: str = "cpu", task: str = "classification"
) -> Trainer:
    """Two epochs with dropout, whose random numbers a resumed training has to draw again; a checkpoint every two steps."""
    torch.manual_seed(0)
    learned = TASKS[task]
    sizes = {"vocab_size": len(corpus.vocabulary), "num_classes": learned.num_outputs}
    model = build_model(arch, {**sizes, **small(arch), "dropout": 0.1})
    options = LoopOptions(
        epochs=2, lr=0.003, warmup=3, average=0.9, order=OrderOptions(batch_size=32), loader=LoaderOptions(workers=0)
    )
    with local.joined(device) as world:
        selection, summary = shared_selection(world, plain_shards(corpus.shards), learned, 0.1)
        learned = trained_task(learned, summary, "none")
        train, valid = selection.part("train"), selection.part("valid")
        return Trainer(model, train, valid, world, options, task=learned, folder=folder, interval=Interval(steps=2))
