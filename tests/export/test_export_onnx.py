"""`pipeline export`: ONNX Runtime gives our own probabilities, from what the file alone holds."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import pipeline
from jobs.export import run
from pipeline.config.export import ExportConfig
from pipeline.errors import CannotWriteError, PipelineError, UsageError
from pipeline.export import onnx_model
from pipeline.models.blend import Blend, BlendConfig
from pipeline.models.bundle import Bundle, save_bundle
from pipeline.models.interface import Classifier
from pipeline.models.registry import architectures, build_model
from tests.support.paths import ROOT
from tests.support.scoring import MAX_LENGTH, make_bundle, make_lake, make_texts, make_vocabulary

RECURRENT = ("rnn", "birnn", "lstm", "bilstm", "gru", "bigru")


def bundle_of(
    folder: Path,
    arch: str,
    labels: tuple[str, ...] = ("neg", "pos"),
    blend: BlendConfig | None = None,
    **options: object,
) -> Bundle:
    """Freshly drawn weights, biases too: those of zero would hide mistakes."""
    import torch

    torch.manual_seed(5)
    vocabulary = make_vocabulary(labels)
    sizes = {"vocab_size": len(vocabulary), "num_classes": len(labels)}
    model: Classifier = build_model(arch, sizes | ({} if arch == "nbsvm" else {"embedding_dim": 6}) | options)
    if blend is not None:
        model = Blend(model, blend)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.detach().uniform_(-1, 1)
    for name, tensor in model.state_dict().items():
        if name.endswith(("embedding.weight", "regions.weight")):
            tensor[0] = 0.0  # `<pad>`, as in every trained model
    return save_bundle(
        folder,
        model=model,
        arch=arch,
        labels=labels,
        tokenizer=vocabulary.tokenizer,
        max_length=MAX_LENGTH,
        vocabulary=vocabulary,
        table_version=None,
        metrics={},
        training={},
        created="2026-01-01T00:00:00Z",
    )


def scored_without_us(path: Path, texts: list[str]) -> np.ndarray[Any, Any]:
    """What somebody writes who has the file and the rules of basic_english alone."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    rules = json.loads(metadata["review_pipeline.tokenizer_options"])
    place = {token: number for number, token in enumerate(json.loads(metadata["review_pipeline.vocabulary"]))}
    rows = []
    for text in texts:
        text = text.lower().replace(rules["blank_mark"], " ")
        text = re.sub(f"[{re.escape(rules['dropped'])}]", "", text)
        text = re.sub(f"([{re.escape(rules['single'])}])", r" \1 ", text)
        text = re.sub(f"[{re.escape(rules['blank'])}]", " ", text)
        rows.append([place.get(token, place["<unk>"]) for token in text.split()])
    longest = max(map(len, rows))
    ids = np.array([row + [0] * (longest - len(row)) for row in rows], np.int64)
    (found,) = session.run(None, {"ids": ids, "lengths": np.array([len(row) for row in rows], np.int64)})
    return np.asarray(found)


@pytest.mark.parametrize("arch", RECURRENT)
@pytest.mark.parametrize("pooling", ["last", "max", "mean", "max-mean", "attention"])
def test_recurrent_models(tmp_path: Path, arch: str, pooling: str) -> None:
    bundle = bundle_of(tmp_path / arch, arch, pooling=pooling, hidden_dim=5, layers=2)
    assert onnx_model.export_onnx(bundle, tmp_path / "model.onnx") < 1e-5


@pytest.mark.parametrize("arch", ["rnn", "bilstm"])
def test_features_of_regions(tmp_path: Path, arch: str) -> None:
    bundle = bundle_of(tmp_path / arch, arch, hidden_dim=5, region_dim=4)
    assert onnx_model.export_onnx(bundle, tmp_path / "model.onnx") < 1e-5


@pytest.mark.parametrize("ngrams", [1, 2, 3])
@pytest.mark.parametrize("pooling", ["mean", "max-mean", "attention"])
def test_bags(tmp_path: Path, ngrams: int, pooling: str) -> None:
    bundle = bundle_of(tmp_path / "bag", "bag", ("bad", "fair", "good"), ngrams=ngrams, buckets=64, pooling=pooling)
    assert onnx_model.export_onnx(bundle, tmp_path / "model.onnx") < 1e-5


