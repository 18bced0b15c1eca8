"""The learning-rate range test of a study: a short training run that shows the learning rates worth searching."""

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from engine.analysis.range_test import RangeTest, range_test
from hpsearch.config.instantiate import hyperparameters
from hpsearch.config.references import preprocessing_values, search_space
from hpsearch.config.spec import Spec, Train
from hpsearch.core.files.temporary import private_folder
from hpsearch.core.seeds import derive
from hpsearch.core.space import Axis, Point, Value
from hpsearch.data.dataset import prepare
from hpsearch.errors import DataError, Mistake, SpecError
from hpsearch.training.network import build_network, check_fit


class LrRange(NamedTuple):
    """The result of a range test, and the point at which it ran."""

    point: Point
    test: RangeTest


def center_point(spec: Spec) -> Point:
    """Return the center of every range on its own scale, and the first of unordered values."""
    space = search_space(spec)
    return {a.name: _center(a) for a in space.axes} | dict(space.fixed)


def _center(axis: Axis) -> Value:
    if not axis.zoomable:
        return axis.choices[0]
    center = axis.from_scaled((axis.to_scaled(axis.low) + axis.to_scaled(axis.high)) / 2)
    return axis.to_value(round(center) if axis.integer else center)


def check_engine(spec: Spec, where: str) -> None:
    """Check that the engine trains a study.

    Args:
        where: the command that needs it.

    Raises:
        SpecError: other code trains it.
    """
    if not isinstance(spec.train, Train):
        got = spec.train.described
        raise SpecError([Mistake(where, "train", f"must be the settings of a network of the engine, got {got}")])


def lr_range_test(spec: Spec, low: float, high: float, steps: int) -> LrRange:
    """Train with a learning rate that grows with each step, at the center of the study's space.

    Args:
        low, high: first and last learning rate, positive.
        steps: number of batches.

    Raises:
        DataError: the data cannot be read, or the model does not fit them.
        EngineError: bounds or steps are not valid.
        SpecError: other code than the engine trains the study.
    """
    check_engine(spec, "range-test")
    point = center_point(spec)
    with private_folder() as folder:
        dataset, _ = prepare(spec.source, spec.seed, folder, preprocessing_values(spec))
        check_fit(spec, dataset)
        rows = dataset.at(point).part("train")
        if rows is None:
            raise DataError("data.split: there are no training rows")
        generator = np.random.default_rng(derive(spec.seed, "range test"))
        hyper = hyperparameters(spec.engine, point)
        with threadpool_limits(1):
            network = build_network(spec, dataset, point)
            return LrRange(point, range_test(network, hyper, generator, rows, low, high, steps))
