"""Arrays in `.npz` files, read without pickle."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, Self, final

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from engine.npz import BROKEN_NPZ, NpzError, npz_names, read_npz
from engine.registry import nearest
from engine.types import Floats
from hpsearch.core.files.regular_file import open_regular
from hpsearch.core.text import printable
from hpsearch.data.sources.base import Source, Table
from hpsearch.data.sources.columns import MAX_GUESSED_CLASSES
from hpsearch.data.split_column import SplitColumn, groups_from_array, times_from_array
from hpsearch.errors import DataError

Array = npt.NDArray[Any]


@final
class NpzSource(Source):
    """`{source: npz, path: mnist.npz, x: Xtr, y: ytr, test_x: Xte, test_y: yte}`.

    Rows `x (rows, …)` of any shape are flattened. Targets `y (rows,)` of integers or text are classes named by their
    values; floats are a regression, unless `task` is given.
    """

    source: Literal["npz"] = Field("npz", description="Source.")
    path: Annotated[str, Field(min_length=1, description="File, relative to the current folder.")]
    x: str = Field("x", description="Name of the array of inputs (rows, …).")
    y: str = Field("y", description="Name of the array of targets (rows,).")
    test_x: str | None = Field(
        None, description="Name of the array of inputs of the test rows. Default: they are part of x."
    )
    test_y: str | None = Field(None, description="Name of the array of their targets.")
    task: Literal["classification", "regression"] | None = Field(
        None, description="Kind of task. Default: derived from the type of y."
    )
    rows: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Number of rows to use, starting with the first; test rows are not limited. Default: all."
    )

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.test_x is None) != (self.test_y is None):
            raise ValueError("test_x and test_y must both be given, or neither")
        return self

    def load(self) -> Table:
        names = [self.x, self.y, *([self.test_x, self.test_y] if self.test_x and self.test_y else [])]
        arrays = dict(zip(("x", "y", "test_x", "test_y"), self._read(names), strict=False))
        for inputs, targets in (("x", "y"), ("test_x", "test_y")):
            if inputs in arrays:
                self._check(inputs, arrays[inputs], targets, arrays[targets])
        all_rows = len(arrays["x"])
        if self.rows is not None:
            if self.rows > len(arrays["x"]):
                raise self._error(f"rows must be at most the {len(arrays['x'])} of x '{self.x}', got {self.rows}")
            arrays |= {name: arrays[name][: self.rows] for name in ("x", "y")}
        train, test = len(arrays["x"]), len(arrays.get("test_x", ()))
        x = self._inputs([arrays[name] for name in ("x", "test_x") if name in arrays])
        y, classes = self._targets([arrays[name].ravel() for name in ("y", "test_y") if name in arrays])
        return Table(
            x,
            y,
            features=tuple(f"{self.x}[{number}]" for number in range(x.shape[1])),
            classes=classes,
            parts={"test": np.arange(train, train + test)} if test else {},
            notices=tuple(self._notices(y, classes)),
            order=self._order(all_rows, train, test),
        )

    def _notices(self, y: Array, classes: tuple[str, ...]) -> Iterator[str]:
        """Yield a notice about a task that is derived from the type of y."""
        if self.task is not None or classes:
            return
        known = np.unique(y)
        few = len(known) <= MAX_GUESSED_CLASSES and bool((known == np.floor(known)).all())
        what = f"only {len(known)} distinct whole numbers, stored as floats" if few else "floats"
        yield f"task: regression, because y '{self.y}' holds {what}; otherwise set task: classification"

    def _order(self, rows: int, train: int, test: int) -> SplitColumn | None:
        """Return the times or groups that the split follows.

        Args:
            rows: number of rows of x, of which the first `train` are used.
            test: number of test rows, which come last in the array of times or groups.
        """
        split = self.split
        if split is None or (split.by is None and split.groups is None):
            return None
        setting, name = ("split.by", split.by) if split.by is not None else ("split.groups", split.groups)
        if not isinstance(name, str):
            raise self._error(f"{setting} must name an array with a value per row, got {name}")
        if split.as_feature:
            raise self._error(f"{setting} '{name}' is an array beside x, so it cannot be a feature; remove as_feature")
        array = self._read([name])[0]
        total = rows + test
        if array.dtype.kind not in "buifUM" or array.shape not in ((total,), (total, 1)):
            raise self._error(
                f"{setting} '{name}' must hold a number, text or date for each of {total} rows, got {array.dtype} of"
                f" shape {array.shape}"
            )
        if not _is_unicode(array):
            raise self._error(f"{setting} '{name}' holds text that is not valid Unicode")
        try:
            used = array.ravel()[np.r_[:train, rows:total]]
            if split.by is None:
                return groups_from_array(name, used)
            return times_from_array(name, used, split.date_format)
        except DataError as error:
            raise self._error(str(error)) from None

    def _read(self, names: list[str]) -> list[Array]:
        try:
            with open_regular(Path(self.path)) as file:
                arrays = read_npz(file, names)
                for name in names:
                    if name not in arrays:
                        known = npz_names(file)
                        raise self._error(f"has no array '{name}'{nearest(name, known) if known else ''}")
                return [arrays[name] for name in names]
        except NpzError as error:
            raise self._error(str(error)) from None
        except FileNotFoundError:
            raise self._error("there is no such file; a relative path starts at the current folder") from None
        except BROKEN_NPZ as error:
            raise self._error(f"is not a readable .npz file: {error}") from None

    def _check(self, inputs: str, x: Array, targets: str, y: Array) -> None:
        """Raise a DataError that names setting and array if inputs or targets are invalid or do not match."""
        x_name, y_name = f"{inputs} '{getattr(self, inputs)}'", f"{targets} '{getattr(self, targets)}'"
        if x.dtype.kind not in "buif":
            raise self._error(f"{x_name} must hold numbers, got {x.dtype}")
        if y.dtype.kind not in "buifU":
            raise self._error(f"{y_name} must hold numbers or text, got {y.dtype}")
        if not _is_unicode(y):
            raise self._error(f"{y_name} holds text that is not valid Unicode")
        if not x.size:
            raise self._error(f"{x_name} is empty: its shape is {x.shape}")
        if x.ndim < 1:
            raise self._error(f"{x_name} must be (rows, …), got a single number")
        if y.ndim not in (1, 2) or y.size != len(y):
            raise self._error(f"{y_name} must hold one value per row, got an array of shape {y.shape}")
        if len(x) != len(y):
            raise self._error(f"{x_name} and {y_name} must have the same number of rows, got {len(x)} and {len(y)}")
        if self.image and x.ndim > 2 and _squeezed(x.shape[1:]) != _squeezed(self.image):
            raise self._error(
                f"{x_name} holds images of shape {x.shape[1:]}, but image is {self.image}: [channels, height, width]"
            )

    def _inputs(self, arrays: list[Array]) -> Floats:
        """Return all rows `(rows, features)`, float32 if that represents every value exactly, else float64."""
        widths = [prod(array.shape[1:]) for array in arrays]
        if len(set(widths)) > 1:
            raise self._error(f"x and test_x must have the same number of features, got {widths[0]} and {widths[1]}")
        dtype = np.result_type(np.float32, *arrays)
        if dtype.itemsize > 8:
            dtype = np.dtype(np.float64)
        x: Floats = np.empty((sum(map(len, arrays)), widths[0]), dtype)
        start = 0
        for array in arrays:
            x[start : start + len(array)] = array.reshape(len(array), -1)
            start += len(array)
        return x

    def _targets(self, arrays: list[Array]) -> tuple[Array, tuple[str, ...]]:
        """Return all targets and the names of the classes."""
        kinds = {array.dtype.kind for array in arrays}
        if "U" in kinds and len(kinds) > 1:
            raise self._error(
                f"y and test_y must both be text or both numbers, got {arrays[0].dtype} and {arrays[1].dtype}"
            )
        if self.task == "regression" or (self.task is None and arrays[0].dtype.kind == "f"):
            if "U" in kinds:
                raise self._error(f"y '{self.y}' holds text, but task is regression")
            return np.concatenate([array.astype(np.float64) for array in arrays]), ()
        if "f" in kinds:
            arrays = [self._as_integers(array) for array in arrays]
        known = np.unique(arrays[0])
        for array in arrays[1:]:
            unknown = np.setdiff1d(array, known)
            if len(unknown):
                raise self._error(
                    f"test_y '{self.test_y}' has labels that y '{self.y}' does not have: {_first_values(unknown)}; "
                    f"the labels are {_first_values(known)}"
                )
        y = np.searchsorted(known, np.concatenate(arrays)).astype(np.int64)
        return y, tuple(str(value) for value in known)

    def _as_integers(self, array: Array) -> Array:
        """Convert labels that are stored as floats."""
        wrong = array[~(np.isfinite(array) & (array == np.floor(array)))] if array.dtype.kind == "f" else array[:0]
        if len(wrong):
            raise self._error(f"task is classification, so y must hold whole numbers or text, got {wrong[0]}")
        return array.astype(np.int64)

    def _error(self, message: str) -> DataError:
        return DataError(printable(f"data: npz: {self.path}: {message}", 2000))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _is_unicode(array: Array) -> bool:
    """Return False for text with invalid code points, which NumPy does not check."""
    if array.dtype.kind != "U" or not array.dtype.itemsize:
        return True
    codes = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).view(np.uint32)
    return not (((codes >= 0xD800) & (codes < 0xE000)) | (codes > 0x10FFFF)).any()


def _first_values(values: Array) -> str:
    """Return the first few values, for a message."""
    listed = ", ".join(str(value) for value in values[:5])
    return f"{listed}, …" if len(values) > 5 else listed
