"""`pipeline pretrain` and `train --init` as people run them: what is read, what is taken, what is refused and what helps."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.lake.paths import Lake
from pipeline.models.bundle import Bundle, read_bundle
from pipeline.models.pretrained import Pretrained, read_pretrained
from pipeline.order.folds import folds_of
from pipeline.order.holdout import held_out
from schemas.token import TOKEN
from tests.support.commands import invoke, run_process
from tests.support.killed_training import killed_after
from tests.support.token_corpus import Corpus, write_corpus
from tests.support.trained import train

pytestmark = pytest.mark.usefixtures("without_pages")
VECTORS = ("--objective", "vectors", "--embedding-dim", "8")
LM = ("--objective", "lm", "--arch", "lstm", "--embedding-dim", "8", "--hidden-dim", "8", "--workers", "1")
UNMOVED = ("--lr", "1e-12", "--average", "0", "--epochs", "1")
"""With these the trained weights still are those that they started from."""
ROWS, UNSUP, TEST = 240, 120, 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("pretrain"), ROWS, unsup_rows=UNSUP)


def pretrain(lake: Path, corpus: Corpus, *arguments: object) -> dict[str, Any]:
    return invoke("pretrain", "--lake", lake, "--tokens", corpus.shards, *arguments)


def pretrained(lake: Path, corpus: Corpus, *arguments: object) -> Pretrained:
    receipt = pretrain(lake, corpus, *arguments)
    assert receipt["code"] == 0
    return read_pretrained(Path(receipt["outputs"]["pretrained"]))


def trained(lake: Path, corpus: Corpus, *arguments: object) -> Bundle:
    receipt = train(lake, corpus, *arguments)
    assert receipt["code"] == 0
    return read_bundle(Path(receipt["outputs"]["model"]))


def rewritten(corpus: Corpus, folder: Path, which: Callable[[pa.Table], np.ndarray]) -> Corpus:
    """A copy whose chosen reviews have other text, as long as before."""
    shutil.copytree(corpus.shards.parent, folder)
    random = np.random.default_rng(7)
    field = TOKEN.schema.field("ids")
    for path in (folder / "shards").glob("*.parquet"):
        table = pq.read_table(path)
        chosen = which(table)
        ids = [
            random.integers(2, 200, len(row)).tolist() if other else row
            for row, other in zip(table["ids"].to_pylist(), chosen, strict=True)
        ]
        table = table.set_column(table.column_names.index("ids"), field, pa.array(ids, field.type))
        pq.write_table(table, path, row_group_size=100)
    return Corpus(folder / "shards", corpus.vocabulary, folder / "vocabulary" / corpus.vocabulary_file.name)


def in_fold(table: pa.Table) -> np.ndarray:
    folds = folds_of(table["review_id"].to_pylist(), table["group"].to_pylist(), 3)
    return (folds == 1) & (np.asarray(table["split"].to_pylist()) == "train")


def in_holdout(table: pa.Table) -> np.ndarray:
    return held_out(table["review_id"].to_pylist(), table["group"].to_pylist(), 0.1)


def in_test(table: pa.Table) -> np.ndarray:
    return np.asarray(table["split"].to_pylist()) == "test"


@pytest.mark.parametrize("objective", [VECTORS, LM], ids=["vectors", "lm"])
@pytest.mark.parametrize(
    ("options", "which"),
    [(("--fold", "1/3"), in_fold), ((), in_holdout), (("--holdout", "0"), in_test)],
    ids=["fold", "holdout", "test"],
)
def test_text_that_a_training_is_tested_on_changes_no_bit(
    tmp_path: Path, objective: tuple[str, ...], options: tuple[str, ...], which: Callable[[pa.Table], np.ndarray]
) -> None:
    corpus = write_corpus(tmp_path / "one", ROWS, unsup_rows=UNSUP, test_rows=TEST if which is in_test else 0)
    other = rewritten(corpus, tmp_path / "other", which)
    anything = rewritten(corpus, tmp_path / "anything", lambda table: np.ones(len(table), np.bool_))
    digests = [pretrained(tmp_path / "lake", of, *objective, *options).weights_sha256 for of in (corpus, other, anything)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.slow
@pytest.mark.parametrize("objective", [VECTORS, LM], ids=["vectors", "lm"])
def test_the_same_again_is_nothing_new_and_other_options_are(
    tmp_path: Path, corpus: Corpus, objective: tuple[str, ...]
) -> None:
    first = pretrained(tmp_path, corpus, *objective)
    again = pretrain(tmp_path, corpus, *objective)
    assert (again["code"], again["outputs"]["pretrained_id"]) == (99, first.pretrained_id)
    for more in (("--seed", "1"), ("--fold", "0/2"), ("--holdout", "0.2"), ("--max-length", "10"), ("--force",)):
        assert pretrained(tmp_path, corpus, *objective, *more).pretrained_id != first.pretrained_id
    (tmp_path / "checkpoints" / first.pretrained_id).mkdir()  # as a kill just before the end leaves it
    assert pretrain(tmp_path, corpus, *objective)["code"] == 99
    by_workers = pretrained(tmp_path, corpus, *objective, "--workers", "0", "--force")
    assert by_workers.weights_sha256 == first.weights_sha256
    assert not list((tmp_path / "checkpoints").iterdir())


def test_unlabelled_reviews_are_enough(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 0, unsup_rows=200, labels=(), only_label=0)
    receipt = pretrain(tmp_path / "lake", corpus, *LM)
    assert receipt["code"] == 0
    assert 0 < receipt["metrics"]["valid_rows"] < receipt["metrics"]["train_rows"] < 200
    assert receipt["read"] == receipt["metrics"]["train_rows"]


def test_a_language_model_learns_and_notes_its_perplexity(tmp_path: Path, corpus: Corpus) -> None:
    found = pretrained(tmp_path, corpus, *LM, "--epochs", "8", "--lr", "0.03")
    rows = pq.read_table(found.folder / "metrics.parquet").to_pylist()
    valid = [row["perplexity"] for row in rows if row["phase"] == "valid"]
    assert len(valid) == 8
    assert valid[0] > min(valid) == pytest.approx(found.metrics["valid_perplexity"])
    assert min(valid) < 180, "below that of guessing among all tokens"


def test_a_killed_language_model_goes_on_to_the_same_bits(tmp_path: Path, corpus: Corpus) -> None:
    options = (*LM, "--checkpoint-every", "2", "--epochs", "2")
    whole = pretrained(tmp_path / "whole", corpus, *options)
    with killed_after(13):
        pretrain(tmp_path / "killed", corpus, *options)
    assert list((tmp_path / "killed").glob("checkpoints/*/epoch-00001-*.safetensors"))
    resumed = pretrained(tmp_path / "killed", corpus, *options, "--resume")
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.training == whole.training
    assert not list((tmp_path / "killed" / "checkpoints").iterdir())


@pytest.mark.slow
def test_two_processes_leave_one_pretrained_model(tmp_path: Path, corpus: Corpus) -> None:
    alone = pretrained(tmp_path / "alone", corpus, *LM)
    two = run_process("pretrain", "--lake", tmp_path / "two", "--tokens", corpus.shards, *LM, "--nproc", "2")
    assert two.code == 0, two.stderr
    assert two.receipt["metrics"]["valid_loss"] == pytest.approx(alone.metrics["valid_loss"], abs=1e-4)


def weights(bundle: Bundle) -> dict[str, torch.Tensor]:
    return bundle.load_model().deep.state_dict()


@pytest.mark.slow
def test_a_training_takes_vectors_whatever_its_architecture(tmp_path: Path, corpus: Corpus) -> None:
    found = pretrained(tmp_path, corpus, *VECTORS)
    for name in ("LATEST", found.pretrained_id, found.folder):
        bundle = trained(tmp_path, corpus, "--arch", "gru", "--init", name, *UNMOVED, "--force")
        torch.testing.assert_close(
            weights(bundle)["embedding.weight"], found.load_weights()["embedding.weight"], atol=1e-6, rtol=0
        )
        assert bundle.training["init"] == found.fingerprint
    assert "init" not in trained(tmp_path, corpus, *UNMOVED).training


@pytest.mark.slow
def test_a_training_takes_recurrent_weights_and_sizes(
    tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    found = pretrained(tmp_path, corpus, *LM[:2], "--arch", "bilstm", "--embedding-dim", "6", "--hidden-dim", "10")
    options = ("--tokens", corpus.shards, "--no-wide", "--no-baseline", "--workers", "1", "--init", "LATEST", *UNMOVED)
    receipt = invoke("train", "--lake", tmp_path, "--arch", "bilstm", *options)
    own = weights(read_bundle(Path(receipt["outputs"]["model"])))
    theirs = found.load_weights()
    for name in own.keys() - {"head.weight", "head.bias"}:
        torch.testing.assert_close(own[name], theirs[name], atol=1e-6, rtol=0)
    taken = receipt["metrics"]["init_from"]
    assert taken["perplexity"] == found.metrics["valid_perplexity"]
    assert (taken["tensors"], taken["left"]) == (len(own) - 2, ["head.weight", "head.bias"])
    assert f"started from {found.pretrained_id}: took 9 of 11 tensors" in caplog.text
    one_way = invoke("train", "--lake", tmp_path, "--arch", "lstm", *options)
    assert one_way["metrics"]["init_from"]["tensors"] == 5, "word vectors and the layer of the forward direction"
    assert "backward_layers.0.weight_ih_l0, which do not fit" in caplog.text.replace("\n", " ")
    other = invoke("train", "--lake", tmp_path, "--arch", "gru", *options)
    assert other["metrics"]["init_from"]["tensors"] == 1


def test_a_finished_training_is_found_by_what_it_started_from(tmp_path: Path, corpus: Corpus) -> None:
    first = pretrained(tmp_path, corpus, *VECTORS)
    bundle = trained(tmp_path, corpus, "--init", first.pretrained_id)
    elsewhere = shutil.copytree(first.folder, tmp_path / "elsewhere")
    assert train(tmp_path, corpus, "--init", elsewhere)["code"] == 99
    pretrained(tmp_path, corpus, *VECTORS, "--seed", "1", "--context-window", "2")
    assert trained(tmp_path, corpus, "--init", "LATEST").model_id != bundle.model_id


def test_init_also_names_a_model(tmp_path: Path, corpus: Corpus) -> None:
    first = trained(tmp_path, corpus)
    by_old_name = trained(tmp_path, corpus, "--init-from", first.model_id, *UNMOVED)
    again = train(tmp_path, corpus, "--init", first.model_id, *UNMOVED)
    assert (again["code"], again["outputs"]["model_id"]) == (99, by_old_name.model_id)
    live = train(tmp_path, corpus, "--init", "LIVE", *UNMOVED, "--seed", "1")
    assert live["metrics"]["init_from"]["model_id"] == Lake(tmp_path).latest_model() or live["code"] == 0


def remedy(message: str) -> list[str]:
    """The command line that a message suggests."""
    found = re.search(r"'pipeline (pretrain [^']*)'", message)
    assert found is not None, message
    return shlex.split(found[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "training"),
    [
        ((), ("--fold", "0/3")),
        (("--fold", "1/3"), ("--fold", "0/3")),
        (("--holdout", "0"), ()),
        (("--holdout", "0.05"), ("--holdout", "0.2")),
        (("--fold", "1/3"), ()),
    ],
)
def test_a_pretrained_model_that_has_read_the_test_part_is_refused_with_the_command_that_helps(
    tmp_path: Path, corpus: Corpus, before: tuple[str, ...], training: tuple[str, ...]
) -> None:
    first = pretrained(tmp_path, corpus, *VECTORS, *before)
    for more in ((), ("--nproc", "2")):
        with pytest.raises(PipelineError, match="too high") as refused:
            train(tmp_path, corpus, "--init", first.folder, *training, *more)
        assert refused.value.exit_code == 2
    assert not (tmp_path / "models").exists()
    command, *options = remedy(str(refused.value))
    assert invoke(command, "--lake", tmp_path, "--tokens", corpus.shards, *options, *VECTORS[2:])["code"] == 0
    assert train(tmp_path, corpus, "--init", "LATEST", *training)["code"] == 0


def test_the_suggested_pretraining_has_the_same_architecture(tmp_path: Path, corpus: Corpus) -> None:
    pretrained(tmp_path, corpus, *LM)
    with pytest.raises(PipelineError, match="too high") as refused:
        train(tmp_path, corpus, "--init", "LATEST", "--holdout", "0.2")
    command, *options = remedy(str(refused.value))
    sizes = ("--embedding-dim", "8", "--hidden-dim", "8", "--workers", "1")
    again = invoke(command, "--lake", tmp_path, "--tokens", corpus.shards, *options, *sizes)
    assert read_pretrained(Path(again["outputs"]["pretrained"])).arch == "lstm"


def test_another_vocabulary_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    other = write_corpus(tmp_path / "other", 200, words=150)
    pretrained(tmp_path / "lake", other, *VECTORS)
    with pytest.raises(PipelineError, match="so token IDs differ") as refused:
        train(tmp_path / "lake", corpus, "--init", "LATEST")
    command, *options = remedy(str(refused.value))
    assert invoke(command, "--lake", tmp_path / "lake", "--tokens", corpus.shards, *options, *VECTORS[2:])["code"] == 0
    assert train(tmp_path / "lake", corpus, "--init", "LATEST")["code"] == 0


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--init", "LATEST"), 66, "the lake has no pretrained model. Run 'pipeline pretrain' first"),
        (("--init", "LATEST", "--fold", "0/3"), 66, "has not read fold 0/3. Run 'pipeline pretrain --fold 0/3' first."),
        (("--init", "vectros-2026"), 66, "'vectros-2026' is not known. Known: LATEST, LIVE"),
        (("--init", "LIVE", "--fold", "0/3"), 2, "the fold holds out. Pass only one of them."),
        (("--init", "LATEST", "--embeddings", "glove.txt"), 2, "--init and --embeddings both set"),
        (("--init", "LATEST", "--init-from", "LIVE"), 2, "Pass only --init."),
    ],
)
def test_what_train_cannot_start_from_is_said(
    tmp_path: Path, corpus: Corpus, options: tuple[str, ...], code: int, said: str
) -> None:
    with pytest.raises(PipelineError) as refused:
        train(tmp_path, corpus, *options)
    assert said in str(refused.value)
    assert refused.value.exit_code == code


def test_other_sizes_than_the_pretrained_ones(tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    found = pretrained(tmp_path, corpus, *LM)
    with pytest.raises(PipelineError, match="nothing of it fits") as refused:
        train(tmp_path, corpus, "--init", "LATEST", "--embedding-dim", "9", "--arch", "gru")
    assert "have 8 numbers, those of this training 9" in str(refused.value)
    receipt = train(tmp_path, corpus, "--init", "LATEST", "--hidden-dim", "12")
    assert receipt["metrics"]["init_from"]["tensors"] == 1
    assert f"{found.pretrained_id} also has encoder.forward_layers.0" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--objective", "vectors", "--lr", "0.1"), "--lr: --objective vectors has no such option"),
        (("--objective", "vectors", "--hidden-dim", "8"), "--hidden-dim: --objective vectors has no such option"),
        (("--objective", "lm", "--set", "pooling=max"), "--pooling: --objective lm has no such option"),
        (("--objective", "lm", "--set", "region_dim=4"), "--region-dim: --objective lm has no such option"),
        (("--objective", "lm", "--contexts", "10"), "--contexts: --objective lm has no such option"),
        (
            ("--objective", "vectors", "--arch", "lstm", "--hidden-dim", "8"),
            "--arch, --hidden-dim: --objective vectors has no such options. Remove them, also from the table [pretrain] in",
        ),
        (("--objective", "lm", "--arch", "nbsvm"), "--arch nbsvm has no recurrent layers"),
        (("--objective", "lm", "--arch", "transformer"), "its states see the whole review"),
        (("--objective", "lm", "--layers", "2"), "Pretrain with --layers 1"),
        (("--objective", "lmm"), "Did you mean 'lm'?"),
        (("--fold", "0/3", "--holdout", "0.1"), "a fold is the test split itself"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, corpus: Corpus, options: tuple[str, ...], said: str) -> None:
    with pytest.raises(PipelineError) as refused:
        pretrain(tmp_path, corpus, *options)
    assert said in str(refused.value)
    assert refused.value.exit_code == 2
    assert not (tmp_path / "checkpoints").exists(), "it was refused before anything began"


def test_a_damaged_pretrained_model_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    found = pretrained(tmp_path, corpus, *VECTORS)
    content = bytearray((found.folder / "pretrained.safetensors").read_bytes())
    content[-1] ^= 1
    (found.folder / "pretrained.safetensors").write_bytes(content)
    with pytest.raises(PipelineError, match="SHA-256 differs") as refused:
        train(tmp_path, corpus, "--init", "LATEST")
    assert refused.value.exit_code == 65
    assert pretrain(tmp_path, corpus, *VECTORS)["code"] == 0, "a damaged one does not count as done"


def test_crossval_pretrains_for_each_fold_without_its_text(tmp_path: Path, corpus: Corpus) -> None:
    recipe = pretrained(tmp_path, corpus, *LM)
    options = ("--tokens", corpus.shards, "--folds", "2", "--arch", "lstm", "--epochs", "1", "--no-baseline")
    receipt = invoke("crossval", "--lake", tmp_path, *options, "--init", "LATEST")
    assert receipt["code"] == 0
    lake = Lake(tmp_path)
    of_folds = [read_pretrained(path) for path in sorted(lake.crossval().pretrained.iterdir())]
    assert {one.fold for one in of_folds} == {"0/2", "1/2"}
    for one in of_folds:
        assert {**one.training, "fold": None, "holdout": recipe.holdout} == recipe.training
    for fold in receipt["metrics"]["folds"]:
        bundle = read_bundle(lake.crossval().models / fold["model_id"])
        assert bundle.training["init"] in {one.fingerprint for one in of_folds if one.fold == bundle.training["fold"]}
    again = invoke("crossval", "--lake", tmp_path, *options, "--init", recipe.pretrained_id)
    assert (again["code"], again["outputs"]) == (99, receipt["outputs"])
    assert len(list(lake.crossval().pretrained.iterdir())) == 2
    with pytest.raises(PipelineError, match="the model may have learned"):
        invoke("crossval", "--lake", tmp_path, *options, "--init", "LIVE")


@pytest.mark.slow
def test_virtual_adversarial_training_from_pretrained_weights(tmp_path: Path, corpus: Corpus) -> None:
    pretrained(tmp_path, corpus, *LM)
    options = ("--init", "LATEST", "--unlabelled", "1", "--adversarial-warmup", "0")
    without = trained(tmp_path, corpus, *options)
    digests = {without.weights_sha256}
    for size in ("0.1", "2"):
        bundle = trained(tmp_path, corpus, *options, "--virtual-adversarial", size)
        assert bundle.training["virtual_adversarial"] == float(size)
        digests.add(bundle.weights_sha256)
    assert len(digests) == 3
    assert "virtual_adversarial" not in without.training, "so that models of earlier releases are found"
    with pytest.raises(PipelineError, match="Use --precision fp32"):
        train(tmp_path, corpus, *options, "--virtual-adversarial", "1", "--precision", "bf16")


@pytest.mark.slow
def test_unlabelled_reviews_may_count_for_virtual_adversarial_training_alone(tmp_path: Path, corpus: Corpus) -> None:
    options = ("--unlabelled", "0.5", "--adversarial-warmup", "0", "--virtual-adversarial", "1")
    silent = (*options, "--unlabelled-targets", "none")
    receipt = train(tmp_path, corpus, *silent)
    assert receipt["metrics"]["unlabelled_rows"] > 50
    rows = pq.read_table(Path(receipt["outputs"]["model"]) / "metrics.parquet").to_pylist()
    assert rows[0]["accuracy"] > 0.4, "of labelled reviews alone"
    digests = {read_bundle(Path(receipt["outputs"]["model"])).weights_sha256}
    digests |= {trained(tmp_path, corpus, *more).weights_sha256 for more in (options, ("--unlabelled", "0.5"))}
    assert len(digests) == 3
    assert train(tmp_path, corpus, *silent)["code"] == 99
    with pytest.raises(PipelineError, match="the teacher would label nothing"):
        train(tmp_path, corpus, *silent, "--teacher", "nbsvm")
    with pytest.raises(PipelineError, match="nothing learned from them"):
        train(tmp_path, corpus, "--unlabelled", "1", "--unlabelled-targets", "none")
