"""The learning-rate range test of a study: which learning rates are worth searching, found in one short training."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from engine.analysis.range_test import RangeTest, range_test
from hpsearch.config.instantiate import hyperparameters
from hpsearch.config.references import preprocessing_values, search_space
from hpsearch.config.spec import Spec
from hpsearch.core.seeds import derive
from hpsearch.core.space import Axis, Point, Value
from hpsearch.data.dataset import prepare
from hpsearch.errors import DataError
from hpsearch.training.network import build_network, check_fit


class LrRange(NamedTuple):
    """A range test and the point it was made at."""

    point: Point
    test: RangeTest


def middle(spec: Spec) -> Point:
    """The middle of every range on its own scale, the first of unordered values."""
    axes = search_space(spec)
    return {a.name: _middle(a) for a in axes.axes} | dict(axes.fixed)


def _middle(axis: Axis) -> Value:
    if not axis.zoomable:
        return axis.choices[0]
    center = axis.from_scaled((axis.to_scaled(axis.low) + axis.to_scaled(axis.high)) / 2)
    return axis.to_value(round(center) if axis.integer else center)


def lr_range_test(spec: Spec, low: float, high: float, steps: int) -> LrRange:
    """Trains with a learning rate that grows from step to step, at the middle of the study's space.

    Raises:
        DataError: the data cannot be read, or the model does not fit them.
        EngineError: bounds or steps that cannot be.
    """
    point = middle(spec)
    with tempfile.TemporaryDirectory(prefix="hpsearch-") as folder:
        dataset, _ = prepare(spec.data, spec.seed, Path(folder), preprocessing_values(spec))
        check_fit(spec, dataset)
        rows = dataset.at(point).part("train")
        if rows is None:
            raise DataError("data.split: there are no training rows")
        generator = np.random.default_rng(derive(spec.seed, "range test"))
        hyper = hyperparameters(spec.train, point)
        with threadpool_limits(1):
            return LrRange(
                point, range_test(build_network(spec, dataset, point), hyper, generator, rows, low, high, steps)
            )
