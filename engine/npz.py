"""Files of arrays without pickle."""

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt


def write_npz(file: BinaryIO, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write an `.npz` file. `np.savez` can refuse objects since NumPy 2.1 only; before, it would pickle them.

    Raises:
        ValueError: an array holds Python objects.
    """
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
        raise ValueError(f"arrays of Python objects cannot be written: {', '.join(objects)}")
    np.savez(file, **dict[str, Any](arrays))
