"""Files of arrays without pickle. Files of unknown origin are checked before memory is allocated.

The size of an array follows from its header and from the directory of the zip file; where the two differ, or a small
file would unpack to a large array, nothing is read.
"""

import io
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Collection, Mapping
from math import prod
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

MAX_ARRAYS = 10_000  # of a file
MAX_RATIO, MAX_UNPACKED = 200, 1 << 30  # beyond so many bytes, an array may unpack to `MAX_RATIO` times its packed size
MAX_DIMENSIONS = 32
HEADER_SIZE = 10_000  # maximum bytes of an array's header
_SUFFIX, _SINGLE = ".npy", b"\x93NUMPY"  # of the name of an array; the first bytes of a file of one array
# Exceptions that reading damaged bytes may raise.
BROKEN_NPZ = (EOFError, OSError, RuntimeError, NotImplementedError, ValueError, zipfile.BadZipFile, zlib.error)
_BROKEN_HEADER = (ValueError, SyntaxError, tokenize.TokenError, TypeError, RecursionError, MemoryError, EOFError)


class NpzError(ValueError):
    """The content of an `.npz` file that must not or cannot be read."""


def write_npz(file: BinaryIO, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write an `.npz` file. `np.savez` can refuse objects since NumPy 2.1 only; before, it would pickle them.

    Raises:
        ValueError: an array holds Python objects.
    """
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
        raise ValueError(f"arrays of Python objects cannot be written: {', '.join(objects)}")
    np.savez(file, **dict[str, Any](arrays))


def read_npz(
    source: "bytes | BinaryIO",
    names: Collection[str] | None = None,
    kinds: str | None = None,
    slack: int = MAX_UNPACKED,
) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of a file by name; they are read-only.

    Args:
        source: the content of the file, or the open file.
        names: the arrays to read; those that do not exist are left out. None for all.
        kinds: kinds of dtypes that are allowed, such as "fi"; None for all but Python objects.
        slack: unpacked bytes that are allowed whatever the packed size is.

    Raises:
        NpzError: an array is too large, has another dtype, or is damaged.
        One of BROKEN_NPZ: the bytes are not a zip file, or are damaged.
    """
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    opened.seek(0)
    if opened.read(len(_SINGLE)) == _SINGLE:
        raise NpzError("must be an .npz file of named arrays, got a single array")
    with zipfile.ZipFile(opened) as archive:
        members = _members(archive, slack)
        wanted = members if names is None else {name: members[name] for name in names if name in members}
        return {name: _array(archive, member, name, kinds) for name, member in wanted.items()}


def npz_names(source: "bytes | BinaryIO") -> list[str]:
    """Return the names of the arrays of a file; raises like `read_npz`."""
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    with zipfile.ZipFile(opened) as archive:
        return list(_members(archive))


def _members(archive: zipfile.ZipFile, slack: int = MAX_UNPACKED) -> dict[str, zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > MAX_ARRAYS:
        raise NpzError(f"has {len(members):,} arrays, at most {MAX_ARRAYS:,} are allowed")
    packed, unpacked = sum(m.compress_size for m in members), sum(m.file_size for m in members)
    if unpacked > slack and unpacked > MAX_RATIO * packed:
        raise NpzError(f"would unpack {packed:,} bytes to {unpacked:,}, more than {MAX_RATIO} times as many")
    if any(m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for m in members):
        raise NpzError("is compressed in another way than NumPy's files")
    return {m.filename.removesuffix(_SUFFIX): m for m in members}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, kinds: str | None) -> npt.NDArray[Any]:
    with archive.open(member) as file:
        dtype, shape, fortran = _header(file, name)
        if dtype.hasobject:
            raise NpzError(f"array '{name}' holds Python objects; it must hold numbers or text")
        if kinds is not None and dtype.kind not in kinds:
            raise NpzError(f"array '{name}' must not be of the type {dtype}")
        if len(shape) > MAX_DIMENSIONS or any(size < 0 for size in shape):
            raise NpzError(f"array '{name}' has an invalid shape")
        size = prod(shape) * dtype.itemsize
        if size > member.file_size:
            raise NpzError(f"array '{name}' is incomplete: its shape {shape} needs {size:,} bytes")
        content = file.read(size)
        file.read(1)  # at the end of the member its checksum is compared
    if len(content) != size:
        raise NpzError(f"array '{name}' is incomplete: its shape {shape} needs {size:,} bytes")
    flat = np.frombuffer(content, dtype) if size else np.empty(prod(shape), dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(file: Any, name: str) -> "tuple[np.dtype[Any], tuple[int, ...], bool]":
    """Read the header of an array and return its dtype, its shape, and whether its first axis is innermost."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a header written by Python 2
            version = np.lib.format.read_magic(file)
            if version not in _READERS:
                raise NpzError(f"array '{name}' has an unknown format")
            shape, fortran, dtype = _READERS[version](file, max_header_size=HEADER_SIZE)
    except NpzError:
        raise
    except _BROKEN_HEADER:
        raise NpzError(f"'{name}' is not an array") from None
    return dtype, tuple(int(size) for size in shape), fortran


_READERS: Mapping[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
