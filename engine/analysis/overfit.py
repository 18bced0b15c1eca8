"""The one-batch overfit test: a network that can learn at all learns one small batch by heart."""

from dataclasses import replace
from itertools import islice
from math import isfinite
from typing import NamedTuple

import numpy as np

from engine.data.rows import Rows
from engine.layers.dropout import without_rates
from engine.network import Network
from engine.training.hyperparameters import Hyperparameters
from engine.training.schedules import Constant
from engine.training.state import State
from engine.training.trainer import check_fit, train

LEARNED = 0.1  # loss relative to that of a constant prediction at which the batch counts as learned
FACTORS = (1.0, 0.1, 10.0)  # of the learning rate, tried until one learns the batch


class OverfitTest(NamedTuple):
    """The result of a one-batch overfit test.

    Attributes:
        rows: number of rows of the batch.
        loss: loss after the last step, at the learning rate with the lowest.
        chance: loss of the best constant prediction of these rows.
        floor: loss of the best prediction, above 0 if equal inputs have different targets.
        steps: number of steps taken.
        rate: the learning rate.
    """

    rows: int
    loss: float
    chance: float
    floor: float
    steps: int
    rate: float

    @property
    def learned(self) -> bool:
        """True if nine tenths of what a constant prediction leaves above the floor were learned."""
        return self.loss <= _goal(self.chance, self.floor)


def constant_loss(rows: Rows, outputs: int, *, classes: bool) -> float:
    """Return the loss of the best constant prediction: the entropy of the classes, or half of the variance.

    Args:
        outputs: number of the network's outputs; 1 for two classes.
    """
    y = rows.y.astype(np.float64)
    if not classes:
        return float(y.var(axis=0).sum() / 2)
    shares = y.mean(axis=0)
    if outputs == 1:
        shares = np.concatenate([1 - shares, shares])
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def overfit_test(network: Network, trial: Hyperparameters, rows: Rows, seed: int = 0, steps: int = 2000) -> OverfitTest:
    """Train new weights on one batch, without dropout, penalties, smoothing, augmentation, schedule and switch.

    A tenth and ten times the learning rate are tried too, so that the result is one of the network, not of the rate.

    Args:
        rows: the batch.
        steps: most steps for each learning rate.

    Raises:
        EngineError: a batch too small for batch norm, or rows that do not fit the network.
    """
    plain = replace(network, layers=without_rates(network.layers))
    base = replace(
        trial,
        batch_size=len(rows),
        l1=0.0,
        l2=0.0,
        label_smoothing=0.0,
        augment=(),
        schedule=Constant(),
        switch=None,
    )
    check_fit(plain, base, len(rows))
    chance = constant_loss(rows, network.outputs, classes=network.loss.classifies)
    floor = _floor(rows, network)
    best: OverfitTest | None = None
    for factor in FACTORS:
        rate = trial.learning_rate * factor
        loss, taken = _train(plain, replace(base, learning_rate=rate), rows, seed, steps, _goal(chance, floor))
        found = OverfitTest(len(rows), loss, chance, floor, taken, rate)
        if best is None or loss < best.loss:
            best = found
        if best.learned:
            break
    assert best is not None
    return best


def _goal(chance: float, floor: float) -> float:
    return floor + LEARNED * (chance - floor)


def _floor(rows: Rows, network: Network) -> float:
    """Return the mean loss of constant predictions of the rows with equal inputs."""
    _, group = np.unique(rows.x.reshape(len(rows), -1), axis=0, return_inverse=True)
    group = group.reshape(-1)  # NumPy 2.0 returns a column
    of_groups = [Rows(rows.x[group == k], rows.y[group == k]) for k in np.unique(group)]
    losses = (len(g) * constant_loss(g, network.outputs, classes=network.loss.classifies) for g in of_groups)
    return sum(losses) / len(rows)


def _train(
    network: Network, trial: Hyperparameters, rows: Rows, seed: int, steps: int, goal: float
) -> tuple[float, int]:
    """Return the lowest loss before a step, and the number of steps until it was at most the goal."""
    state = State.start(network, trial.slots, [np.random.default_rng(seed)], rows.x.dtype)
    lowest, taken = float("inf"), 0
    for epoch in islice(train(network, [trial], state, rows), steps):
        loss, taken = float(epoch.train.loss[0]), epoch.number
        if not isfinite(loss):
            break
        lowest = min(lowest, loss)
        if lowest <= goal:
            break
    return lowest, taken
