"""`pipeline train --teacher` as people run it: what the student learns, what is kept, and who may not teach."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.errors import InputNotFoundError, PipelineError, UsageError
from pipeline.lake.live import PROMOTED, make_live
from pipeline.lake.paths import Lake
from pipeline.lake.shards import plain_shards
from pipeline.lake.targets import target_files
from pipeline.models.bundle import Bundle, read_bundle
from pipeline.order.folds import Fold
from pipeline.order.selection import select
from tests.support.commands import invoke, run_process
from tests.support.killed_training import killed_after
from tests.support.tasks import TWO_LABELS
from tests.support.token_corpus import Corpus, write_corpus
from tests.support.trained import SMALL, train

pytestmark = pytest.mark.usefixtures("without_pages")
LINEAR = ("--arch", "nbsvm", "--linear-bits", "12")
NO_HOLDOUT = ("--holdout", "0")
FAST = ("--batch-size", "16", "--lr", "0.02", "--average", "0", "--no-baseline", "--linear-bits", "12", "--workers", "1")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("teacher"), 300, test_rows=60, unsup_rows=400, row_groups=(70, 30))


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> Bundle:
    """A teacher that has learned the opposite of every label."""
    folder = tmp_path_factory.mktemp("wrong")
    shutil.copytree(corpus.shards.parent, folder / "corpus")
    for path in (folder / "corpus" / "shards").glob("t*.parquet"):
        table = pq.read_table(path)
        place = table.schema.get_field_index("label")
        flipped = pa.array(1 - table["label"].to_numpy(), pa.int32())
        pq.write_table(table.set_column(place, table.schema.field(place), flipped), path, row_group_size=100)
    taught = invoke("train", "--lake", folder / "lake", "--tokens", folder / "corpus" / "shards", *LINEAR)
    assert taught["metrics"]["test_accuracy"] > 0.95
    return read_bundle(Path(taught["outputs"]["model"]))


def fit(lake: Path, corpus: Corpus, *arguments: object) -> dict[str, Any]:
    return invoke("train", "--lake", lake, "--tokens", corpus.shards, *LINEAR, *arguments)


def bundle_of(receipt: dict[str, Any]) -> Bundle:
    assert receipt["code"] == 0
    return read_bundle(Path(receipt["outputs"]["model"]))


def scored(lake: Path) -> dict[str, int]:
    """Rows that teachers have read, by shard."""
    tables = {path.name: pq.read_table(path)["probabilities"] for path in target_files(Lake(lake))}
    return {name: len(table) - table.null_count for name, table in tables.items()}


def own_accuracy(receipt: dict[str, Any]) -> float:
    """On the test part, of the architecture alone."""
    metrics = receipt["metrics"]
    return float(metrics.get("test_deep_accuracy", metrics["test_accuracy"]))


STUDENTS = {
    "nbsvm": LINEAR,
    "bag": ("--arch", "bag", "--embedding-dim", "8", "--epochs", "10", *FAST),
    "rnn": ("--arch", "rnn", "--embedding-dim", "8", "--hidden-dim", "32", "--epochs", "10", *FAST),
    "bilstm": ("--arch", "bilstm", "--no-wide", "--embedding-dim", "8", "--hidden-dim", "32", "--epochs", "6", *FAST),
    "bimingru": ("--arch", "bimingru", "--embedding-dim", "8", "--hidden-dim", "32", "--epochs", "6", *FAST),
}


@pytest.mark.slow
@pytest.mark.parametrize("student", STUDENTS)
def test_every_student_learns_what_the_teacher_says(tmp_path: Path, corpus: Corpus, wrong: Bundle, student: str) -> None:
    said = ("--teacher", wrong.folder, "--teacher-weight", "1", "--no-calibrate")
    receipt = invoke("train", "--lake", tmp_path, "--tokens", corpus.shards, *STUDENTS[student], *said)
    last = pq.read_table(Path(receipt["outputs"]["model"]) / "metrics.parquet").to_pylist()
    worst = min(row["accuracy"] for row in last if row["phase"] in ("valid", "test"))
    assert worst < 0.2, "the labels say the opposite of the teacher"
    teacher = receipt["metrics"]["teacher"]
    assert (teacher["model_id"], teacher["arch"], teacher["weight"]) == (wrong.model_id, "nbsvm", 1.0)
    assert (teacher["unlabelled_rows"], teacher["labelled_rows"]) == (400, receipt["metrics"]["train_rows"])
    assert teacher["valid_accuracy"] < 0.1


@pytest.mark.parametrize(
    "student",
    [LINEAR, *(pytest.param((*STUDENTS[name], "--wide"), marks=pytest.mark.slow) for name in ("bag", "bilstm"))],
)
def test_unlabelled_reviews_are_learned_from_as_the_teacher_labels_them(
    tmp_path: Path, corpus: Corpus, wrong: Bundle, student: tuple[str, ...]
) -> None:
    alone = invoke("train", "--lake", tmp_path / "alone", "--tokens", corpus.shards, *student, "--unlabelled", "none")
    receipt = invoke("train", "--lake", tmp_path, "--tokens", corpus.shards, *student, "--teacher", wrong.folder)
    teacher = receipt["metrics"]["teacher"]
    assert (teacher["unlabelled_rows"], teacher["labelled_rows"], teacher["weight"]) == (400, 0, 0.0)
    assert receipt["metrics"]["unlabelled_rows"] == 400 and alone["metrics"]["unlabelled_rows"] == 0
    assert own_accuracy(receipt) < own_accuracy(alone), (
        "the teacher's reviews are more than the labelled ones, and it is wrong about all of them"
    )


def test_a_share_of_the_teacher_is_mixed_with_the_labels(tmp_path: Path, corpus: Corpus, wrong: Bundle) -> None:
    common = (corpus, "--no-calibrate", "--teacher", wrong.folder, "--unlabelled", "none", "--teacher-weight")
    little, much = fit(tmp_path, *common, "0.1"), fit(tmp_path, *common, "0.9")
    assert little["metrics"]["test_accuracy"] > 0.9 and much["metrics"]["test_accuracy"] < 0.1
    plain = fit(tmp_path, corpus)
    assert len({made["outputs"]["model_id"] for made in (little, much, plain)}) == 3


@pytest.mark.slow
def test_the_ngrams_beside_a_network_learn_from_the_teacher_too(tmp_path: Path, corpus: Corpus) -> None:
    options = ("--linear-bits", "12", "--no-calibrate")
    receipt = train(tmp_path / "wide", corpus, *options, "--wide", "--unlabelled", "2")
    student = fit(tmp_path / "student", corpus, *options, "--teacher", "nbsvm", "--unlabelled", "2")
    plain = fit(tmp_path / "plain", corpus, *options)

    beside, alone, untaught = (
        read_bundle(Path(made["outputs"]["model"])).load_model() for made in (receipt, student, plain)
    )
    text = torch.randint(2, 100, (5, 30)), torch.tensor([30, 9, 4, 17, 1])
    assert torch.equal(beside.ngrams(*text), alone.deep(*text)) and not torch.equal(alone.deep(*text), untaught.deep(*text))
    baseline = receipt["metrics"]["baseline"]
    assert baseline["test_accuracy"] == plain["metrics"]["test_accuracy"], "the baseline has no teacher"
    assert baseline["test_loss"] == pytest.approx(plain["metrics"]["test_loss"], abs=0.05)


@pytest.mark.slow
def test_the_n_gram_model_of_the_run_teaches_any_student(tmp_path: Path, corpus: Corpus) -> None:
    default = train(tmp_path, corpus, "--linear-bits", "12", "--unlabelled", "2")
    assert train(tmp_path, corpus, "--linear-bits", "12", "--unlabelled", "2", "--teacher", "nbsvm")["code"] == 99
    teacher = default["metrics"]["teacher"]
    assert (teacher["arch"], teacher["model_id"], teacher["unlabelled_rows"]) == ("nbsvm", None, 400)
    plain = train(tmp_path, corpus, "--linear-bits", "12")
    assert "teacher" not in plain["metrics"]
    named = train(tmp_path, corpus, "--linear-bits", "12", "--teacher", "nbsvm")
    assert named["code"] == 0 and named["metrics"]["unlabelled_rows"] == 400
    assert bundle_of(named).training["teacher"] == "nbsvm"
    itself = fit(tmp_path, corpus, "--teacher", "nbsvm")
    assert itself["metrics"]["teacher"]["unlabelled_rows"] == 400
    assert train(tmp_path, corpus, "--linear-bits", "12", "--teacher", "nbsvm")["code"] == 99


@pytest.mark.slow
def test_the_teacher_reads_every_review_once(tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    shutil.copytree(corpus.shards.parent, tmp_path / "corpus")
    grown = Corpus(tmp_path / "corpus" / "shards", corpus.vocabulary, corpus.vocabulary_file)
    lake = tmp_path / "lake"
    teacher = fit(lake, grown, *NO_HOLDOUT)
    common = (grown, "--teacher", teacher["outputs"]["model_id"])
    first = train(lake, *common)
    valid, learned = first["metrics"]["valid_rows"], first["metrics"]["train_rows"]
    assert f"scored {400 + valid} reviews as a teacher" in caplog.text
    assert sum(scored(lake).values()) == 400 + valid
    train(lake, *common, "--seed", "1")
    assert "scored 0 reviews as a teacher" in caplog.text
    train(lake, *common, "--teacher-weight", "0.5")
    assert f"scored {learned} reviews as a teacher" in caplog.text
    (old,) = grown.shards.glob("unsup-0000.parquet")
    pq.write_table(pq.read_table(old).slice(0, 50), grown.shards / "unsup-new.parquet")
    train(lake, *common)
    assert "scored 50 reviews as a teacher" in caplog.text, "only the new shard's"
    damaged = max(target_files(Lake(lake)), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    again = train(lake, *common, "--force")
    assert "writing them again" in caplog.text
    assert bundle_of(again).weights_sha256 == bundle_of(train(tmp_path / "lake", *common, "--force")).weights_sha256


def test_test_rows_are_never_scored(tmp_path: Path, corpus: Corpus) -> None:
    fold = ("--fold", "1/3")
    teacher = fit(tmp_path, corpus, *fold)
    train(tmp_path, corpus, *fold, "--teacher", teacher["outputs"]["model_id"], "--teacher-weight", "0.5")
    selection, _ = select(plain_shards(corpus.shards), TWO_LABELS, 0.1, Fold(1, 3), 2.0, at_least=30_000)
    wanted = {name: selection.part(name).rows for name in ("train", "valid", "unlabelled", "test")}
    assert wanted["test"] > 50
    assert sum(scored(tmp_path).values()) == wanted["train"] + wanted["valid"] + wanted["unlabelled"]


@pytest.mark.slow
def test_a_fold_is_taught_by_models_that_have_not_read_it(tmp_path: Path, corpus: Corpus) -> None:
    reader = fit(tmp_path, corpus)["outputs"]["model_id"]
    other = fit(tmp_path, corpus, "--fold", "1/3")["outputs"]["model_id"]
    for name in (reader, other, Lake(tmp_path).models / reader):
        with pytest.raises(UsageError, match="was not trained with --fold 0/3, so it may have read"):
            train(tmp_path, corpus, "--fold", "0/3", "--teacher", name)
    with pytest.raises(UsageError, match="the live model has read the reviews that the fold holds out"):
        train(tmp_path, corpus, "--fold", "0/3", "--teacher", "LIVE")
    # What the messages say to pass.
    same = fit(tmp_path, corpus, "--fold", "0/3")["outputs"]["model_id"]
    run = invoke("crossval", "--lake", tmp_path, "--tokens", corpus.shards, "--folds", "3", *LINEAR)
    folder = Path(run["outputs"]["summary"]).parent
    for name in ("nbsvm", same, folder.name):
        receipt = train(tmp_path, corpus, "--fold", "0/3", "--teacher", name, "--linear-bits", "12", "--force")
        assert receipt["metrics"]["teacher"]["model_id"] == (None if name == "nbsvm" else same)


@pytest.mark.slow
def test_a_cross_validation_is_taught_fold_by_fold(tmp_path: Path, corpus: Corpus) -> None:
    common = ("--lake", tmp_path, "--tokens", corpus.shards, "--folds", "3")
    taught = invoke("crossval", *common, *LINEAR)
    folder = Path(taught["outputs"]["summary"]).parent
    student = ("crossval", *common, *SMALL, "--teacher")
    for name, code in ((folder.name, 0), (folder, 99)):
        receipt = invoke(*student, name)
        assert receipt["code"] == code
    assert len({Path(receipt["outputs"]["summary"]).parent, folder}) == 2
    for before, after in zip(taught["metrics"]["folds"], receipt["metrics"]["folds"], strict=True):
        bundle = read_bundle(tmp_path / "crossval" / "models" / after["model_id"])
        assert bundle.metrics["teacher"]["model_id"] == before["model_id"]
        assert bundle.metrics["teacher"]["same_validation"]
    with pytest.raises(UsageError, match="was not trained with --fold 0/2"):
        invoke("crossval", "--lake", tmp_path, "--tokens", corpus.shards, "--folds", "2", *SMALL, "--teacher", folder.name)
    with pytest.raises(UsageError, match="the live model has read"):
        invoke(*student, "LIVE")
    next(folder.glob("fold-1-*.parquet")).unlink()
    with pytest.raises(PipelineError, match=r"has no model of fold 1 yet\. Run 'pipeline crossval'") as raised:
        invoke(*student, folder.name, "--seed", "1")
    assert raised.value.exit_code == 66
    assert invoke("crossval", *common, *LINEAR)["code"] == 0
    assert invoke(*student, folder.name, "--seed", "1")["code"] == 0


@pytest.mark.slow
def test_what_is_held_out_is_not_taught_by_a_model_that_has_read_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = write_corpus(tmp_path / "corpus", 400, unsup_rows=60)
    lake = tmp_path / "lake"
    reader = fit(lake, corpus, *NO_HOLDOUT)["outputs"]["model_id"]
    with pytest.raises(UsageError, match=r"trained without --holdout 0\.1, so it has read the reviews"):
        train(lake, corpus, "--teacher", reader)
    # Each remedy of the message.
    assert train(lake, corpus, "--teacher", reader, *NO_HOLDOUT)["metrics"]["teacher"]["model_id"] == reader
    held = fit(lake, corpus, "--holdout", "0.1")["outputs"]["model_id"]
    receipt = train(lake, corpus, "--teacher", held)
    assert receipt["metrics"]["teacher"]["same_validation"] and receipt["metrics"]["test_rows"] > 20
    assert train(lake, corpus, "--teacher", "nbsvm", "--linear-bits", "12")["code"] == 0
    caplog.set_level("INFO")
    other = train(lake, corpus, "--teacher", held, "--valid-fraction", "0.3")
    assert not other["metrics"]["teacher"]["same_validation"]
    assert "may have learned from some of this training's validation rows" in caplog.text


@pytest.mark.slow
def test_a_teacher_of_another_vocabulary_is_refused_and_the_live_one_gives_way(
    tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    lake = tmp_path / "lake"
    old = fit(lake, write_corpus(tmp_path / "old", 300, words=260))["outputs"]["model_id"]
    make_live(Lake(lake), old, PROMOTED)
    with pytest.raises(UsageError, match=r"the vocabulary of nbsvm-.* and of the table differ.*\('pipeline train'\)"):
        train(lake, corpus, "--teacher", old)
    receipt = train(lake, corpus, "--teacher", "LIVE", "--linear-bits", "12")
    assert "Until then, nbsvm teaches." in caplog.text
    assert receipt["metrics"]["teacher"]["model_id"] is None
    new = fit(lake, corpus)["outputs"]["model_id"]  # what the message says to do
    assert train(lake, corpus, "--teacher", new)["metrics"]["teacher"]["model_id"] == new


def test_a_model_of_another_task_cannot_teach(tmp_path: Path, corpus: Corpus) -> None:
    shutil.copytree(corpus.shards.parent, tmp_path / "corpus")
    rated = Corpus(tmp_path / "corpus" / "shards", corpus.vocabulary, corpus.vocabulary_file)
    for path in rated.shards.glob("*.parquet"):
        table = pq.read_table(path)
        stars = pa.compute.add(pa.compute.multiply(table["label"], 8), 1).cast(pa.int32())
        place = table.schema.get_field_index("stars")
        pq.write_table(table.set_column(place, table.schema.field(place), stars), path, row_group_size=100)
    ridge = ("--task", "regression", "--arch", "ridge", "--linear-bits", "12")
    numbers = invoke("train", "--lake", tmp_path / "lake", "--tokens", rated.shards, *ridge)["outputs"]["model_id"]
    with pytest.raises(UsageError, match=r"has learned --task regression, and only a model of --task classification"):
        train(tmp_path / "lake", rated, "--teacher", numbers)


@pytest.mark.slow
def test_night_after_night_the_live_model_teaches_the_next_one(tmp_path: Path, corpus: Corpus) -> None:
    follow = (corpus, "--teacher", "LIVE", "--promote", "always")
    first = bundle_of(fit(tmp_path, *follow))
    assert first.metrics["teacher"]["model_id"] is None, "no model was live"
    second = bundle_of(fit(tmp_path, *follow))
    assert second.metrics["teacher"]["model_id"] == first.model_id
    assert second.training["teacher"] == first.content_key
    for _ in range(2):
        again = fit(tmp_path, *follow)
        assert (again["code"], again["outputs"]["model_id"]) == (99, second.model_id), "no review is new"
    grown = Corpus(tmp_path / "grown" / "shards", corpus.vocabulary, corpus.vocabulary_file)
    shutil.copytree(corpus.shards.parent, tmp_path / "grown")
    pq.write_table(pq.read_table(corpus.shards / "unsup-0000.parquet").slice(0, 50), grown.shards / "unsup-new.parquet")
    third = bundle_of(fit(tmp_path, grown, *follow[1:]))
    assert third.metrics["teacher"]["model_id"] == second.model_id


@pytest.mark.parametrize("lost", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_with_its_own_teacher(
    tmp_path: Path, corpus: Corpus, lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("--checkpoint-every", "3", "--teacher", "LIVE", "--teacher-weight", "0.5", "--linear-bits", "12")
    first = bundle_of(fit(tmp_path / "whole", corpus))
    make_live(Lake(tmp_path / "whole"), first.model_id, PROMOTED)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    whole = bundle_of(train(tmp_path / "whole", corpus, *options))
    with killed_after(13):
        train(tmp_path / "killed", corpus, *options)
    other = bundle_of(fit(tmp_path / "killed", corpus, "--seed", "1"))
    make_live(Lake(tmp_path / "killed"), other.model_id, PROMOTED)
    if lost:
        shutil.rmtree(tmp_path / "killed" / "models" / first.model_id)
    resumed = bundle_of(train(tmp_path / "killed", corpus, *options, "--resume"))
    assert resumed.metrics["teacher"]["model_id"] == (other if lost else first).model_id
    assert (resumed.weights_sha256 == whole.weights_sha256) is not lost
    assert ("is gone. Starting a new one" in caplog.text) is lost


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--teacher", "nbsvm", "--unlabelled", "none"), "has nothing to label"),
        (("--teacher-weight", "0.5"), "--teacher-weight 0.5 has no teacher. Also pass --teacher"),
        (("--teacher", ""), "--teacher: empty name"),
        (("--teacher", "nbsvm", "--teacher-weight", "1.5"), "--teacher-weight 1.5: expected a number from 0 to 1"),
        (("--task", "regression", "--teacher", "nbsvm"), "--teacher: applies to --task classification only"),
        (("--unlabelled", "many"), "--unlabelled many: expected auto, none, or unlabelled reviews per labelled review"),
        (("--unlabelled", "-1"), "--unlabelled -1.0: expected auto, none, or"),
        (("--unlabelled", "nan"), "--unlabelled nan: expected auto, none, or"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_begins(
    tmp_path: Path, corpus: Corpus, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        train(tmp_path, corpus, *options)
    assert said in str(raised.value)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("options", [(), ("--fold", "0/3")])
def test_an_unknown_teacher_is_named_by_its_option(tmp_path: Path, corpus: Corpus, options: tuple[str, ...]) -> None:
    with pytest.raises(InputNotFoundError, match=r"^--teacher 'nobody': no such bundle"):
        train(tmp_path, corpus, "--teacher", "nobody", *options)
    with pytest.raises(InputNotFoundError, match=r"Did you mean 'nbsvm'\?"):
        train(tmp_path, corpus, "--teacher", "nbsvn", *options)


def test_a_table_without_unlabelled_reviews_gives_the_teacher_nothing_to_label(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = write_corpus(tmp_path / "corpus", 300, test_rows=60)
    receipt = train(tmp_path / "lake", corpus, "--teacher", "nbsvm")
    assert "there are no unlabelled reviews, so it has nothing to label" in caplog.text
    assert "teacher" not in receipt["metrics"]


@pytest.mark.slow
def test_unlabelled_reviews_can_be_left_out_by_name(tmp_path: Path, corpus: Corpus) -> None:
    wide = ("--wide", "--linear-bits", "12")
    made = {name: train(tmp_path / name, corpus, *wide, "--unlabelled", name) for name in ("auto", "none", "0.5")}
    rows = {name: receipt["metrics"]["unlabelled_rows"] for name, receipt in made.items()}
    assert (rows["auto"], rows["none"]) == (400, 0) and 100 < rows["0.5"] < 150
    assert train(tmp_path / "auto", corpus, *wide)["code"] == 99, "auto is the default"
    (tmp_path / "none" / "pipeline.toml").write_text('[train]\nunlabelled = "none"\n')
    assert train(tmp_path / "none", corpus, *wide)["code"] == 99
    (tmp_path / "0.5" / "pipeline.toml").write_text("[train]\nunlabelled = 0.5\n")
    assert train(tmp_path / "0.5", corpus, *wide)["code"] == 99


@pytest.mark.slow
def test_several_processes_learn_the_same_from_a_teacher(tmp_path: Path, corpus: Corpus) -> None:
    teacher = fit(tmp_path / "two", corpus)["outputs"]["model_id"]
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    (tmp_path / "two" / "pipeline.toml").write_text('[train]\nunlabelled = "none"\n')
    options = ("train", "--tokens", corpus.shards, *SMALL, "--teacher", teacher, "--teacher-weight", "0.3")
    options += ("--unlabelled", "auto", "--dropout", "0", "--embedding-dropout", "0")
    two = run_process(*options, "--lake", tmp_path / "two", "--nproc", "2")
    assert two.code == 0, two.stderr
    one = bundle_of(invoke(*options, "--lake", tmp_path / "one"))
    bundle = bundle_of({"code": 0, **two.receipt})
    for name, tensor in bundle.load_model().state_dict().items():
        torch.testing.assert_close(tensor, one.load_model().state_dict()[name], atol=1e-5, rtol=1e-4)
    assert bundle.metrics["teacher"] == one.metrics["teacher"] and bundle.metrics["unlabelled_rows"] == 400
    assert run_process(*options, "--lake", tmp_path / "two", "--nproc", "2").code == 99
    assert np.isfinite(bundle.metrics["valid_loss"])
