"""Columns of a table, numeric or categorical, collected from pandas chunk by chunk to limit memory."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from engine.types import Floats
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Codes = npt.NDArray[np.int32]
CHUNK_ROWS = 50_000  # rows that a source reads at a time
MISSING_CODE = -1  # code of a missing cell
_BOOLEAN = re.compile("true|false", re.IGNORECASE)
_CELL_TYPES = (str, bool, int, float, Decimal, UUID, np.bool_, np.number)  # of a categorical column


@final
@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    Attributes:
        values: `(rows,)`: float64, NaN where missing; or int32 codes into `categories`, −1 where missing.
        categories: name of the category of each code; None for a numeric column.
    """

    values: Floats | Codes
    categories: tuple[str, ...] | None = None

    def take(self, rows: npt.NDArray[np.intp] | slice) -> "Column":
        """Return the column with only these rows."""
        return Column(self.values[rows], self.categories)

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """`(rows,)`, True where a cell is missing."""
        mask: npt.NDArray[np.bool_] = np.isnan(self.values) if self.categories is None else self.values == MISSING_CODE
        return mask

    def as_categorical(self) -> "Column":
        """Return a numeric column as a categorical one; whole numbers are written without a decimal point."""
        if self.categories is not None:
            return self
        known, codes = np.unique(self.values[~self.missing], return_inverse=True)
        values = np.full(len(self.values), MISSING_CODE, np.int32)
        values[~self.missing] = codes
        return Column(values, tuple(category_name(value) for value in known.tolist()))


@final
@dataclass(frozen=True, eq=False)
class Frame:
    """Columns of equal length by name."""

    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values) if self.columns else 0

    def take(self, rows: npt.NDArray[np.intp] | slice) -> "Frame":
        """Return the frame with only these rows."""
        return Frame({name: column.take(rows) for name, column in self.columns.items()})


