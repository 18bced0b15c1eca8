"""The stored content of a model, validated: a folder or a database of unknown origin may hold anything.

Types and bounds are checked first, then that networks, preprocessing and classes fit each other, so that a model that
was loaded can predict.
"""

import math
from collections.abc import Sequence
from math import prod
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, JsonValue

from engine.layers import Chain, Residual
from engine.losses import Logistic, SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from engine.registry import restore
from engine.types import Floats, Shape
from hpsearch.config.messages import Errors, validate_part
from hpsearch.core.schema import Listed, StrictModel
from hpsearch.data.preprocessing import CategoryEncoding, Preprocessing
from hpsearch.data.sources.base import Part

MAX_FOLDS = 1000
MAX_MEMBERS = 1000  # of an ensemble
MAX_ROW = 1 << 27  # numbers of one row in a layer
MAX_SIZE = 1 << 31
MAX_WIDTH = 1 << 22  # columns of a table

_Count = Annotated[int, Field(ge=0, lt=MAX_SIZE)]
_Positive = Annotated[int, Field(ge=1, lt=MAX_SIZE)]
_Place = Annotated[int, Field(ge=-1, lt=MAX_WIDTH)]  # index of a column; −1 for none


class _EncodingContent(StrictModel):
    columns: dict[str, Annotated[int, Field(ge=0, lt=MAX_WIDTH)]]
    other: _Place
    missing: _Place
    width: Annotated[int, Field(ge=0, lt=MAX_WIDTH)]
    has_missing_column: bool = False


class _ScaleContent(StrictModel):
    x: str | None
    y: str | None


class _FoldContent(StrictModel):
    scale: _ScaleContent
    numeric: list[str]
    missing_indicators: list[_Count]
    categorical: dict[str, _EncodingContent]


_Character = Annotated[str, Field(min_length=1, max_length=1)]


class _InputFormat(StrictModel):
    model_config = ConfigDict(extra="allow")  # settings of single sources

    missing: list[str] | None = None
    missing_of: dict[str, list[str]] | None = None
    columns: list[str] | None = None
    target: str | None = None
    header: bool | None = None
    separator: Annotated[str, Field(pattern=r"^(?s:.|whitespace)$")] | None = None
    decimal: _Character | None = None
    thousands: _Character | None = None
    strip: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=100)] | None = None
    encoding: str | None = None
    skip_lines: Annotated[int, Field(ge=0, lt=MAX_SIZE)] | None = None
    skip_footer: Annotated[int, Field(ge=0, le=1000)] = 0
    example: list[list[float | str | None]] | None = None


class _PreprocessingContent(StrictModel):
    model_config = ConfigDict(extra="ignore")

    features: list[str]
    input_format: _InputFormat
    preprocessing: Annotated[list[_FoldContent], Field(min_length=1, max_length=MAX_FOLDS)]


class _About(StrictModel):
    model_config = ConfigDict(extra="allow")

    study: str | None = None
    trial: str | None = None
    version: str | None = None
    metrics: dict[str, float] | None = None


class _MemberContent(StrictModel):
    network: dict[str, JsonValue]
    preprocessing: Annotated[list[_FoldContent], Field(min_length=1, max_length=MAX_FOLDS)]
    count: _Positive


class _EstimatorContent(StrictModel):
    name: Annotated[str, Field(max_length=1000)]
    inputs: Annotated[list[Annotated[int, Field(ge=1, lt=MAX_SIZE)]], Field(min_length=1, max_length=3)]


class _ModelContent(_PreprocessingContent):
    network: dict[str, JsonValue] | None = None
    estimator: _EstimatorContent | None = None
    count: _Positive
    others: Annotated[list[_MemberContent], Field(max_length=MAX_MEMBERS)]
    classes: list[str]
    about: _About


class _DatasetContent(StrictModel):
    inputs: Annotated[list[Annotated[int, Field(ge=1, lt=MAX_SIZE)]], Field(min_length=1, max_length=3)]
    outputs: Annotated[int, Field(ge=1, lt=MAX_WIDTH)]
    classes: list[str]
    fingerprint: str
    rarer: Annotated[int, Field(ge=0, le=1)]
    rows: Annotated[list[Annotated[tuple[Part, _Count], Listed]], Field(max_length=4)]
    units: Annotated[list[Annotated[tuple[float, float], Listed]], Field(max_length=MAX_FOLDS)]


class _PreparedContent(_PreprocessingContent):
    dataset: _DatasetContent


def checked_model(content: Any) -> dict[str, Any]:
    """Return the content of `model.json` after its types are checked.

    Raises:
        ValueError: a key is missing, or a value has another type or is out of bounds.
    """
    return _checked(content, _ModelContent)


def checked_prepared(content: Any) -> dict[str, Any]:
    """Return the content of stored `PreparedData` after its types are checked; raises like `checked_model`."""
    return _checked(content, _PreparedContent)


