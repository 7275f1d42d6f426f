"""Scan classifiers without padding give the ordinary logits, whatever the model, the lengths and the order of the rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.models.interface import RecurrentConfig, ReviewClassifier
from pipeline.models.layers import scan_kernel
from pipeline.models.layers.rows import Rows
from pipeline.models.layers.scan_cell import ScanCell, blocks
from pipeline.models.layers.scan_classifier import ScanClassifier
from pipeline.models.registry import architectures, build_model
from pipeline.scoring import packed_scan
from pipeline.scoring.packed_scan import PackedScan
from pipeline.scoring.predictor import Predictor, without_padding
from tests.support.scoring import MAX_LENGTH, make_bundle

WORDS = 50
CLASSES = 3
LENGTHS = st.lists(st.integers(1, 17), min_size=1, max_size=9)
ARCHITECTURES = {f"{both}{kind}" for kind in ("mingru", "minlstm", "sru", "qrnn", "lru") for both in ("", "bi")}
TABLES = {"mingru", "bimingru", "minlstm", "biminlstm"}
"""Those whose tokens are looked up."""

pytestmark = pytest.mark.skipif(not scan_kernel.COMPILED, reason="the kernel was not compiled")


def make_model(arch: str, **options: object) -> ReviewClassifier:
    torch.manual_seed(3)
    sizes = {"vocab_size": WORDS, "num_classes": CLASSES, "embedding_dim": 5, "hidden_dim": 6}
    return build_model(arch, sizes | options).eval().requires_grad_(False)


def check(model: ReviewClassifier, lengths: list[int], *, table: bool) -> PackedScan:
    """On int32 ids in the order given, with other tokens than `<pad>` in the padding, which nobody may read."""
    lengths_B = torch.tensor(lengths)
    ids_BT = torch.randint(1, WORDS, (len(lengths), max(lengths) + 2), dtype=torch.int32)
    forward = PackedScan(model)
    if table:
        forward.make_table()
    with torch.inference_mode():
        torch.testing.assert_close(forward(ids_BT, lengths_B), model(ids_BT, lengths_B), atol=1e-5, rtol=1e-5)
    return forward


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
@pytest.mark.parametrize("layers", [1, 2])
@settings(max_examples=5)
@given(lengths=LENGTHS, table=st.booleans())
def test_gives_the_ordinary_logits(arch: str, layers: int, lengths: list[int], table: bool) -> None:
    for pooling in ("last", "max", "mean", "max-mean"):
        model = make_model(arch, layers=layers, pooling=pooling)
        forward = check(model, lengths, table=table)
        assert (forward.table is not None) == (table and layers == 1 and arch in TABLES)


def test_states_stay_exact_over_long_reviews() -> None:
    for arch in ("bimingru", "lru"):
        check(make_model(arch, hidden_dim=32), [2000, 1500, 3], table=True)


def test_a_table_too_large_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_scan, "TABLE_BYTES", 4 * WORDS * 2 * 12 - 1)
    assert check(make_model("bimingru"), [5, 2], table=True).table is None
    monkeypatch.setattr(packed_scan, "TABLE_BYTES", 4 * WORDS * 2 * 12)
    assert check(make_model("bimingru"), [5, 2], table=True).table is not None


def test_a_word_outside_the_vocabulary_is_refused_and_not_read() -> None:
    forward = PackedScan(make_model("mingru"))
    forward.make_table()
    for word in (WORDS, -1):
        with pytest.raises(IndexError):
            forward(torch.tensor([[1, word]]), torch.tensor([2]))


def test_other_models_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"vocab_size": WORDS, "num_classes": CLASSES}
    taken = {arch for arch in architectures() if PackedScan.supports(build_model(arch, sizes))}
    assert taken == ARCHITECTURES
    assert not PackedScan.supports(make_model("bimingru", pooling="attention"))
    assert isinstance(without_padding(make_model("bimingru")), PackedScan)
    monkeypatch.setattr(scan_kernel, "COMPILED", False)
    assert without_padding(make_model("bimingru")) is None


class Leaky(ScanCell):
    """A cell of a user: a leaky average with one rate for each feature."""

    def __init__(self, input_dim: int, hidden_dim: int, *, bidirectional: bool = False) -> None:
        super().__init__(input_dim, hidden_dim, bidirectional=bidirectional)
        self.projection = blocks(input_dim, hidden_dim, self.output_dim // hidden_dim)
        self.rate = torch.nn.Parameter(torch.rand(self.output_dim))

    def forward(self, inputs: Tensor, rows: Rows) -> Tensor:
        return rows.scan(self.rate, self.projection(inputs), self.direction)


class LeakyClassifier(ScanClassifier, cell=Leaky, bidirectional=True):
    """An architecture that this file alone knows."""


class Different(LeakyClassifier):
    """One that pools in a way of its own."""

    def features(self, states_BTS: Tensor, lengths_B: Tensor) -> Tensor:
        return super().features(states_BTS, lengths_B) ** 2


def test_a_new_cell_goes_without_padding() -> None:
    config = RecurrentConfig(vocab_size=WORDS, num_classes=CLASSES, embedding_dim=5, hidden_dim=6, layers=2)
    model = LeakyClassifier(config).eval().requires_grad_(False)
    assert PackedScan.supports(model) and not PackedScan.supports(Different(config))
    check(model, [5, 2, 9], table=True)


@pytest.mark.parametrize("arch", ["bimingru", "qrnn", "bisru"])
@pytest.mark.parametrize("layers", [1, 2])
@settings(max_examples=5)
@given(lengths=LENGTHS, table=st.booleans())
def test_features_of_regions_are_read_beside_the_embeddings(arch: str, layers: int, lengths: list[int], table: bool) -> None:
    model = make_model(arch, layers=layers, region_dim=4)
    assert model.regions is not None
    model.regions.set(torch.randn(WORDS, 4), torch.randn(4))
    check(model, lengths, table=table)


@pytest.mark.parametrize("arch", ["bimingru", "biqrnn"])
def test_a_bundle_is_scored_so(arch: str, tmp_path: Path) -> None:
    """Null, empty and too long reviews among them; few tokens, then more than the vocabulary has words."""
    bundle = make_bundle(tmp_path / arch, arch)
    words = len(bundle.load_vocabulary())
    lengths = [3, 0, 12, 30, 1] * 40
    ids = [torch.randint(1, words, (length,)).tolist() for length in lengths]
    model = bundle.load_model("cpu")
    with Predictor(bundle, "cpu", threads=2) as predictor:
        assert isinstance(predictor.packed, PackedScan)
        few = predictor.predict(pa.array([ids[0], None], pa.list_(pa.int32())))
        assert predictor.packed.table is None
        found = predictor.predict(pa.array(ids, pa.list_(pa.int32())))
        assert (predictor.packed.table is not None) == (arch in TABLES)
    assert np.isnan(few[1]).all() and np.allclose(few[0], found[0], atol=1e-6)
    for row, tokens in zip(found, ids, strict=True):
        read = torch.tensor([tokens[:MAX_LENGTH] or [1]])
        with torch.no_grad():
            expected = torch.softmax(model(read, torch.tensor([read.shape[1]])), dim=1)[0]
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-5)
