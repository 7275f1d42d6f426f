"""Two gloo ranks are one training: the same batches, the same losses, half the bytes each; and ranks may come and go."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from pipeline.engines import local
from tests.support.paths import ROOT
from tests.support.small_models import networks
from tests.support.tasks import TASKS
from tests.support.token_corpus import Corpus, write_corpus
from tests.training.rank_worker import Answer, Job, train_each, write_jobs

STEPS = 5
WORKER = Path(__file__).with_name("rank_worker.py")
WHOLE = Job(name="whole")
VIRTUAL = Job(name="virtual", virtual_adversarial=0.5, stop_after=STEPS)
LANGUAGE_MODELS = [
    Job(name=f"lm-{arch}", arch=arch, language_model=True, stop_after=STEPS) for arch in ("lstm", "bigru", "bimingru")
]
pytestmark = pytest.mark.slow
OTHER_TASKS = [name for name in TASKS if name != WHOLE.task]


def on_one_rank(shards: Path, *jobs: Job) -> dict[str, Answer]:
    """The answers of trainings in this process."""
    with local.joined("cpu") as world:
        return train_each(world, shards, jobs)


def on_two_ranks(shards: Path, out: Path, *jobs: Job) -> list[dict[str, Answer]]:
    """The answers of each rank."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        max_restarts=0,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        run_id=f"test-{os.getpid()}-{out.name}",
    )
    out.mkdir(parents=True, exist_ok=True)
    file = write_jobs(out / "jobs.json", jobs)
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}):
        elastic_launch(config, sys.executable)(str(WORKER), str(shards), str(file), str(out))
    return [json.loads((out / f"rank-{rank}.json").read_text()) for rank in range(2)]


def global_batches(answers: list[Answer]) -> dict[tuple[int, int], list[str]]:
    found: dict[tuple[int, int], list[str]] = {}
    for answer in answers:
        for step in answer["steps"]:
            found.setdefault((step["epoch"], step["step"]), []).extend(step["rows"])
    return {key: sorted(rows) for key, rows in found.items()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("ranks"), 800, row_groups=(20,), shard_groups=10)


@dataclass(frozen=True)
class Both:
    """The same trainings on one rank and on two, and where a stopped training left its checkpoints."""

    alone: dict[str, Answer]
    two: list[dict[str, Answer]]
    checkpoints: Path


def stopped(checkpoints: Path) -> Job:
    return Job(name="stopped", checkpoints=str(checkpoints), stop_after=11)


@pytest.fixture(scope="module")
def both(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """All in one process, and in one pair of processes."""
    folder = tmp_path_factory.mktemp("both")
    shared = [
        *(WHOLE, VIRTUAL, *LANGUAGE_MODELS),
        *(Job(name=arch, arch=arch, stop_after=STEPS) for arch in networks()),
        *(Job(name=task, task=task) for task in OTHER_TASKS),
    ]
    two = on_two_ranks(corpus.shards, folder / "two", *shared, stopped(folder / "checkpoints"))
    return Both(on_one_rank(corpus.shards, *shared), two, folder / "checkpoints")


def assert_one_training(two: list[Answer], alone: Answer) -> None:
    assert global_batches(two) == global_batches([alone])
    for answer in two:
        assert [step["loss"] for step in answer["steps"]] == pytest.approx(
            [step["loss"] for step in alone["steps"]], abs=1e-5
        )
        assert answer["valid"] == pytest.approx(alone["valid"], abs=1e-5)
        assert answer["bytes"] <= 0.6 * alone["bytes"]


def assert_resumed(first: list[Answer], second: list[Answer], alone: Answer) -> None:
    done, rest = global_batches(first), global_batches(second)
    assert done and rest
    assert not done.keys() & rest.keys(), "no step is taken twice"
    assert {**done, **rest} == global_batches([alone])
    losses = [step["loss"] for step in first[0]["steps"] + second[0]["steps"]]
    assert losses == pytest.approx([step["loss"] for step in alone["steps"]], abs=1e-5)


def test_two_ranks_are_one(both: Both) -> None:
    assert_one_training([answers["whole"] for answers in both.two], both.alone["whole"])


@pytest.mark.parametrize("task", OTHER_TASKS)
def test_two_ranks_are_one_whatever_is_learned(task: str, both: Both) -> None:
    assert_one_training([answers[task] for answers in both.two], both.alone[task])
    for answers in both.two:
        for mine, alone in zip(answers[task]["figures"], both.alone[task]["figures"], strict=True):
            assert mine == pytest.approx(alone, abs=1e-5)


def test_two_ranks_are_one_with_sparse_updates(corpus: Corpus, tmp_path: Path) -> None:
    job = Job(name="sparse", embedding_update="sparse")
    two = on_two_ranks(corpus.shards, tmp_path, job)
    assert_one_training([answers["sparse"] for answers in two], on_one_rank(corpus.shards, job)["sparse"])


def test_from_two_ranks_to_one(corpus: Corpus, both: Both) -> None:
    rest = on_one_rank(corpus.shards, Job(name="rest", checkpoints=str(both.checkpoints)))["rest"]
    assert_resumed([answers["stopped"] for answers in both.two], [rest], both.alone["whole"])


def test_from_one_rank_to_two(corpus: Corpus, both: Both, tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    first = on_one_rank(corpus.shards, stopped(checkpoints))["stopped"]
    rest = on_two_ranks(corpus.shards, tmp_path / "rest", Job(name="rest", checkpoints=str(checkpoints)))
    assert_resumed([first], [answers["rest"] for answers in rest], both.alone["whole"])


@pytest.mark.parametrize("arch", networks())
def test_every_architecture_on_two_ranks(arch: str, both: Both) -> None:
    alone, two = ([step["loss"] for step in answers[arch]["steps"][:STEPS]] for answers in (both.alone, both.two[0]))
    assert len(set(alone)) == STEPS, "the losses move"
    assert two == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("name", [job.name for job in LANGUAGE_MODELS])
def test_language_models_on_two_ranks(name: str, both: Both) -> None:
    alone, two = ([step["loss"] for step in answers[name]["steps"][:STEPS]] for answers in (both.alone, both.two[0]))
    assert len(set(alone)) == STEPS, "the losses move"
    assert two == pytest.approx(alone, abs=1e-5)


def test_virtual_adversarial_training_keeps_ranks_in_step(both: Both) -> None:
    """The directions to start from are random on each rank, so the losses are those of no other number of ranks."""
    first, second = ([step["loss"] for step in answers["virtual"]["steps"]] for answers in both.two)
    assert first == second
    assert first[0] == pytest.approx(both.alone["virtual"]["steps"][0]["loss"], abs=1e-5)
    assert first[-1] == pytest.approx(both.alone["virtual"]["steps"][-1]["loss"], abs=0.02)
