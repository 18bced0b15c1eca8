"""Columns of a table: numbers, or names as codes; gathered from pandas piece by piece, so that a file may be large."""

import re
from collections.abc import Collection, Mapping, Sequence
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
MISSING_CODE = -1  # the code of a cell that is empty
_SWITCH = re.compile("true|false", re.IGNORECASE)
_CELLS = (str, bool, int, float, Decimal, UUID, np.bool_, np.number)  # what names may be written as


@final
@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    Attributes:
        values: `(rows,)`: float64, NaN where missing; or int32 codes into `names`, −1 where missing.
        categories: of a column of names, what its codes stand for; None for numbers.
    """

    values: Floats | Codes
    categories: tuple[str, ...] | None = None

    def take(self, rows: npt.NDArray[np.intp] | slice) -> "Column":
        """Some rows."""
        return Column(self.values[rows], self.categories)

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """`(rows,)`."""
        found: npt.NDArray[np.bool_] = np.isnan(self.values) if self.categories is None else self.values == MISSING_CODE
        return found

    def as_categorical(self) -> "Column":
        """Numbers as names: a whole one is written without a point."""
        if self.categories is not None:
            return self
        known, codes = np.unique(self.values[~self.missing], return_inverse=True)
        values = np.full(len(self.values), MISSING_CODE, np.int32)
        values[~self.missing] = codes
        return Column(values, tuple(category_name(value) for value in known.tolist()))


@final
@dataclass(frozen=True, eq=False)
class Frame:
    """Columns by name, of as many rows each."""

    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values) if self.columns else 0

    def take(self, rows: npt.NDArray[np.intp] | slice) -> "Frame":
        """Some rows."""
        return Frame({name: column.take(rows) for name, column in self.columns.items()})


class MixedTypesError(Exception):
    """Columns that were numbers in one piece and text in another: read them as text.

    Args:
        names: of these columns.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        super().__init__(", ".join(sorted(names)))


def category_name(cell: object) -> str:
    """What a cell of a column of names is known by, however it was read: 7, 7.0 and "7 " are the same name.

    A whole number is written without a point, truth values are `True` and `False`, spaces around text do not count.
    """
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell))
    if isinstance(cell, int | np.integer):
        return str(int(cell))  # which may be too large for a float
    if isinstance(cell, float | Decimal | np.floating):
        return str(int(cell)) if float(cell).is_integer() else repr(float(cell))
    text = str(cell).strip()
    return text.capitalize() if _SWITCH.fullmatch(text) else text


class Text(NamedTuple):
    """What is wrong with a column of numbers: text in it.

    Attributes:
        first: the first such cell.
        row: where, from 0.
        cells: how many there are.
    """

    first: str
    row: int
    cells: int


@final
class _Cells:
    """One column as it grows: in one piece of memory from the beginning, so that nothing is held twice at the end."""

    def __init__(self, values: Floats | Codes, rows: int) -> None:
        self._memory: Any = np.empty(max(rows, len(values)), values.dtype)  # what is not touched takes no memory
        self._used = 0
        self.add(values)

    def add(self, values: Floats | Codes) -> None:
        """More cells; codes after numbers find that these were all missing."""
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
        """All of them."""
        return self._memory[: self._used]


