"""The learning-rate range test of a study: which learning rates are worth searching, found in one short training."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from threadpoolctl import threadpool_limits

from engine.range_test import RangeTest, range_test
from hpsearch.config.instantiate import hyperparameters
from hpsearch.config.references import choices, searched
from hpsearch.config.spec import Spec
from hpsearch.core.seeds import derive
from hpsearch.core.space import Axis, Point, Value
from hpsearch.data.dataset import prepare
from hpsearch.errors import DataError
from hpsearch.training.network import check_fit, network

LINES, WIDTH = 16, 40  # of the picture


class Tried(NamedTuple):
    """A range test and the point it was made at."""

    point: Point
    test: RangeTest


def middle(spec: Spec) -> Point:
    """The middle of every range on its own scale, the first of unordered values."""
    axes = searched(spec)
    return {a.name: _middle(a) for a in axes.axes} | dict(axes.fixed)


def _middle(axis: Axis) -> Value:
    if not axis.zoomable:
        return axis.choices[0]
    center = axis.raw((axis.position(axis.low) + axis.position(axis.high)) / 2)
    return axis.value(round(center) if axis.whole else center)


def tried(spec: Spec, low: float, high: float, steps: int) -> Tried:
    """Trains with a learning rate that grows from step to step, at the middle of the study's space.

    Raises:
        DataError: the data cannot be read, or the model does not fit them.
        EngineError: bounds or steps that cannot be.
    """
    point = middle(spec)
    with tempfile.TemporaryDirectory(prefix="hpsearch-") as folder:
        dataset, _ = prepare(spec.data, spec.seed, Path(folder), choices(spec))
        check_fit(spec, dataset)
        rows = dataset.at(point).part("train")
        if rows is None:
            raise DataError("data.split: there are no training rows")
        generator = np.random.default_rng(derive(spec.seed, "range test"))
        hyper = hyperparameters(spec.train, point)
        with threadpool_limits(1):
            return Tried(point, range_test(network(spec, dataset, point), hyper, generator, rows, low, high, steps))


def as_text(found: Tried) -> RenderableType:
    """The averaged losses by rate as bars, and what follows."""
    table = Table(title="Learning-rate range test", box=SIMPLE_HEAD, title_justify="left")
    table.add_column("learning rate", justify="right")
    table.add_column("loss", justify="right")
    table.add_column("")
    for cells in _lines(found.test):
        table.add_row(*cells)
    test = found.test
    steepest, end = float(test.best[0]), float(test.blown[0])
    fell, blew = np.isfinite(steepest), np.isfinite(end)
    lines = [f"The loss falls most steeply at {steepest:.2g}." if fell else "The loss never fell."]
    lines += [f"It blew up at {end:.2g}; a tenth of that is {end / 10:.2g}." if blew else "It never blew up."]
    if fell:
        top = max(float(test.tenth[0]), steepest)
        lines.append(f"Worth searching: learning_rate: {{min: {steepest / 10:.1g}, max: {top:.1g}, scale: log}}")
    return Group(table, Text("\n".join(lines)))


def _lines(test: RangeTest) -> Iterator[tuple[str, str, str]]:
    losses = test.losses[0]
    there = np.flatnonzero(np.isfinite(losses))
    most = (float(losses[there].max()) if len(there) else 0.0) or 1.0
    for place in there[:: max(1, -(-len(there) // LINES))]:
        yield f"{test.rates[place]:.2g}", f"{losses[place]:.4g}", "█" * max(1, round(WIDTH * losses[place] / most))
