"""The linear model of n-grams in a training: alone, as a part of another model, and as the baseline."""

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.config import train
from pipeline.errors import UsageError
from pipeline.models.blend import Blend
from pipeline.models.bundle import read_bundle
from pipeline.scoring.attribution import attribute
from pipeline.scoring.predictor import Predictor
from tests.support.commands import invoke
from tests.support.killed_training import killed_after
from tests.support.token_corpus import Corpus, write_corpus
from tests.support.trained import ARCH, SMALL

pytestmark = pytest.mark.usefixtures("without_pages")
ONCE = ("--linear-epochs", "1")
"""Instead of ten, which is the default for so few reviews."""
LINEAR = ("--arch", "nbsvm", *ONCE)
WIDE = (*SMALL, *ONCE, "--wide", "--region-dim", "12", "--max-length", "9", "--truncation", "head-tail")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("wide"), 900, test_rows=200)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> dict[str, Any]:
    return _train(tmp_path_factory.mktemp("lake"), corpus, *WIDE)


def _train(lake: Path, corpus: Corpus, *arguments: object) -> dict[str, Any]:
    return {**invoke("train", "--lake", lake, "--tokens", corpus.shards, *arguments), "lake": lake}


def test_the_linear_model_trains_scores_and_is_found_again(tmp_path: Path, corpus: Corpus) -> None:
    receipt = _train(tmp_path, corpus, *LINEAR)
    evaluated = invoke("evaluate", "--lake", tmp_path, "--tokens", corpus.shards)

    assert receipt["metrics"]["test_accuracy"] > 0.8 and "baseline" not in receipt["metrics"]
    assert evaluated["metrics"]["accuracy"] == receipt["metrics"]["test_accuracy"]
    assert _train(tmp_path, corpus, *LINEAR)["code"] == 99
    again = _train(tmp_path, corpus, *LINEAR, "--force")
    first, second = (read_bundle(Path(made["outputs"]["model"])) for made in (receipt, again))
    assert first.weights_sha256 == second.weights_sha256 and first.model_id != second.model_id
    phases = pq.read_table(first.folder / "metrics.parquet")["phase"].to_pylist()
    assert phases == ["valid", "test"]


