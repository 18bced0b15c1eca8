"""An ONNX graph, built node by node; the only file that uses the library."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from hpsearch.errors import DataError, OutputError

if TYPE_CHECKING:
    import onnx

IR_VERSION = 10
OPSETS = {
    "": 21,
    "ai.onnx.ml": 4,
}  # by domain: the oldest versions of IR version 10, which most runtimes support
ML_OPERATORS = {"LabelEncoder"}  # of the domain ai.onnx.ml
Operand = str | npt.NDArray[Any]  # the name of a node's output, or a constant
TEXT = np.dtype(object)  # dtype of string tensors


@final
class Nodes:
    """Nodes in order of computation; `nodes("Add", x, np.float32(1))` adds a node and returns the name of its output.

    Inputs must be added before the first node, so that generated names differ from the names of inputs.

    Raises:
        OutputError: the package onnx is not installed.
    """

    def __init__(self) -> None:
        self._onnx = _library()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self._outputs: list[Any] = []

    def __call__(self, kind: str, *operands: Operand, **attributes: Any) -> str:
        """Add a node with an ONNX operator and return the name of its output."""
        return self._node(self._free(f"{kind}_{len(self._nodes)}"), kind, operands, attributes)

    def input(self, name: str, dtype: npt.DTypeLike, shape: Sequence[int | str], about: str) -> str:
        """Add an input of the graph and return its name.

        Raises:
            DataError: the name is empty.
        """
        if not name:
            raise DataError("a column without a name cannot be an ONNX input; give it a name")
        self._inputs[name] = self._tensor(name, dtype, shape, about)
        return name

    def output(self, name: str, x: str, dtype: npt.DTypeLike, shape: Sequence[int | str], about: str) -> None:
        """Add an output of the graph; `_` is appended to its name while an input has the same name."""
        while name in self._inputs:
            name += "_"
        self._outputs.append(self._tensor(self._node(name, "Identity", [x], {}), dtype, shape, about))

    def constant(self, value: npt.NDArray[Any]) -> str:
        """Add a constant that several nodes use and return its name; other constants are passed as operands."""
        name = self._free(f"constant_{len(self._constants)}")
        value = np.ascontiguousarray(value).reshape(value.shape)  # ascontiguousarray makes scalars one-dimensional
        self._constants.append(self._onnx.numpy_helper.from_array(value, name))
        return name

    def cast(self, x: str, dtype: npt.DTypeLike) -> str:
        """Convert to another dtype."""
        return self("Cast", x, to=self._type(dtype))

    def unstack(self, x: str, folds: int) -> list[str]:
        """Split `(folds, …)` into `(…)` for each fold."""
        return [self("Gather", x, np.array(fold), axis=0) for fold in range(folds)]

    def stack(self, folds: Sequence[str]) -> str:
        """Join `(…)` of each fold to `(folds, …)`."""
        expanded = [self("Unsqueeze", x, np.array([0])) for x in folds]
        return self("Concat", *expanded, axis=0) if len(expanded) > 1 else expanded[0]

    def model(self, metadata: Mapping[str, str], version: str, about: str) -> "onnx.ModelProto":
        """Return the model that consists of all nodes added so far."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, "hpsearch", list(self._inputs.values()), self._outputs, self._constants, about
        )
        opsets = [helper.make_opsetid(domain, number) for domain, number in OPSETS.items()]
        settings = {"producer_name": "hpsearch", "producer_version": version, "doc_string": about}
        model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, **settings)
        helper.set_model_props(model, dict(metadata))
        return model

    def _node(self, name: str, kind: str, operands: Sequence[Operand], attributes: Mapping[str, Any]) -> str:
        names = [x if isinstance(x, str) else self.constant(x) for x in operands]
        domain = "ai.onnx.ml" if kind in ML_OPERATORS else ""
        self._nodes.append(self._onnx.helper.make_node(kind, names, [name], name, domain=domain, **attributes))
        return name

    def _free(self, name: str) -> str:
        """Return the name with one or more leading underscores, so that it differs from all inputs."""
        name = f"_{name}"
        while name in self._inputs:
            name = f"_{name}"
        return name

    def _tensor(self, name: str, dtype: npt.DTypeLike, shape: Sequence[int | str], about: str) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self._type(dtype), shape, about)

    def _type(self, dtype: npt.DTypeLike) -> int:
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _library() -> Any:
    try:
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise OutputError("writing ONNX needs the package onnx: pip install 'hpsearch[onnx]'") from None
    return onnx
