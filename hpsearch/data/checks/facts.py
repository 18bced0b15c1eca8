"""All checks of a data set's prepared rows together."""

from typing import NamedTuple

import numpy as np

from engine.types import Floats
from hpsearch.data.checks.columns import column_names, shorten
from hpsearch.data.checks.drift import Drift, compare_rows
from hpsearch.data.checks.leaks import Leak, find_leaks
from hpsearch.data.checks.repeats import RepeatedRows, noise_floor, repeated_rows, row_keys
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.data.sources.base import Part

HELD_OUT: tuple[Part, ...] = ("val", "test")


class RowFacts(NamedTuple):
    """Results of all checks of the rows of the first fold.

    Attributes:
        noise: lower bound of the error of any model, from equal inputs with different targets.
        drift: of val and test against the training rows.
        leaks: columns that predict the target alone.
        repeats: rows of val and test that are also training rows.
        constant: error of the training rows' most frequent class, or mean, on the validation or test rows.
        smallest, largest: the smallest and the largest standard deviation of the inputs that are not constant.
    """

    noise: float
    drift: list[Drift]
    leaks: list[Leak]
    repeats: list[RepeatedRows]
    constant: float
    smallest: float
    largest: float


def row_facts(dataset: Dataset, preprocessing: Preprocessing | None) -> RowFacts | None:
    """Check the rows of the first fold; None without training rows."""
    train = dataset.part("train")
    if train is None:
        return None
    first, classes = train.of(0), bool(dataset.classes)
    others = {part: rows.of(0) for part in HELD_OUT if (rows := dataset.part(part)) is not None}
    names = shorten(column_names(preprocessing, int(np.prod(dataset.inputs))))
    drift = [found for part, rows in others.items() if (found := compare_rows(part, first.x, rows.x, names))]
    judged = others.get("val", others.get("test"))
    leaks = [] if judged is None else find_leaks((first.x, first.y), (judged.x, judged.y), names, classes=classes)
    noise, repeats = 0.0, []
    keys = row_keys(first.x, first.y)
    if keys is not None:
        repeats = [
            repeated_rows(part, keys, others_keys)
            for part, rows in others.items()
            if (others_keys := row_keys(rows.x, rows.y)) is not None
        ]
    known = [first, *([others["val"]] if "val" in others else [])]
    inputs = [hashed for rows in known if keys is not None and (hashed := row_keys(rows.x)) is not None]
    if len(inputs) == len(known):
        noise = noise_floor(np.concatenate(inputs), np.concatenate([rows.y for rows in known]), classes=classes)
    spread = first.x.reshape(len(first.x), -1)[:4096].astype(np.float64).std(axis=0)
    spread = spread[spread > 0]
    smallest, largest = (float(spread.min()), float(spread.max())) if len(spread) else (1.0, 1.0)
    constant = _constant_error(first.y, judged.y) if classes and judged is not None else 1.0
    return RowFacts(round(noise, 6), drift, leaks, repeats, constant, smallest, largest)


def _constant_error(y: Floats, judged: Floats) -> float:
    """Return the share of judged rows that are not of the most frequent class of `y (rows, outputs)`."""
    first, second = (np.concatenate([1 - t, t], axis=1) if t.shape[1] == 1 else t for t in (y, judged))
    return round(float(1 - second.mean(axis=0, dtype=np.float64)[first.sum(axis=0).argmax()]), 6)