def test_options_of_networks_are_refused_for_the_linear_model(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(UsageError, match="--epochs, --lr: --arch nbsvm has no such option"):
        _train(tmp_path, corpus, "--arch", "nbsvm", "--epochs", "7", "--lr", "0.1")
    with pytest.raises(UsageError, match=r"^--hidden-dim: --arch nbsvm has no such option\. Remove it, also from --config"):
        _train(tmp_path, corpus, "--arch", "nbsvm", "--hidden-dim", "8")


def test_a_wide_model_is_its_parts_by_their_scales(trained: dict[str, Any]) -> None:
    bundle = read_bundle(Path(trained["outputs"]["model"]))
    model = bundle.load_model()
    assert isinstance(model, Blend) and model.ngrams is not None
    ids_BT, lengths_B = torch.randint(2, 200, (5, 30)), torch.tensor([30, 9, 4, 17, 1])

    scale, ngram_scale = trained["metrics"]["scales"]
    ends_BT, kept_B = model.cut(ids_BT, lengths_B)
    expected_BC = scale * model.deep(ends_BT, kept_B) + ngram_scale * model.ngrams(ids_BT, lengths_B)

    assert torch.allclose(model(ids_BT, lengths_B), expected_BC, atol=1e-5)
    assert ends_BT.shape == (5, 9) and ngram_scale > 0


def test_score_and_evaluate_see_the_whole_wide_model(trained: dict[str, Any], corpus: Corpus) -> None:
    bundle = read_bundle(Path(trained["outputs"]["model"]))
    evaluated = invoke("evaluate", "--lake", trained["lake"], "--tokens", corpus.shards)
    table = pq.read_table(next(corpus.shards.glob("test-*.parquet")))

    with Predictor(bundle, "cpu") as predictor:
        probability_NC = predictor.predict(table["ids"].combine_chunks())

    right = int((probability_NC.argmax(axis=1) == table["label"].to_numpy()).sum())
    assert evaluated["metrics"]["accuracy"] == trained["metrics"]["test_accuracy"]
    if len(table) == 200:
        assert right / 200 == trained["metrics"]["test_accuracy"]
    one = Predictor(bundle, "cpu")
    with one:
        alone = one.predict(table["ids"].combine_chunks().slice(3, 1))
    assert alone[0] == pytest.approx(probability_NC[3], abs=1e-6)


def test_explanations_of_a_wide_model_add_up(trained: dict[str, Any]) -> None:
    model = read_bundle(Path(trained["outputs"]["model"])).load_model()
    assert isinstance(model, Blend) and model.ngrams is not None
    ids_BT, lengths_B, target_B = torch.tensor([[3, 2, 9, 7, 3, 8, 5, 5, 4, 2, 6, 9]]), torch.tensor([12]), torch.tensor([1])

    said_BT = attribute(model, ids_BT, lengths_B, target_B)

    ends = model.cut(ids_BT, lengths_B)
    zero_BTE = torch.zeros_like(model.deep.embed(*ends))
    nothing_BC = model.blend.scale * model.deep.classify(zero_BTE, *ends)
    nothing_BC = nothing_BC + model.blend.ngram_scale * model.ngrams.bias_logits()
    expected = float((model(ids_BT, lengths_B) - nothing_BC)[0, 1].detach())
    assert float(said_BT.sum()) == pytest.approx(expected, abs=0.02)
    assert said_BT.shape == ids_BT.shape


@pytest.mark.slow
def test_the_record_has_the_baselines_figures_on_the_same_rows(tmp_path: Path, corpus: Corpus) -> None:
    alone = _train(tmp_path, corpus, *LINEAR, "--no-calibrate")
    beside = _train(tmp_path, corpus, *ARCH, *ONCE)
    without = _train(tmp_path, corpus, *SMALL, "--seed", "1")

    for name in ("test_accuracy", "valid_accuracy"):
        assert beside["metrics"]["baseline"][name] == alone["metrics"][name]
    assert beside["metrics"]["baseline"]["seconds"] > 0
    assert "baseline" not in without["metrics"]
    described = json.loads((Path(beside["outputs"]["model"]) / "model.json").read_text())
    assert described["metrics"]["baseline"] == beside["metrics"]["baseline"]


def test_a_model_that_loses_to_the_baseline_says_so(
    tmp_path: Path, corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        receipt = _train(tmp_path, corpus, *ARCH, *ONCE, "--epochs", "1", "--lr", "1e-6")

    assert receipt["metrics"]["baseline"]["better"]
    assert (
        "is better on the test rows" in caplog.text
        and "(--arch nbsvm), or combine it with this one (--wide)." in caplog.text
    )


def test_a_model_that_knows_one_class_only_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = _imbalanced(tmp_path / "rare")
    with caplog.at_level(logging.WARNING):
        receipt = _train(tmp_path, corpus, *SMALL, "--class-weights", "none", "--lr", "0.01", "--holdout", "0")

    assert receipt["metrics"]["only_class"] == "pos"
    assert "predicts 'pos' for every review" in caplog.text


def test_calibration_changes_probabilities_and_no_prediction(tmp_path: Path, corpus: Corpus) -> None:
    raw = _train(tmp_path, corpus, *SMALL, "--no-calibrate")
    calibrated = _train(tmp_path, corpus, *SMALL)

    assert raw["metrics"]["scales"] == [1.0] != calibrated["metrics"]["scales"]
    assert raw["metrics"]["test_accuracy"] == calibrated["metrics"]["test_accuracy"]
    assert calibrated["metrics"]["valid_loss"] < raw["metrics"]["valid_loss"]
    assert 0 <= calibrated["metrics"]["test_ece"] <= 1


@pytest.mark.slow
def test_rare_classes_weigh_more_by_default(tmp_path: Path) -> None:
    corpus = _imbalanced(tmp_path / "rare")
    metrics = {
        weights: _train(tmp_path / weights, corpus, *SMALL, "--epochs", "1", "--class-weights", weights)
        for weights in ("auto", "balanced", "none")
    }

    digests = {name: read_bundle(Path(made["outputs"]["model"])).weights_sha256 for name, made in metrics.items()}
    assert digests["auto"] == digests["balanced"] != digests["none"]


def _imbalanced(folder: Path) -> Corpus:
    """A corpus with one label 0 for each forty of label 1."""
    corpus = write_corpus(folder, 800)
    for path in corpus.shards.glob("train-*.parquet"):
        file = pq.ParquetFile(path)
        tables = [file.read_row_group(index) for index in range(file.num_row_groups)]
        file.close()
        with pq.ParquetWriter(path, tables[0].schema) as writer:
            for table in tables:
                labels = pa.array([int(row % 40 > 0) for row in range(len(table))], table.schema.field("label").type)
                writer.write_table(
                    table.set_column(table.schema.get_field_index("label"), table.schema.field("label"), labels)
                )
    return corpus


@pytest.mark.slow
@pytest.mark.parametrize("select", ["accuracy", "macro-f1", "loss"])
def test_the_best_epoch_is_chosen_by_the_metric_asked_for(tmp_path: Path, corpus: Corpus, select: str) -> None:
    receipt = _train(tmp_path, corpus, *SMALL, "--epochs", "3", "--lr", "0.02", "--select", select)

    rows = pq.read_table(Path(receipt["outputs"]["model"]) / "metrics.parquet").to_pylist()
    valid = {row["epoch"]: row for row in rows if row["phase"] == "valid"}
    best = valid[receipt["metrics"]["best_epoch"]]
    if select == "loss":
        assert best["loss"] == min(row["loss"] for row in valid.values())
    if select == "accuracy":
        assert best["accuracy"] == max(row["accuracy"] for row in valid.values())


def test_a_fold_is_tested_and_its_model_is_not_published(tmp_path: Path, corpus: Corpus) -> None:
    receipt = _train(tmp_path, corpus, *SMALL, "--fold", "1/3")
    model = Path(receipt["outputs"]["model"])

    evaluated = invoke("evaluate", "--lake", tmp_path, "--tokens", corpus.shards, "--model", model)

    assert model.parent == tmp_path / "crossval" / "models" and not (tmp_path / "models").exists()
    assert evaluated["metrics"]["accuracy"] == receipt["metrics"]["test_accuracy"]
    assert evaluated["read"] < 500


@pytest.mark.slow
def test_a_killed_training_with_everything_on_is_resumed_to_the_same_bits(tmp_path: Path, corpus: Corpus) -> None:
    perturbed = ("--adversarial", "0.5", "--virtual-adversarial", "0.5", "--adversarial-warmup", "0.5")
    often = (*WIDE, *perturbed, "--locked-dropout", "0.2", "--word-dropout", "0.2", "--checkpoint-every", "5")
    whole = _train(tmp_path / "whole", corpus, *often)
    with killed_after(whole["metrics"]["steps"] // 2 + 3):
        _train(tmp_path / "killed", corpus, *often)

    resumed = _train(tmp_path / "killed", corpus, *often, "--resume")

    digests = [read_bundle(Path(made["outputs"]["model"])).weights_sha256 for made in (whole, resumed)]
    assert digests[0] == digests[1]
    assert resumed["metrics"]["scales"] == whole["metrics"]["scales"]


def test_models_of_many_reviews_have_region_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: Corpus
) -> None:
    monkeypatch.setattr(train, "REGIONS_FROM", 900)
    monkeypatch.setattr(train, "REGIONS_BY_DEFAULT", 6)
    options = (*SMALL, *ONCE, "--epochs", "1", "--promote", "never")
    dims = {
        wide: read_bundle(Path(_train(tmp_path, corpus, *options, *wide)["outputs"]["model"])).model_config["region_dim"]
        for wide in (("--wide",), ("--no-wide",), ("--wide", "--region-dim", "0"))
    }
    assert list(dims.values()) == [6, 0, 0]
    assert _train(tmp_path, corpus, *options, "--wide")["code"] == 99
    monkeypatch.setattr(train, "REGIONS_FROM", 1000)
    few = _train(tmp_path, corpus, *options, "--wide")
    assert read_bundle(Path(few["outputs"]["model"])).model_config["region_dim"] == 0
