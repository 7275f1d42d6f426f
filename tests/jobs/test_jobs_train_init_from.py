"""`pipeline train --init-from` as people run it, night after night: what the new model starts from, and when there is
nothing new to learn."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config.crossval import CrossvalConfig
from pipeline.config.train import TrainConfig
from pipeline.errors import InputNotFoundError, LockedError, PipelineError, UsageError
from pipeline.lake.live import PROMOTED, ROLLED_BACK, make_live
from pipeline.lake.paths import Lake
from pipeline.models.bundle import Bundle, read_bundle
from pipeline.options.render import arguments
from tests.support.commands import invoke, run_process
from tests.support.killed_training import killed_after
from tests.support.token_corpus import Corpus, write_corpus
from tests.support.trained import SMALL, train

pytestmark = pytest.mark.usefixtures("without_pages")
UNMOVED = ("--lr", "1e-12", "--average", "0", "--epochs", "1")
"""With these the trained weights still are those that they started from."""


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Corpus]:
    """The reviews of two nights; those of the second have words that those of the first lack."""
    folder = tmp_path_factory.mktemp("nights")
    return write_corpus(folder / "first", 300), write_corpus(folder / "second", 300, words=260, seed=1)


def bundle_of(receipt: dict[str, Any]) -> Bundle:
    assert receipt["code"] == 0
    return read_bundle(Path(receipt["outputs"]["model"]))


def weights_of(bundle: Bundle) -> dict[str, torch.Tensor]:
    return bundle.load_model().deep.state_dict()


def live_bundle(lake: Path, *training: object) -> Bundle:
    """Trains, and makes the model the live one, whether or not it is good enough to become it by itself."""
    found = bundle_of(train(lake, *training))
    make_live(Lake(lake), found.model_id, PROMOTED)
    return found


def test_the_model_starts_from_the_live_one(tmp_path: Path, nights: tuple[Corpus, Corpus]) -> None:
    first = live_bundle(tmp_path, nights[0], "--lr", "0.01")
    receipt = train(tmp_path, nights[1], "--init-from", "LIVE", *UNMOVED)
    second = bundle_of(receipt)
    before, after = weights_of(first), weights_of(second)
    torch.testing.assert_close(after["embedding.weight"][:200], before["embedding.weight"], atol=1e-6, rtol=0)
    assert after["embedding.weight"][200:].std() > 0.05, "new words start from random vectors"
    for name in after.keys() - {"embedding.weight"}:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    taken = receipt["metrics"]["init_from"]
    assert (taken["model_id"], taken["words"], taken["all_words"]) == (first.model_id, 198, 258)
    assert taken["tensors"] == taken["all_tensors"] == len(after)
    assert second.training["init_from"] == first.fingerprint
    assert "init_from" not in first.training


def test_following_the_live_model_ends_when_nothing_is_new(tmp_path: Path, nights: tuple[Corpus, Corpus]) -> None:
    warm = ("--init-from", "LIVE")
    names = []
    for corpus in nights:
        names.append(live_bundle(tmp_path, corpus, *warm).model_id)
        for _ in range(2):
            again = train(tmp_path, corpus, *warm)
            assert (again["code"], again["outputs"]["model_id"]) == (99, names[-1]), "that LIVE has moved is no reason"
    make_live(Lake(tmp_path), names[0], ROLLED_BACK)
    assert train(tmp_path, nights[1], *warm)["code"] == 99, "neither is a rollback"
    assert train(tmp_path, nights[1], *warm, "--force")["metrics"]["init_from"]["model_id"] == names[0]


def test_a_named_model_is_another_start_wherever_it_is(tmp_path: Path, nights: tuple[Corpus, Corpus]) -> None:
    lake = tmp_path / "lake"
    first = bundle_of(train(lake, nights[0]))
    second = bundle_of(train(lake, nights[0], "--init-from", first.model_id))
    assert second.model_id != first.model_id
    elsewhere = shutil.copytree(first.folder, tmp_path / "elsewhere")
    for source in (first.model_id, elsewhere):
        again = train(lake, nights[0], "--init-from", source)
        assert (again["code"], again["outputs"]["model_id"]) == (99, second.model_id)
    third = bundle_of(train(lake, nights[0], "--init-from", second.folder))
    assert third.training["init_from"] == second.fingerprint


def test_without_a_live_model_the_first_night_starts_from_random_weights(
    tmp_path: Path, nights: tuple[Corpus, Corpus], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first = bundle_of(train(tmp_path / "warm", nights[0], "--init-from", "LIVE"))
    assert "no model is live yet" in caplog.text
    cold = bundle_of(train(tmp_path / "cold", nights[0]))
    assert first.weights_sha256 == cold.weights_sha256 and first.training == cold.training


@pytest.mark.parametrize("lost", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_from_its_own_start_although_another_model_is_live(
    tmp_path: Path, nights: tuple[Corpus, Corpus], lost: bool
) -> None:
    options = ("--checkpoint-every", "3", "--init-from", "LIVE")
    first = live_bundle(tmp_path / "whole", nights[0])
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    whole = bundle_of(train(tmp_path / "whole", nights[1], *options))
    with killed_after(13):
        train(tmp_path / "killed", nights[1], *options)
    live_bundle(tmp_path / "killed", nights[0], "--seed", "1")
    if lost:
        shutil.rmtree(tmp_path / "killed" / "models" / first.model_id)
    resumed = bundle_of(train(tmp_path / "killed", nights[1], *options, "--resume"))
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.training == whole.training
    assert not any((tmp_path / "killed" / "checkpoints").iterdir())
    assert train(tmp_path / "killed", nights[1], *options, "--resume")["code"] == 99


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
def test_without_an_intact_checkpoint_it_begins_again_from_the_same_model_if_there_is_one(
    tmp_path: Path, nights: tuple[Corpus, Corpus], lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("--checkpoint-every", "3", "--init-from", "LIVE")
    first = live_bundle(tmp_path, nights[0])
    with killed_after(7):
        train(tmp_path, nights[1], *options)
    (unfinished,) = (tmp_path / "checkpoints").iterdir()
    for checkpoint in unfinished.glob("*.safetensors"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    other = live_bundle(tmp_path, nights[0], "--seed", "1")
    if lost:
        shutil.rmtree(first.folder)
    receipt = train(tmp_path, nights[1], *options, "--resume")
    assert receipt["metrics"]["init_from"]["model_id"] == (other if lost else first).model_id
    assert (receipt["outputs"]["model_id"] == unfinished.name) is not lost
    assert ("the model that it started from is gone. Starting a new one" in caplog.text) is lost


def test_two_that_follow_the_live_model_do_not_run_at_once(tmp_path: Path, nights: tuple[Corpus, Corpus]) -> None:
    from pipeline.lake import locks

    live_bundle(tmp_path, nights[0])
    held: list[Path] = []
    with pytest.MonkeyPatch.context() as patched, killed_after(1):
        true = locks.locked

        def spied(path: Path, *rest: Any, **more: Any) -> Any:
            held.append(path)
            return true(path, *rest, **more)

        patched.setattr(locks, "locked", spied)
        train(tmp_path, nights[1], "--init-from", "LIVE")
    training = [path for path in held if path.name.startswith("train-")]
    assert len(training) == 2, "of all that follow the live model, and of those that start from this one"
    for path in training:
        with locks.locked(path, "the test"), pytest.raises(LockedError):
            train(tmp_path, nights[1], "--init-from", "LIVE")


@pytest.mark.slow
def test_the_linear_part_is_fitted_from_the_start(tmp_path: Path, nights: tuple[Corpus, Corpus]) -> None:
    wide = ("--wide", "--linear-bits", "10", *UNMOVED)
    first = live_bundle(tmp_path, nights[0], "--wide", "--linear-bits", "10")
    second = bundle_of(train(tmp_path, nights[1], *wide, "--init-from", "LIVE"))
    cold = bundle_of(train(tmp_path / "cold", nights[1], *wide))
    own, fresh = second.load_model().ngrams, cold.load_model().ngrams
    assert torch.equal(own.weights, fresh.weights)
    torch.testing.assert_close(weights_of(second)["head.weight"], weights_of(first)["head.weight"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--init-from", "lsmt-2026"), 66, "is empty. Run 'pipeline train' first"),
        (("--init-from", "LIVE", "--embeddings", "glove.txt"), 2, "Pass only one of them."),
        (("--init-from", "LIVE", "--fold", "0/5"), 2, "the fold holds out. Pass only one of them."),
    ],
)
def test_what_cannot_be_is_refused_before_anything_begins(
    tmp_path: Path, nights: tuple[Corpus, Corpus], options: tuple[str, ...], code: int, said: str
) -> None:
    for more in ((), ("--nproc", "2")):
        with pytest.raises(PipelineError) as raised:
            train(tmp_path, nights[0], *options, *more)
        assert said in str(raised.value) and raised.value.exit_code == code
        assert not (tmp_path / "checkpoints").exists()


def test_the_linear_model_has_nothing_to_start_from(tmp_path: Path, nights: tuple[Corpus, Corpus]) -> None:
    fit = ("train", "--lake", tmp_path, "--tokens", nights[0].shards, "--arch", "nbsvm", "--linear-bits", "10")
    with pytest.raises(UsageError, match=r"--init-from: --arch nbsvm is always fitted from the start\. Remove the option"):
        invoke(*fit, "--init-from", "LIVE")
    first = invoke(*fit)["outputs"]["model_id"]
    make_live(Lake(tmp_path), first, PROMOTED)
    for more in ((), ("--nproc", "2")):
        with pytest.raises(UsageError, match=f"--init-from {first}: nothing of it fits"):
            train(tmp_path, nights[0], "--init-from", "LIVE", *more)
    with pytest.raises(UsageError, match=rf"--init {first}: nothing of it fits.* remove --init to start from random"):
        train(tmp_path, nights[0], "--init", "LIVE")
    assert not any((tmp_path / "checkpoints").iterdir())
    live_bundle(tmp_path, nights[0])  # the message says to remove the option
    bundle_of(train(tmp_path, nights[1], "--init-from", "LIVE"))


def test_a_live_model_that_is_gone_is_named_with_the_repair(tmp_path: Path, nights: tuple[Corpus, Corpus]) -> None:
    first = bundle_of(train(tmp_path, nights[0]))
    second = live_bundle(tmp_path, nights[0], "--seed", "1")
    shutil.rmtree(second.folder)
    with pytest.raises(InputNotFoundError, match="Run 'pipeline repair'"):
        train(tmp_path, nights[1], "--init-from", "LIVE")
    invoke("repair", "--lake", tmp_path)
    receipt = train(tmp_path, nights[1], "--init-from", "LIVE")
    assert receipt["metrics"]["init_from"]["model_id"] == first.model_id


def test_cross_validation_starts_from_random_weights() -> None:
    assert "init_from" not in CrossvalConfig.__dataclass_fields__, "a fold must not know what it is tested on"


@pytest.mark.slow
def test_several_processes_start_from_the_same_weights(tmp_path: Path, nights: tuple[Corpus, Corpus]) -> None:
    assert "--init-from=LIVE" in arguments(TrainConfig(lake=Lake(tmp_path), init_from="LIVE"))
    first = live_bundle(tmp_path, nights[0], "--lr", "0.01")
    shutil.copytree(tmp_path, other := tmp_path.with_name("one"))
    options = ("train", "--tokens", nights[1].shards, *SMALL, *UNMOVED, "--init-from", "LIVE")
    two = run_process(*options, "--lake", tmp_path, "--nproc", "2")
    assert two.code == 0, two.stderr
    one = bundle_of(invoke(*options, "--lake", other))
    bundle = bundle_of({"code": 0, **two.receipt})
    for name, tensor in weights_of(bundle).items():
        torch.testing.assert_close(tensor, weights_of(one)[name], atol=1e-6, rtol=0)
    assert two.receipt["metrics"]["init_from"]["model_id"] == first.model_id
    assert run_process(*options, "--lake", tmp_path, "--nproc", "2").code == 99
