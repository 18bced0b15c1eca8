"""From a table to the numbers a network takes, as fitted on training rows: what goes with the model.

Columns of numbers come first, each scaled, then a column of 0 and 1 for each of them that says where it was missing,
then those of names, one column of 0 and 1 a name. What scikit-learn's transformers find out in training rows is kept as
plain arrays and JSON, and looked up when rows are taken through.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isnan
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from engine.data.scaling import SCALERS, Scaler, Standard
from engine.registry import Registry, nearest
from engine.types import DType, Floats, Shape
from hpsearch.data.frame import MISSING, Column, Frame, number, numbers
from hpsearch.errors import DataError

DTYPE: DType = np.dtype(np.float32)
LARGEST = float(np.finfo(DTYPE).max)
Integers = npt.NDArray[np.intp]


SCALES: Registry[Any] = Registry.joined("scale", SCALERS, {"none": type(None)})
IMPUTES: Registry[Any] = Registry.joined(
    "way to impute", dict.fromkeys(("median", "most_frequent", "indicator"), type(None))
)


@final
@dataclass(frozen=True)
class PreprocessingConfig:
    """How rows are prepared: the settings of a study file's data at a point.

    Attributes:
        scale: of numbers, a name on the menu of scalers or none.
        impute: what is done where a cell is missing: `median` (names: the most frequent one), `most_frequent`, or
            `indicator`: the median beside a column that says so, and for names one of their own.
        min_frequency: names of fewer training rows share a column.
        max_categories: columns that names of one column get at most; the less frequent share the last.
        target_scale: of a regression's targets.
    """

    scale: str = "standard"
    impute: str = "indicator"
    min_frequency: int = 1
    max_categories: int = 100
    target_scale: str = "standard"


@final
@dataclass(frozen=True)
class CategoryEncoding:
    """What becomes of a column of names.

    Attributes:
        places: name → its column among those that this one becomes.
        other: that of rare and unknown names; −1 for none, so that such a row has 0 in all of them.
        missing: that of missing cells; −1 likewise.
        width: how many there are.
        own_gap: missing cells have a column of their own.
    """

    places: Mapping[str, int]
    other: int
    missing: int
    width: int
    own_gap: bool = False

    def apply(self, column: Column, out: Floats) -> None:
        """Writes 1 into `out (rows, width)`, which is 0.

        A name that is a number is known by its value too: what is `7` in one file may be `7.0` or `007` in another.
        """
        assert column.names is not None
        by_value = {value: place for name, place in self.places.items() if not isnan(value := number(name))}
        places = [self.places.get(name, by_value.get(number(name), self.other)) for name in column.names]
        lookup = np.array([*places, self.missing])
        place = lookup[column.values]  # the code of a missing cell is −1
        rows = np.flatnonzero(place >= 0)
        out[rows, place[rows]] = 1


@final
@dataclass(frozen=True, eq=False)
class Preprocessing:
    """What is done to rows, so that a model can do it again.

    Rows are a `Frame`, or an array whose columns are all numbers and never missing. Images are scaled by channel: all
    pixels of a channel are one column, so that a pixel that is rarely lit is not blown up, and an object looks the same
    wherever it stands.

    Attributes:
        x: scales the numbers; None where nothing does.
        y: scales targets likewise.
        features: all columns that it reads, in the order in which they came.
        numbers: those of numbers.
        fills: `(numbers,)`, what stands for a missing one; None where none may be missing.
        flags: which of `numbers` have a column that says where they are missing.
        names: the columns of names.
        reading: how new rows are read as these were, as `Table.reading` says.
    """

    x: Scaler | None
    y: Scaler | None
    features: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    fills: Floats | None = None
    flags: tuple[int, ...] = ()
    names: Mapping[str, CategoryEncoding] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tabular(self) -> bool:
        """Whether rows are frames and not arrays."""
        return self.fills is not None

    @property
    def width(self) -> int:
        """Of a row as the network takes it, but for images."""
        return len(self.numbers) + len(self.flags) + sum(names.width for names in self.names.values())

    def inputs(self, x: Floats | Frame, shape: Shape) -> Floats:
        """Rows as they come → `(rows, *shape)` as the network takes them.

        Raises:
            DataError: a frame lacks a column, or has text or missing cells where it must not.
        """
        if isinstance(x, Frame):
            return self._frame(x)
        if self.x is None:
            return x.astype(DTYPE).reshape(len(x), *shape)
        scaled = self.x.apply(columns(x, shape)).astype(DTYPE)
        if len(shape) == 1:
            return scaled
        channels, height, width = shape
        return np.ascontiguousarray(np.moveaxis(scaled.reshape(len(x), height, width, channels), -1, 1))

    def _frame(self, frame: Frame) -> Floats:
        for name in (*self.numbers, *self.names):
            if name not in frame.columns:
                raise DataError(f"there is no column '{name}'{nearest(name, list(frame.columns))}")
        rows = len(frame)
        out = np.zeros((rows, self.width), DTYPE)
        count = len(self.numbers)
        raw = np.empty((rows, count))
        for place, name in enumerate(self.numbers):
            raw[:, place] = _as_numbers(name, frame.columns[name])
        missing = np.isnan(raw)
        if self.fills is None and missing.any():
            place = int(np.flatnonzero(missing.any(axis=0))[0])
            raise DataError(f"column '{self.numbers[place]}' must not have missing cells")
        if self.fills is not None:
            np.copyto(raw, self.fills, where=missing)
        out[:, :count] = raw if self.x is None or not count else self.x.apply(raw)
        out[:, count : count + len(self.flags)] = missing[:, list(self.flags)]
        start = count + len(self.flags)
        for name, names in self.names.items():
            names.apply(frame.columns[name].as_names(), out[:, start : start + names.width])
            start += names.width
        return out

    def targets(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values `(rows,)` in their own units → as the network learns them."""
        return y if self.y is None else self.y.apply(np.asarray(y, np.float64)[:, None])[:, 0]

    @property
    def unit(self) -> tuple[float, float]:
        """What 0 and a difference of 1 in the network's outputs are in the target's own units."""
        return (float(self.y.mean[0]), float(self.y.deviation[0])) if isinstance(self.y, Standard) else (0.0, 1.0)

    def describe(self) -> tuple[dict[str, Any], dict[str, Floats]]:
        """As plain JSON and arrays, but for `features` and `reading`; `restore` makes it again."""
        arrays: dict[str, Floats] = {}
        scale: dict[str, str | None] = {"x": None, "y": None}
        for name, scaler in (("x", self.x), ("y", self.y)):
            if scaler is not None:
                scale[name] = next(word for word, kind in SCALERS.items() if type(scaler) is kind)
                arrays |= {f"{name}_{part}": getattr(scaler, part) for part in _fields(type(scaler))}
        if self.fills is not None:
            arrays["fills"] = self.fills
        content = {
            "scale": scale,
            "numbers": list(self.numbers),
            "flags": list(self.flags),
            "names": {name: vars(names) | {"places": dict(names.places)} for name, names in self.names.items()},
        }
        return content, arrays

    @classmethod
    def restore(
        cls,
        content: Mapping[str, Any],
        arrays: Mapping[str, Floats],
        features: tuple[str, ...],
        reading: Mapping[str, Any],
    ) -> Self:
        """What `describe` gave.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(
            _scaler("x", content["scale"], arrays),
            _scaler("y", content["scale"], arrays),
            features,
            tuple(content["numbers"]),
            arrays.get("fills"),
            tuple(content["flags"]),
            {name: CategoryEncoding(**names) for name, names in content["names"].items()},
            reading,
        )


def columns(x: Floats, shape: Shape) -> Floats:
    """What is scaled alike, a column each: `(rows, features)`, or of images `(rows·height·width, channels)`."""
    if len(shape) == 1:
        return x
    return np.moveaxis(x.reshape(len(x), *shape), 1, -1).reshape(-1, shape[0])


def fit(
    x: Floats | Frame,
    y: npt.NDArray[Any],
    features: Sequence[str],
    reading: Mapping[str, Any],
    image: Shape | None,
    recipe: PreprocessingConfig,
    folds: Sequence[Integers],
    *,
    regression: bool,
) -> tuple[Preprocessing, ...]:
    """One for each fold, fitted on its training rows. All make rows of the same width.

    Which columns there are is found in the training rows of all folds together; what stands in them by each for itself:
    a name that is not among a fold's training rows is unknown to it.

    Args:
        x: all rows there are, y: their targets.
        features: names of the columns.
        reading: how they were read.
        image: shape of a row that is one.
        folds: numbers of training rows, for each fold.
    """
    standard = regression and recipe.target_scale == "standard"
    targets = [Standard.fit(y[rows].astype(np.float64)[:, None]) if standard else None for rows in folds]
    kind = None if recipe.scale == "none" else SCALERS[recipe.scale]
    if not isinstance(x, Frame):
        shape = image or x.shape[1:]
        scalers = [None if kind is None else kind.fit(columns(x[rows], shape)) for rows in folds]
        names = tuple(features)
        return tuple(Preprocessing(s, t, names, names, reading=reading) for s, t in zip(scalers, targets, strict=True))
    pool = folds[0] if len(folds) == 1 else np.unique(np.concatenate(folds))
    of_numbers = tuple(name for name, column in x.columns.items() if column.names is None)
    gaps = [bool(x.columns[name].missing[pool].any()) for name in of_numbers]
    flags = tuple(place for place, gap in enumerate(gaps) if gap and recipe.impute == "indicator")
    layout = {name: _layout(c, pool, recipe) for name, c in x.columns.items() if c.names is not None}
    found = []
    for rows, target in zip(folds, targets, strict=True):
        fitted = [_numbers(x.columns[name].values[rows].astype(np.float64), kind, recipe) for name in of_numbers]
        scaler, fills = _joined([s for _, s in fitted]), np.array([fill for fill, _ in fitted])
        known = {name: _within(place, x.columns[name], rows) for name, place in layout.items()}
        found.append(Preprocessing(scaler, target, tuple(features), of_numbers, fills, flags, known, reading))
    return tuple(found)


def _numbers(values: Floats, kind: type[Scaler] | None, recipe: PreprocessingConfig) -> tuple[float, Scaler | None]:
    """What stands for a missing one, and how they are scaled."""
    from sklearn.impute import SimpleImputer

    strategy = "most_frequent" if recipe.impute == "most_frequent" else "median"
    column, missing = values[:, None], np.isnan(values)
    fill = 0.0 if missing.all() else float(SimpleImputer(strategy=strategy).fit(column[~missing]).statistics_[0])
    return fill, None if kind is None else kind.fit(np.where(missing[:, None], fill, column))


def _layout(column: Column, rows: Integers, recipe: PreprocessingConfig) -> CategoryEncoding:
    """Which columns the names of one become."""
    from sklearn.preprocessing import OneHotEncoder

    assert column.names is not None
    ordered = sorted(column.names)
    rank = {name: place for place, name in enumerate(ordered)}
    codes = np.array([*(rank[name] for name in column.names), MISSING])[column.values[rows]]  # in the order of names
    there = codes[codes >= 0][:, None]
    own_gap = recipe.impute == "indicator" and len(there) < len(codes)
    if not len(there):
        return CategoryEncoding({}, -1, 0 if own_gap else -1, int(own_gap), own_gap)
    encoder = OneHotEncoder(
        min_frequency=recipe.min_frequency,
        max_categories=recipe.max_categories,
        handle_unknown="infrequent_if_exist",
        dtype=DTYPE,
    ).fit(there)
    infrequent = encoder.infrequent_categories_[0]
    rare = set() if infrequent is None else set(infrequent.tolist())
    kept = [ordered[code] for code in encoder.categories_[0].tolist() if code not in rare]
    places = {name: place for place, name in enumerate(kept)}
    other = len(kept) if rare else -1
    width = len(kept) + bool(rare)
    return CategoryEncoding(places, other, width if own_gap else -1, width + own_gap, own_gap)


def _within(names: CategoryEncoding, column: Column, rows: Integers) -> CategoryEncoding:
    """The same columns as a fold knows them: names that it has not seen are unknown to it, and a missing cell is its
    own most frequent name, the first of several."""
    assert column.names is not None
    codes = column.values[rows]
    counts = np.bincount(codes[codes >= 0], minlength=len(column.names))
    seen = {name: int(count) for name, count in zip(column.names, counts, strict=True) if count}
    places = {name: place for name, place in names.places.items() if name in seen}
    if names.own_gap or not seen:
        return replace(names, places=places)
    most = min(seen, key=lambda name: (-seen[name], name))
    return replace(names, places=places, missing=places.get(most, names.other))


def _joined(scalers: Sequence[Scaler | None]) -> Scaler | None:
    """One for all columns; their arrays' last axis is that of columns."""
    there = [s for s in scalers if s is not None]
    if not there:
        return None
    kind: Any = type(there[0])
    return kind(**{name: np.concatenate([getattr(s, name) for s in there], axis=-1) for name in _fields(kind)})  # type: ignore[no-any-return]


def _as_numbers(name: str, column: Column) -> Floats:
    values, text = numbers(column)
    if text is not None:
        raise DataError(f"column '{name}' must hold numbers, got {text.first!r} in row {text.row + 1}")
    endless = np.flatnonzero(np.abs(values) > LARGEST)  # which a missing one is not
    if len(endless):
        got, row = values[endless[0]], endless[0] + 1
        raise DataError(f"column '{name}' must hold numbers within ±{LARGEST:.3g}, got {got} in row {row}")
    return values


def _scaler(name: str, scale: Mapping[str, str | None], arrays: Mapping[str, Floats]) -> Scaler | None:
    word = scale[name]
    if word is None:
        return None
    kind: Any = SCALERS[word]
    return kind(**{part: arrays[f"{name}_{part}"] for part in _fields(kind)})  # type: ignore[no-any-return]


def _fields(kind: Any) -> list[str]:
    return [part.name for part in fields(kind)]
