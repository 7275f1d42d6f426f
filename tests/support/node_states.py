"""What every node has to keep: torchdata's promise that a state, restored, gives what would have come."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor
from torchdata.nodes import BaseNode

from pipeline.batches.ragged import Ragged


def run_test_save_load_state(make: Callable[[], BaseNode[Any]], midpoint: int) -> None:
    """Saves in the middle, in the second epoch, at the start and at the end; restores into the node and into a new one."""
    node = make()
    node.reset()
    whole = [plain(item) for item in node]
    assert len(whole) > midpoint
    for epochs_before in (0, 1):
        for place in (0, midpoint, len(whole)):
            node = make()
            node.reset()
            for _ in range(epochs_before):
                assert [plain(item) for item in node] == whole
                node.reset()
            assert [plain(next(node)) for _ in range(place)] == whole[:place]
            state = node.state_dict()
            copy = repr(state)
            assert [plain(item) for item in node] == whole[place:]
            assert repr(state) == copy, "a state is a snapshot: what the node does later does not change it"
            node.reset(state)
            assert [plain(item) for item in node] == whole[place:]
            fresh = make()
            fresh.reset(state)
            assert [plain(item) for item in fresh] == whole[place:]


def plain(item: Any) -> Any:
    """An item as values that compare with ==."""
    if isinstance(item, Tensor | np.ndarray | pa.Array):
        return item.tolist()
    fields = getattr(type(item), "__dataclass_fields__", None)
    if fields is None:
        return item
    # A ragged batch refers to its whole window, which a restored node gathers again: compare its own rows.
    if isinstance(item, Ragged):
        ids_BT, lengths_B = item.padded()
        return ids_BT.tolist(), lengths_B.tolist()
    return tuple(plain(getattr(item, name)) for name in fields)