@final
class FrameBuilder:
    """Gathers pieces of a table into a frame.

    Args:
        missing: what stands for a missing cell, beside what pandas takes for one.
        written: names stay as they are written, but for spaces around them: "1.0" and "1" are two; of these columns.
        rows: about how many there will be, if that is known.

    Attributes:
        declared: columns whose type says that they hold names, whatever these look like.
    """

    def __init__(self, missing: Sequence[str] = (), written: frozenset[str] = frozenset(), rows: int = 0) -> None:
        self._rows = rows
        self._marks = frozenset(missing)
        self._none = [value for value in map(parse_number, missing) if not np.isnan(value)]  # marks among numbers
        self._written = written
        self._cells: dict[str, _Cells | None] = {}
        self._codes: dict[str, dict[str, int]] = {}  # of columns of names
        self._numbers: set[str] = set()  # columns that have had a number
        self._mixed: set[str] = set()
        self.declared: set[str] = set()

    def add(self, piece: "pd.DataFrame") -> None:
        """One more piece, with the columns of those before.

        Raises:
            DataError: a column holds what is neither a number nor text.
        """
        if not self._cells:
            self._cells = {str(name): None for name in piece.columns}
        for name, cells in zip(self._cells, (piece[c] for c in piece.columns), strict=True):
            values, column = self._read(name, cells), self._cells[name]
            if column is None:
                self._cells[name] = _Cells(values, self._rows)
            else:
                column.add(values)

    def frame(self) -> Frame:
        """All of them.

        Raises:
            MixedTypesError: some columns are numbers in one piece and text in another.
        """
        if self._mixed:
            raise MixedTypesError(frozenset(self._mixed))
        names = {name: tuple(codes) for name, codes in self._codes.items()}
        return Frame({name: Column(c.values if c else np.empty(0), names.get(name)) for name, c in self._cells.items()})

    def _read(self, name: str, cells: "pd.Series[Any]") -> Floats | Codes:
        import pandas as pd

        kind = cells.dtype
        if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
            if kind.kind == "c":
                raise DataError(f"column '{name}' holds complex numbers; it must hold numbers or text")
            values: Floats = np.array(cells.to_numpy(np.float64, na_value=np.nan))
            values[np.isin(values, self._none)] = np.nan
            there = not np.isnan(values).all()
            if there and name in self._codes:
                self._mixed.add(name)
            elif there:
                self._numbers.add(name)
            return np.full(len(values), MISSING_CODE, np.int32) if name in self._codes else values
        if kind.kind in "mM":
            raise DataError(f"column '{name}' holds times ({kind}); drop it, or give it as numbers")
        if isinstance(kind, pd.CategoricalDtype):
            self.declared.add(name)
            cells = cells.astype(object)
        try:
            found, uniques = pd.factorize(cells)
        except TypeError:  # lists and the like cannot be hashed
            raise DataError(f"column '{name}' holds lists or mappings; it must hold numbers or text: drop it") from None
        return self._coded(name, found, uniques)

    def _coded(self, name: str, found: npt.NDArray[np.intp], uniques: Any) -> Floats | Codes:
        """Cells as codes; a column that has had nothing at all is not one of names yet."""
        if not len(uniques) and name not in self._codes:
            return np.full(len(found), np.nan)
        if name in self._numbers:
            self._mixed.add(name)
        codes = self._codes.setdefault(name, {})
        lookup = np.empty(len(uniques) + 1, np.int32)
        lookup[-1] = MISSING_CODE
        for place, cell in enumerate(uniques):
            if not isinstance(cell, _CELLS):
                what = type(cell).__name__
                raise DataError(f"column '{name}' holds {what} ({cell!r:.50}); it must hold numbers or text: drop it")
            try:
                known = str(cell).strip() if name in self._written else category_name(cell)
            except ValueError:  # Python's limit
                raise DataError(f"column '{name}' holds a number of thousands of digits") from None
            lookup[place] = MISSING_CODE if not known or known in self._marks else codes.setdefault(known, len(codes))
        return lookup[found]


def to_numeric(column: Column) -> tuple[Floats, Text | None]:
    """A column as numbers, NaN where it holds text, and what is wrong with it if anything."""
    if column.categories is None:
        return column.values.astype(np.float64, copy=False), None
    known = np.array([parse_number(name) for name in column.categories] + [np.nan])
    values: Floats = known[column.values]
    bad = np.flatnonzero(np.isnan(values) & ~column.missing)
    if not len(bad):
        return values, None
    return values, Text(column.categories[column.values[bad[0]]], int(bad[0]), len(bad))


def parse_number(text: str) -> float:
    """NaN for what is none; `1_000` and `nan` are none."""
    try:
        return float("nan") if "_" in text else float(text)
    except ValueError:
        return float("nan")


def frame_from_pandas(
    data: "pd.DataFrame", missing: Sequence[str] = (), wanted: Collection[str] | None = None
) -> Frame:
    """A whole pandas frame, or those of its columns that are wanted.

    Raises:
        DataError: a column holds what is neither a number nor text, or two have one name.
    """
    names = [str(name) for name in data.columns]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"two columns are called '{twice[0]}'")
    builder = FrameBuilder(missing)
    if wanted is not None:
        data = data.loc[:, [name in wanted for name in names]]
    builder.add(data)
    return builder.frame()
