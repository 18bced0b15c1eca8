"""The one shape rule: every array has a leading axis of trials, `(trials, rows, columns)`.

One trial is `trials == 1`. There is no other code for trials that train together: equal shapes are stacked on that
axis, and NumPy makes the same BLAS call for each slice, so a trial's numbers do not depend on the other trials.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]
Booleans = npt.NDArray[np.bool_]
DType = np.dtype[np.floating]
Shape = tuple[int, ...]  # of one row: (features,) or (channels, height, width)
Column = np.floating | Floats  # one value a trial: a scalar, or (trials, 1)


def allocate(trials: int, rows: int, shape: Shape, dtype: DType, *, zero: bool = False) -> Floats:
    """Memory for rows of a shape, `(trials, rows, *shape)`.

    Rows that are images lie side by side in memory, `(trials, channels, height, width, rows)`: copies of windows, sums
    and maxima then run over many neighbors, several times faster than over the few pixels of a line.
    """
    make = np.zeros if zero else np.empty
    if len(shape) != 3:
        return make((trials, rows, *shape), dtype)
    return np.moveaxis(make((trials, *shape, rows), dtype), -1, 1)


class EngineError(ValueError):
    """An impossible request; the message says what must hold and what was given."""


def column(values: Sequence[float], dtype: DType) -> Column:
    """One hyperparameter of all trials, cast to the network's dtype so that float32 stays float32.

    Args:
        values: one number a trial, in float64; all arithmetic on hyperparameters is done before the cast.
        dtype: that of the parameters.

    Returns:
        `(trials, 1)`, or a scalar where all are equal, which NumPy multiplies with less overhead and to the same bits.
    """
    cast = np.asarray(values, dtype=np.float64).astype(dtype)
    return cast[0] if (cast == cast[0]).all() else cast[:, None]
