"""Models of sums over n-grams: the module's own logits, without torch, and only for models that are sums."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.batches.ragged import Ragged
from pipeline.models.blend import Blend, BlendConfig
from pipeline.models.bundle import Bundle, save_bundle
from pipeline.models.interface import Classifier
from pipeline.models.registry import build_model
from pipeline.scoring.predictor import Predictor
from pipeline.scoring.probabilities import DivergedError, softmax
from pipeline.scoring.sums import read_sums
from pipeline.scoring.sums_predictor import SumsPredictor
from pipeline.text.tokenizers import tokenize
from tests.support.scoring import make_texts, make_vocabulary, scored

TWO, THREE = ("neg", "pos"), ("bad", "good", "so-so")
MODELS = {
    "nbsvm": {"ngrams": 3, "bits": 10},
    "bag": {"embedding_dim": 8, "buckets": 50},
    "bag of words": {"embedding_dim": 8, "ngrams": 1},
    "bag of 4-grams": {"embedding_dim": 8, "buckets": 50, "ngrams": 4},
}


def make_model(name: str, labels: tuple[str, ...]) -> Classifier:
    torch.manual_seed(0)
    arch = name.partition(" ")[0]
    model = build_model(arch, {"vocab_size": len(make_vocabulary()), "num_classes": len(labels), **MODELS[name]})
    for key, tensor in model.state_dict().items():
        tensor.normal_()
        if key.endswith("embedding.weight"):
            tensor[0] = 0  # <pad>, and where no n-gram ends
    return model


def save(folder: Path, model: Classifier, arch: str, labels: tuple[str, ...] = TWO, max_length: int = 20) -> Bundle:
    vocabulary = make_vocabulary(labels)
    return save_bundle(
        folder,
        model=model,
        arch=arch,
        labels=labels,
        tokenizer="basic_english",
        max_length=max_length,
        vocabulary=vocabulary,
        table_version=None,
        metrics={},
        training={},
        created="2026-01-01T00:00:00Z",
    )


def encoded(count: int = 60) -> pa.ListArray:
    ids = make_vocabulary().encode(tokenize("basic_english", pa.array(make_texts(count))))
    return pa.array([None, *ids.to_pylist()], ids.type)


def one_by_one(bundle: Bundle, ids: pa.ListArray) -> np.ndarray:
    """The module called with each review alone."""
    model = bundle.load_model("cpu")
    rows = [np.full(len(bundle.labels), np.nan)]
    for review in ids.to_pylist()[1:]:
        tokens = torch.tensor([review[: bundle.max_length] or [1]])
        with torch.inference_mode():
            rows.append(torch.softmax(model(tokens, torch.tensor([tokens.shape[1]])), dim=1)[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("labels", [TWO, THREE], ids=len)
@pytest.mark.parametrize("blended", ["", "cooler", "wide"])
@pytest.mark.parametrize("name", MODELS)
def test_probabilities_are_those_of_the_module(tmp_path: Path, name: str, blended: str, labels: tuple[str, ...]) -> None:
    model = make_model(name, labels)
    if blended:
        wide = {"ngram_scale": 0.4, "ngrams": 2, "bits": 9} if blended == "wide" else {}
        model = Blend(model, BlendConfig(max_length=15, scale=0.7, **wide))
        if model.ngrams is not None:
            model.ngrams.weights.normal_()
    bundle, ids = save(tmp_path / "model", model, name.partition(" ")[0], labels), encoded()

    predictor = SumsPredictor.of(bundle, "auto", "auto")
    assert predictor is not None
    expected = one_by_one(bundle, ids)
    np.testing.assert_allclose(predictor.score(ids), expected, atol=1e-6)
    with Predictor(bundle, "cpu") as with_torch:
        np.testing.assert_allclose(with_torch.predict(ids), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arch", "options", "blend"),
    [
        ("rnn", {"hidden_dim": 4}, None),
        ("bag", {"embedding_dim": 8, "pooling": "max-mean", "buckets": 50}, None),
        ("bag", {"embedding_dim": 1, "buckets": 50}, None),
        ("bag", {"embedding_dim": 8, "buckets": 50}, BlendConfig(max_length=4, truncation="head-tail")),
    ],
)
def test_other_models_are_none(tmp_path: Path, arch: str, options: dict, blend: BlendConfig | None) -> None:
    model = build_model(arch, {"vocab_size": len(make_vocabulary()), "num_classes": 2, **options})
    bundle = save(tmp_path / "model", Blend(model, blend) if blend else model, arch)
    assert read_sums(bundle) is None
    with Predictor(bundle, "cpu") as predictor:  # and are scored all the same
        np.testing.assert_allclose(predictor.predict(encoded()), one_by_one(bundle, encoded()), atol=1e-6)


def test_weights_that_do_not_fit_are_left_to_the_module_to_report(tmp_path: Path) -> None:
    bundle = save(tmp_path / "model", make_model("nbsvm", TWO), "nbsvm")
    described = json.loads((bundle.folder / "model.json").read_bytes())
    assert read_sums(Bundle(**{**vars(bundle), "model_config": {**described["model_config"], "bits": 11}})) is None


@pytest.mark.parametrize(("device", "precision"), [("cuda", "auto"), ("cpu", "bf16")])
def test_what_needs_torch_is_left_to_torch(tmp_path: Path, device: str, precision: str) -> None:
    assert SumsPredictor.of(save(tmp_path / "model", make_model("nbsvm", TWO), "nbsvm"), device, precision) is None


def test_a_model_that_has_diverged_is_named(tmp_path: Path) -> None:
    model = make_model("nbsvm", TWO)
    model.state_dict()["linear.bias"].fill_(float("nan"))
    predictor = SumsPredictor.of(save(tmp_path / "model", model, "nbsvm"), "cpu", "fp32")
    assert predictor is not None
    with pytest.raises(DivergedError, match="the model model gives probabilities that are NaN or infinite"):
        predictor.score(encoded())


def test_scoring_with_a_model_of_sums_does_not_import_torch(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    save(lake / "models" / "linear", make_model("nbsvm", TWO), "nbsvm")
    (lake / "models" / "LATEST").write_text("linear\n")
    pq.write_table(pa.table({"text": make_texts(30)}), tmp_path / "in.parquet")
    code = (
        "import sys; from pathlib import Path; from jobs.score import ScoreConfig, run; "
        "run(ScoreConfig(lake=Path(sys.argv[1]), sources=(sys.argv[2],), output=sys.argv[3])); "
        "sys.exit('torch' in sys.modules)"
    )
    paths = lake, tmp_path / "in.parquet", tmp_path / "out.parquet"
    subprocess.run([sys.executable, "-c", code, *map(str, paths)], check=True, capture_output=True)

    plain = pq.read_table(tmp_path / "out.parquet")
    explained = scored(lake, tmp_path / "in.parquet", explain=True, output=tmp_path / "explained.parquet")
    assert explained.column_names == [*plain.column_names, "explanation"]
    np.testing.assert_allclose(explained["probability"].to_numpy(), plain["probability"].to_numpy(), atol=1e-6)


def test_softmax_of_large_logits() -> None:
    np.testing.assert_allclose(softmax(np.array([[1000.0, 0.0], [-1000.0, -1000.0]], np.float32)), [[1, 0], [0.5, 0.5]])


def test_reviews_of_a_padded_batch() -> None:
    padded = np.array([[1, 2, 0], [3, 4, 5]], np.int32)
    reviews = Ragged.of_padded(padded, np.array([2, 3]))
    assert reviews.joined().tolist() == [1, 2, 3, 4, 5]
    assert reviews.head(1).joined().tolist() == [1, 3]
