"""Rows given to a model: columns of pandas of any type become the numbers and categories that the model knows."""

from collections.abc import Collection, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.registry import nearest
from hpsearch.data.frame import Frame, category_name, frame_from_pandas, parse_number
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.data.text_files.csv_file import TextFormat, with_plain_numbers
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def frame_of_features(data: "pd.DataFrame | Frame", folds: Sequence[Preprocessing]) -> Frame:
    """Return the columns that a model reads.

    Numbers in a categorical column stand for the category that was written so in the training table: `read_csv` reads
    02139 as 2139. Booleans in a numeric column are 1 and 0.

    Raises:
        DataError: a column is missing, or holds cells that are neither numbers nor text.
    """
    features = folds[0].features
    names = [str(name) for name in data.columns]
    for name in features:
        if name not in names:
            raise DataError(f"rows must have the column '{name}'{nearest(name, names)}")
    if isinstance(data, Frame):
        return data
    import pandas as pd

    categories: dict[str, set[str]] = {}
    for fold in folds:
        for name, encoding in fold.categorical.items():
            categories.setdefault(name, set()).update(encoding.columns)
    columns: list[pd.Series[Any]] = []
    for position in [position for position, name in enumerate(names) if name in features]:
        name, cells = names[position], data.iloc[:, position]
        cells = _as_written(cells, categories[name]) if name in categories else _as_numbers(cells)
        columns.append(cells.rename(name))
    converted = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=data.index)
    input_format = folds[0].input_format
    numbers = TextFormat.restore(input_format).numbers
    if not numbers.is_plain:
        converted = with_plain_numbers(converted, numbers, set(categories))
    return frame_from_pandas(converted, input_format.get("missing", ()), input_format.get("missing_of"))


def _as_numbers(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a numeric column with Booleans as 1 and 0."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(cells.dtype):
        return cells.astype("float64" if cells.dtype == bool else "Float64")
    return cells


def _as_written(cells: "pd.Series[Any]", known: Collection[str]) -> "pd.Series[Any]":
    """Return a categorical column as text, its numbers as they are written in the `known` categories."""
    import pandas as pd

    try:
        codes, uniques = pd.factorize(cells)
    except TypeError:  # lists are not hashable; they are refused later
        return cells
    texts = [_written(cell, known) if isinstance(cell, Number | np.bool_) else cell for cell in uniques]
    if all(text is cell for text, cell in zip(texts, uniques, strict=True)):
        return cells
    written = np.empty(len(texts) + 1, object)
    written[:-1] = texts
    return pd.Series(written[codes], index=cells.index, dtype=object)


def _written(cell: Any, known: Collection[str]) -> str:
    """Return the one known category that a number may have been read from, else its canonical name."""
    name = category_name(cell)
    if name in known:
        return name
    same = [text for text in known if parse_number(text) == parse_number(name)]
    return same[0] if len(same) == 1 else name