class MixedTypesError(Exception):
    """Columns are numeric in one chunk and text in another, so they must be read as text.

    Args:
        names: names of these columns.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        super().__init__(", ".join(sorted(names)))


def category_name(cell: object) -> str:
    """Return the canonical name of a cell, however it was read: 7, 7.0 and "7 " are the same category.

    Whole numbers are written without a decimal point, Booleans as `True` and `False`; whitespace around text is
    stripped.
    """
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell))
    if isinstance(cell, int | np.integer):
        return str(int(cell))  # may be too large for a float
    if isinstance(cell, float | Decimal | np.floating):
        return str(int(cell)) if float(cell).is_integer() else repr(float(cell))
    text = str(cell).strip()
    return text.capitalize() if _BOOLEAN.fullmatch(text) else text


class NonNumericCells(NamedTuple):
    """The cells of a column that are not numbers.

    Attributes:
        first: the first such cell.
        row: its row, from 0.
        cells: number of such cells.
    """

    first: str
    row: int
    cells: int


@final
class _GrowingArray:
    """The cells of one column in one array, allocated for all rows, so that no chunk is in memory twice."""

    def __init__(self, values: Floats | Codes, rows: int) -> None:
        self._memory: Any = np.empty(max(rows, len(values)), values.dtype)  # untouched pages take no memory
        self._used = 0
        self.append(values)

    def append(self, values: Floats | Codes) -> None:
        """Append cells; codes after numbers mean that all numbers so far were missing."""
        if values.dtype != self._memory.dtype:
            self._memory = np.full(len(self._memory), MISSING_CODE, values.dtype)
        end = self._used + len(values)
        if end > len(self._memory):
            larger = np.empty(max(end, 2 * len(self._memory)), self._memory.dtype)
            larger[: self._used] = self._memory[: self._used]
            self._memory = larger
        self._memory[self._used : end] = values
        self._used = end

    @property
    def values(self) -> Any:
        """All cells, `(rows,)`."""
        return self._memory[: self._used]


@final
class FrameBuilder:
    """Collects the chunks of a table into a frame.

    Args:
        missing: markers of missing cells, in addition to the cells that pandas marks as missing.
        missing_of: column → markers in place of `missing`.
        verbatim: columns whose text is only stripped: "1.0" and "1" are different categories.
        rows: approximate total number of rows, 0 if unknown.

    Attributes:
        declared: columns that are categorical by their dtype, regardless of their values.
    """

    def __init__(
        self,
        missing: Sequence[str] = (),
        verbatim: frozenset[str] = frozenset(),
        rows: int = 0,
        missing_of: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._rows = rows
        self._missing, self._missing_of = frozenset(missing), {k: frozenset(v) for k, v in (missing_of or {}).items()}
        self._verbatim = verbatim
        self._cells: dict[str, _GrowingArray | None] = {}
        self._codes: dict[str, dict[str, int]] = {}  # of the categorical columns: category → code
        self._numeric: set[str] = set()  # columns in which a number was found
        self._mixed: set[str] = set()
        self.declared: set[str] = set()

    def add(self, chunk: "pd.DataFrame") -> None:
        """Add a chunk with the same columns as the previous chunks.

        Raises:
            DataError: a column holds cells that are neither numbers nor text.
        """
        if not self._cells:
            self._cells = {str(name): None for name in chunk.columns}
        for name, cells in zip(self._cells, (chunk[c] for c in chunk.columns), strict=True):
            values, column = self._convert(name, cells), self._cells[name]
            if column is None:
                self._cells[name] = _GrowingArray(values, self._rows)
            else:
                column.append(values)

    def frame(self) -> Frame:
        """Return all rows.

        Raises:
            MixedTypesError: columns are numeric in one chunk and text in another.
        """
        if self._mixed:
            raise MixedTypesError(frozenset(self._mixed))
        categories = {name: tuple(codes) for name, codes in self._codes.items()}
        return Frame(
            {name: Column(c.values if c else np.empty(0), categories.get(name)) for name, c in self._cells.items()}
        )

    def _markers(self, name: str) -> frozenset[str]:
        return self._missing_of.get(name, self._missing)

    def _convert(self, name: str, cells: "pd.Series[Any]") -> Floats | Codes:
        import pandas as pd

        kind = cells.dtype
        if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
            if kind.kind == "c":
                raise DataError(f"column '{name}' holds complex numbers; it must hold numbers or text")
            values: Floats = np.array(cells.to_numpy(np.float64, na_value=np.nan))
            numbers = [value for value in map(parse_number, self._markers(name)) if not np.isnan(value)]
            values[np.isin(values, numbers)] = np.nan
            has_numbers = not np.isnan(values).all()
            if has_numbers and name in self._codes:
                self._mixed.add(name)
            elif has_numbers:
                self._numeric.add(name)
            return np.full(len(values), MISSING_CODE, np.int32) if name in self._codes else values
        if kind.kind in "mM":
            raise DataError(f"column '{name}' holds times ({kind}); drop it or convert it to numbers")
        if isinstance(kind, pd.CategoricalDtype):
            self.declared.add(name)
            cells = cells.astype(object)
        try:
            # As an array: pandas before 3 cannot hold integers beyond float64 in an index.
            indices, uniques = pd.factorize(cells.to_numpy() if cells.dtype == object else cells)
        except TypeError:  # lists and mappings are not hashable
            raise DataError(f"column '{name}' holds lists or mappings; it must hold numbers or text: drop it") from None
        return self._encode(name, indices, uniques)

    def _encode(self, name: str, indices: npt.NDArray[np.intp], uniques: Any) -> Floats | Codes:
        """Return the codes of cells, `(rows,)`; NaN while all cells of the column so far are missing.

        Args:
            indices: `(rows,)`, indices into `uniques`; −1 for missing cells.
        """
        if not len(uniques) and name not in self._codes:
            return np.full(len(indices), np.nan)
        if name in self._numeric:
            self._mixed.add(name)
        codes, markers = self._codes.setdefault(name, {}), self._markers(name)
        lookup = np.empty(len(uniques) + 1, np.int32)
        lookup[-1] = MISSING_CODE
        for place, cell in enumerate(uniques):
            if not isinstance(cell, _CELL_TYPES):
                kind = type(cell).__name__
                raise DataError(f"column '{name}' holds {kind} ({cell!r:.50}); it must hold numbers or text: drop it")
            try:
                category = str(cell).strip() if name in self._verbatim else category_name(cell)
            except ValueError:  # Python limits the digits of an integer in text
                raise DataError(f"column '{name}' holds a number of thousands of digits") from None
            is_missing = not category or category in markers
            lookup[place] = MISSING_CODE if is_missing else codes.setdefault(category, len(codes))
        return lookup[indices]


def to_numeric(column: Column) -> tuple[Floats, NonNumericCells | None]:
    """Return a column as numbers, `(rows,)`, NaN for text, and a summary of its text cells; None if it has none."""
    if column.categories is None:
        return column.values.astype(np.float64, copy=False), None
    known = np.array([parse_number(name) for name in column.categories] + [np.nan])
    values: Floats = known[column.values]
    bad = np.flatnonzero(np.isnan(values) & ~column.missing)
    if not len(bad):
        return values, None
    return values, NonNumericCells(column.categories[column.values[bad[0]]], int(bad[0]), len(bad))


def parse_number(text: str) -> float:
    """Parse a number; return NaN if the text is not one (`1_000` and `nan` are not)."""
    try:
        return float("nan") if "_" in text else float(text)
    except ValueError:
        return float("nan")


def frame_from_pandas(
    data: "pd.DataFrame", missing: Sequence[str] = (), missing_of: Mapping[str, Sequence[str]] | None = None
) -> Frame:
    """Convert a whole pandas frame.

    Args:
        missing: markers of missing cells, in addition to the cells that pandas marks as missing.
        missing_of: column → markers in place of `missing`.

    Raises:
        DataError: a column holds cells that are neither numbers nor text, or two columns have the same name.
    """
    names = [str(name) for name in data.columns]
    duplicate = first_duplicate(names)
    if duplicate is not None:
        raise DataError(f"two columns are named '{duplicate}'")
    builder = FrameBuilder(missing, missing_of=missing_of)
    builder.add(data)
    return builder.frame()


def first_duplicate(names: Sequence[str]) -> str | None:
    """Return the first name that occurs more than once; None if all names differ."""
    return next((name for name, count in Counter(names).items() if count > 1), None)
