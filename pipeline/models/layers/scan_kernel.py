"""The compiled scan on the CPU; see `scan.py` for the equations and shapes.

`split`: the features before it are read forward, the others backward. N tokens of all rows, one row after the other.
"""

import torch
from torch import Tensor

try:
    from pipeline.models.layers import _scan

    COMPILED = True
except ImportError:
    COMPILED = False

SCAN, SCAN_GRADIENT, AVERAGE, AVERAGE_GRADIENT = range(4)
KINDS = (torch.float32, torch.float64, torch.complex64, torch.complex128)
SMALL = 1 << 14
"""Fewer numbers than this are not worth waking a second thread for."""

Rows = tuple[Tensor, Tensor]
"""Where each of the rows begins among N tokens, and how many it has: int64 (B,) each."""


def takes(values: Tensor) -> bool:
    """Whether the kernel computes scans of such a tensor."""
    return COMPILED and values.device.type == "cpu" and values.dtype in KINDS


def scan(decay: Tensor, values_TBH: Tensor, lengths_B: Tensor | None, split: int) -> Tensor:
    """The states (T, B, H), 0 at padding."""
    states_TBH = torch.empty(values_TBH.shape, dtype=values_TBH.dtype)
    _run(SCAN, (states_TBH, decay, values_TBH), lengths_B, split)
    return states_TBH


def scan_gradient(
    gradient_TBH: Tensor, decay: Tensor, states_TBH: Tensor, lengths_B: Tensor | None, split: int
) -> tuple[Tensor, Tensor]:
    """The gradients of `decay`, in its shape, and of the values (T, B, H), given that of the states."""
    of_values = torch.empty(states_TBH.shape, dtype=states_TBH.dtype)
    if decay.dim() > 1:
        of_decay = torch.empty_like(of_values)
        _run(SCAN_GRADIENT, (of_decay, of_values, gradient_TBH, decay, states_TBH), lengths_B, split)
        return of_decay, of_values
    sums_BH = torch.zeros(states_TBH.shape[1:], dtype=states_TBH.dtype)
    shared_TBH = sums_BH.expand(states_TBH.shape)
    _run(SCAN_GRADIENT, (shared_TBH, of_values, gradient_TBH, decay, states_TBH), lengths_B, split)
    return sums_BH.sum(dim=0), of_values


def gated_average(gate_TBH: Tensor, values_TBH: Tensor, lengths_B: Tensor | None, split: int) -> Tensor:
    """The states (T, B, H), 0 at padding."""
    states_TBH = torch.empty(values_TBH.shape, dtype=values_TBH.dtype)
    _run(AVERAGE, (states_TBH, gate_TBH, values_TBH), lengths_B, split)
    return states_TBH


def gated_average_gradient(
    gradient_TBH: Tensor, gate_TBH: Tensor, values_TBH: Tensor, states_TBH: Tensor, lengths_B: Tensor | None, split: int
) -> Tensor:
    """The gradients of gates and values, side by side (T, B, 2H), given that of the states."""
    features = states_TBH.shape[2]
    both = torch.empty((*states_TBH.shape[:2], 2 * features), dtype=states_TBH.dtype)
    of_gate, of_values = both[..., :features], both[..., features:]
    _run(AVERAGE_GRADIENT, (of_gate, of_values, gradient_TBH, gate_TBH, values_TBH, states_TBH), lengths_B, split)
    return both


def packed_scan(decay: Tensor, values_NH: Tensor, rows: Rows, split: int) -> Tensor:
    """The states of all tokens (N, H); `decay`: (N, H), or (H,) where all share it."""
    states_NH = torch.empty(values_NH.shape, dtype=values_NH.dtype)
    _run_packed(SCAN, (states_NH, decay, values_NH), rows, split)
    return states_NH


def packed_gated_average(gate_NH: Tensor, values_NH: Tensor, rows: Rows, split: int) -> Tensor:
    """The states of all tokens (N, H)."""
    states_NH = torch.empty(values_NH.shape, dtype=values_NH.dtype)
    _run_packed(AVERAGE, (states_NH, gate_NH, values_NH), rows, split)
    return states_NH


