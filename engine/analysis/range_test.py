"""The learning-rate range test: one step at each rate, from too low to too high, and the loss at each step."""

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

BLOWN = 4.0  # a trial ends when its loss exceeds this multiple of its lowest loss so far
UNSETTLED = 0.1  # share of the first steps, in which the average has too few batches for a slope


@final
@dataclass(frozen=True, eq=False)
class RangeTest:
    """The result of a learning-rate range test. Smith 2017, "Cyclical learning rates", section 3.3.

    A trial ends when its loss is not finite or above 4 times its lowest loss so far; the test ends with its last trial.

    Attributes:
        rates: `(steps,)`, geometrically spaced.
        losses: `(trials, steps)`, float64: exponential average of the losses of the batches, each before the step at
            its rate, without regularizers; NaN after a trial's end.
        best: `(trials,)`, the rate with the steepest descent of the averaged loss over the logarithm of the rate; NaN
            if the loss never fell. The first tenth of the steps and the steps after the lowest loss are excluded.
        blown: `(trials,)`, the rate at which the trial ended; +inf for trials that did not end.
    """

    rates: Floats
    losses: Floats
    best: Floats
    blown: Floats

    @property
    def tenth(self) -> Floats:
        """A tenth of the rate at which a trial ended, or of the last rate, `(trials,)`."""
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
    """Train from new weights, each step at a higher rate than the previous one.

    The optimizer state carries over from rate to rate; a new start for each rate would need many more steps.

    Args:
        trial: hyperparameters; the learning rate, the schedule and the switch are ignored.
        generator: for weights and batches; several generators for as many trials.
        rows: training rows, repeated if there are fewer batches than steps; incomplete batches are skipped.
        low, high: the first and the last rate.
        steps: number of rates.
        smoothing: s of the average a ← sa + (1 − s)·loss, divided by 1 − sᵗ in step t.

    Raises:
        EngineError: low not above 0 and below high, fewer than 2 steps, smoothing outside [0, 1), no generators, or
            rows that do not fit the network.
    """
    _check(low, high, steps, smoothing)
    generators = [generator] if isinstance(generator, np.random.Generator) else list(generator)
    if not generators:
        raise EngineError("range test: there must be at least one generator, got none")
    state = State.start(network, trial.optimizer.slots, generators, rows.x.dtype)
    check_rows(network, rows, state.theta)
    check_fit(network, trial, len(rows))
    rates, averaged = np.geomspace(low, high, steps), np.full((len(state), steps), np.nan)
    average, least, active = np.zeros(len(state)), np.full(len(state), inf), np.ones(len(state), np.bool_)
    ended = np.full(len(state), steps)
    with np.errstate(all="ignore"):
        for number, losses in enumerate(_losses(network, trial, state, rows, rates)):
            average = smoothing * average + (1 - smoothing) * losses
            corrected = average / (1 - smoothing ** (number + 1))  # for the start at 0
            averaged[active, number] = corrected[active]
            least = np.fmin(least, corrected)
            over = active & ~(np.isfinite(corrected) & (corrected <= BLOWN * least))
            ended[over] = number
            active &= ~over
            if not active.any():
                break
    taken = number + 1
    best = np.array([_steepest(rates, row[:end], steps) for row, end in zip(averaged, ended, strict=True)])
    return RangeTest(rates[:taken], averaged[:, :taken], best, np.append(rates, inf)[ended])


def _losses(network: Network, trial: Hyperparameters, state: State, rows: Rows, rates: Floats) -> Iterator[Floats]:
    """Yield the mean loss of each batch before the step at its rate, `(trials,)`, float64."""
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
    """Yield x `(trials, batch, …)`, y and logits `(trials, batch, outputs)` of each batch, in endless epochs."""
    while True:
        for block in batches.epoch(state.generators):
            augment(trial.augment, block.x, state.generators)
            yield from zip(*(array.swapaxes(0, 1) for array in block), strict=True)


def _steepest(rates: Floats, losses: Floats, steps: int) -> float:
    """Return the rate with the lowest slope of `losses (steps until the trial's end,)`; NaN if no slope is negative."""
    if len(losses) < 2:
        return nan
    slopes = np.gradient(losses)  # proportional to the slope over the logarithm of the rate
    first = min(int(UNSETTLED * steps), len(slopes) - 1)
    last = max(first, int(losses.argmin()))  # after the lowest loss, slopes vary with the batches
    steepest = first + int(slopes[first : last + 1].argmin())
    return float(rates[steepest]) if slopes[steepest] < 0 else nan


def _check(low: float, high: float, steps: int, smoothing: float) -> None:
    if not 0 < low < high < inf:
        raise EngineError(f"range test: low must be above 0 and below high, got low={low}, high={high}")
    if steps < 2:
        raise EngineError(f"range test: steps must be at least 2, got {steps}")
    if not 0 <= smoothing < 1:
        raise EngineError(f"range test: smoothing must be at least 0 and below 1, got {smoothing}")
