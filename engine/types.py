"""Types and the shape rule: every array has a leading axis of trials, `(trials, rows, columns)`.

A single trial has `trials == 1`; no other code exists for it. Trials of equal shape are stacked on this axis, and NumPy
makes the same BLAS call for each slice, so a trial's numbers do not depend on the other trials.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]
Booleans = npt.NDArray[np.bool_]
DType = np.dtype[np.floating]
Shape = tuple[int, ...]  # of one row: (features,) or (channels, height, width)
Column = np.floating | Floats  # one value per trial: a scalar, or (trials, 1)


def allocate(trials: int, rows: int, shape: Shape, dtype: DType, *, zero: bool = False) -> Floats:
    """Allocate an array for rows of a shape, `(trials, rows, *shape)`.

    The memory of images has rows innermost, `(trials, channels, height, width, rows)`: copies of windows, sums and
    maxima then run over many adjacent numbers, several times faster than over the few pixels of a line.
    """
    make = np.zeros if zero else np.empty
    if len(shape) != 3:
        return make((trials, rows, *shape), dtype)
    return np.moveaxis(make((trials, *shape, rows), dtype), -1, 1)


class EngineError(ValueError):
    """An invalid argument or setting; the message has the requirement and the value."""


def column(values: Sequence[float], dtype: DType) -> Column:
    """Return one hyperparameter of all trials, cast to the network's dtype so that float32 stays float32.

    Args:
        values: one number per trial, in float64; all arithmetic on hyperparameters is done before the cast.
        dtype: dtype of the parameters.

    Returns:
        `(trials, 1)`; or, if all values are equal, a scalar, which has less overhead and the same bits in products.
    """
    cast = np.asarray(values, dtype=np.float64).astype(dtype)
    return cast[0] if (cast == cast[0]).all() else cast[:, None]
