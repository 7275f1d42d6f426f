"""Hand-written layers against torch's, where torch has one, and against the papers' equations in plain NumPy elsewhere."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.models.layers.grid import GridLSTMLayer
from pipeline.models.layers.orthogonal import RotationMatrix, UnitaryMatrix, modrelu
from pipeline.models.layers.peephole import PeepholeLSTM
from pipeline.models.layers.pooling import POOLINGS, Pooling
from pipeline.models.layers.recurrent import Recurrent, torch_layer
from pipeline.models.layers.unitary import GORU, UnitaryRNN
from pipeline.models.registry import build_model
from tests.support.models import random_batch

EXACT = {"atol": 1e-10, "rtol": 1e-10}
BATCH, STEPS, WIDTH, HIDDEN = 3, 7, 4, 5
Array = np.ndarray


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


def sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


Module = TypeVar("Module", bound=nn.Module)


def randomised(module: Module) -> Module:
    """The module in float64 with all parameters redrawn, so that no zero bias hides a mistake."""
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.8, 0.8)
    return module


def arrays(module: nn.Module) -> dict[str, Array]:
    return {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}


def inputs(width: int = WIDTH) -> Tensor:
    return torch.randn(BATCH, STEPS, width, dtype=torch.float64)


def check_gradients(module: nn.Module, *values: Tensor) -> None:
    """gradcheck of everything that the module returns, with respect to the inputs and every parameter."""
    names = [name for name, _ in module.named_parameters()]
    parameters = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]

    def call(*flat: Tensor) -> tuple[Tensor, ...]:
        own = dict(zip(names, flat[len(values) :], strict=True))
        found = torch.func.functional_call(module, own, flat[: len(values)])
        return tuple(value for value in found if value is not None)

    assert torch.autograd.gradcheck(call, (*(value.requires_grad_() for value in values), *parameters))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_stacked_layers_equal_packed_sequences(kind: type[nn.RNNBase], bidirectional: bool) -> None:
    lengths_B = torch.tensor([4, 9, 1, 6])
    inputs_BTE = torch.randn(4, 9, 6)
    ours = Recurrent(torch_layer(kind), 6, HIDDEN, 2, bidirectional=bidirectional)
    theirs = kind(6, HIDDEN, num_layers=2, batch_first=True, bidirectional=bidirectional)
    with torch.no_grad():
        for number in range(2):
            for layers, suffix in ((ours.forward_layers, ""), (ours.backward_layers, "_reverse")):
                for name, parameter in layers[number].named_parameters() if len(layers) else ():
                    theirs.get_parameter(name.replace("_l0", f"_l{number}{suffix}")).copy_(parameter)
    packed, final = theirs(pack_padded_sequence(inputs_BTE, lengths_B, batch_first=True, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed, batch_first=True, total_length=9)
    found = ours(inputs_BTE, lengths_B)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    hidden = final[0] if kind is nn.LSTM else final
    last = torch.cat([hidden[-2], hidden[-1]], dim=1) if bidirectional else hidden[-1]
    pooled = Pooling("last", found.shape[2], bidirectional=bidirectional)(found, lengths_B)
    torch.testing.assert_close(pooled, last, atol=1e-6, rtol=0)


def test_pooling_reads_tokens_only() -> None:
    states_BTS, lengths_B = torch.randn(2, 4, 3), torch.tensor([2, 4])
    tokens = [states_BTS[0, :2], states_BTS[1]]
    largest = torch.stack([rows.amax(dim=0) for rows in tokens])
    average = torch.stack([rows.mean(dim=0) for rows in tokens])
    torch.testing.assert_close(Pooling("max", 3)(states_BTS, lengths_B), largest)
    torch.testing.assert_close(Pooling("mean", 3)(states_BTS, lengths_B), average)
    torch.testing.assert_close(Pooling("max-mean", 3)(states_BTS, lengths_B), torch.cat([largest, average], dim=1))
    attention = Pooling("attention", 3)
    weights_BT = attention.weights(states_BTS, lengths_B)
    torch.testing.assert_close(weights_BT.sum(dim=1), torch.ones(2))
    assert not weights_BT[0, 2:].any()
    expected = torch.stack([weights_BT[row, : len(rows)] @ rows for row, rows in enumerate(tokens)])
    torch.testing.assert_close(attention(states_BTS, lengths_B), expected)


@pytest.mark.parametrize("kind", POOLINGS)
def test_pooling_gradients(kind: str) -> None:
    pooling = Pooling(kind, 4, bidirectional=True).double()
    states_BTS = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    lengths_B = torch.tensor([2, 5, 1])
    assert torch.autograd.gradcheck(lambda states: pooling(states, lengths_B), (states_BTS,))
    found = pooling(states_BTS, lengths_B)
    torch.testing.assert_close(found, pooling(states_BTS.detach(), lengths_B))
    (gradient_BTS,) = torch.autograd.grad(found.sum(), states_BTS)
    assert not gradient_BTS[0, 2:].any() and not gradient_BTS[2, 1:].any(), "padding gets no gradient"


class TestPeepholeLSTM:
    def test_equals_the_equations(self) -> None:
        layer, inputs_BTE = randomised(PeepholeLSTM(WIDTH, HIDDEN)), inputs()
        p = arrays(layer)
        W, U, b = (np.split(p[name], 4) for name in ("weight_ih", "weight_hh", "bias"))
        h = c = np.zeros((BATCH, HIDDEN))
        for t in range(STEPS):
            x = inputs_BTE[:, t].numpy()
            i = sigmoid(x @ W[0].T + h @ U[0].T + p["peephole"][0] * c + b[0])
            f = sigmoid(x @ W[1].T + h @ U[1].T + p["peephole"][1] * c + b[1])
            g = np.tanh(x @ W[2].T + h @ U[2].T + b[2])
            c = f * c + i * g
            o = sigmoid(x @ W[3].T + h @ U[3].T + p["peephole"][2] * c + b[3])
            h = o * np.tanh(c)
            np.testing.assert_allclose(layer(inputs_BTE)[0][:, t].detach().numpy(), h, **EXACT)

    def test_without_peepholes_is_an_lstm(self) -> None:
        layer, inputs_BTE = randomised(PeepholeLSTM(WIDTH, HIDDEN)), inputs()
        reference = nn.LSTM(WIDTH, HIDDEN, batch_first=True).double()
        with torch.no_grad():
            layer.peephole.zero_()
            reference.weight_ih_l0.copy_(layer.weight_ih)
            reference.weight_hh_l0.copy_(layer.weight_hh)
            reference.bias_ih_l0.copy_(layer.bias)
            reference.bias_hh_l0.zero_()
        states, cell = layer(inputs_BTE)
        expected, (_, expected_cell) = reference(inputs_BTE)
        torch.testing.assert_close(states, expected, **EXACT)
        torch.testing.assert_close(cell, expected_cell[0], **EXACT)

    def test_gradients(self) -> None:
        check_gradients(randomised(PeepholeLSTM(2, 3)), inputs(2))


class TestUnitaryRNN:
    def test_matrix_is_the_product_of_its_factors(self) -> None:
        matrix = UnitaryMatrix(HIDDEN).double()
        expected = dense_unitary(matrix)
        np.testing.assert_allclose(matrix.transposed().detach().numpy().T, expected, **EXACT)
        np.testing.assert_allclose(expected.conj().T @ expected, np.eye(HIDDEN), **EXACT)

    def test_equals_the_equations(self) -> None:
        layer, inputs_BTE = randomised(UnitaryRNN(WIDTH, HIDDEN)), inputs()
        p, W = arrays(layer), dense_unitary(layer.recurrence)
        V = p["weight_ih"][:HIDDEN] + 1j * p["weight_ih"][HIDDEN:]
        h = np.tile(p["start"][:HIDDEN] + 1j * p["start"][HIDDEN:], (BATCH, 1))
        states = layer(inputs_BTE)[0].detach().numpy()
        for t in range(STEPS):
            z = h @ W.T + inputs_BTE[:, t].numpy() @ V.T
            h = np.where(abs(z) + p["bias"] >= 0, (abs(z) + p["bias"]) * z / abs(z), 0)
            np.testing.assert_allclose(states[:, t], np.concatenate([h.real, h.imag], axis=1), **EXACT)

    def test_gradients(self) -> None:
        check_gradients(randomised(UnitaryRNN(2, 3)), inputs(2))

    @pytest.mark.parametrize("hidden", [7, 128])
    def test_keeps_norms_over_a_thousand_steps(self, hidden: int) -> None:
        layer = UnitaryRNN(WIDTH, hidden)
        states = layer(torch.zeros(1, 1000, WIDTH))[0]
        assert_norms_equal(states[0, -1:], layer.start.unsqueeze(0))

    def test_the_modulus_of_zero_has_a_finite_gradient(self) -> None:
        zeros = torch.zeros(1, 2, 3, requires_grad=True)
        modrelu(zeros, torch.ones(3)).sum().backward()
        assert zeros.grad is not None and zeros.grad.isfinite().all()


def dense_unitary(matrix: UnitaryMatrix) -> Array:
    """D₃ R₂ F⁻¹ D₂ Π R₁ F D₁, multiplied out literally."""
    size = matrix.features
    k = np.arange(size)
    F = np.exp(-2j * np.pi * np.outer(k, k) / size) / np.sqrt(size)
    D1, D2, D3 = (np.diag(np.exp(1j * phase)) for phase in matrix.phases.detach().numpy())
    vectors = matrix.reflections.detach().numpy()
    R1, R2 = (reflection(vector[0] + 1j * vector[1]) for vector in vectors)
    P = np.eye(size)[matrix.permutation.numpy()]
    return D3 @ R2 @ F.conj().T @ D2 @ P @ R1 @ F @ D1


def reflection(v: Array) -> Array:
    return np.eye(len(v)) - 2 * np.outer(v, v.conj()) / np.vdot(v, v)


class TestGORU:
    @pytest.mark.parametrize("size", [2, 5, 8])
    def test_matrix_is_the_product_of_its_rotations(self, size: int) -> None:
        matrix = RotationMatrix(size, 6).double()
        expected, place = np.eye(size), 0
        angles = matrix.angles.detach().numpy()
        strides = [1, 2, 4][: max(1, int(np.ceil(np.log2(size))))]
        for factor in range(6):
            stride = strides[factor % len(strides)]
            for first in range(size - stride):
                if first // stride % 2 == 0:
                    G = np.eye(size)
                    c, s = np.cos(angles[place]), np.sin(angles[place])
                    G[np.ix_([first, first + stride], [first, first + stride])] = [[c, -s], [s, c]]
                    expected, place = G @ expected, place + 1
        assert place == len(angles)
        np.testing.assert_allclose(matrix().detach().numpy().T, expected, **EXACT)
        np.testing.assert_allclose(expected.T @ expected, np.eye(size), **EXACT)

    def test_equals_the_equations(self) -> None:
        layer, inputs_BTE = randomised(GORU(WIDTH, HIDDEN, 6)), inputs()
        p, U = arrays(layer), layer.recurrence().detach().numpy().T
        V, V_r, V_z = np.split(p["weight_ih"], 3)
        W_r, W_z = np.split(p["weight_hh"], 2)
        b_r, b_z = np.split(p["gate_bias"], 2)
        h = np.zeros((BATCH, HIDDEN))
        states = layer(inputs_BTE)[0].detach().numpy()
        for t in range(STEPS):
            x = inputs_BTE[:, t].numpy()
            r = sigmoid(h @ W_r.T + x @ V_r.T + b_r)
            z = sigmoid(h @ W_z.T + x @ V_z.T + b_z)
            a = x @ V.T + r * (h @ U.T)
            h = z * h + (1 - z) * np.sign(a) * np.maximum(abs(a) + p["bias"], 0)
            np.testing.assert_allclose(states[:, t], h, **EXACT)

    def test_gradients(self) -> None:
        check_gradients(randomised(GORU(2, 3, 4)), inputs(2))

    @pytest.mark.parametrize("hidden", [7, 128])
    def test_keeps_norms_over_a_thousand_steps(self, hidden: int) -> None:
        layer = GORU(WIDTH, hidden, 16)
        with torch.no_grad():
            layer.gate_bias[:hidden], layer.gate_bias[hidden:] = 1e3, -1e3  # r = 1 and z = 0: the recurrence alone
        inputs_BTE = torch.zeros(4, 1001, WIDTH)
        inputs_BTE[:, 0] = torch.randn(4, WIDTH)
        states = layer(inputs_BTE)[0]
        assert_norms_equal(states[:, -1], states[:, 0])


def assert_norms_equal(state: Tensor, start: Tensor) -> None:
    torch.testing.assert_close(state.norm(dim=1) / start.norm(dim=1), torch.ones(len(start)), atol=1e-5, rtol=0)


class TestGridLSTM:
    def test_equals_the_equations_block_by_block(self) -> None:
        layers = [randomised(GridLSTMLayer(HIDDEN)) for _ in range(2)]
        hidden, cell = inputs(HIDDEN), inputs(HIDDEN)
        expected_below = (hidden.numpy(), cell.numpy())
        for layer in layers:
            p = arrays(layer)
            W1 = np.concatenate([p["time.weight_hh_l0"], p["time.weight_ih_l0"]], axis=1)
            b1 = p["time.bias_hh_l0"] + p["time.bias_ih_l0"]
            h1 = m1 = np.zeros((BATCH, HIDDEN))
            rows = []
            for t in range(STEPS):
                H = np.concatenate([h1, expected_below[0][:, t]], axis=1)
                m2 = expected_below[1][:, t]
                h1, m1 = lstm_transform(H, m1, W1, b1)
                rows.append((h1, *lstm_transform(H, m2, p["depth.weight"], p["depth.bias"])))
            expected = [np.stack(column, axis=1) for column in zip(*rows, strict=True)]
            time, hidden, cell = layer(hidden, cell)
            for found, wanted in zip((time, hidden, cell), expected, strict=True):
                np.testing.assert_allclose(found.detach().numpy(), wanted, **EXACT)
            expected_below = (expected[1], expected[2])

    def test_gradients(self) -> None:
        check_gradients(randomised(GridLSTMLayer(3)), inputs(3), inputs(3))

    def test_in_one_dimension_is_the_stacked_lstm(self) -> None:
        sizes = {"vocab_size": 60, "num_classes": 3, "embedding_dim": WIDTH, "hidden_dim": HIDDEN, "layers": 2}
        grid, lstm = build_model("grid-lstm", sizes | {"dimensions": 1}).eval(), build_model("lstm", sizes).eval()
        lstm.load_state_dict(grid.state_dict())
        ids_BT, lengths_B = random_batch([5, 9, 2])
        torch.testing.assert_close(grid(ids_BT, lengths_B), lstm(ids_BT, lengths_B), atol=0, rtol=0)


def lstm_transform(H: Array, m: Array, W: Array, b: Array) -> tuple[Array, Array]:
    i, f, g, o = np.split(H @ W.T + b, 4, axis=1)
    m = sigmoid(f) * m + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(m), m
