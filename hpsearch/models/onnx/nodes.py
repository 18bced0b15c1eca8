"""An ONNX graph as it is written, node by node: the only file that knows the library."""

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
}  # by domain: the earliest that IR version 10 came with, so that many runtimes read it
OF_ML = {"LabelEncoder"}  # what comes from the domain ai.onnx.ml
Operand = str | npt.NDArray[Any]  # what another node puts out, by its name; or a constant
TEXT = np.dtype(object)  # of tensors of strings


@final
class Nodes:
    """Nodes in the order in which they are computed; `nodes("Add", x, np.float32(1))` is the name of x + 1.

    Names that are made up here are never those of inputs, which must all be there before the first node.

    Raises:
        OutputError: the library is not installed.
    """

    def __init__(self) -> None:
        self._onnx = _library()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self._outputs: list[Any] = []

    def __call__(self, kind: str, *operands: Operand, **attributes: Any) -> str:
        """One more node, by its operator in ONNX's list."""
        return self._node(self._free(f"{kind}_{len(self._nodes)}"), kind, operands, attributes)

    def input(self, name: str, dtype: npt.DTypeLike, shape: Sequence[int | str], about: str) -> str:
        """What the caller gives.

        Raises:
            DataError: ONNX cannot have an input of that name.
        """
        if not name:
            raise DataError("a column without a name cannot be an input of ONNX: give it one")
        self._inputs[name] = self._tensor(name, dtype, shape, about)
        return name

    def output(self, name: str, x: str, dtype: npt.DTypeLike, shape: Sequence[int | str], about: str) -> None:
        """What the caller gets, under that name, or the same with `_` behind it where an input is called so."""
        while name in self._inputs:
            name += "_"
        self._outputs.append(self._tensor(self._node(name, "Identity", [x], {}), dtype, shape, about))

    def constant(self, value: npt.NDArray[Any]) -> str:
        """For several nodes; one that a single node takes can be given to it as it is."""
        name = self._free(f"constant_{len(self._constants)}")
        value = np.ascontiguousarray(value).reshape(value.shape)  # which would make a row of a scalar
        self._constants.append(self._onnx.numpy_helper.from_array(value, name))
        return name

    def cast(self, x: str, dtype: npt.DTypeLike) -> str:
        """The same numbers in another type."""
        return self("Cast", x, to=self._type(dtype))

    def apart(self, x: str, folds: int) -> list[str]:
        """`(folds, …)` → of each fold `(…)`."""
        return [self("Gather", x, np.array(fold), axis=0) for fold in range(folds)]

    def together(self, each: Sequence[str]) -> str:
        """The way back."""
        stacked = [self("Unsqueeze", x, np.array([0])) for x in each]
        return self("Concat", *stacked, axis=0) if len(stacked) > 1 else stacked[0]

    def model(self, metadata: Mapping[str, str], version: str, about: str) -> "onnx.ModelProto":
        """All of it."""
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
        domain = "ai.onnx.ml" if kind in OF_ML else ""
        self._nodes.append(self._onnx.helper.make_node(kind, names, [name], name, domain=domain, **attributes))
        return name

    def _free(self, name: str) -> str:
        """A name that no input has; the underscore in front is doubled until it is none."""
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
        raise OutputError("a model as ONNX needs the package onnx: pip install 'hpsearch[onnx]'") from None
    return onnx
