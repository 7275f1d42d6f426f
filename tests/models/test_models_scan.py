"""The scan: the compiled kernel and the doubling one against a plain loop; gradients; padding; threads; packed rows."""

import shutil
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.models.layers import scan_kernel, scan_torch
from pipeline.models.layers.rows import PackedRows, PaddedRows
from pipeline.models.layers.scan import Direction, gated_average, joint_gated_average, scan, split

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12, torch.complex64: 1e-6, torch.complex128: 1e-12}
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward", "both")
directions = pytest.mark.parametrize("direction", DIRECTIONS)
kinds = pytest.mark.parametrize("kind", list(TOLERANCE), ids=str)


@pytest.fixture(params=["kernel", "doubling"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both, whatever was compiled: without the kernel, its half of the tests is about doubling too."""
    if request.param == "doubling":
        monkeypatch.setattr(scan_kernel, "COMPILED", False)
    return str(request.param)


needs_kernel = pytest.mark.skipif(not scan_kernel.COMPILED, reason="the kernel was not compiled")


def test_compiled_where_a_compiler_was_there() -> None:
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert scan_kernel.COMPILED or not (compiler and headers.exists()), "install again: pip install --editable ."


def numbers(seed: int, *shape: int, kind: torch.dtype, largest: float = 1.0) -> Tensor:
    """Of modulus at most `largest`, drawn in float64."""
    generator = torch.Generator().manual_seed(seed)
    modulus = torch.rand(shape, generator=generator, dtype=torch.float64) * largest
    phase = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 * torch.pi
    return torch.polar(modulus, phase).to(kind) if kind.is_complex else (modulus * phase.cos().sign()).to(kind)


def laid_out(values: Tensor, layout: str) -> Tensor:
    """The same numbers, other strides."""
    if layout == "batch-major":
        return values.transpose(0, 1).contiguous().transpose(0, 1)
    if layout == "part":
        return torch.cat([values, values + 1], dim=-1)[..., : values.shape[-1]]
    if layout == "feature-major":
        return values.transpose(0, 2).contiguous().transpose(0, 2)
    return values


def check_close(found: Tensor, expected: Tensor, kind: torch.dtype, terms: int = 1) -> None:
    """To the tolerance of the type, relative to the largest number, or to the number of terms that were summed."""
    scale = max(1.0, terms, float(expected.abs().max()) if expected.numel() else 0.0)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max() if expected.numel() else 0) <= TOLERANCE[kind] * scale


def with_gradients(call: Callable[[Tensor, Tensor], Tensor], decay: Tensor, values: Tensor, weight: Tensor) -> list[Tensor]:
    """The states and both gradients."""
    decay, values = decay.detach().requires_grad_(), values.detach().requires_grad_()
    states = call(decay, values)
    return [states.detach(), *torch.autograd.grad(states, (decay, values), weight, materialize_grads=True)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, list[int], int, int]:
    """Positions, lengths, features of one direction, a seed. Empty rows and batches, and lengths beyond T, among them."""
    positions = draw(st.integers(0, 40))
    lengths = draw(st.lists(st.integers(0, positions + 2), max_size=6))
    return positions, lengths, draw(st.integers(0, 19)), draw(st.integers(0, 1000))


@kinds
@settings(max_examples=40)
@given(
    case=cases(),
    direction=st.sampled_from(DIRECTIONS),
    layout=st.sampled_from(["plain", "batch-major", "part", "feature-major"]),
    shared=st.booleans(),
    whole=st.booleans(),
)
def test_equals_the_loop(
    kind: torch.dtype, case: tuple[int, list[int], int, int], direction: Direction, layout: str, shared: bool, whole: bool
) -> None:
    positions, lengths, half, seed = case
    features = 2 * half
    shape = (positions, len(lengths), features)
    decay = numbers(seed, features, kind=kind) if shared else laid_out(numbers(seed, *shape, kind=kind), layout)
    values, weight = (laid_out(numbers(seed + more, *shape, kind=kind), layout) for more in (1, 2))
    lengths_B = None if whole else torch.tensor(lengths, dtype=torch.int64)
    parts = split(direction, values)
    expected = with_gradients(lambda a, b: scan_torch.loop_scan(a, b, lengths_B, parts), decay, values, weight)
    states = scan_torch.scan(decay, values, lengths_B, parts)
    doubled = [states, *scan_torch.scan_gradient(weight, decay, states, lengths_B, parts)]
    for found in (with_gradients(lambda a, b: scan(a, b, lengths_B, direction), decay, values, weight), doubled):
        for one, other in zip(found, expected, strict=True):
            check_close(one, other, kind, terms=positions * len(lengths) if one.dim() == 1 else 1)


@directions
@kinds
def test_equals_the_loop_over_many_positions(kind: torch.dtype, direction: Direction, library: str) -> None:
    """Long enough for several threads, with a memory of hundreds of positions."""
    decay, values, weight = (
        numbers(seed, 500, 7, 34, kind=kind, largest=size) for seed, size in ((1, 0.999), (2, 1), (3, 1))
    )
    lengths_B = torch.tensor([500, 1, 499, 250, 0, 333, 500])
    parts = split(direction, values)
    expected = with_gradients(lambda a, b: scan_torch.loop_scan(a, b, lengths_B, parts), decay, values, weight)
    found = with_gradients(lambda a, b: scan(a, b, lengths_B, direction), decay, values, weight)
    for one, other in zip(found, expected, strict=True):
        check_close(one, other, kind)


@directions
def test_padding_is_never_read(library: str, direction: Direction) -> None:
    lengths_B = torch.tensor([3, 0, 9, 5])
    padding_TB = torch.arange(9).unsqueeze(1) >= lengths_B
    decay, values, weight = (numbers(seed, 9, 4, 6, kind=torch.float64) for seed in range(3))
    clean = with_gradients(lambda a, b: scan(a, b, lengths_B, direction), decay, values, weight)
    for tensor in (decay, values, weight):
        tensor[padding_TB] = float("nan")
    dirty = with_gradients(lambda a, b: scan(a, b, lengths_B, direction), decay, values, weight)
    for one, other in zip(dirty, clean, strict=True):
        assert torch.equal(one, other)
        assert not one[padding_TB].any(), "zeros at padding, in gradients too"
    averages = with_gradients(lambda a, b: gated_average(a, b, lengths_B, direction), decay, values, weight)
    assert all(tensor.isfinite().all() and not tensor[padding_TB].any() for tensor in averages)


@directions
@pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("joint", [False, True])
def test_gated_average_is_the_scan_of_its_gate(library: str, kind: torch.dtype, joint: bool, direction: Direction) -> None:
    gate, values, weight = (
        numbers(seed, 60, 5, 34, kind=torch.float64, largest=size) for seed, size in ((1, 12), (2, 1), (3, 1))
    )
    gate[0, 0, :4] = torch.tensor([1e4, -1e4, 60.0, -60.0])
    lengths_B = torch.tensor([60, 59, 1, 0, 30])

    def reference(gate: Tensor, values: Tensor) -> Tensor:
        keep = torch.sigmoid(gate)
        return scan_torch.loop_scan(keep, torch.sigmoid(-gate) * values, lengths_B, split(direction, values))

    def average(gate: Tensor, values: Tensor) -> Tensor:
        if joint:
            return joint_gated_average(torch.cat([gate, values], dim=-1), lengths_B, direction)
        return gated_average(gate, values, lengths_B, direction)

    gate, values, weight = (tensor.to(kind) for tensor in (gate, values, weight))
    expected = with_gradients(reference, gate.double(), values.double(), weight.double())
    for one, other in zip(with_gradients(average, gate, values, weight), expected, strict=True):
        check_close(one, other, kind)


def test_gates_that_are_not_finite_are_not_hidden(library: str) -> None:
    gate, values = torch.zeros(4, 1, 3), torch.ones(4, 1, 3)
    gate[1, 0, 0], values[2, 0, 1] = float("nan"), float("nan")
    found = gated_average(gate, values)[:, 0].isnan()
    assert found.tolist() == [[False] * 3, [True, False, False], [True, True, False], [True, True, False]]


@directions
@pytest.mark.parametrize("kind", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("shared", [False, True])
def test_gradients(library: str, kind: torch.dtype, direction: Direction, shared: bool) -> None:
    lengths_B = torch.tensor([4, 2, 0])
    decay = numbers(1, *((4,) if shared else (4, 3, 4)), kind=kind).requires_grad_()
    values = numbers(2, 4, 3, 4, kind=kind).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: scan(a, b, lengths_B, direction), (decay, values))
    if not kind.is_complex and not shared:
        assert torch.autograd.gradcheck(lambda a, b: gated_average(a, b, lengths_B, direction), (decay, values))
        both = torch.cat([decay, values], dim=-1).detach().requires_grad_()
        assert torch.autograd.gradcheck(lambda x: joint_gated_average(x, lengths_B, direction), (both,))


@needs_kernel
@pytest.mark.parametrize("call", [scan, gated_average])
def test_a_gradient_of_the_gradient_is_refused(call: Callable[[Tensor, Tensor], Tensor]) -> None:
    decay, values = (torch.rand(3, 2, 4, requires_grad=True) for _ in range(2))
    gradients = torch.autograd.grad(call(decay, values).square().sum(), (decay, values), create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradients[0].sum().backward()


def test_half_precision_is_computed_in_float32(library: str) -> None:
    decay, values = torch.full((600, 1, 2), 0.99), torch.ones(600, 1, 2)
    found = scan(decay.bfloat16(), values.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, scan(decay.bfloat16().float(), values))


def test_real_decays_of_complex_values(library: str) -> None:
    decay, values = torch.rand(5, 2, 4), numbers(1, 5, 2, 4, kind=torch.complex64)
    found = scan(decay, values)
    torch.testing.assert_close(found.real, scan(decay, values.real))
    torch.testing.assert_close(found.imag, scan(decay, values.imag))


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a decay of shape \(3, 2, 5\) for values of shape \(3, 2, 4\)"):
        scan(torch.rand(3, 2, 5), torch.rand(3, 2, 4))
    with pytest.raises(ValueError, match="5 features cannot be split into two directions"):
        scan(torch.rand(3, 2, 5), torch.rand(3, 2, 5), None, "both")
    for call in (scan, gated_average):
        with pytest.raises(ValueError, match=r"lengths of shape \(3,\) for values of shape \(3, 2, 4\)"):
            call(torch.rand(3, 2, 4), torch.rand(3, 2, 4), torch.tensor([1, 2, 3]))
        with pytest.raises(ValueError, match="tensors on meta and on cpu"):
            call(torch.rand(3, 2, 4, device="meta"), torch.rand(3, 2, 4))
    with pytest.raises(ValueError, match="real tensors of one shape"):
        gated_average(torch.rand(3, 2, 5), torch.rand(3, 2, 4))


@needs_kernel
def test_threads_change_no_bit() -> None:
    """Those of torch, and those of Python that compute at once."""
    decay, values, weight = (numbers(seed, 300, 9, 32, kind=torch.float32) for seed in range(3))
    lengths_B = torch.tensor([300, 20, 0, 299, 150, 1, 77, 300, 12])

    def compute() -> list[Tensor]:
        return with_gradients(lambda a, b: gated_average(a, b, lengths_B, "both"), decay, values, weight)

    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(compute())
    finally:
        torch.set_num_threads(before)
    workers = [threading.Thread(target=lambda: found.append(compute())) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 7
    for tensors in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(tensors, found[0], strict=True))


@needs_kernel
class TestPackedRows:
    """The tokens of all rows side by side give the states of padded rows."""

    @settings(max_examples=30)
    @given(
        lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6),
        half=st.integers(1, 9),
        direction=st.sampled_from(DIRECTIONS),
    )
    def test_give_the_same_states(self, lengths: list[int], half: int, direction: Direction) -> None:
        lengths_B = torch.tensor(lengths)
        mask_BT = torch.arange(max(lengths)) < lengths_B.unsqueeze(1)
        padded, packed = PaddedRows(lengths_B), PackedRows(lengths_B)

        def tokens(padded_TBH: Tensor) -> Tensor:
            return padded_TBH.transpose(0, 1)[mask_BT]

        for kind in TOLERANCE:
            shape = (max(lengths), len(lengths), 2 * half)
            decay, values = (numbers(seed, *shape, kind=kind) for seed in range(2))
            states = padded.scan(decay, values, direction)
            check_close(packed.scan(tokens(decay), tokens(values), direction), tokens(states), kind)
            states = padded.scan(decay[0, 0], values, direction)
            check_close(packed.scan(decay[0, 0], tokens(values), direction), tokens(states), kind)
            if not kind.is_complex:
                states = padded.average(decay, values, direction)
                check_close(packed.average(tokens(decay), tokens(values), direction), tokens(states), kind)
                both = torch.cat([decay, values], dim=-1)
                check_close(packed.joint_average(tokens(both), direction), tokens(states), kind)
            if direction != "both":
                for offset in (0, 1, 3):
                    found = packed.earlier(tokens(values), offset, direction)
                    check_close(found, tokens(padded.earlier(values, offset, direction)), kind)

    @directions
    def test_are_pooled(self, direction: Direction) -> None:
        lengths_B = torch.tensor([4, 1, 12])
        decay, values = (numbers(seed, 17, 6, kind=torch.float32) for seed in range(2))
        packed = PackedRows(lengths_B)
        states = packed.scan(decay, values, direction)
        parts = split(direction, values)
        index_N = torch.randperm(17)
        table = torch.empty(17, 12)
        table[index_N] = torch.cat([decay, values], dim=-1)
        for entries, index in ((states, None), (torch.cat([decay, values], dim=-1), None), (table, index_N)):
            last, largest, total = scan_kernel.pool_packed(entries, index, packed.rows, 6, parts)
            for row, rows in enumerate(states.split(lengths_B.tolist())):
                torch.testing.assert_close(last[row], torch.cat([rows[-1, :parts], rows[0, parts:]]))
                torch.testing.assert_close(largest[row], rows.amax(dim=0))
                torch.testing.assert_close(total[row], rows.sum(dim=0))
        with pytest.raises(IndexError, match="rows 0 to 17 of a table of 17"):
            scan_kernel.pool_packed(table, torch.tensor([*range(16), 17]), packed.rows, 6, parts)

    def test_rows_beyond_the_tokens_are_refused(self) -> None:
        packed = PackedRows(torch.tensor([3, 3]))
        values = torch.rand(5, 4)
        with pytest.raises(IndexError, match="rows that end at token 6 of 5"):
            packed.scan(values, values, "forward")
        with pytest.raises(IndexError, match="rows that end at token 6 of 5"):
            scan_kernel.pool_packed(values, None, packed.rows, 4, 4)

    def test_what_is_not_a_number_is_pooled_as_such(self) -> None:
        states = torch.tensor([[1.0], [float("nan")], [3.0]])
        _, largest, total = scan_kernel.pool_packed(states, None, PackedRows(torch.tensor([3])).rows, 1, 1)
        assert largest.isnan().all() and total.isnan().all()
