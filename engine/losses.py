"""Losses: functions of the network's last outputs (logits), with their gradients and predictions.

Each loss has one output function, so that δ = A − Y holds for all three: identity and squared error, sigmoid and
logistic loss, softmax and cross-entropy. Targets are `(rows, outputs)` in the network's dtype.

Functions work along the last axis and accept any leading axes. The trainer passes arrays whose *memory* has adjacent
rows (`engine.data.rows.rows_adjacent`), for which reductions over a few outputs take a fraction of the time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Protocol, final

import numpy as np
import numpy.typing as npt

from engine.data.rows import rows_adjacent
from engine.kernels.rules import LossKind
from engine.registry import Registry
from engine.types import Booleans, DType, EngineError, Floats, Integers, Shape


class Loss(Protocol):
    """A loss with its output function and its encoding of labels as targets.

    Attributes:
        classifies: True if labels are class indices, False if they are values.
        kind: the loss of the compiled kernel.
    """

    classifies: ClassVar[bool]
    kind: ClassVar[LossKind]

    def targets(self, labels: Floats | Integers, outputs: int, dtype: DType) -> Floats:
        """Return targets `(rows, outputs)` for labels `(rows,)`, or for values `(rows,)` or `(rows, outputs)`.

        Raises:
            EngineError: labels out of range, or values that do not fit the outputs.
        """
        ...

    def values(self, logits: Floats, targets: Floats) -> Floats:
        """Return the loss of each row: `(…, rows, outputs)` → `(…, rows)`."""
        ...

    def bind(self, shape: Shape, dtype: DType) -> Callable[[Floats, Floats], Floats]:
        """Return a function (logits, targets) → dL/dlogits, where L is the mean loss over rows.

        The result of the function is its own memory, which is valid until the next call.

        Args:
            shape: `(trials, rows, outputs)` of the logits.
        """
        ...

    def predict(self, logits: Floats) -> Floats:
        """Apply the output function: logits → probabilities, or values for a regression."""
        ...

    def correct(self, logits: Floats, targets: Floats) -> Booleans | None:
        """Return which rows are classified correctly, `(…, rows)`; None for a regression."""
        ...


@final
@dataclass(frozen=True)
class SquaredError:
    """½ Σ (a − y)² per row, with an identity output; for regression."""

    classifies: ClassVar[bool] = False
    kind: ClassVar[LossKind] = LossKind.SQUARED_ERROR

    def targets(self, labels: Floats | Integers, outputs: int, dtype: DType) -> Floats:
        y = np.asarray(labels, dtype)
        y = y[:, None] if y.ndim == 1 else y
        if y.shape[1] != outputs:
            raise EngineError(f"squared_error: targets must have {outputs} columns, got {y.shape[1]}")
        return y

    def values(self, logits: Floats, targets: Floats) -> Floats:
        squares: Floats = np.square(logits - targets)
        return _over_outputs(np.add, squares) / 2

    def bind(self, shape: Shape, dtype: DType) -> Callable[[Floats, Floats], Floats]:
        share = dtype.type(1 / shape[1])
        delta = rows_adjacent(shape, dtype)

        def gradient(logits: Floats, targets: Floats) -> Floats:
            np.subtract(logits, targets, delta)
            return np.multiply(delta, share, delta)

        return gradient

    def predict(self, logits: Floats) -> Floats:
        return logits

    def correct(self, logits: Floats, targets: Floats) -> Booleans | None:
        return None


@final
@dataclass(frozen=True)
class Logistic:
    """−y ln a − (1 − y) ln(1 − a) with a = sigmoid(z), as max(z, 0) − zy + ln(1 + e^−|z|); for two classes."""

    classifies: ClassVar[bool] = True
    kind: ClassVar[LossKind] = LossKind.LOGISTIC

    def targets(self, labels: Floats | Integers, outputs: int, dtype: DType) -> Floats:
        _check_labels("logistic", labels, 2)
        if outputs != 1:
            raise EngineError(f"logistic: the network must have 1 output, got {outputs}")
        return np.asarray(labels, dtype)[:, None]

    def values(self, logits: Floats, targets: Floats) -> Floats:
        losses: Floats = np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))
        return _over_outputs(np.add, losses)

    def bind(self, shape: Shape, dtype: DType) -> Callable[[Floats, Floats], Floats]:
        share = dtype.type(1 / shape[1])
        delta = rows_adjacent(shape, dtype)

        def gradient(logits: Floats, targets: Floats) -> Floats:
            _sigmoid(logits, delta)
            np.subtract(delta, targets, delta)
            return np.multiply(delta, share, delta)

        return gradient

    def predict(self, logits: Floats) -> Floats:
        return _sigmoid(logits, np.empty_like(logits))

    def correct(self, logits: Floats, targets: Floats) -> Booleans | None:
        right: Booleans = (logits > 0) == (targets > 0.5)
        return right[..., 0]


@final
@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """ln Σ e^z − z_y: cross-entropy over a softmax of the logits z; for two or more classes."""

    classifies: ClassVar[bool] = True
    kind: ClassVar[LossKind] = LossKind.SOFTMAX_CROSS_ENTROPY

    def targets(self, labels: Floats | Integers, outputs: int, dtype: DType) -> Floats:
        _check_labels("softmax_cross_entropy", labels, outputs)
        return np.eye(outputs, dtype=dtype)[np.asarray(labels, dtype=np.intp)]

    def values(self, logits: Floats, targets: Floats) -> Floats:
        z = logits - _over_outputs(np.maximum, logits)[..., None]
        picked = _over_outputs(np.add, z * targets)
        np.exp(z, z)
        return np.log(_over_outputs(np.add, z)) - picked

    def bind(self, shape: Shape, dtype: DType) -> Callable[[Floats, Floats], Floats]:
        share = dtype.type(1 / shape[1])
        delta, sums, inverse = (rows_adjacent(shape, dtype) for _ in range(3))
        # All arrays have one shape: broadcasting takes two to three times as long for so few numbers.
        ones = np.ones((1, shape[2], shape[2]), dtype)
        sums_t, delta_t, sums_flat, inverse_flat = sums.mT, delta.mT, sums.mT.reshape(-1), inverse.mT.reshape(-1)

        def gradient(logits: Floats, targets: Floats) -> Floats:
            np.exp(logits, delta)
            np.matmul(ones, delta_t, sums_t)  # Σ e^z by BLAS, once for each output
            np.reciprocal(sums, inverse)
            if not isfinite(np.dot(sums_flat, inverse_flat)):  # some Σ is too large or too small for its inverse
                _shift(logits, delta, sums, inverse)
            np.multiply(delta, inverse, delta)
            np.subtract(delta, targets, delta)
            return np.multiply(delta, share, delta)

        return gradient

    def predict(self, logits: Floats) -> Floats:
        z: Floats = np.exp(logits - _over_outputs(np.maximum, logits)[..., None])
        z /= _over_outputs(np.add, z)[..., None]
        return z

    def correct(self, logits: Floats, targets: Floats) -> Booleans | None:
        largest = logits == _over_outputs(np.maximum, logits)[..., None]
        right: Booleans
        if np.count_nonzero(largest) == largest.size // largest.shape[-1]:  # no ties
            right = np.logical_or.reduce(largest & (targets > 0), axis=-1)
        else:  # the first of equal maxima counts; argmax is three times slower
            right = logits.argmax(axis=-1) == targets.argmax(axis=-1)
        return right


def _shift(logits: Floats, exps: Floats, sums: Floats, inverse: Floats) -> None:
    """Recompute e^z as e^(z − max z) only for the trials in which Σ e^z or its inverse is not finite."""
    for z, e, s, i in zip(logits, exps, sums, inverse, strict=True):
        if not (np.isfinite(s).all() and np.isfinite(i).all()):
            np.exp(z - z.max(axis=1, keepdims=True), e)
            s[...] = e.sum(axis=1, keepdims=True)
            np.reciprocal(s, i)


def _over_outputs(ufunc: np.ufunc, values: Floats) -> Floats:
    """Reduce the outputs: `(…, rows, outputs)` → `(…, rows)`."""
    reduced: Floats = ufunc.reduce(values, axis=-1)
    return reduced


def _sigmoid(z: Floats, out: Floats) -> Floats:
    """Compute 1 / (1 + e^−z)."""
    np.negative(z, out)
    np.exp(out, out)
    np.add(out, 1, out)
    return np.reciprocal(out, out)


def _check_labels(loss: str, labels: Floats | Integers, classes: int) -> None:
    array: npt.NDArray[np.number] = np.asarray(labels)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise EngineError(f"{loss}: labels must be whole numbers, one per row, got {array.dtype} {array.shape}")
    if len(array) and not (array.min() >= 0 and array.max() < classes):
        raise EngineError(f"{loss}: labels must lie in 0…{classes - 1}, got {array.min()}…{array.max()}")


LOSSES: Registry[Loss] = Registry(
    "loss",
    {
        "squared_error": SquaredError,
        "logistic": Logistic,
        "softmax_cross_entropy": SoftmaxCrossEntropy,
    },
)
