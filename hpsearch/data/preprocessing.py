"""Preprocessing of a table's rows for a network, fitted on training rows and saved with the model.

The numeric columns come first, each scaled, then one 0/1 indicator for each of them that has missing cells, then the
categorical columns, one-hot encoded. scikit-learn's transformers fit the parameters. These are kept as plain arrays and
JSON, and applied without scikit-learn.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from engine.data.scaling import SCALERS, Scaler, Standard
from engine.registry import Registry, nearest
from engine.types import DType, Floats, Integers, Shape
from hpsearch.data.frame import MISSING_CODE, Column, Frame, to_numeric
from hpsearch.errors import DataError

DTYPE: DType = np.dtype(np.float32)
FLOAT32_MAX = float(np.finfo(DTYPE).max)

SCALES: Registry[Any] = Registry.joined("scale", SCALERS, {"none": type(None)})
IMPUTES: Registry[Any] = Registry.joined(
    "imputation", dict.fromkeys(("median", "most_frequent", "indicator"), type(None))
)


@final
@dataclass(frozen=True)
class PreprocessingConfig:
    """The preprocessing settings of a study file's `data` section at one point.

    Attributes:
        scale: scaler of the numeric columns: a key of `SCALERS` or `none`.
        impute: how missing cells are filled: `median` (categorical columns: the most frequent category),
            `most_frequent`, or `indicator` (the median and an indicator column; categorical columns: an additional
            category).
        min_frequency: categories with fewer training rows share one column.
        max_categories: maximum number of columns per categorical column; the least frequent categories share the last.
        target_scale: scaler of the targets of a regression: `standard` or `none`.
    """

    scale: str = "standard"
    impute: str = "indicator"
    min_frequency: int = 1
    max_categories: int = 100
    target_scale: str = "standard"


_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def _without_fraction(name: str) -> str:
    """Return a whole number without `.0`, any other text unchanged."""
    found = _WHOLE.fullmatch(name)
    return found[1] if found else name


@final
@dataclass(frozen=True)
class CategoryEncoding:
    """The one-hot encoding of a categorical column.

    Attributes:
        columns: category → index of its output column.
        other: output column of rare and unknown categories; −1 for none, so that all columns of such a row are 0.
        missing: output column of missing cells; −1 for none.
        width: number of output columns.
        has_missing_column: missing cells have their own output column.
    """

    columns: Mapping[str, int]
    other: int
    missing: int
    width: int
    has_missing_column: bool = False

    def apply(self, column: Column, out: Floats) -> None:
        """Write the ones of the encoding into `out (rows, width)`, which must be all zeros.

        Categories must be written as in the training table, except that whole numbers match with and without `.0`,
        which pandas adds if a column has missing cells.
        """
        assert column.categories is not None
        whole = {_without_fraction(name): place for name, place in self.columns.items()}
        places = [self.columns.get(name, whole.get(_without_fraction(name), self.other)) for name in column.categories]
        lookup = np.array([*places, self.missing])
        place = lookup[column.values]  # MISSING_CODE is −1: the last entry
        rows = np.flatnonzero(place >= 0)
        out[rows, place[rows]] = 1


@final
@dataclass(frozen=True, eq=False)
class Preprocessing:
    """The fitted preprocessing of rows, saved with a model.

    Rows are a `Frame`, or an array of numeric columns without missing values. Images are scaled by channel: all pixels
    of a channel form one column. Scaling each pixel separately would amplify pixels that are rarely lit, and an object
    would look different at each position.

    Attributes:
        input_scaler: scales the numeric columns; None without scaling.
        target_scaler: scales the targets of a regression; None without scaling.
        features: all input columns, in the order of the source.
        numeric: the numeric columns.
        fill_values: `(numeric,)`, the values that replace missing cells; None for arrays.
        missing_indicators: indices into `numeric` of the columns that have a missing indicator.
        categorical: the categorical columns and their encodings.
        input_format: how new rows are read, as in `Table.input_format`.
    """

    input_scaler: Scaler | None
    target_scaler: Scaler | None
    features: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    fill_values: Floats | None = None
    missing_indicators: tuple[int, ...] = ()
    categorical: Mapping[str, CategoryEncoding] = field(default_factory=dict)
    input_format: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tabular(self) -> bool:
        """True if rows are frames, False if they are arrays."""
        return self.fill_values is not None

    @property
    def width(self) -> int:
        """Number of the network's inputs; not defined for images."""
        encoded = sum(encoding.width for encoding in self.categorical.values())
        return len(self.numeric) + len(self.missing_indicators) + encoded

    def inputs(self, x: Floats | Frame, shape: Shape) -> Floats:
        """Return the rows as network inputs `(rows, *shape)`, float32.

        Raises:
            DataError: a frame lacks a column, or holds text or missing cells where numbers are required.
        """
        if isinstance(x, Frame):
            return self._frame_inputs(x)
        if self.input_scaler is None:
            return x.astype(DTYPE).reshape(len(x), *shape)
        scaled = self.input_scaler.apply(scaled_columns(x, shape)).astype(DTYPE)
        if len(shape) == 1:
            return scaled
        channels, height, width = shape
        return np.ascontiguousarray(np.moveaxis(scaled.reshape(len(x), height, width, channels), -1, 1))

    def _frame_inputs(self, frame: Frame) -> Floats:
        for name in (*self.numeric, *self.categorical):
            if name not in frame.columns:
                raise DataError(f"there is no column '{name}'{nearest(name, list(frame.columns))}")
        rows = len(frame)
        out = np.zeros((rows, self.width), DTYPE)
        count = len(self.numeric)
        raw = np.empty((rows, count))
        for place, name in enumerate(self.numeric):
            raw[:, place] = _numeric_values(name, frame.columns[name])
        missing = np.isnan(raw)
        if self.fill_values is None and missing.any():
            place = int(np.flatnonzero(missing.any(axis=0))[0])
            raise DataError(f"column '{self.numeric[place]}' must not have missing cells")
        if self.fill_values is not None:
            np.copyto(raw, self.fill_values, where=missing)
        out[:, :count] = raw if self.input_scaler is None or not count else self.input_scaler.apply(raw)
        start = count + len(self.missing_indicators)
        out[:, count:start] = missing[:, list(self.missing_indicators)]
        for name, encoding in self.categorical.items():
            encoding.apply(frame.columns[name].as_categorical(), out[:, start : start + encoding.width])
            start += encoding.width
        return out

    def targets(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Scale targets `(rows,)` from their own units to those of the network's output."""
        if self.target_scaler is None:
            return y
        return self.target_scaler.apply(np.asarray(y, np.float64)[:, None])[:, 0]

    @property
    def unit(self) -> tuple[float, float]:
        """Offset and scale of the target: value = offset + scale · output."""
        scaler = self.target_scaler
        return (float(scaler.mean[0]), float(scaler.deviation[0])) if isinstance(scaler, Standard) else (0.0, 1.0)

    def describe(self) -> tuple[dict[str, Any], dict[str, Floats]]:
        """Return everything but `features` and `input_format` as plain JSON and arrays; `restore` is the inverse."""
        arrays: dict[str, Floats] = {}
        scale: dict[str, str | None] = {"x": None, "y": None}
        for name, scaler in (("x", self.input_scaler), ("y", self.target_scaler)):
            if scaler is not None:
                scale[name] = next(word for word, kind in SCALERS.items() if type(scaler) is kind)
                arrays |= {f"{name}_{part}": getattr(scaler, part) for part in _field_names(type(scaler))}
        if self.fill_values is not None:
            arrays["fill_values"] = self.fill_values
        content = {
            "scale": scale,
            "numeric": list(self.numeric),
            "missing_indicators": list(self.missing_indicators),
            "categorical": {
                name: vars(encoding) | {"columns": dict(encoding.columns)}
                for name, encoding in self.categorical.items()
            },
        }
        return content, arrays

    @classmethod
    def restore(
        cls,
        content: Mapping[str, Any],
        arrays: Mapping[str, Floats],
        features: tuple[str, ...],
        input_format: Mapping[str, Any],
    ) -> Self:
        """Restore a preprocessing from the output of `describe`, the types of whose content are checked.

        Raises:
            ValueError: an array is missing, or a scaler is unknown.
        """
        return cls(
            _restore_scaler("x", content["scale"], arrays),
            _restore_scaler("y", content["scale"], arrays),
            features,
            tuple(content["numeric"]),
            arrays.get("fill_values"),
            tuple(content["missing_indicators"]),
            {name: CategoryEncoding(**encoding) for name, encoding in content["categorical"].items()},
            input_format,
        )


def scaled_columns(x: Floats, shape: Shape) -> Floats:
    """Return the columns that a scaler fits: `(rows, features)`, or `(rows·height·width, channels)` for images."""
    if len(shape) == 1:
        return x
    return np.moveaxis(x.reshape(len(x), *shape), 1, -1).reshape(-1, shape[0])


def fit(
    x: Floats | Frame,
    y: npt.NDArray[Any],
    features: Sequence[str],
    input_format: Mapping[str, Any],
    image: Shape | None,
    config: PreprocessingConfig,
    folds: Sequence[Integers],
    *,
    regression: bool,
) -> tuple[Preprocessing, ...]:
    """Fit one preprocessing per fold on the fold's training rows.

    All folds have the same output columns, taken from the training rows of all folds together. Scaling and fill values
    come from the fold's own rows, and a category that does not occur in them is unknown to the fold.

    Args:
        x: all rows.
        y: all targets, `(rows,)`.
        features: names of the columns.
        input_format: see `Table.input_format`.
        image: shape of a row that is an image.
        folds: indices of the training rows, for each fold.
    """
    standard = regression and config.target_scale == "standard"
    targets = [Standard.fit(y[rows].astype(np.float64)[:, None]) if standard else None for rows in folds]
    kind = None if config.scale == "none" else SCALERS[config.scale]
    if not isinstance(x, Frame):
        shape = image or x.shape[1:]
        scalers = [None if kind is None else kind.fit(scaled_columns(x[rows], shape)) for rows in folds]
        names = tuple(features)
        return tuple(
            Preprocessing(scaler, target, names, names, input_format=input_format)
            for scaler, target in zip(scalers, targets, strict=True)
        )
    pool = folds[0] if len(folds) == 1 else np.unique(np.concatenate(folds))
    numeric = tuple(name for name, column in x.columns.items() if column.categories is None)
    has_missing = [bool(x.columns[name].missing[pool].any()) for name in numeric]
    indicators = tuple(k for k, missing in enumerate(has_missing) if missing and config.impute == "indicator")
    encodings = {name: _fit_encoding(c, pool, config) for name, c in x.columns.items() if c.categories is not None}
    preprocessings = []
    for rows, target in zip(folds, targets, strict=True):
        fitted = [_fit_numeric(x.columns[name].values[rows].astype(np.float64), kind, config) for name in numeric]
        scaler, fills = _joined([s for _, s in fitted]), np.array([fill for fill, _ in fitted])
        known = {name: _restricted(encoding, x.columns[name], rows) for name, encoding in encodings.items()}
        preprocessings.append(
            Preprocessing(scaler, target, tuple(features), numeric, fills, indicators, known, input_format)
        )
    return tuple(preprocessings)


def _fit_numeric(values: Floats, kind: type[Scaler] | None, config: PreprocessingConfig) -> tuple[float, Scaler | None]:
    """Fit the fill value and the scaler of one numeric column."""
    from sklearn.impute import SimpleImputer

    strategy = "most_frequent" if config.impute == "most_frequent" else "median"
    column, missing = values[:, None], np.isnan(values)
    fill = 0.0 if missing.all() else float(SimpleImputer(strategy=strategy).fit(column[~missing]).statistics_[0])
    return fill, None if kind is None else kind.fit(np.where(missing[:, None], fill, column))


def _fit_encoding(column: Column, rows: Integers, config: PreprocessingConfig) -> CategoryEncoding:
    """Fit the output columns of one categorical column."""
    from sklearn.preprocessing import OneHotEncoder

    assert column.categories is not None
    ordered = sorted(column.categories)
    rank = {name: place for place, name in enumerate(ordered)}
    codes = np.array([*(rank[name] for name in column.categories), MISSING_CODE])[column.values[rows]]
    present = codes[codes >= 0][:, None]
    has_missing = config.impute == "indicator" and len(present) < len(codes)
    if not len(present):
        return CategoryEncoding({}, -1, 0 if has_missing else -1, int(has_missing), has_missing)
    encoder = OneHotEncoder(
        min_frequency=config.min_frequency,
        max_categories=config.max_categories,
        handle_unknown="infrequent_if_exist",
        dtype=DTYPE,
    ).fit(present)
    infrequent = encoder.infrequent_categories_[0]
    rare = set() if infrequent is None else set(infrequent.tolist())
    kept = [ordered[code] for code in encoder.categories_[0].tolist() if code not in rare]
    columns = {name: place for place, name in enumerate(kept)}
    other = len(kept) if rare else -1
    width = len(kept) + bool(rare)
    return CategoryEncoding(columns, other, width if has_missing else -1, width + has_missing, has_missing)


def _restricted(encoding: CategoryEncoding, column: Column, rows: Integers) -> CategoryEncoding:
    """Restrict an encoding to the categories of one fold's rows, with unchanged output columns.

    Without a column for missing cells, a missing cell is encoded as the fold's most frequent category; on a tie, as
    the alphabetically first one.
    """
    assert column.categories is not None
    codes = column.values[rows]
    counts = np.bincount(codes[codes >= 0], minlength=len(column.categories))
    present = {name: int(count) for name, count in zip(column.categories, counts, strict=True) if count}
    columns = {name: place for name, place in encoding.columns.items() if name in present}
    if encoding.has_missing_column or not present:
        return replace(encoding, columns=columns)
    most = min(present, key=lambda name: (-present[name], name))
    return replace(encoding, columns=columns, missing=columns.get(most, encoding.other))


def _joined(scalers: Sequence[Scaler | None]) -> Scaler | None:
    """Join scalers of single columns into one scaler of all columns, along the last axis of their arrays."""
    fitted = [s for s in scalers if s is not None]
    if not fitted:
        return None
    kind: Any = type(fitted[0])
    arrays = {name: np.concatenate([getattr(s, name) for s in fitted], axis=-1) for name in _field_names(kind)}
    return kind(**arrays)  # type: ignore[no-any-return]


def _numeric_values(name: str, column: Column) -> Floats:
    values, text = to_numeric(column)
    if text is not None:
        raise DataError(f"column '{name}' must hold numbers, got {text.first!r} in row {text.row + 1}")
    infinite = np.flatnonzero(np.abs(values) > FLOAT32_MAX)  # NaN compares false
    if len(infinite):
        got, row = values[infinite[0]], infinite[0] + 1
        raise DataError(f"column '{name}' must hold numbers within ±{FLOAT32_MAX:.3g}, got {got} in row {row}")
    return values


def _restore_scaler(name: str, scale: Mapping[str, str | None], arrays: Mapping[str, Floats]) -> Scaler | None:
    word = scale[name]
    if word is None:
        return None
    kind: Any = SCALERS[word]
    missing = [f"{name}_{part}" for part in _field_names(kind) if f"{name}_{part}" not in arrays]
    if missing:
        raise ValueError(f"there is no array '{missing[0]}'")
    return kind(**{part: arrays[f"{name}_{part}"] for part in _field_names(kind)})  # type: ignore[no-any-return]


def _field_names(kind: Any) -> list[str]:
    return [part.name for part in fields(kind)]
