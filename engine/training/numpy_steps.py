"""Steps by NumPy: the reference, for all networks, with trials of equal shape in one batch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, final

import numpy as np

from engine.data.augmentation import augment
from engine.data.rows import Batches, Block, Rows, rows_adjacent
from engine.network import Network
from engine.optimizers import Matrices, Optimizer
from engine.training.accumulator import MetricAccumulator, Scores
from engine.training.gradient import bind_gradient
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.types import Floats

if TYPE_CHECKING:
    from engine.metrics import Metric


@final
class NumpySteps:
    """See `engine.training.steps.Steps`."""

    def __init__(
        self, networks: Sequence[Network], trials: Sequence[Hyperparameters], state: State, rows: Rows
    ) -> None:
        self._network, self._common, self._state, self._rows = networks[0], trials[0], state, rows
        theta, batch = state.theta, min(self._common.batch_size, len(rows))
        self._batches = Batches(rows, len(trials), batch, self._common.row_sampling, self._network.least_rows)
        self._matrices = Matrices(
            theta, np.empty_like(theta), state.slots, np.empty_like(theta), self._network.regularized
        )
        self._gradients = {
            size: bind_gradient(
                networks, trials, state.generators, theta, self._matrices.grad, self._matrices.scratch, size
            )
            for size in self._batches.sizes
        }
        self.number = self._batches.steps

    def train_epoch(
        self, optimizers: Sequence[Optimizer], rates: Sequence[float], first: int, measured: bool
    ) -> Scores | None:
        network, rows, state = self._network, self._rows, self._state
        accumulator = MetricAccumulator(network.loss, len(rates), rows.y.reshape(rows.sets, -1, network.outputs))
        update = type(optimizers[0]).bind(optimizers, rates, self._matrices)
        with np.errstate(all="ignore"):
            for block in self._blocks():
                gradient = self._gradients[block.x.shape[2]]
                # For each batch: x (trials, batch, …), y and logits (trials, batch, outputs).
                for x, y, logits in zip(*(array.swapaxes(0, 1) for array in block), strict=True):
                    gradient(x, y, logits)
                    state.step += 1
                    update(state.step - first)
                if measured:
                    accumulator.add(block.logits, block.y)
        return accumulator.scores() if measured else None

    def measure(self, rows: Rows, metrics: "Mapping[str, Metric]") -> tuple[Scores, dict[str, Floats]]:
        return measure(self._network, self._state.theta, rows, metrics)

    def _blocks(self) -> Iterator[Block]:
        """Yield the epoch's blocks of augmented rows."""
        for block in self._batches.epoch(self._state.generators):
            augment(self._common.augment, block.x, self._state.generators)
            yield block


def measure(
    network: Network, theta: Floats, rows: Rows, metrics: "Mapping[str, Metric]"
) -> tuple[Scores, dict[str, Floats]]:
    """Return loss and accuracy, and the other metrics in their order, `(trials,)` each."""
    x, targets = (array.reshape(rows.sets, len(rows), *array.shape[1:]) for array in (rows.x, rows.y))
    y = rows_adjacent(targets.shape, targets.dtype)  # the memory layout of the logits; else losses take twice as long
    y[...] = targets
    accumulator = MetricAccumulator(network.loss, len(theta), targets)
    with np.errstate(all="ignore"):
        logits = network.forward(theta, x)
        accumulator.add(logits, y if rows.sets in (1, len(theta)) else np.concatenate([y] * (len(theta) // rows.sets)))
        predicted = network.loss.predict(logits) if metrics else logits
    others = {
        name: np.array([metric.of(trial, y[t % rows.sets]) for t, trial in enumerate(predicted)])
        for name, metric in metrics.items()
    }
    return accumulator.scores(), others
