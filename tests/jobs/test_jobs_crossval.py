"""`pipeline crossval` as people run it: folds, figures, predictions, and that nothing is trained twice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.order.folds import folds_of
from schemas.out_of_fold import OUT_OF_FOLD
from tests.support.commands import invoke
from tests.support.killed_training import killed_after
from tests.support.token_corpus import Corpus, write_corpus
from tests.support.trained import SMALL

pytestmark = pytest.mark.usefixtures("without_pages")
ROWS = 450


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("crossval"), ROWS, test_rows=50, labels=("a", "b", "c"))


def crossval(lake: Path, corpus: Corpus, *arguments: object) -> dict[str, Any]:
    return invoke("crossval", "--lake", lake, "--tokens", corpus.shards, "--folds", "3", *arguments)


LINEAR = ("--arch", "nbsvm", "--linear-bits", "12")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crossval") / "lake"


@pytest.fixture(scope="module")
def receipt(lake: Path, corpus: Corpus) -> dict[str, Any]:
    """That of the linear model's first cross-validation in `lake`."""
    return crossval(lake, corpus, *LINEAR)


def test_every_review_is_predicted_by_the_model_that_did_not_see_it(receipt: dict[str, Any]) -> None:
    table = pq.read_table(receipt["outputs"]["predictions"])
    assert receipt["code"] == 0 and receipt["read"] == len(table) == ROWS
    OUT_OF_FOLD.check_version(table.schema.metadata[b"review_pipeline.schema_version"].decode(), "predictions")
    assert len(set(table["review_id"].to_pylist())) == ROWS
    expected = folds_of(table["review_id"].to_pylist(), table["group"].to_pylist(), 3)
    assert table["fold"].to_pylist() == expected.tolist()
    assert len(set(zip(table["fold"].to_pylist(), table["model_id"].to_pylist(), strict=True))) == 3


def test_the_figures_are_those_of_the_predictions(receipt: dict[str, Any]) -> None:
    table = pq.read_table(receipt["outputs"]["predictions"])
    right = np.array(table["label"].to_pylist()) == np.array(table["prediction"].to_pylist())
    fold = table["fold"].to_numpy()
    by_fold = [right[fold == index].mean() for index in range(3)]
    assert [figures["accuracy"] for figures in receipt["metrics"]["folds"]] == pytest.approx(by_fold)
    assert receipt["metrics"]["mean"]["accuracy"] == pytest.approx(np.mean(by_fold))
    assert receipt["metrics"]["spread"]["accuracy"] == pytest.approx(np.std(by_fold, ddof=1))
    assert receipt["metrics"]["mean"]["accuracy"] > 0.75
    losses = -np.log(table["label_probability"].to_numpy())
    assert receipt["metrics"]["folds"][0]["loss"] == pytest.approx(losses[fold == 0].mean(), rel=1e-5)
    assert json.loads(Path(receipt["outputs"]["summary"]).read_text()) == receipt["metrics"]


@pytest.mark.slow
def test_what_is_trained_is_not_trained_again(lake: Path, corpus: Corpus, receipt: dict[str, Any]) -> None:
    again = crossval(lake, corpus, *LINEAR)
    other = crossval(lake, corpus, *LINEAR, "--linear-ngrams", "1")

    models = [[fold["model_id"] for fold in made["metrics"]["folds"]] for made in (receipt, again, other)]
    assert (receipt["code"], again["code"], other["code"]) == (0, 99, 0)
    assert models[0] == models[1] and not set(models[0]) & set(models[2])
    assert receipt["outputs"] == again["outputs"] != other["outputs"]


@pytest.mark.slow
def test_folds_are_trained_as_the_lake_says_unless_told_otherwise(
    tmp_path: Path, corpus: Corpus, receipt: dict[str, Any]
) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    (lake / "pipeline.toml").write_text('[train]\narch = "nbsvm"\nlinear-bits = 12\nholdout = 0.1\n')
    as_trained = crossval(lake, corpus)
    told = crossval(lake, corpus, "--linear-bits", "10")

    assert [made["metrics"]["mean"] == receipt["metrics"]["mean"] for made in (as_trained, told)] == [True, False]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path: Path, corpus: Corpus) -> None:
    options = (*SMALL, "--epochs", "1", "--no-wide", "--checkpoint-every", "3")
    whole = crossval(tmp_path / "whole", corpus, *options)
    steps = -(-int(ROWS * 0.9 * 2 / 3) // 32)
    with killed_after(steps + 5):
        crossval(tmp_path / "killed", corpus, *options)
    done = list((tmp_path / "killed" / "crossval" / "models").glob("lstm-*"))
    unfinished = list((tmp_path / "killed" / "crossval" / "checkpoints").glob("lstm-*"))

    resumed = crossval(tmp_path / "killed", corpus, *options)

    models = [fold["model_id"] for fold in resumed["metrics"]["folds"]]
    assert [path.name for path in (*done, *unfinished)] == models[:2]
    names = ("accuracy", "loss", "macro_f1", "rows")
    for before, after in zip(whole["metrics"]["folds"], resumed["metrics"]["folds"], strict=True):
        assert {name: before[name] for name in names} == {name: after[name] for name in names}


def test_the_live_model_is_left_alone(lake: Path, receipt: dict[str, Any]) -> None:
    assert receipt["code"] == 0 and not (lake / "models").exists()


def test_folds_that_cannot_be_are_refused(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(UsageError, match="--folds 1: expected 2 to 1000"):
        invoke("crossval", "--lake", tmp_path, "--tokens", corpus.shards, "--folds", "1")
