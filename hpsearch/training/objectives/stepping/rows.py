"""The prepared rows of a study as training code receives them."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.types import Floats
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.data.sources.base import PART_NAMES, Part


class PartRows(NamedTuple):
    """The rows of one part.

    Attributes:
        x: `(rows, features)`, or `(rows, channels, height, width)` for images; float32, preprocessed.
        y: `(rows,)`: class indices (int64), or values (float32), standardized unless `data.target_scale` is none.
    """

    x: Floats
    y: npt.NDArray[Any]


class TrainingData(NamedTuple):
    """The prepared rows of one fold; arrays are read-only.

    Attributes:
        train, val, test: the parts; None for a part without rows.
        classes: names of the classes; empty for a regression.
        fold: number of the fold, from 0.
        unit: (offset, scale) of the target: value = offset + scale · y.
    """

    train: PartRows | None
    val: PartRows | None
    test: PartRows | None
    classes: tuple[str, ...]
    fold: int
    unit: tuple[float, float]


def training_data(dataset: Dataset, point: Point, fold: int) -> TrainingData:
    """Return the rows of one fold, prepared for a point."""
    dataset = dataset.at(point)
    train, val, test = (_part(dataset, part, fold) for part in PART_NAMES)
    return TrainingData(train, val, test, dataset.classes, fold, dataset.units[fold])


def labels(dataset: Dataset, y: Floats) -> npt.NDArray[Any]:
    """Return the targets `(rows, outputs)` of a network as class indices, or as values, `(rows,)`."""
    if not dataset.classes:
        return y[:, 0]
    indices: npt.NDArray[np.int64] = y[:, 0].astype(np.int64) if y.shape[1] == 1 else y.argmax(axis=1).astype(np.int64)
    return indices


def _part(dataset: Dataset, part: Part, fold: int) -> PartRows | None:
    rows = dataset.part(part)
    if rows is None:
        return None
    one = rows.of(fold)
    x = one.x.reshape(-1, *dataset.inputs)
    y = labels(dataset, one.y)
    x.flags.writeable = False
    return PartRows(x, y)