def pool_packed(
    table: Tensor, index_N: Tensor | None, rows: Rows, features: int, split: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Last state, largest and sum of the states of each row, (B, features) each; float32.

    Row `index_N[k]` of `table` (row k without an index) has a and b of token k side by side, or the state itself. The last
    state of the features that are read backward is that at the row's first token. Every row has a token.

    Raises:
        IndexError: an index outside the table, or a row outside its tokens.
    """
    starts_B, lengths_B = _within(rows, len(table if index_N is None else index_N))
    table = table.contiguous()
    found = [torch.empty(len(lengths_B), features) for _ in range(3)]
    assert table.dtype == torch.float32 and table.shape[1] in (features, 2 * features), (table.dtype, table.shape)
    if index_N is not None and len(index_N):
        smallest, largest = (int(bound) for bound in torch.aminmax(index_N))
        if smallest < 0 or largest >= len(table):
            raise IndexError(f"rows {smallest} to {largest} of a table of {len(table)}.")
    index_address = 0 if index_N is None else index_N.data_ptr()
    has_decay = int(table.shape[1] == 2 * features)
    _scan.pool_rows(
        table.data_ptr(),
        has_decay,
        index_address,
        starts_B.data_ptr(),
        lengths_B.data_ptr(),
        len(lengths_B),
        features,
        split,
        *(tensor.data_ptr() for tensor in found),
    )
    last_BH, largest_BH, total_BH = found
    return last_BH, largest_BH, total_BH


def _run(operation: int, tensors: tuple[Tensor, ...], lengths_B: Tensor | None, split: int) -> None:
    """Runs the kernel over padded tensors (T, B, H) or (H,), outputs first."""
    tensors = tuple(_dense(tensor) for tensor in tensors)
    positions, rows, features = tensors[-1].shape
    _scan.run(
        operation,
        *_kind(tensors[-1]),
        positions,
        rows,
        features,
        split,
        0 if lengths_B is None else lengths_B.data_ptr(),
        0,
        torch.get_num_threads() if tensors[-1].numel() >= SMALL else 1,
        tuple(number for tensor in tensors for number in _address(tensor)),
    )


def _run_packed(operation: int, tensors: tuple[Tensor, ...], rows: Rows, split: int) -> None:
    """Runs the kernel over the tokens of all rows (N, H) or (H,), outputs first."""
    tensors = tuple(_dense(tensor) for tensor in tensors)
    starts_B, lengths_B = _within(rows, len(tensors[-1]))
    operands = (_address(tensor.unsqueeze(1) if tensor.dim() == 2 else tensor) for tensor in tensors)
    _scan.run(
        operation,
        *_kind(tensors[-1]),
        int(lengths_B.max()) if len(lengths_B) else 0,
        len(lengths_B),
        tensors[-1].shape[1],
        split,
        lengths_B.data_ptr(),
        starts_B.data_ptr(),
        torch.get_num_threads() if tensors[-1].numel() >= SMALL else 1,
        tuple(number for time_major in operands for number in (*time_major[:2], 0)),
    )


def _within(rows: Rows, tokens: int) -> Rows:
    """The rows, which must lie among so many tokens."""
    starts_B, lengths_B = (tensor.to(torch.int64).contiguous() for tensor in rows)
    if len(starts_B) and (int(starts_B.min()) < 0 or int((starts_B + lengths_B).max()) > tokens):
        raise IndexError(f"rows that end at token {int((starts_B + lengths_B).max())} of {tokens}.")
    return starts_B, lengths_B


def _dense(tensor: Tensor) -> Tensor:
    """The tensor with the features of a position side by side, and no conjugation that is yet to be done."""
    tensor = tensor.detach().resolve_conj().resolve_neg()
    return tensor if tensor.shape[-1] <= 1 or tensor.stride(-1) == 1 else tensor.contiguous()


def _kind(tensor: Tensor) -> tuple[int, int]:
    return int(tensor.dtype in (torch.float64, torch.complex128)), int(tensor.is_complex())


def _address(tensor: Tensor) -> tuple[int, int, int]:
    """Where it begins, and the bytes from one position, and from one row, to the next."""
    if tensor.dim() == 1:
        return tensor.data_ptr(), 0, 0
    size = tensor.element_size()
    return tensor.data_ptr(), tensor.stride(0) * size, tensor.stride(1) * size
