"""Training as a generator: it yields an epoch, and is sent who goes on."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from engine.data import Batches, Rows
from engine.gradient import bind_gradient
from engine.metrics import Scores, Tally
from engine.network import Network
from engine.optimizers import Matrices, Optimizer
from engine.schedules import Constant, Schedule
from engine.state import State
from engine.types import Booleans, EngineError, Floats


@final
@dataclass(frozen=True)
class Hyperparameters:
    """What may differ between trials that train together, and the batch size, which may not.

    Attributes:
        optimizer: its numbers may differ, its kind may not.
        learning_rate: α₀, before the schedule.
        batch_size: rows a step; the rows left over at the end of an epoch are a smaller batch.
        l2: λ; adds λ/2 · Σw² over the weights to what is minimized, not divided by the batch size.

    Raises:
        EngineError: a learning rate or λ below 0, a batch size below 1.
    """

    optimizer: Optimizer
    learning_rate: float
    batch_size: int = 32
    l2: float = 0.0
    schedule: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        if not self.learning_rate >= 0:
            raise EngineError(f"learning_rate must be at least 0, got {self.learning_rate}")
        if self.batch_size < 1:
            raise EngineError(f"batch_size must be at least 1, got {self.batch_size}")
        if not self.l2 >= 0:
            raise EngineError(f"l2 must be at least 0, got {self.l2}")


@final
@dataclass(frozen=True, eq=False)
class Epoch:
    """What an epoch gave.

    Attributes:
        number: counted from 1.
        train: of each batch as it was seen, before the step it led to: the mean over the epoch, at no extra pass.
        val: of all validation rows after the epoch; None when there are none.
    """

    number: int
    train: Scores
    val: Scores | None


def train(
    network: Network,
    trials: Sequence[Hyperparameters],
    state: State,
    rows: Rows,
    val: Rows | None = None,
) -> Generator[Epoch, Booleans | None, None]:
    """Trains for as long as somebody goes on; the caller stops by closing the generator.

    Numbers that overflow are a result: the trial's loss is then not finite, and its neighbors are not touched.

    Args:
        trials: one a row of `state`; batch size and kind of optimizer the same in all.
        state: changed in place. When trials drop out it keeps the rows that go on.
        rows: to learn from; each trial shuffles them anew every epoch by its own generator.
        val: to measure after each epoch.

    Yields:
        An epoch; it is sent which rows of the state go on, `(trials,)` of bool, or None for all.

    Raises:
        EngineError: the trials cannot train together, or the rows do not fit the network.
    """
    trials = list(trials)
    _check(network, trials, state, rows)
    while trials:
        epochs = _epochs(network, trials, state, rows, val)
        going = None
        while going is None or going.all():
            going = yield next(epochs)
        _keep(state, going)
        trials = [t for t, goes in zip(trials, going, strict=True) if goes]


def evaluate(network: Network, theta: Floats, rows: Rows) -> Scores:
    """Loss and accuracy of each trial on rows, `(trials,)` each."""
    tally = Tally(network.loss, len(theta), rows.y)
    with np.errstate(all="ignore"):
        tally.add(network.forward(theta, rows.x), rows.y[None])
    return tally.scores()


def _epochs(
    network: Network, trials: Sequence[Hyperparameters], state: State, rows: Rows, val: Rows | None
) -> Generator[Epoch, None, None]:
    """Epoch after epoch of a fixed set of trials: memory is allocated here, once."""
    batch = min(trials[0].batch_size, len(rows))
    batches = Batches(rows, len(trials), batch)
    theta = state.theta
    matrices = Matrices(theta, np.empty_like(theta), state.slots, np.empty_like(theta))
    l2 = [t.l2 for t in trials]
    gradients = {
        size: bind_gradient(network, l2, theta, matrices.grad, matrices.scratch, size)
        for size in {batch, len(rows) % batch} - {0}
    }
    optimizers = [t.optimizer for t in trials]
    while True:
        tally = Tally(network.loss, len(trials), rows.y)
        rates = [t.learning_rate * t.schedule.factor(state.epoch) for t in trials]
        update = type(optimizers[0]).bind(optimizers, rates, matrices)
        with np.errstate(all="ignore"):
            for block in batches.epoch(state.generators):
                gradient = gradients[block.x.shape[2]]
                # Of each batch in turn: x (trials, batch, …), y and logits (trials, batch, outputs).
                for x, y, logits in zip(*(array.swapaxes(0, 1) for array in block), strict=True):
                    gradient(x, y, logits)
                    state.step += 1
                    update(state.step)
                tally.add(block.logits, block.y)
        state.epoch += 1
        yield Epoch(state.epoch, tally.scores(), evaluate(network, theta, val) if val else None)


def _keep(state: State, rows: Booleans) -> None:
    """Drops the other trials, in place, so that the caller's state stays the one that trains."""
    state.__dict__.update(state.take(rows).__dict__)


def _check(network: Network, trials: Sequence[Hyperparameters], state: State, rows: Rows) -> None:
    if len(trials) != len(state) or state.theta.shape[1] != network.size:
        raise EngineError(
            f"the state must be ({len(trials)} trials, {network.size} parameters), got {state.theta.shape}"
        )
    if len({(t.batch_size, type(t.optimizer)) for t in trials}) != 1:
        raise EngineError("trials that train together must have one batch size and one kind of optimizer")
    if not len(rows) or rows.x.shape[1:] != network.inputs or rows.y.shape[1:] != (network.outputs,):
        raise EngineError(
            f"rows must be {network.inputs} with ({network.outputs},) targets, "
            f"got {rows.x.shape[1:]} with {rows.y.shape[1:]}, {len(rows)} of them"
        )
    if rows.x.dtype != state.theta.dtype or rows.y.dtype != state.theta.dtype:
        raise EngineError(
            f"rows must be {state.theta.dtype} like the parameters, got {rows.x.dtype} and {rows.y.dtype}"
        )
