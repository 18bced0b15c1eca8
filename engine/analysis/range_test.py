"""The learning-rate range test: one step at every rate, from too low to too high, and what became of the loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import final

import numpy as np

from engine.data.augmentation import augment
from engine.data.rows import Batches, Rows
from engine.network import Network
from engine.optimizers import Matrices
from engine.training.gradient import bind_gradient
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.training.trainer import check_fit, check_rows
from engine.types import EngineError, Floats

BLOWN = 4.0  # times the least loss so far
UNSETTLED = 0.1  # the share of the steps at whose start the average is of too few batches to have a slope


@final
@dataclass(frozen=True, eq=False)
class RangeTest:
    """The result of a learning-rate range test. Smith 2017, "Cyclical learning rates", section 3.3.

    A trial ends when its loss is not finite or 4 times the least so far; the test ends with the last of them.

    Attributes:
        rates: `(steps,)`, at equal ratios.
        losses: `(trials, steps)`, float64: of each batch before the step at that rate, without regularizers, averaged
            exponentially over the steps so far; NaN after a trial's end.
        best: `(trials,)`, the rate where the averaged loss fell most steeply by the logarithm of the rate; NaN where it
            never fell. The first tenth of the steps is left out, and what comes after the least loss.
        blown: `(trials,)`, the rate at which the trial ended; +inf for one that did not.
    """

    rates: Floats
    losses: Floats
    best: Floats
    blown: Floats

    @property
    def tenth(self) -> Floats:
        """`(trials,)`: a tenth of the rate at which the trial ended, or of the last one."""
        tenth: Floats = np.minimum(self.blown, self.rates[-1]) / 10
        return tenth


def range_test(
    network: Network,
    trial: Hyperparameters,
    generator: np.random.Generator | Sequence[np.random.Generator],
    rows: Rows,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.8,
) -> RangeTest:
    """Trains from fresh weights, each step at a higher rate than the one before.

    Args:
        trial: all of it but the learning rate, its schedule and what it would switch to. A fresh start for each rate
            would need many times the steps: the optimizer's memory carries over from one to the next.
        generator: for weights and batches; several for as many trials that differ in nothing else.
        rows: gone through again when there are fewer batches than steps; rows left over by whole batches are skipped.
        low, high: the first and the last rate.
        steps: how many rates.
        smoothing: s of a ← sa + (1 − s)·loss, divided by 1 − sᵗ in step t.

    Raises:
        EngineError: low not above 0 and below high, fewer than 2 steps, smoothing outside [0, 1), no generators, or
            rows that do not fit the network.
    """
    _check(low, high, steps, smoothing)
    generators = [generator] if isinstance(generator, np.random.Generator) else list(generator)
    if not generators:
        raise EngineError("range test: give at least one generator, got none")
    state = State.start(network, trial.optimizer.slots, generators, rows.x.dtype)
    check_rows(network, rows, state.theta)
    check_fit(network, trial, len(rows))
    rates, averaged = np.geomspace(low, high, steps), np.full((len(state), steps), np.nan)
    average, least, going = np.zeros(len(state)), np.full(len(state), inf), np.ones(len(state), np.bool_)
    ended = np.full(len(state), steps)
    with np.errstate(all="ignore"):
        for number, losses in enumerate(_losses(network, trial, state, rows, rates)):
            average = smoothing * average + (1 - smoothing) * losses
            corrected = average / (1 - smoothing ** (number + 1))  # as if it had not begun at 0
            averaged[going, number] = corrected[going]
            least = np.fmin(least, corrected)
            over = going & ~(np.isfinite(corrected) & (corrected <= BLOWN * least))
            ended[over] = number
            going &= ~over
            if not going.any():
                break
    taken = number + 1
    best = np.array([_steepest(rates, row[:end], steps) for row, end in zip(averaged, ended, strict=True)])
    return RangeTest(rates[:taken], averaged[:, :taken], best, np.append(rates, inf)[ended])


def _losses(network: Network, trial: Hyperparameters, state: State, rows: Rows, rates: Floats) -> Iterator[Floats]:
    """The mean loss of one batch after another, `(trials,)` in float64, each before the step at its rate."""
    count, theta, batch = len(state), state.theta, min(trial.batch_size, len(rows))
    matrices = Matrices(theta, np.empty_like(theta), state.slots, np.empty_like(theta), network.regularized)
    gradient = bind_gradient(
        [network] * count, [trial] * count, state.generators, theta, matrices.grad, matrices.scratch, batch
    )
    optimizers = [trial.optimizer] * count
    batches = _batches(Batches(rows, count, batch, trial.row_sampling, least=batch), state, trial)
    for number, (rate, (x, y, logits)) in enumerate(zip(rates, batches, strict=False), 1):
        gradient(x, y, logits)
        type(trial.optimizer).bind(optimizers, [float(rate)] * count, matrices)(number)
        yield np.array([row.mean(dtype=np.float64) for row in network.loss.values(logits, y)])


def _batches(batches: Batches, state: State, trial: Hyperparameters) -> Iterator[tuple[Floats, Floats, Floats]]:
    """x `(trials, batch, …)`, y and logits `(trials, batch, outputs)`, epoch after epoch without an end."""
    while True:
        for block in batches.epoch(state.generators):
            augment(trial.augment, block.x, state.generators)
            yield from zip(*(array.swapaxes(0, 1) for array in block), strict=True)


def _steepest(rates: Floats, losses: Floats, steps: int) -> float:
    """The rate with the least slope of `losses (steps until the end,)`."""
    if len(losses) < 2:
        return nan
    slopes = np.gradient(losses)  # by the logarithm of the rate, but for a factor
    first = min(int(UNSETTLED * steps), len(slopes) - 1)
    last = max(first, int(losses.argmin()))  # beyond the least loss it goes up and down with the batches
    steepest = first + int(slopes[first : last + 1].argmin())
    return float(rates[steepest]) if slopes[steepest] < 0 else nan


def _check(low: float, high: float, steps: int, smoothing: float) -> None:
    if not 0 < low < high < inf:
        raise EngineError(f"range test: low must be above 0 and below high, got low={low}, high={high}")
    if steps < 2:
        raise EngineError(f"range test: steps must be at least 2, got {steps}")
    if not 0 <= smoothing < 1:
        raise EngineError(f"range test: smoothing must be at least 0 and below 1, got {smoothing}")
