"""Files of arrays."""

import io

import numpy as np
import pytest

from engine.npz import write_npz


def test_arrays_are_read_back() -> None:
    file = io.BytesIO()
    write_npz(file, {"a": np.arange(3), "text": np.array("ä")})
    with np.load(io.BytesIO(file.getvalue()), allow_pickle=False) as arrays:
        assert set(arrays) == {"a", "text"} and arrays["a"].tolist() == [0, 1, 2] and str(arrays["text"]) == "ä"


def test_objects_are_refused() -> None:
    """With every NumPy: they would be pickled."""
    file = io.BytesIO()
    with pytest.raises(ValueError, match="Python objects cannot be written: bad"):
        write_npz(file, {"good": np.arange(3), "bad": np.array([{}], object)})
    assert file.getvalue() == b""
