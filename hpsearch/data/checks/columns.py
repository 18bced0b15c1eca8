"""The columns of prepared rows: their names, and which of them are shares of a category."""

from collections.abc import Sequence

import numpy as np

from engine.types import Floats
from hpsearch.data.preprocessing import Preprocessing


def column_names(preprocessing: Preprocessing | None, count: int) -> list[str]:
    """Return a name for each of `count` prepared columns: `age`, `age is missing`, `sex=male`."""
    if preprocessing is None:
        return [f"input {number}" for number in range(1, count + 1)]
    if not preprocessing.tabular:
        same = len(preprocessing.features) == count
        return list(preprocessing.features) if same else column_names(None, count)
    names = list(preprocessing.numeric)
    names += [f"{preprocessing.numeric[index]} is missing" for index in preprocessing.missing_indicators]
    for name, encoding in preprocessing.categorical.items():
        categories = [""] * encoding.width
        for category, place in encoding.columns.items():
            if 0 <= place < encoding.width:
                categories[place] = category
        for place, word in ((encoding.other, "another"), (encoding.missing, "missing")):
            if 0 <= place < encoding.width and not categories[place]:
                categories[place] = word
        names += [f"{name}={category}" for category in categories]
    return names if len(names) == count else column_names(None, count)


def flat(x: Floats, rows: int) -> Floats:
    """Return at most `rows` rows, evenly spaced, as `(rows, columns)` of float64."""
    picked = np.unique(np.linspace(0, len(x) - 1, min(len(x), rows)).round().astype(np.intp))
    found: Floats = x[picked].reshape(len(picked), -1).astype(np.float64)
    return found


def shorten(names: Sequence[str], longest: int = 60) -> list[str]:
    """Return names of at most `longest` characters."""
    return [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in names]
