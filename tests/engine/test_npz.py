"""`.npz` files of unknown origin: read like NumPy reads them, or refused before memory is allocated."""

import io
import struct
import zipfile
from typing import Any

import numpy as np
import pytest

from engine.npz import BROKEN_NPZ, MAX_ARRAYS, NpzError, npz_names, read_npz, write_npz


def packed(compress: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(file, **arrays)
    return file.getvalue()


def member(content: bytes, name: str = "x.npy", method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def npy(header: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode("latin-1") + content


@pytest.mark.parametrize("compress", [False, True])
def test_arrays_are_those_of_numpy(compress: bool) -> None:
    arrays = {
        "matrix": np.arange(12.0, dtype=np.float32).reshape(3, 4),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "text": np.array(["a", "größe"]),
        "scalar": np.array(3),
        "none": np.zeros((0, 5)),
        "flags": np.array([True, False]),
        "big": np.arange(3, dtype=">f8"),
    }
    read = read_npz(packed(compress, **arrays))
    assert read.keys() == arrays.keys() == set(npz_names(packed(compress, **arrays)))
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and np.array_equal(read[name], array) and read[name].shape == array.shape
    assert list(read_npz(packed(**arrays), ["text", "absent"])) == ["text"]


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (packed(x=np.array([{}], object)), "Python objects"),
        (member(npy(HEADER.replace("(2,)", "(1000000000000,)"), b"0" * 16)), "incomplete"),
        (member(npy(HEADER.replace("(2,)", "(100000, 100000, 100000)"), b"0" * 16)), "incomplete"),
        (member(npy(HEADER.replace("(2,)", "(-1,)"))), "invalid shape"),
        (member(npy(HEADER.replace("<f8", "O"))), "Python objects"),
        (member(npy("{'descr': " + "(" * 3000)), "not an array"),
        (member(npy("{'descr': '")), "not an array"),
        (member(npy("[" * 9000)), "not an array"),
        (member(npy("1\n  2")), "not an array"),
        (member(npy(HEADER, b"0" * 16, b"\x07\x00")), "unknown format"),
        (member(npy(HEADER, b"0" * 15)), "incomplete"),
        (member(b""), "not an array"),
        (member(b"text", "x"), "not an array"),
        (member(npy(HEADER, b"0" * 16), method=zipfile.ZIP_BZIP2), "compressed in another way"),
        (npy(HEADER, b"0" * 16), "got a single array"),
    ],
)
def test_damaged_arrays(content: bytes, reason: str) -> None:
    with pytest.raises(NpzError, match=reason) as caught:
        read_npz(content)
    assert "pickle" not in str(caught.value)


def test_other_bytes() -> None:
    for content in (b"", b"text", b"PK\x03\x04", packed(x=np.zeros(3))[:-40], b"\x80\x04."):
        with pytest.raises(BROKEN_NPZ) as caught:
            read_npz(content)
        assert "pickle" not in str(caught.value)
    damaged = bytearray(packed(x=np.arange(100.0)))
    damaged[300] ^= 1
    with pytest.raises(BROKEN_NPZ):
        read_npz(bytes(damaged))


def test_bounds() -> None:
    zeros = packed(True, x=np.zeros(1 << 20))
    assert len(zeros) < 20_000 and read_npz(zeros)["x"].size == 1 << 20
    with pytest.raises(NpzError, match="would unpack"):
        read_npz(zeros, slack=1 << 20)
    with pytest.raises(NpzError, match="must not be of the type"):
        read_npz(packed(x=np.zeros(3)), kinds="iu")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(MAX_ARRAYS + 1):
            archive.writestr(f"{number}", b"")
    with pytest.raises(NpzError, match="at most 10,000"):
        read_npz(file.getvalue())


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
