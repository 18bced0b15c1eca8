"""A model as one ONNX file, from raw rows to class names or values, for any ONNX runtime.

Inputs, for any number of rows. Tables have one input per column, with the name of the column: numeric columns are
doubles `[rows, 1]`, NaN for missing cells; categorical columns are strings `[rows, 1]`, empty for missing cells, and
spelled as in the training table: 02139 is not 2139. There are no surrounding spaces, numbers that were read as such are
spelled as by `hpsearch.data.frame.category_name`, integers without a decimal point, Booleans as `True` and `False`, and
the missing markers of the study file are empty. Arrays have one input `x`, doubles in the input
shape of the network: `[rows, features]`, or `[rows, channels, height, width]` for images. Inputs are not checked:
infinite numbers, for which `Model.scores` raises an error, give undefined outputs.

Outputs. Classifiers have `prediction`, strings `[rows]`, and `probabilities`, floats `[rows, classes]`, in the order of
the JSON list `classes` in the metadata; regressions have `prediction`, doubles `[rows]` in the units of the target. If
a column has the name of an output, `_` is appended to the name of the output.

nodes.py     the graph, the only file that uses the library
rows.py      preprocessing and scalers
layers.py    layers, activations and output functions
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.layers import Chain
from engine.types import Floats
from hpsearch.core.atomic import atomic_file
from hpsearch.errors import OutputError
from hpsearch.models.members import Member
from hpsearch.models.model import Model
from hpsearch.models.onnx.layers import OUTPUT_FUNCTIONS, convert_chain
from hpsearch.models.onnx.nodes import TEXT, Nodes
from hpsearch.models.onnx.rows import RawInputs, add_inputs, preprocess, unscale

if TYPE_CHECKING:
    import onnx


def save(model: Model, file: Path) -> None:
    """Write the model to an ONNX file.

    Raises:
        DataError: a column of the model has no name.
        OutputError: the file cannot be written, or the package onnx is not installed.
    """
    content = graph(model).SerializeToString()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as draft:
            draft.write(content)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from None


def graph(model: Model) -> "onnx.ModelProto":
    """Return the graph of `Model.scores` and `Model.predict`, with the networks of all members and folds.

    Raises:
        DataError: a column of the model has no name.
        OutputError: the package onnx is not installed.
    """
    nodes = Nodes()
    inputs = add_inputs(nodes, model.preprocessing[0], model.network.inputs)
    each = [_member(nodes, member, inputs) for member in model.members]
    scores = each[0]
    if len(each) > 1:
        total = sum(member.count for member in model.members)
        shares = (np.array(member.count / total) for member in model.members)
        scores = nodes("Sum", *(nodes("Mul", share, outputs) for share, outputs in zip(shares, each, strict=True)))
    if model.classes:
        _add_class_outputs(nodes, model.classes, scores)
    else:
        value = nodes("Gather", scores, np.array(0), axis=1)
        nodes.output("prediction", value, np.float64, ["rows"], "in the units of the target")
    metadata: dict[str, str] = {name: str(model.about[name]) for name in ("study", "trial") if name in model.about}
    metadata["classes"] = json.dumps(model.classes, ensure_ascii=False)
    return nodes.model(metadata, str(model.about.get("version", "")), __doc__)


def _member(nodes: Nodes, member: Member, inputs: RawInputs) -> str:
    """Add a member's networks and the mean over its folds; return `(rows, outputs)`, float64."""
    network, folds = member.network, member.preprocessing
    x = preprocess(nodes, folds, network.inputs, inputs)
    logits = convert_chain(nodes, Chain(network.inputs, network.layers), member.theta, x)
    outputs = nodes.cast(OUTPUT_FUNCTIONS[type(network.loss)](nodes, logits), np.float64)
    if any(fold.target_scaler is not None for fold in folds):
        scalers = zip((fold.target_scaler for fold in folds), nodes.unstack(outputs, len(folds)), strict=True)
        outputs = nodes.stack([rows if y is None else unscale(nodes, y, rows) for y, rows in scalers])
    return nodes("ReduceMean", outputs, np.array([0]), keepdims=0)


def _add_class_outputs(nodes: Nodes, classes: tuple[str, ...], scores: str) -> None:
    """Add the outputs of a classifier, from `(rows, outputs)`, float64."""
    if len(classes) == 2:
        one: Floats = np.array(1, np.float64)
        scores = nodes("Concat", nodes("Sub", one, scores), scores, axis=1)
    names = nodes("Gather", np.array(classes, TEXT), nodes("ArgMax", scores, axis=1, keepdims=0))
    nodes.output("prediction", names, TEXT, ["rows"], "the most probable class")
    probabilities = nodes.cast(scores, np.float32)
    shape = ("rows", len(classes))
    nodes.output("probabilities", probabilities, np.float32, shape, "in the order of the metadata's classes")
