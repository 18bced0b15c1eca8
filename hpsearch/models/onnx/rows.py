"""Preprocessing and scalers as nodes, equivalent to `hpsearch.data.preprocessing` and `engine.data.scaling`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.data.scaling import MinMax, Quantile, Robust, Scaler, Standard
from engine.types import Floats, Integers, Shape
from hpsearch.data.preprocessing import DTYPE, CategoryEncoding, Preprocessing
from hpsearch.models.onnx.nodes import TEXT, Nodes

NUMERIC_INPUT = "numeric column; NaN for missing cells"
CATEGORICAL_INPUT = "categorical column; empty for missing cells"


class RawInputs(NamedTuple):
    """The inputs of the graph, which all members of a model share.

    Attributes:
        x: rows of an array; empty for tables.
        numeric, missing: numeric columns of a table and the mask of their missing cells, `(rows, numeric)`; empty
            without numeric columns.
    """

    x: str = ""
    numeric: str = ""
    missing: str = ""


def add_inputs(nodes: Nodes, preprocessing: Preprocessing, shape: Shape) -> RawInputs:
    """Add the inputs of the graph."""
    if not preprocessing.tabular:
        return RawInputs(nodes.input("x", np.float64, ("rows", *shape), "raw rows, unscaled"))
    for name in preprocessing.features:
        if name in preprocessing.categorical:
            nodes.input(name, TEXT, ("rows", 1), CATEGORICAL_INPUT)
        else:
            nodes.input(name, np.float64, ("rows", 1), NUMERIC_INPUT)
    if not preprocessing.numeric:
        return RawInputs()
    numeric = nodes("Concat", *preprocessing.numeric, axis=1)
    return RawInputs("", numeric, nodes("IsNaN", numeric))


def preprocess(nodes: Nodes, folds: Sequence[Preprocessing], shape: Shape, inputs: RawInputs) -> str:
    """Add the preprocessing of each fold; return `(folds, rows, *shape)`, float32."""
    if folds[0].tabular:
        return nodes.stack([_frame(nodes, fold, inputs.numeric, inputs.missing) for fold in folds])
    along = (shape[0], *(1,) * (len(shape) - 1))  # images are scaled by channel
    x = inputs.x
    scaled = [x if fold.input_scaler is None else scale(nodes, fold.input_scaler, x, along) for fold in folds]
    return nodes.cast(nodes.stack(scaled), DTYPE)


def scale(nodes: Nodes, scaler: Scaler, x: str, along: Shape) -> str:
    """Add `scaler.apply` in float64; `along` is the shape in which its columns broadcast over x."""
    return SCALER_CONVERTERS[type(scaler)].apply(nodes, scaler, x, along)


def unscale(nodes: Nodes, scaler: Scaler, x: str) -> str:
    """Add `scaler.invert` of `(rows, columns)` in float64."""
    return SCALER_CONVERTERS[type(scaler)].invert(nodes, scaler, x)


def _frame(nodes: Nodes, fold: Preprocessing, raw: str, missing: str) -> str:
    """Add the preprocessing of a table for one fold and return `(rows, width)`.

    Args:
        raw, missing: numeric columns and the mask of their missing cells, `(rows, numeric)`.
    """
    parts = []
    if fold.numeric and fold.fill_values is not None:
        filled = nodes("Where", missing, fold.fill_values, raw)
        scaled = (
            filled if fold.input_scaler is None else scale(nodes, fold.input_scaler, filled, fold.fill_values.shape)
        )
        parts.append(nodes.cast(scaled, DTYPE))
    if fold.missing_indicators:
        parts.append(nodes.cast(nodes("Gather", missing, np.array(fold.missing_indicators), axis=1), DTYPE))
    parts += [_one_hot(nodes, name, encoding) for name, encoding in fold.categorical.items() if encoding.width]
    return nodes("Concat", *parts, axis=1)


def _one_hot(nodes: Nodes, name: str, encoding: CategoryEncoding) -> str:
    """One-hot encode a categorical column `(rows, 1)`; return `(rows, width)`."""
    columns = {**encoding.columns, "": encoding.missing}
    values = list(columns.values())
    code = nodes("LabelEncoder", name, keys_strings=list(columns), values_int64s=values, default_int64=encoding.other)
    # Not OneHot, which divides by zero in onnxruntime 1.20 where there are no rows, and so ends the process.
    return nodes.cast(nodes("Equal", code, np.arange(encoding.width)), DTYPE)


class ScalerConverter(NamedTuple):
    """Converters of a scaler's `apply` and `invert`, with the arguments of `scale` and `unscale`."""

    apply: Callable[[Nodes, Any, str, Shape], str]
    invert: Callable[[Nodes, Any, str], str]


