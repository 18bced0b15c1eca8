"""Scaling of columns, fitted only to training rows; computed in float64 for any dtype of the rows.

All scalers map a constant column to zeros.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self, final

import numpy as np

from engine.registry import Registry
from engine.types import Floats

BLOCK = 1 << 22  # numbers held in float64 at a time, 32 MB
QUANTILES = 1000  # maximum number of quantiles per column


class Scaler(Protocol):
    """A fitted scaler of columns: a frozen dataclass of arrays whose last axis is the features."""

    @classmethod
    def fit(cls, x: Floats) -> Self:
        """Fit on training rows `(rows, features)`, finite and at least one."""
        ...

    def apply(self, x: Floats) -> Floats:
        """Scale `(rows, features)`; return the same shape in float64."""
        ...

    def invert(self, x: Floats) -> Floats:
        """Return the input of `apply`."""
        ...


@final
@dataclass(frozen=True, eq=False)
class Standard:
    """(x − mean) / standard deviation, by column.

    Attributes:
        mean, deviation: `(features,)`, float64.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def fit(cls, x: Floats) -> Self:
        """Fit on training rows `(rows, features)`."""
        mean = x.mean(axis=0, dtype=np.float64)
        squares = sum(np.square(block - mean).sum(axis=0) for block in _blocks(x))
        return cls(mean, _or_one(np.sqrt(squares / len(x)), mean))

    def apply(self, x: Floats) -> Floats:
        """Scale `(rows, features)`, in float64."""
        return np.asarray((x - self.mean) / self.deviation)

    def invert(self, x: Floats) -> Floats:
        """Return the input of `apply`."""
        return np.asarray(x * self.deviation + self.mean)


@final
@dataclass(frozen=True, eq=False)
class MinMax:
    """(x − min) / (max − min), by column: training rows are in [0, 1], other rows may be outside.

    Attributes:
        minimum, width: `(features,)`, float64.
    """

    minimum: Floats
    width: Floats

    @classmethod
    def fit(cls, x: Floats) -> Self:
        """Fit on training rows `(rows, features)`."""
        minimum, maximum = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
        return cls(minimum, _or_one(maximum - minimum, minimum))

    def apply(self, x: Floats) -> Floats:
        """Scale `(rows, features)`, in float64."""
        return np.asarray((x - self.minimum) / self.width)

    def invert(self, x: Floats) -> Floats:
        """Return the input of `apply`."""
        return np.asarray(x * self.width + self.minimum)


@final
@dataclass(frozen=True, eq=False)
class Robust:
    """(x − median) / (third quartile − first quartile), by column; robust to outliers.

    A column with equal quartiles is only shifted by its median.

    Attributes:
        median, spread: `(features,)`, float64.
    """

    median: Floats
    spread: Floats

    @classmethod
    def fit(cls, x: Floats) -> Self:
        """Fit on training rows `(rows, features)`."""
        first, median, third = _quantiles(x, np.array([0.25, 0.5, 0.75]))
        return cls(median, _or_one(third - first, median))

    def apply(self, x: Floats) -> Floats:
        """Scale `(rows, features)`, in float64."""
        return np.asarray((x - self.median) / self.spread)

    def invert(self, x: Floats) -> Floats:
        """Return the input of `apply`."""
        return np.asarray(x * self.spread + self.median)


@final
@dataclass(frozen=True, eq=False)
class Quantile:
    """The fraction of training rows below x, by column: uniform on [0, 1], also for rows outside the training range.

    Values between quantiles are interpolated. A value that many rows share maps to the middle of its fractions, as in
    scikit-learn's QuantileTransformer; the minimum and the maximum map to 0 and 1.

    Attributes:
        quantiles: `(levels, features)`, float64, at evenly spaced levels from the minimum to the maximum.
    """

    quantiles: Floats

    @classmethod
    def fit(cls, x: Floats) -> Self:
        """Fit on training rows `(rows, features)`: as many levels as rows, at most `QUANTILES`."""
        return cls(_quantiles(x, np.linspace(0, 1, min(QUANTILES, len(x)))))

    def apply(self, x: Floats) -> Floats:
        """Scale `(rows, features)`, in float64."""
        levels = np.linspace(0, 1, len(self.quantiles))
        result = np.empty(x.shape)
        for column, scaled, q in zip(x.T, result.T, self.quantiles.T, strict=True):
            from_below = np.interp(column, q, levels)  # the greatest level among equal quantiles
            from_above = -np.interp(-column, -q[::-1], -levels[::-1])  # the least level among equal quantiles
            scaled[...] = (from_below + from_above) / 2
            scaled[column == q[-1]] = 1
            scaled[column == q[0]] = 0
        return result

    def invert(self, x: Floats) -> Floats:
        """Return the input of `apply`, for values within the range of the training rows."""
        levels = np.linspace(0, 1, len(self.quantiles))
        return np.stack([np.interp(c, levels, q) for c, q in zip(x.T, self.quantiles.T, strict=True)], axis=1)


def _blocks(x: Floats) -> Iterator[Floats]:
    rows = max(1, BLOCK // max(1, x.shape[1]))
    return (x[start : start + rows] for start in range(0, len(x), rows))


def _or_one(spread: Floats, center: Floats) -> Floats:
    """Return the spread, or 1 where it is only rounding error, as in constant columns."""
    return np.where(spread > 1e-12 * np.maximum(1, np.abs(center)), spread, 1.0)


def _quantiles(x: Floats, levels: Floats) -> Floats:
    """Return the quantiles of `(rows, features)` at levels as `(levels, features)`, float64, linearly interpolated.

    The quantiles of a column never decrease.
    """
    position = np.round(levels * (len(x) - 1), 9)  # without rounding error, the levels of rows are integers
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, len(x) - 1)
    result = np.empty((len(levels), x.shape[1]))
    for column, quantiles in zip(x.T, result.T, strict=True):
        ordered = np.sort(column)
        low = ordered[below].astype(np.float64)
        quantiles[...] = np.maximum.accumulate(low + (ordered[above] - low) * (position - below))
    return result


SCALERS: Registry[Scaler] = Registry(
    "scaler",
    {
        "standard": Standard,
        "minmax": MinMax,
        "robust": Robust,
        "quantile": Quantile,
    },
)