def _checked(content: Any, kind: Any) -> dict[str, Any]:
    errors: Errors = []
    if validate_part((), content, kind, errors) is None or not isinstance(content, dict):
        path, message = errors[0]
        raise ValueError(": ".join(filter(None, (".".join(map(str, path)), message))))
    return content


def restored_network(description: Any, theta: Floats | None, folds: int, classes: Sequence[str]) -> Network:
    """Return a network that fits its weights and its classes.

    Args:
        theta: `(folds, parameters)`.

    Raises:
        ValueError: the description is that of another object, or the network fits neither the weights nor the classes.
    """
    network = restore(description)
    if not isinstance(network, Network):
        raise ValueError("network: must describe a network")
    if _largest(Chain(network.inputs, network.layers)) > MAX_ROW:
        raise ValueError(f"network: a row must have at most {MAX_ROW:,} numbers in each layer")
    if theta is None or theta.shape != (folds, network.size):
        got = "missing" if theta is None else theta.shape
        raise ValueError(f"its weights are {got}, its network has {network.size} parameters")
    _check_numbers("theta", theta)
    outputs = {2: (Logistic, 1), 0: (SquaredError, 1)}.get(len(classes), (SoftmaxCrossEntropy, len(classes)))
    if (type(network.loss), network.outputs) != outputs:
        raise ValueError(f"network: must have {outputs[1]} outputs and {outputs[0].__name__} for its classes")
    return network


def _largest(chain: Chain) -> int:
    """Return the maximum of the numbers that a row has in a layer, including the padding of convolutions."""
    most = max(map(prod, chain.shapes))
    for layer, shape in zip(chain.layers, chain.shapes, strict=False):
        if isinstance(layer, Residual):
            most = max(most, *(_largest(Chain(shape, part)) for part in (layer.layers, layer.shortcut)))
        elif len(shape) == 3 and (padding := getattr(layer, "padding", 0)):
            most = max(most, shape[0] * (shape[1] + 2 * padding) * (shape[2] + 2 * padding))
    return most


def check_preprocessing(folds: Sequence[Preprocessing], inputs: Shape) -> None:
    """Check that the preprocessing of each fold fits the network's input and the arrays of its scalers.

    Raises:
        ValueError: it does not.
    """
    first = folds[0]
    for number, fold in enumerate(folds):
        columns = len(fold.numeric) if fold.tabular else inputs[0] if len(inputs) > 1 else prod(inputs)
        for name, scaler, count in (("x", fold.input_scaler, columns), ("y", fold.target_scaler, 1)):
            for part, array in vars(scaler).items() if scaler is not None else ():
                _check_array(f"{number}_{name}_{part}", array, count)
        if fold.fill_values is not None:
            _check_array(f"{number}_fill_values", fold.fill_values, len(fold.numeric))
            if fold.fill_values.ndim != 1:
                raise ValueError(f"array '{number}_fill_values' must have one dimension")
        named = [*fold.numeric, *fold.categorical]
        if len(set(named)) < len(named) or not set(named) <= set(fold.features) or fold.tabular != first.tabular:
            raise ValueError(f"preprocessing.{number}: its columns must be different features")
        if any(place >= len(fold.numeric) for place in fold.missing_indicators):
            raise ValueError(f"preprocessing.{number}: missing_indicators must be numeric columns")
        for name, encoding in fold.categorical.items():
            _check_encoding(name, encoding)
        width = fold.width if fold.tabular else len(fold.features) or prod(inputs)
        if width != prod(inputs) or (fold.tabular and len(inputs) != 1):
            raise ValueError(f"preprocessing.{number}: gives {width} columns, the network has inputs of {inputs}")


def _check_array(name: str, array: Floats, columns: int) -> None:
    if array.ndim not in (1, 2) or array.shape[-1] != columns or not array.size >= columns:
        raise ValueError(f"array '{name}' must have {columns} columns, got the shape {array.shape}")
    _check_numbers(name, array)
    if name.endswith(("deviation", "width", "spread")) and not (array > 0).all():
        raise ValueError(f"array '{name}' must be positive")


def _check_numbers(name: str, array: Floats) -> None:
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(f"array '{name}' must be float32 or float64, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"array '{name}' must hold finite numbers")


def _check_encoding(name: str, encoding: CategoryEncoding) -> None:
    places = [*encoding.columns.values(), encoding.other, encoding.missing]
    if max(places) >= encoding.width:
        raise ValueError(f"column '{name}': its categories must have columns below {encoding.width}")


def check_units(units: Sequence[tuple[float, float]], folds: int) -> None:
    """Check the offset and scale of the target of each fold.

    Raises:
        ValueError: they are not finite, or not one for each fold.
    """
    if len(units) != folds or not all(math.isfinite(value) for unit in units for value in unit):
        raise ValueError("units must have a finite offset and scale for each fold")