@pytest.mark.parametrize("ngrams", [1, 3])
@pytest.mark.parametrize("labels", [("neg", "pos"), ("bad", "fair", "good")])
def test_linear_models_of_ngrams(tmp_path: Path, ngrams: int, labels: tuple[str, ...]) -> None:
    """Few buckets, so that n-grams collide within a review and each bucket still counts once."""
    for bits in (4, 12):
        bundle = bundle_of(tmp_path / f"{bits}", "nbsvm", labels, ngrams=ngrams, bits=bits)
        assert onnx_model.export_onnx(bundle, tmp_path / "model.onnx") < 1e-5


@pytest.mark.parametrize("truncation", ["head", "head-tail"])
@pytest.mark.parametrize("ngrams", [0, 2])
def test_blends(tmp_path: Path, truncation: str, ngrams: int) -> None:
    """The architecture reads less of a review than the n-grams do."""
    blend = BlendConfig(
        max_length=5,
        truncation=truncation,
        scale=0.7,
        ngram_scale=0.4 if ngrams else 0.0,
        ngrams=ngrams,
        bits=8 if ngrams else 0,
    )
    bundle = bundle_of(tmp_path / "blend", "bilstm", blend=blend, hidden_dim=5)
    assert onnx_model.export_onnx(bundle, tmp_path / "model.onnx") < 1e-5


@pytest.mark.parametrize("arch", ["bilstm", "gru", "bag"])
def test_the_file_alone_is_enough(tmp_path: Path, arch: str) -> None:
    """Longer texts than the model reads, punctuation and unknown words among them."""
    bundle = bundle_of(tmp_path / arch, arch, **({} if arch == "bag" else {"hidden_dim": 6}))
    onnx_model.export_onnx(bundle, tmp_path / "model.onnx")
    texts = [text for text in make_texts(200) if text]
    texts += ['Not "good": a DULL film<br />zebra; very (very) long!', "good"]
    with pipeline.load(bundle.folder) as model:
        expected = model.predict_proba(texts)
    np.testing.assert_allclose(scored_without_us(tmp_path / "model.onnx", texts), expected, atol=1e-5)
    metadata = {item.key: item.value for item in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(metadata["review_pipeline.labels"]) == ["neg", "pos"]
    assert metadata["review_pipeline.model_id"] == arch and metadata["review_pipeline.max_length"] == str(MAX_LENGTH)


@pytest.mark.parametrize("arch", sorted(set(architectures()) - {*RECURRENT, "bag", "nbsvm", "ridge"}))
def test_other_architectures_are_refused_by_name(tmp_path: Path, arch: str) -> None:
    bundle = bundle_of(tmp_path / "other", arch)
    with pytest.raises(UsageError, match=rf"architecture '{arch}', which cannot be exported\. Supported: rnn, birnn"):
        onnx_model.export_onnx(bundle, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_model_that_would_score_differently_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_of(tmp_path / "gru", "gru")
    wrong = {kind: tuple(reversed(order)) for kind, order in onnx_model.layers.GATES.items()}
    monkeypatch.setattr(onnx_model.layers, "GATES", wrong)
    with pytest.raises(PipelineError, match=r"differ from ours by up to .* the file was discarded"):
        onnx_model.export_onnx(bundle, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_the_command(tmp_path: Path, run_main: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    lake = make_lake(tmp_path / "lake")
    make_bundle(lake / "models" / "second", "md-rnn")
    assert run_main("--lake", lake, "export") == 0
    receipt = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert receipt["outputs"]["onnx"] == str(lake / "models" / "first" / "model.onnx")
    assert receipt["metrics"]["largest_difference"] < 1e-5
    assert receipt["metrics"]["bytes"] == (lake / "models" / "first" / "model.onnx").stat().st_size
    assert run_main("--lake", lake, "export", "first", "--output", tmp_path / "other.onnx") == 0
    assert (tmp_path / "other.onnx").read_bytes() == (lake / "models" / "first" / "model.onnx").read_bytes()
    assert run_main("--lake", lake, "export", "second") == 2
    assert run_main("--lake", lake, "export", "--format", "pmml") == 2
    assert run_main("--lake", lake, "export", "third") == 66
    with pytest.raises(CannotWriteError, match="is a folder"):
        run(ExportConfig(lake=lake, output=tmp_path))


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    lake = make_lake(tmp_path / "lake")
    code = (
        "import sys; sys.modules['onnxruntime'] = None; sys.argv = ['pipeline', '--lake', sys.argv[1], 'export']; "
        "from pipeline.cli.app import run_command_line; sys.exit(run_command_line())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(lake)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "needs onnxruntime, which is not installed. Install it with: pip install 'review-pipeline[onnx]'" in done.stderr


def test_a_name_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.txt: expected a name that ends in \.onnx"):
        ExportConfig(lake=tmp_path, output=tmp_path / "model.txt")
