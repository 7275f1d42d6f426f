"""Builds an ONNX graph: names are made, constants become initializers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 9
"""Runtimes of 2023 and later read them."""


INT64, UINT64 = TensorProto.INT64, TensorProto.UINT64


class Graph:
    """Nodes in the order in which they are added. A value is the name of a tensor."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []

    def constant(self, values: npt.ArrayLike, kind: npt.DTypeLike = np.float32) -> str:
        """A tensor that does not depend on the inputs."""
        name = f"c{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(values, kind)), name))
        return name

    def ints(self, *values: int) -> str:
        """A constant vector of int64, as shapes and axes are given."""
        return self.constant(values, np.int64)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The first output of a new node; an input that is not given is ''."""
        return self.add_many(kind, inputs, 1, **attributes)[0]

    def add_many(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """The outputs of a new node."""
        names = [f"v{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def slice(self, values: str, begin: int, end: int) -> str:
        """Columns `begin` to `end` (excluded; from the end where it is below 0) of (N, T, …)."""
        return self.add("Slice", values, self.ints(begin), self.ints(end), self.ints(1))

    def model(self, output: str, name: str, columns: int, description: str, metadata: dict[str, str]) -> Any:
        """The whole, checked: `ids` (N, T) and `lengths` (N,) to an output of that name (N, columns)."""
        self._nodes.append(helper.make_node("Identity", [output], [name]))
        graph = helper.make_graph(
            self._nodes,
            "review-pipeline",
            [
                helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "T"]),
                helper.make_tensor_value_info("lengths", TensorProto.INT64, ["N"]),
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", columns])],
            self._initializers,
        )
        made = helper.make_model(
            graph,
            producer_name="review-pipeline",
            doc_string=description,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(made, metadata)
        onnx.checker.check_model(made, full_check=True)
        return made
