"""The scan cells against their papers' equations in plain NumPy, padded and packed, in one direction and in both."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.errors import UsageError
from pipeline.models.layers import scan_kernel
from pipeline.models.layers.rows import PackedRows, PaddedRows
from pipeline.models.layers.scan_cell import ScanCell
from pipeline.models.lru import LRUCell
from pipeline.models.mingru import MinGRUCell
from pipeline.models.minlstm import MinLSTMCell
from pipeline.models.qrnn import QRNNCell
from pipeline.models.registry import build_model
from pipeline.models.sru import SRUCell
from tests.support.models import random_batch

Array = np.ndarray[Any, Any]
EXACT = {"atol": 1e-10, "rtol": 1e-10}
LENGTHS = [4, 9, 1, 6]
WIDTH, HIDDEN = 3, 5
RING = {"radius_min": 0.4, "radius_max": 0.99, "phase_max": 3.0}
CELLS: dict[str, tuple[type[ScanCell], dict[str, float], int]] = {
    "mingru": (MinGRUCell, {}, WIDTH),
    "minlstm": (MinLSTMCell, {}, WIDTH),
    "sru": (SRUCell, {}, WIDTH),
    "sru, E = H": (SRUCell, {}, HIDDEN),
    "qrnn": (QRNNCell, {}, WIDTH),
    "qrnn, w = 1": (QRNNCell, {"filter_width": 1}, WIDTH),
    "qrnn, w = 4": (QRNNCell, {"filter_width": 4}, WIDTH),
    "lru": (LRUCell, RING, WIDTH),
}
cells = pytest.mark.parametrize("name", CELLS)
both_ways = pytest.mark.parametrize("bidirectional", [False, True])


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


def sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


def make_cell(name: str, bidirectional: bool) -> ScanCell:
    """In float64, all parameters redrawn, so that no zero bias hides a mistake."""
    kind, options, width = CELLS[name]
    cell = kind(width, HIDDEN, bidirectional=bidirectional, **options).double()
    with torch.no_grad():
        for parameter_name, parameter in cell.named_parameters():
            if parameter_name.rpartition(".")[2] not in ("nu", "theta", "gamma"):
                parameter.uniform_(-0.8, 0.8)
    return cell


def block(p: dict[str, Array], kind: int, way: int, ways: int) -> tuple[Array, Array]:
    """Weight and bias of one kind of gate of one direction."""
    begin = (kind * ways + way) * HIDDEN
    return p["projection.weight"][begin : begin + HIDDEN], p["projection.bias"][begin : begin + HIDDEN]


def mingru(p: dict[str, Array], x: Array, way: int, ways: int) -> Array:
    """The states (T, H) of one row in reading order, token by token; so do the others."""
    (K, k), (W, b) = (block(p, kind, way, ways) for kind in range(2))
    h, states = np.zeros(HIDDEN), []
    for token in x:
        z = sigmoid(-K @ token - k)
        h = (1 - z) * h + z * (W @ token + b)
        states.append(h)
    return np.array(states)


def minlstm(p: dict[str, Array], x: Array, way: int, ways: int) -> Array:
    (F, f_b), (V, i_b), (W, b) = (block(p, kind, way, ways) for kind in range(3))
    h, states = np.zeros(HIDDEN), []
    for token in x:
        f, i = sigmoid(F @ token + f_b), sigmoid(V @ token + i_b)
        h = f / (f + i) * h + i / (f + i) * (W @ token + b)
        states.append(h)
    return np.array(states)


def sru(p: dict[str, Array], x: Array, way: int, ways: int) -> Array:
    (F, f_b), (W, b), (R, r_b) = (block(p, kind, way, ways) for kind in range(3))
    c, states = np.zeros(HIDDEN), []
    for token in x:
        highway = token
        if x.shape[1] != HIDDEN:
            X, x_b = block(p, 3, way, ways)
            highway = X @ token + x_b
        f, r = sigmoid(F @ token + f_b), sigmoid(R @ token + r_b)
        c = f * c + (1 - f) * (W @ token + b)
        states.append(r * np.tanh(c) + (1 - r) * np.sqrt(1 + 2 * np.exp(0)) * highway)
    return np.array(states)


def qrnn(p: dict[str, Array], x: Array, way: int, ways: int) -> Array:
    W, b = p[f"filters.{way}.weight"], p[f"filters.{way}.bias"]
    width = W.shape[1] // x.shape[1]
    padded = np.concatenate([np.zeros((width - 1, x.shape[1])), x])
    c, states = np.zeros(HIDDEN), []
    for t in range(len(x)):
        seen = padded[t : t + width][::-1].reshape(-1)
        F, Z, R = np.split(W @ seen + b, 3)
        f, z, o = sigmoid(F), np.tanh(Z), sigmoid(R)
        c = f * c + (1 - f) * z
        states.append(o * c)
    return np.array(states)


def lru(p: dict[str, Array], x: Array, way: int, ways: int) -> Array:
    q = {name.removeprefix(f"ways.{way}."): value for name, value in p.items() if name.startswith(f"ways.{way}.")}
    lam = np.exp(-np.exp(q["nu"]) + 1j * np.exp(q["theta"]))
    B = q["input"][:, 0] + 1j * q["input"][:, 1]
    C = q["output"][..., 0] - 1j * q["output"][..., 1]
    W_1, W_2 = np.split(q["mixer.weight"], 2)
    b_1, b_2 = np.split(q["mixer.bias"], 2)
    state, states = np.zeros(HIDDEN, np.complex128), []
    for token in x:
        v = q["encoder.weight"] @ token + q["encoder.bias"]
        state = lam * state + np.exp(q["gamma"]) * (B @ v)
        y = (C @ state).real + q["skip"] * v
        g = y * (1 + np.vectorize(math.erf)(y / np.sqrt(2))) / 2
        states.append(v + (W_1 @ g + b_1) * sigmoid(W_2 @ g + b_2))
    return np.array(states)


REFERENCES = {"mingru": mingru, "minlstm": minlstm, "sru": sru, "qrnn": qrnn, "lru": lru}


def batch(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (T, B, E) with numbers in the padding, lengths, and where tokens are (B, T)."""
    lengths_B = torch.tensor(LENGTHS)
    inputs_TBE = torch.randn(max(LENGTHS), len(LENGTHS), CELLS[name][2], dtype=torch.float64)
    return inputs_TBE, lengths_B, torch.arange(max(LENGTHS)) < lengths_B.unsqueeze(1)


