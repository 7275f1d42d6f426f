"""What training leaves for the report: the held-out reviews as the model scores them, the tokens that decide, examples."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import illustrate
from jobs.train import TrainConfig, run
from pipeline.datapipes import part_rows
from pipeline.lake.paths import Lake
from pipeline.order.selection import Part, RowGroup
from pipeline.reports.data import read_report_data
from pipeline.text.vocabulary import Vocabulary
from schemas.report import KEY_LABEL_ROWS
from schemas.run import Receipt
from tests.support.small_models import small
from tests.support.token_corpus import Corpus, write_corpus


def train(lake: Path, corpus: Corpus, arch: str = "lstm", **model: object) -> Receipt:
    options = {**small(arch), **model}
    recipe = {"baseline": False, "epochs": 2, "lr": 0.01, "schedule": "constant", "embedding_init": "random", "workers": 0}
    return run(TrainConfig(lake=Lake(lake), tokens=corpus.shards, arch=arch, model=options, **recipe))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("illustrate"), 900, test_rows=100)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> Receipt:
    return train(tmp_path_factory.mktemp("lake"), corpus)


def test_held_out_reviews_are_kept_as_the_model_scores_them(trained: Receipt) -> None:
    data = read_report_data(Path(trained.outputs["model"]))
    for split in ("valid", "test"):
        scored = data.scored(split)
        assert scored is not None and scored.all_rows == scored.measures.rows
        assert scored.measures.accuracy.value == pytest.approx(trained.metrics[f"{split}_accuracy"])
        assert scored.measures.log_loss == pytest.approx(trained.metrics[f"{split}_loss"], abs=1e-4)
        assert len(set(scored.review_ids)) == scored.measures.rows
    assert {split: sum(rows) for split, rows in data.label_rows.items()} == {"train": 812, "valid": 88, "test": 100}
    assert (Path(trained.outputs["model"]) / "report.html").is_file()


def test_tokens_that_decide_are_found(trained: Receipt) -> None:
    check_tokens_that_decide(trained)


@pytest.mark.usefixtures("without_pages")
@pytest.mark.parametrize(("arch", "model"), [("lstm", {"pooling": "attention"}), ("bag", {})])
def test_tokens_that_decide_are_found_in_other_models(
    tmp_path: Path, corpus: Corpus, arch: str, model: dict[str, object]
) -> None:
    check_tokens_that_decide(train(tmp_path, corpus, arch, **model))


def check_tokens_that_decide(receipt: Receipt) -> None:
    """Token `2 + label` gives a review's label; the words are w0, w1, …"""
    data = read_report_data(Path(receipt.outputs["model"]))
    assert data.token_weights is not None and data.examples is not None
    strongest = {row["label"]: row["token"] for row in reversed(data.token_weights.to_pylist())}
    assert strongest == {"neg": "w0", "pos": "w1"}
    examples = data.examples.to_pylist()
    kinds = [row["kind"] for row in examples]
    assert kinds == sorted(kinds, key=("wrong", "right", "unsure").index)
    assert all(
        (row["label"] != row["prediction"]) == (row["kind"] == "wrong") for row in examples if row["kind"] != "unsure"
    )
    assert all(row["probability"] >= 0.5 and row["explanation"] for row in examples)
    mistakes = [row["probability"] for row in examples if row["kind"] == "wrong"]
    assert mistakes == sorted(mistakes, reverse=True)


@pytest.mark.usefixtures("without_pages")
def test_three_labels(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 900, test_rows=30, labels=("bad", "fair", "good"))
    data = read_report_data(Path(train(tmp_path / "lake", corpus).outputs["model"]))
    assert data.token_weights is not None
    strongest = {row["label"]: row["token"] for row in reversed(data.token_weights.to_pylist())}
    assert strongest == {"bad": "w0", "fair": "w1", "good": "w2"}


@pytest.mark.usefixtures("without_pages")
def test_a_large_part_is_sampled_and_said_to_be(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(illustrate, "MOST_EVALUATED", 50)
    receipt = train(tmp_path, corpus)
    table = pq.read_table(Path(receipt.outputs["model"]) / "evaluation.parquet")
    counts = json.loads(table.schema.metadata[KEY_LABEL_ROWS])
    assert table["split"].value_counts().to_pylist() == [{"values": "valid", "counts": 50}, {"values": "test", "counts": 50}]
    assert sum(counts["test"]) == 100 and sum(counts["valid"]) == 88


@given(st.lists(st.lists(st.booleans(), max_size=9), max_size=6), st.integers(1, 20))
def test_a_sample_is_spread_over_the_part(masks: list[list[bool]], most: int) -> None:
    groups = tuple(RowGroup(Path("shard"), number, len(mask)) for number, mask in enumerate(masks))
    part = Part(groups, tuple(np.flatnonzero(mask).astype(np.int64) for mask in masks))
    sample = part_rows.spread_over(part, most)
    assert sample.rows == min(part.rows, most)
    assert sample.groups == part.groups
    for whole, chosen in zip(part.selected, sample.selected, strict=True):
        assert np.isin(chosen, whole).all() and (np.diff(chosen) > 0).all()


def test_examples_are_written_as_people_write() -> None:
    tokens = ["it", "'", "s", "dull", ",", "(", "really", ")", "and", "don", "'", "t", "stop", "!", "?", "."]
    words = ["<pad>", "<unk>", *dict.fromkeys(tokens)]
    vocabulary = Vocabulary(pa.array(words), pa.array([0] * len(words), pa.int64()), "basic_english", ("neg", "pos"))
    text = illustrate.readable([words.index(token) for token in tokens], vocabulary)
    assert text == "it's dull, (really) and don't stop!?."