def _affine(center: str, spread: str) -> ScalerConverter:
    """Convert (x − center) / spread, given the names of the two arrays."""

    def apply(nodes: Nodes, scaler: Scaler, x: str, along: Shape) -> str:
        moved = nodes("Sub", x, getattr(scaler, center).reshape(along))
        return nodes("Div", moved, getattr(scaler, spread).reshape(along))

    def invert(nodes: Nodes, scaler: Scaler, x: str) -> str:
        return nodes("Add", nodes("Mul", x, getattr(scaler, spread)), getattr(scaler, center))

    return ScalerConverter(apply, invert)


def _quantile(nodes: Nodes, scaler: Quantile, x: str, along: Shape) -> str:
    """Interpolate between the last quantile ≤ x and the first one ≥ x; they are adjacent, identical, or equal to x."""
    q = scaler.quantiles
    levels, columns = q.shape
    steps = 1 << levels.bit_length()  # a power of two above the number of levels
    padded = np.full((columns, steps), np.inf)
    padded[:, :levels] = q.T
    starts = (np.arange(columns) * steps).reshape(along)
    table = nodes.constant(padded.ravel())
    lower = nodes(
        "Max", nodes("Sub", _first_not_below(nodes, table, x, starts, steps, "LessOrEqual"), np.array(1)), starts
    )
    upper = nodes("Min", _first_not_below(nodes, table, x, starts, steps, "Less"), starts + levels - 1)
    lower = nodes("Min", lower, starts + levels - 1)  # for x = ∞, which is not below the padding
    q_lower, q_upper = (nodes("Gather", table, place) for place in (lower, upper))
    low, high = (_level(nodes, nodes("Sub", place, starts), levels) for place in (lower, upper))
    gap = nodes("Sub", q_upper, q_lower)
    share = nodes("Div", nodes("Sub", x, q_lower), nodes("Where", nodes("Greater", gap, _double(0)), gap, _double(1)))
    between = nodes("Add", low, nodes("Mul", share, nodes("Sub", high, low)))
    middle = nodes("Mul", nodes("Add", low, high), _double(0.5))
    inside = nodes("Where", nodes("Equal", x, q_lower), middle, between)
    first, last = q[0].reshape(along), q[-1].reshape(along)
    top = _double(1 if levels > 1 else 0)
    result = nodes("Where", nodes("GreaterOrEqual", x, last), top, inside)
    return nodes("Where", nodes("LessOrEqual", x, first), _double(0), result)


def _first_not_below(nodes: Nodes, table: str, x: str, starts: Integers, steps: int, compare: str) -> str:
    """Return the index in `table` of the first value of a column that is not `compare` x, by binary search.

    Args:
        table: concatenated columns of `steps` ascending values each.
        starts: index of the first value of each column.
        steps: a power of two.
        compare: Less or LessOrEqual.
    """
    place: str | Integers = starts
    while steps := steps // 2:
        is_below = nodes(compare, nodes("Gather", table, nodes("Add", place, np.array(steps - 1))), x)
        place = nodes("Add", place, nodes("Where", is_below, np.array(steps), np.array(0)))
    assert isinstance(place, str)
    return place


def _level(nodes: Nodes, place: str, levels: int) -> str:
    """Return the level, 0 to 1, of the quantile at an index."""
    return nodes("Div", nodes.cast(place, np.float64), _double(max(1, levels - 1)))


def _double(value: float) -> Floats:
    return np.array(value, np.float64)


def _quantile_inverse(nodes: Nodes, scaler: Quantile, x: str) -> str:
    """Interpolate between the quantiles, whose levels are evenly spaced."""
    levels, columns = scaler.quantiles.shape
    flat, starts = scaler.quantiles.T.ravel(), np.arange(columns) * levels
    place = nodes("Mul", nodes("Clip", x, _double(0), _double(1)), _double(levels - 1))
    floor = nodes("Floor", place)
    lower = nodes.cast(floor, np.int64)
    upper = nodes("Min", nodes("Add", lower, np.array(1)), np.array(levels - 1))
    low, high = (nodes("Gather", flat, nodes("Add", p, starts)) for p in (lower, upper))
    return nodes("Add", low, nodes("Mul", nodes("Sub", place, floor), nodes("Sub", high, low)))


SCALER_CONVERTERS: dict[type[Scaler], ScalerConverter] = {
    Standard: _affine("mean", "deviation"),
    MinMax: _affine("minimum", "width"),
    Robust: _affine("median", "spread"),
    Quantile: ScalerConverter(_quantile, _quantile_inverse),
}