@cells
@both_ways
@pytest.mark.parametrize("compiled", [False, True])
def test_equals_the_equations(name: str, bidirectional: bool, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(scan_kernel, "COMPILED", False)
    cell = make_cell(name, bidirectional)
    inputs_TBE, lengths_B, _ = batch(name)
    states = cell(inputs_TBE, PaddedRows(lengths_B)).detach().numpy()
    p = {key: parameter.detach().numpy() for key, parameter in cell.named_parameters()}
    reference = REFERENCES[name.partition(",")[0]]
    ways = 2 if bidirectional else 1
    assert states.shape == (max(LENGTHS), len(LENGTHS), ways * HIDDEN)
    for row, length in enumerate(LENGTHS):
        x = inputs_TBE[:length, row].numpy()
        np.testing.assert_allclose(states[:length, row, :HIDDEN], reference(p, x, 0, ways), **EXACT)
        if bidirectional:
            np.testing.assert_allclose(states[:length, row, HIDDEN:], reference(p, x[::-1], 1, ways)[::-1], **EXACT)


@pytest.mark.slow
@cells
@both_ways
def test_gradients(name: str, bidirectional: bool) -> None:
    cell = make_cell(name, bidirectional)
    inputs_TBE, lengths_B, mask_BT = batch(name)
    names = [key for key, _ in cell.named_parameters()]

    def call(inputs: Tensor, *parameters: Tensor) -> Tensor:
        own = dict(zip(names, parameters, strict=True))
        states: Tensor = torch.func.functional_call(cell, own, (inputs, PaddedRows(lengths_B)))
        return states.transpose(0, 1)[mask_BT]

    values = [parameter.detach().clone().requires_grad_() for parameter in cell.parameters()]
    assert torch.autograd.gradcheck(call, (inputs_TBE.requires_grad_(), *values))


@cells
@both_ways
@pytest.mark.skipif(not scan_kernel.COMPILED, reason="the kernel was not compiled")
def test_packed_rows_have_the_same_states(name: str, bidirectional: bool) -> None:
    cell = make_cell(name, bidirectional)
    inputs_TBE, lengths_B, mask_BT = batch(name)
    with torch.inference_mode():
        padded = cell(inputs_TBE, PaddedRows(lengths_B)).transpose(0, 1)[mask_BT]
        packed = cell(inputs_TBE.transpose(0, 1)[mask_BT], PackedRows(lengths_B))
    torch.testing.assert_close(packed, padded, **EXACT)


@pytest.mark.parametrize("name", ["mingru", "minlstm"])
@both_ways
def test_a_table_of_words_gives_the_states(name: str, bidirectional: bool) -> None:
    cell = make_cell(name, bidirectional)
    inputs_TBE, lengths_B, _ = batch(name)
    rows = PaddedRows(lengths_B)
    entries = cell.table(inputs_TBE)
    assert entries is not None
    decay, values = entries.chunk(2, dim=-1)
    torch.testing.assert_close(rows.scan(decay, values, cell.direction), cell(inputs_TBE, rows), **EXACT)


@pytest.mark.parametrize("arch", ["mingru", "minlstm", "sru", "qrnn"])
def test_gates_start_with_memories_of_1_to_64_tokens(arch: str) -> None:
    cell = build_model(arch, {"vocab_size": 60, "num_classes": 2, "hidden_dim": 400}).encoder.cells[0]
    bias = cell.filters[0].bias[:400] if arch == "qrnn" else cell.projection.bias[:400]
    timescale = 1 / (1 - torch.sigmoid(bias))
    assert 1 < timescale.min() < 2 < timescale.median() < 20 < timescale.max() < 65


def test_the_eigenvalues_of_lru_are_stable_and_start_on_the_ring() -> None:
    sizes = {"vocab_size": 60, "num_classes": 2, "hidden_dim": 400}
    way = build_model("lru", sizes | {"radius_min": 0.9, "radius_max": 0.999, "phase_max": 0.3}).encoder.cells[0].ways[0]
    modulus, phase = (-way.nu.exp()).exp(), way.theta.exp()
    assert 0.899 < modulus.min() < 0.91 and 0.99 < modulus.max() < 0.9991
    assert 0 < phase.min() < 0.02 and 0.28 < phase.max() < 0.301
    torch.testing.assert_close(way.gamma.exp(), (1 - modulus.square()).sqrt(), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        way.nu.fill_(-30.0)
    assert ((-way.nu.exp()).exp() <= 1).all(), "whatever training makes of ν"


def test_options_of_the_cells() -> None:
    sizes = {"vocab_size": 60, "num_classes": 2}
    for arch in ("qrnn", "biqrnn"):
        wide = build_model(arch, sizes | {"filter_width": 3})
        assert wide.encoder.cells[0].filters[0].weight.shape[1] == 3 * wide.config.embedding_dim
    for arch in ("lru", "bilru"):
        with pytest.raises(UsageError, match=r"--set radius_min=0.995: expected less than radius_max, 0.99\. Lower it"):
            build_model(arch, sizes | {"radius_min": 0.995})
        build_model(arch, sizes | {"radius_min": 0.995, "radius_max": 0.999})


@pytest.mark.parametrize("arch", ["mingru", "biminlstm", "bisru", "biqrnn", "bilru"])
def test_without_the_kernel_a_model_gives_the_same_logits_and_gradients(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(arch, {"vocab_size": 60, "num_classes": 2, "hidden_dim": 8, "layers": 2}).double().eval()
    ids_BT, lengths_B = random_batch([9, 3, 1, 14])

    def computed() -> list[Tensor]:
        logits = model(ids_BT, lengths_B)
        return [logits.detach(), *torch.autograd.grad(logits[:, 1].sum(), list(model.parameters()))]

    compiled = computed()
    monkeypatch.setattr(scan_kernel, "COMPILED", False)
    for one, other in zip(computed(), compiled, strict=True):
        torch.testing.assert_close(one, other, **EXACT)
