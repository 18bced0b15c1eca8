"""Grouping: which trials train together as one batch, and which groups start first."""

from collections.abc import Sequence
from typing import Any

from engine.network import Network
from engine.types import EngineError
from hpsearch.config.instantiate import hyperparameters
from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.training.network import network
from hpsearch.training.task import TrialTask

LARGEST_IN_COMPANY = 10_000  # multiply-adds a row; beyond, the products outweigh what company saves


def shape(spec: Spec, dataset: Dataset, point: Point) -> tuple[Network, tuple[object, ...]]:
    """What must be equal for trials to train together.

    Raises:
        EngineError: a network or hyperparameters that cannot be.
    """
    return network(spec, dataset, point).shape_key, (hyperparameters(spec.train, point).kind, dataset.at(point).number)


def cost(spec: Spec, dataset: Dataset, point: Point) -> float:
    """Roughly how long an epoch takes, in units of a multiply-add: products for each row, and a toll for each step."""
    try:
        hyper, net = hyperparameters(spec.train, point), network(spec, dataset, point)
    except EngineError:
        return 0.0
    rows = dict(dataset.rows)["train"] * dataset.folds
    return rows * net.work * 3 + (rows / min(hyper.batch_size, rows)) * (500_000 + net.size * 40)


def groups(spec: Spec, dataset: Dataset, trials: Sequence[TrialTask], workers: int) -> list[tuple[TrialTask, ...]]:
    """Trials of equal shape at the same epoch together, the longest groups first.

    Who trains with whom changes nothing but the time it takes, so the groups are cut for the workers at hand: small
    enough to keep all of them busy, and single trials where the matrices are so large that company does not pay.
    """
    most = -(-len(trials) // (2 * workers)) or 1
    shapes: dict[Any, list[TrialTask]] = {}
    for t in trials:
        shapes.setdefault((_shape_or_number(spec, dataset, t), t.epochs), []).append(t)
    cut = []
    for (key, _), equal in shapes.items():
        size = most if isinstance(key, tuple) and key[0].work <= LARGEST_IN_COMPANY else 1
        cut += [tuple(equal[i : i + size]) for i in range(0, len(equal), size)]
    return sorted(cut, key=lambda g: -sum(cost(spec, dataset, t.point) for t in g))


def _shape_or_number(spec: Spec, dataset: Dataset, trial: TrialTask) -> Any:
    """A trial whose network cannot be built goes alone, to fail in `advance` like any other."""
    try:
        return shape(spec, dataset, trial.point)
    except EngineError:
        return trial.number
