"""The champion as one ONNX file: from rows as they come to names of classes or values, for whatever runs ONNX.

Inputs, of any number of rows: of a table one for each column, called like it; numbers are doubles `[rows, 1]` where NaN
is a missing cell, names are strings `[rows, 1]` where the empty one is a missing cell. Names are given as
`hpsearch.data.frame.category_name` writes them: without spaces around them, whole numbers without a point, truth values
as `True` and `False`; and what the study file calls missing is given as missing. Of an array one, `x`, double, in the
network's own shape: `[rows, features]`, or `[rows, channels, height, width]` of images. Nothing is refused: infinite
numbers, which `Model.scores` refuses, give whatever comes out.

Outputs: of classes `prediction`, a string `[rows]`, and `probabilities`, float `[rows, classes]` in the order of the
JSON list that the metadata call `classes`; of a regression `prediction`, double `[rows]` in the target's own units.
Where a column has one of these names, the output has `_` behind it.

nodes.py     the library, in one place
rows.py      preprocessing and scalers
layers.py    layers, activations and output functions
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.layers import Chain
from engine.types import Floats
from hpsearch.errors import OutputError
from hpsearch.models.model import Model
from hpsearch.models.onnx.layers import OUTPUTS, chain
from hpsearch.models.onnx.nodes import TEXT, Nodes
from hpsearch.models.onnx.rows import prepared, unscale

if TYPE_CHECKING:
    import onnx


def save(model: Model, file: Path) -> None:
    """Writes `graph(model)`.

    Raises:
        DataError: a column of the model has no name.
        OutputError: the file cannot be written, or the package onnx is not installed.
    """
    content = graph(model).SerializeToString()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror}") from None


def graph(model: Model) -> "onnx.ModelProto":
    """All that `Model.scores` and `Model.predict` do, with all folds.

    Raises:
        DataError: a column of the model has no name.
        OutputError: the package onnx is not installed.
    """
    nodes, net = Nodes(), model.network
    x = prepared(nodes, model.preprocessing, net.inputs)
    logits = chain(nodes, Chain(net.inputs, net.layers), model.theta, x)
    outputs = nodes.cast(OUTPUTS[type(net.loss)](nodes, logits), np.float64)
    if any(fold.target_scaler is not None for fold in model.preprocessing):
        each = zip(model.preprocessing, nodes.apart(outputs, len(model.theta)), strict=True)
        outputs = nodes.together(
            [rows if fold.target_scaler is None else unscale(nodes, fold.target_scaler, rows) for fold, rows in each]
        )
    scores = nodes("ReduceMean", outputs, np.array([0]), keepdims=0)
    if model.classes:
        _classes(nodes, model.classes, scores)
    else:
        value = nodes("Gather", scores, np.array(0), axis=1)
        nodes.output("prediction", value, np.float64, ["rows"], "in the target's own units")
    metadata: dict[str, str] = {name: str(model.about[name]) for name in ("study", "trial") if name in model.about}
    metadata["classes"] = json.dumps(model.classes, ensure_ascii=False)
    return nodes.model(metadata, str(model.about.get("version", "")), __doc__)


def _classes(nodes: Nodes, classes: tuple[str, ...], scores: str) -> None:
    """Outputs of a classifier, from `(rows, outputs)`, float64."""
    if len(classes) == 2:
        one: Floats = np.array(1, np.float64)
        scores = nodes("Concat", nodes("Sub", one, scores), scores, axis=1)
    names = nodes("Gather", np.array(classes, TEXT), nodes("ArgMax", scores, axis=1, keepdims=0))
    nodes.output("prediction", names, TEXT, ["rows"], "the most probable class")
    probabilities = nodes.cast(scores, np.float32)
    shape = ("rows", len(classes))
    nodes.output("probabilities", probabilities, np.float32, shape, "in the order of the metadata's classes")
